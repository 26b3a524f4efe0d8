"""What the pose finder that ships makes of videos, on the clips that ship."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.clips import MeasuredClip, list_clips, load_clip
from evaluation.controls import control_videos
from evaluation.keypoints import joint_errors
from evaluation.learned import LearnedMetrics
from evaluation.measure import NOBODY, find_joints, measure_video, motion_read
from models.pose_finder import PoseFinder
from tests.evaluation.test_controls_order import mean_of
from utils.pose_drawing import JOINT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finder() -> PoseFinder:
    return PoseFinder.from_pretrained()


@pytest.fixture(scope="module")
def clips() -> list[MeasuredClip]:
    dataset = ROOT / "fashion_dataset"
    return [load_clip(dataset, source) for source in list_clips(dataset, "test", "x2fashion", 24)]


@pytest.fixture(scope="module")
def found(finder: PoseFinder, clips: list[MeasuredClip]) -> list[np.ndarray]:
    """The joints of the true frames, for each clip (24, 18, 3)."""
    return [find_joints(finder, clip.frames) for clip in clips]


def test_joints_are_found(clips: list[MeasuredClip], found: list[np.ndarray]) -> None:
    for clip, joints in zip(clips, found, strict=True):
        error, pck = joint_errors(joints, clip.joints, clip.frames.shape[1])
        assert pck > 0.95 and error < 2, (clip.name, error, pck)


def test_left_is_told_from_right_and_front_from_back(
    clips: list[MeasuredClip], found: list[np.ndarray]
) -> None:
    for clip, joints in zip(clips, found, strict=True):
        for joint in ("shoulder", "hip"):
            ours, theirs = (
                (each[:, JOINT[f"left_{joint}"]] - each[:, JOINT[f"right_{joint}"]])[:, 0]
                for each in (joints, clip.joints)
            )
            clear = np.abs(theirs) > 0.02 * clip.frames.shape[1]
            np.testing.assert_array_equal(np.sign(ours)[clear], np.sign(theirs)[clear])


def test_motions_are_read_from_frames(clips: list[MeasuredClip], found: list[np.ndarray]) -> None:
    labelled = [
        (c.source.motions, joints) for c, joints in zip(clips, found, strict=True) if c.source.motions
    ]
    read = [motion_read(motions, joints) for motions, joints in labelled]
    assert len(read) >= 5 and sum(read) >= len(read) - 1, read


@pytest.mark.parametrize("change", ["blurred", "noisy", "moved", "another background"])
def test_joints_are_found_in_worse_pictures(
    change: str, finder: PoseFinder, clips: list[MeasuredClip]
) -> None:
    rng = np.random.default_rng(0)
    pcks = []
    for clip in clips:
        frames, joints = clip.frames[::3].astype(np.float32), clip.joints[::3].copy()
        if change == "blurred":
            frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames])
        elif change == "noisy":
            frames = frames + rng.normal(0, 12, frames.shape)
        elif change == "moved":
            matrix = np.array([[0.7, 0, 30], [0, 0.7, 50]], np.float32)
            frames = np.stack(
                [cv2.warpAffine(f, matrix, f.shape[1::-1], borderMode=cv2.BORDER_REPLICATE) for f in frames]
            )
            joints[..., :2] = joints[..., :2] * 0.7 + [30, 50]
        else:
            assert clip.masks is not None
            frames = np.where(clip.masks[::3, :, :, None] > 0, frames, np.float32([60, 110, 90]))
        seen = find_joints(finder, np.clip(frames, 0, 255).astype(np.uint8))
        pcks.append(joint_errors(seen, joints, frames.shape[1])[1])
    assert np.mean(pcks) > 0.9, pcks


def test_frames_without_a_person_are_not_filled_in(finder: PoseFinder, clips: list[MeasuredClip]) -> None:
    clip, video = clips[0], clips[0].frames.copy()
    video[5:7] = 200
    joints = find_joints(finder, video)
    assert not joints[5:7, :, 2].any() and joints[[4, 7], JOINT["neck"], 2].all()
    video[:] = 200
    values = measure_video(clip, video, finder, LearnedMetrics())
    assert values["joint_error"] == NOBODY and values["pck"] == 0
    assert values["motion_accuracy_with_poses"] == 0


def test_the_joints_order_the_controls(finder: PoseFinder, clips: list[MeasuredClip]) -> None:
    rows: dict[str, list[tuple[float, float, float | str]]] = {}
    for index, clip in enumerate(clips):
        wrong = clips[(index + 1) % len(clips)]
        for name, video in control_videos(None, clip, wrong).items():
            if not isinstance(video, str):
                joints = find_joints(finder, video)
                errors = joint_errors(joints[1:], clip.joints[1:], video.shape[1])
                rows.setdefault(name, []).append((*errors, motion_read(clip.source.motions, joints)))
    order = "truth", "photo_warped", "photo_copied", "wrong_clip"
    for index, sign in enumerate((1, -1, -1)):
        cost = {name: sign * mean_of([values[index] for values in rows[name]]) for name in order}
        for better, worse in itertools.pairwise(order):
            tie = index == 2 and worse == "wrong_clip"  # no motion is read in either
            assert tie or cost[better] <= cost[worse], (index, cost)
        assert cost["truth"] < cost["photo_copied"]
