"""Whether poses are a person's: limbs that a body has, upright, of the photo's size, inside the frame."""

import numpy as np

from generation.findings import Finding, Severity
from generation.mending import FEWEST_JOINTS, is_shown
from utils.pose_drawing import JOINT
from warping.body import read_body

# Limbs and their lengths in an adult's height (Winter, "Biomechanics and Motor Control of Human Movement",
# 2009, figure 4.1; the head's as OpenPose's joints lie in it).
LIMB_SHARES = (
    *[(JOINT["neck"], JOINT[f"{side}_shoulder"], 0.12) for side in ("right", "left")],
    *[(JOINT[f"{side}_shoulder"], JOINT[f"{side}_elbow"], 0.18) for side in ("right", "left")],
    *[(JOINT[f"{side}_elbow"], JOINT[f"{side}_wrist"], 0.16) for side in ("right", "left")],
    *[(JOINT["neck"], JOINT[f"{side}_hip"], 0.31) for side in ("right", "left")],
    *[(JOINT[f"{side}_hip"], JOINT[f"{side}_knee"], 0.25) for side in ("right", "left")],
    *[(JOINT[f"{side}_knee"], JOINT[f"{side}_ankle"], 0.25) for side in ("right", "left")],
    (JOINT["neck"], JOINT["nose"], 0.13),
    *[(JOINT["nose"], JOINT[f"{side}_eye"], 0.03) for side in ("right", "left")],
    *[(JOINT[f"{side}_eye"], JOINT[f"{side}_ear"], 0.05) for side in ("right", "left")],
)
NUM_BODY_LIMBS = 12
ODD_LIMB, ODD_HEAD = 2.5, 5.0
"""How many times longer than the others a limb, or what belongs to the head, may be: drawn characters have
large heads. Of 538 real and synthetic poses none has one; joints at random have 1.7 of 17."""
FEWEST_LIMBS = 6
FEW_ODD_LIMBS, MANY_ODD_LIMBS = 0.3, 1.0
"""A frame, in the mean of a track: from where on they are warned of and refused."""
SMALLEST_BODY = 4.0  # pixels of the frame
FLATTEST = 0.005  # standard deviations of the joints, the smaller one over the larger
UPSIDE_DOWN, LYING = 120, 60  # degrees of the trunk from upright
MOST_FRAMES, MANY_FRAMES = 0.8, 0.25
ABSURD_SCALE, LARGE_SCALE = 4.0, 2.0
LEAST_OF_FRAME = 0.08  # of its height, that somebody must have where no photo's pose says how large she is


def look_at_bodies(keypoints: np.ndarray, whose: str = "the poses") -> list[Finding]:
    """Say where poses are no person's, or not upright.

    Args:
        keypoints: (F, 18, 3) in the frame's pixels.
        whose: begins the messages.
    """
    shown = [frame for frame in keypoints if is_shown(frame)]
    if not shown:
        return []
    spans = [float(np.ptp(frame[frame[:, 2] > 0, :2], axis=0).max()) for frame in shown]
    if np.median(spans) < SMALLEST_BODY:
        text = f"the joints of {whose} lie within {np.median(spans):.1f} pixels of each other"
        return [_finding("refusal", "one_point", text, np.median(spans), f"give {whose} of a whole person")]
    flat = [_flatness(frame) for frame in shown]
    if np.median(flat) < FLATTEST:
        text = f"the joints of {whose} lie on a line (spread across it {np.median(flat):.4f} of that along)"
        return [_finding("refusal", "one_line", text, np.median(flat), "give both x and y of each joint")]
    odd = np.array([odd_limbs(frame) for frame in shown])
    if odd.mean() > FEW_ODD_LIMBS:
        text = (
            f"{whose} show no body that somebody can have: {odd.mean():.1f} of 17 limbs a frame are far too "
            f"long beside the others, in {(odd > 0).sum()} of {len(odd)} frames"
        )
        severity: Severity = "refusal" if odd.mean() > MANY_ODD_LIMBS else "warning"
        remedy = "check that the joints are in the order of OpenPose, and x before y"
        return [_finding(severity, "no_body", text, odd.mean(), remedy)]
    return _look_at_trunks(shown, whose)


def _look_at_trunks(shown: list[np.ndarray], whose: str) -> list[Finding]:
    angles = np.array([angle for angle in map(trunk_angle, shown) if angle is not None])
    if not len(angles):
        return []
    upside_down, lying = (angles > UPSIDE_DOWN).mean(), (angles > LYING).mean()
    count = f"in {{}} of {len(angles)} frames, the trunk {np.median(angles):.0f} degrees from upright"
    if upside_down > MANY_FRAMES:
        severity: Severity = "refusal" if upside_down > MOST_FRAMES else "warning"
        text = f"{whose} stand on their head ({count.format((angles > UPSIDE_DOWN).sum())})"
        remedy = "turn them upright: y grows downwards, from the upper edge on"
        return [_finding(severity, "upside_down", text, upside_down, remedy)]
    if lying > MOST_FRAMES:
        text = f"{whose} lie ({count.format((angles > LYING).sum())})"
        return [_finding("warning", "lying", text, lying, "turn them upright, or exchange x and y")]
    mirrored = np.array([is_mirrored(frame) for frame in shown])
    if mirrored.mean() > MOST_FRAMES:
        text = f"left and right of {whose} seem exchanged in {mirrored.sum()} of {len(shown)} frames"
        remedy = "left and right are the person's own: on the other side in a picture from the front"
        return [_finding("warning", "mirrored", text, mirrored.mean(), remedy)]
    return []


