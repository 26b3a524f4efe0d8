"""Joints where limbs end, for pictures of few colours: a GIF keeps the limbs' and loses the dots'."""

from collections.abc import Iterator

import cv2
import numpy as np

from warping.dots import Dots
from warping.joints import HEAD, largest_blobs
from warping.palettes import HUE_TOLERANCE, Labels, Palette

FIT = 0.3
"""What an end is worth beside a dot, which has up to 1."""
TOLERANCES = (HUE_TOLERANCE, 16)
"""Degrees that few colours may move a limb's hue. The wider one may join two limbs, the other split one."""
SMALLEST_LIMB = 12  # pixels
REACH = 0.05  # of the picture's height, within which ends of limbs that share a joint lie

Limb = tuple[np.ndarray, float]
"""Both ends (2, 2), and what there is of it: 0 to 1."""


def find_ends(
    labels: Labels, palette: Palette, radius: float
) -> tuple[list[Dots], dict[tuple[int, int], np.ndarray]]:
    """The ends of all limbs as likely places of the joints that they link.

    Args:
        labels: of the picture.
        palette: in which it is drawn.
        radius: of a dot in pixels: limbs go on so far under their dots.

    Returns:
        Likely places of each joint of the palette; and, for each limb (a, b), how well it links each place of
        its first joint with each of its last.
    """
    limbs = {
        (a, b): [] if b in HEAD else list(_limbs(labels, hue, radius)) for a, b, hue in palette.limbs
    }  # hands are full of the colours of the head's short limbs
    dots = []
    for joint in range(len(palette.joints)):
        ends = [limb[0] for pair, found in limbs.items() if joint in pair for limb in found]
        places = np.concatenate(ends) if ends else np.zeros((0, 2))
        dots.append(Dots(places, np.full(len(places), FIT)))
    reach = max(4.0, REACH * labels.hues.shape[0], 2 * radius)
    supports = {}
    for (a, b), found in limbs.items():
        shares = np.zeros((len(dots[a].places), len(dots[b].places)))
        for both, weight in found:
            for start, end in (both, both[::-1]):
                off = np.maximum(
                    np.hypot(*(dots[a].places - start).T)[:, None], np.hypot(*(dots[b].places - end).T)
                )
                shares = np.maximum(shares, weight * (1 - off / reach))
        supports[a, b] = shares
    return dots, supports


def _limbs(labels: Labels, hue: int, radius: float) -> Iterator[Limb]:
    """Everything long in about a hue, each end a dot's radius beyond what is seen."""
    colors = [labels.of_hue(hue, tolerance) for tolerance in TOLERANCES]
    for color in (*colors, *(each & ~labels.bright for each in colors)):
        mask = largest_blobs(color, SMALLEST_LIMB)
        count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        for blob in range(1, count):
            pixels = np.argwhere(blobs == blob)[:, ::-1]
            middle = pixels.mean(axis=0)
            _, spread, axes = np.linalg.svd(pixels - middle, full_matrices=False)
            places = (pixels - middle) @ axes[0]
            low, high = float(places.min()) - radius, float(places.max()) + radius
            if high - low < 4 * radius or spread[0] < 2 * spread[1]:
                continue
            away = np.abs(labels.hues[pixels[:, 1], pixels[:, 0]] - hue)
            near = 1 - float(np.minimum(away, 360 - away).mean()) / 40
            share = stats[blob, cv2.CC_STAT_AREA] / stats[1:, cv2.CC_STAT_AREA].max()
            yield middle + np.outer([low, high], axes[0]), near * (0.8 + 0.2 * share)
