"""Measure videos: poses followed, appearance kept, sentence followed, smooth, true; beside controls.

Try it, on the model and the clips that ship, then on videos that are there already (NAME.mp4 or
NAME/000.png):

    python evaluate.py
    python evaluate.py --dataset fashion_dataset --split test --videos result --output_dir evaluation_result

Writes to --output_dir: metrics.json (means, 95 % intervals over clips, each clip, the controls), metrics.md
and metrics.csv (the same as tables), best.png, median.png and worst.png (contact sheets), videos/ (what was
made) and settings.json. What cannot be measured says "not computed" and why.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL
from tqdm import tqdm

import inference
from diffusion.latents import load_vae
from diffusion.pipeline import X2FashionPipeline
from evaluation import controls
from evaluation.bootstrap import estimate_mean
from evaluation.clips import Clip, ClipSource, list_clips, load_clip, read_estimated, read_generated
from evaluation.learned import LearnedMetrics
from evaluation.measure import MEASURES, Values, measure_video, motion_read, why_unread
from evaluation.report import (
    VIDEOS,
    Summary,
    csv_table,
    markdown_table,
    rank_clips,
    summarise,
    summarise_distances,
)
from models.keypoint_detector import KeypointDetector, detect_joints, load_detector
from models.text_to_poses import TextToPoses
from utils.config import run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.errors import UserError
from utils.files import write_json, write_text
from utils.image import write_png
from utils.video import write_video

SHIPPED_DETECTOR = inference.SHIPPED_DETECTOR
FOLDERS = {
    "poses": "videos",
    "text": "videos_text_only",
    "attention": "videos_attention",
    "conflict": "videos_conflict",
}
"""Condition -> where its videos go."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of an evaluation."""

    dataset: Path = Path("fashion_dataset")
    """Dataset with the true frames; masks, joints and labels are used where it has them."""
    split: Literal["train", "test"] = "test"
    """Which of its clips."""
    protocol: Literal["x2fashion", "humanvid24"] = "x2fashion"
    """x2fashion: first frame as photo, consecutive frames. humanvid24: middle frame, 24 frames at stride
    3."""
    num_frames: int = 24
    """Frames of a clip by protocol x2fashion, at least 3; shorter segments are taken whole."""
    max_clips: int | None = None
    """Measure only the first so many clips."""
    output_dir: Path = Path("evaluation_result")
    """Gets everything that is written."""

    videos: Path | None = None
    """Folder of videos to measure, NAME.mp4 or NAME/000.png; without it they are made by
    --pretrained_model."""
    videos_text_only: Path | None = None
    """Likewise, of videos that were made from the photo and the sentence."""
    videos_attention: Path | None = None
    """Likewise, of videos that only the video model's own attention to the sentence moved."""
    videos_conflict: Path | None = None
    """Likewise, of videos that were made with another clip's sentence (wrong_clip in metrics.json)."""
    conditions: tuple[Literal["poses", "text", "attention", "conflict"], ...] = ("poses", "text", "conflict")
    """What to make videos from: the poses and the sentence; the sentence alone, through skeletons made from
    it, or through the video model's own attention; the poses and a wrong sentence."""

    pretrained_model: Path = inference.SHIPPED_MODEL
    """A model's folder, a denoiser's folder from train.py, or a published .pth file."""
    vae: Path | None = None
    """VAE's folder; also for the control that sends the true frames through it."""
    tiny_decoder: Path | None = None
    """Folder of a small decoder for the videos, as in inference.py."""
    text_encoder: Path | None = None
    """CLIP text encoder's folder; a published .pth needs it."""
    tokenizer: Path | None = None
    """Tokenizer's folder, where it is not in the text encoder's."""
    text_to_poses: Path | None = None
    """Text-to-poses model's folder; by default the one in the model's folder."""
    quality: Literal["fast", "balanced", "best"] | None = None
    """Level of quality, as in inference.py; flags that are given win over it."""
    scheduler: Literal["default", "ddpm", "ddim", "dpmsolver++", "unipc", "euler", "lcm"] = "default"
    """Sampler, as in inference.py; so are the following."""
    num_inference_steps: int | None = None
    """Denoising steps."""
    reuse_interval: int | None = None
    """Compute the network's inner levels in every so many-th step only."""
    guidance_interval: tuple[float, float] | None = None
    """Share of the steps from which to which guidance scales hold."""
    image_guidance_scale: float = 1.0
    """How much to follow the photo."""
    pose_guidance_scale: float = 1.0
    """How much to follow the poses."""
    text_guidance_scale: float = 1.0
    """How much to follow the sentence."""
    height: int | None = None
    """Of the pictures in pixels; by default the model's, and the dataset's where no model is loaded."""
    width: int | None = None
    """Likewise."""
    seed: int = 0
    """Of the videos' noise and of the intervals."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks' products."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""

    keypoint_detector: Path = SHIPPED_DETECTOR
    """Weights from recipe.train_keypoint_detector; joints and motions of videos are read with them."""
    estimated_joints: Path | None = None
    """Joints of the videos by an estimator of yours: NAME.json or skeletons NAME/000.png, as in
    fashion_poses."""
    lpips_weights: Path | None = None
    """TorchScript file: two pictures (n, 3, H, W) in [-1, 1] to n distances."""
    inception_weights: Path | None = None
    """TorchScript file: uint8 pictures (n, 3, H, W) to features; for FID."""
    i3d_weights: Path | None = None
    """TorchScript file: videos (n, 3, F, 224, 224) in [-1, 1] to features; for FVD."""
    clip_model: Path | None = None
    """Folder of a CLIP model with its tokenizer; for the CLIP score."""
    sheet_measure: str = "silhouette_iou"
    """By which measure clips are best, median and worst; PSNR where it cannot be computed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tools:
    """What an evaluation needs besides the clips."""

    pipeline: X2FashionPipeline | None
    vae: AutoencoderKL | None
    detector: KeypointDetector | None
    learned: LearnedMetrics
    text_to_poses: TextToPoses | str = "no model"
    """Or why there is none."""


