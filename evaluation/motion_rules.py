"""Sentence followed: what somebody did, read by rules from the track of her 18 joints.

Left and right are the person's own. Lengths are torsos (neck to the middle of the hips), so that neither the
picture's size nor the person's matters; angles are degrees of turn, 0 toward the viewer, positive to her
left.
"""

import dataclasses

import numpy as np

from utils.pose_drawing import JOINT

SIDES = {"left": 1.0, "right": -1.0}
NOSE_REACH = 0.176
"""How far the nose stands out from the neck's axis, in torsos."""
TURN_DEGREES = 33.0
STEP_TORSOS, STEP_TORSOS_WALKING = 0.15, 0.24
"""How far to a side is a step; who walks toward the viewer also drifts aside."""
WALK_TORSOS = 0.10
RAISED_TORSOS = 0.20
ELBOW_OUT_TORSOS, ELBOW_CHANGE_TORSOS = 0.15, 0.07

MOTIONS = (
    "stand_sway", "walk_forward", "step_left", "step_right", "turn_left", "turn_right", "turn_around",
    "raise_left_arm", "raise_right_arm", "left_hand_on_hip", "right_hand_on_hip", "hands_on_hips",
)  # fmt: skip
"""The labels that can be read."""


@dataclasses.dataclass(frozen=True)
class Track:
    """The joints of a clip made comparable.

    Where they are not seen they are interpolated over time; jumps of a single frame are taken out.
    """

    points: dict[str, np.ndarray]
    """Joint name -> (F, 2), x and y in pixels."""
    torso: np.ndarray
    """(F,) neck to the middle of the hips in pixels; a turned or bent body has the clip's typical length."""
    facing: np.ndarray
    """(F,) cosine of the turn: 1 toward the viewer, -1 away."""
    turn: np.ndarray
    """(F,) degrees, positive to her left; unfolded over time."""

    def middle(self, joint: str) -> np.ndarray:
        """(F, 2) between the left and the right joint."""
        return (self.points[f"left_{joint}"] + self.points[f"right_{joint}"]) / 2


def read_motions(joints: np.ndarray) -> tuple[str, ...]:
    """Read what was done, in order.

    Args:
        joints: (F, 18, 3) x, y in pixels and visibility (0: not seen), F >= 4.

    Returns:
        Labels of `MOTIONS`, ("stand_sway",) where nothing else happened; () where too little is seen to say.
    """
    track = make_track(joints)
    if track is None:
        return ()
    walk = _walk(track)
    steps = _steps(track, STEP_TORSOS_WALKING if walk else STEP_TORSOS)
    events = [*walk, *steps, *_turns(track), *_raised_arms(track), *_hands_on_hips(track)]
    return tuple(label for _, label in sorted(events)) or ("stand_sway",)


def make_track(joints: np.ndarray) -> Track | None:
    """Fill gaps and measure the body; None where trunk or ankles are seen in less than half of the frames."""
    seen = joints[..., 2] > 0
    needed = [
        JOINT[n]
        for n in (
            "neck",
            "left_shoulder",
            "right_shoulder",
            "left_hip",
            "right_hip",
            "left_ankle",
            "right_ankle",
        )
    ]
    if (seen[:, needed].mean(axis=0) < 0.5).any():
        return None
    frames = np.arange(len(joints))
    points = {}
    for name, index in JOINT.items():
        there = np.flatnonzero(seen[:, index])
        if there.size:
            places = [_median(np.interp(frames, there, joints[there, index, i])) for i in (0, 1)]
            points[name] = np.stack(places, axis=1)
        else:
            points[name] = joints[:, JOINT["neck"], :2]
    hips = (points["left_hip"] + points["right_hip"]) / 2
    torso = _smooth(np.linalg.norm(points["neck"] - hips, axis=1))

    across = (points["left_shoulder"] - points["right_shoulder"])[:, 0] + (
        points["left_hip"] - points["right_hip"]
    )[:, 0]
    across = across / torso
    facing = np.clip(across / max(float(np.sort(across)[-2:].mean()), 1e-6), -1, 1)
    ahead = (points["nose"] - points["neck"])[:, 0] / torso
    turn = np.degrees(np.arctan2(np.clip(ahead / NOSE_REACH, -1, 1), facing))
    return Track(points, torso, facing, np.degrees(np.unwrap(np.radians(turn))))


