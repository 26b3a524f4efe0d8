"""Tracks of poses set right: gaps filled, outliers dropped, shaking smoothed, one rate, the photo's body."""

import dataclasses
import itertools

import numpy as np

from data.pose_track import PoseTrack
from utils.errors import UserError
from utils.pose_drawing import HIPS, joint_indices
from warping import retarget
from warping.body import read_body
from warping.retarget import body_size, compare_proportions

FEWEST_JOINTS = 5  # that a frame needs to count as showing somebody
LONGEST_GAP = 3  # frames that a joint may be lost in; a joint gone for longer is one that is not seen
LONGEST_TRUNK_GAP = 12  # frames that a shoulder, a hip or the neck may be hidden in
TRUNK = joint_indices(("neck", "left_shoulder", "right_shoulder", *HIPS))
OUTLIER = 0.06  # of the body's height: how far a joint may lie off the middle of its neighbours in time


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """How much a track's first pose differs from the photo's.

    Attributes:
        place: distance of their hips over the photo's body size.
        scale: the photo's body size over the track's.
        proportions: the largest ratio of two limbs' lengths, each in sizes of its body; at least 1.
    """

    place: float
    scale: float
    proportions: float


FIRST_POSE_REACH = 0.06
"""Of the body's height: how far a joint of the first pose may lie from the photo's for both to be one pose.
The finder's worst joint in a synthetic photo is as far off."""


