"""Make videos: one photo, a sequence of poses and a sentence become a short clip.

Try it, on the clips that ship, then on a photo of your own, with poses and with a sentence alone:

    python inference.py
    python inference.py --image photo.png --poses skeletons.mp4 --prompt "This lady turns to the left."
    python inference.py --image photo.png --prompt "She turns to her left."

For each clip, --output_dir gets NAME.mp4, NAME.png (photo, poses, frames) and NAME.json (settings). Skeletons
that were made from a sentence are there as well, NAME_poses/: edit them, give them again with --poses.
A published checkpoint, in few steps and then by its own procedure:

    python inference.py --pretrained_model model.pth --vae DIR --text_encoder DIR --image PNG --poses DIR
    (the same) --scheduler ddpm --num_inference_steps 1000
"""

import collections
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from data.annotations import load_annotations
from data.frames import frame_paths
from diffusion.inputs import check_multiple
from diffusion.latents import load_tiny_decoder, load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES, Savings
from diffusion.schedule import DEFAULT_SAMPLER, make_scheduler
from diffusion.text import load_text_encoder
from generation.inputs import Clip, Inputs, read_inputs
from generation.motion import check_image_joints, load_text_to_poses, poses_from_text, write_poses
from generation.streaming import stream_frames
from generation.windows import WindowStore, plan_windows
from models import load_denoiser
from models.keypoint_detector import KeypointDetector, detect_photo_joints, load_detector
from models.loading import model_sha256
from models.text_to_poses import TextToPoses
from utils.allocator import keep_freed_memory
from utils.config import run_script
from utils.contact_sheet import contact_sheet, spread
from utils.errors import UserError
from utils.files import check_output_dir, write_json
from utils.image import write_png
from utils.precision import autocast, resolve_dtype
from utils.video import check_fps, write_video
from warping.retarget import retarget

