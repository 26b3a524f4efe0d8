"""What a motion asks of the body: steps, weight, trunk, head and arms over time."""

import dataclasses
import math

import numpy as np

from data.synthetic.posing import Controls, Measures
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

LONGEST_S = (3.2, 5.6)
"""One motion takes at most so long, two together; in what is left of a clip the person stands."""
WEIGHT_SHIFT, WEIGHT_ROLL = 0.024, 0.095
"""How far the pelvis goes over the standing foot, in statures, and how far it drops on the other side."""
STRIDE_TWIST = 0.45
"""How far the pelvis turns with a stride, in radians a stature."""
RAISED_POLE = np.array([1.0, -0.25, -0.15])
PASSING, PASSING_POLE = np.array([0.55, -0.1, 0.95]), np.array([1.0, -0.9, -0.3])
"""Where the wrist passes on its way up, and where the elbow points then."""
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
    """An arm at rest: the wrist from the shoulder (outward, up, forward) in arm lengths, or on the hip."""

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


def spread_motions(performance: Performance, duration: float) -> list[tuple[float, float]]:
    """When each motion begins and ends, in seconds."""
    m, count = performance.moments, len(performance.motions)
    length = min(duration, LONGEST_S[count - 1])
    start, end = (0.02 + 0.08 * m[0]) * length, (0.98 - 0.10 * m[1]) * length
    if count == 1:
        return [(start, end)]
    middle = (0.47 + 0.06 * m[2]) * length
    return [(start, middle - 0.01 * length), (middle + 0.01 * length, end)]


