"""Motions: how somebody stands, and what she does next.

The stance (place, direction, feet, weight, arms) is drawn without knowing the motion, and every motion sets
out from it at rest; so the first frame says nothing about what follows. Left and right are the person's own.
"""

import dataclasses
import math

import numpy as np

from data.synthetic.posing import Controls, Measures, Rigged, foot_pitch, measure, pose
from data.synthetic.rig import bone_transforms
from data.synthetic.skeleton import (
    SIDES,
    FootTrack,
    RootMove,
    Stand,
    directions,
    foot_tracks,
    root_track,
    smoothstep,
    step_times,
)

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
LONGEST_S = (3.2, 5.6)
"""One motion takes at most so long, two together; in what is left of a clip the person stands."""
WEIGHT_SHIFT, WEIGHT_ROLL = 0.024, 0.095
"""How far the pelvis goes over the standing foot, in statures, and how far it drops on the other side."""
RAISED_POLE = np.array([1.0, -0.25, -0.15])
HIP_POLE = np.array([1.0, 0.0, -0.75])
HANGING_POLE = np.array([0.42, 0.0, -1.0])


@dataclasses.dataclass(frozen=True)
class Stance:
    """How somebody stands before anything happens; lengths in statures, angles in radians."""

    x: float
    yaw: float
    half_width: float
    ahead: float
    """How far the left foot is ahead of the middle, and the right one behind."""
    toe_out: dict[str, float]
    weight: float
    """From -1, all on the right leg, to 1."""
    head: tuple[float, float, float]
    """The head's nod, turn and tilt."""
    stoop: float
    """How far the back is bent forward."""


@dataclasses.dataclass
class ArmPosture:
    """An arm at rest: the wrist from the shoulder (outward, up, forward) in arm lengths; on the hip (0, 1)?"""

    wrist: np.ndarray
    on_hip: float
    curl: float


@dataclasses.dataclass(frozen=True)
class Performance:
    """Everything random about what a person does, before it becomes rotations.

    Attributes:
        motions: one label, or two in their order.
        stance: how it begins.
        arms: side -> the arm at rest.
        phase: (6,) angles of what sways.
        idle: how much a standing body moves by itself, about 1.
        gaze: how much the head stays with the viewer in turns (positive) or runs ahead (negative).
        moments: (10,) uniform numbers that vary the timing and size of the motion.
    """

    motions: list[str]
    stance: Stance
    arms: dict[str, ArmPosture]
    phase: np.ndarray
    idle: float
    gaze: float
    moments: np.ndarray


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


def _spans(performance: Performance, duration: float) -> list[tuple[float, float]]:
    """When each motion begins and ends, in seconds."""
    m, count = performance.moments, len(performance.motions)
    length = min(duration, LONGEST_S[count - 1])
    start, end = (0.02 + 0.08 * m[0]) * length, (0.98 - 0.10 * m[1]) * length
    if count == 1:
        return [(start, end)]
    middle = (0.47 + 0.06 * m[2]) * length
    return [(start, middle - 0.01 * length), (middle + 0.01 * length, end)]