def inference_config(config: Config) -> inference.Config:
    """The settings that this script shares with inference.py."""
    ours, theirs = ({field.name for field in dataclasses.fields(c)} for c in (Config, inference.Config))
    shared = (ours & theirs) - {"num_frames", "output_dir"}
    return inference.Config(**{name: getattr(config, name) for name in shared})


def check(config: Config) -> None:
    """Refuse settings that cannot be right, before anything is loaded.

    Raises:
        UserError: a number out of its range or an unknown measure.
    """
    if config.num_frames < 3:
        raise UserError(
            f"--num_frames {config.num_frames} is too few; flicker takes 3 frames, a clip usually has 24"
        )
    if config.max_clips is not None and config.max_clips < 1:
        raise UserError(f"--max_clips {config.max_clips} leaves nothing to measure; give at least 1")
    if config.sheet_measure not in MEASURES:
        raise UserError(
            f"--sheet_measure {config.sheet_measure} is unknown; choose one of {', '.join(MEASURES)}"
        )
    if (config.height is None) != (config.width is None):
        raise UserError("--height and --width go together; give both or none")
    if not config.keypoint_detector.is_file() and config.keypoint_detector != SHIPPED_DETECTOR:
        raise UserError(
            f"--keypoint_detector {config.keypoint_detector} does not exist; give a .safetensors file"
        )


