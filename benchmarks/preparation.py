"""Measure how well raw videos are prepared, where the truth is known.

    python -m benchmarks.preparation --dataset fashion_dataset --split test
    python -m benchmarks.preparation --video clip.mp4 --joints clip_dwpose.json

The first films rendered clips as phones would (`data/synthetic/phone.py`) and prepares the videos. The
second compares with joints that another estimator found in the same video.

Printed are the median distance of the body's joints (no face) from the truth in percent of her height (nose
to ankles are 0.87 of it) and their PCK@0.2; frames whose left and right were exchanged, of those where it can
be told; of rendered clips also the IoU of the masks, frames that show all of her, and clips whose motions are
read right. Then the time of a core for a frame, reading and writing included.
"""

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.pose_json import read_pose_json
from data.synthetic.phone import PHONES, film
from evaluation.clips import list_clips, load_clip
from evaluation.keypoints import PCK_TORSOS
from models.pose_finder import PoseFinder
from preparation.clips import Settings, prepare_video
from preparation.layout import MASKS, POSES, record_path
from preparation.videos import Video
from utils.config import run_script
from utils.errors import UserError
from utils.image import read_image
from utils.pose_drawing import HIPS, JOINT, joint_indices
from utils.video import iter_video

BODY = [index for name, index in JOINT.items() if not name.endswith(("nose", "eye", "ear"))]
NOSE_TO_ANKLES = 0.87
CLEAR = 0.2
"""Of the widest that shoulders and hips are seen, from which on left and right can be told."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured on."""

    dataset: Path | None = None
    """Rendered clips with joints and masks."""
    split: str = "test"
    """"train" or "test"."""
    max_clips: int | None = None
    """Take only the first so many clips."""
    clip_fps: float = 10.0
    """Frames per second of the rendered clips."""
    video: Path | None = None
    """A real video, in place of --dataset."""
    joints: Path | None = None
    """OpenPose or DWPose JSON of --video, a pose a frame."""
    fps: float = 10.0
    """Frames per second to prepare --video at."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A clip that was prepared, in pixels of the upright video of height 1 and width 1."""

    joints: np.ndarray
    numbers: np.ndarray
    crop: np.ndarray
    motions: tuple[str, ...]
    folder: Path
    name: str


def prepare(path: Path, work: Path, settings: Settings, finder: PoseFinder) -> list[Prepared]:
    """Prepare one video; its clips."""
    video = Video(path.stem, path, path.name)
    prepare_video(video, work, settings, finder)
    clips = []
    for entry in json.loads(record_path(work, video.name).read_text())["clips"]:
        known: dict[str, Any] = json.loads((work / POSES / f"{entry['name']}.json").read_text())
        crop = np.array(known["source"]["crop"])
        joints = np.array(known["keypoints"])
        joints[..., :2] = (joints[..., :2] + 0.5) / (known["width"], known["height"])
        joints[..., :2] = joints[..., :2] * crop[2:] + crop[:2]
        motions = tuple(entry["readings"][0]["motions"]) if entry["readings"] else ()
        numbers = np.array(known["source"]["frames"])
        clips.append(Prepared(joints, numbers, crop, motions, work, entry["name"]))
    return clips


