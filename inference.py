"""Make videos: one photo, a sequence of poses and a sentence become a short clip.

Try it, on the clips that ship, then on a photo of your own:

    python inference.py
    python inference.py --image photo.png --poses skeletons.mp4 --prompt "This lady turns to the left."

For each clip, --output_dir gets NAME.mp4, NAME.png (photo, poses, frames) and NAME.json (settings).
A published checkpoint, in few steps and then by its own procedure:

    python inference.py --pretrained_model model.pth --vae DIR --text_encoder DIR --image PNG --poses DIR
    (the same) --scheduler ddpm --num_inference_steps 1000
"""

import collections
import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from data.annotations import load_annotations
from data.frames import frame_paths, read_poses
from diffusion.inputs import check_multiple
from diffusion.latents import load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import DEFAULT_SAMPLER, make_scheduler
from diffusion.text import load_text_encoder
from models import load_denoiser
from utils.config import run_script
from utils.contact_sheet import contact_sheet
from utils.errors import UserError
from utils.files import check_output_dir, read_json, write_json
from utils.image import Placement, fit_image, read_image, write_png
from utils.pose_drawing import draw_pose
from utils.precision import autocast, resolve_dtype
from utils.video import check_fps, write_video
from warping.joints import load_joints, read_joints

SHIPPED_MODEL = Path("pretrained_model/x2fashion-small")
JOINTS_HELP = 'a JSON file with {"keypoints": 18 x [x, y, visibility]} in pixels, or a skeleton picture'
NUM_JOINTS_TO_REDRAW = 8
MAX_SIDE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run."""

    image: Path | None = None
    """Photo of a person, any size; without it, every clip of the dataset's split is made."""
    poses: Path | None = None
    """Folder of skeleton pictures (000.png, 001.png ...) or video of them; the first is the photo's pose."""
    prompt: str = ""
    """What the person does, for example "This lady moves toward the right side."."""
    image_joints: Path | None = None
    """The photo's own pose, if --poses begin with another: a JSON of keypoints, or a skeleton picture."""
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

    scheduler: Literal["default", "ddpm", "ddim", "dpmsolver++", "unipc", "euler", "lcm"] = "default"
    """Sampler; by default the model folder's own, and dpmsolver++ for a published .pth."""
    num_inference_steps: int | None = None
    """Denoising steps; by default 4 for a model that predicts clean latents, as the shipped one, else 25."""
    num_frames: int | None = None
    """Make only the first so many frames; by default one for each pose."""
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
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """Where the inputs of one video are. `end` None stands for the last pose."""

    name: str
    image: Path
    poses: Path
    prompt: str
    start: int = 0
    end: int | None = None
    image_joints: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of one video at the model's size: uint8 RGB, joints (F, 18, 3) and (18, 3) in its pixels."""

    photo: np.ndarray
    poses: np.ndarray
    joints: np.ndarray | None
    image_joints: np.ndarray | None


def list_clips(config: Config) -> list[Clip]:
    """Say what to make: the user's own clip, or all of the dataset's split.

    Raises:
        UserError: flags that do not go together, or a dataset that cannot be read.
    """
    if config.image is not None:
        if config.poses is None:
            raise UserError(
                f"--image {config.image} needs --poses as well: a folder of skeleton pictures "
                "(000.png, 001.png ...) or an mp4 of them"
            )
        if not config.prompt and config.text_guidance_scale != 1:
            raise UserError(f"--text_guidance_scale {config.text_guidance_scale} needs a --prompt to follow")
        own = Clip(name=config.image.stem, image=config.image, poses=config.poses, prompt=config.prompt)
        return [dataclasses.replace(own, image_joints=config.image_joints)]
    for flag in ("poses", "prompt", "image_joints"):
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
    if config.scheduler != "default":
        betas, prediction_type = pipeline.scheduler.betas.numpy(), pipeline.denoiser.config.prediction_type
        pipeline.scheduler = make_scheduler(config.scheduler, prediction_type, betas)
    elif path.suffix == ".pth":
        pipeline.scheduler = make_scheduler(DEFAULT_SAMPLER, pipeline.denoiser.config.prediction_type)
    return pipeline.to(device, torch.float32)


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


def read_inputs(clip: Clip, num_frames: int | None, height: int, width: int) -> Inputs:
    """Read a clip's pictures and joints, and fit them into `height` x `width` without distortion.

    Skeletons of another size are drawn anew where their joints can be read in every frame, else resized.

    Args:
        clip: where they are.
        num_frames: take the first so many poses; None for all.
        height: in pixels.
        width: in pixels.

    Raises:
        UserError: a picture or video that cannot be read, or fewer poses than frames; the message names it.
    """
    available = None if clip.end is None else clip.end - clip.start
    if available is not None and num_frames is not None and num_frames > available:
        raise UserError(f"clip {clip.name} has {available} poses; --num_frames {num_frames} asks for more")
    count = available if num_frames is None else num_frames
    original = read_image(clip.image)
    photo, photo_placement = _fit(clip.image, original, height, width)
    poses, joints = _read_poses(clip, count, height, width)
    image_joints = None
    if clip.image_joints is not None:
        image_joints = photo_placement.to_fitted(read_image_joints(clip.image_joints, *original.shape[:2]))
    return Inputs(photo=photo, poses=poses, joints=joints, image_joints=image_joints)


