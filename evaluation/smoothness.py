"""Smoothness: does the video move as much as the truth, along the same paths, without flickering?"""

import cv2
import numpy as np

FLOW_AGREEMENT = (0.01, 0.5)
"""Forward and backward flow agree where |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram et al., 2010)."""
STILL_STEPS = 0.05
"""A truth that changes less than this, in 8-bit steps a frame, has no motion to compare with."""
FLICKER_WINDOW = 5


def motion_ratio(video: np.ndarray, truth: np.ndarray) -> float:
    """Mean change from frame to frame over the truth's; (F, H, W, 3) uint8. NaN where the truth is still."""
    change = _frame_change(truth)
    return _frame_change(video) / change if change > STILL_STEPS else float("nan")


def _frame_change(video: np.ndarray) -> float:
    pixels = video.astype(np.float32)
    return float(np.abs(pixels[1:] - pixels[:-1]).mean(dtype=np.float64))


def warping_error(video: np.ndarray, truth: np.ndarray) -> float:
    """How much the video changes its colours along the true motion, in 8-bit steps.

    After Lai et al., "Learning Blind Video Temporal Consistency", 2018: each frame is compared with its
    predecessor carried along the optical flow (DIS, medium preset), over pixels whose forward and backward
    flow agree. The flow is the true video's, so that a still picture does not pass for a smooth one; and what
    the truth itself changes (light, folds, the flow's own errors) is taken off pixel by pixel.

    Args:
        video: (F, H, W, 3) uint8, F >= 2.
        truth: (F, H, W, 3) uint8.

    Returns:
        The mean over channels, agreeing pixels and frames; NaN where no flow agrees.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth]
    errors = []
    for i in range(1, len(video)):
        backward = estimator.calc(grey[i], grey[i - 1], None)
        forward = estimator.calc(grey[i - 1], grey[i], None)
        seen = agreeing(backward, forward)
        if seen.any():
            ours, theirs = (_change_along(clip[i - 1], clip[i], backward) for clip in (video, truth))
            errors.append(np.maximum(ours - theirs, 0)[seen].mean(dtype=np.float64))
    return float(np.mean(errors)) if errors else float("nan")


def _change_along(previous: np.ndarray, current: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: how far a frame differs from its predecessor carried along the flow."""
    return np.abs(current.astype(np.float32) - follow(previous.astype(np.float32), flow))


def follow(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Look up `picture` (H, W[, C]) at each pixel plus `flow` (H, W, 2), x and y in pixels."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def agreeing(backward: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Where two flows (H, W, 2) undo each other, (H, W) bool; elsewhere one frame hides something."""
    back = follow(forward, backward)
    mismatch = np.square(backward + back).sum(axis=2)
    size = np.square(backward).sum(axis=2) + np.square(back).sum(axis=2)
    height, width = mismatch.shape
    x = np.arange(width, dtype=np.float32)[None] + backward[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + backward[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    share, offset = FLOW_AGREEMENT
    return (mismatch < share * size + offset) & inside


def flicker(video: np.ndarray, truth: np.ndarray) -> float:
    """How much more the video jumps to and fro than the truth does, in 8-bit steps.

    The second difference over time, |x[t-1] - 2 x[t] + x[t+1]| / 2 of the picture averaged over 5 x 5 pixels,
    is large where brightness or colour goes one way and back, and small for steady motion; what exceeds the
    truth's is averaged.

    Args:
        video: (F, H, W, 3) uint8, F >= 3.
        truth: (F, H, W, 3) uint8.
    """
    excess = _second_difference(video) - _second_difference(truth)
    return float(np.maximum(excess, 0).mean(dtype=np.float64))


def _second_difference(video: np.ndarray) -> np.ndarray:
    smooth = np.stack(
        [cv2.blur(frame.astype(np.float32), (FLICKER_WINDOW, FLICKER_WINDOW)) for frame in video]
    )
    return np.abs(smooth[:-2] - 2 * smooth[1:-1] + smooth[2:]) / 2
