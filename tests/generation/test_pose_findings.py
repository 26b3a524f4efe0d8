"""What is found in poses and sentences; and every mending removes its finding."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from data.pose_track import PoseTrack
from generation.findings import Finding, Report
from generation.mending import outliers
from generation.pose_findings import look_at_track, mend_track
from generation.sentence_findings import look_at_sentence
from utils.errors import UserError
from utils.pose_drawing import MIRRORED
from warping.body import FRONT_OF_FACE

STANDING = np.array(
    [
        (0, -0.42), (0, 0), (-0.35, 0.03), (-0.42, 0.55), (-0.45, 0.95),
        (0.35, 0.03), (0.42, 0.55), (0.45, 0.95),
        (-0.2, 1), (-0.22, 1.8), (-0.22, 2.6), (0.2, 1), (0.22, 1.8), (0.22, 2.6),
        (-0.07, -0.5), (0.07, -0.5), (-0.17, -0.45), (0.17, -0.45),
    ]
)  # fmt: skip


def walk(frames: int = 24) -> np.ndarray:
    joints = np.ones((frames, 18, 3), np.float32)
    joints[..., :2] = STANDING * 55 + (64, 60)
    joints[..., 0] += 10 * np.sin(np.arange(frames) / 6)[:, None]
    return joints


def as_track(joints: np.ndarray, **fields) -> PoseTrack:
    return PoseTrack(
        **{
            "keypoints": joints,
            "confidences": (joints[..., 2] > 0).astype(np.float32),
            "height": 256,
            "width": 128,
            "people": np.ones(len(joints), int),
            "sources": tuple(map(str, range(len(joints)))),
            **fields,
        }
    )


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


def test_good_poses_give_no_finding_and_are_not_touched():
    track = as_track(walk())
    mended, findings = mend_track(track, walk()[0])
    assert findings == [] and np.array_equal(mended.keypoints, track.keypoints)


def test_faces_that_her_head_hides_are_left_out() -> None:
    joints = walk()
    joints[8:16] = joints[8:16, MIRRORED]  # as estimators name them from behind
    over_shoulder = joints[12].copy()
    over_shoulder[FRONT_OF_FACE, 0] += 30
    joints[12] = over_shoulder
    mended, findings = mend_track(as_track(joints))
    assert codes(findings) == {"faces_behind"}
    behind = [8, 9, 10, 11, 13, 14, 15]
    assert (
        "7 frames (8 to 15)" in str(findings[0]) and not mended.keypoints[np.ix_(behind, FRONT_OF_FACE)].any()
    )
    kept = np.setdiff1d(np.arange(24), behind)
    assert np.array_equal(mended.keypoints[kept], joints[kept])
    assert mend_track(mended)[1] == []


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_what_is_no_skeleton_is_refused_with_what_is_expected(share):
    joints = walk()
    joints[:, np.arange(18) >= 18 * share] = 0
    _, findings = mend_track(as_track(joints), walk()[0])
    report = Report(tuple(findings))
    assert report.refused and report.has("no_skeletons")
    with pytest.raises(UserError, match=r"expected skeletons, but .* of 432 joints.*; give skeletons"):
        report.check()


def test_blank_frames_are_filled_and_named():
    joints = walk()
    joints[[0, 1, 10, 23]] = 0
    mended, findings = mend_track(as_track(joints))
    assert codes(findings) == {"blank_frames"} and "frames 0, 1, 10 and 23" in str(findings[0])
    assert np.abs(mended.keypoints - walk())[3:22].max() < 1
    assert mended.seen.all() and not look_at_track(mended)


def test_lossy_outliers_and_gaps_are_mended_and_turned_faces_stay_hidden():
    joints = walk()
    joints[5, 4, :2] += 60
    joints[12:14, 7] = 0
    joints[8:20, 0] = 0  # the nose of somebody who turns
    mended, findings = mend_track(as_track(joints, medium="lossy"))
    assert codes(findings) == {"outliers", "gaps"}
    assert np.abs(mended.keypoints - walk())[[5, 12, 13]][:, [4, 7]].max() < 3
    assert not mended.seen[8:20, 0].any()
    assert not outliers(walk()).any()


def test_a_trunk_that_is_hidden_in_profile_is_filled():
    joints = walk()
    joints[8:14, [1, 11]] = 0  # neck and left hip
    joints[8:14, 7] = 0  # a hand behind the back stays hidden
    mended, findings = mend_track(as_track(joints, medium="lossless"))
    assert codes(findings) == {"trunk_gaps"} and not codes(look_at_track(mended))
    np.testing.assert_allclose(mended.keypoints[:, [1, 11]], walk()[:, [1, 11]], atol=3)
    assert not mended.keypoints[8:14, 7, 2].any()


def test_numbers_are_never_smoothed():
    joints = walk()
    joints[5, 4, :2] += 60
    assert np.array_equal(mend_track(as_track(joints))[0].keypoints, joints)


def test_another_body_is_fitted_above_the_threshold_only():
    photo = walk()[0]
    other = walk()
    other[..., :2] = other[..., :2] * 0.6 + (40, 20)
    mended, findings = mend_track(as_track(other), photo)
    assert codes(findings) == {"other_body"} and findings[0].severity == "mended"
    assert np.abs(mended.keypoints[0] - photo).max() < 1
    assert not mend_track(mended, photo)[1]
    kept, findings = mend_track(as_track(other), photo, fit="off")
    assert findings[0].severity == "warning" and np.array_equal(kept.keypoints, other)
    noisy = photo + np.random.default_rng(0).normal(0, 1.5, photo.shape) * (1, 1, 0)
    assert not mend_track(as_track(walk()), noisy.astype(np.float32))[1]


def test_a_variable_rate_is_made_even():
    times = np.cumsum(np.r_[0, np.where(np.arange(23) % 6, 1, 3) / 24])
    mended, findings = mend_track(as_track(walk(), fps=18.0, times=times))
    assert "variable_rate" in codes(findings)
    assert np.ptp(np.diff(mended.times)) < 1e-9 and abs(mended.fps - 24) < 1e-6
    assert len(mended) == round(times[-1] * 24) + 1
    assert codes(look_at_track(mended)) == {"frame_rate"}


def test_strict_turns_warnings_into_refusals():
    joints = walk()
    joints[12:, :, 0] += 120
    findings = look_at_track(as_track(joints))
    assert codes(findings) == {"jumps"}
    assert not Report(tuple(findings)).refused and Report(tuple(findings), strict=True).refused
    with pytest.raises(UserError, match="strict"):
        Report(tuple(findings), strict=True).check()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_mended_is_not_found_again(data):
    joints = walk()
    frames = st.integers(0, 23)
    for frame in data.draw(st.lists(frames, max_size=6)):
        joints[frame] = 0
    for frame, joint in data.draw(st.lists(st.tuples(frames, st.integers(0, 17)), max_size=8)):
        joints[frame, joint, :2] += data.draw(st.sampled_from([-70, 70]))
    track = as_track(
        joints,
        medium=data.draw(st.sampled_from(["exact", "lossless", "lossy"])),
        swapped=data.draw(st.booleans()),
        ground=data.draw(st.sampled_from(["black", "white"])),
        palette=data.draw(st.sampled_from([None, "ControlNet", "OpenPose COCO"])),
        people=np.array(data.draw(st.lists(st.integers(0, 3), min_size=24, max_size=24))),
    )
    mended, findings = mend_track(track)
    assert len(mended) == 24 and np.isfinite(mended.keypoints).all()
    told = {finding.code for finding in findings if finding.severity == "mended"}
    assert not told & codes(look_at_track(mended))
    assert all("\n" not in str(finding) for finding in findings)


def one_shot(track: PoseTrack) -> PoseTrack:
    """Cut where the body jumps, as long as it does: the first shot."""
    while message := next((str(each) for each in look_at_track(track) if each.code == "jumps"), None):
        first = int(re.search(r"at (?:frames? |\d+ frames \()(\d+)", message)[1])
        track = as_track(track.keypoints[:first], medium=track.medium)
    return track


REMEDIES = {
    "no_skeletons": lambda track: as_track(walk()),
    "several_people": lambda track: dataclasses.replace(track, people=np.ones(len(track), int)),
    "few_joints": lambda track: track.with_keypoints(walk()),
    "very_lossy": lambda track: dataclasses.replace(track, medium="exact"),
    "jumps": one_shot,
}
"""What each remedy asks for, done to a track."""


@settings(max_examples=60, deadline=None)
@given(
    shown=st.sampled_from([0.0, 0.4, 1.0]),
    spoiled=st.floats(0, 0.3),
    jump=st.none() | st.integers(3, 20),
    people=st.integers(1, 3),
    medium=st.sampled_from(["exact", "lossy"]),
    seed=st.integers(0, 2**16),
)
def test_the_remedy_of_a_finding_removes_it(shown, spoiled, jump, people, medium, seed):
    joints, rng = walk(), np.random.default_rng(seed)
    if jump is not None:
        joints[jump:, :, 0] += 120
    off = rng.random(joints.shape[:2]) < spoiled
    joints[off, 1] += 60
    joints[:, rng.permutation(18)[round(shown * 18) :]] = 0
    track = as_track(joints, medium=medium, people=np.full(24, people))
    for finding in look_at_track(track):
        if finding.remedy and finding.severity in ("warning", "refusal"):
            assert finding.code not in codes(look_at_track(REMEDIES[finding.code](track)))


@pytest.fixture(scope="module")
def tokenize():
    return CLIPTokenizer.from_pretrained(
        "pretrained_model/x2fashion-small/tokenizer", local_files_only=True
    ).tokenize


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("She turns to her left.", None),
        (" \n", "blank_sentence"),
        ("她向左转身。", "no_known_word"),
        ("Masterpiece, best quality", "no_known_word"),
        ("She frobnicates and turns", "unknown_words"),
        ("She turns to her left. " * 8, "long_sentence"),
        ("She stands.", "bare_stand"),
        ("She turns around, then stands still", "bare_stand"),
        ("She stands and sways.", None),
    ],
)
def test_sentences(tokenize, prompt, code):
    assert codes(look_at_sentence(prompt, tokenize, 32)) == ({code} if code else set())


def test_findings_are_frozen_and_print_a_line_each():
    finding = Finding(severity="note", code="a", message="the poses are fine", figure=1, remedy="go on")
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.code = "b"
    assert str(Report((finding, finding))).splitlines() == ["note: the poses are fine; go on"] * 2
