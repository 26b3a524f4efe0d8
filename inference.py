"""Make videos: one photo, a sequence of poses and a sentence become a short clip.

Try it, on the clips that ship, then on a photo of your own, with poses and with a sentence alone:

    python inference.py
    python inference.py --image photo.png --poses skeletons.mp4 --prompt "This lady turns to the left."
    python inference.py --image photo.png --prompt "She turns to her left."
    python inference.py --image photo.png --timeline "0-2: She stands and sways; 2-5: She turns to her left"

For each clip, --output_dir gets NAME.mp4, NAME.png (photo, poses, frames) and NAME.json (settings). Skeletons
that were made from a sentence are there as well, NAME_poses/: edit them, give them again with --poses.
A published checkpoint; add --scheduler ddpm --num_inference_steps 1000 for its own procedure:

    python inference.py --pretrained_model model.pth --vae DIR --text_encoder DIR --image PNG --poses DIR
"""

import utils.interrupts  # noqa: F401

# isort: split
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from tqdm import tqdm

from data.pose_json import write_openpose_folder
from diffusion.inputs import check_multiple
from diffusion.motion import write_poses
from diffusion.pipeline import X2FashionPipeline
from generation.backdrop import Backdrop
from generation.findings import Report
from generation.inputs import Clip, Inputs, dataset_clips
from generation.loading import load_motion_tools, load_pipeline
from generation.look import has_new_poses
from generation.mending import has_even_times
from generation.outputs import (
    SUMS,
    check_outputs,
    joints_folder,
    joints_sha256,
    keeps_poses,
    poses_folder,
    read_settings,
)
from generation.own_clip import (
    ClipSettings,
    check_num_frames,
    fps_of,
    frame_size,
    look_at_inputs,
    num_frames_of,
    own_clip,
    prepare_own_clip,
)
from generation.resuming import window_store
from generation.tracks import pose_pictures
from generation.video import choose_sampling, clip_seed, make_video, prepare_inputs
from generation.windows import plan_windows
from utils.checkpoint import file_sha256
from utils.config import check_minimum, run_script
from utils.contact_sheet import contact_sheet, spread, thumbnail
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import check_output_dir, write_json
from utils.image import to_uint8, write_png
from utils.paths import SHIPPED_DATASET
from utils.precision import resolve_dtype
from utils.versions import package_versions
from utils.video import check_fps, write_video

MAX_SIDE = 4096
SHEET_COLUMNS, SHEET_PHOTOS = 12, 4
QUIET = ("person", "not_looked", "same_first_pose")
"""Codes of findings that --check_inputs alone prints."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ClipSettings):
    """Settings of a run."""

    BARE_FLAGS: ClassVar[dict[str, str]] = {"--fit_poses": "on"}

    check_inputs: bool = False
    """Look at photo, poses and sentence, print the whole report, and make no video."""
    strict: bool = False
    """Refuse inputs that would otherwise only cause a warning."""
    save_joints: Literal["openpose"] | None = None
    """Also write the joints of the video's frames as OpenPose does, a JSON a frame in NAME_openpose/, which
    ControlNet tools read."""
    dataset: Path = SHIPPED_DATASET
    """Dataset to take the clips from if there is no --image."""
    split: Literal["train", "test"] = "test"
    """Split of the dataset to take the clips from."""
    output_dir: Path = Path("result")
    """Folder for the videos, contact sheets and settings. What an earlier run wrote there is replaced."""


def list_clips(config: Config) -> list[Clip]:
    """Say what to make: the user's own clip, or all of the dataset's split.

    Raises:
        UserError: flags that do not go together, or a dataset that cannot be read.
    """
    if config.image:
        return [own_clip(config)]
    for flag in (
        "poses",
        "prompt",
        "timeline",
        "image_joints",
        "fit_poses",
        "frame",
        "check_inputs",
        "strict",
    ):
        if getattr(config, flag) not in (None, "", "auto", "model", False):
            raise UserError(f"--{flag} {getattr(config, flag)} goes with --image; give the photo as well")
    return dataset_clips(config.dataset, config.split)


def write_clip(config: Config, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs) -> Path:
    """Sample a clip and write its video, contact sheet and settings; returns the video's path."""
    path = config.output_dir / f"{clip.name}.mp4"
    height, width = inputs.photo.shape[:2]
    count = num_frames_of(config, inputs)
    settings = describe(config, pipeline, clip, count, height, width) | {"fps": fps_of(config, inputs)}
    shown = set(spread(count, SHEET_COLUMNS))
    frames: list[np.ndarray] = []
    laid: list[np.ndarray] = []
    backdrop = Backdrop(inputs.original) if config.frame == "photo" and inputs.original else None
    store = window_store(config.output_dir / f".{clip.name}.windows", config, pipeline, clip, inputs, count)

    def video() -> Iterator[np.ndarray]:
        for index, frame in enumerate(make_video(config, pipeline, clip, inputs, count, store)):
            if index in shown:
                frames.append(frame)
            if backdrop is not None:
                frame = backdrop.lay(frame, None if inputs.joints is None else inputs.joints[index])
                if index in spread(count, SHEET_PHOTOS):
                    laid.append(thumbnail(frame))
            yield frame
        if before:  # from here on the files are not as it says, wherever this is stopped
            unsure = {name: value for name, value in before.items() if name not in SUMS.values()}
            write_json(path.with_suffix(".json"), unsure)

    before = read_settings(config.output_dir, clip.name) or {}
    sums = {"joints_sha256": before.get("joints_sha256")}
    write_video(path, video(), fps_of(config, inputs))
    # At once: by its settings the video is known as one of this script, if the rest is interrupted.
    sums["video_sha256"] = file_sha256(path)
    write_json(path.with_suffix(".json"), settings | sums)
    further = [to_uint8(view.photo) for view in inputs.views]
    rows = [("photos" if further else "photo", [inputs.photo, *further]), ("frames", frames)]
    if inputs.poses is not None:
        rows[1:1] = pose_rows(clip, inputs, sorted(shown))
        if inputs.joints is not None and (clip.poses is None or has_new_poses(inputs)):
            folder = poses_folder(config.output_dir, clip.name)
            if clip.poses is not None and keeps_poses(config.output_dir, clip):
                print(f"the skeletons in {folder} are kept; the new ones are not saved")
            else:
                write_poses(folder, inputs.joints, height, width, fps_of(config, inputs))
    if laid:
        rows.append(("the whole photo", laid))
    if config.save_joints == "openpose":
        save_joints(config, clip, inputs, count, backdrop)
        sums["joints_sha256"] = joints_sha256(joints_folder(config.output_dir, clip.name))
        write_json(path.with_suffix(".json"), settings | sums)
    sheet = path.with_suffix(".png")
    write_png(sheet, contact_sheet(rows, title=clip.prompt))
    write_json(path.with_suffix(".json"), settings | sums | {"sheet_sha256": file_sha256(sheet)})
    if store is not None:
        store.remove()
    return path


