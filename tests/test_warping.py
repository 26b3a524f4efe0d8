"""The warp on a made-up figure of flat colours."""

import cv2
import numpy as np
import pytest

from tests.test_joints import standing
from utils.errors import UserError
from utils.pose_drawing import JOINT
from warping import warp_to_poses
from warping.body import read_body
from warping.chains import Chain
from warping.photo import PROFILE_RANGE, PROFILE_STEPS, cut_photo, measure_widths
from warping.warp import warp_by_rules

SHIRT, TROUSERS, SKIN, WALL = (200, 40, 40), (40, 60, 160), (200, 150, 120), (225, 228, 230)
SKIRT = (30, 120, 60)


def figure(joints: np.ndarray, height: int = 256) -> np.ndarray:
    """A drawn person in a shirt with stripes and trousers, arms clear of the body."""
    picture = np.full((height, height // 2, 3), WALL, np.uint8)
    points = {name: tuple(int(round(v)) for v in joints[index, :2]) for name, index in JOINT.items()}
    unit = height / 256

    def line(a, b, color, thickness):
        cv2.line(picture, points[a], points[b], color, max(1, round(thickness * unit)))

    for side in ("right", "left"):
        line(f"{side}_hip", f"{side}_knee", TROUSERS, 12)
        line(f"{side}_knee", f"{side}_ankle", TROUSERS, 10)
    corners = ("right_shoulder", "left_shoulder", "left_hip", "right_hip")
    cv2.fillConvexPoly(picture, np.array([points[c] for c in corners]), SHIRT)
    neck, hip = joints[1, :2], (joints[8, :2] + joints[11, :2]) / 2
    middle = [(int(x), int(y)) for x, y in (neck + 0.3 * (hip - neck), neck + 0.7 * (hip - neck))]
    cv2.line(picture, *middle, (250, 220, 60), max(1, round(5 * unit)))
    for side in ("right", "left"):
        line(f"{side}_shoulder", f"{side}_elbow", SKIN, 8)
        line(f"{side}_elbow", f"{side}_wrist", SKIN, 7)
    cv2.line(picture, points["neck"], points["nose"], SKIN, max(1, round(8 * unit)))
    cv2.circle(picture, points["nose"], round(13 * unit), SKIN, -1)
    return picture


def in_skirt(joints: np.ndarray, flare: int = 9) -> np.ndarray:
    """The drawn person with bare legs and a skirt that ends at the knees."""
    picture = figure(joints)
    picture[(picture == TROUSERS).all(axis=-1)] = SKIN
    (right, hip), (left, _) = (joints[JOINT[f"{side}_hip"], :2] for side in ("right", "left"))
    knee = joints[JOINT["right_knee"], 1]
    corners = [(right - 5, hip - 3), (left + 5, hip - 3), (left + flare, knee), (right - flare, knee)]
    cv2.fillConvexPoly(picture, np.array(corners).round().astype(int), SKIRT)
    return picture


@pytest.fixture(scope="module")
def photo():
    joints = standing(256)
    return figure(joints), joints


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-6, np.mean((a.astype(float) - b) ** 2))))


def from_behind(joints: np.ndarray) -> np.ndarray:
    turned = joints.copy()
    turned[:, 0] = 2 * joints[1, 0] - joints[:, 0]
    turned[[JOINT["nose"], JOINT["right_eye"], JOINT["left_eye"]], 2] = 0
    return turned


def legs_apart(joints: np.ndarray, pixels: float) -> np.ndarray:
    """The pose with each knee `pixels` farther out, and each ankle twice as much."""
    apart = joints.copy()
    for side, sign in (("right", -1), ("left", 1)):
        apart[JOINT[f"{side}_knee"], 0] += sign * pixels
        apart[JOINT[f"{side}_ankle"], 0] += 2 * sign * pixels
    return apart


def test_its_own_pose_gives_the_photo_back(photo):
    image, joints = photo
    warped, validity = warp_to_poses(image, joints, joints[None])
    assert warped.shape == (1, 256, 128, 3) and warped.dtype == np.uint8
    assert validity.shape == (1, 256, 128) and validity.dtype == np.float32
    assert psnr(warped[0], image) > 33
    assert validity.mean() > 0.98