SHIPPED_MODEL = Path("pretrained_model/x2fashion-small")
SHIPPED_DETECTOR = Path("pretrained_model/keypoint_detector.safetensors")
DEFAULT_NUM_FRAMES = 24
MAX_SIDE = 4096
SHEET_COLUMNS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run."""

    image: Path | None = None
    """Photo of a person, any size; without it, every clip of the dataset's split is made."""
    poses: Path | None = None
    """Folder of skeleton pictures (000.png, 001.png ...) or video of them; the first is the photo's pose.
    Without it the sentence moves the person."""
    prompt: str = ""
    """What the person does, for example "This lady moves toward the right side."."""
    image_joints: Path | None = None
    """The photo's own pose: a JSON of keypoints, or a skeleton picture. By default the first of --poses, and
    without them what --keypoint_detector finds."""
    motion: Literal["skeletons", "attention"] = "skeletons"
    """Who moves the person without --poses: skeletons, made from the sentence by --text_to_poses (another
    --seed, another way of doing it), or the video model's own attention to the sentence, which is weaker."""
    fit_poses: bool = False
    """Bring --poses of another body to the limb lengths, the place and the size of the photo's. Off by
    default: poses that begin with the photo's own need none of it."""
    dataset: Path = Path("fashion_dataset")
    """Dataset to take clips from where there is no --image."""
    split: Literal["train", "test"] = "test"
    """Which of its clips."""

    pretrained_model: Path = SHIPPED_MODEL
    """A model's folder (model_index.json), a denoiser's folder from train.py, or a published .pth file."""
    vae: Path | None = None
    """VAE's folder; a published .pth needs it, others bring their own."""
    text_encoder: Path | None = None
    """CLIP text encoder's folder; likewise."""
    tokenizer: Path | None = None
    """Tokenizer's folder, where it is not in the text encoder's."""
    tiny_decoder: Path | None = None
    """Folder of a small decoder for the VAE's latents (diffusers' AutoencoderTiny, such as taesd for
    sd-vae-ft-mse): much faster where the VAE is large, and a little softer."""
    text_to_poses: Path | None = None
    """Text-to-poses model's folder, from recipe.train_text_to_poses with the same text encoder; by default
    the one in the model's folder."""
    keypoint_detector: Path = SHIPPED_DETECTOR
    """Finds the pose of a photo that comes without; from recipe.train_keypoint_detector."""

    quality: Literal["fast", "balanced", "best"] | None = None
    """Level of quality: scheduler, steps and savings that go together. 1, 4 or 50 steps of a model that
    predicts clean latents, as the shipped one; 6, 12 or 50 of others. The flags below, where given, win."""
    scheduler: Literal["default", "ddpm", "ddim", "dpmsolver++", "unipc", "euler", "lcm"] = "default"
    """Sampler; by default the model folder's own, and dpmsolver++ for a published .pth."""
    num_inference_steps: int | None = None
    """Denoising steps; by default 2 for a model that predicts clean latents, as the shipped one, else 25."""
    reuse_interval: int | None = None
    """Compute the network's inner levels in every so many-th step only; by default in each."""
    guidance_interval: tuple[float, float] | None = None
    """Share of the steps from which to which guidance scales hold, such as 0.1 0.8; by default 0 1."""
    num_frames: int | None = None
    """Make only the first so many frames; by default one for each pose, and 24 without poses."""
    window_frames: int = 24
    """Frames that are sampled together. Longer videos are made in such windows, which overlap, in memory that
    does not grow with them; stopped, the same command goes on with the window it was at."""
    window_overlap: int = 8
    """Frames that two windows share."""
    fps: float = 12
    """Frames a second of the video."""
    height: int | None = None
    """Of the video in pixels; by default what the model was made for (shipped 256, published 512)."""
    width: int | None = None
    """Likewise (shipped 128, published 256)."""
    image_guidance_scale: float = 1.0
    """Above 1 follows the photo more; each scale other than 1 costs another prediction a step."""
    pose_guidance_scale: float = 1.0
    """Above 1 follows the poses more."""
    text_guidance_scale: float = 1.0
    """Above 1 follows the sentence more."""

    seed: int = 0
    """Same command, same seed, same video; each clip's noise depends on the seed and its name alone."""
    output_dir: Path = Path("result")
    """Gets the videos, sheets and settings; files of the same name are replaced."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks' products; auto takes bfloat16 where the machine has units for it."""
    compile: bool = False
    """Compile the network's levels (torch.compile): minutes at the first step, for many or long videos."""
    cuda_graphs: bool = False
    """Record a step on the GPU once and replay it, which spares the time of launching its many small parts.
    Needs a GPU; the first step takes longer, and memory for each size of video."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


def list_clips(config: Config) -> list[Clip]:
    """Say what to make: the user's own clip, or all of the dataset's split.

    Raises:
        UserError: flags that do not go together, or a dataset that cannot be read.
    """
    if config.image is not None:
        if config.poses is None and not config.prompt:
            raise UserError(
                f"--image {config.image} needs a --prompt that says what the person does, or --poses: a "
                "folder of skeleton pictures (000.png, 001.png ...) or an mp4 of them"
            )
        if config.poses is None and config.fit_poses:
            raise UserError("--fit_poses goes with --poses; what a sentence moves fits already")
        if not config.prompt and config.text_guidance_scale != 1:
            raise UserError(f"--text_guidance_scale {config.text_guidance_scale} needs a --prompt to follow")
        own = Clip(name=config.image.stem, image=config.image, poses=config.poses, prompt=config.prompt)
        return [dataclasses.replace(own, image_joints=config.image_joints)]
    for flag in ("poses", "prompt", "image_joints", "fit_poses"):
        if getattr(config, flag):
            raise UserError(f"--{flag} {getattr(config, flag)} goes with --image; give the photo as well")
    segments = load_annotations(config.dataset, config.split)
    counts = collections.Counter(segment.name for segment in segments)
    return [
        Clip(
            name=segment.name if counts[segment.name] == 1 else f"{segment.name}_{segment.start:03d}",
            image=frame_paths(config.dataset / "fashion_crop" / segment.name)[segment.start],
            poses=config.dataset / "fashion_poses" / segment.name,
            prompt=segment.text,
            start=segment.start,
            end=segment.end,
        )
        for segment in segments
    ]


def load_pipeline(config: Config, device: torch.device) -> X2FashionPipeline:
    """Load the model that --pretrained_model and its companions name, and set the scheduler.

    Raises:
        UserError: something is missing or does not fit; the message names it.
    """
    keep_freed_memory()
    path = config.pretrained_model
    if path.suffix == ".pth":
        if config.vae is None or config.text_encoder is None:
            raise UserError(
                f"{path} holds the denoiser alone; add --vae DIR (such as sd-vae-ft-mse) and "
                "--text_encoder DIR (such as clip-vit-large-patch14)"
            )
        pipeline = X2FashionPipeline.from_published(path, config.vae, config.text_encoder, config.tokenizer)
    else:
        pipeline = _load_folder(config, path)
    prediction_type = pipeline.denoiser.config.prediction_type
    scheduler: str = config.scheduler
    if scheduler == "default" and config.quality is not None:
        scheduler = QUALITIES[prediction_type][config.quality].scheduler
    if scheduler != "default":
        pipeline.scheduler = make_scheduler(scheduler, prediction_type, pipeline.scheduler.betas.numpy())
    elif path.suffix == ".pth":
        pipeline.scheduler = make_scheduler(DEFAULT_SAMPLER, prediction_type)
    if config.tiny_decoder is not None:
        decoder = load_tiny_decoder(config.tiny_decoder)
        pipeline.register_modules(tiny_decoder=decoder.to(memory_format=torch.channels_last))
    if config.compile:
        pipeline.denoiser.compile_levels()
    pipeline.to(device, torch.float32)
    pipeline.cast_networks(resolve_dtype(config.dtype, device))
    if config.cuda_graphs:
        pipeline.enable_cuda_graphs()
    return pipeline


def sampling_options(config: Config, pipeline: X2FashionPipeline) -> dict[str, Any]:
    """Steps and savings as --quality and the flags that win over it say, as arguments of the pipeline.

    Raises:
        UserError: a number out of its range.
    """
    levels = QUALITIES[pipeline.denoiser.config.prediction_type]
    level = None if config.quality is None else levels[config.quality]
    steps = config.num_inference_steps
    savings = dataclasses.asdict(Savings() if level is None else level.savings)
    given = {"reuse_interval": config.reuse_interval, "guidance_interval": config.guidance_interval}
    savings |= {name: value for name, value in given.items() if value is not None}
    Savings(**savings)
    if steps is None:
        steps = pipeline.default_num_inference_steps if level is None else level.num_inference_steps
    return {"num_inference_steps": steps, **savings}


def _load_folder(config: Config, path: Path) -> X2FashionPipeline:
    # A denoiser by itself, as train.py writes it, takes the frozen parts of the shipped model.
    alone = not (path / "model_index.json").is_file()
    denoiser = load_denoiser(path)
    base = SHIPPED_MODEL if alone else path
    if not (base / "model_index.json").is_file():
        raise UserError(f"{base} holds no model (no model_index.json); give --pretrained_model DIR_OR_PTH")
    tokenizer, text_encoder = load_text_encoder(
        config.text_encoder or base / "text_encoder",
        config.tokenizer or (None if config.text_encoder else base / "tokenizer"),
    )
    components: dict[str, Any] = {
        "denoiser": denoiser,
        "vae": load_vae(config.vae or base / "vae"),
        "tokenizer": tokenizer,
        "text_encoder": text_encoder,
    }
    if alone:
        components["scheduler"] = make_scheduler(DEFAULT_SAMPLER, denoiser.config.prediction_type)
    try:
        return X2FashionPipeline.from_pretrained(base, local_files_only=True, **components)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"cannot load the model in {base}: {' '.join(str(error).split())[:300]}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionTools:
    """What it takes to move somebody by a sentence, or by another body's poses; None where not needed."""

    text_to_poses: TextToPoses | None = None
    detector: KeypointDetector | None = None


