"""Which joints an estimator trained on people would report, from the joints alone.

Nose and eyes are gone from behind, the far ear in profile; elbows and wrists behind the trunk, the skirt or
the head. Shoulders, hips, knees and ankles are always reported.
"""

import numpy as np

from data.synthetic.motion import Motion
from data.synthetic.skeleton import SIDES
from utils.pose_drawing import JOINT, NUM_JOINTS

HIDING_DEPTH = 0.8
"""How far trunk or head are in front of a joint that they hide, in dm."""
HEAD_RADIUS, HEAD_REACH = 0.85, 1.2
"""The head's half width, and how far above and below the ears it hides what is behind, in dm."""


def joint_visibility(
    motion: Motion, joints: np.ndarray, sections: np.ndarray, camera: tuple[float, float, float]
) -> np.ndarray:
    """Find the joints that are reported.

    Args:
        motion: of the clip.
        joints: (F, 18, 3) in the world, in dm.
        sections: as `motion.perform` takes them.
        camera: its place in the world, in dm.

    Returns:
        (F, 18) of 0 and 1.
    """
    eye = np.asarray(camera, np.float64)[[0, 2]]
    visible = np.ones((len(joints), NUM_JOINTS))
    ears = (joints[:, JOINT["left_ear"]] + joints[:, JOINT["right_ear"]]) / 2
    yaw = motion.head_yaw - np.arctan2(eye[0] - ears[:, 0], eye[1] - ears[:, 2])
    facing = np.cos(yaw)
    visible[:, JOINT["nose"]] = facing > -0.15
    for name, side in SIDES.items():
        toward = -side * np.sin(yaw)  # how far this side of the head is turned to the viewer
        visible[:, JOINT[f"{name}_eye"]] = (facing > -0.10) & (toward > -0.80)
        visible[:, JOINT[f"{name}_ear"]] = (facing > -0.45) & (toward > -0.55)
        for part in ("elbow", "wrist"):
            joint = joints[:, JOINT[f"{name}_{part}"]]
            hidden = _behind_trunk(motion, joints, joint, sections, eye) | _behind_head(ears, joint, eye)
            visible[:, JOINT[f"{name}_{part}"]] = ~hidden
    return visible


def _behind_trunk(
    motion: Motion, joints: np.ndarray, joint: np.ndarray, sections: np.ndarray, eye: np.ndarray
) -> np.ndarray:
    """(F,) bool: whether the ellipse of trunk or skirt at a joint's height is between it and the camera."""
    hips = (joints[:, JOINT["left_hip"]] + joints[:, JOINT["right_hip"]]) / 2
    neck = joints[:, JOINT["neck"]]
    height = joint[:, 1] - motion.root[:, 1]
    share = np.clip((joint[:, 1] - hips[:, 1]) / (neck[:, 1] - hips[:, 1]), 0, 1)
    middle = (hips + share[:, None] * (neck - hips))[:, [0, 2]]
    yaw = motion.pelvis_yaw + share * (motion.chest_yaw - motion.pelvis_yaw)
    axes = np.stack(
        [np.interp(height, sections[:, 0], sections[:, i], left=0.01, right=0.01) for i in (1, 2)], -1
    )
    return _crosses(joint[:, [0, 2]], middle, yaw, axes, eye)


def _behind_head(ears: np.ndarray, joint: np.ndarray, eye: np.ndarray) -> np.ndarray:
    level = np.abs(joint[:, 1] - ears[:, 1]) < HEAD_REACH
    axes = np.full((len(joint), 2), HEAD_RADIUS)
    return level & _crosses(joint[:, [0, 2]], ears[:, [0, 2]], np.zeros(len(joint)), axes, eye)


def _crosses(
    point: np.ndarray, middle: np.ndarray, yaw: np.ndarray, axes: np.ndarray, eye: np.ndarray
) -> np.ndarray:
    """Whether the way to the eye from `HIDING_DEPTH` in front of points (F, 2) meets ellipses."""
    toward = eye - point
    start = point + HIDING_DEPTH * toward / np.linalg.norm(toward, axis=1, keepdims=True)
    cos, sin = np.cos(yaw), np.sin(yaw)

    def local(places: np.ndarray) -> np.ndarray:
        offset = places - middle
        across = offset[:, 0] * cos - offset[:, 1] * sin
        ahead = offset[:, 0] * sin + offset[:, 1] * cos
        return np.stack([across, ahead], -1) / axes

    start, end = local(start), local(np.broadcast_to(eye, point.shape))
    way = end - start
    nearest = np.clip(-(start * way).sum(1) / (way * way).sum(1), 0, 1)
    return np.linalg.norm(start + nearest[:, None] * way, axis=1) < 0.97
