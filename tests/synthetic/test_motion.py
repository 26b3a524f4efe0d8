"""Motions of synthetic people: read from their joints, with feet that stand and hands that stay outside."""

import functools

import numpy as np
import pytest

from data.synthetic.motion import Motion, perform, sample_motions
from data.synthetic.person import Person, sample_person
from data.synthetic.posing import Measures, foot_pitch, measure
from data.synthetic.rig import BONE
from data.synthetic.skeleton import two_bones
from data.synthetic.studio import Camera
from data.synthetic.visibility import visible_joints
from data.synthetic.wordings import MOTIONS
from evaluation.motion_rules import read_motions
from utils.pose_drawing import JOINT

SECTIONS = np.array([[-6.0, 1.9, 1.6], [-1.0, 1.8, 1.4], [0.5, 1.6, 1.25], [1.8, 1.25, 1.0], [4.5, 1.5, 1.1]])
"""A skirt and a trunk: rest height, half width, half depth in dm."""
FPS = 11.0
CAMERA = Camera(height=512, width=256, focal=1800.0, position=(0.0, 11.0, 75.0), center=(128.0, 230.0))


@functools.cache
def somebody(seed: int) -> tuple[Person, Measures]:
    person = sample_person(np.random.default_rng(seed))
    return person, measure(person)


def move(
    motions: list[str], seed: int, num_frames: int = 24, fps: float = FPS, heel: float = 0.6
) -> tuple[Person, Motion]:
    person, _ = somebody(seed % 3)
    motion = perform(
        np.random.default_rng([5, seed]),
        person,
        motions,
        heel=heel,
        sole=0.1,
        sections=SECTIONS,
        num_frames=num_frames,
        fps=fps,
    )
    return person, motion


def place(motion: Motion, bone: str, point: np.ndarray) -> np.ndarray:
    """Where a rest point (3,) that is fixed to a bone is, (F, 3)."""
    transforms = motion.transforms[:, BONE[bone]].astype(np.float64)
    return transforms[:, :, :3] @ point + transforms[:, :, 3]


def joints_of(person: Person, motion: Motion) -> np.ndarray:
    return np.stack([person.joints(transforms) for transforms in motion.transforms])


