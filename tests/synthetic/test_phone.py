"""Filmed clips are upright for a player, lie where it is said, and keep the clip's time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.frames import read_frames
from data.synthetic.phone import PHONES, Phone, film
from utils.video import iter_video

SAMPLE = Path(__file__).resolve().parents[2] / "fashion_dataset"


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(read_frames(SAMPLE / "fashion_crop/test_00000", [0, 6, 12]))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_filmed_clip_lies_where_it_is_said(tmp_path: Path, frames: list[np.ndarray], rotation: int) -> None:
    phone = Phone(320, 240, left=0.2, top=0.7, repeats=2, rotation=rotation)
    place = film(tmp_path / "clip.mp4", frames, 10, phone)
    shown = list(iter_video(tmp_path / "clip.mp4"))
    assert len(shown) == 6
    for number, (picture, seconds, _) in enumerate(shown):
        assert picture.shape == (320, 240, 3) and seconds == pytest.approx(number / 20, abs=0.007)
        part = picture[place.top : place.top + place.height, place.left : place.left + place.width]
        clip = cv2.resize(frames[number // 2], part.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(part.astype(float) - clip).mean() < 6


def test_the_ways_to_film_differ() -> None:
    assert len({(phone.height, phone.width) for phone in PHONES}) == len(PHONES)
    assert {phone.rotation for phone in PHONES} >= {0, 90, 270}
