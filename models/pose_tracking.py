"""From 18 joints a frame to one track: left and right kept, jumps dropped, noise smoothed, gaps known.

All is done after the last frame is known, so nothing lags behind. Lengths are torsos (neck to the middle of
the hips), times are seconds, left and right are the person's own. Depths grow away from the viewer.
"""

import dataclasses
import itertools

import numpy as np

from utils.pose_drawing import JOINT, NUM_JOINTS

SIDES = ("left", "right")
GROUPS = {"face": ("eye", "ear"), "arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "ankle")}
"""What may have changed sides together."""
LEFT = {group: [JOINT[f"left_{part}"] for part in parts] for group, parts in GROUPS.items()}
RIGHT = {group: [JOINT[f"right_{part}"] for part in parts] for group, parts in GROUPS.items()}

SWAP_COST = 0.02
"""Of saying that a group changed sides in a frame, where a joint that moves by a torso costs 1."""
DEPTH_SHARE = 0.3
"""How much motion in depth counts; a network that takes a front for a back also mirrors its depths."""
DISAGREEMENT_COST = 0.15
"""Of two groups that face opposite ways in a frame."""
WINDOW_S, LEAST_JUMP = 0.17, 0.12
"""A joint jumped where it lies so many torsos, and 5 times the usual, from its median over such a window."""
SMOOTHING_S = 0.06
LONGEST_GAP_S = 0.35
"""Shorter gaps are filled from both sides; in longer ones nothing is seen."""

LEAST_VISIBILITY = 0.3
"""Of elbows and wrists; arms seen from behind often get 0.4."""
CUT_MARGIN, CUT_VISIBILITY = 0.4, 0.6
"""Legs that the picture cuts off are placed within so many torsos of its lower edge, with less than this."""


@dataclasses.dataclass(frozen=True)
class PoseTrack:
    """The joints of one person over time."""

    keypoints: np.ndarray
    """(F, 18, 3) float32: x, y in pixels and visibility 0 or 1."""
    confidence: np.ndarray
    """(F, 18) in [0, 1]; 0 where the place was filled in from the frames around."""
    score: np.ndarray
    """(F,) in [0, 1]: whether there is a person."""
    missing: list[int]
    """Frames in which nobody was found."""
    gaps: list[tuple[int, int]]
    """Runs of missing frames, [start, stop), that are too long to fill; nothing is visible there."""
    mended: list[int]
    """Frames in which left and right had changed sides and were put right."""
    dropped: int
    """How many joints in all had jumped and were filled in."""
    masks: list[np.ndarray | None]
    """The person in each frame, (H, W) float32 in [0, 1]; None where not asked for or not found."""


def make_track(
    points: np.ndarray,
    confidence: np.ndarray,
    score: np.ndarray,
    found: np.ndarray,
    masks: list[np.ndarray | None],
    size: tuple[int, int],
    fps: float,
) -> PoseTrack:
    """Put together what was found frame by frame.

    Args:
        points: (F, 18, 3) x, y and depth in pixels; depths are 0 where they are not known.
        confidence: (F, 18) in [0, 1].
        score: (F,) in [0, 1].
        found: (F,) bool, the frames in which there was a person.
        masks: masks of each frame, or None.
        size: height and width of the frames.
        fps: frames per second.

    Returns:
        The mended and smoothed track; F may be 0.
    """
    keypoints = np.zeros(points.shape, np.float32)
    gaps = [(a, b) for a, b in runs(~found) if b - a > LONGEST_GAP_S * fps or a == 0 or b == len(found)]
    mended: list[int] = []
    dropped = 0
    if found.any():
        # Whether an arm is hidden must not flicker: it is judged by the neighbours' mean too.
        points, weights, mended, dropped = follow(points, confidence, found, fps)
        steady = _mean_over_neighbours(weights)
        keypoints[..., :2] = points[..., :2]
        keypoints[..., 2] = seen_joints(points, steady, size)
        confidence = weights
    for start, stop in gaps:
        keypoints[start:stop, :, 2] = 0
    missing = np.flatnonzero(~found).tolist()
    return PoseTrack(keypoints, confidence, score, missing, gaps, mended, dropped, masks)


def _mean_over_neighbours(weights: np.ndarray) -> np.ndarray:
    """Over five frames; what was filled in (0) counts as its neighbours do."""
    padded = np.pad(weights, ((2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
    count = (windows > 0).sum(axis=-1)
    near = windows.sum(axis=-1) / np.maximum(count, 1)
    frames = np.arange(len(weights))
    for joint in range(weights.shape[1]):
        there = np.flatnonzero(count[:, joint])
        if len(there):
            near[:, joint] = np.interp(frames, there, near[there, joint])
    return near


def seen_joints(points: np.ndarray, confidence: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which joints our skeletons show: the rule of the synthetic dataset (`data/synthetic/render.py`).

    The network places the face even from behind, so the face goes by where the head looks: nose and eyes are
    gone from behind, the far eye in profile, and each ear as its side turns away. Elbows and wrists are gone
    where the body hides them. Shoulders, hips, knees and ankles are always shown, except that a doubtful knee
    or ankle at the picture's lower edge is cut off by it. Nothing is shown outside the picture.

    Args:
        points: (F, 18, 3) x, y and depth in pixels.
        confidence: (F, 18) in [0, 1].
        size: height and width of the picture.

    Returns:
        (F, 18) bool.
    """
    height, width = size
    x, y = points[..., 0], points[..., 1]
    seen = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    across = (points[:, JOINT["left_ear"]] - points[:, JOINT["right_ear"]])[:, [0, 2]]
    across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    facing = across[:, 0]
    seen[:, JOINT["nose"]] &= facing > -0.15
    for name, sign in zip(SIDES, (-1, 1), strict=True):
        toward = sign * across[:, 1]
        seen[:, JOINT[f"{name}_eye"]] &= (facing > -0.10) & (toward > -0.80)
        seen[:, JOINT[f"{name}_ear"]] &= (facing > -0.45) & (toward > -0.55)
        for part in ("elbow", "wrist"):
            seen[:, JOINT[f"{name}_{part}"]] &= confidence[:, JOINT[f"{name}_{part}"]] > LEAST_VISIBILITY
        for part in ("knee", "ankle"):
            joint = JOINT[f"{name}_{part}"]
            inside = y[:, joint] < height - CUT_MARGIN * torso_length(points)
            seen[:, joint] &= inside | (confidence[:, joint] > CUT_VISIBILITY)
    return seen


def follow(
    points: np.ndarray, confidence: np.ndarray, found: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray, list[int], int]:
    """Make one steady track of what was found frame by frame.

    Args:
        points: (F, 18, 3) x, y and depth in pixels; depths are 0 where they are not known.
        confidence: (F, 18) in [0, 1].
        found: (F,) bool, the frames in which there was a person; at least one.
        fps: frames per second.

    Returns:
        Points and confidence of all frames, the frames in which sides were mended, and how many joints had
        jumped. Frames without a person lie on the line between their neighbours, with confidence 0.
    """
    frames = np.flatnonzero(found)
    swapped = find_swaps(points[frames], frames)
    there, sure = swap_sides(points[frames], swapped), swap_sides(confidence[frames], swapped)
    jumps = find_jumps(there, fps)
    sure = np.where(jumps, 0.0, sure)
    filled = np.empty(points.shape)
    for joint in range(NUM_JOINTS):
        steady = np.flatnonzero(~jumps[:, joint])
        for axis in range(3):
            filled[:, joint, axis] = np.interp(
                np.arange(len(points)), frames[steady], there[steady, joint, axis]
            )
    weights = np.zeros(confidence.shape)
    weights[frames] = sure
    mended = frames[swapped.any(axis=1)].tolist()
    return smooth(filled, weights, fps), weights, mended, int(jumps.sum())


def torso_length(points: np.ndarray) -> float:
    """Median over time of neck to the middle of the hips, in pixels, of (F, 18, 2 or more); at least 1."""
    hips = (points[:, JOINT["left_hip"], :2] + points[:, JOINT["right_hip"], :2]) / 2
    return max(float(np.median(np.linalg.norm(points[:, JOINT["neck"], :2] - hips, axis=1))), 1.0)


def find_swaps(points: np.ndarray, frames: np.ndarray | None = None) -> np.ndarray:
    """Where left and right changed sides, of the face, the arms or the legs.

    The cheapest way through all frames (Viterbi). What costs: joints that move, groups that face opposite
    ways in one frame, and each swap that is claimed, so that what was found is believed unless there is
    reason not to.

    Args:
        points: (F, 18, 3) x, y and depth in pixels; depths are 0 where they are not known.
        frames: (F,) their numbers, rising; None counts from 0. Motion counts less across a gap.

    Returns:
        (F, 3) bool: face, arms and legs are to be swapped in that frame.
    """
    count = len(points)
    times = np.arange(count) if frames is None else np.asarray(frames)
    unit = points / torso_length(points)
    places = unit * [1, 1, DEPTH_SHARE]
    states = np.array(list(itertools.product((0, 1), repeat=len(GROUPS))))  # (8, 3)
    stay, change = _motion_costs(places, times)
    differs = states[:, None] != states[None]  # (8, 8, 3)
    alone = _frame_costs(unit, states)

    cost, came_from = alone[0], np.zeros((count, len(states)), int)
    for index in range(1, count):
        step = np.where(differs, change[index - 1], stay[index - 1]).sum(axis=2)
        total = cost[:, None] + step
        came_from[index] = total.argmin(axis=0)
        cost = total.min(axis=0) + alone[index]
    path = np.empty(count, int)
    path[-1] = cost.argmin()
    for index in range(count - 1, 0, -1):
        path[index - 1] = came_from[index, path[index]]
    return states[path].astype(bool)


def _motion_costs(places: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each step if a group keeps its sides, and if it changes them: (F - 1, 3) each."""
    gap = np.diff(times)[:, None]
    stay, change = [], []
    for group in GROUPS:
        left, right = places[:, LEFT[group]], places[:, RIGHT[group]]
        costs = []
        for a, b in ((left, right), (right, left)):
            moved = [
                np.linalg.norm(new - old, axis=2) for new, old in ((a[1:], left[:-1]), (b[1:], right[:-1]))
            ]
            costs.append(np.minimum(np.concatenate(moved, axis=1), 1).sum(axis=1, keepdims=True) / gap)
        stay.append(costs[0])
        change.append(costs[1])
    return np.concatenate(stay, axis=1), np.concatenate(change, axis=1)


def _frame_costs(unit: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Of each way to swap each frame's groups, for itself, (F, 8)."""
    ways = facings(unit)  # (F, 3, 2)
    signs = 1 - 2 * states
    cost = np.tile(SWAP_COST * states.sum(axis=1), (len(unit), 1))
    for a, b in itertools.combinations(range(len(GROUPS)), 2):
        agreement = (ways[:, a] * ways[:, b]).sum(axis=1)
        cost -= DISAGREEMENT_COST / 2 * agreement[:, None] * signs[:, a] * signs[:, b]
    # The nose stands out to the front, whichever ear is called the left one.
    ears = (unit[:, JOINT["left_ear"]] + unit[:, JOINT["right_ear"]]) / 2
    nose = _direction((unit[:, JOINT["nose"]] - ears)[:, [0, 2]])
    agreement = nose[:, 0] * ways[:, 0, 1] - nose[:, 1] * ways[:, 0, 0]
    has_depth = np.abs(unit[:, :, 2]).max(axis=1) > 0
    return cost - DISAGREEMENT_COST / 2 * np.where(has_depth, agreement, 0.0)[:, None] * signs[:, 0]


def facings(points: np.ndarray) -> np.ndarray:
    """From the right side to the left one as seen from above, of face, arms and legs.

    Args:
        points: (F, 18, 3) x, y and depth.

    Returns:
        (F, 3, 2) x and depth of length 1; (1, 0) faces the viewer. Without depths 1 or -1 in x, and shorter
        where the sides nearly coincide.
    """
    across = [
        points[:, JOINT[f"left_{part}"]] - points[:, JOINT[f"right_{part}"]]
        for part in ("ear", "shoulder", "hip")
    ]
    return _direction(np.stack(across, axis=1)[..., [0, 2]])


def _direction(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    usual = np.median(length, axis=0, keepdims=True)
    return vectors / np.maximum(length, 0.3 * usual + 1e-9)


def swap_sides(values: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """Exchange left and right, in (F, 18, ...), of the groups named by (F, 3) bool."""
    mended = values.copy()
    for index, group in enumerate(GROUPS):
        rows = np.flatnonzero(swapped[:, index])[:, None]
        mended[rows, LEFT[group]], mended[rows, RIGHT[group]] = (
            values[rows, RIGHT[group]],
            values[rows, LEFT[group]],
        )
    return mended


def find_jumps(points: np.ndarray, fps: float) -> np.ndarray:
    """Joints that are far from where they were just before and just after, (F, 18) bool.

    Args:
        points: (F, 18, 2 or more) x and y in pixels.
        fps: frames per second.
    """
    reach = max(1, round(WINDOW_S * fps / 2))
    if len(points) < 2 * reach + 1:
        return np.zeros(points.shape[:2], bool)
    places = points[..., :2] / torso_length(points)
    padded = np.pad(places, ((reach, reach), (0, 0), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)  # (F, 18, 2, window)
    away = np.linalg.norm(places - np.median(windows, axis=-1), axis=-1)
    # What is usual is judged nearby: an arm that swings is always far from its median.
    around = np.pad(away, ((2 * reach, 2 * reach), (0, 0)), mode="reflect") if len(away) > 2 * reach else away
    usual = np.median(
        np.lib.stride_tricks.sliding_window_view(around, len(around) - len(away) + 1, axis=0), -1
    )
    return away > np.maximum(LEAST_JUMP, 5 * usual)


def smooth(points: np.ndarray, weights: np.ndarray, fps: float) -> np.ndarray:
    """Fit a parabola to the frames around each one, which leaves steady motion and its turns in place.

    Args:
        points: (F, 18, D).
        weights: (F, 18) in [0, 1], how far each place is to be trusted.
        fps: frames per second; at low rates the frames around weigh little, so that little changes.

    Returns:
        (F, 18, D).
    """
    sigma = SMOOTHING_S * fps
    reach = min(int(3 * sigma), len(points) - 1)
    if reach < 1:
        return points.astype(np.float64)
    sums = np.zeros((*points.shape[:2], 3, 3))
    values = np.zeros((*points.shape[:2], 3, points.shape[2]))
    for offset in range(-reach, reach + 1):
        here = slice(max(0, -offset), len(points) - max(0, offset))
        there = slice(max(0, offset), len(points) - max(0, -offset))
        powers = np.array([1.0, offset / sigma, (offset / sigma) ** 2])
        weight = np.exp(-0.5 * (offset / sigma) ** 2) * np.maximum(weights[there], 0.02)
        sums[here] += weight[..., None, None] * np.outer(powers, powers)
        values[here] += weight[..., None, None] * powers[:, None] * points[there][..., None, :]
    sums += 1e-3 * np.diag([0.0, 1.0, 1.0])
    return np.linalg.solve(sums, values)[..., 0, :]


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Where (F,) bool is true, as [start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
