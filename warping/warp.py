"""Moves the pixels of one photo to where other poses would have them.

The photo is cut once into background, trunk with skirt, head, arms and legs (`warping.photo`); each part is
carried to a frame's pose along its chain of joints and laid over the others, the nearer over the farther.
Trunk and head are elliptical tubes that turn about their axis, so a turn shows the cloth that the photo has
there. Long hair hangs over a turned back. Only 2D joints are used; a plain background is assumed. Numpy and
OpenCV alone.
"""

import dataclasses

import cv2
import numpy as np

from utils.errors import UserError
from utils.pose_drawing import NUM_JOINTS
from warping.body import Body, front_width_of, head_yaw_of, read_body, with_head_like, yaw_of
from warping.chains import Chain, carry, locate
from warping.hair import Hair, hair_behind
from warping.photo import (
    HIPS,
    NECK,
    PROFILE_RANGE,
    PROFILE_STEPS,
    TROUSERS,
    CutPhoto,
    Layer,
    Tube,
    arm_names,
    cut_photo,
)

DEPTHS = (
    0.55,
    0.6,
    0.75,
    0.9,
    0.9,
)  # depth over width of the trunk above the neck, at neck, hips, knees, ankles
HEAD_DEPTHS = (1.1, 1.1, 1.0)
GRID_ROWS = 128  # maps are computed on about this many rows and enlarged
LIMB_REACH = 0.3  # torso lengths from a limb's line within which its pixels lie
FILLED_VALIDITY = 0.5  # of background that the person hid in the photo
EDGE_MARGIN = (
    0.97  # of a turned part's half width, from which colours are taken: its very edge is mixed with the rest
)
HIDDEN_VALIDITY = 0.3  # of cloth that is turned away in the photo
UNKNOWN_VALIDITY = 0.0  # where a limb is that the photo does not show


@dataclasses.dataclass(frozen=True)
class RuleWarp:
    """One photo moved to F poses, and what it was cut into.

    Attributes:
        pictures: (F, H, W, 3) uint8 RGB.
        validity: (F, H, W) float32 in 0..1: 1 where the pixel is known to be right, 0 where nothing is known.
        person: (F, H, W) float32 in 0..1, where parts of the person were laid.
        photo_person: (H, W) float32 in 0..1, where the person is in the photo.
        background: (H, W, 3) uint8 RGB, the photo without the person.
    """

    pictures: np.ndarray
    validity: np.ndarray
    person: np.ndarray
    photo_person: np.ndarray
    background: np.ndarray


