"""One look at photo, poses and sentence before minutes are spent: a report, and poses set right."""

import dataclasses
from pathlib import Path

import numpy as np

from data.pose_cache import pack_if_many
from generation.findings import Finding, Report, Severity
from generation.inputs import Clip, Inputs, read_inputs
from generation.mending import body_height
from generation.pose_findings import Fit, mend_track
from generation.sentence_findings import Tokenize, look_at_sentence
from models.pose_finder import Pose, PoseFinder
from utils.errors import UserError
from utils.image import fit_size, read_image
from utils.pose_drawing import FACE, HIPS, draw_pose, joint_indices

LOWEST_PERSON = 100
"""Pixels high that a person in a photo should have."""
ANKLES = joint_indices(("left_ankle", "right_ankle"))
GIVE_JOINTS = "give a photo of one whole person from the front, or her joints with --image_joints"


def check_inputs(
    image: str | Path,
    poses: str | Path | None = None,
    prompt: str = "",
    *,
    image_joints: str | Path | None = None,
    fit_poses: Fit = "auto",
    num_frames: int | None = None,
    height: int = 256,
    width: int = 128,
    tokenize: Tokenize | None = None,
    longest: int = 77,
    strict: bool = False,
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
    inputs = mend_inputs(clip, read_inputs(clip, num_frames, height, width), None, fit_poses)
    report = Report(inputs.findings, strict)
    needs_sentence = poses is None or prompt
    return report + (look_at_sentence(prompt, tokenize, longest) if tokenize and needs_sentence else ())


def mend_inputs(clip: Clip, inputs: Inputs, pose: np.ndarray | None, fit: Fit) -> Inputs:
    """Look at a clip's photo and poses, and set the poses right as far as that is safe.

    Args:
        clip: where the inputs are.
        inputs: as they were read.
        pose: (18, 3) the photo's joints in the fitted photo's pixels; by default they are looked for.
        fit: when poses are fitted to the photo's body.

    Returns:
        The inputs with what was found, unchanged where nothing had to be set right.

    Raises:
        UserError: a file that cannot be read.
    """
    height, width = inputs.photo.shape[:2]
    findings: list[Finding] = []
    pose = inputs.image_joints if pose is None else pose
    if pose is None:
        pose, findings = _look_for_pose(clip.image, height, width)
    if clip.poses is None or inputs.track is None:
        return dataclasses.replace(inputs, findings=tuple(findings))
    if pose is not None and (inputs.track.people > 1).any() and inputs.image_joints is None:
        inputs = read_inputs(clip, len(inputs.track), height, width, near=pose)
    assert inputs.track is not None
    read = inputs.track.keypoints
    track, told = mend_track(inputs.track, pose, fit)
    if fit == "on" and pose is None:
        text = "--fit_poses on needs the photo's pose"
        told.append(_finding("refusal", "no_photo_pose", text, 0, GIVE_JOINTS))
    inputs = dataclasses.replace(inputs, findings=(*findings, *told))
    fitted = any(each.code == "other_body" and each.severity == "mended" for each in told)
    # What inference.py wrote itself says on purpose which joints are not seen.
    is_own = clip.poses.is_dir() and clip.poses.with_name(f"{clip.poses.name}.json").is_file()
    if np.array_equal(track.keypoints, read) or (is_own and not fitted):
        kept = tuple(each for each in inputs.findings if not (is_own and each.code == "blank_frames"))
        return dataclasses.replace(inputs, findings=kept)
    drawn = pack_if_many(draw_pose(frame, height, width) for frame in track.keypoints)
    return dataclasses.replace(
        inputs,
        poses=drawn,
        joints=track.keypoints,
        track=track,
        image_joints=pose if fitted else inputs.image_joints,
    )


def was_fitted(inputs: Inputs) -> bool:
    """Whether the poses were fitted to the photo's body."""
    return any(each.code == "other_body" and each.severity == "mended" for each in inputs.findings)


def look_at_person(pose: Pose) -> list[Finding]:
    """What is worth saying about the person that was looked for in a photo."""
    if not pose.found:
        text = f"no person was found in the photo (score {pose.score:.2f})"
        return [_finding("warning", "no_person", text, pose.score, GIVE_JOINTS)]
    findings = []
    seen = pose.keypoints[:, 2] > 0
    pixels = body_height(pose.keypoints[None])
    text = f"a person was found, {pixels:.0f} pixels high, {seen.sum()} of 18 joints"
    findings.append(_finding("note", "person", text, pixels))
    if pixels < LOWEST_PERSON:
        text = f"the person in the photo is only {pixels:.0f} pixels high"
        findings.append(_finding("warning", "small_person", text, pixels, "crop a larger photo around her"))
    parts = {"feet": ANKLES, "hips": joint_indices(HIPS)}
    lost = [name for name, joints in parts.items() if not seen[joints].any()]
    if lost:
        text = f"the photo shows no {' and no '.join(lost)} of the person"
        findings.append(_finding("warning", "cut_person", text, len(lost), GIVE_JOINTS))
    if not seen[joint_indices(FACE)[:3]].any():
        text = "the person in the photo shows no face, as from the back"
        findings.append(_finding("warning", "back_view", text, 1, GIVE_JOINTS))
    return findings


def _look_for_pose(image: Path, height: int, width: int) -> tuple[np.ndarray | None, list[Finding]]:
    """The photo's pose in the fitted photo's pixels, None where nobody is found, and what there is to say."""
    try:
        finder = PoseFinder.from_pretrained()
    except UserError as error:
        return None, [_finding("note", "not_looked", f"nobody was looked for in the photo: {error}", 0)]
    photo = read_image(image)
    pose = finder.find(photo, with_mask=False)
    findings = look_at_person(pose)
    if not pose.found or body_height(pose.keypoints[None]) < LOWEST_PERSON:
        return None, findings  # what is found in so few pixels is no ground to fit poses on
    return fit_size(photo.shape[0], photo.shape[1], height, width).to_fitted(pose.keypoints), findings


def _finding(severity: Severity, code: str, message: str, figure: float, remedy: str = "") -> Finding:
    return Finding(severity=severity, code=code, message=message, figure=float(figure), remedy=remedy)
