"""Poses followed, joint by joint: how far the joints found in the video are from the true ones."""

import numpy as np

from utils.pose_drawing import HIPS, JOINT, joint_indices

PCK_TORSOS = 0.2


def joint_errors(found: np.ndarray, truth: np.ndarray, height: int) -> tuple[float, float]:
    """Compare joints over those that the truth shows.

    Args:
        found: (F, 18, 3) x, y in pixels and visibility; a joint with visibility 0 was not found.
        truth: (F, 18, 3), where visibility 0 means that the joint is hidden.
        height: height of the pictures in pixels.

    Returns:
        The mean distance in percent of the picture's height, over joints that were found; and PCK@0.2, the
        part of the joints that were found within 0.2 torso lengths (neck to the middle of the hips) of the
        truth. NaN where the truth shows no torso.
    """
    hips = (truth[:, JOINT["left_hip"]] + truth[:, JOINT["right_hip"]]) / 2
    has_torso = (truth[:, joint_indices(("neck", *HIPS)), 2] > 0).all(axis=1)
    if not has_torso.any():
        return float("nan"), float("nan")
    torso = np.median(np.linalg.norm(truth[has_torso, JOINT["neck"], :2] - hips[has_torso, :2], axis=1))
    distance = np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1)
    shown, there = truth[..., 2] > 0, found[..., 2] > 0
    both = shown & there
    correct = both & (distance < PCK_TORSOS * torso)
    error = float(distance[both].mean() / height * 100) if both.any() else float("nan")
    return error, float(correct.sum() / shown.sum())
