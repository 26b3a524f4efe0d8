"""What a photo from the front tells of the hair, and where it lies from behind."""

import cv2
import numpy as np
import pytest

from tests.test_joints import standing
from tests.test_warping import SHIRT, SKIN, figure, from_behind
from utils.pose_drawing import FACE, JOINT, joint_indices
from warping.body import head_yaw_of, read_body, yaw_of
from warping.hair import Hair, hair_behind
from warping.photo import cut_photo
from warping.warp import warp_to_poses

DARK = (60, 35, 28)


def portrait(joints: np.ndarray, *, strands: bool) -> np.ndarray:
    """The drawn person with dark hair around the face, and strands down to the shoulders."""
    picture = figure(joints, 512)
    head = joints[JOINT["nose"], :2].astype(int)
    bare = picture.copy()
    cv2.circle(picture, (int(head[0]), int(head[1]) - 6), 30, DARK, -1)
    if strands:
        for side in (-24, 24):
            end = (int(head[0]) + side, int(joints[JOINT["neck"], 1]) - 4)
            cv2.line(picture, (int(head[0]) + side, int(head[1])), end, DARK, 12)
    cv2.ellipse(picture, (int(head[0]), int(head[1]) + 4), (17, 22), 0, 0, 360, SKIN, -1)
    neck = (bare == SKIN).all(axis=-1) & (np.arange(512)[:, None] > head[1] + 20)
    picture[neck] = bare[neck]
    return picture


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    return standing(512)


def share_of_hair(picture: np.ndarray, joints: np.ndarray, down: float) -> float:
    """How much of a small square is dark, at `down` of the way from the nose to the neck."""
    nose, neck = joints[JOINT["nose"], :2], joints[JOINT["neck"], :2]
    x, y = np.round(nose + down * (neck - nose)).astype(int)
    around = picture[y - 2 : y + 3, x - 6 : x + 7].astype(int)
    return float((np.abs(around - DARK).max(axis=-1) < 30).mean())


def test_long_hair_hangs_over_the_nape_from_behind(joints: np.ndarray) -> None:
    (behind,), (known,) = warp_to_poses(portrait(joints, strands=True), joints, from_behind(joints)[None])
    assert share_of_hair(behind, joints, 0) > 0.9
    assert share_of_hair(behind, joints, 0.8) > 0.9
    nape = np.round(joints[JOINT["neck"], :2] - (0, 8)).astype(int)
    assert known[nape[1], nape[0]] < 0.5
    (same,), _ = warp_to_poses(portrait(joints, strands=True), joints, joints[None])
    assert share_of_hair(same, joints, 0.8) < 0.1


def test_short_hair_leaves_the_nape_free(joints: np.ndarray) -> None:
    image = portrait(joints, strands=False)
    assert cut_photo(image, read_body(joints)).hair is None
    (behind,), _ = warp_to_poses(image, joints, from_behind(joints)[None])
    assert share_of_hair(behind, joints, 0.9) < 0.1


@pytest.mark.parametrize("open_jacket", [False, True])
def test_clothes_in_the_colour_of_the_hair_are_not_hair(joints: np.ndarray, open_jacket: bool) -> None:
    image = portrait(joints, strands=True)
    assert cut_photo(image, read_body(joints)).hair is not None
    shirt = np.abs(image.astype(int) - SHIRT).max(axis=-1) < 10
    if open_jacket:
        neck, length = joints[JOINT["neck"], 0], read_body(joints).length
        shirt &= np.abs(np.arange(image.shape[1]) - neck) > 0.12 * length
    image[shirt] = DARK
    assert cut_photo(image, read_body(joints)).hair is None


def test_a_picture_that_ends_at_the_neck_or_shows_a_side_tells_nothing(joints: np.ndarray) -> None:
    image = portrait(joints, strands=True)
    cut = image[: int(joints[JOINT["neck"], 1]) + 6]
    assert cut_photo(cut, read_body(joints)).hair is None
    narrow = joints.copy()
    narrow[:, 0] = joints[1, 0] + 0.2 * (joints[:, 0] - joints[1, 0])
    assert cut_photo(image, read_body(narrow)).hair is None


def test_hair_follows_the_heads_turn() -> None:
    body = read_body(standing(512))
    hair = Hair(np.float32(DARK), 0.18, 0.2)
    y, x = np.mgrid[:512, :256].astype(np.float32)
    views = {yaw: hair_behind(hair, body, np.radians(yaw), x, y) for yaw in (0, 60, 90, -90, 180)}
    assert views[0].max() == 0 and views[60].max() == 0
    middle = {yaw: float((view * x).sum() / view.sum()) for yaw, view in views.items() if view.max() > 0}
    center = body.point("neck")[0]
    assert abs(middle[180] - center) < 1
    assert middle[90] < center - 2  # she faces the viewer's right, so it hangs on the left
    assert abs(middle[90] + middle[-90] - 2 * center) < 1
    lowest = np.flatnonzero((views[180] > 0.5).any(axis=1)).max()
    assert abs(lowest - (body.point("neck")[1] + 0.2 * body.length)) < 4
    rows = [int((views[180][row] > 0.5).sum()) for row in (int(body.head[1]) + 5, lowest - 12)]
    assert abs(rows[0] - 2 * 0.18 * body.length) < 4 and rows[1] > 1.1 * rows[0]


def test_a_nose_beside_the_ears_of_one_seen_from_behind_is_a_head_turned_away() -> None:
    pose = from_behind(standing(512))
    pose[joint_indices(FACE), 2] = 1
    ears = pose[[JOINT["right_ear"], JOINT["left_ear"]], 0]
    pose[JOINT["nose"], 0] = ears.max() + 1
    body = read_body(pose)
    assert body.face_turn is not None
    turn = np.degrees(head_yaw_of(body, np.radians(150)))
    assert 90 < turn < 180
    assert np.degrees(head_yaw_of(body, np.radians(20))) == pytest.approx(180 - turn)


def test_a_face_that_looks_at_us_stays_one_when_the_body_turns_past_its_side() -> None:
    turns = []
    for width in (0.02, -0.02):
        pose = standing(512)
        body_joints = np.setdiff1d(np.arange(len(pose)), joint_indices(FACE))
        pose[body_joints, 0] = pose[1, 0] + width * (pose[body_joints, 0] - pose[1, 0])
        body = read_body(pose)
        assert np.sign(body.width) == np.sign(width)
        turns.append(np.degrees(head_yaw_of(body, yaw_of(body, 0.92))))
    assert turns[0] == pytest.approx(turns[1]) and abs(turns[0]) < 10
