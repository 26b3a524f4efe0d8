"""Who else is in a picture, and who of them is meant: the one in the middle."""

import numpy as np

from generation.photo import people_beside
from models.pose_finder import CROP_SCALE, Pose, PoseFinder
from utils.pose_drawing import HIPS, joint_indices


def middle_person(finder: PoseFinder, picture: np.ndarray) -> tuple[int, int, int] | None:
    """Where to begin to follow the one of several people who is nearest to the middle of a picture.

    Args:
        finder: of poses.
        picture: (H, W, 3) uint8 RGB.

    Returns:
        Left, top and side of a square around her; None where there are no several people.
    """
    pose = finder.find(picture)
    if pose.mask is None:
        return None
    columns = np.flatnonzero((pose.mask > 0.5).sum(axis=0) >= 3)
    if not len(columns):
        return None
    others = people_beside(finder, picture, int(columns[0]), int(columns[-1]) + 1)
    if not others:
        return None
    nearest = min([pose, *others], key=lambda each: abs(_place(each) - picture.shape[1] / 2))
    seen = nearest.keypoints[nearest.keypoints[:, 2] > 0, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = max(16, round(float((high - low).max()) * CROP_SCALE))
    left, top = np.round((low + high) / 2 - side / 2).astype(int)
    return int(left), int(top), side


def _place(pose: Pose) -> float:
    """Column of the hips."""
    return float(pose.keypoints[joint_indices(HIPS), 0].mean())
