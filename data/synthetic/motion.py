"""Motions: how somebody stands, and what she does next.

The stance (place, direction, feet, arms) is drawn without knowing the motion, and every motion sets out from
it at rest; so the first frame says nothing about what follows. Left and right are the person's own.
"""

import dataclasses
import math

import numpy as np

from data.synthetic.body import Body
from data.synthetic.skeleton import SIDES, Controls, RootMove, Skeleton, Stance, pose_skeleton, smoothstep

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
RAISED_POLE = np.array([1.0, -0.25, -0.15])
HIP_POLE = np.array([1.0, 0.0, -0.6])
HANGING_POLE = np.array([0.3, 0.0, -1.0])


@dataclasses.dataclass
class ArmPosture:
    """An arm at rest: the wrist from the shoulder (outward, up, forward); is the hand on the hip (0 or 1)."""

    wrist: np.ndarray
    on_hip: float


@dataclasses.dataclass
class Performance:
    """Everything random about what a person does, before it becomes joints."""

    motions: list[str]
    stance: Stance
    arms: dict[str, ArmPosture]
    phase: np.ndarray
    idle: float
    moments: np.ndarray
    """(6,) uniform numbers that vary the timing and size of the motion."""


def sample_motions(rng: np.random.Generator) -> list[str]:
    """Draw one motion, or a sequence of two that go together."""
    names = list(SINGLE_CHANCES)
    chances = np.array(list(SINGLE_CHANCES.values()))
    chances /= chances.sum()
    if rng.random() >= SEQUENCE_CHANCE:
        return [str(rng.choice(names, p=chances))]
    while True:
        first, second = (str(m) for m in rng.choice(names, size=2, p=chances))
        if first == second or "stand_sway" in (first, second):
            continue
        if first == "turn_around" and (second == "walk_forward" or second.startswith("turn")):
            continue
        if "hip" in first and "hip" in second:
            continue
        return [first, second]


def sample_performance(rng: np.random.Generator, body: Body, motions: list[str]) -> Performance:
    """Draw a stance, independent of `motions`, and the numbers that vary the motion.

    The one exception: a hand that a motion brings to the hip does not start there (an arm on the hip starts
    as often as otherwise, but may be the other one).
    """
    stance = Stance(
        x=float(rng.uniform(-0.018, 0.018)),
        yaw=float(np.clip(rng.normal(0, 0.2), -0.43, 0.43)),
        half_width=float(rng.uniform(0.036, 0.060)),
        forward={"left": 0.0, "right": 0.0},
        toe_out={side: float(rng.uniform(0.05, 0.3)) for side in SIDES},
        weight=float(rng.uniform(-0.014, 0.014)),
        head_yaw=float(rng.normal(0, 0.1)),
    )
    ahead = float(rng.uniform(-0.035, 0.035))
    stance.forward = {"left": ahead, "right": -ahead}
    reach = body.upper_arm + body.forearm
    arms = {}
    for side in SIDES:
        bend = rng.uniform(0.95, 0.99)
        out, forward = rng.uniform(0.02, 0.07), rng.uniform(-0.005, 0.05)
        if rng.random() < 0.12:
            bend, forward = rng.uniform(0.87, 0.92), rng.uniform(0.05, 0.10)
        down = math.sqrt((bend * reach) ** 2 - out**2 - forward**2)
        arms[side] = ArmPosture(np.array([out, -down, forward]), 0.0)
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
        motions, stance, arms, rng.uniform(0, 2 * math.pi, 4), float(rng.uniform(0.002, 0.005)), rng.random(8)
    )


def _spans(performance: Performance) -> list[tuple[float, float]]:
    """When each motion begins and ends, as fractions of the clip."""
    m = performance.moments
    start, end = 0.02 + 0.08 * m[0], 0.98 - 0.10 * m[1]
    if len(performance.motions) == 1:
        return [(start, end)]
    middle = 0.47 + 0.06 * m[2]
    return [(start, middle - 0.01), (middle + 0.01, end)]


