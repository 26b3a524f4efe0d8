"""Skeletons read from pictures of other tools: any of their palettes, any thickness, several people.

A joint is a dot of its colour where limbs of the right colours end. Every colour's likely dots are found
first; the skeleton is then the choice of one dot (or none) a joint that its limbs support best, which dynamic
programming finds along the tree of limbs (Felzenszwalb & Huttenlocher, "Pictorial Structures for Object
Recognition", 2005).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from utils.pose_drawing import LIMBS, NUM_JOINTS, draw_pose
from warping.dots import SUPPORTED, Dots, Skeleton, dot_radius, find_dots, limb_support
from warping.joints import HEAD, far_end, largest_blobs, read_joints, without_far_heads
from warping.limb_ends import find_ends
from warping.palettes import (
    CONTROLNET,
    HUE_TOLERANCE,
    MIDDLE_HIP,
    PALETTES,
    Labels,
    Palette,
    label_colors,
)
from warping.side_skeletons import FEWEST_LIMBS, read_sides

MAX_DOTS = 16
MAX_PEOPLE = 4
FAR_END_CONFIDENCE = 0.4
ODD_LIMB = 4.0
LOWEST_SCORE = 3.0  # a picture, of a palette; a whole skeleton in the right one has about 33
SWAPPED_CONTROLNET = CONTROLNET.with_swapped_colors()


def read_people(picture: np.ndarray, palette: Palette) -> list[Skeleton]:
    """Read everybody in a skeleton picture, the best first; see `read_skeletons`.

    One person in ControlNet's colours is read by `read_joints` as well: to the pixel where the picture is by
    `draw_pose`, and where hands and faces cover dots in any other.
    """
    people = read_skeletons(picture, palette)
    if palette.few_colors and not people:
        return []
    if len(people) > 1 or palette.joints not in (CONTROLNET.joints, SWAPPED_CONTROLNET.joints):
        return people
    colored = np.where(
        picture.max(axis=2, keepdims=True) - picture.min(axis=2, keepdims=True) > 40, picture, 0
    )
    colored = np.ascontiguousarray(colored[..., ::-1] if palette.swapped else colored)
    joints = read_joints(colored)
    seen = joints[:, 2] > 0
    if np.array_equal(draw_pose(joints, *picture.shape[:2]).any(axis=2), colored.any(axis=2)):
        return [Skeleton(joints, seen.astype(np.float32), 2.0 * int(seen.sum()))] if seen.any() else []
    if not people:  # dots that compression has drowned; their limbs may still lead to them
        sure = np.where(seen, FAR_END_CONFIDENCE, 0).astype(np.float32)
        return [Skeleton(joints, sure, float(seen.sum()))] if seen.sum() >= FEWEST_LIMBS + 1 else []
    person = people[0]
    replaced = (person.confidence < FAR_END_CONFIDENCE + 0.15) & seen
    if palette.few_colors:
        replaced &= np.isin(np.arange(NUM_JOINTS), HEAD)
    return [
        Skeleton(
            without_far_heads(np.where(replaced[:, None], joints, person.joints)),
            np.where(replaced, FAR_END_CONFIDENCE, person.confidence).astype(np.float32),
            person.score,
        )
    ]


def read_skeletons(picture: np.ndarray, palette: Palette) -> list[Skeleton]:
    """Read everybody in a skeleton picture by the palette alone.

    Args:
        picture: (H, W, 3) uint8 RGB, skeletons on black, white or grey.
        palette: in which they are drawn.

    Returns:
        At most four, the best first; none where the picture holds no skeleton of this palette.
    """
    labels = label_colors(picture)
    if labels is None:
        return []
    radius = dot_radius(labels, palette)
    read = read_sides if palette.by_side else _read_tree
    people = read(labels, palette, radius)
    offset = np.array([labels.left, labels.top, 0], np.float32)
    return [
        dataclasses.replace(person, joints=np.where(person.joints[:, 2:] > 0, person.joints + offset, 0))
        for person in people
    ]


def find_palette(pictures: Sequence[np.ndarray]) -> Palette | None:
    """The palette that pictures (H, W, 3) uint8 RGB are drawn in, red and blue swapped or not.

    Returns:
        None where none of them shows a skeleton in any.
    """
    swapped = [palette.with_swapped_colors() for palette in PALETTES]
    name = "ControlNet, merged by a medium of few colours"
    few = [
        dataclasses.replace(palette, few_colors=True, name=name)
        for palette in (CONTROLNET, SWAPPED_CONTROLNET)
    ]
    scores = []
    for palette in (*PALETTES, *swapped, *few):
        people = [read_people(picture, palette) for picture in pictures]
        worth = [
            (each[0].score - _oddity(each[0].joints)) * _explained(picture, each, palette)
            for picture, each in zip(pictures, people, strict=True)
            if each
        ]
        scores.append((sum(worth), palette))
    score, palette = max(scores, key=lambda pair: pair[0])
    return palette if score > LOWEST_SCORE * len(pictures) else None


def _explained(picture: np.ndarray, people: list[Skeleton], palette: Palette) -> float:
    """Share of a picture's coloured pixels that these people would have so, drawn in this palette."""
    labels = label_colors(picture)
    if labels is None:
        return 0.0
    radius = max(1, round(dot_radius(labels, palette)))
    drawn = np.full(labels.hues.shape, -400, np.int16)
    for person in people:
        joints = np.append(person.joints, person.joints[[8, 11]].min(axis=0, keepdims=True), axis=0)
        joints[MIDDLE_HIP, :2] = person.joints[[8, 11], :2].mean(axis=0)
        places = [(round(float(x) - labels.left), round(float(y) - labels.top)) for x, y, _ in joints]
        for a, b, hue in palette.limbs:
            if min(joints[a, 2], joints[b, 2]) > 0:
                cv2.line(drawn, places[a], places[b], hue, 2 * radius + 1)
        for place, (_, _, seen), hue in zip(places, joints, palette.joints, strict=False):
            if seen > 0:
                cv2.circle(drawn, place, radius, hue, -1)
    away = np.abs(labels.hues - drawn)[labels.hues >= 0]
    return float((np.minimum(away, np.abs(360 - away)) <= HUE_TOLERANCE).mean())