def _through(share: np.ndarray, start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A quadratic curve (F, 3) from `start` to `end`, drawn toward `middle`; `share` (F, 1) in 0..1."""
    return (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end


class Choreography:
    """Collects what several motions ask of one set of controls; lengths in dm, times in seconds."""

    def __init__(self, performance: Performance, measures: Measures, times: np.ndarray, amplitude: float):
        self.performance, self.measures = performance, measures
        self.times, self.amplitude = times, amplitude
        self.moves: list[RootMove] = []
        self.shifts: list[tuple[float, float, float]] = []
        """From when to when the weight goes where."""
        self.raised = {s: np.zeros(len(times)) for s in SIDES}
        self.on_hip = {s: np.full(len(times), performance.arms[s].on_hip) for s in SIDES}
        self.yaw = performance.stance.yaw
        self.begun = smoothstep(times / 0.8)

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
            self.moves.append(RootMove(start, end, aside, distance, 0.0, steps, first, width=0.65))
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
            if not motion.startswith("hands"):
                self.shifts.append((start, done, SIDES[side] * (0.5 + 0.5 * vary)))

    def sway(self, start: float, end: float, vary: float) -> None:
        """Shift the weight from leg to leg."""
        halves = max(2, round((end - start) / (0.75 + 0.3 * vary)))
        direction = -math.copysign(1.0, self.performance.stance.weight)
        half = (end - start) / halves
        for i in range(halves):
            reach = (0.75 + 0.25 * vary) * self.amplitude if i < halves - 1 else 0.6
            self.shifts.append((start + i * half, start + (i + 1) * half, direction * reach))
            direction = -direction

    def weight(self) -> np.ndarray:
        """(F,) -1 over the right foot to 1 over the left: always over the one that stands."""
        shifts = list(self.shifts)
        for move in self.moves:
            for begin, end, side in step_times([move]):
                length = end - begin
                shifts.append((max(0.0, begin - 0.5 * length), begin + 0.35 * length, -0.8 * SIDES[side]))
            rest = (0.35 + 0.6 * self.performance.moments[3]) * SIDES[side]
            shifts.append((end - 0.15 * length, end + 0.35, rest))
        now = self.performance.stance.weight
        weight = np.full(len(self.times), now)
        for start, end, target in sorted(shifts):
            weight += (target - now) * self.ease(start, end)
            now = target
        return weight

    def arms(self, stride: np.ndarray, turning: np.ndarray) -> tuple[dict, dict]:
        """(wrists, poles), side -> (F, 3); arms swing against the legs and trail in turns."""
        performance = self.performance
        breath = 0.012 * np.sin(2 * math.pi * self.times / 3.4 + performance.phase[3]) * self.begun
        wrists, poles = {}, {}
        for side, sign in SIDES.items():
            arm, up = performance.arms[side], self.raised[side][:, None]
            high_out = 0.33 + 0.18 * performance.moments[3]
            high = np.array([high_out, (0.94 - 0.2 * performance.moments[4]) * math.cos(high_out), 0.10])
            # The hand rises in front and to the side of the shoulder, on an arc around it.
            high = high * (0.55 + 0.45 * self.amplitude)
            start, end = (np.linalg.norm(w) for w in (arm.wrist, high))
            arc = _through(up, arm.wrist / start, PASSING, high / end)
            length = start + up * (end - start) - 0.10 * np.sin(math.pi * up)
            wrist = arc / np.linalg.norm(arc, axis=1, keepdims=True) * length
            swing = np.clip(-sign * 1.5 * stride, -0.34, 0.34) - np.clip(sign * 0.035 * turning, -0.12, 0.12)
            swing = swing * (1 - self.raised[side])
            wrist[:, 2] += breath + swing
            wrist[:, 1] += 0.35 * np.abs(swing) * (1 - self.raised[side])
            wrists[side] = wrist
            pole = _through(up, HANGING_POLE, PASSING_POLE, RAISED_POLE)
            poles[side] = pole + smoothstep(2 * self.on_hip[side][:, None]) * (HIP_POLE - pole)
        return wrists, poles

    def controls(self, foot_reach: float) -> Controls:
        """All of it, for a foot that reaches so far from the ankle to the ball along the floor."""
        times, stature, phase = self.times, self.measures.stature, self.performance.phase
        stand = self.stand(foot_reach)
        root = root_track(stand, self.moves, times)
        ahead, behind = (root_track(stand, self.moves, times + lead)[:, 2] for lead in (0.12, -0.05))
        feet = foot_tracks(stand, self.moves, times)
        weight = self.weight() + 0.10 * self.idle(2.9, phase[2])
        stride = self.stride(feet, root[:, 2]) / stature
        left, _ = directions(root[:, 2])
        roll = WEIGHT_ROLL * weight
        lead = np.clip(0.5 * (ahead - root[:, 2]), -0.3, 0.3) * smoothstep(times / 0.25)
        turning = (ahead - behind) / 0.17 * smoothstep(times / 0.25)
        spine, neck = self.trunk(root[:, 2], roll, lead, stride)
        wrists, poles = self.arms(stride - stride[0], turning)
        return Controls(
            place=root[:, :2] + (WEIGHT_SHIFT * stature * weight)[:, None] * left[:, [0, 2]],
            yaw=root[:, 2] - STRIDE_TWIST * stride,
            roll=roll,
            tilt=np.full(len(times), 0.02),
            spine=spine,
            neck=neck,
            feet=feet,
            wrists=wrists,
            poles=poles,
            on_hip=self.on_hip,
            raised=self.raised,
            curl={s: self.performance.arms[s].curl * (1 - 0.6 * self.raised[s]) for s in SIDES},
        )

    def stand(self, foot_reach: float) -> Stand:
        """The stance in dm; raised heels bring the feet back under the weight."""
        stance, stature = self.performance.stance, self.measures.stature
        forward = 0.12 - 0.3 * (1.15 - foot_reach)
        return Stand(
            x=stance.x * stature,
            yaw=stance.yaw,
            half_width=stance.half_width * stature,
            forward={side: sign * stance.ahead * stature + forward for side, sign in SIDES.items()},
            toe_out=stance.toe_out,
            foot_reach=foot_reach,
        )

    def idle(self, period: float, phase: float) -> np.ndarray:
        """(F,) what a standing body does by itself, in about -1 to 1; none in the first frame."""
        return self.performance.idle * self.begun * np.sin(2 * math.pi * self.times / period + phase)

    def trunk(
        self, yaw: np.ndarray, roll: np.ndarray, lead: np.ndarray, stride: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(spine, neck), (F, 3) each: shoulders against hips; a head that looks along and stays upright."""
        performance, stance, phase = self.performance, self.performance.stance, self.performance.phase
        breath = 0.008 * self.begun * np.sin(2 * math.pi * self.times / 3.4 + phase[3])
        side_bend = -1.4 * roll + 0.05 * (self.raised["right"] - self.raised["left"])
        twist = 1.15 * STRIDE_TWIST * stride + lead + 0.02 * self.idle(4.1, phase[4])
        from_viewer = (yaw + math.pi) % (2 * math.pi) - math.pi
        held = performance.gaze * from_viewer * smoothstep(2.4 - np.abs(from_viewer)) * self.begun
        nod = stance.head[0] - 0.8 * stance.stoop + 0.02 * self.idle(3.7, phase[5])
        turn = stance.head[1] * (1 - 0.5 * self.begun) + lead - held + 0.05 * self.idle(4.7, phase[0])
        tilt = stance.head[2] - 0.75 * (roll + side_bend)
        return np.stack([stance.stoop + breath, twist, side_bend], -1), np.stack([nod, turn, tilt], -1)

    def stride(self, feet: dict[str, FootTrack], yaw: np.ndarray) -> np.ndarray:
        """How far the left foot is ahead of the right one, (F,)."""
        _, front = directions(yaw)
        return np.sum((feet["left"].place - feet["right"].place) * front[:, [0, 2]], -1)