class _Choreography:
    """Collects what several motions ask of one set of controls; lengths in dm, times in seconds."""

    def __init__(self, performance: Performance, measures: Measures, times: np.ndarray, amplitude: float):
        self.performance, self.measures = performance, measures
        self.times, self.amplitude = times, amplitude
        self.moves: list[RootMove] = []
        self.weight_keys: list[tuple[float, float]] = [(0.0, performance.stance.weight)]
        self.raised = {s: np.zeros(len(times)) for s in SIDES}
        self.on_hip = {s: np.full(len(times), performance.arms[s].on_hip) for s in SIDES}
        self.yaw = performance.stance.yaw

    def ease(self, start: float, end: float) -> np.ndarray:
        """From 0 to 1 between two times."""
        return smoothstep((self.times - start) / (end - start))

    def add(self, motion: str, start: float, end: float, last: bool, vary: float) -> None:
        """Let a motion happen between two times; `vary` in 0..1 sizes it; nothing follows the `last` one."""
        size = self.amplitude * (0.8 + 0.2 * vary) * self.measures.stature
        left = motion.startswith("left") or "_left" in motion
        side = "left" if left else "right"
        length = end - start
        alone = len(self.performance.motions) == 1
        if motion == "stand_sway":
            self.sway(start, end, vary)
        elif motion == "walk_forward":
            first = "left" if self.performance.stance.weight < 0 else "right"
            steps = 4 if alone else 3
            distance = 0.47 * size * (1 if alone else 0.75)
            aside = 0.25 * distance * math.sin(self.yaw)
            self.moves.append(RootMove(start, end, aside, distance, 0.0, steps, first))
        elif motion.startswith("step"):
            distance = 0.145 * size * SIDES[side]
            dx, dz = distance * math.cos(self.yaw), -distance * math.sin(self.yaw)
            done = start + length * (0.6 + 0.35 * vary) if alone else end
            self.moves.append(RootMove(start, done, dx, dz, 0.0, 2, side))
        elif motion == "turn_around":
            first = side = "left" if self.performance.phase[1] < math.pi else "right"
            turn = SIDES[side] * math.pi - 0.6 * self.yaw
            done = start + length * (0.78 + 0.22 * vary) if alone else end
            steps = 5 if alone and done - start > 1.3 else 4
            self.moves.append(RootMove(start, done, 0.0, 0.0, turn, steps, first))
            self.yaw += turn
        elif motion.startswith("turn"):
            turn = SIDES[side] * math.radians(54 + 38 * vary)
            half = start + 0.48 * length
            other = "right" if left else "left"
            self.moves.append(RootMove(start, half, 0.0, 0.0, turn, 2, side))
            self.moves.append(RootMove(start + 0.52 * length, end, 0.0, 0.0, -turn, 2, other))
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

    def sway(self, start: float, end: float, vary: float) -> None:
        """Shift the weight from leg to leg."""
        halves = max(2, round((end - start) / (0.75 + 0.3 * vary)))
        now = self.performance.stance.weight
        direction = -math.copysign(1.0, now)
        self.weight_keys.append((start, now))
        for i in range(1, halves + 1):
            reach = direction * (0.75 + 0.25 * vary) * self.amplitude if i < halves else 0.6 * direction
            self.weight_keys.append((start + i * (end - start) / halves, reach))
            direction = -direction

    def weight(self) -> np.ndarray:
        """(F,) -1 over the right foot to 1 over the left: always over the one that stands."""
        keys = list(self.weight_keys)
        steps = step_times(self.moves)
        for begin, end, side in steps:
            settled = keys[-1][0]
            keys.append((max(settled, begin - 0.5 * (end - begin)), keys[-1][1]))
            keys.append((begin + 0.35 * (end - begin), -0.8 * SIDES[side]))
        if steps:
            _, end, side = steps[-1]
            final = (0.35 + 0.6 * self.performance.moments[3]) * SIDES[side]
            keys.append((end + 0.35, final))
        weight = np.full(len(self.times), keys[0][1])
        for (t0, w0), (t1, w1) in zip(keys, keys[1:], strict=False):
            if t1 > t0:
                weight += (w1 - w0) * smoothstep((self.times - t0) / (t1 - t0))
        return weight

    def arms(self, stride: np.ndarray, turning: np.ndarray) -> tuple[dict, dict]:
        """(wrists, poles), side -> (F, 3); arms swing against the legs and trail in turns."""
        performance, times = self.performance, self.times
        breath = 0.012 * np.sin(2 * math.pi * times / 3.4 + performance.phase[3]) * self.begun
        wrists, poles = {}, {}
        for side, sign in SIDES.items():
            arm, up = performance.arms[side], self.raised[side][:, None]
            high_out = 0.33 + 0.18 * performance.moments[3]
            high = np.array([high_out, (0.94 - 0.2 * performance.moments[4]) * math.cos(high_out), 0.10]) * (
                0.55 + 0.45 * self.amplitude
            )
            passing = np.array([0.30 * self.amplitude, 0.0, 0.45])
            wrist = arm.wrist + up * (high - arm.wrist) + np.sin(math.pi * up) * passing
            swing = np.clip(-sign * 1.5 * stride, -0.34, 0.34) - np.clip(sign * 0.035 * turning, -0.12, 0.12)
            swing = swing * (1 - self.raised[side])
            wrist[:, 2] += breath + swing
            wrist[:, 1] += 0.35 * np.abs(swing) * (1 - self.raised[side])
            wrists[side] = wrist
            pole = HANGING_POLE + smoothstep(1.6 * up) * (RAISED_POLE - HANGING_POLE)
            poles[side] = pole + smoothstep(2 * self.on_hip[side][:, None]) * (HIP_POLE - pole)
        return wrists, poles

    def controls(self, foot_reach: float) -> Controls:
        """All of it, for a foot that reaches so far from the ankle to the ball along the floor."""
        performance, times, stature = self.performance, self.times, self.measures.stature
        stance, phase = performance.stance, performance.phase
        stand = Stand(
            stance.x * stature,
            stance.yaw,
            stance.half_width * stature,
            {
                side: sign * stance.ahead * stature + 0.12 - 0.3 * (1.15 - foot_reach)
                for side, sign in SIDES.items()
            },
            stance.toe_out,
            foot_reach,
        )
        self.begun = smoothstep(times / 0.8)
        root = root_track(stand, self.moves, times)
        ahead, behind = (root_track(stand, self.moves, times + lead)[:, 2] for lead in (0.12, -0.05))
        feet = foot_tracks(stand, self.moves, times)
        idle = performance.idle * self.begun
        weight = self.weight() + 0.10 * idle * np.sin(2 * math.pi * times / 2.9 + phase[2])
        stride = self.stride(feet, root[:, 2]) / stature
        yaw = root[:, 2] - 0.45 * stride
        left, _ = directions(root[:, 2])
        place = root[:, :2] + (WEIGHT_SHIFT * stature * weight)[:, None] * left[:, [0, 2]]
        turning = (ahead - behind) / 0.17
        roll = WEIGHT_ROLL * weight
        lead = np.clip(0.5 * (ahead - root[:, 2]), -0.3, 0.3)
        twist = 1.15 * 0.45 * stride + lead + 0.02 * idle * np.sin(2 * math.pi * times / 4.1 + phase[4])
        breath = 0.008 * self.begun * np.sin(2 * math.pi * times / 3.4 + phase[3])
        side_bend = -1.4 * roll + 0.05 * (self.raised["right"] - self.raised["left"])
        spine = np.stack([stance.stoop + breath + 0 * roll, twist, side_bend], -1)
        from_viewer = (root[:, 2] + math.pi) % (2 * math.pi) - math.pi
        held = performance.gaze * from_viewer * smoothstep((2.4 - np.abs(from_viewer)) / 1.0) * self.begun
        neck = np.stack(
            [
                stance.head[0] - 0.8 * stance.stoop + 0.02 * idle * np.sin(2 * math.pi * times / 3.7 + phase[5]),
                stance.head[1] * (1 - 0.5 * self.begun) + lead - held
                + 0.05 * idle * np.sin(2 * math.pi * times / 4.7 + phase[0]),
                stance.head[2] - 0.75 * (roll + side_bend),
            ],
            -1,
        )  # fmt: skip
        wrists, poles = self.arms(stride - stride[0], turning)
        return Controls(
            place=place,
            yaw=yaw,
            roll=roll,
            tilt=np.full(len(times), 0.02),
            spine=spine,
            neck=neck,
            feet=feet,
            wrists=wrists,
            poles=poles,
            on_hip=self.on_hip,
            raised=self.raised,
            curl={side: performance.arms[side].curl for side in SIDES},
        )

    def stride(self, feet: dict[str, FootTrack], yaw: np.ndarray) -> np.ndarray:
        """How far the left foot is ahead of the right one, (F,)."""
        _, front = directions(yaw)
        return np.sum((feet["left"].place - feet["right"].place) * front[:, [0, 2]], -1)


