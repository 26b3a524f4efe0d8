"""Levels of quality: a scheduler and a number of steps, by name."""

from typing import NamedTuple


class Quality(NamedTuple):
    """A level."""

    scheduler: str
    """A name in `diffusion.schedule.SAMPLERS`."""
    num_inference_steps: int


_NOISE_PREDICTORS = {
    "fast": Quality("dpmsolver++", 6),
    "balanced": Quality("unipc", 12),
    "best": Quality("dpmsolver++", 50),
}
QUALITIES: dict[str, dict[str, Quality]] = {
    "sample": {"fast": Quality("ddim", 1), "balanced": Quality("ddim", 4), "best": Quality("ddim", 50)},
    "epsilon": _NOISE_PREDICTORS,
    "v_prediction": _NOISE_PREDICTORS,
}
"""Prediction type -> name -> level.

A model that predicts clean latents has the person right in one step; more make her sharper and her motion
truer, and flicker more. docs/benchmarks.md has the figures.
"""
