"""Motions are named where the rules are sure of them, and nowhere else."""

import json
from pathlib import Path

import numpy as np
import pytest

from preparation.readings import LEAST_CONFIDENCE, read_clip

POSES = Path(__file__).resolve().parents[2] / "fashion_dataset/fashion_poses"
CLIPS = ["test_00000", "test_00001", "test_00002", "test_00004", "test_00005", "train_00000", "train_00001"]


def clip(name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    known = json.loads((POSES / f"{name}.json").read_text())
    return np.array(known["keypoints"], np.float32), tuple(known["motions"])


@pytest.mark.parametrize("name", CLIPS)
def test_what_was_rendered_is_read(name: str) -> None:
    joints, motions = clip(name)
    (reading,), silence = read_clip(joints, 24)
    assert reading.motions == motions and reading.confidence >= LEAST_CONFIDENCE and silence == ""


def test_windows_do_not_overlap() -> None:
    joints = np.concatenate([clip("test_00000")[0], clip("test_00000")[0][::-1]])
    readings, _ = read_clip(joints, 24)
    assert len(readings) == 2
    assert readings[0].stop <= readings[1].start and {r.stop - r.start for r in readings} == {24}


def test_a_turn_that_is_not_over_is_not_named() -> None:
    joints, _ = clip("test_00000")
    half = np.concatenate([joints[:13], np.repeat(joints[12:13], 11, 0)])
    assert read_clip(half, 24)[0] == []


def test_trembling_joints_are_not_named() -> None:
    joints, _ = clip("test_00000")
    joints[..., :2] += np.random.default_rng(0).normal(0, 30, joints[..., :2].shape)
    readings, silence = read_clip(joints, 24)
    assert readings == [] and silence


def test_a_back_begins_no_window() -> None:
    joints, _ = clip("test_00001")
    joints[..., 0] = 255 - joints[..., 0]  # left is on the left, as from behind
    joints[:, [0, 14, 15], 2] = 0
    readings, silence = read_clip(joints, 24)
    assert readings == [] and silence == "no window begins with her front to the viewer"


def test_too_few_frames_or_joints_are_said() -> None:
    joints, _ = clip("test_00000")
    assert read_clip(joints[:20], 24) == ([], "too little of her is seen to say what she does")
    joints[:, 8:14, 2] = 0
    assert read_clip(joints, 24)[1] == "too little of her is seen to say what she does"
