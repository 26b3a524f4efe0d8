"""Measure the pose finder where the true joints are known: how often it finds somebody, and how exactly.

    python -m benchmarks.pose_finder --dataset fashion_dataset
    python -m benchmarks.pose_finder --dataset data_main --max_clips 20 --single

Prints a markdown table, by the view: all frames, fronts and backs (shoulders and hips at least 0.7 of their
full width), and what is between. Columns: frames; in how many somebody was found; median distance of all
shown joints from the truth in percent of her height (nose to ankles are 0.87 of it); PCK@0.2, the part
of the body joints (no face) within 0.2 torsos of the truth; frames whose left and right were exchanged, of
those where it can be told; how often "seen or not" is right, over the face, elbows and wrists; IoU of the
person's mask. Then the milliseconds a frame.
"""

import dataclasses
import time
from pathlib import Path

import numpy as np

from evaluation.clips import MeasuredClip, list_clips, load_clip
from evaluation.keypoints import PCK_TORSOS
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from utils.config import run_script
from utils.errors import UserError
from utils.pose_drawing import JOINT

NOSE_TO_ANKLES = 0.87
BODY = [index for name, index in JOINT.items() if not name.endswith(("nose", "eye", "ear"))]
MAY_HIDE = [i for name, i in JOINT.items() if name.endswith(("nose", "eye", "ear", "elbow", "wrist"))]
FULL_VIEW, CLEAR = 0.7, 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured on."""

    dataset: Path
    """Dataset that has the true joints beside its poses."""
    split: str = "test"
    """Split of the dataset: "train" or "test"."""
    max_clips: int | None = None
    """Measure only the first so many clips."""
    num_frames: int = 24
    """Frames to take of each clip."""
    single: bool = False
    """Find the person anew in each frame, as in a photo, instead of following her through the clip."""
    finder: Path = SHIPPED_FINDER
    """Folder of the pose finder's weights."""
    num_threads: int = 1
    """Threads that work on one frame."""
    fps: float = 8.0
    """Frames a second of the clips; tracks are smoothed by it."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in a clip."""

    keypoints: np.ndarray
    found: np.ndarray
    masks: list[np.ndarray | None]


def find_clip(finder: PoseFinder, frames: np.ndarray, config: Config) -> Found:
    """Read a clip's joints as a track, or frame by frame."""
    if config.single:
        poses = [finder.find(frame) for frame in frames]
        return Found(
            np.stack([pose.keypoints for pose in poses]),
            np.array([pose.found for pose in poses]),
            [pose.mask for pose in poses],
        )
    track = finder.find_track(frames, config.fps, with_masks=True)
    found = np.ones(len(frames), bool)
    found[track.missing] = False
    return Found(track.keypoints, found, track.masks)


def compare(result: Found, clip: MeasuredClip) -> dict[str, np.ndarray]:
    """Per-frame figures of one clip; NaN where there is nothing to compare."""
    truth, keypoints = clip.joints, result.keypoints
    assert truth is not None
    shown = truth[..., 2] > 0
    height = np.ptp(truth[..., 1], axis=1) / NOSE_TO_ANKLES
    hips = (truth[:, JOINT["left_hip"]] + truth[:, JOINT["right_hip"]])[:, :2] / 2
    torso = np.median(np.linalg.norm(truth[:, JOINT["neck"], :2] - hips, axis=1))
    away = np.linalg.norm(keypoints[..., :2] - truth[..., :2], axis=-1)
    away[~result.found] = np.nan

    across, found_across = (_across(joints) for joints in (truth, keypoints))
    side = across / max(float(np.abs(across).max()), 1e-6)
    swapped = np.where(np.abs(side) > CLEAR, np.sign(across) != np.sign(found_across), np.nan)
    near = np.where(shown, away < PCK_TORSOS * torso, np.nan)[:, BODY]
    right = (keypoints[..., 2] > 0) == shown
    masks = (
        [] if clip.masks is None else [_iou(a, b > 0) for a, b in zip(result.masks, clip.masks, strict=True)]
    )
    return {
        "side": side,
        "found": result.found.astype(float),
        "error": np.where(shown, away, np.nan) / height[:, None] * 100,
        "pck": np.where(result.found[:, None], near, 0),
        "swapped": np.where(result.found, swapped, np.nan),
        "seen": right[:, MAY_HIDE].astype(float),
        "iou": np.array(masks if masks else [np.nan] * len(truth)),
    }


def _across(joints: np.ndarray) -> np.ndarray:
    """How far the left shoulder and hip are to the right of the other ones, in pixels, (F,)."""
    parts = [
        joints[:, JOINT[f"left_{p}"], 0] - joints[:, JOINT[f"right_{p}"], 0] for p in ("shoulder", "hip")
    ]
    return np.sum(parts, axis=0)


def _iou(mask: np.ndarray | None, truth: np.ndarray) -> float:
    if mask is None:
        return float("nan")
    ours = mask > 0.5
    return float((ours & truth).sum() / max((ours | truth).sum(), 1))


def table(rows: list[dict[str, np.ndarray]]) -> str:
    """All clips as a markdown table, a row a view."""
    values = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    side = values["side"]
    views = {
        "all": np.full(len(side), True),
        "front": side >= FULL_VIEW,
        "between": np.abs(side) < FULL_VIEW,
        "back": side <= -FULL_VIEW,
    }
    lines = [
        "| view | frames | found % | median error % | PCK@0.2 | swapped % | seen right % | mask IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for view, which in views.items():
        if not which.any():
            continue
        part = {name: value[which] for name, value in values.items()}
        error = np.nanmedian(part["error"]) if np.isfinite(part["error"]).any() else np.nan
        mean = {name: _mean(part[name]) for name in ("found", "pck", "swapped", "seen", "iou")}
        lines.append(
            f"| {view} | {which.sum()} | {100 * mean['found']:.1f} | {error:.2f} | {mean['pck']:.3f} "
            f"| {100 * mean['swapped']:.1f} | {100 * mean['seen']:.1f} | {mean['iou']:.3f} |"
        )
    return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")


def main(config: Config) -> None:
    """Measure and print.

    Raises:
        UserError: a dataset or weights that cannot be read, or no true joints.
    """
    finder = PoseFinder.from_pretrained(config.finder, config.num_threads)
    sources = list_clips(config.dataset, config.split, "x2fashion", config.num_frames, config.max_clips)
    rows, seconds = [], 0.0
    for source in sources:
        clip = load_clip(config.dataset, source)
        if clip.joints is None:
            raise UserError(
                f"{config.dataset} has no joints of {clip.name}; only where they are known can it tell"
            )
        start = time.perf_counter()
        result = find_clip(finder, clip.frames, config)
        seconds += time.perf_counter() - start
        rows.append(compare(result, clip))
    print(table(rows))
    count = sum(len(row["side"]) for row in rows)
    print(f"\n{seconds / count * 1000:.1f} ms a frame on {config.num_threads} threads")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