def load_tools(config: Config) -> Tools:
    """Load the model, unless videos are given, and the networks that measure.

    Raises:
        UserError: something is missing or does not fit; the message names it.
    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = vae = None
    text_to_poses: TextToPoses | str = "no model"
    if config.videos is None:
        settings = inference_config(config)
        pipeline = inference.load_pipeline(settings, torch.device(device))
        vae = pipeline.vae
        try:
            text_to_poses = inference.load_matching_text_to_poses(settings, pipeline)
        except UserError as error:
            text_to_poses = str(error)
    elif config.vae is not None or (config.pretrained_model / "vae").is_dir():
        vae = load_vae(config.vae or config.pretrained_model / "vae").to(device)
    detector = (
        load_detector(config.keypoint_detector).to(device) if config.keypoint_detector.is_file() else None
    )
    learned = LearnedMetrics(
        config.lpips_weights, config.inception_weights, config.i3d_weights, config.clip_model, device
    )
    return Tools(pipeline=pipeline, vae=vae, detector=detector, learned=learned, text_to_poses=text_to_poses)


def make_video(
    config: Config,
    pipeline: X2FashionPipeline,
    clip: Clip,
    prompt: str,
    with_poses: bool = True,
    text_to_poses: TextToPoses | None = None,
) -> np.ndarray:
    """Sample the video of a clip, (F, H, W, 3) uint8.

    Where the photo is not the first frame, the sampled clip begins at the photo's own pose, and that frame is
    dropped; the last pose is held until the number of frames suits the model.

    Args:
        config: settings.
        pipeline: the model.
        clip: photo, and poses if wanted.
        prompt: the sentence.
        with_poses: give the clip's poses; else the sentence moves the person.
        text_to_poses: makes skeletons from the sentence then; None leaves it to the video model's attention.
    """
    lead, count = int(not clip.photo_is_first), len(clip.frames)
    multiple = pipeline.denoiser.frame_multiple
    sampled = -(-(lead + count) // multiple) * multiple
    settings = dataclasses.replace(inference_config(config), num_frames=sampled)
    place = inference.Clip(name=clip.name, image=config.dataset, poses=None, prompt=prompt)
    inputs = inference.Inputs(photo=clip.photo, poses=None, joints=None, image_joints=clip.photo_joints)
    if with_poses:
        order = np.minimum(np.arange(sampled), lead + count - 1)
        poses, joints = np.concatenate([clip.photo_pose[None][:lead], clip.poses])[order], clip.joints
        if joints is not None and clip.photo_joints is not None:
            joints = np.concatenate([clip.photo_joints[None][:lead], joints])[order]
        inputs = dataclasses.replace(inputs, poses=poses, joints=joints)
    elif text_to_poses is not None:
        pose = clip.photo_joints
        inputs = inference.move_by_sentence(settings, pipeline, text_to_poses, place, inputs, pose)
    return np.stack(list(inference.make_video(settings, pipeline, place, inputs)))[lead : lead + count]


def video_of(config: Config, tools: Tools, clip: Clip, condition: str, prompt: str) -> np.ndarray | str:
    """The video of a clip under a condition, read or made (and then written), or why there is none."""
    folder = FOLDERS[condition]
    given = getattr(config, folder)
    if given is not None:
        return read_generated(given, clip)
    if tools.pipeline is None or condition not in config.conditions:
        return (
            f"no such videos; give --{folder} DIR, or let --pretrained_model make them with "
            f"--conditions {condition}"
        )
    model = None
    if condition == "text":
        if isinstance(tools.text_to_poses, str):
            return tools.text_to_poses
        if clip.photo_joints is None:
            return "no joints of the photo (fashion_poses)"
        model = tools.text_to_poses
    with_poses = condition not in ("text", "attention")
    video = make_video(config, tools.pipeline, clip, prompt, with_poses, model)
    write_video(config.output_dir / folder / f"{clip.name}.mp4", video, inference.Config.fps)
    return video


def measure_sentence(config: Config, tools: Tools, clip: Clip, wrong: ClipSource | None) -> Values:
    """Whether the sentence alone moves the person, and who wins where sentence and poses conflict."""
    motions = clip.source.motions

    def read(condition: str, prompt: str, wanted: dict[str, tuple[str, ...]]) -> Values:
        reason = why_unread(motions, tools.detector is not None)
        video = reason or video_of(config, tools, clip, condition, prompt)
        if isinstance(video, str):
            return dict.fromkeys(wanted, video)
        assert tools.detector is not None
        joints = detect_joints(tools.detector, video)
        return {name: motion_read(labels, joints) for name, labels in wanted.items()}

    text = clip.source.segment.text
    values = read("text", text, {"motion_accuracy_text_only": motions})
    values |= read("attention", text, {"motion_accuracy_attention_only": motions})
    names = "motion_conflict_follows_poses", "motion_conflict_follows_text"
    if wrong is None or not wrong.motions or wrong.motions == motions:
        return values | dict.fromkeys(names, "no clip of another motion to take a sentence from")
    return values | read(
        "conflict", wrong.segment.text, dict(zip(names, (motions, wrong.motions), strict=True))
    )


@dataclasses.dataclass
class Row:
    """The measures of one row of the table, clip by clip, and the features of its videos."""

    clips: dict[str, Values] = dataclasses.field(default_factory=dict)
    features: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    reason: str | None = None

    def add(
        self, tools: Tools, clip: Clip, video: np.ndarray | str, external: np.ndarray | None = None
    ) -> None:
        """Measure one video of a clip; a string says why there is none."""
        if isinstance(video, str):
            self.clips[clip.name], self.reason = dict.fromkeys(MEASURES, video), video
            return
        self.clips[clip.name] = measure_video(clip, video, tools.detector, tools.learned, external)
        for name, features in tools.learned.features(video[clip.scored]).items():
            self.features.setdefault(name, []).append(features)


def measure_all(
    config: Config, tools: Tools, sources: list[ClipSource], size: tuple[int, int] | None
) -> dict[str, Row]:
    """Measure the videos and the controls of all clips, one clip in memory at a time."""
    rows = {name: Row() for name in (VIDEOS, *controls.CONTROLS)}
    for index, source in enumerate(tqdm(sources, desc="evaluate", unit="clip")):
        clip = load_clip(config.dataset, source, size)
        wrong = controls.choose_wrong(sources, index)
        external = None if config.estimated_joints is None else read_estimated(config.estimated_joints, clip)
        rows[VIDEOS].add(tools, clip, video_of(config, tools, clip, "poses", source.segment.text), external)
        rows[VIDEOS].clips[clip.name] |= measure_sentence(config, tools, clip, wrong)
        wrong_clip = None if wrong is None else load_clip(config.dataset, wrong, size)
        for name, video in controls.control_videos(tools.vae, clip, wrong_clip).items():
            rows[name].add(tools, clip, video)
        rows["truth"].clips[clip.name]["motion_rules_on_true_joints"] = motion_read(
            source.motions, clip.joints
        )
    return rows


def write_sheets(
    config: Config, sources: list[ClipSource], size: tuple[int, int] | None, clips: dict[str, Values]
) -> None:
    """Contact sheets of the best, the median and the worst clip."""
    measure, ranked = rank_clips(clips, config.sheet_measure)
    by_name = {source.name: source for source in sources}
    for label, name in {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}.items():
        clip = load_clip(config.dataset, by_name[name], size)
        video = read_generated(config.videos or config.output_dir / FOLDERS["poses"], clip)
        rows = [("photo", [clip.photo]), ("poses", list(clip.poses)), ("video", list(video))]
        if (warped := controls.photo_warped(clip)) is not None:
            rows.append(("photo warped to the poses", list(warped[0])))
        rows.append(("truth", list(clip.frames)))
        title = f"{label}: {name}, {measure} {clips[name][measure]:.3g}. {clip.source.segment.text}"
        write_png(config.output_dir / f"{label}.png", contact_sheet(rows, title=title))


def write_report(config: Config, rows: dict[str, Row], sources: list[ClipSource]) -> dict[str, Summary]:
    """Write metrics.json, metrics.md and metrics.csv."""
    truth = rows["truth"]
    table = {
        name: summarise(list(row.clips.values()), config.seed)
        | summarise_distances(row.features, truth.features, row.reason)
        for name, row in rows.items()
    }
    rules = [values.pop("motion_rules_on_true_joints") for values in truth.clips.values()]
    right = [value for value in rules if not isinstance(value, str)]
    document: dict[str, Any] = {
        **table[VIDEOS],
        "controls": {name: table[name] for name in controls.CONTROLS},
        "motion_rules_on_true_joints": (
            estimate_mean(right, config.seed) if right else f"not computed: {rules[0]}"
        ),
        "protocol": config.protocol,
        "num_clips": len(sources),
        "clips": {
            source.name: {
                "text": source.segment.text,
                "motions": source.motions,
                "wrong_clip": getattr(controls.choose_wrong(sources, index), "name", None),
                **rows[VIDEOS].clips[source.name],
            }
            for index, source in enumerate(sources)
        },
    }
    write_json(config.output_dir / "metrics.json", document)
    header = (
        f"# {len(sources)} clips of {config.dataset}/{config.split}, protocol {config.protocol}\n\n"
        f"Videos: {config.videos or config.pretrained_model}. Means, 95 % intervals (bootstrap over clips). "
        f"Controls: {'; '.join(f'{name}: {meaning}' for name, meaning in controls.CONTROLS.items())}."
    )
    write_text(config.output_dir / "metrics.md", markdown_table(table, header))
    write_text(config.output_dir / "metrics.csv", csv_table(table))
    return table


def main(config: Config) -> None:
    """Choose clips, measure them one by one, write the report."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    check(config)
    sources = list_clips(config.dataset, config.split, config.protocol, config.num_frames, config.max_clips)
    tools = load_tools(config)
    size = (config.height, config.width) if config.height and config.width else None
    if size is None and tools.pipeline is not None:
        size = tools.pipeline.config.height, tools.pipeline.config.width
    save_config(config, config.output_dir / "settings.json")

    rows = measure_all(config, tools, sources, size)
    table = write_report(config, rows, sources)
    write_sheets(config, sources, size, rows[VIDEOS].clips)
    for name, summary in table[VIDEOS].items():
        text = f"{summary['mean']:.4g}" if isinstance(summary, dict) else summary
        print(f"{name:32} {text}")
    print(f"metrics.json, metrics.md, metrics.csv and three sheets are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
