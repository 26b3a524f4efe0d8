"""The same person in the same clothes is on one side, by whatever video she comes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from preparation.splits import SAME_LOOK, distances, divide, look_of
from utils.image import read_image

SAMPLE = Path(__file__).resolve().parents[2] / "fashion_dataset"
NAMES = [f"test_{number:05d}" for number in range(6)] + ["train_00000", "train_00001"]


def look(name: str, frame: int, gain: float = 1.0) -> np.ndarray:
    known = json.loads((SAMPLE / "fashion_poses" / f"{name}.json").read_text())
    picture = read_image(SAMPLE / "fashion_crop" / name / f"{frame:03d}.jpg")
    picture = np.clip(picture * gain, 0, 255).astype(np.uint8)
    return look_of(picture, np.array(known["keypoints"][frame], np.float32))


@pytest.fixture(scope="module")
def looks() -> dict[str, np.ndarray]:
    """The first and the last frame of each clip, the last one darker, as if it were another video."""
    first = {name: look(name, 0) for name in NAMES}
    return first | {f"again_{name}": look(name, 23, 0.95) for name in NAMES}


def test_looks_of_one_person_are_near_and_of_two_are_far(looks: dict[str, np.ndarray]) -> None:
    away = distances(list(looks.values()))
    same = np.array([away[i, i + len(NAMES)] for i in range(len(NAMES))])
    others = away[: len(NAMES), : len(NAMES)][~np.eye(len(NAMES), dtype=bool)]
    assert same.max() < SAME_LOOK < 20 < others.min()
    assert away == pytest.approx(away.T, abs=1e-3) and np.diag(away).max() < 0.5


def test_what_is_around_her_does_not_count() -> None:
    name = "test_00003"
    joints = np.array(json.loads((SAMPLE / "fashion_poses" / f"{name}.json").read_text())["keypoints"][0])
    picture = read_image(SAMPLE / "fashion_crop" / name / "000.jpg")
    mask = cv2.imread(str(SAMPLE / "fashion_masks" / name / "000.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    near = cv2.dilate(mask, np.ones((9, 9)))[..., None] > 0
    garden = np.where(near, picture, (60, 130, 40)).astype(np.uint8)
    assert distances([look_of(picture, joints), look_of(garden, joints)])[0, 1] < SAME_LOOK / 3


def test_a_person_in_two_videos_is_on_one_side(looks: dict[str, np.ndarray]) -> None:
    videos = {name: name for name in looks}
    for seed in range(4):
        split = divide(looks, videos, 0.3, seed)
        assert all(split.sides[name] == split.sides[f"again_{name}"] for name in NAMES)
        assert 1 <= sum(side == "test" for side in split.sides.values()) <= 5
        assert split.report["nearest_across"]["distance"] > SAME_LOOK
    (group,) = [g for g in split.report["groups"] if "test_00000" in g["clips"]]
    assert group["clips"] == ["again_test_00000", "test_00000"]
    assert group["split"] == split.sides["test_00000"]
    assert group["links"][0]["reason"] == "alike" and group["links"][0]["distance"] < SAME_LOOK


def test_clips_of_one_video_are_on_one_side(looks: dict[str, np.ndarray]) -> None:
    clips = {name: looks[name] for name in NAMES}
    videos = {name: "one" if name < "test_00004" else name for name in NAMES}
    for seed in range(4):
        sides = divide(clips, videos, 0.4, seed).sides
        assert len({sides[name] for name in NAMES if videos[name] == "one"}) == 1


def test_the_seed_chooses_and_most_clips_stay_when_others_are_added(looks: dict[str, np.ndarray]) -> None:
    clips = {name: looks[name] for name in NAMES}
    videos = {name: name for name in NAMES}
    tests = {
        seed: tuple(n for n, side in divide(clips, videos, 0.25, seed).sides.items() if side == "test")
        for seed in range(6)
    }
    assert len(set(tests.values())) > 1 and {len(names) for names in tests.values()} == {2}
    assert divide(clips, videos, 0.25, 3) == divide(dict(reversed(clips.items())), videos, 0.25, 3)
    fewer = {name: clips[name] for name in NAMES if name != tests[0][0]}
    assert tests[0][1] in [n for n, side in divide(fewer, videos, 0.25, 0).sides.items() if side == "test"]


def test_some_clips_always_stay_for_training(looks: dict[str, np.ndarray]) -> None:
    for count in (2, 3, 5):
        clips = {name: looks[name] for name in NAMES[:count]}
        for seed in range(4):
            sides = divide(clips, {name: name for name in clips}, 0.9, seed).sides.values()
            assert set(sides) == {"train", "test"}


def test_one_group_is_for_training_and_none_is_none(looks: dict[str, np.ndarray]) -> None:
    clips = {name: looks[name] for name in NAMES[:2]}
    assert set(divide(clips, dict.fromkeys(clips, "one"), 0.5, 0).sides.values()) == {"train"}
    assert set(divide(clips, {name: name for name in clips}, 0, 0).sides.values()) == {"train"}
    assert divide({}, {}, 0.1, 0).sides == {}


def test_looks_that_share_nothing_are_not_compared() -> None:
    looks = np.zeros((2, 64, 32, 4), np.uint8)
    looks[0, :32, :, 3], looks[1, 32:, :, 3] = 255, 255
    assert distances(list(looks))[0, 1] == np.inf
