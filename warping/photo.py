"""A photo cut into what moves: an empty background, trunk, head, arms and legs, each with its own outline."""

import dataclasses

import cv2
import numpy as np

from warping.body import SIDES, Body
from warping.chains import Chain, locate
from warping.hair import Hair, measure_hair
from warping.outline import empty_background, find_person, nearest_colors, refine_edge

ARM_REACH = 0.16  # torso lengths around an arm that can be its sleeve
ARM_RADII = (0.085, 0.065, 0.075)  # torso lengths: upper arm, forearm, hand
NECK, HIPS, ANKLES = 1, 2, 4  # places along the trunk, see Body.trunk; knees are 3
CHIN = 1.4  # place along the head's axis: 1 is its middle, 2 the neck
LEG_MARGIN = 0.17  # torso lengths from the knee to the outside of a trouser leg, at most
CUT_LEG_MARGIN = 0.152  # the same where the picture ends above, less twice the legs' narrowing
TROUSERS = 2.25  # place along the trunk where trouser legs part
LOW_HEM = 3.4  # place along the trunk below which a hem's own width tells little: it is near the feet
CROTCH = 0.12  # how much farther down the trunk goes between trouser legs, and farther up beside them
HIDDEN_WIDTH = 0.08  # torso lengths by which the trunk may be wider than what the arms let see of it
HEM_SAG = 0.1  # how much farther down the trunk a hem may reach beside the legs
SKIRTED_LEG = 0.12  # torso lengths from a leg's line within which a leg under a skirt lies
SAME_CLOTH = 12  # 8-bit steps by which the colours of one cloth differ at most
HEM_STEP = 0.035  # torso lengths by which half a skirt, at its hem, is wider than the legs below, at least
SOLE = 0.13  # torso lengths below the ankle down to which a foot is not taken for its shadow
NO_GAP = 4.4  # place along the trunk below the soles: the legs have no gap between them
PROFILE_STEPS = 96
PROFILE_RANGE = (-1.0, 4.6)  # places along trunk or head between which widths are known


@dataclasses.dataclass(frozen=True)
class Layer:
    """One part of the person.

    Attributes:
        picture: (H, W, 4) uint8: RGB, carried on outside the part by its nearest pixel, and how far the
            pixel is the photo's own (255) rather than guessed (0).
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
        hidden_color: (3,) colour for what no pixel of the photo shows (hair, for the head), or None to take
            what is there.
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
        hem: place along the trunk down to which it goes.
        hair: that hangs down behind, or None.
    """

    background: np.ndarray
    person: np.ndarray
    trunk: Tube
    head: Tube
    arms: dict[str, Layer]
    legs: dict[str, Layer]
    hem: float
    hair: Hair | None


def arm_names(side: str) -> tuple[str, str, str]:
    """The joints an arm needs."""
    return f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"


