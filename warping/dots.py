"""Dots and limbs in a picture's colours: where a joint may be, and how well a limb links two of them."""

import dataclasses

import cv2
import numpy as np

from warping.palettes import Labels, Palette

LOWEST_FIT = 0.15  # of a dot's area: own pixels less those that should be and are not
SUPPORTED = 0.5  # share of a limb's middle line that has its colour
TOO_SHORT_TO_SEE = 0.6  # support of a limb whose two dots touch


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """One person in a picture.

    Attributes:
        joints: (18, 3) float32 x px, y px, visibility 0 or 1.
        confidence: (18,) float32, how much each joint looks like its dot and its limbs, 0 to 1.
        score: of the whole; comparable between palettes.
    """

    joints: np.ndarray
    confidence: np.ndarray
    score: float


@dataclasses.dataclass(frozen=True)
class Dots:
    """Likely dots of a colour: (n, 2) places in labels' pixels, (n,) fits from 0 to 1."""

    places: np.ndarray
    fits: np.ndarray


def dot_radius(labels: Labels, palette: Palette) -> float:
    """Radius of the dots in pixels: of the largest disc inside a colour, a middling one of all colours."""
    radii = []
    for hue in sorted(set(palette.joints)):
        own = labels.of_hue(hue)
        if palette.dimmed:
            own &= labels.bright
        if own.any():
            padded = np.pad(own.astype(np.uint8), 1)
            radii.append(float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()))
    return float(np.clip(np.percentile(radii, 60) - 1, 1, 64)) if radii else 1.0


def find_dots(own: np.ndarray, over: np.ndarray, radius: float, most: int) -> Dots:
    """Places where a dot fits: own colour inside, ground nowhere inside, the colour not going on around.

    Args:
        own: (H, W) bool, where the dot's colour is.
        over: (H, W) bool, where other dots may cover it.
        radius: of a dot in pixels.
        most: how many to return.
    """
    empty = Dots(np.zeros((0, 2)), np.zeros(0))
    if not own.any():
        return empty
    reach = int(np.ceil(2 * radius)) + 2
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    top, left = max(0, rows[0] - reach), max(0, columns[0] - reach)
    part = np.s_[top : rows[-1] + reach + 1, left : columns[-1] + reach + 1]
    inside = own[part].astype(np.float32)
    ground = (~own[part] & ~over[part]).astype(np.float32)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    disc = (distance <= radius + 0.4).astype(np.float32)
    ring = ((distance > radius + 1.4) & (distance <= 2 * radius + 1)).astype(np.float32)
    fit = cv2.filter2D(inside, -1, disc, borderType=cv2.BORDER_CONSTANT)
    fit -= cv2.filter2D(ground, -1, disc, borderType=cv2.BORDER_CONSTANT)
    fit /= disc.sum()
    fit -= 0.4 * cv2.filter2D(inside, -1, ring, borderType=cv2.BORDER_CONSTANT) / ring.sum()
    places, fits = [], []
    spare = fit.copy()
    for _ in range(most):
        row, column = (int(i) for i in np.unravel_index(int(spare.argmax()), spare.shape))
        if spare[row, column] < LOWEST_FIT:
            break
        cv2.circle(spare, (int(column), int(row)), int(1.5 * radius + 1), -1.0, -1)
        x, y = _peak(fit, row, column)
        places.append((x + left, y + top))
        fits.append(float(np.clip(fit[row, column], 0, 1)))
    return Dots(np.array(places), np.array(fits)) if places else empty


def _peak(fit: np.ndarray, row: int, column: int) -> tuple[float, float]:
    """Place (x, y) of a maximum between the pixels: the middle of those about as high."""
    rows = slice(max(0, row - 1), row + 2)
    columns = slice(max(0, column - 1), column + 2)
    weights = np.clip(fit[rows, columns] - 0.9 * fit[row, column], 0, None)
    y, x = np.mgrid[
        rows.start : rows.start + weights.shape[0], columns.start : columns.start + weights.shape[1]
    ]
    return float((weights * x).sum() / weights.sum()), float((weights * y).sum() / weights.sum())


def limb_support(
    mask: np.ndarray, colored: np.ndarray, starts: np.ndarray, ends: np.ndarray, radius: float
) -> np.ndarray:
    """(a, b): share of the middle line between each start and each end that has the limb's colour.

    What other limbs and dots cover counts neither way; a limb hidden between two dots counts half.
    """
    if not len(starts) or not len(ends):
        return np.zeros((len(starts), len(ends)))
    along = np.linspace(0, 1, 25)
    lines = ends[None] - starts[:, None]  # (a, b, 2)
    length = np.hypot(lines[..., 0], lines[..., 1])
    inner = np.minimum(along, 1 - along) * length[..., None] > radius + 1  # (a, b, points)
    points = np.rint(starts[:, None, None] + along[:, None] * lines[:, :, None]).astype(int)
    columns, rows = np.moveaxis(points, -1, 0)
    own = (mask[rows, columns] & inner).sum(axis=2)
    decided = own + (~colored[rows, columns] & inner).sum(axis=2)
    count = inner.sum(axis=2)
    shares = np.where(decided >= np.maximum(1, 0.15 * count), own / np.maximum(decided, 1), SUPPORTED)
    shares[count == 0] = TOO_SHORT_TO_SEE
    shares[length < 0.5] = 0
    return shares