def bend(first: np.ndarray, middle: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(F,) degrees by which a limb is bent."""
    a, b = middle - first, last - middle
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))


def test_motions_are_read_from_the_joints() -> None:
    right = []
    for index in range(96):
        label = [MOTIONS[index % len(MOTIONS)]]
        person, motion = move(label, index)
        seen = CAMERA.project(joints_of(person, motion)).astype(np.float64)
        seen[..., 2] = 1
        right.append(read_motions(seen) == tuple(label))
    assert np.mean(right) >= 0.97


def test_the_same_seed_gives_the_same_motion() -> None:
    first, again = (move(["turn_left"], 4)[1] for _ in range(2))
    np.testing.assert_array_equal(first.transforms, again.transforms)
    other = move(["turn_left"], 7)[1]
    assert not np.array_equal(first.transforms, other.transforms)


def test_the_first_frame_does_not_betray_the_motion() -> None:
    starts = [
        move([motion], 8)[1].transforms[0] for motion in MOTIONS if "hand" not in motion or "raise" in motion
    ]
    for start in starts[1:]:
        np.testing.assert_allclose(start, starts[0], atol=1e-5)


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_sets_out_at_rest(motion: str) -> None:
    person, moved = move([motion], 2, num_frames=240, fps=110)
    joints = joints_of(person, moved)
    assert np.abs(joints[1] - joints[0]).max() < 0.01


@pytest.mark.parametrize("motion", MOTIONS)
def test_planted_feet_stand_still_on_the_floor(motion: str) -> None:
    for seed in range(3):
        _, moved = move([motion], seed, num_frames=72, fps=33)
        measures = somebody(seed % 3)[1]
        for side, letter in (("left", "L"), ("right", "R")):
            ball = place(moved, f"foot.{letter}", measures.ball(side))
            planted = moved.planted[side]
            stand = np.cumsum(~planted)
            for number in np.unique(stand[planted]):
                still = ball[planted & (stand == number)]
                assert np.ptp(still, axis=0).max() < 0.02
                assert still[:, 1] == pytest.approx(0.1 + measures.ball(side)[1] - measures.floor, abs=0.01)


@pytest.mark.parametrize("motion", MOTIONS)
def test_knees_and_elbows_bend_the_right_way_and_never_snap(motion: str) -> None:
    for seed in range(3):
        _, moved = move([motion], seed, num_frames=96, fps=44)
        heads = somebody(seed % 3)[0].heads
        for letter in "LR":
            for names, least in (
                (("upperleg01", "lowerleg01", "foot"), 4),
                (("upperarm01", "lowerarm01", "wrist"), 3),
            ):
                points = [place(moved, f"{n}.{letter}", heads[BONE[f"{n}.{letter}"]]) for n in names]
                angle = bend(*points)
                assert least < angle.min() and angle.max() < 125
                assert np.abs(np.diff(angle)).max() < 12
        turns = np.linalg.norm(np.diff(moved.rotations, axis=0), axis=(2, 3)) / np.sqrt(2)
        assert np.degrees(turns.max()) < 20


def test_hands_keep_out_of_trunk_and_skirt() -> None:
    for seed in range(24):
        person, moved = move([MOTIONS[seed % len(MOTIONS)]], seed, num_frames=48, fps=22)
        root = moved.transforms[:, BONE["root"]].astype(np.float64)
        middle = (person.heads[BONE["upperleg01.L"]] + person.heads[BONE["upperleg01.R"]]) / 2
        for letter in "LR":
            for name in ("lowerarm02", "wrist", "finger3-1"):
                bone = f"{name}.{letter}"
                point = place(moved, bone, person.heads[BONE[bone]])
                rest = np.einsum("fji,fj->fi", root[:, :, :3], point - root[:, :, 3])
                axes = [np.interp(rest[:, 1], SECTIONS[:, 0], SECTIONS[:, i]) for i in (1, 2)]
                inside = np.hypot(rest[:, 0] / axes[0], (rest[:, 2] - middle[2]) / axes[1]) < 0.97
                assert not (inside & (rest[:, 1] < 3.5)).any(), (seed, bone)


def test_a_hand_on_the_hip_touches_it() -> None:
    for seed in range(6):
        person, moved = move(["hands_on_hips"], seed)
        wrist = place(moved, "wrist.L", person.heads[BONE["wrist.L"]])[-1]
        root = moved.transforms[-1, BONE["root"]].astype(np.float64)
        rest = root[:, :3].T @ (wrist - root[:, 3])
        half_width = np.interp(rest[1], SECTIONS[:, 0], SECTIONS[:, 1])
        assert 0.0 < rest[0] - half_width * 0.9 < 0.6


def test_heels_raise_the_foot_and_leave_the_toes_flat() -> None:
    person, measures = somebody(0)
    _, flat = move(["stand_sway"], 0, heel=0.0)
    _, high = move(["stand_sway"], 0, heel=0.9)
    ankle = person.heads[BONE["foot.L"]]
    raised = place(high, "foot.L", ankle)[0, 1] - place(flat, "foot.L", ankle)[0, 1]
    assert 0.4 < raised < 0.95
    assert foot_pitch(measures, 0.9) > 0.4 and foot_pitch(measures, 0.0) == 0
    for toe in ("toe1-1.L", "toe3-1.L"):
        up = high.transforms[0, BONE[toe], :, :3].astype(np.float64) @ np.array([0.0, 1.0, 0.0])
        assert up[1] > 0.99


@pytest.mark.parametrize("num_frames", [1, 2, 4, 25, 1000])
def test_any_number_of_frames(num_frames: int) -> None:
    for motions in (["turn_around"], ["walk_forward", "hands_on_hips"]):
        _, moved = move(motions, 1, num_frames=num_frames)
        assert moved.rotations.shape == (num_frames, 163, 3, 3)
        assert moved.transforms.shape == (num_frames, 163, 3, 4)
        assert moved.root.shape == (num_frames, 3)
        assert np.isfinite(moved.transforms).all()
        turned = np.einsum("fbij,fbkj->fbik", moved.rotations, moved.rotations)
        np.testing.assert_allclose(turned, np.broadcast_to(np.eye(3), turned.shape), atol=1e-9)


def test_drawn_motions_are_known_labels() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_motions(rng) for _ in range(400)]
    assert {m for motions in drawn for m in motions} == set(MOTIONS)
    assert {len(motions) for motions in drawn} == {1, 2}


def test_face_joints_are_gone_from_behind_and_the_far_ear_in_profile() -> None:
    person, moved = move(["turn_around"], 1, num_frames=48, fps=22)
    visible = visible_joints(moved.transforms, joints_of(person, moved), SECTIONS, CAMERA)
    assert visible[0, JOINT["nose"]] == 1 and visible[-1, JOINT["nose"]] == 0
    assert visible[-1, [JOINT["left_eye"], JOINT["right_eye"]]].tolist() == [0, 0]
    side = int(np.argmin(np.abs(np.abs(moved.head_yaw) - np.pi / 2)))
    assert visible[side, [JOINT["left_ear"], JOINT["right_ear"]]].sum() == 1
    assert visible[:, [JOINT[f"{s}_{j}"] for s in ("left", "right") for j in ("hip", "knee", "ankle")]].all()
    alone = visible_joints(moved.transforms[3], joints_of(person, moved)[3], SECTIONS, CAMERA)
    np.testing.assert_array_equal(alone, visible[3])


def test_the_far_arm_is_hidden_in_profile() -> None:
    person, moved = move(["turn_around"], 1, num_frames=96, fps=44)
    visible = visible_joints(moved.transforms, joints_of(person, moved), SECTIONS, CAMERA)
    side = int(np.argmin(np.abs(np.abs(moved.pelvis_yaw) - np.pi / 2)))
    far = "left" if moved.pelvis_yaw[side] > 0 else "right"
    assert visible[side, JOINT[f"{far}_elbow"]] == 0
    near = "right" if far == "left" else "left"
    assert visible[side, JOINT[f"{near}_elbow"]] == 1


def test_two_bones_reach_the_target_or_stop_short() -> None:
    start = np.zeros((2, 3))
    target = np.array([[1.0, -1.0, 0.2], [9.0, 0.0, 0.0]])
    middle, end = two_bones(start, target, 1.2, 1.0, np.tile([0.0, 0.0, 1.0], (2, 1)))
    np.testing.assert_allclose(end[0], target[0], atol=1e-9)
    assert np.linalg.norm(end[1]) < 2.2
    np.testing.assert_allclose(np.linalg.norm(middle, axis=1), 1.2)
    np.testing.assert_allclose(np.linalg.norm(end - middle, axis=1), 1.0)
    assert middle[0, 2] > 0.1
