"""Frames laid back into the whole photo: true frames of the sample, so that the right picture is known."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from generation.backdrop import Backdrop
from generation.photo import Photo, look_at_photo
from models.pose_finder import PoseFinder
from utils.errors import UserError
from utils.image import place_image, read_image, write_png

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "fashion_dataset/fashion_crop/test_00001"
POSES = ROOT / "fashion_dataset/fashion_poses/test_00001.json"
MASKS = ROOT / "fashion_dataset/fashion_masks/test_00001"
FRAME = 20


def in_studio(picture: np.ndarray, textured: bool = False) -> np.ndarray:
    """A frame of 512 x 256 in a photo of 801 x 1001 pixels."""
    photo = np.pad(picture, ((150, 139), (500, 245), (0, 0)), mode="edge")
    if textured:
        rng = np.random.default_rng(0)
        photo[:, :400] = rng.integers(0, 255, (801, 400, 3), np.uint8)
    return photo


def looked_at(tmp_path: Path, photo: np.ndarray, height: int) -> Photo:
    write_png(tmp_path / "photo.png", photo)
    return look_at_photo(tmp_path / "photo.png", height, height // 2, PoseFinder.from_pretrained())


@pytest.mark.parametrize("height", [256, 512])
def test_she_moves_and_nothing_else(tmp_path: Path, height: int) -> None:
    first, later = (read_image(CLIP / f"{i:03d}.jpg") for i in (0, FRAME))
    whole, truth = in_studio(first, textured=True), in_studio(later, textured=True)[:800, :1000]
    photo = looked_at(tmp_path, whole, height)
    frame = place_image(in_studio(later), photo.placement, height, height // 2)
    joints = np.add(json.loads(POSES.read_text())["keypoints"][FRAME], (500, 150, 0))
    backdrop = Backdrop(photo)
    laid = backdrop.lay(frame, photo.placement.to_fitted(joints))
    assert laid.shape == (800, 1000, 3)

    there, was = (np.zeros((801, 1001), bool)[:800, :1000] for _ in range(2))
    for mask, index in ((there, FRAME), (was, 0)):
        mask[150:662, 500:756] = np.asarray(read_image(MASKS / f"{index:03d}.png")).any(axis=2)
    away = np.abs(laid.astype(int) - truth).max(axis=2)
    same = (laid == whole[:800, :1000]).all(axis=2)
    assert same[:, :400].all()
    assert same[~backdrop.covered].mean() > 0.9
    assert np.percentile(away[was & ~there], 90) < 12  # the ground that she has left
    assert np.median(away[there]) < (10 if height == 512 else 16)


def test_a_textured_ground_is_filled_from_its_rim(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:801, :1001]
    wall = (125 + 60 * np.sin(columns / 40) + 40 * np.cos(rows / 55))[..., None].repeat(3, axis=2)
    mask = np.zeros((801, 1001), bool)
    mask[150:662, 500:756] = np.asarray(read_image(MASKS / "000.png")).any(axis=2)
    picture = np.where(mask[..., None], in_studio(read_image(CLIP / "000.jpg")), wall).astype(np.uint8)
    backdrop = Backdrop(looked_at(tmp_path, picture, 256))
    away = np.abs(backdrop.plate.astype(int) - wall[:800, :1000]).max(axis=2)
    assert backdrop.covered[mask[:800, :1000]].mean() > 0.9
    assert np.median(away[mask[:800, :1000]]) < 30
    assert (away[~backdrop.covered & ~mask[:800, :1000]] <= 1).all()


def test_a_photo_without_a_pose_is_refused(tmp_path: Path) -> None:
    photo = looked_at(tmp_path, np.full((300, 300, 3), 200, np.uint8), 256)
    with pytest.raises(UserError, match="no person was found"):
        Backdrop(dataclasses.replace(photo, found=None))