def perform(
    performance: Performance,
    person: Rigged,
    heel: float,
    sole: float,
    sections: np.ndarray,
    num_frames: int,
    fps: float,
    amplitude: float = 1.0,
) -> Motion:
    """Turn a performance into a moving skeleton.

    Args:
        performance: who does what.
        person: whose rig.
        heel: how far the shoe's heel is above the ball of the foot, in dm.
        sole: of the shoe under the ball of the foot, in dm.
        sections: (n, 3) rest height, half width and half depth of the dressed trunk and skirt in dm, heights
            rising, which the hands keep out of.
        num_frames: of the clip, at least 1; the whole motion is in them.
        fps: frames a second.
        amplitude: scales how far the motion reaches; the first frame does not depend on it.
    """
    measures = measure(person)
    pitch = foot_pitch(measures, heel)
    ball = measures.ball("left") - measures.head("foot.L")
    foot_reach = math.hypot(ball[0], ball[2]) * math.cos(pitch) + ball[1] * math.sin(pitch)
    times = np.arange(num_frames) / fps
    choreography = _Choreography(performance, measures, times, amplitude)
    spans = _spans(performance, max(times[-1], 1e-3))
    for i, (motion, (start, end)) in enumerate(zip(performance.motions, spans, strict=True)):
        choreography.add(motion, start, end, i == len(spans) - 1, float(performance.moments[5 + i]))
    controls = choreography.controls(foot_reach)
    rotations, root = pose(measures, controls, pitch, sole, sections)
    transforms = np.stack(
        [bone_transforms(person.heads, r, at) for r, at in zip(rotations, root, strict=True)]
    )
    chest = controls.yaw + controls.spine[:, 1]
    return Motion(
        performance.motions,
        rotations,
        root,
        transforms,
        controls.yaw,
        chest,
        chest + controls.neck[:, 1],
        {side: controls.feet[side].planted for side in SIDES},
    )
