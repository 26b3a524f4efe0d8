"""Shots are cut where the picture jumps, and only whole people are kept."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data.frames import read_frames
from preparation.shots import find_spans, split_shots
from preparation.videos import Frame
from utils.pose_drawing import FACE, JOINT, joint_indices

SIZE = (100, 60)
SAMPLE = Path(__file__).resolve().parents[2] / "fashion_dataset"


def standing(num_frames: int) -> np.ndarray:
    """A person of 70 pixels in the middle of a picture of 100 x 60, (F, 18, 3)."""
    joints = np.ones((18, 3), np.float32)
    places = {"neck": (30, 28), "left_hip": (34, 50), "right_hip": (26, 50)}
    places |= {"left_knee": (34, 66), "right_knee": (26, 66), "left_ankle": (34, 82), "right_ankle": (26, 82)}
    places |= {f"{s}_{p}": (30 + d, y) for s, d in (("left", 7), ("right", -7)) for p, y in ARMS.items()}
    places |= dict.fromkeys(FACE, (30, 20))
    for name, place in places.items():
        joints[JOINT[name], :2] = place
    return np.repeat(joints[None], num_frames, 0)


ARMS = {"shoulder": 29, "elbow": 38, "wrist": 48}


def pictures(values: list[np.ndarray]) -> list[Frame]:
    return [Frame(value, number / 10, number) for number, value in enumerate(values)]


def scene(seed: int, num_frames: int) -> list[np.ndarray]:
    """A patterned room in which something moves."""
    rng = np.random.default_rng(seed)
    room = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frames = [room.copy() for _ in range(num_frames)]
    for number, frame in enumerate(frames):
        frame[20:50, 5 + number : 20 + number] = 128
    return frames


def test_shots_are_cut_where_the_picture_jumps() -> None:
    frames = pictures([*scene(0, 12), *scene(1, 9), *scene(2, 5)])
    parts = [[frame.number for frame in part] for part in split_shots(frames, 100)]
    assert parts == [list(range(12)), list(range(12, 21)), list(range(21, 26))]


def fade(first: np.ndarray, last: np.ndarray, steps: int) -> list[np.ndarray]:
    """The pictures between two."""
    shares = np.arange(1, steps) / steps
    return [((1 - s) * first + s * last).round().astype(np.uint8) for s in shares]


def test_a_fade_belongs_to_neither_shot() -> None:
    before, after = scene(0, 12), scene(1, 12)
    frames = pictures([*before, *fade(before[-1], after[0], 6), *after])
    parts = [[frame.number for frame in part] for part in split_shots(frames, 100)]
    assert list(itertools.chain(*parts)) == list(range(29))
    assert parts[0][-1] <= 12 and parts[-1][0] >= 16 and max(len(part) for part in parts[1:-1]) < 6


def test_a_fade_through_black_belongs_to_neither_shot() -> None:
    before, after = scene(0, 12), scene(1, 12)
    black = np.zeros_like(before[0])
    frames = [*before, *fade(before[-1], black, 5), black, black, *fade(black, after[0], 5), *after]
    parts = [[frame.number for frame in part] for part in split_shots(pictures(frames), 100)]
    assert list(itertools.chain(*parts)) == list(range(34))
    assert parts[0][-1] <= 12 and parts[-1][0] >= 20 and max(len(part) for part in parts[1:-1]) < 6


@pytest.mark.parametrize("name", ["test_00000", "test_00001", "train_00001"])
def test_somebody_who_moves_is_no_fade(name: str) -> None:
    frames = pictures(list(read_frames(SAMPLE / "fashion_crop" / name)))
    assert [len(list(part)) for part in split_shots(frames, 100)] == [24]


def test_long_shots_are_divided() -> None:
    parts = [len(list(part)) for part in split_shots(pictures(scene(0, 25)), 10)]
    assert parts == [10, 10, 5]


def test_a_part_that_is_not_read_to_its_end_is_passed_over() -> None:
    parts = split_shots(pictures([*scene(0, 6), *scene(1, 4)]), 100)
    assert next(next(parts)).number == 0
    assert [frame.number for frame in next(parts)] == [6, 7, 8, 9]


def test_a_whole_person_is_kept() -> None:
    (span,) = find_spans(standing(30), np.ones(30), SIZE, 24)
    assert (span.start, span.stop, span.reason) == (0, 30, "")


def test_what_is_left_out_is_said() -> None:
    joints = np.concatenate([standing(100)])
    joints[:10, :, 2] = 0
    joints[35:40, JOINT["left_ankle"], 2] = 0
    joints[65:70, :, 1] -= 30  # her head over the upper edge
    joints[95:, JOINT["neck"], 2] = 0
    spans = find_spans(joints, np.ones(100), SIZE, 25)
    assert [(span.start, span.stop, span.reason) for span in spans] == [
        (0, 10, "nobody is found"),
        (10, 35, ""),
        (35, 40, "the feet are not in the picture"),
        (40, 65, ""),
        (65, 70, "the head is not in the picture"),
        (70, 95, ""),
        (95, 100, "the trunk is not in the picture"),
    ]
    short = find_spans(joints, np.ones(100), SIZE, 26)
    assert [span.reason for span in short][1] == "fewer than 26 frames of a whole person"


def test_shoes_below_the_picture_count_as_cut_off() -> None:
    joints = standing(30)
    (span,) = find_spans(joints, np.ones(30), (84, 60), 24)
    assert span.reason == "the feet are not in the picture"


def test_a_back_without_face_joints_is_whole() -> None:
    joints = standing(30)
    joints[10:20, joint_indices(FACE)] = 0  # as in a file of joints
    (span,) = find_spans(joints, np.ones(30), SIZE, 24)
    assert not span.reason


def test_who_jumps_is_somebody_else() -> None:
    joints = standing(60)
    joints[30:, :, 0] += 29
    spans = find_spans(joints, np.ones(60), (100, 120), 24)
    assert [(span.start, span.stop, span.reason) for span in spans] == [(0, 30, ""), (30, 60, "")]


def test_what_is_hardly_a_person_is_left_out() -> None:
    (span,) = find_spans(standing(30), np.full(30, 0.6), SIZE, 24)
    assert span.reason == "it is doubtful whether it is a person"
