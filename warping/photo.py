"""A photo cut into what moves: an empty background, trunk, head, arms and legs, each with its own outline."""

import dataclasses

import cv2
import numpy as np

from warping.body import SIDES, Body
from warping.chains import Chain, locate

REACH = 0.5  # torso lengths around the skeleton in which the person is looked for
ARM_REACH = 0.16  # torso lengths around an arm that can be its sleeve
ARM_RADII = (0.085, 0.065, 0.075)  # torso lengths: upper arm, forearm, hand
LEG_RADIUS = 0.1
NECK, HIPS, ANKLES = 1, 2, 4  # places along the trunk, see Body.trunk; knees are 3
CHIN = 1.4  # place along the head's axis: 1 is its middle, 2 the neck
NO_GAP = 4.4  # place along the trunk below the soles: the legs have no gap between them
PROFILE_STEPS = 96
PROFILE_RANGE = (-1.0, 4.6)  # places along trunk or head between which widths are known


@dataclasses.dataclass(frozen=True)
class Layer:
    """One part of the person.

    Attributes:
        picture: (H, W, 4) uint8: RGB, carried on outside the part by its nearest pixel, and how far the pixel is the
            photo's own (255) rather than guessed (0).
        alpha: (H, W) uint8, 255 where the part is.
    """

    picture: np.ndarray
    alpha: np.ndarray


@dataclasses.dataclass(frozen=True)
class Tube:
    """Trunk or head: a part that is turned about its axis.

    Attributes:
        layer: its pixels.
        middle: (PROFILE_STEPS,) pixels off the axis at the places PROFILE_RANGE along it.
        half_width: (PROFILE_STEPS,) pixels, above 0.
        hidden_color: (3,) colour for what no pixel of the photo shows (hair, for the head), or None to take what is there.
    """

    layer: Layer
    middle: np.ndarray
    half_width: np.ndarray
    hidden_color: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class CutPhoto:
    """A photo and its parts.

    Attributes:
        background: (H, W, 3) uint8 without the person.
        person: (H, W) float32 in 0..1, where the person was.
        trunk: body and skirt.
        head: with its hair.
        arms: by side; a side whose arm is unknown is missing.
        legs: by side, below the skirt or from the crotch.
    """

    background: np.ndarray
    person: np.ndarray
    trunk: Tube
    head: Tube
    arms: dict[str, Layer]
    legs: dict[str, Layer]


def arm_names(side: str) -> tuple[str, str, str]:
    """The joints an arm needs."""
    return f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"


