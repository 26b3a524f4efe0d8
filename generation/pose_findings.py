"""What is found in a track of poses, and the track set right as far as that is safe."""

import dataclasses
from typing import Literal

import numpy as np

from data.pose_track import PoseTrack
from generation.findings import Finding
from generation.mending import (
    Mismatch,
    blank_frames,
    body_height,
    fill,
    fill_blank_frames,
    fit_to_photo,
    has_even_times,
    is_shown,
    measure_mismatch,
    outliers,
    resample,
    short_gaps,
    smooth,
    trunk_gaps,
)
from generation.plausibility import MOST_FRAMES, look_at_bodies, look_at_place
from utils.pose_drawing import NUM_JOINTS
from warping.body import FRONT_OF_FACE, faces_behind

EXPECTED = (
    "give skeletons in the colours of ControlNet, OpenPose or mmpose, OpenPose or DWPose JSON, or a video of "
    "one whole person (of several, crop it to one; leave out parts that are cut off, dark or damaged)"
)
Fit = Literal["auto", "on", "off"]
"""When poses are fitted to the photo's body: where they differ too much from it, always, never."""
NEARLY_NONE = 0.2  # share of all joints
FEW_JOINTS = 10  # of 18 in a frame that shows somebody
MUCH_LOST = 0.08  # share of the joints that compression lost or moved
MENDING_ROUNDS = 3
JUMP = 0.3  # body heights from one frame to the next
# Measured (place, size, limbs). A photo's pose with Gaussian noise of 0.7 to 1 % of the body's height differs
# from its own clip's by at most 0.023, 1.05 and, 95 of 100, 1.29. A real woman's poses differ from synthetic
# photos by 0.06, 1.28 and 1.23 or more.
FARTHEST_PLACE, LARGEST_SCALE, LARGEST_PROPORTION = 0.08, 1.06, 1.35


def look_at_track(track: PoseTrack) -> list[Finding]:
    """Everything worth knowing about a track by itself, without changing it."""
    joints = track.keypoints
    share = float(track.seen.mean()) if len(track) else 0.0
    if share < NEARLY_NONE:
        what = f"{track.seen.sum()} of {NUM_JOINTS * len(track)} joints were read in {len(track)} frames"
        what += f", and {track.sight}" if track.sight else ""
        return [
            Finding(
                severity="refusal",
                code="no_skeletons",
                message=f"expected skeletons, but {what}",
                figure=share,
                remedy=EXPECTED,
            )
        ]
    return [
        *_look_at_drawing(track),
        *_look_at_people(track),
        *_look_at_joints(track, joints),
        *_look_at_times(track),
    ]


def _look_at_drawing(track: PoseTrack) -> list[Finding]:
    findings = []
    if track.ignored is not None:
        text = f"{track.ignored} lies beside the poses and does not hold their joints; the pictures are read"
        remedy = "give it as --poses if you mean it"
        findings.append(Finding(severity="note", code="ignored_file", message=text, figure=1, remedy=remedy))
    if track.found:
        shown = int((track.people > 0).sum())
        text = f"the poses are pictures of a person; her poses were found in {shown} of {len(track)} frames"
        findings.append(_mended("found_poses", text, shown))
    if track.palette is not None and track.palette != "ControlNet":
        findings.append(
            Finding(
                severity="note",
                code="palette",
                message=f"the skeletons have the colours of {track.palette}; they are drawn anew",
                figure=1,
            )
        )
    if track.swapped:
        findings.append(
            _mended("swapped_colors", "red and blue of the skeletons were exchanged; swapped back", 1)
        )
    if track.ground != "black":
        findings.append(
            _mended("ground", f"the skeletons were on {track.ground} ground; drawn anew on black", 1)
        )
    return findings


def _look_at_people(track: PoseTrack) -> list[Finding]:
    crowded = np.flatnonzero(track.people > 1)
    if track.found and track.sight:
        text = track.sight
    elif len(crowded):
        text = f"{_frames(crowded)} of the poses hold several skeletons; one is followed"
    else:
        return []
    return [
        Finding(
            severity="warning",
            code="several_people",
            message=text,
            figure=max(1, len(crowded)),
            remedy="leave one person in the poses where the wrong one moves",
        )
    ]


