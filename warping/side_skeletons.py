"""Skeletons whose joints share one colour a side, as mmpose draws them: named by what is linked to what."""

import itertools

import numpy as np

from utils.pose_drawing import JOINT, NUM_JOINTS
from warping.dots import SUPPORTED, Dots, Skeleton, find_dots, limb_support
from warping.palettes import LEFT_HUE, MIDDLE_HUE, RIGHT_HUE, Labels, Palette

FEWEST_LIMBS = 5  # that make somebody of a few dots
ARM_AND_LEG = {"right": (2, 3, 4, 8, 9, 10), "left": (5, 6, 7, 11, 12, 13)}
FACE = (0, 14, 15, 16, 17)


def read_sides(labels: Labels, palette: Palette, radius: float) -> list[Skeleton]:
    """Read a drawing in which all joints of a side have one colour, as mmpose's."""
    colored = labels.hues >= 0
    swap = (lambda hue: (240 - hue) % 360) if palette.swapped else (lambda hue: hue)
    middle = labels.of_hue(swap(MIDDLE_HUE))
    head = find_dots(middle, colored, radius, len(FACE))
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    confidence = np.zeros(NUM_JOINTS, np.float32)
    score, limbs = 0.0, 0
    for side, hue in (("right", RIGHT_HUE), ("left", LEFT_HUE)):
        own = labels.of_hue(swap(hue))
        dots = find_dots(own, colored, radius, 6)
        roles, worth, linked = _name_side(dots, own, middle, colored, radius)
        for joint, dot in zip(ARM_AND_LEG[side], roles, strict=True):
            if dot is not None:
                joints[joint] = (*dots.places[dot], 1)
                confidence[joint] = dots.fits[dot]
        score, limbs = score + worth, limbs + linked
    shoulders = joints[[JOINT["right_shoulder"], JOINT["left_shoulder"]]]
    if limbs < FEWEST_LIMBS or not shoulders[:, 2].all():
        return []
    joints[JOINT["neck"]] = shoulders.mean(axis=0)
    confidence[JOINT["neck"]] = confidence[[2, 5]].min()
    _name_face(head, joints, confidence, middle, colored, radius)
    return [Skeleton(joints, confidence, score)]


def _name_side(
    dots: Dots, own: np.ndarray, middle: np.ndarray, colored: np.ndarray, radius: float
) -> tuple[tuple[int | None, ...], float, int]:
    """Which dot is shoulder, elbow, wrist, hip, knee, ankle; the worth of that; how many limbs link them."""
    count = len(dots.fits)
    same = limb_support(own, colored, dots.places, dots.places, radius)
    trunk = limb_support(middle, colored, dots.places, dots.places, radius)
    links = ((0, 1, same), (1, 2, same), (0, 3, trunk), (3, 4, same), (4, 5, same))
    best: tuple[float, tuple[int | None, ...], int] = (0.0, (None,) * 6, 0)
    height = max(1.0, float(np.ptp(dots.places[:, 1]))) if count else 1.0
    lengths = np.hypot(*(dots.places[:, None] - dots.places[None]).transpose(2, 0, 1)) / height
    for order in itertools.permutations(range(6), count):
        roles: list[int | None] = [None] * 6
        for dot, role in enumerate(order):
            roles[role] = dot
        worth, linked = 0.0, 0
        for a, b, shares in links:
            first, last = roles[a], roles[b]
            if first is not None and last is not None:
                # A straight leg supports a limb from hip to ankle as well: the shorter one is meant.
                worth += 2 * (shares[first, last] - SUPPORTED) - 0.3 * lengths[first, last]
                linked += bool(shares[first, last] > SUPPORTED)
        shoulder, hip = roles[0], roles[3]
        if shoulder is not None and hip is not None:  # a hint, where arm and leg have the same links
            worth += 0.1 * float(dots.places[hip, 1] - dots.places[shoulder, 1]) / height
        if worth > best[0]:
            best = (worth, tuple(roles), linked)
    worth, chosen, linked = best
    return chosen, 2 * worth + float(dots.fits.sum()) * 0.5, linked


def _name_face(
    head: Dots,
    joints: np.ndarray,
    confidence: np.ndarray,
    middle: np.ndarray,
    colored: np.ndarray,
    radius: float,
) -> None:
    """Name the dots of a face, in place: ears are linked to their shoulders, eyes to ears and the nose."""
    shoulders = joints[[JOINT["right_shoulder"], JOINT["left_shoulder"]], :2].astype(float)
    reach = 1.5 * float(np.hypot(*(joints[[8, 11], :2].mean(axis=0) - shoulders.mean(axis=0))))
    near = np.hypot(*(head.places - shoulders.mean(axis=0)).T) < max(reach, 1.0) if len(head.fits) else []
    places, fits = head.places[near], head.fits[near]
    links = limb_support(middle, colored, places, places, radius)
    to_shoulders = limb_support(middle, colored, places, shoulders, radius)
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) if len(places) else links
    size = max(1.0, float(distance.max(initial=1.0)))
    best_worth, best = 0.0, None
    for order in itertools.permutations(range(5), len(fits)):
        roles: list[int | None] = [None] * 5
        for dot, role in enumerate(order):
            roles[role] = dot
        worth = 0.0
        for a, b in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 4)):  # nose, eyes, ears
            one, other = roles[a], roles[b]
            if one is not None and other is not None:
                worth += links[one, other] - SUPPORTED - 0.3 * distance[one, other] / size
        for ear, shoulder in ((3, 0), (4, 1)):
            at_ear = roles[ear]
            if at_ear is not None:
                worth += 2 * (to_shoulders[at_ear, shoulder] - SUPPORTED)
        worth += 0.01 * len(fits)
        if best is None or worth > best_worth:
            best_worth, best = worth, roles
    for joint, chosen in zip(FACE, best or (), strict=False):
        if chosen is not None:
            joints[joint] = (*places[chosen], 1)
            confidence[joint] = fits[chosen]
