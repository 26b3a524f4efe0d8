"""The photo's own pose as --image_joints gives it: read, and compared with the pose that is found in it."""

from pathlib import Path

import numpy as np

from data.pose_formats import read_pose_track
from generation.findings import Finding, Report, Severity
from generation.mending import FEWEST_JOINTS, body_height
from generation.plausibility import look_at_bodies
from utils.errors import UserError
from utils.pose_drawing import JOINT, JOINT_NAMES

JOINTS_HELP = (
    'give JSON of OpenPose or DWPose, {"keypoints": 18 x [x, y, visibility]} in pixels of the photo, or a '
    "skeleton picture"
)
FAR_JOINTS, WRONG_JOINTS = 0.06, 0.25
"""Body heights that joints may lie from those found, in the middle. A real woman's of DWPose lie at most 0.02
from the finder's, synthetic photos' true ones 0.02; with sides exchanged they lie 0.02 to 0.11 farther."""
MIRRORED_GAIN = 0.03
"""Body heights by which exchanged sides must fit better to be called exchanged."""
OTHER_SIDE = [
    JOINT.get(name.replace("left", "right") if "left" in name else name.replace("right", "left"), JOINT[name])
    for name in JOINT_NAMES
]


def read_image_joints(path: Path, height: int, width: int, near: np.ndarray | None = None) -> np.ndarray:
    """Read the pose of a photo of `height` x `width` as (18, 3): x, y in its pixels, visibility.

    Args:
        path: any form of poses, of which the first is taken: JSON of OpenPose, DWPose or our own, or a
            skeleton picture. Where the file says a size, its joints are scaled from that.
        height: of the photo.
        width: of the photo.
        near: (18, 3) a pose in the photo's pixels: of several people the nearest is taken, else the largest.

    Raises:
        UserError: the file cannot be read, or what it holds is no pose in this photo; the message names it.
    """
    try:
        track = read_pose_track(path, 1, canvas=(height, width))
    except UserError as error:
        raise UserError(f"--image_joints {error}") from error
    size = track.height or height, track.width or width
    if near is not None and len(track) and track.people[0] > 1:
        there = _scaled(near, size[1] / width, size[0] / height)
        track = read_pose_track(path, 1, there, canvas=(height, width))
    joints = _scaled(track.keypoints[0], width / size[1], height / size[0])
    seen = joints[:, 2] > 0
    if seen.sum() < FEWEST_JOINTS:
        raise UserError(f"--image_joints {path} shows {seen.sum()} of 18 joints; {JOINTS_HELP}")
    inside = (joints[seen, :2] >= -0.5) & (joints[seen, :2] <= np.array([width, height]) - 0.5)
    if inside.all(axis=1).mean() <= 0.5:
        raise UserError(
            f"{(~inside.all(axis=1)).sum()} of {seen.sum()} joints of --image_joints {path} lie outside the "
            f"photo of {width} x {height} pixels; give the size of the picture that they are meant for"
        )
    Report(tuple(look_at_bodies(joints[None], f"--image_joints {path}"))).check()
    return joints


def look_at_image_joints(joints: np.ndarray, found: np.ndarray, there: np.ndarray | None) -> list[Finding]:
    """Compare the joints that were given with the pose that was found in the photo.

    Args:
        joints: (18, 3) in the photo's pixels, as given.
        found: (18, 3) likewise, as found, of which the finder is sure.
        there: (18, 3) likewise, found where the given joints are; None where the finder is not sure of it.
    """
    distance = joint_distance(joints, found)
    if there is not None and joint_distance(joints, there) < distance:
        distance, found = joint_distance(joints, there), there
    exchanged = joint_distance(joints[OTHER_SIDE], found)
    if exchanged <= 2 * FAR_JOINTS and distance - exchanged > MIRRORED_GAIN:
        text = (
            "left and right of --image_joints seem exchanged: the joints lie "
            f"{distance:.2f} body heights from those found in the photo, exchanged {exchanged:.2f}"
        )
        remedy = "left and right are the person's own; exchange them, or leave out --image_joints"
        return [_finding("warning", "mirrored_joints", text, distance, remedy)]
    if distance <= FAR_JOINTS:
        return []
    text = f"--image_joints lie {distance:.2f} body heights from the pose that is found in the photo"
    remedy = (
        "give the joints of the person in this very photo with their picture's size, leave them out, or crop "
        "the photo to her"
    )
    severity: Severity = "refusal" if distance > WRONG_JOINTS else "warning"
    return [_finding(severity, "wrong_joints", text, distance, remedy)]


def joint_distance(joints: np.ndarray, found: np.ndarray) -> float:
    """Median distance of the joints (18, 3) that both show, in heights of the found body."""
    both = (joints[:, 2] > 0) & (found[:, 2] > 0)
    if not both.any():
        return float("inf")
    return float(np.median(np.hypot(*(joints - found)[both, :2].T))) / body_height(found[None])


def _scaled(joints: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """Joints of a picture in pixels of a resized one; an integer coordinate is the middle of its pixel."""
    scaled = joints.astype(np.float32)
    scaled[:, :2] = (scaled[:, :2] + 0.5) * np.array([scale_x, scale_y], np.float32) - 0.5
    return scaled


def _finding(severity: Severity, code: str, message: str, figure: float, remedy: str) -> Finding:
    return Finding(severity=severity, code=code, message=message, figure=float(figure), remedy=remedy)
