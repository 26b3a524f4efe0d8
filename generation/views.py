"""Further photos of the same person: found, laid into the frame, and compared with the first."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from diffusion.inputs import View
from generation.findings import Finding
from generation.inputs import Clip, Inputs
from generation.photo import look_at_photo
from models.pose_finder import PoseFinder
from utils.errors import UserError
from utils.image import to_signed
from utils.pose_drawing import HIPS, JOINT, joint_indices

UNLIKE = 60.0
"""Distance between the waists' median colours, in RGB steps of 255, from which on two photos seem to show
other clothes. Of 597 pairs of rendered frames of one outfit 2.5 % are further apart, of two outfits 87 %."""
SHOULDERS = joint_indices(("right_shoulder", "left_shoulder"))


def read_view(
    path: Path, height: int, width: int, finder: PoseFinder | None, first: View
) -> tuple[View, list[Finding]]:
    """Read a further photo and lay the frame around the person in it, as around her in the first.

    Args:
        path: of the photo, of any size and shape.
        height: of the frame in pixels.
        width: of the frame in pixels.
        finder: finds her pose.
        first: the first photo in the frame, with its joints.

    Returns:
        The photo in the frame, and what there is to say about it.

    Raises:
        UserError: it cannot be read, or shows no whole person.
    """
    photo = look_at_photo(path, height, width, finder)
    if photo.sure_pose is None:
        raise UserError(
            f"no whole person was found in {path} (score {photo.score:.3f}); give another further photo, or "
            "leave it out"
        )
    view = View(to_signed(photo.framed[None])[0], photo.sure_pose)
    kept = {"another_person", "small_person", "cut_person", "turned_photo"}
    findings = [finding for finding in photo.findings if finding.code in kept]
    colors = waist_color(first), waist_color(view)
    if colors[0] is not None and colors[1] is not None:
        apart = float(np.linalg.norm(colors[0] - colors[1]))
        if apart > UNLIKE:
            findings.append(
                Finding(
                    severity="warning",
                    code="other_clothes",
                    message=f"{path} seems to show other clothes (colours {apart:.0f} of 441 steps apart)",
                    figure=apart,
                    remedy="give photos of one person in one outfit",
                )
            )
    return view, findings


def with_views(inputs: Inputs, clip: Clip, finder: PoseFinder | None) -> Inputs:
    """A clip's inputs with its further photos, and what there is to say about those.

    Raises:
        UserError: one cannot be read, or shows no whole person.
    """
    height, width = inputs.photo.shape[:2]
    pose = None if inputs.original is None else inputs.original.pose
    first = View(to_signed(inputs.photo[None])[0], pose)
    read = [read_view(path, height, width, finder, first) for path in clip.further_images]
    findings = [finding for _, own in read for finding in own]
    return dataclasses.replace(
        inputs, views=tuple(view for view, _ in read), findings=(*inputs.findings, *findings)
    )


def waist_color(view: View) -> np.ndarray | None:
    """Median RGB (3,) in 0..255 of the lower half of a trunk, where hair does not reach; None if not seen."""
    joints = view.joints
    hips = joint_indices(HIPS)
    if joints is None or not (joints[[*hips, *SHOULDERS], 2] > 0).all():
        return None
    middle = (joints[SHOULDERS, :2] + joints[hips, :2]) / 2
    if np.dot(joints[JOINT["right_hip"], :2] - joints[JOINT["left_hip"], :2], middle[0] - middle[1]) < 0:
        middle = middle[::-1]
    corners = np.array([*middle, *joints[hips[::-1], :2]]).round().astype(np.int32)
    inside = np.zeros(view.photo.shape[-2:], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(corners), 1)
    pixels = view.photo[:, inside > 0]
    return None if pixels.shape[1] < 16 else (pixels.median(dim=1).values.numpy() + 1) * 127.5
