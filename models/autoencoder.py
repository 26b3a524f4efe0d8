"""The small VAE: AutoencoderKL behind a space-to-depth stem, cheap enough to train on a CPU."""

import math
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput
from torch.nn import functional

SMALL_VAE_CONFIG: dict[str, Any] = {
    "in_channels": 48,
    "out_channels": 48,
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [64, 128],
    "layers_per_block": 2,
    "latent_channels": 8,
    "norm_num_groups": 8,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
}
TINY_VAE_CONFIG: dict[str, Any] = {**SMALL_VAE_CONFIG, "block_out_channels": [8, 8], "layers_per_block": 1}


class SpaceToDepthAutoencoderKL(AutoencoderKL):
    """An `AutoencoderKL` that works on pixels folded into channels.

    Full-resolution convolutions are most of what a plain `AutoencoderKL` costs. Here a square of
    `stem_factor` x `stem_factor` pixels becomes channels before the encoder and is unfolded after the decoder
    (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", 2016), so that the first convolution already runs on a small grid. The interface is
    AutoencoderKL's: pictures go in and come out as (n, 3, H, W).

    Configured as `AutoencoderKL` is, with `in_channels` = `out_channels` = 3 x stem_factor^2.
    """

    @property
    def stem_factor(self) -> int:
        """Side of the square of pixels that becomes channels."""
        return math.isqrt(self.config.in_channels // 3)

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        return super()._encode(functional.pixel_unshuffle(x, self.stem_factor))

    def _decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        sample = functional.pixel_shuffle(super()._decode(z).sample, self.stem_factor)
        return DecoderOutput(sample=sample) if return_dict else (sample,)
