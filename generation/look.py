"""One look at photo, poses and sentence before minutes are spent: a report, and poses set right."""

import dataclasses
from pathlib import Path

import numpy as np

from data.pose_cache import pack_if_many
from generation.findings import Finding, Report, Severity
from generation.inputs import Clip, Inputs, read_inputs
from generation.mending import FIRST_POSE_REACH, blank_frames, distance_from
from generation.photo import GIVE_JOINTS, Photo, look_at_photo
from generation.pose_findings import Fit, mend_track
from generation.sentence_findings import Tokenize, look_at_sentence
from generation.tracks import is_described
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from utils.pose_drawing import JOINT_NAMES, draw_pose


def check_inputs(
    image: str | Path,
    poses: str | Path | None = None,
    prompt: str = "",
    *,
    image_joints: str | Path | None = None,
    fit_poses: Fit = "auto",
    num_frames: int | None = None,
    height: int = 512,
    width: int = 256,
    tokenize: Tokenize | None = None,
    longest: int = 77,
    strict: bool = False,
    pose_finder: str | Path = SHIPPED_FINDER,
) -> Report:
    """Look at the inputs of a video without making it, as `inference.py --check_inputs` does.

    Args:
        image: photo of a person.
        poses: in any form that inference.py takes.
        prompt: the sentence.
        image_joints: the photo's own pose.
        fit_poses: whether poses would be fitted to the photo's body.
        num_frames: look at the first so many poses only.
        height: height of the video in pixels.
        width: width of the video in pixels.
        tokenize: the text encoder's tokenizer; without it the sentence's words are not looked at.
        longest: tokens that the text encoder reads.
        strict: let warnings refuse.
        pose_finder: folder of the weights that find the photo's pose, and those in a video of a person.

    Raises:
        UserError: a file that cannot be read.
    """
    clip = Clip(
        name=Path(image).stem,
        image=Path(image),
        poses=None if poses is None else Path(poses),
        prompt=prompt,
        image_joints=None if image_joints is None else Path(image_joints),
    )
    finder = PoseFinder.from_pretrained(pose_finder)
    photo = look_at_photo(clip.image, height, width, finder, clip.image_joints)
    inputs = read_inputs(clip, num_frames, height, width, photo=photo, finder=finder)
    inputs = mend_inputs(clip, inputs, photo, fit_poses)
    report = Report(inputs.findings, strict)
    needs_sentence = poses is None or prompt
    return report + (look_at_sentence(prompt, tokenize, longest) if tokenize and needs_sentence else ())


def mend_inputs(clip: Clip, inputs: Inputs, photo: Photo, fit: Fit) -> Inputs:
    """Look at a clip's poses, and set them right as far as that is safe.

    Args:
        clip: where the inputs are.
        inputs: as they were read.
        photo: that was looked at.
        fit: when poses are fitted to the photo's body.

    Returns:
        The inputs with what was found, the photo's findings first; poses are unchanged where nothing had to
        be set right.
    """
    findings = list(photo.findings)
    if clip.poses is None or inputs.track is None:
        return dataclasses.replace(inputs, findings=tuple(findings))
    height, width = inputs.photo.shape[:2]
    pose = photo.sure_pose
    read = inputs.track.keypoints
    track, told = mend_track(inputs.track, pose, fit)
    if fit == "on" and pose is None:
        text = "--fit_poses on needs the photo's pose"
        told.append(_finding("refusal", "no_photo_pose", text, 0, GIVE_JOINTS))
    fitted = any(each.code == "other_body" and each.severity == "mended" for each in told)
    image_joints = pose if fitted else inputs.image_joints
    if pose is not None and not any(each.severity == "refusal" for each in told):
        used = "the pose found in the photo is used" if photo.joints is None else "--image_joints are used"
        first = look_at_first_pose(track.keypoints[0], pose, used)
        told += first
        if any(each.code == "first_pose" for each in first):
            image_joints = pose
    inputs = dataclasses.replace(inputs, findings=(*findings, *told), image_joints=image_joints)
    if np.array_equal(track.keypoints, read):
        return inputs
    blank = blank_frames(read)
    places_said = (np.ptp(read[blank, :, :2], axis=1) > 0).any(axis=-1)
    if is_described(clip.poses) and not fitted and places_said.all():
        kept = tuple(each for each in inputs.findings if each.code != "blank_frames")
        return dataclasses.replace(inputs, findings=kept)  # they say on purpose which joints are not seen
    drawn = pack_if_many(draw_pose(frame, height, width) for frame in track.keypoints)
    return dataclasses.replace(inputs, poses=drawn, joints=track.keypoints, track=track)


def look_at_first_pose(first: np.ndarray, pose: np.ndarray, used: str) -> list[Finding]:
    """Say how far the first of the poses (18, 3) is from the photo's (18, 3), in the same pixels."""
    if not ((first[:, 2] > 0) & (pose[:, 2] > 0)).any():
        return []
    apart = distance_from(first, pose)
    joint = int(apart.argmax())
    farthest = f"{JOINT_NAMES[joint].replace('_', ' ')} is {apart[joint]:.2f} body heights away"
    if apart.max() <= FIRST_POSE_REACH:
        return [
            _finding(
                "note", "same_first_pose", f"the first of the poses is the photo's ({farthest})", apart[joint]
            )
        ]
    text = f"the first of the poses is not the photo's ({farthest}); {used}"
    return [_finding("note", "first_pose", text, apart[joint])]


def has_new_poses(inputs: Inputs) -> bool:
    """Whether the poses are worth saving: fitted to the photo's body, or found in a video of a person."""
    return inputs.track is not None and (
        inputs.track.found
        or any(each.code == "other_body" and each.severity == "mended" for each in inputs.findings)
    )


def _finding(severity: Severity, code: str, message: str, figure: float, remedy: str = "") -> Finding:
    return Finding(severity=severity, code=code, message=message, figure=float(figure), remedy=remedy)
