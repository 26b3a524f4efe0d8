"""Who is followed where several people, or none that is sure, are in the first picture."""

import numpy as np
import pytest

from generation.photo import SURE_SCORE
from models.pose_finder import PoseFinder
from preparation.people import middle_person


@pytest.fixture(scope="module")
def finder() -> PoseFinder:
    return PoseFinder.from_pretrained()


def test_who_is_imagined_between_two_people_is_not_followed(finder: PoseFinder, turning: np.ndarray) -> None:
    wall = np.full((512, 1280, 3), 210, np.uint8)
    picture = np.concatenate([turning[0], wall, turning[0]], axis=1)
    assert 0.5 < finder.find(picture).score < SURE_SCORE  # in the middle, where nobody is
    start = middle_person(finder, picture)
    assert start is not None
    left, _, side = start
    assert abs(abs(left + side / 2 - picture.shape[1] / 2) - 768) < 40


def test_one_person_is_left_to_the_search(finder: PoseFinder, turning: np.ndarray) -> None:
    assert middle_person(finder, turning[0]) is None
    assert middle_person(finder, np.zeros((256, 512, 3), np.uint8)) is None