def _look_at_joints(track: PoseTrack, joints: np.ndarray) -> list[Finding]:
    findings = []
    blank = blank_frames(joints)
    if blank:
        findings.append(
            _mended(
                "blank_frames",
                f"{_frames(blank)} of the poses show nobody; filled from neighbours",
                len(blank),
            )
        )
    counts = track.seen.sum(axis=1)[[is_shown(frame) for frame in joints]]
    if len(counts) and np.median(counts) < FEW_JOINTS:
        findings.append(
            Finding(
                severity="warning",
                code="few_joints",
                message=f"a frame of the poses shows {np.median(counts):g} of {NUM_JOINTS} joints",
                figure=float(np.median(counts)),
                remedy="give poses of the whole body",
            )
        )
    hidden = int(trunk_gaps(joints).sum())
    if hidden:
        places = "one place" if hidden == 1 else f"{hidden} places"
        text = f"shoulders, hips or neck are hidden in {places}; filled from the frames around"
        findings.append(_mended("trunk_gaps", text, hidden))
    if track.medium == "lossy":
        gaps = int(short_gaps(joints).sum())
        if gaps:
            findings.append(_mended("gaps", f"{gaps} joints are lost for a few frames; filled", gaps))
        off = int(outliers(joints).sum())
        if off:
            findings.append(
                _mended("outliers", f"{off} joints were misread by compression; dropped and filled", off)
            )
        share = (gaps + off) / max(1, int(track.seen.sum()))
        if share > MUCH_LOST:
            findings.append(
                Finding(
                    severity="warning",
                    code="very_lossy",
                    message=f"compression spoiled {share:.0%} of the poses' joints",
                    figure=share,
                    remedy="give the skeletons as PNG, as JSON, or as a video of more bits a second",
                )
            )
    jumps = _jumps(joints)
    if len(jumps):
        findings.append(
            Finding(
                severity="warning",
                code="jumps",
                message=f"the body jumps at {_frames(jumps)} of the poses",
                figure=len(jumps),
                remedy="cut the poses there, or give poses of one shot",
            )
        )
    return findings


def _look_at_times(track: PoseTrack) -> list[Finding]:
    if track.fps is None:
        return []
    if track.resampled or not has_even_times(track.times):
        text = f"the poses have a variable frame rate; resampled at their usual {track.fps:.4g} a second"
        return [_mended("variable_rate", text, track.fps)]
    return [
        Finding(
            severity="note",
            code="frame_rate",
            message=f"the poses have {track.fps:.4g} frames a second, and so has the video",
            figure=track.fps,
            remedy="give --fps for another",
        )
    ]


def look_at_mismatch(mismatch: Mismatch | None) -> list[Finding]:
    """What the difference of the first pose and the photo's is worth saying."""
    if mismatch is None or not needs_fit(mismatch):
        return []
    ratio = mismatch.scale if mismatch.scale > 1 else 1 / mismatch.scale
    text = (
        f"the poses are of another body or place than the photo's (hips {mismatch.place:.2f} body sizes "
        f"apart, size {ratio:.2f} times, limbs up to {mismatch.proportions:.2f} times)"
    )
    return [
        Finding(
            severity="warning",
            code="other_body",
            message=text,
            figure=max(mismatch.place / FARTHEST_PLACE, ratio / LARGEST_SCALE),
            remedy="fit them with --fit_poses on",
        )
    ]


