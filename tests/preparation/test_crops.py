"""One crop a clip: inside the picture where possible, and always with all of her."""

import numpy as np
import pytest

from generation.framing import Extent
from preparation.crops import crop_around, extent_of_clip, for_picture
from tests.preparation.test_shots import standing


def box(left: float, top: float, right: float, bottom: float) -> Extent:
    return Extent(left, top, right, bottom, (left + right) / 2, False, False)


@pytest.mark.parametrize(
    ("person", "size"),
    [
        (box(400, 200, 500, 500), (720, 1280)),
        (box(0, 100, 120, 700), (720, 1280)),
        (box(100, 60, 300, 940), (960, 540)),
        (box(20, 2, 500, 958), (960, 540)),
        (box(100, 300, 1100, 700), (720, 1280)),
    ],
)
def test_all_of_her_is_in_the_frame(person: Extent, size: tuple[int, int]) -> None:
    place = crop_around(person, size, 512, 256)
    corners = place.to_fitted(np.array([[person.left, person.top], [person.right, person.bottom]]) - 0.5)
    assert (corners >= -1.5).all() and (corners <= np.array([256, 512]) + 0.5).all()


def test_the_frame_stays_inside_the_picture_and_she_fills_it() -> None:
    person = box(400, 200, 500, 500)
    place = crop_around(person, (720, 1280), 512, 256)
    assert place.left <= 0 and place.left + place.width >= 256
    assert place.top <= 0 and place.top + place.height >= 512
    assert person.height * place.scale == pytest.approx(0.86 * 512, abs=2)


def test_an_upright_phone_video_gets_no_border() -> None:
    place = crop_around(box(100, 60, 300, 940), (960, 540), 512, 256)
    assert place.top <= 0 and place.top + place.height >= 512
    assert place.left <= 0 and place.left + place.width >= 256


def test_the_box_of_a_clip_holds_all_frames() -> None:
    joints = standing(10)
    joints[5, :, 0] += 12
    size = (100, 80)
    person = extent_of_clip(joints, [None] * 10, size)
    assert person.left < 23 and person.right > 49 and person.top < 20 and person.bottom > 82
    mask = np.zeros(size, np.float32)
    mask[15:95, 10:60] = 1
    assert extent_of_clip(joints, [mask] * 10, size).bottom >= 94


def test_pictures_of_another_size_get_the_same_crop() -> None:
    place = crop_around(box(400, 200, 500, 500), (720, 1280), 512, 256)
    large = for_picture(place, (1440, 2560))
    spot = np.array([[450.0, 350.0]])
    assert large.to_fitted((spot + 0.5) * 2 - 0.5) == pytest.approx(place.to_fitted(spot), abs=0.01)
