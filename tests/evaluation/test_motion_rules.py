import numpy as np
import pytest

from data.synthetic.render import sample_clip
from data.synthetic.wordings import MOTIONS as RENDERED_MOTIONS
from evaluation.motion_rules import MOTIONS, read_motions
from utils.pose_drawing import JOINT


def track_of(
    index: int, motions: list[str] | None, num_frames: int = 24
) -> tuple[tuple[str, ...], np.ndarray]:
    clip = sample_clip(17, "test", index, num_frames, 256, motions)
    joints = np.stack([clip.camera.project(clip.person.joints(t)) for t in clip.motion.transforms])
    joints[..., 2] = 1
    return tuple(clip.motions), joints


def test_the_rules_know_every_motion_of_the_renderer() -> None:
    assert set(MOTIONS) == set(RENDERED_MOTIONS)


def test_single_motions_are_read_from_true_tracks() -> None:
    right = {motion: [] for motion in MOTIONS}
    for motion in MOTIONS:
        for index in range(12):
            label, joints = track_of(index, [motion])
            right[motion].append(read_motions(joints) == label)
    rates = {motion: float(np.mean(values)) for motion, values in right.items()}
    assert np.mean(list(rates.values())) >= 0.98, rates
    assert min(rates.values()) >= 0.9, rates


def test_sequences_are_read_in_their_order() -> None:
    clips = (track_of(index, None) for index in range(300))
    right = [read_motions(joints) == label for label, joints in clips if len(label) == 2]
    assert len(right) > 40
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize("motion", ["turn_left", "step_right", "raise_right_arm", "walk_forward"])
def test_size_place_and_missing_joints_do_not_matter(motion: str) -> None:
    label, joints = track_of(3, [motion])
    moved = joints.copy()
    moved[..., :2] = moved[..., :2] * 2.5 + 40
    assert read_motions(moved) == label
    missing = joints.copy()
    missing[np.random.default_rng(0).random(missing.shape[:2]) < 0.06] = 0
    assert read_motions(missing) == label


@pytest.mark.parametrize("motion", ["turn_left", "step_right", "raise_right_arm", "stand_sway"])
def test_a_joint_that_jumps_for_one_frame_does_not_matter(motion: str) -> None:
    label, joints = track_of(4, [motion])
    for frame, name in ((5, "left_wrist"), (12, "right_shoulder"), (17, "left_ankle")):
        joints[frame, JOINT[name], :2] += (25, -90)
    assert read_motions(joints) == label


@pytest.mark.parametrize(
    ("motion", "other"),
    [("step_left", "step_right"), ("turn_left", "turn_right"), ("raise_left_arm", "raise_right_arm")],
)
def test_a_mirrored_track_is_the_other_side(motion: str, other: str) -> None:
    for index in range(6):
        _, joints = track_of(index, [motion])
        mirrored = joints.copy()
        mirrored[..., 0] = 127 - mirrored[..., 0]
        swapped = list(range(len(JOINT)))
        for name, place in JOINT.items():
            if name.startswith("left_"):
                partner = JOINT["right_" + name.removeprefix("left_")]
                swapped[place], swapped[partner] = partner, place
        assert read_motions(mirrored[:, swapped]) == (other,)


def test_who_stands_still_sways_and_who_is_not_seen_does_nothing() -> None:
    _, joints = track_of(0, ["stand_sway"])
    assert read_motions(np.repeat(joints[:1], 12, axis=0)) == ("stand_sway",)
    assert read_motions(np.zeros((12, 18, 3))) == ()