def cut_photo(image: np.ndarray, body: Body) -> CutPhoto:
    """Cut a photo (H, W, 3) uint8 into layers along its pose. A plain background is assumed."""
    near = measure_distances(image.shape[:2], body)
    length = body.length
    person = find_person(image, near.skeleton, near.core, (near.floor, near.under_soles), length)
    person = close_stripes(person, near, length)
    background = empty_background(image, person)
    person, edge = refine_edge(image, background, person)

    arms = find_arms(image, person, near, length)
    armless = person * ~np.logical_or.reduce([np.zeros(person.shape, bool), *arms.values()])
    is_head = (near.head_position < CHIN) & (near.position < NECK) & (near.head < 0.75 * length)
    trunk_chain = Chain.through(body.trunk(), length)
    hem = find_hem(image, armless, body, trunk_chain)

    def layer(own: np.ndarray, alpha: np.ndarray) -> Layer:
        return make_layer(image, own, alpha, edge)

    trousers = hem <= TROUSERS
    lower_edge = hem + CROTCH * (1 - np.minimum(np.abs(near.offset) / (0.1 * length), 2)) * trousers
    trunk_mask = armless * ~is_head * (near.position <= lower_edge)
    leg = np.minimum(near.legs["right"], near.legs["left"])
    if not trousers:  # the rest of a hem that is lower at the sides
        beside = (leg > SKIRTED_LEG * length) & (near.position <= hem + HEM_SAG)
        trunk_mask = np.maximum(trunk_mask, armless * ~is_head * beside)
    arm = person * np.logical_or.reduce([np.zeros(person.shape, bool), *arms.values()])
    middle, half_width = measure_widths(trunk_mask, trunk_chain, length, hiding=arm, end=hem - 0.04)
    trunk_alpha = fill_trunk(trunk_mask, person, near, middle, half_width, lower_edge)
    from_arm = cv2.distanceTransform((arm <= 0.02).astype(np.uint8), cv2.DIST_L2, 5)
    beside_arm = from_arm < 0.02 * length + 1
    head_mask = armless * is_head
    head_widths = measure_widths(head_mask, Chain.through(body.head_axis(), length), length)
    if trousers:
        leg_mask = armless * ((near.position > hem) | ((near.position > HIPS) & (leg < 0.25 * length)))
        bare = leg_mask
    else:  # under the skirt a leg goes on in the colours that it has below
        leg_mask = armless * (near.position > max(hem - 0.12, HIPS))
        leg_mask = leg_mask * (leg < np.where(near.position > hem + HEM_SAG, 1, SKIRTED_LEG) * length)
        bare = leg_mask * (near.position > hem)
    is_right = near.legs["right"] <= near.legs["left"]
    crown = _hair_color(image, head_mask * ~edge, near.head_position)
    hair = measure_hair(image, armless, head_mask, body)
    return CutPhoto(
        background,
        person,
        Tube(make_layer(image, trunk_mask, trunk_alpha, edge, beside_arm), middle, half_width),
        Tube(
            layer(head_mask, head_mask),
            *head_widths,
            crown if hair is None else hair.color,
        ),
        {side: layer(mask * person, mask * person) for side, mask in arms.items()},
        {side: layer(bare * own, leg_mask * own) for side, own in (("right", is_right), ("left", ~is_right))},
        hem,
        hair,
    )


@dataclasses.dataclass(frozen=True)
class Distances:
    """Where a photo's pixels are to the skeleton: arrays (H, W), in pixels unless they are places.

    Attributes:
        position: place along the trunk (see Body.trunk).
        offset: off the trunk's axis.
        head_position: place along the head's axis.
        head: to the middle of the head.
        arms: to each known arm's surface, negative inside.
        legs: to each leg's line.
        trunk: to the surface of the trunk, roughly.
        skeleton: to the nearest part of the skeleton.
        core: whether the pixel must be the person's.
        floor: whether a shadow may lie there, feet and what is just below them left out.
        under_soles: whether a shadow may lie there, what is just below the feet included.
    """

    position: np.ndarray
    offset: np.ndarray
    head_position: np.ndarray
    head: np.ndarray
    arms: dict[str, np.ndarray]
    legs: dict[str, np.ndarray]
    trunk: np.ndarray
    skeleton: np.ndarray
    core: np.ndarray
    floor: np.ndarray
    under_soles: np.ndarray