def hide_faces(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out nose and eyes that are named although her head hides them.

    Returns:
        The joints (F, 18, 3), and (F,) bool where something was left out: nowhere if that would be nearly
        everywhere, since left and right are exchanged then.
    """
    behind = faces_behind(joints)
    behind &= behind.mean() <= MOST_FRAMES
    hidden = joints.copy()
    hidden[np.flatnonzero(behind)[:, None], FRONT_OF_FACE] = 0
    return hidden, behind


def needs_fit(mismatch: Mismatch | None) -> bool:
    """Whether poses differ so much from the photo's that they should be fitted to it."""
    return mismatch is not None and (
        mismatch.place > FARTHEST_PLACE
        or not 1 / LARGEST_SCALE <= mismatch.scale <= LARGEST_SCALE
        or mismatch.proportions > LARGEST_PROPORTION
    )


def mend_track(
    track: PoseTrack, photo_pose: np.ndarray | None = None, fit: Fit = "auto"
) -> tuple[PoseTrack, list[Finding]]:
    """Set a track right as far as that is safe.

    Blank frames are filled from their neighbours; faces that her head hides are left out; in lossy media
    outliers are dropped, short gaps filled and joints smoothed; a variable rate is made even; another body's
    poses are fitted to the photo's.

    Args:
        track: track of poses in pixels of the video's frame.
        photo_pose: (18, 3) the photo's joints in the frame, or None where not known: nothing is fitted.
        fit: "on" fits always, "auto" above the measured thresholds, "off" never.

    Returns:
        The track, and what was found in it; a refused one comes back unchanged.
    """
    findings = look_at_track(track)
    if any(finding.severity == "refusal" for finding in findings):
        return track, findings
    joints = fill_blank_frames(track.keypoints)
    joints, behind = hide_faces(joints)
    if behind.any():
        text = f"{_frames(np.flatnonzero(behind))} of the poses show her back, with nose and eyes; left out"
        findings.append(_mended("faces_behind", text, int(behind.sum())))
    joints = fill(joints, trunk_gaps(joints))
    if track.medium == "lossy":
        for _ in range(MENDING_ROUNDS):
            off = outliers(joints)
            joints = fill(joints, off | short_gaps(joints))
            if not off.any():
                break
        joints = smooth(joints)
    mended = dataclasses.replace(track.with_keypoints(joints), swapped=False, ground="black", palette=None)
    mended = dataclasses.replace(mended, medium="exact", people=np.ones(len(track), int))
    if not has_even_times(track.times):
        mended = resample(mended)
    mended = dataclasses.replace(mended, resampled=False)
    findings += look_at_bodies(mended.keypoints)
    if any(finding.severity == "refusal" for finding in findings):
        return track, findings
    mended, fitting = _fit(mended, photo_pose, fit)
    assert mended.height is not None and mended.width is not None
    placing = look_at_place(mended.keypoints, mended.height, mended.width, photo_pose)
    return mended, [*findings, *fitting, *placing]


def _fit(track: PoseTrack, photo_pose: np.ndarray | None, fit: Fit) -> tuple[PoseTrack, list[Finding]]:
    """Fit a track to the photo's body where it has to be, and say so."""
    if photo_pose is None:
        return track, []
    mismatch = measure_mismatch(track.keypoints, photo_pose)
    if fit == "on" or (fit == "auto" and needs_fit(mismatch)):
        told = look_at_mismatch(mismatch)
        text = told[0].message + "; fitted to the photo" if told else "the poses were fitted to the photo"
        figure = told[0].figure if told else 0.0
        return fit_to_photo(track, photo_pose), [_mended("other_body", text, figure)]
    return track, look_at_mismatch(mismatch)


def _jumps(joints: np.ndarray) -> np.ndarray:
    """Frames to which most joints move farther than a body can."""
    both = (joints[1:, :, 2] > 0) & (joints[:-1, :, 2] > 0)
    distance = np.hypot(*np.moveaxis((joints[1:] - joints[:-1])[..., :2], -1, 0))
    middle = np.array(
        [np.median(row[seen]) if seen.any() else 0.0 for row, seen in zip(distance, both, strict=True)]
    )
    return np.flatnonzero(middle > JUMP * body_height(joints)) + 1


def _mended(code: str, message: str, figure: float) -> Finding:
    return Finding(severity="mended", code=code, message=message, figure=float(figure))


def _frames(numbers: list[int] | np.ndarray) -> str:
    """Frames by number: "frame 3", "frames 0, 1 and 5", "frames 0 to 9", "40 frames (0 to 99)"."""
    values = [int(number) for number in numbers]
    if len(values) == 1:
        return f"frame {values[0]}"
    if values[-1] - values[0] == len(values) - 1 and len(values) > 2:
        return f"frames {values[0]} to {values[-1]}"
    if len(values) <= 6:
        return f"frames {', '.join(map(str, values[:-1]))} and {values[-1]}"
    return f"{len(values)} frames ({values[0]} to {values[-1]})"
