"""Tracks changed by hand: what moves, what stays, and what is refused."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.pose_json import read_pose_json
from generation.track_editing import (
    EditedTrack,
    TrackEditor,
    change_speed,
    loop,
    mirror,
    move_joint,
    save_track,
)
from tests.toys import HEIGHT, WIDTH, figure_joints
from utils.errors import UserError
from utils.pose_drawing import JOINT, LIMBS, MIRRORED

WRIST, ELBOW, SHOULDER, NECK = (JOINT[name] for name in ("left_wrist", "left_elbow", "left_shoulder", "neck"))


def toy_track(num_frames: int = 24) -> EditedTrack:
    return EditedTrack(joints=figure_joints(num_frames), height=HEIGHT, width=WIDTH, fps=12)


def lengths(joints: np.ndarray) -> np.ndarray:
    """(F, limbs) in pixels."""
    return np.stack([np.hypot(*(joints[:, a, :2] - joints[:, b, :2]).T) for a, b in LIMBS], axis=1)


def test_a_wrist_goes_where_it_is_dragged_bends_the_elbow_and_takes_the_frames_around_along() -> None:
    track = toy_track()
    goal = track.joints[12, SHOULDER, :2] + (9, -6)
    moved = move_joint(track, 12, WRIST, tuple(goal), reach=4)
    assert np.allclose(moved.joints[12, WRIST, :2], goal, atol=1e-3)
    assert not np.allclose(moved.joints[12, ELBOW], track.joints[12, ELBOW], atol=0.5)
    shifts = np.hypot(*(moved.joints - track.joints)[:, WRIST, :2].T)
    assert (np.diff(shifts[7:13]) > 0).all() and (np.diff(shifts[12:18]) < 0).all()
    assert (shifts[:8] < 1e-4).all() and (shifts[17:] < 1e-4).all()
    others = [joint for joint in range(18) if joint not in (WRIST, ELBOW)]
    assert np.allclose(moved.joints[:, others], track.joints[:, others], atol=1e-4)
    assert np.allclose(lengths(moved.joints), lengths(track.joints), atol=1e-3)
    assert moved.keys == {12} and np.array_equal(track.joints, toy_track().joints)


@given(st.sampled_from(sorted(set(range(18)))), st.floats(-20, 80), st.floats(-20, 80), st.integers(1, 11))
def test_limbs_keep_their_length_wherever_a_joint_is_dragged(joint, x, y, frame) -> None:
    track = toy_track(12)
    moved = move_joint(track, frame, joint, (x, y))
    assert np.allclose(lengths(moved.joints), lengths(track.joints), atol=1e-2)
    assert np.array_equal(moved.joints[0], track.joints[0])


def test_a_joint_out_of_reach_comes_as_near_as_its_limbs_let_it() -> None:
    track = toy_track()
    away = tuple(track.joints[5, SHOULDER, :2] + (30, 0))
    arm = (moved := move_joint(track, 5, WRIST, away).joints[5])[WRIST, :2] - moved[SHOULDER, :2]
    assert arm[0] == pytest.approx(lengths(track.joints)[5, 4:6].sum(), rel=1e-3) and abs(arm[1]) < 0.1
    free = move_joint(track, 5, WRIST, away, keep_lengths=False)
    assert np.allclose(free.joints[5, WRIST, :2], away, atol=1e-4)
    assert np.allclose(free.joints[:, ELBOW], track.joints[:, ELBOW])


def test_the_neck_takes_the_body_along_and_earlier_edits_stay() -> None:
    track = move_joint(toy_track(), 10, WRIST, (5, 5))
    place = track.joints[13, NECK, :2] + (3, 0)
    moved = move_joint(track, 13, NECK, tuple(place))
    assert np.allclose((moved.joints - track.joints)[13, :, :2], (3, 0), atol=1e-4)
    assert np.allclose(moved.joints[:11], track.joints[:11], atol=1e-4) and moved.keys == {10, 13}


def test_a_hidden_joint_is_refused_and_hidden_neighbours_are_left_alone() -> None:
    track = toy_track()
    track.joints[7:9, ELBOW] = 0
    moved = move_joint(track, 6, WRIST, (4, 20))
    assert np.array_equal(moved.joints[7:9, ELBOW], track.joints[7:9, ELBOW])
    assert np.allclose(moved.joints[7:9, WRIST], track.joints[7:9, WRIST], atol=1e-4)
    with pytest.raises(UserError, match="left elbow is not seen in frame 7"):
        move_joint(track, 7, ELBOW, (4, 20))


@pytest.mark.parametrize(
    ("frame", "joint", "place", "part"),
    [
        (0, WRIST, (5, 5), "frame 0 is the photo's own pose"),
        (24, WRIST, (5, 5), "frames 0 to 23"),
        (3, 18, (5, 5), "there is no joint 18"),
        (3, WRIST, (float("nan"), 5), "far outside"),
        (3, WRIST, (1e9, 5), "far outside"),
    ],
)
def test_impossible_moves_are_refused(frame, joint, place, part) -> None:
    with pytest.raises(UserError, match=part):
        move_joint(toy_track(), frame, joint, place)


def test_the_mirrored_motion_goes_to_the_other_side_from_the_same_pose() -> None:
    track = toy_track()
    track.joints[6:, WRIST, 1] -= 20  # she raises her left hand
    mirrored = mirror(track)
    assert np.array_equal(mirrored.joints[0], track.joints[0])
    axis = track.joints[0, [8, 11], 0].mean()
    there = track.joints[8:, MIRRORED].copy()
    there[..., 0] = 2 * axis - there[..., 0]
    assert np.allclose(mirrored.joints[8:], there, atol=1e-3)
    assert np.allclose(mirror(mirrored).joints, track.joints, atol=1e-3)


def test_slower_and_faster_keep_the_motion_and_loops_end_where_they_begin() -> None:
    track = toy_track(25)
    slow, fast = change_speed(track, 0.5), change_speed(track, 2)
    assert len(slow) == 49 and len(fast) == 13
    assert np.allclose(slow.joints[::2], track.joints, atol=1e-4)
    assert np.allclose(fast.joints, track.joints[::2], atol=1e-4)
    there_and_back = loop(track).joints
    assert len(there_and_back) == 48
    step = np.abs(np.diff(track.joints, axis=0)).max()
    assert np.abs(there_and_back[-1] - there_and_back[0]).max() <= step + 1e-5
    assert np.abs(np.diff(there_and_back, axis=0)).max() <= step + 1e-5


def test_a_joint_that_is_hidden_in_one_of_two_frames_is_not_put_between_them() -> None:
    track = toy_track(5)
    track.joints[3, WRIST] = 0
    slow = change_speed(track, 0.5).joints
    assert all(np.allclose(frame[WRIST], 0) or frame[WRIST, 0] > 10 for frame in slow), (
        "a place between a joint and nothing"
    )
    with pytest.raises(UserError, match="would have 2 frames"):
        change_speed(track, 4)
    with pytest.raises(UserError, match="a speed of 0"):
        change_speed(track, 0)


def test_undo_goes_back_step_by_step_and_refusals_leave_no_step() -> None:
    editor = TrackEditor(toy_track())
    states = [editor.track.joints.copy()]
    for change, values in (
        (move_joint, (5, WRIST, (8, 8))),
        (mirror, ()),
        (loop, ()),
        (change_speed, (0.8,)),
    ):
        states.append(editor.apply(change, *values).joints.copy())
    with pytest.raises(UserError):
        editor.apply(move_joint, 0, WRIST, (8, 8))
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(states))
    for state in states[-2::-1]:
        assert np.array_equal(editor.undo().joints, state)
    assert not editor.is_edited
    with pytest.raises(UserError, match="nothing to undo"):
        editor.undo()


def test_a_saved_track_is_read_back(tmp_path: Path) -> None:
    track = move_joint(toy_track(), 5, WRIST, (8, 8))
    save_track(tmp_path / "track.json", track)
    again = read_pose_json(tmp_path / "track.json")
    assert np.allclose(again.keypoints, track.joints, atol=1e-3)
    assert (again.height, again.width, again.fps) == (HEIGHT, WIDTH, 12)