def look_at_place(
    keypoints: np.ndarray, height: int, width: int, photo_pose: np.ndarray | None
) -> list[Finding]:
    """Say where poses, as the video will have them, leave the frame or are far larger or smaller than she is.

    Args:
        keypoints: (F, 18, 3) in the frame's pixels.
        height: of the frame.
        width: of the frame.
        photo_pose: (18, 3) where known: says how large she is.
    """
    shown = [number for number, frame in enumerate(keypoints) if is_shown(frame)]
    if not shown:
        return []
    findings = []
    low, high = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    inside = (keypoints[..., 2] > 0) & ((keypoints[..., :2] >= low) & (keypoints[..., :2] <= high)).all(
        axis=2
    )
    outside = [number for number in shown if inside[number].sum() < FEWEST_JOINTS]
    share = len(outside) / len(shown)
    if outside:
        text = (
            f"the poses lie outside the frame in {len(outside)} of {len(shown)} frames (first {outside[0]})"
        )
        severity: Severity = "refusal" if share > MOST_FRAMES else "warning"
        remedy = "give poses that stay in their picture, or a wider photo"
        findings.append(_finding(severity, "outside_frame", text, share, remedy))
    sizes = np.array([stature(keypoints[number]) for number in shown])
    own = 0.0 if photo_pose is None else stature(photo_pose)
    if own:
        return findings + _look_at_sizes(sizes / own, np.array(shown))
    middle = float(np.median(sizes)) / height
    if not LEAST_OF_FRAME < middle < ABSURD_SCALE:
        text = f"the poses are {middle:.2g} times as high as the frame"
        remedy = (
            "give the size of their picture (canvas), or joints of the photo to fit them to (--image_joints)"
        )
        findings.append(_finding("refusal", "absurd_scale", text, middle, remedy))
    return findings


def _look_at_sizes(ratios: np.ndarray, shown: np.ndarray) -> list[Finding]:
    """Say where the poses' sizes (F,), over that of the person in the photo, are far from 1."""
    middle = float(np.median(ratios))
    if not 1 / ABSURD_SCALE < middle < ABSURD_SCALE:
        text = f"the poses are {middle:.2g} times as large as the person in the photo"
        return [_finding("refusal", "absurd_scale", text, middle, "fit them with --fit_poses on")]
    off = (ratios > LARGE_SCALE) | (ratios < 1 / LARGE_SCALE)
    if not off.any():
        return []
    worst = float(ratios[np.abs(np.log(np.maximum(ratios, 1e-6))).argmax()])
    text = (
        f"in {off.sum()} of {len(off)} frames (first {shown[off][0]}) the body is of quite another size than "
        f"that in the photo, up to {worst:.2g} times"
    )
    remedy = "give poses of a person who stays at one distance from the camera"
    return [_finding("warning", "changing_size", text, worst, remedy)]


def stature(frame: np.ndarray) -> float:
    """About the height in pixels that a body (18, 3) has when it stands straight; 0 without limbs."""
    heights = _heights(frame)
    known = heights[np.isfinite(heights)]
    return float(np.percentile(known, 70)) if len(known) else 0.0


def odd_limbs(frame: np.ndarray) -> int:
    """How many limbs of a pose (18, 3) are far too long beside its others."""
    heights = _heights(frame)
    if np.isfinite(heights).sum() < FEWEST_LIMBS:
        return 0
    ratios = np.nan_to_num(heights) / max(float(np.nanmedian(heights)), 1e-6)
    return int((ratios[:NUM_BODY_LIMBS] > ODD_LIMB).sum() + (ratios[NUM_BODY_LIMBS:] > ODD_HEAD).sum())


def trunk_angle(frame: np.ndarray) -> float | None:
    """Degrees of the trunk of a pose (18, 3) from upright, None where neck or hips are not seen."""
    hips = [JOINT["right_hip"], JOINT["left_hip"]]
    seen = frame[:, 2] > 0
    body = read_body(np.asarray(frame, np.float64)) if seen[hips].any() else None
    if body is None:
        return None
    x, y = body.middle_hip - body.point("neck")
    return abs(float(np.degrees(np.arctan2(x, y))))


def is_mirrored(frame: np.ndarray) -> bool:
    """Whether a pose (18, 3) shows a face, and all pairs of joints as from the back."""
    if frame[JOINT["nose"], 2] <= 0:
        return False
    pairs = [(JOINT[f"left_{name}"], JOINT[f"right_{name}"]) for name in ("eye", "shoulder", "hip")]
    return all(
        min(frame[left, 2], frame[right, 2]) > 0 and frame[left, 0] < frame[right, 0] for left, right in pairs
    )


def _heights(frame: np.ndarray) -> np.ndarray:
    """(17,) what each limb says of the body's height; NaN where it is not seen."""
    return np.array(
        [
            np.hypot(*(frame[a, :2] - frame[b, :2])) / share
            if frame[a, 2] > 0 and frame[b, 2] > 0
            else np.nan
            for a, b, share in LIMB_SHARES
        ],
        np.float64,
    )


def _flatness(frame: np.ndarray) -> float:
    places = frame[frame[:, 2] > 0, :2].astype(np.float64)
    along, across = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    return float(across / max(along, 1e-9))


def _finding(severity: Severity, code: str, message: str, figure: float, remedy: str) -> Finding:
    return Finding(severity=severity, code=code, message=message, figure=float(figure), remedy=remedy)
