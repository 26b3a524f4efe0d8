"""How a denoising loop samples: its steps and guidance scales."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample; by default without guidance."""

    num_inference_steps: int
    """Denoising steps."""
    image_guidance_scale: float = 1.0
    """How much to follow the photo; 1 is neutral. See `diffusion.guidance`."""
    pose_guidance_scale: float = 1.0
    """How much to follow the poses."""
    text_guidance_scale: float = 1.0
    """How much to follow the sentence."""

    @property
    def guidance_scales(self) -> tuple[float, float, float]:
        """Those of the photo, the poses and the sentence."""
        return self.image_guidance_scale, self.pose_guidance_scale, self.text_guidance_scale
