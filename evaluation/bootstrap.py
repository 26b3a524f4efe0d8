"""Means over clips, with how far they can be trusted."""

from collections.abc import Sequence

import numpy as np

Estimate = dict[str, float | int]


def estimate_mean(values: Sequence[float], seed: int = 0, num_resamples: int = 2000) -> Estimate:
    """Mean over clips with its 95 % confidence interval, by the percentile bootstrap.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Clips are what is drawn again:
    the frames of one clip are not independent of each other.

    Args:
        values: one finite number a clip, at least one.
        seed: seed of the resampling.
        num_resamples: how often all clips are drawn anew, with replacement.

    Returns:
        {"mean", "ci_low", "ci_high", "n"}; n is the number of clips.
    """
    numbers = np.asarray(values, np.float64)
    assert numbers.ndim == 1 and numbers.size and np.isfinite(numbers).all(), numbers
    draws = np.random.default_rng(seed).integers(0, numbers.size, (num_resamples, numbers.size))
    low, high = np.percentile(numbers[draws].mean(axis=1), [2.5, 97.5])
    return {
        "mean": float(numbers.mean()),
        "ci_low": float(low),
        "ci_high": float(high),
        "n": int(numbers.size),
    }
