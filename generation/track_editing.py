"""A track of skeletons changed by hand: joints moved, the motion mirrored, slowed, hastened, looped; undone.

Everything happens in the image plane. Limbs keep the length that they have in a frame: what moves is turned
about the joint that it hangs on, and a hand or foot bends elbow or knee (two-bone inverse kinematics).
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffusion.motion import body_frame
from models.text_to_poses import PARENTS as BODY_PARENTS
from utils.errors import UserError
from utils.files import write_json
from utils.pose_drawing import JOINT, JOINT_NAMES, MIRRORED, NUM_JOINTS

NECK = JOINT["neck"]
PARENTS = BODY_PARENTS | {"right_ear": "right_eye", "left_ear": "left_eye"}
PARENT_INDICES = [JOINT[PARENTS.get(name, name)] for name in JOINT_NAMES]
"""Joint -> the joint that it hangs on, along drawn limbs; the neck is its own."""
ENDS = tuple(JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("wrist", "ankle"))
"""What bends the joint that it hangs on."""
ORDER = [NECK, *(JOINT[name] for name in PARENTS)]
"""All joints, each after the one that it hangs on."""
DEFAULT_REACH = 6
SPEED_STEP = 1.25
FEWEST_FRAMES, MOST_FRAMES = 4, 2880
EASE_FRAMES = 6
"""In which a mirrored track leaves the first pose."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditedTrack:
    """Joints (F, 18, 3) x px, y px, visibility of a canvas, and the frames that were edited by hand."""

    joints: np.ndarray
    height: int
    width: int
    fps: float
    keys: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.joints)


def move_joint(
    track: EditedTrack,
    frame: int,
    joint: int,
    place: tuple[float, float],
    *,
    reach: int = DEFAULT_REACH,
    keep_lengths: bool = True,
) -> EditedTrack:
    """Move a joint of one frame; frames on either side follow less and less.

    The neck takes the whole body along. A wrist or an ankle bends its elbow or knee. Any other joint turns
    about the one that it hangs on, and takes along what hangs on it.

    Args:
        track: is not changed.
        frame: number of the key frame; not 0, which is the photo's.
        joint: number of the joint, which is seen in that frame.
        place: x, y in pixels to move it to.
        reach: frames on either side that follow, up to the next frame that was edited before.
        keep_lengths: limbs keep their lengths, so that the joint gets as near to the place as they let it. If
            not, it goes there, and nothing else moves.

    Raises:
        UserError: no such frame or joint, frame 0, a joint that is not seen, or a place far outside.
    """
    _check_move(track, frame, joint, place, reach)
    goal = np.array(place, np.float64)
    joints = track.joints.astype(np.float64)
    weights = _falloff(len(track), frame, reach, track.keys)
    if not keep_lengths or joint == NECK:
        moved = range(NUM_JOINTS) if joint == NECK and keep_lengths else (joint,)
        shift = weights[:, None] * (goal - joints[frame, joint, :2])
        for each in moved:
            joints[:, each, :2] += shift
    else:
        turns = _turns(joints[frame], joint, goal)
        for index in np.flatnonzero(weights):
            joints[index] = _turned(joints[index], {each: weights[index] * turns[each] for each in turns})
    return dataclasses.replace(track, joints=joints.astype(np.float32), keys=track.keys | {frame})


def _check_move(track: EditedTrack, frame: int, joint: int, place: tuple[float, float], reach: int) -> None:
    if not 0 <= frame < len(track) or not 0 <= joint < NUM_JOINTS:
        raise UserError(
            f"there is no joint {joint} in frame {frame}; the track has frames 0 to {len(track) - 1} of "
            f"{NUM_JOINTS} joints"
        )
    if frame == 0:
        raise UserError("frame 0 is the photo's own pose and stays; move joints from frame 1 on")
    if track.joints[frame, joint, 2] <= 0:
        raise UserError(f"the {JOINT_NAMES[joint].replace('_', ' ')} is not seen in frame {frame}")
    if reach < 0:
        raise UserError(f"a reach of {reach} frames is impossible; give at least 0")
    size = max(track.height, track.width)
    if not all(math.isfinite(v) and -size <= v <= 2 * size for v in place):
        raise UserError(f"{place} is far outside the picture of {track.width} x {track.height} pixels")


def _falloff(count: int, frame: int, reach: int, keys: frozenset[int]) -> np.ndarray:
    """How much of a frame's change (count,) each frame gets: 1 there, falling to 0 at the keys around it."""
    before = max([frame - reach - 1, 0, *(key for key in keys if key < frame)])
    after = min([frame + reach + 1, *(key for key in keys if key > frame)])
    distance = np.arange(count) - frame
    span = np.where(distance < 0, frame - before, after - frame)
    share = np.clip(1 - np.abs(distance) / np.maximum(span, 1), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * share)


