"""Motions: how somebody stands, and what she does next.

The stance (place, direction, feet, weight, arms) is drawn without knowing the motion, and every motion sets
out from it at rest; so the first frame says nothing about what follows. Left and right are the person's own.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from data.synthetic.choreography import ArmPosture, Choreography, Performance, Stance, spread_motions
from data.synthetic.posing import Rigged, foot_pitch, measure, pose
from data.synthetic.rig import bone_transforms
from data.synthetic.skeleton import SIDES

SINGLE_CHANCES = {
    "stand_sway": 0.9,
    "walk_forward": 1.3,
    "step_left": 1.0,
    "step_right": 1.0,
    "turn_left": 1.2,
    "turn_right": 1.2,
    "turn_around": 1.5,
    "raise_left_arm": 0.9,
    "raise_right_arm": 0.9,
    "left_hand_on_hip": 0.55,
    "right_hand_on_hip": 0.55,
    "hands_on_hips": 0.6,
}
"""How often each motion is drawn, relative to the others."""

SEQUENCE_CHANCE = 0.22


@dataclasses.dataclass(frozen=True)
class Motion:
    """A person's bones over a clip.

    Attributes:
        motions: the labels.
        rotations: (F, B, 3, 3) and
        root: (F, 3) as `rig.bone_transforms` takes them, and
        transforms: (F, B, 3, 4) float32 as it gives them.
        pelvis_yaw: (F,) direction of the pelvis and
        chest_yaw: (F,) of the chest and
        head_yaw: (F,) of the head: 0 toward the viewer, positive to the person's left, in radians.
        planted: side -> (F,) bool, whether the ball of the foot stands on the floor.
    """

    motions: list[str]
    rotations: np.ndarray
    root: np.ndarray
    transforms: np.ndarray
    pelvis_yaw: np.ndarray
    chest_yaw: np.ndarray
    head_yaw: np.ndarray
    planted: dict[str, np.ndarray]


def sample_motions(rng: np.random.Generator, among: Sequence[str] = ()) -> list[str]:
    """Draw one motion, or a sequence of two that go together, among these labels or (if empty) all."""
    names = [name for name in SINGLE_CHANCES if not among or name in among]
    chances = np.array([SINGLE_CHANCES[name] for name in names])
    chances /= chances.sum()
    can_follow = any(_go_together(first, second) for first in names for second in names)
    if rng.random() >= SEQUENCE_CHANCE or not can_follow:
        return [str(rng.choice(names, p=chances))]
    while True:
        first, second = (str(m) for m in rng.choice(names, size=2, p=chances))
        if _go_together(first, second):
            return [first, second]


def _go_together(first: str, second: str) -> bool:
    if first == second or "stand_sway" in (first, second):
        return False
    if first == "turn_around" and (second == "walk_forward" or second.startswith("turn")):
        return False
    return not ("hip" in first and "hip" in second)


def sample_performance(rng: np.random.Generator, motions: list[str]) -> Performance:
    """Draw a stance, independent of `motions`, and the numbers that vary the motion.

    The one exception: a hand that a motion brings to the hip does not start there (an arm on the hip starts
    as often as otherwise, but may be the other one).
    """
    loaded = rng.uniform(0.45, 1.0) if rng.random() < 0.7 else rng.uniform(0, 0.3)
    standing = float(rng.choice([-1, 1]))
    toe_out = {
        side: float(rng.uniform(0.02, 0.24 + 0.12 * loaded * (sign != standing)))
        for side, sign in SIDES.items()
    }
    stance = Stance(
        x=float(rng.uniform(-0.018, 0.018)),
        yaw=float(np.clip(rng.normal(0, 0.2), -0.43, 0.43)),
        half_width=float(rng.uniform(0.030, 0.056)),
        ahead=float(rng.uniform(-0.018, 0.018) - 0.014 * standing * loaded),
        toe_out=toe_out,
        weight=float(loaded * standing),
        head=(float(rng.normal(0.0, 0.04)), float(rng.normal(0, 0.11)), float(rng.normal(0, 0.03))),
        stoop=float(rng.normal(0.02, 0.03)),
    )
    arms = {}
    for side in SIDES:
        bend = rng.uniform(0.955, 0.99)
        out, forward = rng.uniform(0.0, 0.13), rng.uniform(-0.06, 0.14)
        if rng.random() < 0.12:
            bend, forward = rng.uniform(0.87, 0.93), rng.uniform(0.12, 0.30)
        down = math.sqrt(bend**2 - out**2 - forward**2)
        arms[side] = ArmPosture(np.array([out, -down, forward]), 0.0, float(rng.uniform(0.7, 1.5)))
    start_on_hip = rng.random()
    asked = {s for m in motions for s in SIDES if "hip" in m and (m.startswith(s) or m.startswith("hands"))}
    if start_on_hip < 0.14:
        side = "left" if start_on_hip < 0.07 else "right"
        other = "right" if side == "left" else "left"
        for candidate in (side, other):
            if candidate not in asked:
                arms[candidate].on_hip = 1.0
                break
    return Performance(
        list(motions),
        stance,
        arms,
        rng.uniform(0, 2 * math.pi, 6),
        float(rng.uniform(0.4, 1.3)),
        float(rng.uniform(-0.12, 0.22)),
        rng.random(10),
    )


def perform(
    rng: np.random.Generator,
    person: Rigged,
    motions: list[str],
    *,
    heel: float,
    sole: float,
    sections: np.ndarray,
    num_frames: int,
    fps: float,
    amplitude: float = 1.0,
) -> Motion:
    """Let a person move.

    Args:
        rng: what stance and timing are drawn from.
        person: whose rig.
        motions: one label of `wordings.MOTIONS`, or two in their order.
        heel: how far the shoe's heel is above the ball of the foot, in dm.
        sole: of the shoe under the ball of the foot, in dm.
        sections: (n, 3) rest height, half width and half depth of the dressed trunk and skirt in dm, heights
            rising, which the hands keep out of.
        num_frames: of the clip, at least 1; the whole motion is in them.
        fps: frames a second.
        amplitude: scales how far the motion reaches; the first frame does not depend on it.
    """
    performance = sample_performance(rng, motions)
    measures = measure(person)
    pitch = foot_pitch(measures, heel)
    ball = measures.ball("left") - measures.head("foot.L")
    foot_reach = math.hypot(ball[0], ball[2]) * math.cos(pitch) + ball[1] * math.sin(pitch)
    times = np.arange(num_frames) / fps
    choreography = Choreography(performance, measures, times, amplitude)
    spans = spread_motions(performance, max(times[-1], 1e-3))
    for i, (motion, (start, end)) in enumerate(zip(performance.motions, spans, strict=True)):
        choreography.add(motion, start, end, i == len(spans) - 1, float(performance.moments[5 + i]))
    controls = choreography.controls(foot_reach)
    rotations, root = pose(measures, controls, pitch, sole, sections)
    transforms = np.stack(
        [bone_transforms(person.heads, r, at) for r, at in zip(rotations, root, strict=True)]
    )
    chest = controls.yaw + controls.spine[:, 1]
    return Motion(
        motions=list(motions),
        rotations=rotations,
        root=root,
        transforms=transforms,
        pelvis_yaw=controls.yaw,
        chest_yaw=chest,
        head_yaw=chest + controls.neck[:, 1],
        planted={side: controls.feet[side].planted for side in SIDES},
    )