def measure_distances(size: tuple[int, int], body: Body) -> Distances:
    """Locate all pixels of a picture of `size` (height, width)."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    length = body.length
    trunk_chain, head_chain = Chain.through(body.trunk(), length), Chain.through(body.head_axis(), length)
    trunk, head_place = locate(trunk_chain, x, y), locate(head_chain, x, y)
    weights = trunk.weights(0.08 * length)
    position, offset = trunk.position(trunk_chain, weights), trunk.offset(weights)
    head = np.hypot(x - body.head[0], y - body.head[1])
    legs = {side: locate(Chain.through(body.leg(side), length), x, y).distance.min(axis=0) for side in SIDES}
    leg = np.minimum(legs["right"], legs["left"])
    radii = length * np.array(ARM_RADII, np.float32)[:, None, None]
    arms = {
        side: (locate(Chain.through(body.arm(side), length), x, y).distance - radii).min(axis=0)
        for side in SIDES
        if body.has(*arm_names(side))
    }
    shoulders = np.hypot(*(body.point("left_shoulder") - body.point("right_shoulder")))
    skeleton = np.minimum(np.minimum(trunk.distance.min(axis=0), leg), head)
    ankles = min(body.point("left_ankle")[1], body.point("right_ankle")[1])
    floor = y > ankles - 0.1 * length
    under_soles = floor.copy()
    core = (trunk.distance[1] < 0.12 * length) | (leg < 0.03 * length) | (head < 0.1 * length)
    for side in SIDES:
        foot = Chain.through(body.leg(side)[2:], length)
        core |= locate(foot, x, y).distance[0] < 0.05 * length
        ankle = body.point(f"{side}_ankle")
        beside = np.abs(x - ankle[0]) > 0.1 * length
        floor &= beside | (y > ankles + 0.2 * length)
        under_soles &= beside | (y > ankle[1] + SOLE * length)
    for distance in arms.values():
        skeleton = np.minimum(skeleton, np.maximum(distance, 0))
        core |= distance < -0.04 * length
    trunk_distance = np.abs(offset) - max(0.42 * shoulders, 0.16 * length)
    return Distances(
        position,
        offset,
        head_place.position(head_chain, head_place.weights(0.08 * length)),
        head,
        arms,
        legs,
        trunk_distance,
        skeleton,
        core,
        floor,
        under_soles,
    )


def close_stripes(person: np.ndarray, near: Distances, length: float) -> np.ndarray:
    """Fill gaps of the trunk's outline from above to below: stripes in the background's colour."""
    kernel = np.ones((max(3, int(0.2 * length)) | 1, 1), np.uint8)
    closed = cv2.morphologyEx(person, cv2.MORPH_CLOSE, kernel)
    trunk = (near.trunk < 0) & (near.position > NECK) & (near.position < ANKLES - 0.3)
    return np.where(trunk, closed, person)


def find_arms(image: np.ndarray, person: np.ndarray, near: Distances, length: float) -> dict[str, np.ndarray]:
    """(H, W) bool for each known arm: floods from inside arm and body meet where the colour changes."""
    if not near.arms:
        return {}
    distance = np.minimum.reduce(list(near.arms.values()))
    leg = np.minimum(near.legs["right"], near.legs["left"])
    body = np.minimum(np.minimum(near.trunk + 0.06 * length, leg - 0.06 * length), near.head - 0.2 * length)
    markers = np.zeros(person.shape, np.int32)
    inside = person > 0.3
    markers[inside & (distance > 0.01 * length) & (body < 0)] = 2
    markers[inside & (distance > ARM_REACH * length)] = 2
    markers[inside & (distance < -0.035 * length)] = 3
    markers[~inside] = 1
    markers = cv2.watershed(image, markers)
    own = markers == 3
    parted = ((markers == 2) | own).astype(np.uint8)
    if parted.any():  # the watershed's lines and the soft edge go to what is nearest
        _, labels = cv2.distanceTransformWithLabels(
            1 - parted, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        owner = np.zeros(labels.max() + 1, bool)
        owner[labels[parted > 0]] = own[parted > 0]
        own = owner[labels]
    if len(near.arms) == 1:
        return dict.fromkeys(near.arms, own)
    is_right = near.arms["right"] <= near.arms["left"]
    return {"right": own & is_right, "left": own & ~is_right}


def find_hem(image: np.ndarray, mask: np.ndarray, body: Body, chain: Chain) -> float:
    """Place along the trunk (2 hips, 3 knees, 4 ankles) down to which it moves as one: the hem of a skirt.

    It is where the background shows between the legs and the outline becomes narrower, or else where the
    outline clearly does. Where it does nowhere and, at the knees, is no wider than legs are, these are
    trousers, which part below the hips. So they are where both legs have the colour below that they have
    above. Where the picture ends before the calves, what becomes narrower downward is trousers.
    """
    places = np.linspace(HIPS + 0.08, ANKLES, 60)
    legs = {side: body.leg(side)[:3] for side in SIDES}
    ends = np.stack(
        [
            np.stack(
                [np.interp(places - HIPS, np.arange(3), legs[side][:, axis]) for axis in range(2)], axis=-1
            )
            for side in SIDES
        ]
    )
    share = np.linspace(0.25, 0.75, 13)[:, None, None]
    points = (ends[0] + share * (ends[1] - ends[0])).astype(np.float32)
    between = cv2.remap(mask.astype(np.float32), points[..., 0], points[..., 1], cv2.INTER_LINEAR)
    bottom, right = np.array(mask.shape) - 1
    inside = ((points >= 0) & (points <= (right, bottom))).all(axis=(0, 2))
    end = float(places[inside][-1]) if inside.any() else HIPS
    gap = inside & (between < 0.5).any(axis=0)
    run = gap[:-2] & gap[1:-1] & gap[2:]
    hem = float(places[int(np.argmax(run))]) - 0.03 if run.any() else NO_GAP
    _, half_width = measure_widths(mask, chain, body.length)

    def half_width_at(place: float) -> float:
        steps = (place - PROFILE_RANGE[0]) / (PROFILE_RANGE[1] - PROFILE_RANGE[0]) * (PROFILE_STEPS - 1)
        return float(np.interp(steps, np.arange(PROFILE_STEPS), half_width)) / body.length

    def step_at(place: float) -> float:
        return half_width_at(place - 0.15) - half_width_at(place + 0.2)

    if hem < LOW_HEM and step_at(hem) > HEM_STEP:
        return min(hem, TROUSERS) if _is_one_cloth(image, body, hem) else hem
    candidates = np.linspace(TROUSERS, LOW_HEM, 40)
    steps = np.array([step_at(place) for place in candidates])
    if steps.max() > 2 * HEM_STEP:  # clear, though the legs show no gap or the cloth above is like the wall
        hem = float(candidates[int(np.argmax(steps))])
        return min(hem, TROUSERS) if _is_one_cloth(image, body, hem) else hem
    if not run.any() and end < LOW_HEM:
        widths = [half_width_at(place) for place in np.linspace(HIPS + 0.1, end - 0.05, 20)]
        apart = np.interp(end - 0.05, places, np.hypot(*(ends[1] - ends[0]).T)) / body.length
        narrowing = max(widths) - widths[-1]
        return hem if widths[-1] - apart / 2 - 2 * narrowing > CUT_LEG_MARGIN else TROUSERS
    apart = np.hypot(*(body.point("left_knee") - body.point("right_knee"))) / body.length
    is_skirt = hem >= LOW_HEM and half_width_at(3) - apart / 2 > LEG_MARGIN
    return hem if is_skirt else min(hem, TROUSERS)


def _is_one_cloth(image: np.ndarray, body: Body, hem: float) -> bool:
    """Whether both legs have the same colour above a hem and below it."""
    above, below = np.linspace(hem - 0.45, hem - 0.15, 12), np.linspace(hem + 0.1, hem + 0.35, 12)
    for side in SIDES:
        leg = body.leg(side)[:3]
        x, y = (
            np.interp(np.stack([above, below]) - HIPS, np.arange(3), leg[:, axis]).round().astype(int)
            for axis in range(2)
        )
        pixels = image[y.clip(0, image.shape[0] - 1), x.clip(0, image.shape[1] - 1)]
        upper, lower = np.median(pixels, axis=1)
        if np.abs(upper - lower).max() > SAME_CLOTH:
            return False
    return True


def measure_widths(
    mask: np.ndarray, chain: Chain, length: float, hiding: np.ndarray | None = None, end: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """How far a part reaches on both sides of its axis.

    Where its side is hidden by what is before it (`hiding`, the arms), it reaches as far as between the
    nearest places where its side is seen, but not beyond what hides it. From the place `end` on it keeps the
    width that it has there.

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

    def ends(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inside = cv2.remap(mask.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderValue=0) > 0.5
        first, last = inside.argmax(axis=1), 128 - inside[:, ::-1].argmax(axis=1)
        return inside.any(axis=1), reach[0, first], reach[0, last]

    found, left, right = ends(mask)
    found &= places <= end
    if not found.any():
        return np.zeros(PROFILE_STEPS, np.float32), np.full(PROFILE_STEPS, 0.2 * length, np.float32)
    steps = np.arange(PROFILE_STEPS)
    if hiding is not None:
        _, outer_left, outer_right = ends(np.maximum(mask, hiding))
        left = _behind(left, outer_left, found, length)
        right = -_behind(-right, -outer_right, found, length)
    left, right = (np.interp(steps, steps[found], side[found]) for side in (left, right))
    kernel = np.hanning(9)[1:-1] / np.hanning(9).sum()
    left, right = (
        np.convolve(np.pad(_median(side, 7), 3, mode="edge"), kernel, "valid") for side in (left, right)
    )
    half_width = np.maximum((right - left) / 2, 0.05 * length)
    return ((left + right) / 2).astype(np.float32), half_width.astype(np.float32)


def _behind(edge: np.ndarray, outer: np.ndarray, found: np.ndarray, length: float) -> np.ndarray:
    """A part's left edge at places along it, with those that something hides between those that are seen."""
    seen = found & (edge - outer < 0.03 * length)
    if not seen.any():
        return edge
    steps = np.arange(len(edge))
    return np.clip(
        np.interp(steps, steps[seen], edge[seen]), np.maximum(outer, edge - HIDDEN_WIDTH * length), edge
    )


def fill_trunk(
    mask: np.ndarray,
    person: np.ndarray,
    near: Distances,
    middle: np.ndarray,
    half_width: np.ndarray,
    lower_edge: np.ndarray,
) -> np.ndarray:
    """The trunk's outline with what an arm in front of it covered."""
    steps = (near.position - PROFILE_RANGE[0]) / (PROFILE_RANGE[1] - PROFILE_RANGE[0]) * (PROFILE_STEPS - 1)
    index = np.clip(steps, 0, PROFILE_STEPS - 1).astype(int)
    inside = (np.abs(near.offset - middle[index]) < half_width[index]) & (near.position > NECK - 0.05)
    return np.maximum(mask, inside * (near.position < lower_edge) * person)


def make_layer(
    image: np.ndarray, own: np.ndarray, alpha: np.ndarray, edge: np.ndarray, mixed: np.ndarray | None = None
) -> Layer:
    """A layer: pixels outside `own` > 0.9, and those of the photo's `edge`, take the nearest clean colour.

    `mixed` are pixels whose colour is not carried on to others.
    """
    mine = own > 0.02
    clean = (own > 0.9) & ~edge
    inner = cv2.erode(clean.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    if mixed is not None and (inner & ~mixed).any():
        inner &= ~mixed
    if not inner.any():
        inner = clean = mine
    colors = np.where(clean[..., None], image, nearest_colors(image, inner))
    picture = np.dstack([colors, np.where(mine, 255, 0).astype(np.uint8)])
    return Layer(picture, (np.clip(alpha, 0, 1) * 255).round().astype(np.uint8))


def _hair_color(image: np.ndarray, mask: np.ndarray, position: np.ndarray) -> np.ndarray | None:
    """Median colour near the crown, or None where none is seen."""
    crown = (mask > 0.9) & (position < 0.35)
    if crown.sum() < 4:
        return None
    top = np.quantile(position[crown], 0.6)
    return np.median(image[crown & (position <= top)], axis=0).astype(np.float32)


def _median(values: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(values, size // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, size), axis=1)
