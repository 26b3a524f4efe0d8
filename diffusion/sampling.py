"""How a denoising loop samples: steps, guidance scales, and what it may leave out."""

import dataclasses
import math
from collections.abc import Sequence

from diffusion.guidance import Branch
from utils.errors import UserError

UNGUIDED = [Branch(image=True, poses=True, text=True, weight=1.0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample; by default without guidance, and nothing is left out.

    Raises:
        UserError: a number out of its range.
    """

    num_inference_steps: int
    """Denoising steps."""
    image_guidance_scale: float = 1.0
    """How much to follow the photo; 1 is neutral. See `diffusion.guidance`."""
    pose_guidance_scale: float = 1.0
    """How much to follow the poses."""
    text_guidance_scale: float = 1.0
    """How much to follow the sentence."""
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

    @property
    def guidance_scales(self) -> tuple[float, float, float]:
        """Those of the photo, the poses and the sentence."""
        return self.image_guidance_scale, self.pose_guidance_scale, self.text_guidance_scale

    def branches(self, branches: Sequence[Branch], step: int, num_steps: int) -> Sequence[Branch]:
        """The predictions that step number `step` of `num_steps` needs, of those that guidance does."""
        start, end = self.guidance_interval
        return branches if start <= step / num_steps < end else UNGUIDED