def _oddity(joints: np.ndarray) -> float:
    """What to take off a skeleton's score for limbs that nobody has: a wrong palette makes such bodies."""
    neck, hips = joints[1], joints[[8, 11]]
    trunk = max((float(np.hypot(*(hip - neck)[:2])) for hip in hips if hip[2] > 0), default=0.0)
    if neck[2] <= 0 or trunk < 1:
        return 2 * ODD_LIMB
    limbs = [(a, b) for a, b in LIMBS if joints[a, 2] > 0 and joints[b, 2] > 0]
    longest = [0.6 if b in HEAD or a in HEAD else 1.6 for a, b in limbs]
    lengths = [float(np.hypot(*(joints[a] - joints[b])[:2])) / trunk for a, b in limbs]
    return ODD_LIMB * sum(length > most for length, most in zip(lengths, longest, strict=True))


def _read_tree(labels: Labels, palette: Palette, radius: float) -> list[Skeleton]:
    masks = {hue: labels.of_hue(hue) for _, _, hue in palette.limbs}
    if palette.few_colors:
        dots, supports = find_ends(labels, palette, radius)
        person = _as_skeleton(
            dots, supports, _best_choice(dots, supports, [np.ones(len(each.fits), bool) for each in dots])
        )
        return [] if person is None else [person]
    colored = labels.hues >= 0
    over = labels.bright if palette.dimmed else colored
    # Hands are drawn with many dots in the joints' colours; where limbs have them too, dots must stand out.
    most = MAX_DOTS if palette.dimmed else MAX_DOTS // 3
    dots = []
    for hue in palette.joints:
        own = labels.of_hue(hue)
        dots.append(find_dots(own & labels.bright if palette.dimmed else own, over, radius, most))
    supports = {
        (a, b): limb_support(masks[hue], colored, dots[a].places, dots[b].places, radius)
        for a, b, hue in palette.limbs
    }
    people: list[Skeleton] = []
    free = [np.ones(len(each.fits), bool) for each in dots]
    while len(people) < MAX_PEOPLE:
        chosen = _best_choice(dots, supports, free)
        person = _as_skeleton(dots, supports, chosen)
        if person is None:
            break
        people.append(_with_far_ends(person, labels, masks, palette, radius))
        _take_dots(free, dots, supports, chosen, 1.5 * radius + 2)
    return people