def test_a_step_aside_moves_the_pixels_by_as_much(photo):
    image, joints = photo
    target = joints + np.array([10, -6, 0], np.float32)
    warped, validity = warp_to_poses(image, joints, target[None])
    wanted = figure(target)
    assert psnr(warped[0], wanted) > 30
    person = (wanted != WALL).any(axis=-1)
    assert np.median(np.abs(warped[0][person].astype(int) - wanted[person])) <= 2
    around = cv2.dilate(person.astype(np.uint8), np.ones((9, 9))).astype(bool)
    left_behind = (image != WALL).any(axis=-1) & ~around
    assert np.abs(warped[0][left_behind].astype(int) - WALL).max() < 12
    assert validity[0][left_behind].mean() < 0.7 < validity[0][person].mean()


def test_a_raised_arm_takes_its_pixels_along(photo):
    image, joints = photo
    target = joints.copy()
    target[JOINT["left_elbow"], :2] = joints[JOINT["left_shoulder"], :2] + (24, -18)
    target[JOINT["left_wrist"], :2] = target[JOINT["left_elbow"], :2] + (4, -24)
    warped, _ = warp_to_poses(image, joints, target[None])
    for share in (0.3, 0.6, 0.9):
        x, y = target[JOINT["left_elbow"], :2] * (1 - share) + target[JOINT["left_wrist"], :2] * share
        assert np.abs(warped[0, int(y), int(x)].astype(int) - SKIN).max() < 25
    x, y = joints[JOINT["left_wrist"], :2].astype(int)
    assert np.abs(warped[0, y, x].astype(int) - WALL).max() < 12
    right = np.s_[:, :50]
    assert psnr(warped[0][right], image[right]) > 33


def limb_pixels(joints: np.ndarray, *chains: tuple[str, ...], thickness: int) -> np.ndarray:
    """(256, 128) bool: thick lines through joints."""
    mask = np.zeros((256, 128), np.uint8)
    for chain in chains:
        points = np.array([joints[JOINT[name], :2] for name in chain]).round().astype(np.int32)
        cv2.polylines(mask, [points], False, 1, thickness)
    return mask.astype(bool)


