"""Which joints an estimator trained on people would report, from the joints alone.

Nose and eyes are gone from behind, the far ear in profile; elbows and wrists behind the trunk, the skirt or
the head. Shoulders, hips, knees and ankles are always reported.
"""

import numpy as np

from data.synthetic.rig import BONE
from data.synthetic.skeleton import SIDES
from data.synthetic.studio import Camera
from utils.pose_drawing import JOINT, NUM_JOINTS

HIDING_DEPTH = 0.8
"""How far trunk or head are in front of a joint that they hide, in dm."""
HEAD_RADIUS, HEAD_REACH = 0.85, 1.2
"""The head's half width, and how far above and below the ears it hides what is behind, in dm."""


def visible_joints(
    transforms: np.ndarray, joints: np.ndarray, sections: np.ndarray, camera: Camera
) -> np.ndarray:
    """Find the joints that are reported.

    Args:
        transforms: (F, B, 3, 4) of the bones, or (B, 3, 4) of one frame.
        joints: (F, 18, 3) in the world, in dm, or (18, 3).
        sections: (n, 3) rest height, half width and half depth of the dressed trunk and skirt in dm.
        camera: that looks.

    Returns:
        (F, 18) or (18,) of 0 and 1.
    """
    if transforms.ndim == 3:
        return visible_joints(transforms[None], joints[None], sections, camera)[0]
    eye = np.array(camera.position, np.float64)[[0, 2]]
    visible = np.ones((len(joints), NUM_JOINTS))
    ears = (joints[:, JOINT["left_ear"]] + joints[:, JOINT["right_ear"]]) / 2
    yaw = _yaw(transforms, "head") - np.arctan2(eye[0] - ears[:, 0], eye[1] - ears[:, 2])
    facing = np.cos(yaw)
    visible[:, JOINT["nose"]] = facing > -0.15
    for name, side in SIDES.items():
        toward = -side * np.sin(yaw)  # how far this side of the head is turned to the viewer
        visible[:, JOINT[f"{name}_eye"]] = (facing > -0.10) & (toward > -0.80)
        visible[:, JOINT[f"{name}_ear"]] = (facing > -0.45) & (toward > -0.55)
        for part in ("elbow", "wrist"):
            joint = joints[:, JOINT[f"{name}_{part}"]]
            hidden = _behind_trunk(transforms, joints, joint, sections, eye) | _behind_head(ears, joint, eye)
            visible[:, JOINT[f"{name}_{part}"]] = ~hidden
    return visible


def _yaw(transforms: np.ndarray, bone: str) -> np.ndarray:
    """(F,) direction of a bone that stands upright: 0 toward the viewer, positive to the person's left."""
    forward = transforms[:, BONE[bone], :, 2].astype(np.float64)
    return np.arctan2(forward[:, 0], forward[:, 2])


def _behind_trunk(
    transforms: np.ndarray, joints: np.ndarray, joint: np.ndarray, sections: np.ndarray, eye: np.ndarray
) -> np.ndarray:
    """(F,) bool: whether the ellipse of trunk or skirt at a joint's height is between it and the camera."""
    hips = (joints[:, JOINT["left_hip"]] + joints[:, JOINT["right_hip"]]) / 2
    neck = joints[:, JOINT["neck"]]
    root = transforms[:, BONE["root"]].astype(np.float64)
    rest = np.einsum("fji,fj->fi", root[:, :, :3], joint - root[:, :, 3])
    share = np.clip((joint[:, 1] - hips[:, 1]) / (neck[:, 1] - hips[:, 1]), 0, 1)
    middle = (hips + share[:, None] * (neck - hips))[:, [0, 2]]
    pelvis, chest = _yaw(transforms, "root"), _yaw(transforms, "spine01")
    yaw = pelvis + share * ((chest - pelvis + np.pi) % (2 * np.pi) - np.pi)
    axes = [np.interp(rest[:, 1], sections[:, 0], sections[:, i], left=0.01, right=0.01) for i in (1, 2)]
    return _crosses(joint[:, [0, 2]], middle, yaw, np.stack(axes, -1), eye)


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
