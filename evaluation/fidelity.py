"""Closeness to the true frames, pixel by pixel: SSIM, PSNR and L1, computed in floating point."""

import cv2
import numpy as np

MAX_PSNR_DB = 100.0
"""What equal pictures get in place of infinity."""
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def mean_squared_error(video: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean squared difference of each frame, in squared 8-bit steps.

    Subtracting bytes from bytes wraps around at 0 (3 - 5 = 254): everything is made float first.

    Args:
        video: (F, H, W, 3) uint8.
        truth: (F, H, W, 3) uint8.
        mask: (F, H, W) bool, the pixels that count; None for all.

    Returns:
        (F,) float64; NaN for a frame without such pixels.
    """
    squared = np.square(video.astype(np.float32) - truth.astype(np.float32)).mean(axis=3)
    if mask is None:
        return squared.mean(axis=(1, 2), dtype=np.float64)
    counts = mask.sum(axis=(1, 2))
    sums = (squared * mask).sum(axis=(1, 2), dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def psnr(video: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of (F, H, W, 3) uint8, the mean over the frames that `mask` reaches.

    Equal frames count `MAX_PSNR_DB`. NaN where no frame has a pixel that counts.
    """
    error = mean_squared_error(video, truth, mask)
    error = error[np.isfinite(error)]
    if not error.size:
        return float("nan")
    decibels = 10 * np.log10(255**2 / np.maximum(error, 255**2 / 10 ** (MAX_PSNR_DB / 10)))
    return float(decibels.mean())


def l1(video: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference of (F, H, W, 3) uint8, in 8-bit steps."""
    return float(np.abs(video.astype(np.float32) - truth.astype(np.float32)).mean(dtype=np.float64))


def ssim(video: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of (F, H, W, 3) uint8: the mean over frames, channels and places.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004: Gaussian
    windows of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03; only windows that lie inside the picture.
    """
    return float(np.mean([_ssim_picture(a, b) for a, b in zip(video, truth, strict=True)]))


def _ssim_picture(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float32), b.astype(np.float32)

    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    denominator = (mean_a**2 + mean_b**2 + SSIM_C1) * (variance_a + variance_b + SSIM_C2)
    return float((numerator / denominator).mean(dtype=np.float64))
