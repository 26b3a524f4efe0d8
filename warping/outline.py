"""The person's outline in a photo with a plain background, and the photo without her."""

import cv2
import numpy as np

REACH = 0.5  # torso lengths around the skeleton in which the person is looked for
SMALLEST_DIFFERENCE = 7.0  # of 255: what differs less from the background is background
PLAIN = 0.25  # largest share of the surroundings that may differ from a smooth background
SHADOW = (0.45, 0.98)  # brightness of a shadow on the floor over the brightness of the floor


def fit_background(image: np.ndarray, far: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Fit a second-degree polynomial in the pixel's place to what is far from the person.

    Args:
        image: (H, W, 3) uint8.
        far: (H, W) bool; where it is nearly nowhere, the picture's border is taken.

    Returns:
        The background (H, W, 3) float32, its median error, and whether the background is plain.
    """
    height, width = image.shape[:2]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    if far.mean() < 0.02:
        rim = height // 32 + 1, width // 32 + 1
        far = np.ones((height, width), bool)
        far[rim[0] : -rim[0], rim[1] : -rim[1]] = False
    rows, columns = np.nonzero(far)
    step = max(1, len(rows) // 4000)
    rows, columns = rows[::step], columns[::step]
    samples, values = basis[rows, columns], image[rows, columns].astype(np.float32)
    keep = np.ones(len(rows), bool)
    for _ in range(3):
        fit = np.linalg.lstsq(samples[keep], values[keep], rcond=None)[0]
        error = np.abs(samples @ fit - values).max(axis=1)
        keep = error <= max(6.0, 2.5 * float(np.median(error)))
    return (basis @ fit).astype(np.float32), float(np.median(error)), bool((error > 30).mean() <= PLAIN)


def find_person(
    image: np.ndarray,
    nearest: np.ndarray,
    core: np.ndarray,
    floors: tuple[np.ndarray, np.ndarray],
    length: float,
) -> np.ndarray:
    """Where the person stands, by the difference to a smooth background.

    Args:
        image: (H, W, 3) uint8.
        nearest: (H, W) pixels to the skeleton; what is far from it is background.
        core: (H, W) bool, certainly the person.
        floors: (H, W) bool each, where a shadow may lie: for a first look, which leaves whole feet out, and
            for a second, at which the floor beside the feet is known with the shadow on it.
        length: of the torso in pixels.

    Returns:
        (H, W) float32 in 0..1.
    """
    background, noise, plain = fit_background(image, nearest > REACH * length)
    if not plain:  # trust the skeleton alone
        soft = np.clip(1 - (nearest - 0.16 * length) / (0.04 * length), 0, 1)
        return np.maximum(soft, core).astype(np.float32)
    pixels = image.astype(np.float32)
    threshold = max(SMALLEST_DIFFERENCE, 3 * noise)
    near = np.clip(5 - nearest / (REACH * length) * 4, 0, 1)
    # Twice: what the first look leaves, bridged behind the person, is truer than the polynomial.
    for floor in floors:
        person = np.clip(np.abs(pixels - background).max(axis=-1) / threshold - 1, 0, 1)
        share = pixels.sum(axis=-1) / np.maximum(background.sum(axis=-1), 1)
        tint = np.abs(pixels - share[..., None] * background).max(axis=-1)
        shadow = floor & (share > SHADOW[0]) & (share < SHADOW[1]) & (tint < max(7.0, 3 * noise))
        person = np.maximum(np.where(shadow, 0, person * near), core).astype(np.float32)
        background = empty_background(image, person).astype(np.float32)
        threshold = max(SMALLEST_DIFFERENCE / 2, 2 * noise)
    person = fill_holes(person, length)
    return (
        cv2.medianBlur((person * 255).astype(np.uint8), 3).astype(np.float32) / 255 if noise > 2 else person
    )


def fill_holes(person: np.ndarray, length: float) -> np.ndarray:
    """Fill holes too small to be what shows between an arm and the body."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (person < 0.5).astype(np.uint8), connectivity=4
    )
    small = stats[:, cv2.CC_STAT_AREA] < (0.12 * length) ** 2
    small[0] = False
    return np.where(small[labels], 1, person).astype(np.float32) if count > 1 else person


def empty_background(image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The photo (H, W, 3) uint8 without the person: each row is bridged from her left to her right."""
    height, width = person.shape
    grow = np.ones((max(3, height // 64) | 1,) * 2, np.uint8)
    covered = cv2.dilate((person > 0.05).astype(np.uint8), grow).astype(bool)
    plate = image.astype(np.float32)
    columns = np.arange(width)
    border = np.median(np.concatenate([plate[0], plate[:, 0], plate[:, -1]]), axis=0)
    for row in np.flatnonzero(covered.any(axis=1)):
        free = np.flatnonzero(~covered[row])
        if not len(free):
            plate[row] = border
            continue
        for channel in range(3):
            plate[row, covered[row], channel] = np.interp(
                columns[covered[row]], free, plate[row, free, channel]
            )
    smooth = cv2.GaussianBlur(plate, (0, 0), max(1.0, height / 128))
    return np.where(covered[..., None], smooth, plate).astype(np.uint8)


def refine_edge(
    image: np.ndarray, background: np.ndarray, person: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far the pixels along the outline are mixed with the background.

    A mixed pixel is a F + (1 - a) B, with F the nearest pixel well inside and B the empty background, so a
    is the projection of (pixel - B) on (F - B).

    Returns:
        person (H, W) float32 with that a along its edge, and the edge (H, W) bool, whose own colours are not
        clean.
    """
    solid = (person > 0.5).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    inner, outer = (
        cv2.erode(solid, kernel, borderValue=1).astype(bool),
        cv2.dilate(solid, kernel).astype(bool),
    )
    edge = outer & ~inner
    if not inner.any() or not edge.any():
        return person, edge
    front = nearest_colors(image, inner)[edge].astype(np.float32)
    behind, pixels = background[edge].astype(np.float32), image[edge].astype(np.float32)
    contrast = np.square(front - behind).sum(axis=1)
    mixed = np.clip(((pixels - behind) * (front - behind)).sum(axis=1) / np.maximum(contrast, 1), 0, 1)
    refined = person.copy()
    refined[edge] = np.where(contrast > 30**2, mixed, person[edge])
    edge[edge] = refined[edge] < 0.9
    return refined, edge


def nearest_colors(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3); pixels outside `known` (H, W) bool take the nearest known pixel's colour."""
    if not known.any() or known.all():
        return image.copy()
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    color_of = np.zeros((labels.max() + 1, 3), np.uint8)
    color_of[labels[known]] = image[known]
    return color_of[labels]
