"""Which frames of a video belong together, and which of them show a whole person."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

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
    """Parts of a video in which the picture does not jump, one after another.

    Args:
        frames: read one by one.
        max_frames: of a part; longer shots are divided.

    Yields:
        The frames of a part, which are gone when the next part is asked for.
    """
    number, length = 0, 0
    changes: list[float] = []
    last: np.ndarray | None = None

    def part_of(frame: Frame) -> int:
        nonlocal number, length, last
        small = _thumbnail(frame.picture)
        change = 0.0 if last is None else float(np.abs(small - last).mean())
        is_cut = change > max(LEAST_CUT, CUT_RATIO * max(changes, default=0.0))
        if is_cut or length == max_frames:
            number, length = number + 1, 0
        if is_cut:
            changes.clear()
        elif last is not None:
            changes.append(change)
            del changes[:-RECENT_FRAMES]
        last, length = small, length + 1
        return number

    for _, part in itertools.groupby(frames, key=part_of):
        yield part


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
