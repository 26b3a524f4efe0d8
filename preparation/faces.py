"""Faces made unrecognisable."""

import cv2
import numpy as np

from utils.pose_drawing import FACE, JOINT, joint_indices

RADIUS_TORSOS = 0.26
"""Of the circle around the joints of a face, in torsos; hair and chin are in it."""
CELLS = 5
"""The face keeps so many colours along each side."""


def blur_face(picture: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Blur the face of a person beyond recognition; nothing happens where no face is seen.

    What is left is a few means of colour, from which a face cannot be computed back.

    Args:
        picture: (H, W, 3) uint8 RGB.
        joints: (18, 3) in its pixels.

    Returns:
        A new picture.
    """
    face = joints[joint_indices(FACE)]
    seen = face[:, 2] > 0
    if not seen.any():
        return picture
    hips = joints[[JOINT["left_hip"], JOINT["right_hip"]], :2].mean(axis=0)
    torso = float(np.linalg.norm(joints[JOINT["neck"], :2] - hips))
    center = face[seen, :2].mean(axis=0)
    radius = max(
        RADIUS_TORSOS * torso, float(np.linalg.norm(face[seen, :2] - center, axis=1).max()) * 1.4, 4.0
    )
    height, width = picture.shape[:2]
    left, top = (max(0, int(value - radius)) for value in center)
    right, bottom = min(width, int(center[0] + radius) + 1), min(height, int(center[1] + radius) + 1)
    if right <= left or bottom <= top:
        return picture
    part = picture[top:bottom, left:right]
    coarse = cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(coarse, part.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[top:bottom, left:right]
    inside = np.hypot(x - center[0], y - center[1]) <= radius
    result = picture.copy()
    result[top:bottom, left:right] = np.where(inside[..., None], smooth, part)
    return result
