"""The frame around a person in photos of any size and shape."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from generation.framing import Extent, frame_person, measure_person
from generation.photo import look_at_photo
from models.pose_finder import PoseFinder
from tests.toys import figure_joints
from utils.image import fit_size, read_image, write_png

ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "fashion_dataset/fashion_crop/test_00000/000.jpg"
SIZES = [(256, 128), (512, 256), (512, 384)]


def person_in_frame(person: Extent, size: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Left, top, right and bottom of the person as parts of the frame."""
    placement = frame_person(person, size, height, width)
    assert placement.height / size[0] == pytest.approx(placement.width / size[1], rel=0.02)
    corners = placement.to_fitted(np.array([(person.left, person.top), (person.right, person.bottom)]) - 0.5)
    return ((corners + 0.5) / (width, height)).ravel()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("left", "top", "tall"), [(900, 200, 700), (10, 300, 300), (1700, 5, 1060)])
def test_people_in_large_photos_fill_the_frame(
    height: int, width: int, left: int, top: int, tall: int
) -> None:
    person = Extent(left, top, left + 0.3 * tall, top + tall, left + 0.15 * tall, False, False)
    x0, y0, x1, y1 = person_in_frame(person, (1080, 1920), height, width)
    assert 0.75 <= y1 - y0 <= 0.95 and y0 >= -0.01 and y1 <= 1.01
    assert x0 >= 0.02 and x1 <= 0.98


def test_a_photo_that_she_fills_stays_as_it_is() -> None:
    person = Extent(60, 20, 190, 480, 125, False, False)
    assert frame_person(person, (512, 256), 256, 128) == fit_size(512, 256, 256, 128)


def test_wide_arms_are_inside() -> None:
    person = Extent(200, 100, 700, 600, 450, False, False)
    x0, _, x1, _ = person_in_frame(person, (1000, 1000), 256, 128)
    assert x0 > 0.02 and x1 < 0.98


def test_the_edge_that_cuts_her_is_the_frames() -> None:
    half = Extent(300, 100, 560, 800, 430, False, True)
    x0, y0, x1, y1 = person_in_frame(half, (800, 900), 512, 256)
    assert y1 == pytest.approx(1, abs=0.01) and 0.75 <= y1 - y0 <= 0.95 and x0 > 0 and x1 < 1
    close = Extent(100, 0, 700, 800, 400, True, True)
    assert frame_person(close, (800, 900), 512, 256) == fit_size(800, 900, 512, 256)


def test_joints_alone_tell_the_extent_as_a_mask_does() -> None:
    joints = figure_joints(1, height=400)[0]
    alone = measure_person(joints, None, (1000, 1000))
    assert (
        alone is not None
        and not alone.cut_below
        and alone.height == pytest.approx(400 * 0.74 * 1.2, rel=0.05)
    )
    mask = np.zeros((1000, 1000), np.float32)
    mask[int(alone.top) - 12 : int(alone.bottom) + 8, int(alone.left) : int(alone.right)] = 1
    mask[:, 900:] = 1  # somebody else
    masked = measure_person(joints, mask, (1000, 1000))
    assert masked is not None and masked.right < 300
    assert masked.top == pytest.approx(alone.top - 12, abs=1.5)
    joints[[10, 13], 2] = 0
    assert measure_person(joints, None, (300, 1000)).cut_below
    joints[1:, 2] = 0
    assert measure_person(joints, None, (300, 1000)) is None


@pytest.mark.parametrize(("tall", "left", "top"), [(450, 1400, 400), (900, 300, 100)])
def test_the_person_of_a_studio_photo_is_found_and_framed(tmp_path, tall: int, left: int, top: int) -> None:
    studio = read_image(STUDIO)
    person = cv2.resize(studio, (tall // 2, tall), interpolation=cv2.INTER_AREA)
    photo = np.full((1080, 1920, 3), np.median(studio[:40], axis=(0, 1)), np.uint8)
    photo[top : top + tall, left : left + tall // 2] = person
    write_png(tmp_path / "photo.png", photo)
    looked_at = look_at_photo(tmp_path / "photo.png", 512, 256, PoseFinder.from_pretrained())
    assert looked_at.found is not None and looked_at.mask is not None
    seen = looked_at.found[looked_at.found[:, 2] > 0]
    # Joints reach over 0.746 of the sample's frame, where all of her is 0.89 of it.
    assert np.ptp(seen[:, 1]) / 512 == pytest.approx(0.86 * 0.746 / 0.89, abs=0.04)
    assert abs(np.median(seen[:, 0]) - 128) < 26


def test_too_few_pixels_are_said(tmp_path) -> None:
    studio = read_image(STUDIO)
    photo = np.full((400, 500, 3), np.median(studio[:40], axis=(0, 1)), np.uint8)
    photo[150:350, 200:300] = cv2.resize(studio, (100, 200), interpolation=cv2.INTER_AREA)
    write_png(tmp_path / "photo.png", photo)
    finder = PoseFinder.from_pretrained()
    for height, width, small in ((512, 256, True), (128, 64, False)):
        looked_at = look_at_photo(tmp_path / "photo.png", height, width, finder)
        assert any(each.code == "small_person" for each in looked_at.findings) == small


def test_a_person_too_small_to_frame_is_said(tmp_path) -> None:
    studio = read_image(STUDIO)
    photo = np.full((150, 120, 3), np.median(studio[:40], axis=(0, 1)), np.uint8)
    photo[20:130, 30:85] = cv2.resize(studio, (55, 110), interpolation=cv2.INTER_AREA)
    write_png(tmp_path / "photo.png", photo)
    looked_at = look_at_photo(tmp_path / "photo.png", 512, 256, PoseFinder.from_pretrained())
    assert looked_at.score > 0.9 and not looked_at.sure
    assert "small_person" in [each.code for each in looked_at.findings]


def test_somebody_else_in_the_photo_is_said(tmp_path) -> None:
    other = read_image(ROOT / "fashion_dataset/fashion_crop/test_00001/000.jpg")
    finder = PoseFinder.from_pretrained()
    for beside in ((), (other,)):
        write_png(tmp_path / "photo.png", np.concatenate([read_image(STUDIO), *beside], axis=1))
        looked_at = look_at_photo(tmp_path / "photo.png", 256, 128, finder)
        assert looked_at.sure
        assert any(each.code == "another_person" for each in looked_at.findings) == bool(beside)
