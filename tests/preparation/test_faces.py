"""A blurred face is gone, and nothing else is changed."""

import json
from pathlib import Path

import cv2
import numpy as np

from preparation.faces import blur_face

POSES = Path(__file__).resolve().parents[2] / "fashion_dataset/fashion_poses"


def test_the_face_loses_its_details_and_the_clothes_keep_theirs(turning: np.ndarray) -> None:
    joints = np.array(json.loads((POSES / "test_00000.json").read_text())["keypoints"][0], np.float32)
    before = turning[0].copy()
    after = blur_face(turning[0], joints)
    assert (turning[0] == before).all()
    x, y = joints[0, :2].astype(int)
    face = np.s_[y - 12 : y + 12, x - 9 : x + 9]
    sharp, blurred = (
        cv2.Laplacian(cv2.cvtColor(p[face], cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for p in (before, after)
    )
    assert blurred < 0.1 * sharp
    below = int(joints[1, 1]) + 10
    assert (after[below:] == before[below:]).all()


def test_a_back_is_left_as_it_is(turning: np.ndarray) -> None:
    joints = np.ones((18, 3), np.float32)
    joints[[0, 14, 15, 16, 17], 2] = 0
    picture = turning[0]
    assert blur_face(picture, joints) is picture