def _median(values: np.ndarray) -> np.ndarray:
    """Median over three frames: an estimator's jump in one frame is nothing that a body does."""
    padded = np.pad(values, 1, mode="edge")
    return np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over three frames."""
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _half(track: Track) -> int:
    return len(track.facing) // 2


def _turns(track: Track) -> list[tuple[float, str]]:
    """A turn to a side and back, or around with the back toward the viewer at the end."""
    events: list[tuple[float, str]] = []
    stop = len(track.facing)
    if track.facing[-2:].mean() < -0.3:
        turned = int(np.flatnonzero(track.facing >= 0)[-1]) if (track.facing >= 0).any() else 0
        events.append((turned, "turn_around"))
        front = np.flatnonzero(np.abs(track.turn[: turned + 1]) < 25)
        stop = int(front[-1]) + 1 if front.size else 0
    if stop > 2:
        turn = track.turn[:stop] - np.clip(track.turn[0], -25, 25)
        for side, sign in SIDES.items():
            peak = int(np.argmax(sign * turn))
            farthest = sign * turn[peak]
            if farthest > TURN_DEGREES and (sign * turn[peak:]).min() < farthest / 2:
                events.append((peak, f"turn_{side}"))
    return events


def _steps(track: Track, least: float) -> list[tuple[float, str]]:
    """Both feet end farther to a side; the clip's halves by themselves where they go opposite ways."""
    place = (track.middle("ankle")[:, 0] + track.middle("hip")[:, 0]) / 2 / track.torso[0]
    half, last = _half(track), len(place) - 1
    start, end = place[:2].mean(), place[-2:].mean()
    first, second = place[half] - start, end - place[half]
    if min(abs(first), abs(second)) > least and first * second < 0:
        moves = [(half / 2, first, track.facing[0]), ((half + last) / 2, second, track.facing[-1])]
    else:
        when = float(np.argmax(np.abs(place - start) > abs(end - start) / 2))
        moves = [(when, end - start, track.facing[int(when)])]
    return [
        (when, "step_left" if distance * facing > 0 else "step_right")
        for when, distance, facing in moves
        if abs(distance) > least
    ]


def _walk(track: Track) -> list[tuple[float, str]]:
    """Who comes nearer grows, and her feet sink in the picture."""
    ankles = track.middle("ankle")[:, 1]
    size = ankles - track.points["neck"][:, 1]
    nearer = (ankles - ankles[:2].mean()) / track.torso[0] + size / size[:2].mean() - 1
    end = nearer[-2:].mean()
    return [(float(np.argmax(nearer > end / 2)), "walk_forward")] if end > WALK_TORSOS else []


def _raised_arms(track: Track) -> list[tuple[float, str]]:
    events = []
    for side in SIDES:
        above = (track.points[f"{side}_shoulder"] - track.points[f"{side}_wrist"])[:, 1] / track.torso
        if above.max() > RAISED_TORSOS and above[0] < RAISED_TORSOS:
            events.append((float(np.argmax(above > RAISED_TORSOS)), f"raise_{side}_arm"))
    return events


def _hands_on_hips(track: Track) -> list[tuple[float, str]]:
    """A hand that did not rest on the hip at first does so in the middle or at the end of the clip."""
    half, end = _half(track), len(track.facing) - 2
    when = {}
    for side in SIDES:
        out, near = _elbow_and_wrist(track, side)
        before = float(out[:2].mean())
        for start in (half - 1, half - 2, half, end):
            moment = slice(max(start, 0), max(start, 0) + 2)
            facing, bent = track.facing[moment], float(out[moment].min())
            steady = np.abs(facing).min() > 0.8 and np.ptp(facing) < 0.05
            change = ELBOW_CHANGE_TORSOS * (1 if start == end else 1.4)  # arms also swing on the way
            if steady and near[moment].all() and bent > ELBOW_OUT_TORSOS and bent - before > change:
                low = np.flatnonzero(out[: moment.start] <= (before + bent) / 2)
                when[side] = float(low[-1] + 1) if low.size else 0.0
                break
    if len(when) == 2:
        return [(min(when.values()), "hands_on_hips")]
    return [(time, f"{side}_hand_on_hip") for side, time in when.items()]


def _elbow_and_wrist(track: Track, side: str) -> tuple[np.ndarray, np.ndarray]:
    """How far the elbow stands out, (F,) in torsos, and whether the wrist is beside the waist, (F,) bool."""
    shoulder, elbow, wrist, hip = (track.points[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "hip"))
    outward = SIDES[side] * np.where(track.facing >= 0, 1.0, -1.0)
    line = wrist - shoulder
    share = np.clip(
        ((elbow - shoulder) * line).sum(axis=1) / np.maximum((line * line).sum(axis=1), 1e-6), 0, 1
    )
    stands_out = (elbow - shoulder - share[:, None] * line)[:, 0] * outward / track.torso
    above_hip = (hip - wrist)[:, 1] / track.torso
    beside_hip = (wrist - hip)[:, 0] * outward / track.torso
    near = (above_hip > 0.06) & (above_hip < 0.5) & (beside_hip > -0.1) & (beside_hip < 0.34)
    return stands_out, near
