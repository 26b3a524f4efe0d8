"""From controls to joints: steps planned on the floor, arms and legs bent by two-bone inverse kinematics.

World coordinates are body heights: x to the right of the picture, y up from the floor, z toward the viewer.
At yaw 0 the person faces the viewer, so that her left is +x; a positive yaw turns her to her left. Everything
is an array over frames.
"""

import dataclasses

import numpy as np

from data.synthetic.body import Body

SIDES = {"left": 1.0, "right": -1.0}


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, and in between with no speed at either end."""
    x = np.clip(x, 0, 1)
    return x * x * x * (10 + x * (6 * x - 15))


def directions(yaw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vectors of the person's left and forward, each (F, 3)."""
    cos, sin, zero = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
    return np.stack([cos, zero, -sin], -1), np.stack([sin, zero, cos], -1)


@dataclasses.dataclass(frozen=True)
class RootMove:
    """The body goes from one place and direction to another between two times, in a number of steps.

    Times are fractions of the clip; `dx` and `dz` body heights in the world, `dyaw` radians; `first` the foot
    that starts.
    """

    start: float
    end: float
    dx: float
    dz: float
    dyaw: float
    steps: int
    first: str


@dataclasses.dataclass
class Stance:
    """How somebody stands before anything happens."""

    x: float
    yaw: float
    half_width: float
    forward: dict[str, float]
    """Each foot's offset forward."""
    toe_out: dict[str, float]
    weight: float
    """Hips shifted to the person's left."""
    head_yaw: float


@dataclasses.dataclass
class Controls:
    """What the motion asks for, (F,) or (F, 3) each; lengths in body heights, angles in radians.

    wrists: side -> the wrist relative to the shoulder as (outward, up, forward) of the chest.
    elbow_poles: side -> the direction in which the elbow bends, in the same axes.
    hand_rest: side -> 0..1, how much the hand lies on the hip.
    """

    times: np.ndarray
    moves: list[RootMove]
    hip_shift: np.ndarray
    chest_yaw: np.ndarray
    lean: np.ndarray
    head_yaw: np.ndarray
    head_tilt: np.ndarray
    wrists: dict[str, np.ndarray]
    elbow_poles: dict[str, np.ndarray]
    hand_rest: dict[str, np.ndarray]


def root_track(stance: Stance, moves: list[RootMove], times: np.ndarray) -> np.ndarray:
    """(F, 3): x, z and yaw of the body on the floor."""
    track = np.tile(np.array([stance.x, 0.0, stance.yaw]), (len(times), 1))
    for move in moves:
        s = smoothstep((times - move.start) / (move.end - move.start))
        track += s[:, None] * np.array([move.dx, move.dz, move.dyaw])
    return track


def foot_tracks(stance: Stance, moves: list[RootMove], times: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Plant the feet: each stays where it stands until its turn to step comes.

    Returns:
        side -> {"place": (F, 2) x and z, "lift": (F,), "yaw": (F,)}.
    """

    def neutral(root: np.ndarray, side: str) -> np.ndarray:
        x, z, yaw = root
        across, forward = SIDES[side] * stance.half_width, stance.forward[side]
        left, front = directions(np.array(yaw))
        place = across * left + forward * front
        return np.array([x + place[0], z + place[2], yaw + SIDES[side] * stance.toe_out[side]])

    start = root_track(stance, moves, np.zeros(1))[0]
    planted = {side: neutral(start, side) for side in SIDES}
    tracks = {side: np.tile(planted[side], (len(times), 1)) for side in SIDES}
    lifts = {side: np.zeros(len(times)) for side in SIDES}
    for move in moves:
        span = (move.end - move.start) / move.steps
        other = "right" if move.first == "left" else "left"
        for i in range(move.steps):
            side = move.first if i % 2 == 0 else other
            lift_off = move.start + i * span
            # A foot lands where the body will be in the middle of that foot's stand.
            until = move.end if i >= move.steps - 2 else lift_off + 1.5 * span
            landing = neutral(root_track(stance, moves, np.array([until]))[0], side)
            progress = (times - lift_off) / span
            moved = smoothstep(progress)[:, None]
            begun = progress > 0
            step = planted[side] + moved * (landing - planted[side])
            tracks[side] = np.where(begun[:, None], step, tracks[side])
            length = np.hypot(*(landing - planted[side])[:2]) + 0.05 * abs(landing[2] - planted[side][2])
            height = min(0.06, 0.014 + 0.2 * length)
            lifts[side] += height * np.sin(np.pi * np.clip(progress, 0, 1)) ** 2
            planted[side] = landing
    return {s: {"place": tracks[s][:, :2], "lift": lifts[s], "yaw": tracks[s][:, 2]} for s in SIDES}


def two_bones(
    start: np.ndarray, target: np.ndarray, upper: float, lower: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bend a limb of two bones so that its end reaches `target`, the middle joint toward `pole`; all (F, 3).

    Returns:
        (middle, end); the end stops short where the target is out of reach.
    """
    reach = target - start
    length = np.linalg.norm(reach, axis=-1, keepdims=True) + 1e-9
    direction = reach / length
    length = np.clip(length, abs(upper - lower) + 0.02, (upper + lower) * 0.9995)
    along = (upper**2 - lower**2 + length**2) / (2 * length)
    height = np.sqrt(np.maximum(upper**2 - along**2, 0))
    aside = pole - direction * np.sum(pole * direction, -1, keepdims=True)
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True) + 1e-9
    return start + along * direction + height * aside, start + length * direction


