"""Levels of quality: a scheduler and how it samples, by name."""

import dataclasses

from diffusion.sampling import Sampling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """A level."""

    scheduler: str
    """A name in `diffusion.schedule.SAMPLERS`."""
    sampling: Sampling
    """Its steps, and what it leaves out."""


_NOISE_PREDICTORS = {
    "fast": Quality(
        scheduler="dpmsolver++",
        sampling=Sampling(num_inference_steps=6, reuse_interval=2, guidance_interval=(0.15, 0.7)),
    ),
    "balanced": Quality(
        scheduler="unipc", sampling=Sampling(num_inference_steps=12, guidance_interval=(0.05, 0.85))
    ),
    "best": Quality(scheduler="dpmsolver++", sampling=Sampling(num_inference_steps=50)),
}
QUALITIES: dict[str, dict[str, Quality]] = {
    "sample": {
        "fast": Quality(scheduler="ddim", sampling=Sampling(num_inference_steps=1)),
        "balanced": Quality(scheduler="ddim", sampling=Sampling(num_inference_steps=4)),
        "best": Quality(scheduler="ddim", sampling=Sampling(num_inference_steps=50)),
    },
    "epsilon": _NOISE_PREDICTORS,
    "v_prediction": _NOISE_PREDICTORS,
}
"""Prediction type -> name -> level.

A model that predicts clean latents has the person right in one step; more make her sharper and her motion
truer, and flicker more. docs/inference.md has the figures.
"""