def load_motion_tools(config: Config, clips: list[Clip], pipeline: X2FashionPipeline) -> MotionTools:
    """Load the text-to-poses model and the keypoint detector as far as the clips need them.

    Raises:
        UserError: one is missing, or does not fit the text encoder; the message says what to give instead.
    """
    from_text = config.motion == "skeletons" and any(clip.poses is None for clip in clips)
    model = load_matching_text_to_poses(config, pipeline) if from_text else None
    detector = None
    if (from_text or config.fit_poses) and any(clip.image_joints is None for clip in clips):
        if not config.keypoint_detector.is_file():
            raise UserError(
                f"the photo's pose is not known: there is no keypoint detector {config.keypoint_detector}; "
                "give the pose with --image_joints (a JSON of keypoints, or a skeleton picture)"
            )
        detector = load_detector(config.keypoint_detector).to(pipeline.device)
    return MotionTools(text_to_poses=model, detector=detector)


def load_matching_text_to_poses(config: Config, pipeline: X2FashionPipeline) -> TextToPoses:
    """Load the model of --text_to_poses, or the one in the model's folder (UserError where there is none)."""
    alone = not (config.pretrained_model / "model_index.json").is_file()
    beside = SHIPPED_MODEL if alone and config.pretrained_model.suffix != ".pth" else config.pretrained_model
    model = load_text_to_poses(config.text_to_poses or beside, pipeline.text_encoder.config.hidden_size)
    return model.to(pipeline.device)


