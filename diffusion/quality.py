"""Ways to spend less on a video: levels of quality, and which steps save what."""

import dataclasses
import math
from collections.abc import Sequence

from diffusion.guidance import Branch
from utils.errors import UserError

UNGUIDED = [Branch(image=True, poses=True, text=True, weight=1.0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Savings:
    """What a denoising loop leaves out; by default nothing.

    Raises:
        UserError: a number out of its range.
    """

    reuse_interval: int = 1
    """Compute the levels below the outermost one in every so many-th step, and take their features from the
    last of these in between (Ma et al., "DeepCache", 2023)."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """From which to which share of the steps guidance scales hold; before and after, one prediction with all
    conditions is made (Kynkaanniemi et al., "Applying Guidance in a Limited Interval Improves Sample and
    Distribution Quality in Diffusion Models", 2024)."""

    def __post_init__(self) -> None:
        if self.reuse_interval < 1:
            raise UserError(f"reuse_interval is {self.reuse_interval}; give at least 1, which reuses nothing")
        start, end = self.guidance_interval
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end <= 1):
            raise UserError(
                f"guidance_interval is {start} {end}; give two shares of the steps, 0 <= first <= second <= 1"
            )

    def branches(self, branches: Sequence[Branch], step: int, num_steps: int) -> Sequence[Branch]:
        """The predictions that step number `step` of `num_steps` needs, of those that guidance does."""
        start, end = self.guidance_interval
        return branches if start <= step / num_steps < end else UNGUIDED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """A level: how a loop samples."""

    scheduler: str
    """A name in `diffusion.schedule.SAMPLERS`."""
    num_inference_steps: int
    savings: Savings = dataclasses.field(default_factory=Savings)


_NOISE_PREDICTORS = {
    "fast": Quality(
        scheduler="dpmsolver++",
        num_inference_steps=6,
        savings=Savings(reuse_interval=2, guidance_interval=(0.15, 0.7)),
    ),
    "balanced": Quality(
        scheduler="unipc", num_inference_steps=12, savings=Savings(guidance_interval=(0.05, 0.85))
    ),
    "best": Quality(scheduler="dpmsolver++", num_inference_steps=50),
}
QUALITIES: dict[str, dict[str, Quality]] = {
    "sample": {
        "fast": Quality(scheduler="ddim", num_inference_steps=1),
        "balanced": Quality(scheduler="ddim", num_inference_steps=4),
        "best": Quality(scheduler="ddim", num_inference_steps=50),
    },
    "epsilon": _NOISE_PREDICTORS,
    "v_prediction": _NOISE_PREDICTORS,
}
"""Prediction type -> name -> level.

A model that predicts clean latents has the person right in one step; more make her sharper and her motion
truer, and flicker more. docs/inference.md has the figures.
"""