def _take_dots(
    free: list[np.ndarray],
    dots: list[Dots],
    limbs: Iterable[tuple[int, int]],
    chosen: list[int | None],
    reach: float,
) -> None:
    """Mark, in place, the dots that lie on a person's limbs as no longer free."""
    for a, b in limbs:
        first, last = chosen[a], chosen[b]
        if first is None or last is None:
            continue
        start, end = dots[a].places[first], dots[b].places[last]
        line = end - start
        for left, each in zip(free, dots, strict=True):
            along = np.clip((each.places - start) @ line / max(float(line @ line), 1e-6), 0, 1)
            left &= np.hypot(*(each.places - start - along[:, None] * line).T) > reach


def _with_far_ends(
    person: Skeleton, labels: Labels, masks: dict[int, np.ndarray], palette: Palette, radius: float
) -> Skeleton:
    """Put a joint whose dot is covered or lost at the end of the limb that leads to it."""
    joints, confidence = person.joints.copy(), person.confidence.copy()
    for a, b, hue in palette.limbs:
        if b >= NUM_JOINTS or a >= NUM_JOINTS or joints[b, 2] > 0 or joints[a, 2] <= 0:
            continue
        limb = largest_blobs(masks[hue] & ~labels.bright if palette.dimmed else masks[hue], radius**2)
        start = joints[a, :2].astype(float)
        end = far_end(limb, start, radius)
        if end is None:
            continue
        share = limb_support(masks[hue], labels.hues >= 0, start[None], np.array([end]), radius)[0, 0]
        if share > SUPPORTED:
            joints[b], confidence[b] = (*end, 1), FAR_END_CONFIDENCE
    return dataclasses.replace(person, joints=joints, confidence=confidence)


def _best_choice(
    dots: list[Dots], supports: dict[tuple[int, int], np.ndarray], free: list[np.ndarray]
) -> list[int | None]:
    """For each joint the number of its dot, or None, so that dots' fits and limbs' supports are highest."""
    values = [np.append(np.where(each, dot.fits, -1e3), 0.0) for dot, each in zip(dots, free, strict=True)]
    back: dict[tuple[int, int], np.ndarray] = {}
    for (a, b), shares in reversed(supports.items()):
        worth = np.zeros((len(values[a]), len(values[b])))
        worth[:-1, :-1] = 3 * (shares - SUPPORTED)
        total = worth + values[b]
        back[a, b] = total.argmax(axis=1)
        values[a] = values[a] + total.max(axis=1)
    chosen: list[int | None] = [None] * len(dots)
    numbers = {1: int(values[1].argmax())}
    for a, b in supports:
        numbers[b] = int(back[a, b][numbers[a]])
    for joint, number in numbers.items():
        chosen[joint] = number if number < len(dots[joint].fits) else None
    return chosen


def _as_skeleton(
    dots: list[Dots], supports: dict[tuple[int, int], np.ndarray], chosen: list[int | None]
) -> Skeleton | None:
    """The chosen dots as joints, less those that no limb reaches; None where they make nobody."""
    reached = np.zeros(len(dots))
    limbs, score = 0, 0.0
    for (a, b), shares in supports.items():
        first, last = chosen[a], chosen[b]
        if first is not None and last is not None and shares[first, last] > SUPPORTED:
            share = float(shares[first, last])
            limbs += 1
            score += share
            reached[[a, b]] = np.maximum(reached[[a, b]], share)
    if limbs < FEWEST_LIMBS:
        return None
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    confidence = np.zeros(NUM_JOINTS, np.float32)
    for joint in range(NUM_JOINTS):
        choice = chosen[joint]
        if choice is not None and reached[joint] > 0:
            joints[joint] = (*dots[joint].places[choice], 1)
            confidence[joint] = (dots[joint].fits[choice] + reached[joint]) / 2
            score += float(dots[joint].fits[choice])
    return Skeleton(joints, confidence, score)