def prepare_inputs(
    config: Config, pipeline: X2FashionPipeline, tools: MotionTools, clip: Clip, height: int, width: int
) -> Inputs:
    """Read a clip's inputs; where it has no poses, make them from its sentence.

    Raises:
        UserError: see `read_inputs`; or a photo without a whole person.
    """
    inputs = read_inputs(clip, config.num_frames, height, width)
    pose = inputs.image_joints
    if pose is None and tools.detector is not None:
        pose = detect_photo_joints(tools.detector, inputs.photo)
    if config.fit_poses:
        return fit_poses(inputs, pose)
    if clip.poses is not None or tools.text_to_poses is None:
        return inputs
    return move_by_sentence(config, pipeline, tools.text_to_poses, clip, inputs, pose)


def move_by_sentence(
    config: Config,
    pipeline: X2FashionPipeline,
    model: TextToPoses,
    clip: Clip,
    inputs: Inputs,
    pose: np.ndarray | None,
) -> Inputs:
    """Give a clip joints and skeletons that do what its sentence says, from the photo's pose (18, 3) on."""
    assert pose is not None
    height, width = inputs.photo.shape[:2]
    joints = poses_from_text(
        model,
        pipeline.encode_prompt([clip.prompt]),
        pose,
        height,
        width,
        config.num_frames or DEFAULT_NUM_FRAMES,
        torch.Generator().manual_seed(clip_seed(config.seed, f"{clip.name}/motion")),
    )
    return inputs.with_joints(joints)


def fit_poses(inputs: Inputs, pose: np.ndarray | None) -> Inputs:
    """Bring a clip's poses to the photo's body, whose pose (18, 3) is given.

    Raises:
        UserError: the skeletons' joints cannot be read.
    """
    assert pose is not None
    check_image_joints(pose)
    if inputs.joints is None:
        raise UserError("--fit_poses needs skeletons whose joints can be read, or a POSES.json beside them")
    return dataclasses.replace(inputs, image_joints=pose).with_joints(retarget(inputs.joints, pose))


def clip_seed(seed: int, name: str) -> int:
    """Seed of a clip's noise, so that it does not depend on which other clips are made."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def make_video(
    config: Config, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs, store: WindowStore | None = None
) -> Iterator[np.ndarray]:
    """Sample one clip, a long one in windows of frames; yields (H, W, 3) uint8 RGB.

    Args:
        config: settings.
        pipeline: the model.
        clip: its name and sentence.
        inputs: photo, poses, joints.
        store: keeps the windows that are done.
    """
    count = num_frames_of(config, inputs)
    is_long = inputs.poses is not None and count > config.window_frames
    pipeline.set_progress_bar_config(
        desc=clip.name, unit="step", leave=False, dynamic_ncols=True, disable=is_long
    )
    with (
        autocast(config.dtype, pipeline.device),
        tqdm(
            total=count, desc=clip.name, unit="frame", leave=False, dynamic_ncols=True, disable=not is_long
        ) as progress,
    ):
        for frames in stream_frames(
            pipeline,
            inputs.photo,
            inputs.poses,
            clip.prompt,
            seed=clip_seed(config.seed, clip.name),
            joints=inputs.joints,
            image_joints=inputs.image_joints,
            num_frames=count,
            window_frames=config.window_frames,
            overlap=config.window_overlap,
            **sampling_options(config, pipeline),
            image_guidance_scale=config.image_guidance_scale,
            pose_guidance_scale=1.0 if inputs.poses is None else config.pose_guidance_scale,
            text_guidance_scale=config.text_guidance_scale,
            store=store,
        ):
            progress.update(len(frames))
            yield from frames


def write_clip(config: Config, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs) -> Path:
    """Sample a clip and write its video, contact sheet and settings; returns the video's path."""
    path = config.output_dir / f"{clip.name}.mp4"
    height, width = inputs.photo.shape[:2]
    count = num_frames_of(config, inputs)
    settings = describe(config, pipeline, clip, count, height, width)
    shown = set(spread(count, SHEET_COLUMNS))
    frames: list[np.ndarray] = []
    store = None
    if count > config.window_frames and inputs.poses is not None:
        files = {"photo": inputs.photo, "joints": inputs.joints, "image_joints": inputs.image_joints}
        sums = {
            name: None if x is None else hashlib.sha256(x.tobytes()).hexdigest() for name, x in files.items()
        }
        poses = hashlib.sha256()
        for index in range(count):
            poses.update(inputs.poses[index].tobytes())
        sums |= {"poses": poses.hexdigest(), "denoiser": model_sha256(pipeline.denoiser)}
        store = WindowStore(config.output_dir / f".{clip.name}.windows", settings | sums)

    def video() -> Iterator[np.ndarray]:
        for index, frame in enumerate(make_video(config, pipeline, clip, inputs, store)):
            if index in shown:
                frames.append(frame)
            yield frame

    write_video(path, video(), config.fps)
    rows = [("photo", [inputs.photo]), ("frames", frames)]
    if inputs.poses is not None:
        label = "poses made from the sentence" if clip.poses is None else "poses"
        rows.insert(1, (label, list(inputs.poses[sorted(shown)])))
        if inputs.joints is not None and (clip.poses is None or config.fit_poses):
            write_poses(config.output_dir / f"{clip.name}_poses", inputs.joints, height, width)
    write_png(path.with_suffix(".png"), contact_sheet(rows, title=clip.prompt))
    write_json(path.with_suffix(".json"), settings)
    if store is not None:
        store.remove()
    return path


