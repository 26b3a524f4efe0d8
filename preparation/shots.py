"""Which frames of a video belong together, and which of them show a whole person."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from generation.framing import ANKLES, FEET_SHARE, HEAD_SHARE
from preparation.videos import Frame
from utils.pose_drawing import FACE, HIPS, JOINT, joint_indices

THUMBNAIL = 32
LEAST_CUT, CUT_RATIO, RECENT_FRAMES = 11.0, 3.0, 12
"""The picture jumps where its thumbnail changes by so many 8-bit steps, and by so many times the most that it
changed in the frames before. People who turn change it by up to 18, at most 2.3 times as much as just before;
others in the same studio by 20 and more."""
SHORTEST_FADE, LONGEST_FADE = 3, 16
"""Steps between frames in which a fade is looked for; of a longer one, parts of it are found."""
LEAST_FADE, FADE_REST = 15.0, 0.22
"""A fade changes the thumbnail by so many 8-bit steps, and is a mixture of two pictures but for such a share.
The least share among 198 clips without a fade is 0.25; fades between moving people have 0.02 to 0.4."""
LEAST_SCORE = 0.9
"""Median over a clip of how sure the finder is; halves of people and what only looks like one get less."""
JUMP_TORSOS = 1.2
"""From frame to frame: somebody else is followed."""


@dataclasses.dataclass(frozen=True)
class Span:
    """Frames [start, stop) of a part, and why they are left out; kept where `reason` is empty."""

    start: int
    stop: int
    reason: str = ""


def split_shots(frames: Iterable[Frame], max_frames: int) -> Iterator[Iterator[Frame]]:
    """Parts of a video in which the picture neither jumps nor fades, one after another.

    The frames of a fade are parts of their own, which are too short to be kept.

    Args:
        frames: read one by one; up to 17 are in memory.
        max_frames: of a part; longer shots are divided.

    Yields:
        The frames of a part, which are gone when the next part is asked for.
    """
    number, length, scene = 0, 0, 0

    def part_of(pair: tuple[int, Frame]) -> int:
        nonlocal number, length, scene
        if pair[0] != scene or length == max_frames:
            number, length = number + 1, 0
        scene, length = pair[0], length + 1
        return number

    for _, part in itertools.groupby(_scenes(frames), key=part_of):
        yield (frame for _, frame in part)


def _scenes(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    """Each frame with a number that changes where the picture jumps; fades have numbers of their own."""
    scene = 0
    changes: collections.deque[float] = collections.deque(maxlen=RECENT_FRAMES)
    smalls: collections.deque[np.ndarray] = collections.deque(maxlen=LONGEST_FADE + 1)
    waiting: collections.deque[tuple[int, Frame]] = collections.deque()
    for frame in frames:
        small = _thumbnail(frame.picture)
        change = float(np.abs(small - smalls[-1]).mean()) if smalls else 0.0
        if change > max(LEAST_CUT, CUT_RATIO * max(changes, default=0.0)):
            scene += 1
            changes.clear()
            smalls.clear()
        elif smalls:
            changes.append(change)
        smalls.append(small)
        waiting.append((scene, frame))
        if steps := _fade_steps(smalls):
            for back in range(2, steps + 1):
                waiting[-back] = (scene + 1, waiting[-back][1])
            scene += 2
            waiting[-1] = (scene, frame)
            smalls.clear()
            smalls.append(small)
        if len(waiting) > LONGEST_FADE:
            yield waiting.popleft()
    yield from waiting


def _fade_steps(smalls: Sequence[np.ndarray]) -> int:
    """Over how many steps the picture has faded into the last thumbnail; 0 where it did not.

    In a fade each picture is a mixture of the first and the last, with more and more of the last. What moves
    is no such mixture.
    """
    last = smalls[-1].ravel()
    for steps in range(SHORTEST_FADE, len(smalls)):
        first = smalls[-1 - steps].ravel()
        change = last - first
        size = float(np.abs(change).mean())
        if size < LEAST_FADE:
            continue
        between = np.stack([smalls[-1 - back].ravel() for back in range(steps - 1, 0, -1)]) - first
        shares = between @ change / float(change @ change)
        left = np.abs(between - shares[:, None] * change).mean(axis=1)
        if (np.diff([0.0, *shares, 1.0]) > 0.2 / steps).all() and left.max() < FADE_REST * size:
            return steps
    return 0


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def find_spans(
    keypoints: np.ndarray, score: np.ndarray, size: tuple[int, int], min_frames: int
) -> list[Span]:
    """Divide a part into frames that are kept and frames that are left out.

    Args:
        keypoints: (F, 18, 3) x px, y px, visibility.
        score: (F,) in 0..1, whether there is a person.
        size: height and width of the pictures.
        min_frames: shorter runs are left out.

    Returns:
        All frames once, in order.
    """
    reasons = [_why_not(joints, size) for joints in keypoints]
    spans = []
    for reason, group in itertools.groupby(enumerate(reasons), key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        spans.append(Span(numbers[0], numbers[-1] + 1, reason))
    result: list[Span] = []
    for span in spans:
        result += [span] if span.reason else _divide(span, keypoints, score, min_frames)
    return result


def _divide(span: Span, keypoints: np.ndarray, score: np.ndarray, min_frames: int) -> list[Span]:
    """A run of whole persons, parted where somebody else is followed."""
    joints = keypoints[span.start : span.stop]
    hips = joints[:, joint_indices(HIPS), :2].mean(axis=1)
    torso = max(float(np.median(np.linalg.norm(joints[:, JOINT["neck"], :2] - hips, axis=1))), 1.0)
    jumps = np.linalg.norm(np.diff(hips, axis=0), axis=1) / torso > JUMP_TORSOS
    edges = [span.start, *(np.flatnonzero(jumps) + span.start + 1).tolist(), span.stop]
    result = []
    for start, stop in itertools.pairwise(edges):
        if stop - start < min_frames:
            reason = f"fewer than {min_frames} frames of a whole person"
        elif float(np.median(score[start:stop])) < LEAST_SCORE:
            reason = "it is doubtful whether it is a person"
        else:
            reason = ""
        result.append(Span(start, stop, reason))
    return result


def _why_not(joints: np.ndarray, size: tuple[int, int]) -> str:
    """Why a frame does not show a whole person; empty if it does."""
    seen = joints[:, 2] > 0
    if not seen.any():
        return "nobody is found"
    if not seen[[JOINT["neck"], *joint_indices(HIPS)]].all():
        return "the trunk is not in the picture"
    head = joints[joint_indices(FACE), :2]
    known = (head != 0).any(axis=1)  # from behind a finder still places the face, files of joints do not
    top = float(head[known, 1].mean()) if known.any() else float(joints[JOINT["neck"], 1])
    bottom = float(joints[ANKLES, 1].max())
    height = max(bottom - top, 1.0)
    if not seen[ANKLES].all() or bottom + FEET_SHARE / 2 * height > size[0]:
        return "the feet are not in the picture"
    if top - HEAD_SHARE / 2 * height < 0:
        return "the head is not in the picture"
    return ""