def _read_poses(
    clip: Clip, count: int | None, height: int, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    pictures = read_poses(clip.poses, None if count is None else clip.start + count)
    if clip.poses.is_dir():
        joints = load_joints(clip.poses, len(pictures))
    else:
        joints = np.stack([read_joints(picture) for picture in pictures])
    pictures = pictures[clip.start :]
    fitted = [_fit(clip.poses, picture, height, width) for picture in pictures]
    if joints is not None:
        joints = fitted[0][1].to_fitted(joints[clip.start :])
        resized = pictures.shape[1:3] != (height, width)
        if resized and ((joints[..., 2] > 0).sum(axis=1) >= NUM_JOINTS_TO_REDRAW).all():
            # Resizing blurs thin lines, and an estimator may have drawn hands and face as well.
            return np.stack([draw_pose(frame, height, width) for frame in joints]), joints
    return np.stack([pose for pose, _ in fitted]), joints


def _fit(path: Path, picture: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Placement]:
    try:
        return fit_image(picture, height, width)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_image_joints(path: Path, height: int, width: int) -> np.ndarray:
    """Read the pose of a photo of `height` x `width` as (18, 3): x, y in its pixels, visibility.

    Args:
        path: a JSON file with "keypoints" [18][3] or, of a clip, [F][18][3], whose first is taken, and
            optionally the "height" and "width" they are meant for; or a skeleton picture.
        height: of the photo.
        width: of the photo.

    Raises:
        UserError: the file is something else; the message names it.
    """
    if path.suffix.lower() != ".json":
        picture = read_image(path)
        return _scaled(read_joints(picture), width / picture.shape[1], height / picture.shape[0])
    document = read_json(path)
    try:
        keypoints = np.array(document["keypoints"], np.float32)
        keypoints = keypoints[0] if keypoints.ndim == 3 else keypoints
        scales = width / document.get("width", width), height / document.get("height", height)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError) as error:
        raise UserError(f"{path} does not hold the photo's joints; give {JOINTS_HELP}") from error
    if keypoints.shape != (18, 3):
        raise UserError(f"{path} has keypoints of shape {keypoints.shape}; give {JOINTS_HELP}")
    return _scaled(keypoints, *scales)


def _scaled(joints: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """Joints of a picture in pixels of a resized one; an integer coordinate is the middle of its pixel."""
    scaled = joints.astype(np.float32)
    scaled[:, :2] = (scaled[:, :2] + 0.5) * np.array([scale_x, scale_y], np.float32) - 0.5
    return scaled


def clip_seed(seed: int, name: str) -> int:
    """Seed of a clip's noise, so that it does not depend on which other clips are made."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def make_video(config: Config, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs) -> np.ndarray:
    """Sample one clip; (F, H, W, 3) uint8 RGB."""
    pipeline.set_progress_bar_config(desc=clip.name, unit="step", leave=False, dynamic_ncols=True)
    with autocast(config.dtype, pipeline.device):
        (clips,) = pipeline(
            inputs.photo,
            inputs.poses,
            clip.prompt,
            joints=inputs.joints,
            image_joints=inputs.image_joints,
            num_inference_steps=config.num_inference_steps,
            image_guidance_scale=config.image_guidance_scale,
            pose_guidance_scale=config.pose_guidance_scale,
            text_guidance_scale=config.text_guidance_scale,
            generator=torch.Generator().manual_seed(clip_seed(config.seed, clip.name)),
            output_type="np",
            return_dict=False,
        )
    return (np.asarray(clips[0]) * 255).round().astype(np.uint8)


def describe(config: Config, pipeline: X2FashionPipeline, clip: Clip, frames: np.ndarray) -> dict[str, Any]:
    """Everything that a clip was made with, resolved, for its JSON."""
    settings = {**dataclasses.asdict(config), **dataclasses.asdict(clip)}
    settings |= {
        "num_frames": len(frames),
        "height": frames.shape[1],
        "width": frames.shape[2],
        "scheduler": type(pipeline.scheduler).__name__,
        "num_inference_steps": config.num_inference_steps or pipeline.default_num_inference_steps,
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
    if config.num_frames is not None:
        check_multiple("frames", config.num_frames, pipeline.denoiser.frame_multiple)

    # Read everything once before the first file is written: a mistake in the last clip is told now.
    for clip in tqdm(clips, desc="check", unit="clip", leave=False, disable=len(clips) == 1):
        inputs = read_inputs(clip, config.num_frames, height, width)
        check_multiple(f"frames of clip {clip.name}", len(inputs.poses), pipeline.denoiser.frame_multiple)

    for index, clip in enumerate(clips, 1):
        inputs = read_inputs(clip, config.num_frames, height, width)
        frames = make_video(config, pipeline, clip, inputs)
        rows = [("photo", [inputs.photo]), ("poses", list(inputs.poses)), ("frames", list(frames))]
        path = config.output_dir / f"{clip.name}.mp4"
        write_video(path, frames, config.fps)
        write_png(path.with_suffix(".png"), contact_sheet(rows, title=clip.prompt))
        write_json(path.with_suffix(".json"), describe(config, pipeline, clip, frames))
        print(f"[{index}/{len(clips)}] {path}: {clip.prompt}")
    print(f"video (.mp4), contact sheet (.png) and settings (.json) of each clip are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
