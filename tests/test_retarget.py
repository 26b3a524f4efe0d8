"""Poses carried over to another body, on made-up sequences whose answer is known."""

import numpy as np
import pytest

from tests.test_joints import standing
from utils.errors import UserError
from utils.pose_drawing import JOINT
from warping.retarget import LIMBS, retarget

SIDES = ("right", "left")


def dance(first: np.ndarray, num_frames: int = 8) -> np.ndarray:
    """(F, 18, 3): a step to the viewer's right while the left arm rises, beginning with `first`."""
    frames = np.repeat(first[None], num_frames, axis=0).astype(np.float64)
    length = float(np.hypot(*(first[JOINT["left_elbow"], :2] - first[JOINT["left_shoulder"], :2])))
    for frame, share in enumerate(np.linspace(0, 1, num_frames)):
        frames[frame, :, 0] += 1.2 * length * share
        frames[frame, :, 1] -= 0.2 * length * share
        shoulder, elbow, wrist = (JOINT[f"left_{name}"] for name in ("shoulder", "elbow", "wrist"))
        angle = 2.4 * share
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        for joint in (elbow, wrist):
            offset = frames[frame, joint, :2] - frames[frame, shoulder, :2]
            frames[frame, joint, :2] = frames[frame, shoulder, :2] + turn @ offset
    return frames.astype(np.float32)


def other_body(joints: np.ndarray) -> np.ndarray:
    """The same poses of somebody with broader shoulders, longer forearms and shins and a larger head."""
    points = joints[..., :2].astype(np.float64)
    moved = points.copy()
    factors = {"shoulder": 1.25, "elbow": 1.0, "wrist": 1.2, "hip": 1.1, "knee": 1.0, "ankle": 1.15}
    hips = (points[:, JOINT["right_hip"]] + points[:, JOINT["left_hip"]]) / 2
    for name in ("nose", "right_eye", "left_eye", "right_ear", "left_ear"):
        neck = points[:, JOINT["neck"]]
        moved[:, JOINT[name]] = neck + 1.2 * (points[:, JOINT[name]] - neck)
    for side in SIDES:
        for start, end in LIMBS.values():
            if start == "middle_hip":
                origin = moved_origin = hips
            else:
                joint = JOINT["neck"] if start == "neck" else JOINT[f"{side}_{start}"]
                origin, moved_origin = points[:, joint], moved[:, joint]
            index = JOINT[f"{side}_{end}"]
            moved[:, index] = moved_origin + factors[end] * (points[:, index] - origin)
    return np.concatenate([moved, joints[..., 2:]], axis=-1).astype(np.float32)


def test_the_photos_own_body_and_first_pose_come_back_unchanged():
    joints = dance(standing(256))
    joints[3, JOINT["right_ear"], 2] = 0
    fitted = retarget(joints, joints[0])
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted, joints, atol=1e-3)


def test_a_sequence_larger_and_elsewhere_is_put_where_the_photo_stands():
    joints = dance(standing(256))
    larger = joints * (1.7, 1.7, 1) + (90, -40, 0)
    np.testing.assert_allclose(retarget(larger, joints[0]), joints, atol=1e-3)


def test_another_body_gets_the_photos_limbs_and_keeps_their_directions():
    joints = dance(standing(256))
    others = other_body(joints) * (1.3, 1.3, 1) + (20, 60, 0)
    fitted = retarget(others, joints[0])
    np.testing.assert_allclose(fitted[0], joints[0], atol=0.05)
    for limb, (start, end) in LIMBS.items():
        if start in ("neck", "middle_hip"):
            continue
        a, b = JOINT[f"left_{start}"], JOINT[f"left_{end}"]
        vectors, wanted = (track[:, b, :2] - track[:, a, :2] for track in (fitted, joints))
        np.testing.assert_allclose(vectors, wanted, atol=0.05, err_msg=limb)
    assert np.abs(others - fitted).max() > 20


def test_the_lower_foot_stays_on_the_floor_while_the_body_travels_by_its_size():
    first = standing(256)
    joints = np.repeat(first[None], 5, axis=0)
    for frame in range(5):  # she sinks at the knees, feet where they are, and drifts aside
        upper = [i for name, i in JOINT.items() if "ankle" not in name]
        joints[frame, upper, 1] += 3 * frame
        joints[frame, :, 0] += 4 * frame
    photo = other_body(first[None])[0]
    fitted = retarget(joints * (2, 2, 1), photo)
    feet = fitted[:, [JOINT["right_ankle"], JOINT["left_ankle"]], 1].max(axis=1)
    np.testing.assert_allclose(feet, photo[JOINT["right_ankle"], 1], atol=1e-3)
    travel = fitted[-1, JOINT["neck"], 0] - fitted[0, JOINT["neck"], 0]
    assert 16 < travel < 18  # 16 pixels at half the size, of somebody a little taller


def test_missing_joints_stay_missing_and_do_not_move_the_others():
    joints = dance(standing(256))
    others = other_body(joints)
    whole = retarget(others, joints[0])
    gaps = others.copy()
    gaps[2, JOINT["right_wrist"]] = 0
    gaps[4, [JOINT["nose"], JOINT["left_eye"]]] = 0
    gaps[5] = 0
    gaps[6, JOINT["left_ankle"]] = 0
    fitted = retarget(gaps, joints[0])
    missing = gaps[..., 2] <= 0
    assert not fitted[missing].any()
    np.testing.assert_allclose(fitted[~missing], whole[~missing], atol=0.5)
    assert np.isfinite(fitted).all()


def test_a_limb_that_points_at_the_viewer_in_the_photo_is_not_made_a_stump():
    joints = dance(standing(256))
    photo = joints[0].copy()
    for side in SIDES:
        photo[JOINT[f"{side}_wrist"], :2] = photo[JOINT[f"{side}_elbow"], :2] + (0, 2)
    fitted = retarget(joints, photo)
    lengths = [
        np.hypot(*(track[0, JOINT["left_wrist"], :2] - track[0, JOINT["left_elbow"], :2]))
        for track in (fitted, joints)
    ]
    assert lengths[0] > 0.65 * lengths[1]


@pytest.mark.parametrize(
    ("joints", "photo", "message"),
    [
        (np.ones((4, 17, 3)), np.ones((18, 3)), "give"),
        (np.ones((4, 18, 3)), np.ones((18, 2)), "give"),
        (np.zeros((4, 18, 3)), standing(256), "poses show no body"),
        (standing(256)[None], np.zeros((18, 3)), "photo's joints show no body"),
        (np.zeros((0, 18, 3)), standing(256), "poses show no body"),
    ],
)
def test_what_shows_no_body_is_refused(joints, photo, message):
    with pytest.raises(UserError, match=message):
        retarget(joints, photo)
