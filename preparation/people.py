"""Who is in a picture, and who of them is meant: the one in the middle."""

import numpy as np

from generation.photo import SURE_SCORE, people_beside
from models.pose_finder import CROP_SCALE, Pose, PoseFinder
from utils.pose_drawing import HIPS, joint_indices


def middle_person(finder: PoseFinder, picture: np.ndarray) -> tuple[int, int, int] | None:
    """Where to begin to follow the one of several people who is nearest to the middle of a picture.

    What the finder is not sure of, such as somebody whom it imagines between two people, does not count
    beside somebody whom it is sure of.

    Args:
        finder: of poses.
        picture: (H, W, 3) uint8 RGB.

    Returns:
        Left, top and side of a square around her; None where there are no several people.
    """
    pose = finder.find(picture)
    others = _beside(finder, picture, pose)
    if not others:
        return None
    sure = [each for each in (pose, *others) if each.score >= SURE_SCORE]
    nearest = min(sure, key=lambda each: abs(_place(each) - picture.shape[1] / 2))
    seen = nearest.keypoints[nearest.keypoints[:, 2] > 0, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = max(16, round(float((high - low).max()) * CROP_SCALE))
    left, top = np.round((low + high) / 2 - side / 2).astype(int)
    return int(left), int(top), side


def _beside(finder: PoseFinder, picture: np.ndarray, pose: Pose) -> list[Pose]:
    """People to the left and right of somebody."""
    if pose.mask is None:
        return []
    columns = np.flatnonzero((pose.mask > 0.5).sum(axis=0) >= 3)
    return people_beside(finder, picture, int(columns[0]), int(columns[-1]) + 1) if len(columns) else []


def _place(pose: Pose) -> float:
    """Column of the hips."""
    return float(pose.keypoints[joint_indices(HIPS), 0].mean())
