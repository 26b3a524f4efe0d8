"""The keypoint detector that ships, on the clips that ship: people that it has not been trained on."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.clips import Clip, list_clips, load_clip
from evaluation.controls import control_videos
from evaluation.keypoints import joint_errors
from evaluation.learned import LearnedMetrics
from evaluation.measure import measure_video, motion_read
from models.keypoint_detector import (
    KeypointDetector,
    detect_joints,
    detect_photo_joints,
    load_detector,
)
from tests.evaluation.test_controls_order import mean_of
from utils.pose_drawing import JOINT

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "pretrained_model/keypoint_detector.safetensors"


@pytest.fixture(scope="module")
def detector() -> KeypointDetector:
    return load_detector(DETECTOR)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    dataset = ROOT / "fashion_dataset"
    return [load_clip(dataset, source) for source in list_clips(dataset, "test", "x2fashion", 24)]


def test_it_is_small() -> None:
    assert DETECTOR.stat().st_size <= 1_100_000


def test_joints_are_found(detector: KeypointDetector, clips: list[Clip]) -> None:
    for clip in clips:
        error, pck = joint_errors(detect_joints(detector, clip.frames), clip.joints, clip.frames.shape[1])
        assert pck > 0.97 and error < 1.5, (clip.name, error, pck)


def test_left_is_told_from_right_and_front_from_back(detector: KeypointDetector, clips: list[Clip]) -> None:
    right = []
    for clip in clips:
        found = detect_joints(detector, clip.frames)
        for joint in ("shoulder", "hip"):
            ours, theirs = (
                (joints[:, JOINT[f"left_{joint}"]] - joints[:, JOINT[f"right_{joint}"]])[:, 0]
                for joints in (found, clip.joints)
            )
            clear = np.abs(theirs) > 0.02 * clip.frames.shape[1]
            right.append((np.sign(ours) == np.sign(theirs))[clear].mean())
    assert np.mean(right) > 0.98 and min(right) > 0.9, right


def test_who_is_known_to_face_the_viewer_has_her_left_on_the_viewers_right(
    detector: KeypointDetector, clips: list[Clip]
) -> None:
    for clip in clips:
        front = clip.frames[0]
        np.testing.assert_array_equal(
            detect_photo_joints(detector, front), detect_joints(detector, front[None])[0]
        )
    back = next(c.frames[-1] for c in clips if "turn_around" in c.source.motions)
    plain, taken_as_front = detect_joints(detector, back[None])[0], detect_photo_joints(detector, back)
    assert plain[JOINT["left_shoulder"], 0] < plain[JOINT["right_shoulder"], 0]
    assert taken_as_front[JOINT["left_shoulder"], 0] > taken_as_front[JOINT["right_shoulder"], 0]
    assert taken_as_front[JOINT["nose"], 2] == 1 and plain[JOINT["nose"], 2] == 0


def test_motions_are_read_from_frames(detector: KeypointDetector, clips: list[Clip]) -> None:
    labelled = [clip for clip in clips if clip.source.motions]
    read = [motion_read(clip.source.motions, detect_joints(detector, clip.frames)) for clip in labelled]
    assert len(labelled) >= 5 and sum(read) >= len(read) - 1, read


@pytest.mark.parametrize("change", ["blurred", "noisy", "moved", "another background"])
def test_joints_are_found_in_worse_pictures(
    change: str, detector: KeypointDetector, clips: list[Clip]
) -> None:
    rng = np.random.default_rng(0)
    pcks = []
    for clip in clips:
        frames, joints = clip.frames[::6].astype(np.float32), clip.joints[::6].copy()
        if change == "blurred":
            frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in frames])
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
            frames = np.where(clip.masks[::6, :, :, None] > 0, frames, np.float32([60, 110, 90]))
        found = detect_joints(detector, np.clip(frames, 0, 255).astype(np.uint8))
        pcks.append(joint_errors(found, joints, frames.shape[1])[1])
    assert np.mean(pcks) > 0.9, pcks


def test_measures_by_the_detector_order_the_controls(detector: KeypointDetector, clips: list[Clip]) -> None:
    rows: dict[str, list] = {}
    for index, clip in enumerate(clips):
        wrong = clips[(index + 1) % len(clips)]
        for name, video in control_videos(None, clip, wrong).items():
            if not isinstance(video, str):
                rows.setdefault(name, []).append(measure_video(clip, video, detector, LearnedMetrics()))
    order = "truth", "photo_warped", "photo_copied", "wrong_clip"
    for measure, sign in (("joint_error", 1), ("pck", -1), ("motion_accuracy_with_poses", -1)):
        cost = {name: sign * mean_of([values[measure] for values in rows[name]]) for name in order}
        for better, worse in itertools.pairwise(order):
            tie = measure == "motion_accuracy_with_poses" and worse == "wrong_clip"  # both near zero
            assert tie or cost[better] <= cost[worse], (measure, cost)
        assert cost["truth"] < cost["photo_copied"]
