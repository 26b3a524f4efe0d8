"""The appearance encoder: the reference picture's latent to residuals for the UNet's skips and its middle."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Conv2d, StoredConv, zero_


class AppearanceEncoder(nn.Module):
    """A ladder of convolutions beside the UNet's way down, read out through convolutions that start at zero.

    In the manner of ControlNet (arXiv:2302.05543): an untrained encoder changes nothing.

    Args:
        latent_channels: channels of the reference latent.
        block_out_channels: widths of the UNet's levels.
        keep_unused: hold what a published file holds and nothing computes with.
    """

    def __init__(self, latent_channels: int, block_out_channels: Sequence[int], keep_unused: bool):
        super().__init__()
        widths = tuple(block_out_channels)
        self.conv_in = Conv2d(latent_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, next_width in zip(widths, (*widths[1:], widths[-1]), strict=True):
            self.blocks.append(Conv2d(width, width, 3, padding=1))
            self.blocks.append(Conv2d(width, next_width, 4, stride=2))
        self.skip_projections = nn.ModuleList(Conv2d(width, width, 1) for width in widths for _ in range(2))
        self.mid_conv = Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.mid_projection = Conv2d(widths[-1], widths[-1], 3, padding=1)
        for projection in (*self.skip_projections, self.mid_projection):
            zero_(projection.weight, projection.bias)
        if keep_unused:
            self.unused_input = StoredConv(latent_channels)
            self.unused_projection = StoredConv(widths[-1])

    def forward(self, reference_latents: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Encode one picture a sample.

        Args:
            reference_latents: (b, latent_channels, h, w).

        Returns:
            The residuals of the skips, two for each level, (b, width, 1, h, w) of the level, and that of the
            middle.
        """
        x = self.conv_in(reference_latents.contiguous(memory_format=torch.channels_last))
        features = [x]
        for block in self.blocks:
            # Padded by itself: where the output is one column wide, a CPU's bfloat16 kernel that pads returns
            # memory that nothing was written to.
            x = F.silu(block(F.pad(x, (1, 1, 1, 1)) if block.stride == (2, 2) else x))
            features.append(x)
        skips = zip(self.skip_projections, features, strict=False)  # the last feature is the middle's
        residuals = tuple(projection(feature).unsqueeze(2) for projection, feature in skips)
        return residuals, self.mid_projection(F.silu(self.mid_conv(x))).unsqueeze(2)