def save_joints(config: Config, clip: Clip, inputs: Inputs, count: int, backdrop: Backdrop | None) -> None:
    """Write a video's joints, in its own pixels, as OpenPose's files."""
    assert inputs.joints is not None
    joints, size = inputs.joints[:count], inputs.photo.shape[:2]
    if backdrop is not None:
        joints, size = backdrop.to_photo(joints), backdrop.plate.shape[:2]
    folder, fps = joints_folder(config.output_dir, clip.name), fps_of(config, inputs)
    write_openpose_folder(folder, clip.name, joints, size[0], size[1], fps)


def pose_rows(clip: Clip, inputs: Inputs, shown: list[int]) -> list[tuple[str, list[np.ndarray]]]:
    """Rows of the sheet: the skeletons, and the pictures of a person in which they were found."""
    assert inputs.poses is not None
    track, rows = inputs.track, []
    if clip.poses is not None and track is not None and track.found and has_even_times(track.times):
        pictures = pose_pictures(clip.poses, clip.start, max(shown) + 1)
        assert pictures is not None
        driver = [picture for index, picture in enumerate(pictures) if index in shown]
        rows.append(("the person whose poses were found", driver))
    label = "poses made from the sentence" if clip.poses is None else "poses"
    return [*rows, (label, list(inputs.poses[shown]))]


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
        **dataclasses.asdict(choose_sampling(config, pipeline)),
        "clip_seed": clip_seed(config.seed, clip.name),
        "dtype": str(resolve_dtype(config.dtype, pipeline.device)).removeprefix("torch."),
        "device": str(pipeline.device),
        "versions": package_versions(),
    }
    return json.loads(json.dumps(settings, default=str))


def main(config: Config) -> None:
    """Check everything, then make one clip after the other."""
    check_minimum(config, 1, *(["num_frames"] if config.num_frames is not None else []))
    if config.fps is not None:
        check_fps(config.fps)
    if not config.check_inputs:
        check_output_dir(config.output_dir)
    device = choose_device(config.device)
    clips = list_clips(config)
    from_text = any(clip.poses is None for clip in clips)
    made = [clip.name for clip in clips] if from_text or config.fit_poses == "on" else []
    dataset = None if config.image else config.dataset
    if not config.check_inputs:  # which writes nothing
        check_outputs(config.output_dir, clips, config, made, dataset, config.save_joints is not None)
    pipeline = load_pipeline(config, device)
    height, width = frame_size(config, pipeline)
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
    find_pose = from_text and any(clip.image_joints is None for clip in clips)
    tools = load_motion_tools(config, pipeline, from_text=from_text, find_pose=find_pose)

    def prepare(clip: Clip) -> Inputs:
        if config.image:
            return prepare_own_clip(config, pipeline, tools, clip)
        frames = config.num_frames
        return prepare_inputs(
            pipeline, tools, clip, num_frames=frames, height=height, width=width, seed=config.seed
        )

    for clip in tqdm(clips, desc="check", unit="clip", leave=False, disable=len(clips) == 1):
        inputs = prepare(clip)
        check_num_frames(config, pipeline, clip, inputs)
        if config.save_joints is not None and inputs.joints is None:
            raise UserError(f"no joints can be read in the poses of {clip.name}; leave out --save_joints")
    if config.image:
        report = Report(look_at_inputs(config, pipeline, clip, inputs), config.strict)
        for finding in report.findings:
            if config.check_inputs or (finding.severity != "refusal" and finding.code not in QUIET):
                print(finding)
        report.check()
        if config.check_inputs:
            return

    for index, clip in enumerate(clips, 1):
        path = write_clip(config, pipeline, clip, inputs if len(clips) == 1 else prepare(clip))
        print(f"[{index}/{len(clips)}] {path}: {clip.prompt}")
    print(f"video (.mp4), contact sheet (.png) and settings (.json) of each clip are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
