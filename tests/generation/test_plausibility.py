"""Poses that nobody can have are refused or warned of, each with a figure and a remedy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.pose_json import read_pose_json
from generation.findings import Finding
from generation.plausibility import is_mirrored, look_at_bodies, look_at_place, odd_limbs, stature
from generation.pose_findings import mend_track
from tests.generation.test_pose_findings import as_track, walk

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


def moved(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    joints = walk()
    joints[..., :2] = change(joints[..., :2])
    return joints


def spoil(name: str) -> np.ndarray:
    if name == "random":
        return moved(lambda xy: RNG.random(xy.shape) * (128, 256))
    if name == "shuffled":
        return np.stack([frame[RNG.permutation(18)] for frame in walk()])
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "one_point": lambda xy: 0 * xy + (60, 80),
        "one_line": lambda xy: xy[..., [1, 1]],
        "upside_down": lambda xy: xy * (1, -1) + (0, 256),
        "lying": lambda xy: xy[..., ::-1] * (0.5, 0.5),
        "mirrored": lambda xy: xy * (-1, 1) + (128, 0),
    }
    return moved(changes[name])


def the_only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    assert finding.figure is not None and finding.remedy
    return finding


@pytest.mark.parametrize(
    ("spoiled", "code", "severity"),
    [
        ("random", "no_body", "refusal"),
        ("shuffled", "no_body", "refusal"),
        ("one_point", "one_point", "refusal"),
        ("one_line", "one_line", "refusal"),
        ("upside_down", "upside_down", "refusal"),
        ("lying", "lying", "warning"),
        ("mirrored", "mirrored", "warning"),
    ],
)
def test_what_no_body_can_be_is_found(spoiled: str, code: str, severity: str) -> None:
    finding = the_only(look_at_bodies(spoil(spoiled)))
    assert (finding.code, finding.severity) == (code, severity)
    assert code in {each.code for each in mend_track(as_track(spoil(spoiled)), walk()[0])[1]}


def test_real_and_synthetic_poses_are_bodies() -> None:
    files = sorted((ROOT / "fashion_dataset" / "fashion_poses").glob("*.json"))
    assert len(files) > 4
    for file in files:
        track = read_pose_json(file)
        assert not look_at_bodies(track.keypoints), file
        sizes = np.array([stature(frame) for frame in track.keypoints])
        assert np.abs(np.log(sizes / np.median(sizes))).max() < np.log(1.5), file


def test_a_drawn_characters_large_head_is_a_body() -> None:
    joints = walk()
    head, neck = [0, 14, 15, 16, 17], joints[:, 1:2, :2]
    joints[:, head, :2] = neck + 3 * (joints[:, head, :2] - neck)
    assert not look_at_bodies(joints) and not odd_limbs(joints[0])


def test_a_cartwheel_and_a_back_are_no_mistakes() -> None:
    joints = walk()
    joints[20:, :, 1] = 256 - joints[20:, :, 1]
    assert not look_at_bodies(joints)
    back = walk() * (-1, 1, 1) + (128, 0, 0)
    back[:, [0, 14, 15], 2] = 0  # no face
    assert not is_mirrored(back[0]) and not look_at_bodies(back)


def test_poses_outside_the_frame_are_found() -> None:
    joints = walk()
    joints[20:, :, 0] += 300
    finding = the_only(look_at_place(joints, 256, 128, walk()[0]))
    assert (finding.code, finding.severity) == ("outside_frame", "warning")
    assert "4 of 24 frames (first 20)" in finding.message
    finding = the_only(look_at_place(walk() + np.array((300, 0, 0)), 256, 128, walk()[0]))
    assert (finding.code, finding.severity, finding.figure) == ("outside_frame", "refusal", 1)
    _, findings = mend_track(as_track(joints), walk()[0])
    assert "outside_frame" in {each.code for each in findings}


@pytest.mark.parametrize("scale", [0.2, 6.0])
def test_an_absurd_scale_is_refused_or_fitted(scale: float) -> None:
    joints = moved(lambda xy: (xy - (64, 60)) * scale + (64, 60))
    findings = look_at_place(joints, 256, 128, walk()[0])
    assert "absurd_scale" in {each.code for each in findings if each.severity == "refusal"}
    assert "absurd_scale" in {each.code for each in mend_track(as_track(joints), walk()[0], "off")[1]}
    assert "absurd_scale" not in {each.code for each in mend_track(as_track(joints), walk()[0])[1]}
    tiny = moved(lambda xy: (xy - (64, 60)) * 0.04 + (64, 60))
    assert the_only(look_at_place(tiny, 256, 128, None)).code == "absurd_scale"


def test_a_body_that_grows_on_the_way_is_told() -> None:
    joints = walk()
    joints[12:, :, :2] = (joints[12:, :, :2] - (64, 60)) * 2.5 + (64, 60)
    finding = the_only(look_at_place(joints, 1024, 512, walk()[0]))
    assert (finding.code, finding.severity) == ("changing_size", "warning")
    assert "in 12 of 24 frames (first 12)" in finding.message and finding.figure == pytest.approx(
        2.5, abs=0.01
    )