def test_hands_on_hips_give_no_spikes_at_the_elbows(photo):
    image, joints = photo
    target = joints.copy()
    arms = []
    for side, sign in (("right", -1), ("left", 1)):
        shoulder = joints[JOINT[f"{side}_shoulder"], :2]
        target[JOINT[f"{side}_elbow"], :2] = np.add(shoulder, (20 * sign, 26))
        target[JOINT[f"{side}_wrist"], :2] = np.add(shoulder, (-3 * sign, 40))
        arms.append((f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"))
    warped, _ = warp_to_poses(image, joints, target[None])
    skin = np.abs(warped[0].astype(int) - SKIN).max(axis=-1) < 40
    beside = np.ones_like(skin)
    right, left = (int(target[JOINT[f"{side}_shoulder"], 0]) for side in ("right", "left"))
    beside[:, right + 2 : left - 2] = False
    arms_there = limb_pixels(target, *arms, thickness=13)
    assert skin[limb_pixels(target, *arms, thickness=3) & beside].mean() > 0.9
    assert (skin & beside & ~arms_there).sum() < 5


def test_trouser_legs_part_without_wings_at_the_hips_or_a_gap_at_the_crotch(photo):
    image, joints = photo
    target = legs_apart(joints, 8)
    warped, _ = warp_to_poses(image, joints, target[None])
    blue = np.abs(warped[0].astype(int) - TROUSERS).max(axis=-1) < 60
    wanted = (np.abs(figure(target).astype(int) - TROUSERS).max(axis=-1) < 60).astype(np.uint8)
    assert (blue & ~cv2.dilate(wanted, np.ones((5, 5))).astype(bool)).sum() < 12
    assert blue[cv2.erode(wanted, np.ones((3, 3))).astype(bool)].mean() > 0.97


def test_a_skirt_keeps_its_hem_where_the_legs_step_apart(photo):
    _, joints = photo
    image = in_skirt(joints)
    target = legs_apart(joints, 4)
    warped, _ = warp_to_poses(image, joints, target[None])
    red = np.abs(warped[0].astype(int) - SKIRT).max(axis=-1) < 60
    below = int(joints[JOINT["right_knee"], 1])
    assert red[below - 12 : below - 4].any(axis=1).all()
    assert red[below + 8 :].sum() == 0  # no cloth goes down with the legs
    hem = int(np.flatnonzero(red.any(axis=1)).max())
    widths = red[hem - 12 : hem - 2].sum(axis=1)
    assert widths.max() < 1.35 * (np.abs(image.astype(int) - SKIRT).max(axis=-1) < 60).sum(axis=1).max()


def trunk_widths(mask: np.ndarray, hiding: np.ndarray | None = None, end: float = np.inf) -> np.ndarray:
    """Widths of a (256, 128) mask at each row, by a trunk straight down its middle."""
    rows = np.array([20.0, 60, 120, 180, 240])
    chain = Chain.through(np.stack([np.full(5, 64.0), rows], 1), 60)
    _, half_width = measure_widths(mask.astype(np.float32), chain, 60, hiding=hiding, end=end)
    places = np.interp(np.arange(256), rows, np.arange(5))
    return 2 * np.interp(places, np.linspace(*PROFILE_RANGE, PROFILE_STEPS), half_width)


def test_below_its_hem_a_skirt_is_as_wide_as_at_it() -> None:
    mask = np.zeros((256, 128), bool)
    mask[60:180, 44:84] = True
    mask[180:190, 60:68] = True  # what hangs between the legs
    end = 3 - 0.04
    assert trunk_widths(mask)[188] < 25  # narrowing to what hangs there, cloth would be drawn out sideways
    assert np.abs(trunk_widths(mask, end=end)[100:200] - 40).max() < 2


def test_behind_her_arms_the_trunk_is_as_wide_as_where_it_is_seen() -> None:
    whole = np.zeros((256, 128), bool)
    whole[60:180, 44:84] = True
    arms = np.zeros_like(whole)
    arms[90:120, 40:47] = arms[90:120, 81:88] = True
    seen = whole & ~arms
    assert trunk_widths(seen)[105] < 36
    assert np.abs(trunk_widths(seen, hiding=arms.astype(np.float32))[70:170] - 40).max() < 2


@pytest.mark.parametrize(("legs", "is_skirt"), [(SKIRT, False), (SKIN, True)])
def test_trousers_that_touch_down_to_the_knees_are_no_skirt(photo, legs, is_skirt) -> None:
    _, joints = photo
    image, body = in_skirt(joints), read_body(joints)
    (right, knee), (left, _) = (joints[JOINT[f"{side}_knee"], :2] for side in ("right", "left"))
    corners = [(right - 5, knee - 50), (left + 5, knee - 50), (left + 16, knee - 10), (right - 16, knee - 10)]
    cv2.fillConvexPoly(image, np.array(corners).round().astype(int), SKIRT)
    image[int(knee) - 9 :][(image[int(knee) - 9 :] != WALL).any(axis=-1)] = legs
    assert body is not None
    assert (cut_photo(image, body).hem > 2.3) == is_skirt


@pytest.mark.parametrize("share", [0.9, 0.7])
def test_a_skirt_that_the_picture_cuts_off_is_no_trousers(photo, share) -> None:
    _, joints = photo
    hip, knee = joints[JOINT["right_hip"], 1], joints[JOINT["right_knee"], 1]
    edge = round(hip + share * (knee - hip))
    cut = joints.copy()
    cut[joints[:, 1] > edge, 2] = 0
    body = read_body(cut)
    assert body is not None
    assert cut_photo(in_skirt(joints, flare=14)[:edge].copy(), body).hem > 2.3
    assert cut_photo(figure(joints)[:edge].copy(), body).hem <= 2.3


def test_a_view_from_behind_is_known_less_well_and_shows_no_face(photo):
    image, joints = photo
    image = image.copy()
    cv2.circle(image, tuple(int(v) for v in joints[0, :2] - (0, 14)), 9, (60, 30, 20), -1)
    behind = from_behind(joints)
    warped, validity = warp_to_poses(image, joints, np.stack([joints, behind]))
    trunk = np.s_[70:100, 58:70]
    assert validity[1][trunk].mean() < 0.5 < validity[0][trunk].mean()
    assert validity[1].mean() < validity[0].mean()
    x, y = joints[0, :2].astype(int)
    assert np.abs(warped[1, y, x].astype(int) - SKIN).max() > 40


def test_missing_joints_are_inferred_or_the_limb_is_unknown(photo):
    image, joints = photo
    inferred = joints.copy()
    inferred[[JOINT["left_shoulder"], JOINT["right_hip"], JOINT["left_elbow"]], 2] = 0
    warped, _ = warp_to_poses(image, joints, inferred[None])
    assert psnr(warped[0], image) > 25
    armless = joints.copy()
    armless[[JOINT["left_elbow"], JOINT["left_wrist"]], 2] = 0
    _, validity = warp_to_poses(image, armless, joints[None])
    x, y = ((joints[JOINT["left_elbow"], :2] + joints[JOINT["left_wrist"], :2]) / 2).astype(int)
    assert validity[0, y, x] < 0.1


def test_without_joints_the_photo_comes_back_with_nothing_known(photo):
    image, joints = photo
    nobody = np.zeros_like(joints)
    for source, target in ((nobody, joints), (joints, nobody)):
        warped, validity = warp_to_poses(image, source, target[None])
        assert np.array_equal(warped[0], image) and not validity.any()
    warped, validity = warp_to_poses(image, joints, np.zeros((0, 18, 3)))
    assert warped.shape == (0, 256, 128, 3) and validity.shape == (0, 256, 128)


@pytest.mark.parametrize("size", [(256, 128), (97, 61), (64, 64), (300, 200), (16, 16)])
def test_degenerate_poses_give_no_nan(size):
    rng = np.random.default_rng(size[0])
    image = rng.integers(0, 255, (*size, 3), np.uint8)
    poses = [standing(size[0]), from_behind(standing(size[0]))]
    poses.append(np.concatenate([np.full((18, 2), 8.0), np.ones((18, 1))], axis=1))  # all joints in one place
    poses.append(np.concatenate([rng.uniform(-3, 3, (18, 2)) * size[0], np.ones((18, 1))], axis=1))
    poses.append(np.where(np.arange(18)[:, None] == 5, np.nan, standing(size[0])))
    for missing in range(3):
        pose = standing(size[0])
        pose[rng.permutation(18)[: 5 * missing + 3], 2] = 0
        poses.append(pose)
    for source in poses:
        warped, validity = warp_to_poses(image, source, np.stack(poses).astype(np.float32))
        assert warped.shape == (len(poses), *size, 3)
        assert np.isfinite(validity).all()
        assert validity.min() >= 0
        assert validity.max() <= 1


def test_frames_do_not_depend_on_each_other(photo):
    image, joints = photo
    targets = np.stack([joints, joints + np.array([5, 0, 0]), from_behind(joints)])
    together = warp_to_poses(image, joints, targets)
    for frame in range(3):
        alone = warp_to_poses(image, joints, targets[frame : frame + 1])
        for one, all_frames in zip(alone, together, strict=True):
            assert np.array_equal(one[0], all_frames[frame])


def test_the_rules_say_where_they_laid_the_person(photo):
    image, joints = photo
    moved = warp_by_rules(image, joints, np.stack([joints, joints + np.array([10, 0, 0])]))
    plain = np.abs(image.astype(int) - moved.background).max(2) > 40
    assert (moved.photo_person[plain] > 0.5).mean() > 0.95
    assert moved.photo_person[~plain].mean() < 0.1
    columns = np.arange(image.shape[1])
    stays, shifted = (person.sum(0) @ columns / person.sum() for person in moved.person)
    assert 8 < shifted - stays < 12
    nobody = warp_by_rules(image, np.zeros((18, 3)), joints[None])
    assert not nobody.person.any() and not nobody.photo_person.any()
    assert np.array_equal(nobody.background, image)


@pytest.mark.parametrize(
    ("image", "source", "targets"),
    [
        (np.zeros((64, 32, 3), np.float32), np.zeros((18, 3)), np.zeros((1, 18, 3))),
        (np.zeros((64, 32), np.uint8), np.zeros((18, 3)), np.zeros((1, 18, 3))),
        (np.zeros((64, 32, 3), np.uint8), np.zeros((17, 3)), np.zeros((1, 18, 3))),
        (np.zeros((64, 32, 3), np.uint8), np.zeros((18, 3)), np.zeros((18, 3))),
    ],
)
def test_wrong_shapes_and_types_are_refused(image, source, targets):
    with pytest.raises(UserError, match="give"):
        warp_to_poses(image, source, targets)