def warp_to_poses(
    image: np.ndarray, source: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and the validity of `warp_by_rules`."""
    moved = warp_by_rules(image, source, targets)
    return moved.pictures, moved.validity


def warp_by_rules(image: np.ndarray, source: np.ndarray, targets: np.ndarray) -> RuleWarp:
    """Move one photo to each of several poses.

    Args:
        image: (H, W, 3) uint8 RGB, the photo.
        source: (18, 3) the photo's joints: x and y in pixels, visibility (0 or less: missing).
        targets: (F, 18, 3) the frames' joints, in pixels of the same picture size.

    Returns:
        The moved photo. A frame or a photo without a body gives the photo itself with validity 0 and without
        a person.

    Raises:
        UserError: a shape or dtype is wrong.
    """
    _check(image, source, targets)
    height, width = image.shape[:2]
    warped = np.repeat(image[None], len(targets), axis=0)
    validity, person = np.zeros((2, len(targets), height, width), np.float32)
    body = read_body(np.asarray(source, np.float64))
    if body is None:
        return RuleWarp(warped, validity, person, np.zeros((height, width), np.float32), image)
    photo = cut_photo(image, body)
    for frame, target in enumerate(targets):
        there = read_body(np.asarray(target, np.float64))
        if there is not None:
            moved = warp_frame(photo, body, with_head_like(there, body))
            warped[frame], validity[frame], person[frame] = moved
    return RuleWarp(warped, validity, person, photo.person, photo.background)


def warp_frame(photo: CutPhoto, source: Body, target: Body) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay the photo's parts into one pose: (H, W, 3) uint8, validity and person (H, W) float32."""
    height = len(photo.person)
    front_width = front_width_of(source, target)
    source_yaw, target_yaw = yaw_of(source, front_width), yaw_of(target, front_width)
    scale = source.length / target.length
    step = max(1, round(height / GRID_ROWS))
    canvas = _Canvas(photo, step)
    turned_back = np.cos(target_yaw - source_yaw) < 0
    agreement = 0.7 + 0.3 * float(np.cos(target_yaw - source_yaw))

    # The side nearer to the viewer is the right one where she faces the viewer's right.
    order = ("left", "right") if np.sin(target_yaw) >= 0 else ("right", "left")
    front = np.cos(target_yaw) > -0.2
    sideways = abs(np.sin(target_yaw)) > 0.5
    arms_behind = [
        side for i, side in enumerate(order) if (sideways and i == 0) or (not front and not sideways)
    ]

    def lay_arm(side: str) -> None:
        if target.has(*arm_names(side)):
            layer = photo.arms.get(side)
            canvas.lay_limb(
                layer, source.arm(side), target.arm(side), source, target, scale, turned_back, agreement
            )

    for side in order:
        if side in arms_behind:
            lay_arm(side)
    for side in order:
        canvas.lay_limb(
            photo.legs[side],
            source.leg(side),
            target.leg(side),
            source,
            target,
            scale,
            turned_back,
            agreement,
        )
    spread = _knee_spread(source, target, scale) if photo.hem > TROUSERS else None
    canvas.lay_tube(
        photo.trunk,
        source.trunk(),
        target.trunk(),
        source,
        target,
        scale,
        (source_yaw, target_yaw),
        DEPTHS,
        spread,
    )
    head_yaws = head_yaw_of(source, source_yaw), head_yaw_of(target, target_yaw)
    canvas.lay_tube(
        photo.head,
        source.head_axis(),
        target.head_axis(),
        source,
        target,
        scale,
        head_yaws,
        HEAD_DEPTHS,
        None,
    )
    if photo.hair is not None:
        canvas.lay_hair(photo.hair, target, head_yaws[1])
    for side in order:
        if side not in arms_behind:
            lay_arm(side)
    return canvas.finish()


class _Canvas:
    """A frame under construction: the empty background, over which parts are laid."""

    def __init__(self, photo: CutPhoto, step: int):
        self.height, self.width = photo.person.shape
        self.step = step
        self.picture = photo.background.astype(np.float32)
        self.validity = 1 - (1 - FILLED_VALIDITY) * photo.person
        self.person = np.zeros_like(self.validity)

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Maps are continued linearly to the picture's border, where they can overshoot a little.
        picture = np.clip(self.picture.round(), 0, 255).astype(np.uint8)
        return picture, np.clip(self.validity, 0, 1), np.clip(self.person, 0, 1)

    def lay_limb(
        self,
        layer: Layer | None,
        source_points: np.ndarray,
        target_points: np.ndarray,
        source: Body,
        target: Body,
        scale: float,
        flip: bool,
        agreement: float,
    ) -> None:
        reach = LIMB_REACH * target.length
        box = self._box(target_points, reach)
        if box is None:
            return
        x, y = self._grid(box)
        here, there = Chain.through(target_points, target.length), Chain.through(source_points, source.length)
        place = locate(here, x, y)
        weights = place.weights(0.04 * target.length)
        near = np.clip((reach - place.distance.min(axis=0)) / (0.1 * reach), 0, 1)
        if layer is None:
            self._forget(
                box,
                np.clip((0.09 * target.length - place.distance.min(axis=0)) / (0.02 * target.length), 0, 1),
            )
            return
        map_x, map_y = carry(place, here, there, weights, scale, flip=flip, round_joints=True)
        self._lay(layer, box, (map_x, map_y), (map_x, map_y), near, np.full_like(x, agreement))

    def lay_tube(
        self,
        tube: Tube,
        source_points: np.ndarray,
        target_points: np.ndarray,
        source: Body,
        target: Body,
        scale: float,
        yaws: tuple[float, float],
        depths: tuple[float, ...],
        spread: np.ndarray | None,
    ) -> None:
        box = self._box(target_points, 0.9 * target.length)
        if box is None:
            return
        x, y = self._grid(box)
        here, there = Chain.through(target_points, target.length), Chain.through(source_points, source.length)
        place = locate(here, x, y)
        weights = place.weights(0.08 * target.length)
        position, offset = place.position(here, weights), place.offset(weights)
        outline, texture, facing = turn_tube(tube, position, offset * np.float32(scale), yaws, depths, spread)
        outline_map = carry(place, here, there, weights, scale, shift=outline - offset * np.float32(scale))
        texture_map = carry(place, here, there, weights, scale, shift=texture - offset * np.float32(scale))
        self._lay(tube.layer, box, outline_map, texture_map, np.ones_like(x), facing, tube.hidden_color)

    def lay_hair(self, hair: Hair, target: Body, yaw: float) -> None:
        box = self._box(np.stack([target.head, target.point("neck")]), target.length)
        if box is None:
            return
        alpha = self._enlarge(hair_behind(hair, target, yaw, *self._grid(box)), box)
        top, bottom, left, right = box
        window, validity, person = (
            plane[top:bottom, left:right] for plane in (self.picture, self.validity, self.person)
        )
        window += alpha[..., None] * (hair.color - window)
        validity += alpha * (HIDDEN_VALIDITY - validity)
        person += alpha * (1 - person)

    def _box(self, points: np.ndarray, reach: float) -> tuple[int, int, int, int] | None:
        """Top, bottom, left, right (pixels, in whole steps) of what the part can touch; None outside."""
        low = np.floor((points.min(axis=0) - reach) / self.step).astype(int) * self.step
        high = np.ceil((points.max(axis=0) + reach) / self.step).astype(int) * self.step
        left, right = max(0, low[0]), min(self.width, high[0])
        top, bottom = max(0, low[1]), min(self.height, high[1])
        return (top, bottom, left, right) if right - left > 0 and bottom - top > 0 else None

    def _grid(self, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Pixel centres of the box's coarse cells."""
        top, bottom, left, right = box
        rows, columns = -(-(bottom - top) // self.step), -(-(right - left) // self.step)
        middle = (self.step - 1) / 2
        x = left + middle + self.step * np.arange(columns, dtype=np.float32)
        y = top + middle + self.step * np.arange(rows, dtype=np.float32)
        return np.broadcast_to(x, (rows, columns)), np.broadcast_to(y[:, None], (rows, columns))

    def _enlarge(self, values: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        if self.step == 1:
            return values
        fine = _enlarge_linear(np.ascontiguousarray(values, np.float32), self.step)
        return fine[: box[1] - box[0], : box[3] - box[2]]

    def _forget(self, box: tuple[int, int, int, int], amount: np.ndarray) -> None:
        top, bottom, left, right = box
        amount = self._enlarge(amount, box)
        window = self.validity[top:bottom, left:right]
        window *= 1 - (1 - UNKNOWN_VALIDITY) * amount

    def _lay(
        self,
        layer: Layer,
        box: tuple[int, int, int, int],
        outline: tuple[np.ndarray, np.ndarray],
        texture: tuple[np.ndarray, np.ndarray],
        near: np.ndarray,
        facing: np.ndarray,
        hidden_color: np.ndarray | None = None,
    ) -> None:
        """Composite one layer: its outline through one map, its colours through another."""
        top, bottom, left, right = box
        packed = np.dstack([*outline, *texture, near, facing]).astype(np.float32)
        fine = [np.ascontiguousarray(plane) for plane in np.moveaxis(self._enlarge(packed, box), -1, 0)]
        alpha = cv2.remap(layer.alpha, fine[0], fine[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (fine[0] > -1) & (fine[0] < self.width) & (fine[1] > -1) & (fine[1] < self.height)
        alpha = alpha.astype(np.float32) * (fine[4] / 255)
        color = cv2.remap(layer.picture, fine[2], fine[3], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        color = color.astype(np.float32)
        valid = color[..., 3] / 255 * (1 - HIDDEN_VALIDITY) + HIDDEN_VALIDITY
        valid *= np.clip(fine[5], 0, 1) * inside
        rgb = color[..., :3]
        if hidden_color is not None:
            seen = np.clip(fine[5] - HIDDEN_VALIDITY, 0, 0.4)[..., None] / 0.4
            rgb = rgb * seen + hidden_color * (1 - seen)
        window, validity, person = (
            plane[top:bottom, left:right] for plane in (self.picture, self.validity, self.person)
        )
        window += alpha[..., None] * (rgb - window)
        validity += alpha * (valid - validity)
        person += alpha * (1 - person)


def turn_tube(
    tube: Tube,
    position: np.ndarray,
    offset: np.ndarray,
    yaws: tuple[float, float],
    depths: tuple[float, ...],
    spread: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where pixels of a turned part lie across it in the photo.

    The part is an elliptical tube: a point of its surface at angle b is seen at a sin(b) cos(yaw) + d a
    cos(b) sin(yaw), which is A sin(b + delta) with A = a sqrt(cos^2 yaw + d^2 sin^2 yaw) and tan(delta) = d
    tan(yaw).

    Args:
        tube: the part.
        position: (...) place along its axis.
        offset: (...) pixels off the axis, in the photo's scale.
        yaws: of the photo and the frame, in radians.
        depths: depth over width at places 0, 1, 2 ... of the axis.
        spread: how much half the distance of knees and ankles grew, at places 0, 1, 2 ..., in the photo's
            pixels.

    Returns:
        Pixels off the axis for the outline and for the texture, and how far the photo shows that side (1
        down to HIDDEN_VALIDITY).
    """
    table = np.linspace(*PROFILE_RANGE, PROFILE_STEPS)
    depth = np.interp(table, np.arange(len(depths)), depths)
    widths, deltas = [], []
    for yaw in yaws:
        widths.append(np.sqrt(np.cos(yaw) ** 2 + (depth * np.sin(yaw)) ** 2))
        deltas.append(np.arctan2(depth * np.sin(yaw), np.cos(yaw)))
    half_width = tube.half_width * widths[1] / widths[0]
    if spread is not None:
        half_width = np.maximum(
            half_width + np.interp(table, np.arange(len(spread)), spread), 0.5 * half_width
        )
    turn = deltas[0] - deltas[1]
    side = 1.0 if np.cos(yaws[0] - yaws[1]) >= 0 else -1.0
    index = (position - PROFILE_RANGE[0]) * np.float32(
        (PROFILE_STEPS - 1) / (PROFILE_RANGE[1] - PROFILE_RANGE[0])
    )
    index = np.clip(index, 0, PROFILE_STEPS - 1)

    def look_up(values: np.ndarray) -> np.ndarray:
        row = np.asarray(values, np.float32)[None]
        return cv2.remap(row, index.astype(np.float32), np.zeros_like(index, np.float32), cv2.INTER_LINEAR)

    middle, here = look_up(tube.middle), look_up(half_width)
    there, turned = look_up(tube.half_width), look_up(turn)
    share = (offset - side * middle) / here
    within = np.clip(share, -1, 1)
    outline = middle + side * share * there
    angle = np.arcsin(within) + turned
    texture = middle + EDGE_MARGIN * (np.sin(angle) + side * (share - within)) * there
    facing = np.clip(np.cos(angle) / 0.3, 0, 1) * (1 - HIDDEN_VALIDITY) + HIDDEN_VALIDITY
    if abs(np.sin(yaws[0] - yaws[1])) < 0.05 and side > 0:  # not turned
        return outline, outline, np.ones_like(facing)
    return outline, texture, facing


def _knee_spread(source: Body, target: Body, scale: float) -> np.ndarray:
    """Half of how much farther apart the knees are than in the photo at the trunk's places, its pixels."""
    apart = [abs(body.point("left_knee")[0] - body.point("right_knee")[0]) for body in (source, target)]
    spread = (apart[1] * scale - apart[0]) / 2
    return np.array([0, 0, 0, spread, 1.5 * spread])


def _enlarge_linear(values: np.ndarray, step: int) -> np.ndarray:
    """Linear enlargement that goes on linearly at the border (cv2.resize repeats the last value there)."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0))) if values.ndim == 3 else np.pad(values, 1)
    for axis in (0, 1):
        line = np.moveaxis(padded, axis, 0)
        line[0] = 2 * line[1] - line[2] if len(line) > 3 else line[1]
        line[-1] = 2 * line[-2] - line[-3] if len(line) > 3 else line[-2]
    rows, columns = padded.shape[:2]
    fine = np.empty((rows * step, columns * step, *padded.shape[2:]), np.float32)
    for start in range(0, padded.shape[2] if padded.ndim == 3 else 1, 4):
        part = padded[..., start : start + 4] if padded.ndim == 3 else padded
        size = (columns * step, rows * step)
        enlarged = cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_LINEAR)
        if padded.ndim == 3:
            fine[..., start : start + 4] = enlarged.reshape(*fine.shape[:2], -1)
        else:
            fine[:] = enlarged
    return fine[step:-step, step:-step]


def _check(image: np.ndarray, source: np.ndarray, targets: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            f"the photo is {image.dtype} of shape {image.shape}; give uint8 RGB of shape (height, width, 3)"
        )
    if np.shape(source) != (NUM_JOINTS, 3):
        raise UserError(
            f"the photo's joints have shape {np.shape(source)}; give ({NUM_JOINTS}, 3): x, y, visibility"
        )
    if np.ndim(targets) != 3 or np.shape(targets)[1:] != (NUM_JOINTS, 3):
        raise UserError(f"the frames' joints have shape {np.shape(targets)}; give (frames, {NUM_JOINTS}, 3)")


assert HIPS == NECK + 1