def compare_joints(found: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Per-frame figures of joints (F, 18, 3) in pixels; NaN where there is nothing to compare."""
    shown = truth[..., 2] > 0
    hips = truth[:, joint_indices(HIPS), :2].mean(axis=1)
    torso = np.median(np.linalg.norm(truth[:, JOINT["neck"], :2] - hips, axis=1))
    height = np.median(truth[:, 10, 1] + truth[:, 13, 1] - 2 * truth[:, 0, 1]) / 2 / NOSE_TO_ANKLES
    away = np.where(shown, np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1), np.nan)[:, BODY]
    ours, theirs = _across(found), _across(truth)
    clear = np.abs(theirs) > CLEAR * np.abs(theirs).max()
    return {
        "pck": np.where(np.isnan(away), np.nan, away < PCK_TORSOS * torso),
        "error": away / height * 100,
        "swapped": np.where(clear, np.sign(ours) != np.sign(theirs), np.nan),
    }


def _across(joints: np.ndarray) -> np.ndarray:
    """How far the left shoulder and hip are to the right of the other ones, (F,)."""
    left, right = ([JOINT[f"{side}_{part}"] for part in ("shoulder", "hip")] for side in ("left", "right"))
    return (joints[:, left, 0] - joints[:, right, 0]).sum(axis=1)


def measure_rendered(config: Config, work: Path, finder: PoseFinder) -> None:
    """Film, prepare and compare rendered clips."""
    assert config.dataset is not None
    sources = list_clips(config.dataset, config.split, "x2fashion", 24, config.max_clips)
    values: dict[str, list[np.ndarray]] = {}
    seconds, frames = 0.0, 0
    for number, source in enumerate(sources):
        clip = load_clip(config.dataset, source)
        if clip.joints is None or clip.masks is None:
            raise UserError(f"{config.dataset} has no joints or no masks of {clip.name}; render it anew")
        phone = PHONES[number % len(PHONES)]
        path = work / "videos" / f"{clip.name}.mp4"
        place = film(path, list(clip.frames), config.clip_fps, phone, number)
        start = time.process_time()
        settings = Settings(fps=config.clip_fps, min_frames=len(clip.frames))
        prepared = prepare(path, work, settings, finder)
        seconds, frames = seconds + time.process_time() - start, frames + len(clip.frames)
        values.setdefault("kept", []).append(np.array([len(prepared) == 1]))
        for made in prepared:
            size = np.array([phone.width, phone.height])
            at = made.numbers // phone.repeats
            truth, found = place.to_fitted(clip.joints)[at], made.joints.copy()
            found[..., :2] = found[..., :2] * size - 0.5
            row = compare_joints(found, truth) | _compare_masks(made, clip.masks[at], place, size)
            row["label"] = np.array([made.motions == source.motions])
            if made.motions != source.motions:
                print(f"{clip.name} shows {source.motions}, read was {made.motions}")
            for name, figures in row.items():
                values.setdefault(name, []).append(figures.ravel())
    print(f"{len(sources)} clips, {frames} frames")
    report(values, seconds / frames)


def _compare_masks(made: Prepared, masks: np.ndarray, place: Any, size: np.ndarray) -> dict[str, np.ndarray]:
    """IoU of the masks, and whether the frame holds the true mask."""
    iou, whole = [], []
    paths = sorted((made.folder / MASKS / made.name).glob("*.png"))
    for mask, path in zip(masks, paths, strict=True):
        ours = read_image(path).max(axis=2) > 0
        height, width = ours.shape
        # A pixel of the clip is in the video, and from there in the frame.
        to_frame = np.array([width, height]) / (made.crop[2:] * size)
        scale = place.scale * to_frame
        shift = (np.array([place.left, place.top]) - made.crop[:2] * size) * to_frame
        matrix = np.hstack([np.diag(scale), (shift + (scale - 1) / 2)[:, None]])
        there = cv2.warpAffine((mask > 0).astype(np.float32), matrix, (width, height)) > 0.5
        iou.append((ours & there).sum() / max((ours | there).sum(), 1))
        rows, columns = np.flatnonzero((mask > 0).any(axis=1)), np.flatnonzero((mask > 0).any(axis=0))
        low = np.array([columns[0], rows[0]]) * scale + shift
        high = np.array([columns[-1] + 1, rows[-1] + 1]) * scale + shift
        whole.append((low >= -1).all() and (high <= np.array([width, height]) + 1).all())
    return {"iou": np.array(iou), "whole": np.array(whole)}


def report(values: dict[str, list[np.ndarray]], seconds: float) -> None:
    """Print one line a figure."""
    joined = {name: np.concatenate(parts).astype(float) for name, parts in values.items()}
    titles = {
        "kept": "videos that became one clip",
        "pck": "PCK@0.2",
        "swapped": "frames with left and right exchanged",
        "iou": "mask IoU",
        "whole": "frames that show all of her",
        "label": "clips whose motions are read right",
    }
    print(f"median error: {np.nanmedian(joined['error']):.2f} % of her height")
    for name, title in titles.items():
        if name in joined:
            print(f"{title}: {np.nanmean(joined[name]):.3f}")
    print(f"{1000 * seconds:.0f} ms of a core's time a frame")


def measure_real(config: Config, work: Path, finder: PoseFinder) -> None:
    """Prepare a real video and compare with joints of another estimator."""
    assert config.video is not None and config.joints is not None
    track = read_pose_json(config.joints)
    picture = next(iter_video(config.video))[0]
    start = time.process_time()
    clips = prepare(config.video, work, Settings(fps=config.fps), finder)
    seconds = time.process_time() - start
    values: dict[str, list[np.ndarray]] = {}
    for made in clips:
        found = made.joints.copy()
        found[..., :2] = found[..., :2] * (picture.shape[1], picture.shape[0]) - 0.5
        for name, figures in compare_joints(found, track.keypoints[made.numbers]).items():
            values.setdefault(name, []).append(figures.ravel())
    frames = sum(len(made.numbers) for made in clips)
    if not frames:
        raise UserError(f"nothing of {config.video} was kept; no whole person is in it")
    print(f"{len(clips)} clips, {frames} frames")
    report(values, seconds / frames)


def main(config: Config) -> None:
    """Measure and print.

    Raises:
        UserError: a dataset, video or joints that cannot be read, or neither was given.
    """
    if (config.dataset is None) == (config.video is None or config.joints is None):
        raise UserError("give --dataset, or --video with --joints")
    cv2.setNumThreads(1)
    finder = PoseFinder.from_pretrained()
    with tempfile.TemporaryDirectory() as work:
        measure = measure_rendered if config.dataset is not None else measure_real
        measure(config, Path(work), finder)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
