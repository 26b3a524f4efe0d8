"""Where the body and its feet go: steps planned on the floor, and limbs of two bones that reach a point.

World coordinates are decimetres: x to the right of the picture, y up from the floor, z toward the viewer. At
yaw 0 the person faces the viewer, so that her left is +x; a positive yaw turns her to her left. Everything is
an array over frames.
"""

import dataclasses

import numpy as np

SIDES = {"left": 1.0, "right": -1.0}
SWING_SHARE = 0.86
"""How much of a step its foot is in the air; then both feet stand."""


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, and in between with neither speed nor acceleration at either end."""
    x = np.clip(x, 0, 1)
    return x * x * x * (10 + x * (6 * x - 15))


def ease(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, and in between with no speed at either end; more even than `smoothstep`."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def directions(yaw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vectors of the person's left and forward, each (F, 3)."""
    cos, sin, zero = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
    return np.stack([cos, zero, -sin], -1), np.stack([sin, zero, cos], -1)


@dataclasses.dataclass(frozen=True)
class RootMove:
    """The body goes from one place and direction to another between two times, in a number of steps.

    Times are seconds; `dx` and `dz` dm in the world, `dyaw` radians; `first` the foot that starts.
    """

    start: float
    end: float
    dx: float
    dz: float
    dyaw: float
    steps: int
    first: str
    width: float = 1.0


@dataclasses.dataclass(frozen=True)
class Stand:
    """Where and how the feet begin; lengths in dm, angles in radians.

    Attributes:
        x: of the body's middle.
        yaw: of the body.
        half_width: from the middle to an ankle.
        forward: side -> the ankle's offset forward of the hips.
        toe_out: side -> the foot's direction, outward from the body's.
        foot_reach: from the ankle to the ball of the foot, along the floor.
    """

    x: float
    yaw: float
    half_width: float
    forward: dict[str, float]
    toe_out: dict[str, float]
    foot_reach: float


@dataclasses.dataclass(frozen=True)
class FootTrack:
    """One foot over time.

    Attributes:
        place: (F, 2) x and z of the ball of the foot.
        lift: (F,) of the ball from the floor.
        yaw: (F,) direction of the foot.
        pitch: (F,) how far the heel is raised about the ball beyond what the shoe does, in radians.
        planted: (F,) bool, whether the ball stands on the floor.
        swing: (F,) 0 on the floor, 1 in the middle of a step.
    """

    place: np.ndarray
    lift: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    planted: np.ndarray
    swing: np.ndarray


def root_track(stand: Stand, moves: list[RootMove], times: np.ndarray) -> np.ndarray:
    """(F, 3): x, z and yaw of the body on the floor."""
    track = np.tile(np.array([stand.x, 0.0, stand.yaw]), (len(times), 1))
    for move in moves:
        s = 0.5 * (
            ease((times - move.start) / (move.end - move.start))
            + smoothstep((times - move.start) / (move.end - move.start))
        )
        track += s[:, None] * np.array([move.dx, move.dz, move.dyaw])
    return track


def _neutral(stand: Stand, root: np.ndarray, side: str, width: float = 1.0) -> np.ndarray:
    """Where a foot belongs under a body at `root` (3,): x and z of its ball, and its direction."""
    x, z, yaw = root
    foot = yaw + SIDES[side] * stand.toe_out[side]
    left, front = directions(np.array(yaw))
    _, along = directions(np.array(foot))
    place = (
        SIDES[side] * width * stand.half_width * left + stand.forward[side] * front + stand.foot_reach * along
    )
    return np.array([x + place[0], z + place[2], foot])


def step_times(moves: list[RootMove]) -> list[tuple[float, float, str]]:
    """When each foot leaves the floor and comes back, and which: (seconds, seconds, side), in order."""
    steps = []
    for move in moves:
        span = (move.end - move.start) / move.steps
        other = "right" if move.first == "left" else "left"
        for i in range(move.steps):
            begin = move.start + (i + 0.5 * (1 - SWING_SHARE)) * span
            steps.append((begin, begin + SWING_SHARE * span, move.first if i % 2 == 0 else other))
    return steps


def foot_tracks(stand: Stand, moves: list[RootMove], times: np.ndarray) -> dict[str, FootTrack]:
    """Plant the feet: each stays where it stands until its turn to step comes."""
    start = root_track(stand, moves, np.zeros(1))[0]
    planted = {side: _neutral(stand, start, side) for side in SIDES}
    tracks = {side: np.tile(planted[side], (len(times), 1)) for side in SIDES}
    lifts, pitches, swings = ({side: np.zeros(len(times)) for side in SIDES} for _ in range(3))
    airborne = {side: np.zeros(len(times), bool) for side in SIDES}
    for move in moves:
        span = (move.end - move.start) / move.steps
        for i, (begin, end, side) in enumerate(step_times([move])):
            # A foot lands where the body will be in the middle of that foot's stand.
            until = move.end if i >= move.steps - 2 else begin + 1.45 * span
            landing = _neutral(stand, root_track(stand, moves, np.array([until]))[0], side, move.width)
            progress = (times - begin) / (end - begin)
            step = planted[side] + smoothstep(progress)[:, None] * (landing - planted[side])
            tracks[side] = np.where((progress > 0)[:, None], step, tracks[side])
            length = np.hypot(*(landing - planted[side])[:2])
            arc = np.sin(np.pi * np.clip(progress, 0, 1)) ** 2
            lifts[side] += min(0.42, 0.10 + 0.05 * length) * arc
            # The heel leaves first: the foot rolls over its ball and comes down nearly flat.
            early, late = max(0.0, begin - 0.35 * (end - begin)), begin + 0.15 * (end - begin)
            roll = smoothstep((times - early) / (late - early)) * (1 - smoothstep((progress - 0.2) / 0.6))
            pitches[side] += min(0.42, 0.10 + 0.06 * length) * roll
            swings[side] += arc
            airborne[side] |= (progress > 0) & (progress < 1)
            planted[side] = landing
    return {
        side: FootTrack(
            tracks[side][:, :2], lifts[side], tracks[side][:, 2], pitches[side], ~airborne[side], swings[side]
        )
        for side in SIDES
    }


def two_bones(
    start: np.ndarray, target: np.ndarray, upper: float, lower: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bend a limb of two bones so that its end reaches `target`, the middle joint toward `pole`; all (F, 3).

    Returns:
        (middle, end); the end stops short where the target is out of reach. The limb never gets quite
        straight, so that the joint cannot snap over.
    """
    reach = target - start
    length = np.linalg.norm(reach, axis=-1, keepdims=True) + 1e-9
    direction = reach / length
    length = np.clip(length, 1.05 * abs(upper - lower) + 0.15 * upper, (upper + lower) * 0.9992)
    along = (upper**2 - lower**2 + length**2) / (2 * length)
    height = np.sqrt(np.maximum(upper**2 - along**2, 0))
    aside = pole - direction * np.sum(pole * direction, -1, keepdims=True)
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True) + 1e-9
    return start + along * direction + height * aside, start + length * direction
