"""What happens in a clip, and when: the motion rules, asked about many windows and asked again."""

import dataclasses

import numpy as np

from evaluation.motion_rules import make_track, read_motions

FRONT = 0.8
"""Cosine of the turn from which on she faces the viewer."""
STRIDE = 4
"""Frames between two windows that are tried."""
NUM_CHECKS = 12
SHIFT_FRAMES, SCALE, JITTER_TORSOS = 2, 0.03, 0.012
"""How far windows and joints are changed to ask again."""
LEAST_CONFIDENCE = 0.6
MOST_MOTIONS = 2
STILL_DEGREES = 25.0
"""Of turn, for who is said to stand and at the end of a turn to a side and back."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the rules say of frames [start, stop) of a clip.

    Attributes:
        start: first frame.
        stop: past the last frame.
        motions: labels in the order in which they happen.
        confidence: share of slightly changed readings that say the same.
    """

    start: int
    stop: int
    motions: tuple[str, ...]
    confidence: float


def read_clip(keypoints: np.ndarray, window: int, seed: int = 0) -> tuple[list[Reading], str]:
    """Find windows of a clip whose motions can be named.

    A window begins with her front to the viewer. Windows do not overlap; the surest come first.

    Args:
        keypoints: (F, 18, 3) x px, y px, visibility.
        window: frames of a window.
        seed: of the changes by which a reading is tested.

    Returns:
        Readings in the order of time, and where there are none the reason.
    """
    track = make_track(keypoints)
    if track is None or len(keypoints) < window:
        return [], "too little of her is seen to say what she does"
    starts = [
        s for s in range(0, len(keypoints) - window + 1, STRIDE) if track.facing[s : s + 2].min() > FRONT
    ]
    if not starts:
        return [], "no window begins with her front to the viewer"
    rng = np.random.default_rng(seed)
    readings = [_read(keypoints, start, start + window, rng) for start in starts]
    sure = [reading for reading in readings if reading.confidence >= LEAST_CONFIDENCE]
    if not sure:
        best = max(reading.confidence for reading in readings)
        return [], f"no rule is sure of what she does (confidence {best:.2f} at most)"
    chosen: list[Reading] = []
    for reading in sorted(sure, key=lambda r: (r.motions == ("stand_sway",), -r.confidence, r.start)):
        if all(reading.stop <= other.start or reading.start >= other.stop for other in chosen):
            chosen.append(reading)
    return sorted(chosen, key=lambda reading: reading.start), ""


def _read(keypoints: np.ndarray, start: int, stop: int, rng: np.random.Generator) -> Reading:
    motions = _named(keypoints[start:stop])
    if not motions:
        return Reading(start, stop, (), 0.0)
    agreed = 0
    for _ in range(NUM_CHECKS):
        first, last = (rng.integers(-SHIFT_FRAMES, SHIFT_FRAMES + 1) for _ in range(2))
        changed = keypoints[max(0, start + first) : max(start + 4, stop + last)].copy()
        seen = changed[changed[..., 2] > 0, :2]
        torso = max(float(np.ptp(seen[:, 1])) / 3, 1.0) if len(seen) else 1.0
        changed[..., :2] *= 1 + rng.uniform(-SCALE, SCALE, 2)
        changed[..., :2] += rng.normal(0, JITTER_TORSOS * torso, changed[..., :2].shape)
        agreed += _named(changed) == motions
    return Reading(start, stop, motions, agreed / NUM_CHECKS)


def _named(keypoints: np.ndarray) -> tuple[str, ...]:
    """The motions of a window; () where they are more than a sentence tells, or it ends within one."""
    motions = read_motions(keypoints)
    track = make_track(keypoints)
    if track is None or not 1 <= len(motions) <= MOST_MOTIONS:
        return ()
    turn = np.abs(track.turn)
    # The head may look aside while the body does not turn, so both have to.
    aside = (turn > STILL_DEGREES) & (track.facing < FRONT)
    if motions == ("stand_sway",) and aside.any():
        return ()
    if "turn_around" not in motions and aside[-2:].all():
        return ()
    return motions
