"""The small VAEs: AutoencoderKL behind a space-to-depth stem, and one whose decoder sees the warped photo."""

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn import functional

from models.layers import zero_
from models.offloading import fires_hooks

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
LARGE_VAE_CONFIG: dict[str, Any] = {
    **SMALL_VAE_CONFIG,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [64, 96, 160],
    "latent_channels": 16,
}
"""For 512 x 256 pixels: 16 times smaller, the grid that SMALL_VAE_CONFIG has at 256 x 128."""
VAE_SIZES = {"f8": SMALL_VAE_CONFIG, "f16": LARGE_VAE_CONFIG}
TILE_SIZE = 512
"""Side in pixels of what is encoded and decoded at once with tiling."""
TINY_VAE_CONFIG: dict[str, Any] = {**SMALL_VAE_CONFIG, "block_out_channels": [8, 8], "layers_per_block": 1}


class SpaceToDepthAutoencoderKL(AutoencoderKL):
    """An `AutoencoderKL` that works on pixels folded into channels.

    Full-resolution convolutions are most of what a plain `AutoencoderKL` costs. Here a square of
    `stem_factor` x `stem_factor` pixels becomes channels before the encoder and is unfolded after the decoder
    (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", 2016), so that the first convolution already runs on a small grid. The interface is
    AutoencoderKL's: pictures go in and come out as (n, 3, H, W).

    Configured as `AutoencoderKL` is, with `in_channels` = `out_channels` = 3 x stem_factor^2. With
    `enable_tiling` pictures are taken in tiles of 512 x 512 pixels.
    """

    # diffusers reads the settings' names from the signature.
    @functools.wraps(AutoencoderKL.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Sides of a tile: AutoencoderKL takes them from `sample_size`, which knows nothing of the stem.
        self.tile_sample_min_size = TILE_SIZE // self.stem_factor
        self.tile_latent_min_size = self.tile_sample_min_size // 2 ** (
            len(self.config.block_out_channels) - 1
        )

    @property
    def stem_factor(self) -> int:
        """Side of the square of pixels that becomes channels."""
        return math.isqrt(self.config.in_channels // 3)

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        return super()._encode(functional.pixel_unshuffle(x, self.stem_factor))

    def _decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        sample = functional.pixel_shuffle(super()._decode(z).sample, self.stem_factor)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


class PhotoEncoder(nn.Module):
    """What the decoder sees of the warped photo: features on each of its grids.

    Args:
        in_channels: of the folded picture and its validity.
        channels: inside.
        out_channels: of each grid, the finest first; two or more.
        num_groups: of the normalisations.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: Sequence[int], num_groups: int) -> None:
        super().__init__()

        def block() -> ResnetBlock2D:
            sizes = {"in_channels": channels, "out_channels": channels, "temb_channels": None}
            return ResnetBlock2D(**sizes, groups=num_groups, eps=1e-6)

        def down() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1)

        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.fine = block()
        self.down = down()
        self.coarse = block()
        self.fine_out, self.coarse_out, *others = (nn.Conv2d(channels, width, 1) for width in out_channels)
        self.deeper = nn.ModuleList(
            nn.ModuleDict({"down": down(), "block": block(), "out": out}) for out in others
        )
        for conv in (self.fine_out, self.coarse_out, *others):
            zero_(*conv.parameters())

    def forward(self, folded: torch.Tensor) -> list[torch.Tensor]:
        """(n, in_channels, h, w) to one of (n, out_channels[i], h / 2^i, w / 2^i) for each grid."""
        x = self.fine(self.conv_in(folded), None)
        features = [self.fine_out(x)]
        x = self.coarse(self.down(x), None)
        features.append(self.coarse_out(x))
        for grid in cast(Iterable[nn.ModuleDict], self.deeper):
            x = grid["block"](grid["down"](x), None)
            features.append(grid["out"](x))
        return features


class ReferenceAutoencoderKL(SpaceToDepthAutoencoderKL):
    """A `SpaceToDepthAutoencoderKL` whose decoder also sees the photo, warped to the frame's pose.

    Latents of few channels lose faces and fine patterns, and the photo has them at full resolution. As in Zhu
    et al., "Designing a Better Asymmetric VQGAN for StableDiffusion", 2023, the decoder is given a picture
    beside the latents; here it is the photo moved to the pose, with how far each of its pixels is right, and
    the decoder says for each pixel how much of that picture it takes as it is. The encoder, and so the
    latents, are those of the VAE that this one was made from.

    Configured as `AutoencoderKL` is, with two levels or more and `in_channels` = `out_channels` =
    3 x stem_factor^2.
    """

    # The decoder's layers are called one by one: it stays one group, which `decode` loads.
    _group_offload_block_modules = ["encoder", "quant_conv"]  # noqa: RUF012

    # diffusers reads the settings' names from the signature.
    @functools.wraps(AutoencoderKL.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = self.config
        fine, *coarser = config.block_out_channels
        self.photo_encoder = PhotoEncoder(
            config.in_channels + self.stem_factor**2, fine, [*coarser, coarser[-1]], config.norm_num_groups
        )
        self.gate_out = nn.Conv2d(fine, self.stem_factor**2, 3, padding=1)
        zero_(*self.gate_out.parameters())

    @fires_hooks
    def decode(
        self,
        z: torch.Tensor,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
        *,
        warped: torch.Tensor | None = None,
        validity: torch.Tensor | None = None,
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Decode latents, with or without the warped photo.

        Args:
            z: (n, c, h, w).
            return_dict: whether to return a `DecoderOutput` instead of a tuple of one.
            generator: not used.
            warped: (n, 3, H, W) in [-1, 1], the photo moved to each frame's pose. Its precision is that of
                the result, whatever the network's.
            validity: (n, 1, H, W) in 0..1, how far its pixels are right; one that is 0 everywhere stands for
                no photo.
        """
        if warped is None or validity is None:
            return super().decode(z, return_dict, generator)
        if self.use_slicing and len(z) > 1:
            slices = zip(z.split(1), warped.split(1), validity.split(1), strict=True)
            sample = torch.cat([self._decode_with_photo(*one) for one in slices])
        elif self.use_tiling and max(z.shape[-2:]) > self.tile_latent_min_size:
            sample = self._decode_tiles(z, warped, validity)
        else:
            sample = self._decode_with_photo(z, warped, validity)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def _decode_tiles(self, z: torch.Tensor, warped: torch.Tensor, validity: torch.Tensor) -> torch.Tensor:
        """Decode overlapping tiles, and crossfade where they overlap."""
        scale = warped.shape[-1] // z.shape[-1]
        total, weights = torch.zeros_like(warped), torch.zeros_like(validity, dtype=warped.dtype)
        rows, columns = (_tiles(side, self.tile_latent_min_size) for side in z.shape[-2:])
        for latent in itertools.product(rows, columns):
            parts = (slice(part.start * scale, part.stop * scale) for part in latent)
            pixels: Any = (..., *parts)
            tile = self._decode_with_photo(z[..., *latent], warped[pixels], validity[pixels])
            weight = torch.outer(*(_tent(side).to(tile) for side in tile.shape[-2:]))
            total[pixels] += weight * tile
            weights[pixels] += weight
        return total / weights

    def _decode_with_photo(
        self, z: torch.Tensor, warped: torch.Tensor, validity: torch.Tensor
    ) -> torch.Tensor:
        photo = functional.pixel_unshuffle(torch.cat([warped, validity], 1), self.stem_factor).to(z.dtype)
        has_photo = (validity.amax((1, 2, 3), keepdim=True) > 0).to(z.dtype)
        features = [feature * has_photo for feature in self.photo_encoder(photo)]
        decoder = self.decoder
        x = decoder.conv_in(z if self.post_quant_conv is None else self.post_quant_conv(z))
        x = decoder.mid_block(x + features[-1])
        for number, block in enumerate(decoder.up_blocks):
            x = block(x + features[-1 - number] if number else x)
        x = decoder.conv_act(decoder.conv_norm_out(x))
        sample = functional.pixel_shuffle(decoder.conv_out(x), self.stem_factor).to(warped.dtype)
        gate = functional.pixel_shuffle(self.gate_out(x).sigmoid(), self.stem_factor) * (validity > 0)
        return sample + gate * (warped - sample)


def _tiles(side: int, tile: int) -> list[slice]:
    """Parts of `tile` that cover `side` and overlap by a quarter or more; the last one ends where it ends."""
    if side <= tile:
        return [slice(0, side)]
    count = math.ceil((side - tile) / (tile * 3 // 4)) + 1
    starts = [round(i * (side - tile) / (count - 1)) for i in range(count)]
    return [slice(start, start + tile) for start in starts]


def _tent(side: int) -> torch.Tensor:
    """(side,) weights that rise from the ends to the middle."""
    return torch.minimum(torch.arange(1, side + 1), torch.arange(side, 0, -1))