def cut_photo(image: np.ndarray, body: Body) -> CutPhoto:
    """Cut a photo (H, W, 3) uint8 into layers along its pose. A plain background is assumed."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    length = body.length
    trunk_chain = Chain.through(body.trunk(), length)
    head_chain = Chain.through(body.head_axis(), length)
    trunk, head = locate(trunk_chain, x, y), locate(head_chain, x, y)
    trunk_weights = trunk.weights(0.08 * length)
    position, offset = trunk.position(trunk_chain, trunk_weights), trunk.offset(trunk_weights)
    head_position = head.position(head_chain, head.weights(0.08 * length))

    legs = {side: locate(Chain.through(body.leg(side), length), x, y).distance.min(axis=0) for side in SIDES}
    leg_distance = np.minimum(legs["right"], legs["left"])
    arms = {}
    for side in SIDES:
        if body.has(*arm_names(side)):
            distance = locate(Chain.through(body.arm(side), length), x, y).distance
            arms[side] = (distance - length * np.array(ARM_RADII, np.float32)[:, None, None]).min(axis=0)
    shoulders = np.abs(body.point("left_shoulder") - body.point("right_shoulder"))[0]
    trunk_distance = np.abs(offset) - max(0.42 * shoulders, 0.16 * length)
    head_distance = np.hypot(x - body.head[0], y - body.head[1])

    nearest = np.minimum(np.minimum(trunk.distance.min(axis=0), leg_distance), head_distance)
    for distance in arms.values():
        nearest = np.minimum(nearest, np.maximum(distance, 0))
    core = (
        (trunk.distance[1] < 0.12 * length) | (leg_distance < 0.03 * length) | (head_distance < 0.1 * length)
    )
    for distance in arms.values():
        core |= distance < -0.04 * length
    person = find_person(image, nearest, core, length)
    background = empty_background(image, person)

    arm_masks = {}
    for side, distance in arms.items():
        rivals = np.minimum(
            np.minimum(trunk_distance, leg_distance - LEG_RADIUS * length), head_distance - 0.3 * length
        )
        own = (distance < 0.02 * length) | ((distance < rivals) & (distance < ARM_REACH * length))
        arm_masks[side] = own & (person > 0.2)
    if len(arm_masks) == 2:
        arm_masks["right"] &= arms["right"] <= arms["left"]
        arm_masks["left"] &= arms["right"] > arms["left"]
    armless = person * ~np.logical_or.reduce([*arm_masks.values(), np.zeros((height, width), bool)])

    is_head = (head_position < CHIN) & (position < NECK) & (head_distance < 0.75 * length)
    hem = find_hem(armless, body, x, y)
    below = position > hem
    trunk_mask = armless * ~is_head * ~below
    middle, half_width = measure_widths(trunk_mask, trunk_chain, length)
    trunk_alpha = fill_trunk(trunk_mask, person, position, offset, middle, half_width, hem)
    head_mask = armless * is_head
    head_middle, head_half_width = measure_widths(head_mask, head_chain, length)
    head_tube = Tube(
        make_layer(image, head_mask, head_mask),
        head_middle,
        head_half_width,
        _hair_color(image, head_mask, head_position, person),
    )
    leg_mask = armless * (position > hem - 0.12) * (position > HIPS)
    nearer_right = legs["right"] <= legs["left"]
    return CutPhoto(
        background,
        person,
        Tube(make_layer(image, trunk_mask, trunk_alpha), middle, half_width),
        head_tube,
        {side: make_layer(image, mask * person, mask * person) for side, mask in arm_masks.items()},
        {
            "right": make_layer(image, leg_mask * nearer_right, leg_mask * nearer_right),
            "left": make_layer(image, leg_mask * ~nearer_right, leg_mask * ~nearer_right),
        },
    )


def find_person(image: np.ndarray, nearest: np.ndarray, core: np.ndarray, length: float) -> np.ndarray:
    """Where the person stands, (H, W) float32 in 0..1, by the difference to a smooth background.

    Args:
        image: (H, W, 3) uint8.
        nearest: (H, W) pixels to the skeleton; what is far from it is background.
        core: (H, W) bool, certainly the person.
        length: of the torso in pixels.
    """
    height, width = image.shape[:2]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    far = nearest > REACH * length
    if far.mean() < 0.02:
        far = np.ones((height, width), bool)
        far[height // 32 + 1 : -(height // 32 + 1), width // 32 + 1 : -(width // 32 + 1)] = False
    pixels = image.astype(np.float32)
    rows, cols = np.nonzero(far)
    step = max(1, len(rows) // 4000)
    rows, cols = rows[::step], cols[::step]
    samples, values = basis[rows, cols], pixels[rows, cols]
    keep = np.ones(len(rows), bool)
    for _ in range(3):
        fit = np.linalg.lstsq(samples[keep], values[keep], rcond=None)[0]
        error = np.abs(samples @ fit - values).max(axis=1)
        keep = error <= max(6.0, 2.5 * float(np.median(error)))
    noise = float(np.median(error))
    if (error > 30).mean() > 0.25:  # not a plain background: trust the skeleton alone
        soft = np.clip(1 - (nearest - 0.16 * length) / (0.04 * length), 0, 1)
        return np.maximum(soft, core).astype(np.float32)
    threshold = max(7.0, 3 * noise)
    difference = np.abs(pixels - basis @ fit).max(axis=-1)
    person = np.clip(difference / threshold - 1, 0, 1) * np.clip(5 - nearest / (REACH * length) * 4, 0, 1)
    person = np.maximum(person, core)
    return cv2.medianBlur((person * 255).astype(np.uint8), 3).astype(np.float32) / 255


def empty_background(image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The photo without the person: each row is bridged between what is left and right of her."""
    height, width = image.shape[:2]
    grow = np.ones((max(3, height // 64) | 1,) * 2, np.uint8)
    covered = cv2.dilate((person > 0.05).astype(np.uint8), grow).astype(bool)
    covered[covered.all(axis=1)] = True
    plate = image.astype(np.float32)
    columns = np.arange(width)
    border = np.median(np.concatenate([plate[0], plate[:, 0], plate[:, -1]]), axis=0)
    for row in np.flatnonzero(covered.any(axis=1)):
        free = np.flatnonzero(~covered[row])
        for channel in range(3):
            plate[row, covered[row], channel] = (
                np.interp(columns[covered[row]], free, plate[row, free, channel])
                if len(free)
                else border[channel]
            )
    smooth = cv2.GaussianBlur(plate, (0, 0), max(1.0, height / 128))
    return np.where(covered[..., None], smooth, plate).astype(np.uint8)


def find_hem(mask: np.ndarray, body: Body, x: np.ndarray, y: np.ndarray) -> float:
    """Place along the trunk (2 hips, 3 knees, 4 ankles) below which the background shows between the legs."""
    places = np.linspace(HIPS + 0.08, ANKLES, 60)
    trunk = body.trunk()
    center_x = np.interp(places, np.arange(5), trunk[:, 0]).astype(np.float32)
    center_y = np.interp(places, np.arange(5), trunk[:, 1]).astype(np.float32)
    reach = np.linspace(-0.1, 0.1, 13, dtype=np.float32) * body.length
    samples = cv2.remap(
        mask.astype(np.float32),
        center_x[:, None] + reach,
        np.repeat(center_y[:, None], 13, 1),
        cv2.INTER_LINEAR,
    )
    open_here = (samples < 0.5).any(axis=1)
    run = open_here[:-2] & open_here[1:-1] & open_here[2:]
    return float(places[int(np.argmax(run))]) if run.any() else NO_GAP


def measure_widths(mask: np.ndarray, chain: Chain, length: float) -> tuple[np.ndarray, np.ndarray]:
    """How far a part reaches on both sides of its axis.

    Returns:
        middle and half width in pixels, (PROFILE_STEPS,) each, smoothed along the axis.
    """
    places = np.linspace(*PROFILE_RANGE, PROFILE_STEPS)
    segment = np.clip(np.floor(places).astype(int), 0, len(chain.lengths) - 1)
    along = ((places - segment) * chain.lengths[segment])[:, None].astype(np.float32)
    reach = np.linspace(-1, 1, 129, dtype=np.float32)[None] * np.float32(0.9 * length)
    grid_x = (
        chain.starts[segment, 0, None]
        + along * chain.along[segment, 0, None]
        + reach * chain.across[segment, 0, None]
    )
    grid_y = (
        chain.starts[segment, 1, None]
        + along * chain.along[segment, 1, None]
        + reach * chain.across[segment, 1, None]
    )
    inside = cv2.remap(mask.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderValue=0) > 0.5
    found = inside.any(axis=1)
    if not found.any():
        return np.zeros(PROFILE_STEPS, np.float32), np.full(PROFILE_STEPS, 0.2 * length, np.float32)
    left = reach[0, inside.argmax(axis=1)]
    right = reach[0, 128 - inside[:, ::-1].argmax(axis=1)]
    steps = np.arange(PROFILE_STEPS)
    left, right = (np.interp(steps, steps[found], side[found]) for side in (left, right))
    kernel = np.hanning(9)[1:-1] / np.hanning(9).sum()
    left, right = (
        np.convolve(np.pad(_median(side, 7), 3, mode="edge"), kernel, "valid") for side in (left, right)
    )
    half_width = np.maximum((right - left) / 2, 0.05 * length)
    return ((left + right) / 2).astype(np.float32), half_width.astype(np.float32)


def fill_trunk(
    mask: np.ndarray,
    person: np.ndarray,
    position: np.ndarray,
    offset: np.ndarray,
    middle: np.ndarray,
    half_width: np.ndarray,
    hem: float,
) -> np.ndarray:
    """The trunk's outline with what an arm in front of it covered."""
    index = np.clip(
        (position - PROFILE_RANGE[0]) / (PROFILE_RANGE[1] - PROFILE_RANGE[0]) * (PROFILE_STEPS - 1),
        0,
        PROFILE_STEPS - 1,
    )
    index = index.astype(int)
    inside = (
        (np.abs(offset - middle[index]) < half_width[index]) & (position > NECK - 0.05) & (position < hem)
    )
    return np.maximum(mask, inside * person)


def make_layer(image: np.ndarray, own: np.ndarray, alpha: np.ndarray) -> Layer:
    """A layer whose pixels outside `own` > 0.9 take the colour of the nearest inside."""
    solid = own > 0.9
    picture = np.dstack([image, np.where(solid, 255, 0).astype(np.uint8)])
    if solid.any() and not solid.all():
        _, labels = cv2.distanceTransformWithLabels(
            (~solid).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        color_of = np.zeros((labels.max() + 1, 3), np.uint8)
        color_of[labels[solid]] = image[solid]
        picture[..., :3] = color_of[labels]
    picture[..., 3] = np.maximum(picture[..., 3], np.where((own > 0.1) & (alpha > 0), 255, 0))
    return Layer(picture, (np.clip(alpha, 0, 1) * 255).round().astype(np.uint8))


def _hair_color(
    image: np.ndarray, mask: np.ndarray, position: np.ndarray, person: np.ndarray
) -> np.ndarray | None:
    """Median colour near the crown, or None where none is seen."""
    crown = (mask > 0.9) & (position < 0.35)
    if crown.sum() < 4:
        return None
    top = np.quantile(position[crown], 0.6)
    return np.median(image[crown & (position <= top)], axis=0).astype(np.float32)


def _median(values: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(values, size // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, size), axis=1)
