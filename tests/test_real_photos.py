"""Photos of real people, unlike all that the shipped model was trained on, through its VAE and the warp."""

from pathlib import Path

import numpy as np
import pytest

from diffusion.latents import load_vae
from evaluation.controls import vae_reconstruction
from evaluation.fidelity import psnr
from evaluation.silhouette import estimate_background, segment
from utils.image import fit_image, read_image
from utils.paths import SHIPPED_MODEL
from utils.pose_drawing import JOINT
from warping.warp import warp_to_poses

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "../shared/real_inputs"
HEIGHT, WIDTH = 512, 256
CROP = slice(64, 384)
"""Columns of the photos, 512 x 640 pixels, that leave them twice as high as wide, as frames are."""

# x, y of the 18 joints in the photos' pixels, read off by hand; every joint is seen or lies under cloth.
JOINTS = {
    "blue": [
        (230, 70), (230, 118),
        (180, 123), (166, 230), (175, 300),
        (274, 128), (280, 230), (285, 313),
        (201, 261), (201, 423), (206, 572),
        (251, 261), (274, 428), (251, 556),
        (218, 60), (242, 60), (204, 55), (256, 55),
    ],
    "silver": [
        (247, 73), (248, 123),
        (191, 131), (184, 235), (180, 308),
        (306, 131), (311, 235), (313, 308),
        (217, 272), (199, 444), (183, 559),
        (274, 272), (280, 444), (272, 556),
        (237, 64), (256, 63), (225, 64), (273, 63),
    ],
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"needs photos in {PHOTOS}; they do not ship"),
]


@pytest.fixture(params=["whole", "cropped"])
def framing(request: pytest.FixtureRequest) -> str:
    """The photo as inference.py fits it, white at top and bottom; and the person as high as the frame."""
    return str(request.param)


@pytest.fixture(params=["blue", "silver"])
def photo(request: pytest.FixtureRequest, framing: str) -> tuple[np.ndarray, np.ndarray]:
    """A photo (512, 256, 3) uint8 and its joints (18, 3)."""
    picture, joints = read_image(PHOTOS / f"{request.param}.jpg"), np.ones((18, 3), np.float32)
    joints[:, :2] = JOINTS[request.param]
    if framing == "cropped":
        picture, joints[:, 0] = picture[:, CROP], joints[:, 0] - CROP.start
    fitted, placement = fit_image(picture, HEIGHT, WIDTH)
    return fitted, placement.to_fitted(joints)


def person(picture: np.ndarray) -> np.ndarray:
    """Where the person is, (1, H, W) bool."""
    return segment(picture[None], estimate_background(picture))


def test_the_vae_keeps_a_real_photo(photo: tuple[np.ndarray, np.ndarray]) -> None:
    picture, joints = photo
    vae = load_vae(ROOT / SHIPPED_MODEL / "vae")
    warped = warp_to_poses(picture, joints, joints[None])
    decoded = vae_reconstruction(vae, picture[None], warped)
    assert psnr(decoded, picture[None]) > 28
    assert psnr(decoded, picture[None], person(picture)) > 21


def test_the_warp_onto_its_own_pose_is_the_photo(photo: tuple[np.ndarray, np.ndarray]) -> None:
    picture, joints = photo
    warped, validity = warp_to_poses(picture, joints, joints[None])
    assert psnr(warped, picture[None]) > 36
    assert psnr(warped, picture[None], person(picture)) > 30
    assert validity[person(picture)].mean() > 0.95


def test_the_warp_onto_the_same_pose_elsewhere_is_the_photo_moved(
    photo: tuple[np.ndarray, np.ndarray],
) -> None:
    picture, joints = photo
    moved = np.roll(picture, 5, axis=1)
    warped, validity = warp_to_poses(picture, joints, joints[None] + np.float32([5, 0, 0]))
    assert psnr(warped, moved[None], person(moved)) > 30
    assert validity[person(moved)].mean() > 0.95


def test_the_warp_onto_a_slightly_changed_pose_stays_near_the_photo(
    photo: tuple[np.ndarray, np.ndarray],
) -> None:
    picture, joints = photo
    changed, torso = joints.copy(), np.linalg.norm(joints[JOINT["neck"], :2] - joints[JOINT["right_hip"], :2])
    changed[JOINT["right_wrist"], 0] -= 0.1 * torso
    changed[JOINT["left_elbow"], 0] += 0.05 * torso
    changed[JOINT["left_wrist"], 0] += 0.1 * torso
    changed[JOINT["left_ankle"], 0] += 0.05 * torso
    changed[[JOINT["nose"], JOINT["right_eye"], JOINT["left_eye"]], 0] += 0.02 * torso
    warped, validity = warp_to_poses(picture, joints, changed[None])
    assert psnr(warped, picture[None]) > 21
    # What did not move, the trunk, is the photo's.
    left, right = np.sort(joints[[JOINT["right_hip"], JOINT["left_hip"]], 0]).astype(int)
    trunk = np.zeros((1, HEIGHT, WIDTH), bool)
    trunk[:, int(joints[JOINT["neck"], 1]) : int(joints[JOINT["left_hip"], 1]), left:right] = True
    assert psnr(warped, picture[None], trunk) > 22
    assert not np.array_equal(warped[0], picture)
    assert validity[person(picture)].mean() > 0.9