class _Choreography:
    """Collects what several motions ask of one set of controls."""

    def __init__(self, performance: Performance, num_frames: int, amplitude: float):
        self.performance, self.amplitude = performance, amplitude
        self.times = np.linspace(0, 1, num_frames)
        self.moves: list[RootMove] = []
        self.sway = np.zeros(num_frames)
        self.raised = {s: np.zeros(num_frames) for s in SIDES}
        self.on_hip = {s: np.full(num_frames, performance.arms[s].on_hip) for s in SIDES}
        self.yaw = performance.stance.yaw

    def ease(self, start: float, end: float) -> np.ndarray:
        return smoothstep((self.times - start) / (end - start))

    def add(self, motion: str, start: float, end: float, last: bool, vary: float) -> None:
        """Let a motion happen between two times; `vary` in 0..1 sizes it; nothing follows the `last` one."""
        size = self.amplitude * (0.8 + 0.2 * vary)
        left = motion.startswith("left") or "_left" in motion
        side = "left" if left else "right"
        sign = SIDES[side]
        length = end - start
        if motion == "stand_sway":
            envelope = self.ease(start, start + 0.2) * (1 - self.ease(end - 0.2, end))
            cycles = 1.5 + vary
            direction = 1.0 if self.performance.phase[0] < math.pi else -1.0
            self.sway += (
                direction
                * envelope
                * 0.034
                * size
                * np.sin(2 * math.pi * cycles * (self.times - start) / length)
            )
        elif motion == "walk_forward":
            first = "left" if self.performance.phase[0] < math.pi else "right"
            steps = 4 if length > 0.6 else 3
            distance = 0.58 * size * (1 if length > 0.6 else 0.75)
            self.moves.append(
                RootMove(start, end, 0.25 * distance * math.sin(self.yaw), distance, 0.0, steps, first)
            )
        elif motion.startswith("step"):
            distance = 0.145 * size * sign
            dx, dz = distance * math.cos(self.yaw), -distance * math.sin(self.yaw)
            done = end if length < 0.6 else start + length * (0.6 + 0.35 * vary)
            self.moves.append(RootMove(start, done, dx, dz, 0.0, 2, side))
        elif motion == "turn_around":
            first = side = "left" if self.performance.phase[1] < math.pi else "right"
            turn = SIDES[side] * math.pi - 0.6 * self.yaw
            done = end if length < 0.6 else start + length * (0.65 + 0.3 * vary)
            self.moves.append(RootMove(start, done, 0.0, 0.0, turn, 4, first))
            self.yaw += turn
        elif motion.startswith("turn"):
            turn = sign * math.radians(60 + 40 * vary)
            half = start + 0.46 * length
            other = "right" if left else "left"
            self.moves.append(RootMove(start, half, 0.0, 0.0, turn, 2, side))
            self.moves.append(RootMove(start + 0.54 * length, end, 0.0, 0.0, -turn, 2, other))
        elif motion.startswith("raise"):
            hold = last and vary < 0.5
            up_by = start + (0.75 if hold else 0.45) * length
            up = self.ease(start, up_by)
            if not hold:
                up = up * (1 - self.ease(end - 0.4 * length, end))
            self.raised[side] = np.maximum(self.raised[side], up)
            self.on_hip[side] = self.on_hip[side] * (1 - self.ease(start, start + 0.4 * length))
        else:
            done = start + (0.55 + 0.4 * vary) * length
            for s in SIDES if motion.startswith("hands") else (side,):
                self.on_hip[s] = np.maximum(self.on_hip[s], self.ease(start, done))

    def controls(self, body: Body) -> Controls:
        performance, times = self.performance, self.times
        stance, phase = performance.stance, performance.phase
        begun = self.ease(0.0, 0.35)
        idle = performance.idle * begun * np.sin(2 * math.pi * times + phase[2])
        turned = np.concatenate([[0.0], np.cumsum([abs(m.dyaw) for m in self.moves])])[-1]
        weight = stance.weight * (1 - self.ease(0.0, 0.3) * (turned > 0))
        wrists, poles = {}, {}
        for side in SIDES:
            arm, up = performance.arms[side], self.raised[side][:, None]
            vary = performance.moments[3]
            reach = body.upper_arm + body.forearm
            out = 0.10 + 0.055 * vary
            high = np.array(
                [out, (0.94 - 0.2 * performance.moments[4]) * reach * math.cos(out / reach), 0.03]
            )
            high = high * (0.55 + 0.45 * self.amplitude)
            passing = np.array([0.09 * self.amplitude, 0.0, 0.15])
            breath = 0.004 * begun * np.sin(2 * math.pi * times + phase[3])
            wrist = arm.wrist + up * (high - arm.wrist) + np.sin(math.pi * up) * passing
            wrist[:, 2] += breath
            wrists[side] = wrist
            rest = self.on_hip[side][:, None]
            pole = HANGING_POLE + smoothstep(1.6 * up) * (RAISED_POLE - HANGING_POLE)
            poles[side] = pole + smoothstep(2 * rest) * (HIP_POLE - pole)
        return Controls(
            times=times,
            moves=self.moves,
            hip_shift=weight + self.sway + idle,
            chest_yaw=1.2 * self.sway + 3 * idle,
            lean=-0.5 * self.sway,
            head_yaw=stance.head_yaw * (1 - 0.7 * begun) + 1.5 * self.sway + 4 * idle,
            head_tilt=-0.25 * self.sway + 0.3 * idle,
            wrists=wrists,
            elbow_poles=poles,
            hand_rest=self.on_hip,
        )


def perform(
    performance: Performance, body: Body, sections: np.ndarray, num_frames: int, amplitude: float = 1.0
) -> Skeleton:
    """Turn a performance into joints over `num_frames` frames, the whole motion in them.

    Args:
        performance: who does what.
        body: the proportions.
        sections: `garments.trunk_sections`, which the hands keep out of.
        num_frames: of the clip.
        amplitude: scales how far the motion reaches; the first frame does not depend on it.
    """
    choreography = _Choreography(performance, num_frames, amplitude)
    spans = _spans(performance)
    for i, (motion, (start, end)) in enumerate(zip(performance.motions, spans, strict=True)):
        choreography.add(motion, start, end, i == len(spans) - 1, float(performance.moments[5 + i]))
    return pose_skeleton(body, performance.stance, choreography.controls(body), sections)