def _turns(pose: np.ndarray, joint: int, goal: np.ndarray) -> dict[int, float]:
    """By which angle which bones of a pose (18, 3) turn, in radians, to bring a joint nearest to a place."""
    places = pose[:, :2]
    middle = PARENT_INDICES[joint]
    root = PARENT_INDICES[middle]
    if joint not in ENDS or pose[middle, 2] <= 0 or pose[root, 2] <= 0:
        return {joint: _angle(places[joint] - places[middle], goal - places[middle])}
    upper, lower = places[middle] - places[root], places[joint] - places[middle]
    lengths = float(np.hypot(*upper)), float(np.hypot(*lower))
    way = goal - places[root]
    distance = float(np.clip(np.hypot(*way), abs(lengths[0] - lengths[1]) + 1e-6, sum(lengths)))
    cosine = (lengths[0] ** 2 + distance**2 - lengths[1] ** 2) / max(2 * lengths[0] * distance, 1e-9)
    bend = math.acos(min(1.0, max(-1.0, cosine)))
    side = 1.0 if upper[0] * lower[1] - upper[1] * lower[0] >= 0 else -1.0
    direction = math.atan2(way[1], way[0]) - side * bend
    new_upper = lengths[0] * np.array([math.cos(direction), math.sin(direction)])
    new_lower = distance * way / max(float(np.hypot(*way)), 1e-9) - new_upper
    return {middle: _angle(upper, new_upper), joint: _angle(lower, new_lower)}


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    """From one direction (2,) to another in radians, between -pi and pi."""
    turn = math.atan2(other[1], other[0]) - math.atan2(one[1], one[0])
    return math.remainder(turn, math.tau)


def _turned(pose: np.ndarray, turns: dict[int, float]) -> np.ndarray:
    """A pose (18, 3) whose bones to some joints were turned; what hangs on them moves along.

    Bones of joints that are not seen are left as they are: their places say nothing.
    """
    result = pose.copy()
    for joint in ORDER[1:]:
        parent = PARENT_INDICES[joint]
        bone = pose[joint, :2] - pose[parent, :2]
        if joint in turns and min(pose[joint, 2], pose[parent, 2]) > 0:
            sine, cosine = math.sin(turns[joint]), math.cos(turns[joint])
            bone = np.array([cosine * bone[0] - sine * bone[1], sine * bone[0] + cosine * bone[1]])
        result[joint, :2] = result[parent, :2] + bone
    return result


def mirror(track: EditedTrack) -> EditedTrack:
    """The motion to the other side, about the middle of her hips in frame 0; frame 0 stays the photo's pose.

    Raises:
        UserError: neck or hips are not seen in frame 0.
    """
    axis = body_frame(track.joints[0])[0][0]
    joints = track.joints[:, MIRRORED].astype(np.float32)
    joints[..., 0] = 2 * axis - joints[..., 0]
    both = (joints[0, :, 2] > 0) & (track.joints[0, :, 2] > 0)
    offset = np.where(both[:, None], track.joints[0, :, :2] - joints[0, :, :2], 0)
    weights = _falloff(len(track), 0, EASE_FRAMES, frozenset())
    joints[..., :2] += weights[:, None, None] * offset
    joints[0] = track.joints[0]
    return dataclasses.replace(track, joints=joints.astype(np.float32))


def change_speed(track: EditedTrack, factor: float) -> EditedTrack:
    """The same motion `factor` times as fast, at the same frame rate.

    Raises:
        UserError: the track would have fewer than 4 frames, or more than 2880.
    """
    if not math.isfinite(factor) or factor <= 0:
        raise UserError(f"a speed of {factor} is impossible; 1 is the present one")
    count = round((len(track) - 1) / factor) + 1
    if not FEWEST_FRAMES <= count <= MOST_FRAMES:
        raise UserError(f"the track would have {count} frames; it needs {FEWEST_FRAMES} to {MOST_FRAMES}")
    wanted = np.linspace(0, len(track) - 1, count)
    before = np.floor(wanted).astype(int)
    after = np.minimum(before + 1, len(track) - 1)
    share = (wanted - before)[:, None, None]
    one, other = track.joints[before], track.joints[after]
    both = (one[..., 2:] > 0) & (other[..., 2:] > 0)
    nearest = np.where(share < 0.5, one, other)
    joints = np.where(both, (1 - share) * one + share * other, nearest).astype(np.float32)
    return dataclasses.replace(track, joints=joints, keys=frozenset())


def loop(track: EditedTrack) -> EditedTrack:
    """There and back: the motion, then the same backwards, so that it can be repeated without a jump.

    Raises:
        UserError: the track would have more than 2880 frames.
    """
    if 2 * len(track) - 2 > MOST_FRAMES:
        raise UserError(
            f"the loop would have {2 * len(track) - 2} frames; at most {MOST_FRAMES} are possible"
        )
    return dataclasses.replace(track, joints=np.concatenate([track.joints, track.joints[-2:0:-1]]))


class TrackEditor:
    """A track that is edited, and what it was before.

    Attributes:
        track: as it is now.
    """

    def __init__(self, track: EditedTrack) -> None:
        self.track = track
        self._earlier: list[EditedTrack] = []

    @property
    def is_edited(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._earlier)

    def apply(self, change: Callable[..., EditedTrack], *values: object, **settings: object) -> EditedTrack:
        """Change the track with one of the functions of this module, which may refuse (UserError)."""
        changed = change(self.track, *values, **settings)
        self._earlier.append(self.track)
        self.track = changed
        return changed

    def undo(self) -> EditedTrack:
        """Take the last change back.

        Raises:
            UserError: nothing was changed.
        """
        if not self._earlier:
            raise UserError("there is nothing to undo: the track is as it was made")
        self.track = self._earlier.pop()
        return self.track


def save_track(path: str | Path, track: EditedTrack) -> None:
    """Write a track as JSON, which inference.py takes as --poses; edited frames are not remembered."""
    keypoints = track.joints.astype(float).round(4).tolist()
    size = {"height": track.height, "width": track.width, "fps": track.fps}
    write_json(path, size | {"keypoints": keypoints})
