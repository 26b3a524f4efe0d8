"""Appearance kept: do clothes and skin have the truth's colours and patterns, inside the true mask?"""

from collections.abc import Sequence

import cv2
import numpy as np

MIN_PIXELS = 24
"""A part counts in a frame where it covers at least this many pixels at 256 pixels of height."""
HIGH_PASS_SIGMA = 0.02
"""Of the Gaussian that the high-pass takes away, in picture heights: below the period of a pattern."""
PATTERNED_STEPS = 4.0
"""Cloth has a pattern to correlate with where its high-passed truth deviates by this much, in 8-bit steps."""


def part_colors(frames: np.ndarray, masks: np.ndarray, part: int) -> np.ndarray:
    """Mean colour of one part in each frame, (F, 3) float64 in 8-bit RGB steps; NaN where it is hardly seen.

    Args:
        frames: (F, H, W, 3) uint8.
        masks: (F, H, W) uint8 part indices.
        part: the index.
    """
    inside = masks == part
    counts = inside.sum(axis=(1, 2))
    sums = np.stack(
        [frame[where].sum(axis=0, dtype=np.float64) for frame, where in zip(frames, inside, strict=True)]
    )
    enough = counts >= max(1, MIN_PIXELS * (frames.shape[1] / 256) ** 2)
    return np.where(enough[:, None], sums / np.maximum(counts, 1)[:, None], np.nan)


def color_errors(
    video: np.ndarray, truth: np.ndarray, masks: np.ndarray, parts: Sequence[int]
) -> tuple[float, float]:
    """Difference of the mean colours of parts inside the true masks, the mean over parts and frames.

    Args:
        video: (F, H, W, 3) uint8.
        truth: (F, H, W, 3) uint8.
        masks: (F, H, W) uint8 part indices of the truth.
        parts: the indices that count.

    Returns:
        The mean absolute difference over R, G and B in 8-bit steps, and deltaE (CIE 1976: the distance in
        L*a*b*); NaN where none of the parts is seen.
    """
    steps, distances = [], []
    for part in parts:
        ours, theirs = part_colors(video, masks, part), part_colors(truth, masks, part)
        seen = np.isfinite(theirs[:, 0])
        if seen.any():
            ours, theirs = ours[seen], theirs[seen]
            steps.append(np.abs(ours - theirs).mean(axis=1))
            distances.append(np.linalg.norm(to_lab(ours) - to_lab(theirs), axis=1))
    if not steps:
        return float("nan"), float("nan")
    return float(np.concatenate(steps).mean()), float(np.concatenate(distances).mean())


def to_lab(colors: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of (n, 3) sRGB colours in 8-bit steps."""
    return cv2.cvtColor((colors[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0].astype(np.float64)


def high_pass(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What is left of one picture inside a mask after its local mean there is taken away.

    The mean looks at the mask's own pixels only (normalised convolution), so that neighbouring colours do not
    leak in.

    Args:
        frame: (H, W, 3) uint8.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) float32 in 8-bit steps; zeros outside.
    """
    sigma = HIGH_PASS_SIGMA * frame.shape[0]
    weight = mask.astype(np.float32)
    pixels = frame.astype(np.float32) * weight[..., None]
    local = (
        cv2.GaussianBlur(pixels, (0, 0), sigma)
        / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)[..., None]
    )
    return (pixels - local) * weight[..., None]


def texture(
    video: np.ndarray, truth: np.ndarray, masks: np.ndarray, parts: Sequence[int]
) -> tuple[float, float]:
    """Compare the high-passed cloth with the truth's.

    Args:
        video: (F, H, W, 3) uint8.
        truth: (F, H, W, 3) uint8.
        masks: (F, H, W) uint8 part indices of the truth.
        parts: indices of the cloth.

    Returns:
        The correlation of the patterns (Pearson, over pixels and channels, the mean over patterned parts and
        frames; NaN where no cloth has a pattern), and the texture energy: the video's standard deviation over
        the truth's (NaN where no cloth is seen).
    """
    correlations: list[float] = []
    energies = np.zeros(2)
    for part in parts:
        for frame, true_frame, mask in zip(video, truth, masks, strict=True):
            inside = cv2.erode((mask == part).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            if inside.sum() < max(1, MIN_PIXELS * (frame.shape[0] / 256) ** 2):
                continue
            ours, theirs = high_pass(frame, inside)[inside], high_pass(true_frame, inside)[inside]
            energies += np.square(ours).sum(), np.square(theirs).sum()
            if theirs.std() >= PATTERNED_STEPS:
                scale = np.sqrt(np.square(ours).sum() * np.square(theirs).sum())
                correlations.append(float((ours * theirs).sum() / scale) if scale > 0 else 0.0)
    correlation = float(np.mean(correlations)) if correlations else float("nan")
    energy = float(np.sqrt(energies[0] / energies[1])) if energies[1] > 0 else float("nan")
    return correlation, energy