@dataclasses.dataclass
class Skeleton:
    """Where everything is: `points` name -> (F, 3) in the world; yaw of pelvis, chest and head, (F,)."""

    points: dict[str, np.ndarray]
    pelvis_yaw: np.ndarray
    chest_yaw: np.ndarray
    head_yaw: np.ndarray


def _half_extents(sections: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.interp(heights, sections[:, 0], sections[:, i]) for i in (1, 2))


def _keep_hand_outside(
    wrist: np.ndarray,
    drop: np.ndarray,
    yaw: np.ndarray,
    pelvis: np.ndarray,
    side: float,
    sections: np.ndarray,
) -> np.ndarray:
    """Move a hanging hand sideways until neither wrist nor fingers touch the trunk or the skirt."""
    left, front = directions(yaw)
    offset = wrist - pelvis
    across, ahead = side * np.sum(offset * left, -1), np.sum(offset * front, -1)
    push = np.zeros_like(across)
    for fraction, thickness in ((0.0, 0.020), (0.5, 0.026), (1.0, 0.020)):
        half_width, half_depth = _half_extents(sections, wrist[:, 1] - fraction * drop)
        room = 1 - (ahead / (half_depth + thickness)) ** 2
        needed = (half_width + thickness) * np.sqrt(np.maximum(room, 0))
        push = np.maximum(push, np.where(room > 0, needed - across, 0))
    below_shoulder = smoothstep((0.76 - wrist[:, 1]) / 0.06)
    return wrist + (side * push * below_shoulder)[:, None] * left