def distance_from(first: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(18,) how far the joints of a pose (18, 3) lie from the photo's (18, 3), in body heights.

    0 where one of the two does not show the joint.
    """
    both = (first[:, 2] > 0) & (pose[:, 2] > 0)
    return np.where(both, np.hypot(*(first - pose)[:, :2].T), 0) / body_height(pose[None])


def body_height(keypoints: np.ndarray) -> float:
    """Pixels from the highest to the lowest joint, or across where that is more; middle of all frames.

    Args:
        keypoints: (F, 18, 3).
    """
    spans = [np.ptp(frame[frame[:, 2] > 0, :2], axis=0).max() for frame in keypoints if is_shown(frame)]
    return max(1.0, float(np.median(spans))) if spans else 1.0


def is_shown(frame: np.ndarray) -> bool:
    """Whether a frame (18, 3) shows somebody."""
    return int((frame[:, 2] > 0).sum()) >= FEWEST_JOINTS


def blank_frames(keypoints: np.ndarray) -> list[int]:
    """Frames of (F, 18, 3) that show nobody."""
    return [number for number, frame in enumerate(keypoints) if not is_shown(frame)]


def short_gaps(keypoints: np.ndarray, longest: int = LONGEST_GAP) -> np.ndarray:
    """(F, 18) bool, where a joint is missing in at most `longest` frames between two that have it."""
    seen = keypoints[..., 2] > 0
    gaps = np.zeros_like(seen)
    for joint in range(seen.shape[1]):
        known = np.flatnonzero(seen[:, joint])
        for start, end in itertools.pairwise(known):
            if 1 < end - start <= longest + 1:
                gaps[start + 1 : end, joint] = True
    return gaps


def trunk_gaps(keypoints: np.ndarray) -> np.ndarray:
    """(F, 18) bool, where shoulders, hips or neck are missing for a while in frames that show somebody.

    In profile one of a pair lies under the other, and estimators and drawings lose it; without it nothing
    tells where the body is.
    """
    gaps = short_gaps(keypoints, LONGEST_TRUNK_GAP)
    others = np.setdiff1d(np.arange(gaps.shape[1]), TRUNK)
    gaps[:, others] = False
    return gaps & np.array([is_shown(frame) for frame in keypoints])[:, None]


def outliers(keypoints: np.ndarray) -> np.ndarray:
    """(F, 18) bool, where a joint lies far from the median of the two frames before and after."""
    found = np.zeros(keypoints.shape[:2], bool)
    reach = OUTLIER * body_height(keypoints)
    for frame in range(len(keypoints)):
        near = keypoints[max(0, frame - 2) : frame + 3]
        seen = near[..., 2] > 0
        places = np.where(seen[..., None], near[..., :2], np.nan)
        enough = (seen.sum(axis=0) >= 3) & (keypoints[frame, :, 2] > 0)
        if not enough.any():
            continue
        middle = np.nanmedian(places[:, enough], axis=0)
        off = np.hypot(*(keypoints[frame, enough, :2] - middle).T)
        spread = np.nanmedian(np.abs(places[:, enough] - middle), axis=0).max(axis=1)
        found[frame, enough] = off > reach + 3 * spread
    return found


def fill(keypoints: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Joints (F, 18, 3) with those marked (F, 18) put between their neighbours in time."""
    filled = keypoints.copy()
    frames = np.arange(len(keypoints))
    for joint in np.flatnonzero(missing.any(axis=0)):
        known = np.flatnonzero((keypoints[:, joint, 2] > 0) & ~missing[:, joint])
        wanted = np.flatnonzero(missing[:, joint])
        if not len(known):
            continue
        for axis in range(2):
            filled[wanted, joint, axis] = np.interp(frames[wanted], known, keypoints[known, joint, axis])
        filled[wanted, joint, 2] = 1
    return filled


def fill_blank_frames(keypoints: np.ndarray) -> np.ndarray:
    """Joints (F, 18, 3) with frames that show nobody made of the shown ones on either side."""
    blank = blank_frames(keypoints)
    shown = np.setdiff1d(np.arange(len(keypoints)), blank)
    if not len(shown) or not blank:
        return keypoints
    filled = keypoints.copy()
    for frame in blank:
        place = int(np.searchsorted(shown, frame))
        before, after = keypoints[shown[max(0, place - 1)]], keypoints[shown[min(place, len(shown) - 1)]]
        first, last = shown[max(0, place - 1)], shown[min(place, len(shown) - 1)]
        share = 0.0 if last == first else float(np.clip((frame - first) / (last - first), 0, 1))
        both = (before[:, 2] > 0) & (after[:, 2] > 0)
        nearer = before if share < 0.5 else after
        filled[frame] = np.where(both[:, None], (1 - share) * before + share * after, nearer)
    return filled


def smooth(keypoints: np.ndarray) -> np.ndarray:
    """Joints (F, 18, 3), each a little nearer to the middle of the frames before and after."""
    seen = keypoints[..., 2] > 0
    result = keypoints.copy()
    if len(keypoints) > 2:
        all_three = (seen[:-2] & seen[1:-1] & seen[2:])[..., None]
        mean = (keypoints[:-2, :, :2] + 2 * keypoints[1:-1, :, :2] + keypoints[2:, :, :2]) / 4
        result[1:-1, :, :2] = np.where(all_three, mean, keypoints[1:-1, :, :2])
    return result


def has_even_times(times: np.ndarray | None) -> bool:
    """Whether frames follow each other at one rate, but for what a container's clock rounds."""
    if times is None or len(times) < 3:
        return True
    steps = np.diff(times)
    return bool(np.abs(steps - np.median(steps)).max() <= 0.3 * np.median(steps))


def resample(track: PoseTrack) -> PoseTrack:
    """The track at the even rate of its frames' middle distance in time."""
    assert track.times is not None
    step = float(np.median(np.diff(track.times)))
    if step <= 0:
        return dataclasses.replace(track, times=None)
    times = np.arange(0, track.times[-1] + step / 2, step)
    after = np.clip(np.searchsorted(track.times, times), 1, len(track) - 1)
    span = np.maximum(track.times[after] - track.times[after - 1], 1e-9)
    share = np.clip((times - track.times[after - 1]) / span, 0, 1)[:, None, None]
    one, other = track.keypoints[after - 1], track.keypoints[after]
    nearest = np.where(share[:, 0, 0] < 0.5, after - 1, after)
    both = (one[..., 2:] > 0) & (other[..., 2:] > 0)
    return dataclasses.replace(
        track,
        keypoints=np.where(both, (1 - share) * one + share * other, track.keypoints[nearest]).astype(
            np.float32
        ),
        confidences=track.confidences[nearest],
        people=track.people[nearest],
        sources=tuple(track.sources[i] for i in nearest),
        times=times,
        fps=1 / step,
        resampled=True,
    )


def measure_mismatch(keypoints: np.ndarray, photo_pose: np.ndarray) -> Mismatch | None:
    """Compare a track (F, 18, 3) with the photo's pose (18, 3) in the same pixels; None without bodies."""
    photo = read_body(np.asarray(photo_pose, np.float64))
    bodies = [body for body in (read_body(np.asarray(f, np.float64)) for f in keypoints) if body is not None]
    if photo is None or not bodies:
        return None
    first = bodies[0]
    sizes = body_size(photo, photo, first), body_size(first, photo, first)
    ratios = np.abs(np.log(list(compare_proportions(photo, bodies).values())))
    return Mismatch(
        place=float(np.hypot(*(photo.middle_hip - first.middle_hip))) / sizes[0],
        scale=sizes[0] / sizes[1],
        proportions=float(np.exp(ratios.max())),
    )


def fit_to_photo(track: PoseTrack, photo_pose: np.ndarray) -> PoseTrack:
    """The track carried over to the photo's body and place; as it is where either shows no body."""
    try:
        return track.with_keypoints(retarget(track.keypoints, photo_pose))
    except UserError:
        return track