def num_frames_of(config: Config, inputs: Inputs) -> int:
    """Frames of a clip's video."""
    return (config.num_frames or DEFAULT_NUM_FRAMES) if inputs.poses is None else len(inputs.poses)


def describe(
    config: Config, pipeline: X2FashionPipeline, clip: Clip, num_frames: int, height: int, width: int
) -> dict[str, Any]:
    """Everything that a clip was made with, resolved, for its JSON."""
    settings = {**dataclasses.asdict(config), **dataclasses.asdict(clip)}
    settings |= {
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "scheduler": type(pipeline.scheduler).__name__,
        **sampling_options(config, pipeline),
        "clip_seed": clip_seed(config.seed, clip.name),
        "dtype": str(resolve_dtype(config.dtype, pipeline.device)).removeprefix("torch."),
        "device": str(pipeline.device),
    }
    return {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one. UserError if there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"--device {name} cannot be used here; give cpu, or cuda on a machine with a GPU"
        ) from error


def main(config: Config) -> None:
    """Check everything, then make one clip after the other."""
    check_fps(config.fps)
    check_output_dir(config.output_dir)
    device = choose_device(config.device)
    clips = list_clips(config)
    pipeline = load_pipeline(config, device)
    height, width = config.height or pipeline.config.height, config.width or pipeline.config.width
    check_multiple("pixels of height", height, pipeline.size_multiple)
    check_multiple("pixels of width", width, pipeline.size_multiple)
    if max(height, width) > MAX_SIDE:
        raise UserError(
            f"{height} x {width} pixels (height x width) are too many; give at most {MAX_SIDE} each"
        )
    check_multiple("frames of a window", config.window_frames, pipeline.denoiser.frame_multiple)
    plan_windows(config.window_frames + 1, config.window_frames, config.window_overlap)
    if config.num_frames is not None and config.num_frames <= config.window_frames:
        check_multiple("frames", config.num_frames, pipeline.denoiser.frame_multiple)

    # Read everything once before the first file is written: a mistake in the last clip is told now.
    tools = load_motion_tools(config, clips, pipeline)
    for clip in tqdm(clips, desc="check", unit="clip", leave=False, disable=len(clips) == 1):
        inputs = prepare_inputs(config, pipeline, tools, clip, height, width)
        count = num_frames_of(config, inputs)
        if inputs.poses is None or count <= config.window_frames:
            check_multiple(f"frames of clip {clip.name}", count, pipeline.denoiser.frame_multiple)

    for index, clip in enumerate(clips, 1):
        inputs = prepare_inputs(config, pipeline, tools, clip, height, width)
        path = write_clip(config, pipeline, clip, inputs)
        print(f"[{index}/{len(clips)}] {path}: {clip.prompt}")
    print(f"video (.mp4), contact sheet (.png) and settings (.json) of each clip are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