def pose_skeleton(body: Body, stance: Stance, controls: Controls, sections: np.ndarray) -> Skeleton:
    """Turn controls into joints.

    Args:
        body: the proportions.
        stance: where and how the feet begin.
        controls: the motion.
        sections: `garments.trunk_sections`, which the hands keep out of.
    """
    root = root_track(stance, controls.moves, controls.times)
    feet = foot_tracks(stance, controls.moves, controls.times)
    ahead_root = root_track(stance, controls.moves, controls.times + 0.06)
    yaw = root[:, 2]
    left, front = directions(yaw)
    up = np.array([0.0, 1.0, 0.0])
    points: dict[str, np.ndarray] = {}

    ground = np.stack([root[:, 0], np.zeros(len(root)), root[:, 1]], -1) + controls.hip_shift[:, None] * left
    hip_height = np.full(len(root), body.hip_height)
    for name, side in SIDES.items():
        foot = feet[name]
        ankle = np.stack([foot["place"][:, 0], body.ankle_height + foot["lift"], foot["place"][:, 1]], -1)
        points[f"{name}_ankle"] = ankle
        hip = ground + side * body.hip_half * left
        flat = np.linalg.norm((ankle - hip)[:, [0, 2]], axis=-1)
        reach = ankle[:, 1] + np.sqrt(np.maximum(((body.thigh + body.shin) * 0.999) ** 2 - flat**2, 0.01))
        hip_height = np.minimum(hip_height, reach)
    pelvis = ground + hip_height[:, None] * up
    points["pelvis"] = pelvis
    for name, side in SIDES.items():
        foot = feet[name]
        hip = pelvis + side * body.hip_half * left
        _, toe_front = directions(foot["yaw"])
        knee, ankle = two_bones(
            hip, points[f"{name}_ankle"], body.thigh, body.shin, front + toe_front + 0.15 * side * left
        )
        toe = ankle + 0.082 * toe_front
        toe[:, 1] = 0.014 + 0.55 * foot["lift"]
        points |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle, f"{name}_toe": toe}

    chest_yaw = yaw + controls.chest_yaw + 0.25 * (ahead_root[:, 2] - yaw)
    chest_left, chest_front = directions(chest_yaw)
    height = body.shoulder_height - body.hip_height
    neck = pelvis + height * up + controls.lean[:, None] * left - 0.7 * controls.hip_shift[:, None] * left
    head_yaw = chest_yaw + controls.head_yaw + 0.3 * (ahead_root[:, 2] - yaw)
    _, head_front = directions(head_yaw)
    chin = neck + (1 - body.head_length - body.shoulder_height) * up + 0.010 * head_front
    head = chin + 0.5 * body.head_length * up + controls.head_tilt[:, None] * chest_left
    points |= {"neck": neck, "chin": chin + 0.2 * controls.head_tilt[:, None] * chest_left, "head": head}

    stride = _stride(points, feet, front)
    for name, side in SIDES.items():
        out = side * chest_left
        shoulder = neck + body.shoulder_half * 0.93 * out - 0.006 * up
        wrist = controls.wrists[name].copy()
        rest = controls.hand_rest[name]
        swing = np.clip(-side * 0.55 * stride, -0.13, 0.13) * (1 - rest)
        swing = swing * smoothstep((-wrist[:, 1] - 0.05) / 0.15)
        wrist[:, 2] += swing
        wrist[:, 1] += 0.5 * np.abs(swing)
        hand_axes = (out, up[None], chest_front)
        target = shoulder + sum(wrist[:, i : i + 1] * axis for i, axis in enumerate(hand_axes))
        drop = 0.075 * smoothstep((-wrist[:, 1]) / 0.2)
        hanging = _keep_hand_outside(target, drop, yaw, pelvis, side, sections)
        on_hip = _hip_point(body, sections, pelvis, yaw, side)
        target = hanging + rest[:, None] * (on_hip - hanging) + _around(rest, out, chest_front)
        pole = sum(controls.elbow_poles[name][:, i : i + 1] * axis for i, axis in enumerate(hand_axes))
        elbow, wrist_point = two_bones(shoulder, target, body.upper_arm, body.forearm, pole)
        straight = wrist_point - elbow
        straight /= np.linalg.norm(straight, axis=-1, keepdims=True)
        resting = 0.80 * front - 0.42 * up - 0.30 * side * left
        hand = straight + rest[:, None] * (resting - straight)
        hand /= np.linalg.norm(hand, axis=-1, keepdims=True)
        points |= {
            f"{name}_shoulder": shoulder,
            f"{name}_elbow": elbow,
            f"{name}_wrist": wrist_point,
            f"{name}_fingers": wrist_point + 0.074 * hand,
        }
    return Skeleton(points, yaw, chest_yaw, head_yaw)


def _stride(points: dict[str, np.ndarray], feet: dict, front: np.ndarray) -> np.ndarray:
    """How much further ahead the left foot is than at the start, (F,)."""
    apart = np.sum((points["left_ankle"] - points["right_ankle"]) * front, -1)
    return apart - apart[0]


def _hip_point(
    body: Body, sections: np.ndarray, pelvis: np.ndarray, yaw: np.ndarray, side: float
) -> np.ndarray:
    """Where the wrist is when the hand rests on the hip: beside and a little behind it, on the surface."""
    left, front = directions(yaw)
    above = 0.42 * (body.waist_height - body.hip_height) + 0.012
    half_width, half_depth = _half_extents(sections, np.array([body.hip_height + above]))
    behind = 0.35
    across = (half_width + 0.020) * np.sqrt(1 - behind**2)
    back = (half_depth + 0.020) * behind
    return pelvis + above * np.array([0.0, 1.0, 0.0]) + side * across * left - back * front


def _around(rest: np.ndarray, out: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Half way to the hip the hand is further out, so that it does not pass through the skirt."""
    bulge = 4 * rest * (1 - rest)
    return bulge[:, None] * (0.035 * out + 0.02 * front)
