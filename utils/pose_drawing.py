"""OpenPose's 18 joints, their colours, and skeletons drawn as pose estimators of this field draw them.

Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", 2018 (COCO body
model). Left and right are the person's own.
"""

import math
from collections.abc import Iterable

import cv2
import numpy as np

JOINT_NAMES = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
NUM_JOINTS = len(JOINT_NAMES)
JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
FACE = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
HIPS = ("left_hip", "right_hip")
MIRRORED = [JOINT[name.replace("left", "?").replace("right", "left").replace("?", "right")] for name in JOINT]
"""Joint -> the one on the other side, or itself."""

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

# Joint i and limb i share a colour; a limb is drawn at 0.6 of it, so that a joint's own colour is found
# nowhere else.
COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
LIMB_DIMMING = 0.6


def joint_indices(names: Iterable[str]) -> list[int]:
    """Where joints of these names are among the 18."""
    return [JOINT[name] for name in names]


def draw_pose(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw one skeleton on black.

    Args:
        keypoints: (18, 3) float: x and y in pixels, and visibility; a joint with visibility of at most 0 is
            left out, and so are its limbs.
        height: height of the picture in pixels; lines are `height` / 128 thick, at least 1.
        width: width of the picture in pixels.

    Returns:
        (height, width, 3) uint8 RGB; no antialiasing, so every joint's pixels have exactly its colour.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    radius = max(1, round(height / 128))
    for (a, b), color in zip(LIMBS, COLORS, strict=False):
        if keypoints[a, 2] <= 0 or keypoints[b, 2] <= 0:
            continue
        middle = (keypoints[a, :2] + keypoints[b, :2]) / 2
        dx, dy = keypoints[b, :2] - keypoints[a, :2]
        axes = (round(math.hypot(dx, dy) / 2), radius)
        polygon = cv2.ellipse2Poly(
            tuple(int(round(v)) for v in middle), axes, round(math.degrees(math.atan2(dy, dx))), 0, 360, 1
        )
        cv2.fillConvexPoly(picture, polygon, [int(c * LIMB_DIMMING) for c in color])
    for (x, y, visible), color in zip(keypoints, COLORS, strict=True):
        if visible > 0:
            cv2.circle(picture, (int(round(x)), int(round(y))), radius, color, thickness=-1)
    return picture
