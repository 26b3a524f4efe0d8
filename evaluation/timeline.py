"""A timeline followed: each segment's motion read in its place, and the steps of joints where two meet."""

import dataclasses

import numpy as np

from diffusion.motion import body_frame
from evaluation.motion_rules import read_motions
from generation.timeline import Timeline, exchange_sides, face_other_way, shows_back


@dataclasses.dataclass(frozen=True)
class Seams:
    """The largest step of a joint from a frame to the next one, in torso lengths of frame 0.

    Attributes:
        at: from the last frame of a segment to the first one of the next; 0 with a single segment.
        inside: within segments.
    """

    at: float
    inside: float


def read_segments(joints: np.ndarray, timeline: Timeline) -> list[tuple[str, ...]]:
    """Read what was done in each segment, with the rules of `evaluation.motion_rules`.

    The rules take a clip to begin with a front. Where a segment begins with her back, her outline is read,
    which looks like a front, and left and right are exchanged in what was read.

    Args:
        joints: (F, 18, 3) x, y in pixels and visibility.
        timeline: of F frames, at least 4 a segment.
    """
    read = []
    for frames in timeline.frames:
        first = max(frames.start - 1, 0)  # the pose that the segment started in
        track = joints[first : frames.stop]
        if shows_back(track[0]):
            labels = read_motions(face_other_way(track))
            read.append(tuple(_other_side(label) for label in labels))
        else:
            read.append(read_motions(track))
    return read


def _other_side(label: str) -> str:
    return exchange_sides(label.replace("_", " ")).replace(" ", "_")


def measure_seams(joints: np.ndarray, timeline: Timeline) -> Seams:
    """Measure how far joints that are seen move from frame to frame, at seams and elsewhere.

    Args:
        joints: (F, 18, 3) x, y in pixels and visibility.
        timeline: of F frames.
    """
    _, torso = body_frame(joints[0])
    steps = np.hypot(*np.diff(joints[..., :2], axis=0).transpose(2, 0, 1)) / torso
    steps[(joints[1:, :, 2] <= 0) | (joints[:-1, :, 2] <= 0)] = 0
    seams = [end - 1 for end in timeline.ends[:-1]]
    inside = np.delete(steps, seams, axis=0)
    return Seams(at=float(steps[seams].max(initial=0)), inside=float(inside.max(initial=0)))
