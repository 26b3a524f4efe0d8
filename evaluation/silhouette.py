"""Poses followed, seen as a shape: where is the person, by the difference from a plain background?"""

import cv2
import numpy as np

BORDER = 3
FAINT = 5.0
"""A pixel may be the person if R, G or B differs by at least this, in 8-bit steps."""
NOISE_FACTOR = 4.0
"""It must also differ by this many times what three quarters of the frame's border stay below: an arm or a
skirt may touch a side."""
PROFILE_PASSES, PROFILE_SPARE = 4, 3.0
"""A head that touches the top edge is no background: how often columns are left out, and how many steps they
differ then from the curve through the others."""
CLEAR = 25.0
"""Difference from which on it is the person. What is faint, as white cloth on a white wall, must be broad, as
the rim around a blurred or compressed outline is not, or lie in a gap between clear pixels."""
FAINT_BREADTH, GAP = 9 / 256, 11 / 256
"""How broad, and how wide a gap, in picture heights."""
SHADOW_HEIGHT, SHADOW_SHARE, SHADOW_TINT = 0.08, 0.5, 8.0
"""A shadow on the floor: in the lowest 8 % of the person, all channels darker by one share of at most a half,
to 8 steps."""
EDGE_SHARE, EDGE_PASSES = 0.5, 2
"""A pixel of the outline belongs to the person where it has this much of the neighbouring person's
difference; the outline is looked at so many times, each time a pixel farther in."""
MIN_ISLAND, MAX_HOLE = 0.002, 0.001
"""Pieces smaller and holes smaller than these parts of the picture are specks."""


def estimate_background(photo: np.ndarray) -> np.ndarray:
    """The empty studio of a photo with a plain background, from the photo's border alone.

    The left and the right edge say how it changes from top to bottom, the top edge how it changes from side
    to side.

    Args:
        photo: (H, W, 3) uint8.

    Returns:
        (H, W, 3) float32 in 8-bit steps.
    """
    pixels = photo.astype(np.float32)
    left, right = (_smoothed(np.median(side, axis=1)) for side in (pixels[:, :BORDER], pixels[:, -BORDER:]))
    top = _curve(_smoothed(np.median(pixels[:BORDER], axis=0)))
    across = np.linspace(0, 1, photo.shape[1], dtype=np.float32)[:, None]
    rows = left[:, None] * (1 - across) + right[:, None] * across
    profile = top / np.maximum(top[:1] * (1 - across) + top[-1:] * across, 1)
    return rows * np.clip(profile, 0.9, 1.1)


def _curve(line: np.ndarray) -> np.ndarray:
    """The parabola that a line (n, 3) follows where nobody covers it, the same columns in all channels."""
    x, poly = np.linspace(-1, 1, len(line)), np.polynomial.polynomial
    kept = np.ones(len(line), bool)
    for _ in range(PROFILE_PASSES):
        curve = poly.polyval(x, poly.polyfit(x[kept], line[kept], 2)).T
        error = np.abs(line - curve).max(axis=1)
        kept = error <= max(PROFILE_SPARE, float(np.median(error)))
    return curve.astype(np.float32)


def _smoothed(line: np.ndarray) -> np.ndarray:
    """Median over a sixteenth of the line (n, 3): what touches the edge for a moment is left out."""
    window = max(3, len(line) // 16) | 1
    padded = np.pad(line, ((window // 2, window // 2), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window, axis=0), axis=-1)


def segment(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where the person is, (F, H, W) bool.

    Args:
        frames: (F, H, W, 3) uint8.
        background: (H, W, 3) float32, see `estimate_background`.
    """
    return np.stack([_segment_frame(frame.astype(np.float32), background) for frame in frames])


def _segment_frame(pixels: np.ndarray, background: np.ndarray) -> np.ndarray:
    difference = np.abs(pixels - background).max(axis=2)
    border = np.concatenate([difference[:BORDER].ravel(), *(difference[:, i] for i in (0, 1, -2, -1))])
    faint_from = max(FAINT, NOISE_FACTOR * float(np.percentile(border, 75)))
    clear_from = max(CLEAR, 1.5 * faint_from)
    possible = (difference > faint_from) & ~_floor_shadow(pixels, background, difference)
    clear = possible & (difference > clear_from)
    faint = (possible & ~clear).astype(np.uint8)
    person = clear.astype(np.uint8) | cv2.morphologyEx(
        faint, cv2.MORPH_OPEN, _disc(FAINT_BREADTH, difference)
    )
    person |= cv2.morphologyEx(person, cv2.MORPH_CLOSE, _disc(GAP, difference)) & faint
    person = _large_pieces(person > 0, MIN_ISLAND, connectivity=8)
    person = ~_large_pieces(~person, MAX_HOLE, connectivity=4)

    # An outline pixel is a mixture of person and background: more than half of it must be the person.
    window = np.ones((3, 3), np.uint8)
    for _ in range(EDGE_PASSES):
        inner = cv2.erode(person.astype(np.uint8), window) > 0
        nearby = cv2.dilate(np.where(inner, difference, 0), window)
        person &= inner | (difference >= EDGE_SHARE * nearby)
    return person


def _floor_shadow(pixels: np.ndarray, background: np.ndarray, difference: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero((difference > CLEAR).sum(axis=1) > 2)
    shadow = np.zeros(difference.shape, bool)
    if rows.size:
        start = int(rows[-1] - SHADOW_HEIGHT * (rows[-1] - rows[0]))
        below, empty = pixels[start:], background[start:]
        share = (below / np.maximum(empty, 1)).mean(axis=2)
        tint = np.abs(below - share[..., None] * empty).max(axis=2)
        shadow[start:] = (share < 1) & (share > 1 - SHADOW_SHARE) & (tint < SHADOW_TINT)
    return shadow


def _disc(size: float, picture: np.ndarray) -> np.ndarray:
    """A round structuring element, `size` in picture heights across."""
    width = max(3, round(size * picture.shape[0]) | 1)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))


def _large_pieces(mask: np.ndarray, share: float, connectivity: int) -> np.ndarray:
    """The connected pieces of an (H, W) bool mask that cover at least `share` of the picture."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    large = stats[:, cv2.CC_STAT_AREA] >= share * mask.size
    large[0] = False
    return large[pieces]


def iou(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Intersection over union of (F, H, W) bool masks, mean over frames; a frame empty in both counts 1."""
    intersection = (ours & theirs).sum(axis=(1, 2))
    union = (ours | theirs).sum(axis=(1, 2))
    return float(np.where(union > 0, intersection / np.maximum(union, 1), 1.0).mean())
