"""Residual blocks, and the levels of the UNet that are built of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import SpatioTemporalAttention, TextAttention
from models.layers import Downsample, PseudoConv3d, Recomputing, Upsample, as_tokens, from_tokens

NORM_GROUPS = 8
"""Groups of every group norm; the widths of all levels are multiples of it."""


class ModulatedGroupNorm(nn.GroupNorm):
    """Group norm over channels, frames and positions together, whose output a timestep may scale and shift.

    The two are folded into its weight and bias, so the clip is read once less.
    """

    def forward(self, x: Tensor, scale_shift: Tensor | None = None) -> Tensor:
        """(b, c, f, h, w), and (n, 2 * channels) for n = b, or 1 where all share a timestep."""
        dtype = x.dtype
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if torch.is_grad_enabled() and dtype == torch.bfloat16:
            # On the CPU its backward is four times slower in bfloat16, though the casts are counted.
            x, weight, bias = x.float(), weight.float(), bias.float()
        if scale_shift is None:
            return F.group_norm(x, self.num_groups, weight, bias, self.eps).to(dtype)
        scale, shift = scale_shift.chunk(2, dim=1)
        weight, bias = weight * (scale + 1), bias * (scale + 1) + shift
        if len(scale) == 1:
            return F.group_norm(x, self.num_groups, weight[0], bias[0], self.eps).to(dtype)
        x = F.group_norm(x, self.num_groups, eps=self.eps)
        return torch.addcmul(bias[:, :, None, None, None], x, weight[:, :, None, None, None]).to(dtype)


class ConvBlock(nn.Module):
    """Pseudo-3D convolution, group norm, modulation, SiLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = PseudoConv3d(in_channels, out_channels)
        self.norm = ModulatedGroupNorm(NORM_GROUPS, out_channels)

    def forward(self, x: Tensor, scale_shift: Tensor | None = None) -> Tensor:
        """(b, c, f, h, w), and (n, 2 * out_channels) for n = b, or 1 where all share a timestep."""
        return F.silu(self.norm(self.conv(x), scale_shift), inplace=not torch.is_grad_enabled())


class ResidualBlock(nn.Module):
    """Two conv blocks and a shortcut; with `timestep_channels` the first one is modulated by the timestep."""

    def __init__(self, in_channels: int, out_channels: int, timestep_channels: int | None = None):
        super().__init__()
        self.timestep_linear = (
            None if timestep_channels is None else nn.Linear(timestep_channels, 2 * out_channels)
        )
        self.block1 = ConvBlock(in_channels, out_channels)
        self.block2 = ConvBlock(out_channels, out_channels)
        self.shortcut = None if in_channels == out_channels else nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, timestep_embedding: Tensor | None = None) -> Tensor:
        """(b, c, f, h, w) and, for a block that takes it, the timestep's embedding (b or 1, its channels)."""
        scale_shift = None
        if self.timestep_linear is not None:
            assert timestep_embedding is not None
            scale_shift = self.timestep_linear(F.silu(timestep_embedding))
        shortcut = x if self.shortcut is None else from_tokens(self.shortcut(as_tokens(x)))
        return self.block2(self.block1(x, scale_shift)) + shortcut


class DownLevel(nn.Module, Recomputing):
    """One level on the way down: residual blocks, attention where asked, half the size, text attention."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        timestep_channels: int,
        attention: SpatioTemporalAttention | None,
        text_attention: TextAttention,
        temporal: bool,
    ):
        super().__init__()
        self.resnets = nn.ModuleList(
            (
                ResidualBlock(in_channels, out_channels, timestep_channels),
                ResidualBlock(out_channels, out_channels),
                ResidualBlock(out_channels, out_channels),
            )
        )
        self.attention = attention
        self.downsample = Downsample(out_channels, temporal)
        self.text_attention = text_attention

    def forward(
        self,
        x: Tensor,
        timestep_embedding: Tensor,
        keys: Tensor | None,
        values: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The smaller (b, out_channels, f, h, w), and the level's two skips in the order they were made."""
        first = x = self.run(self.resnets[0], x, timestep_embedding)
        x = self.run(self.resnets[2], self.run(self.resnets[1], x))
        second = x = x if self.attention is None else self.run(self.attention, x)
        x = self.run(self.text_attention, self.downsample(x), keys, values)
        return x, (first, second)


class UpLevel(nn.Module, Recomputing):
    """One level on the way up: twice the size, residual blocks that take in the skips, attention."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        timestep_channels: int,
        attention: SpatioTemporalAttention | None,
        text_attention: TextAttention,
        temporal: bool,
    ):
        super().__init__()
        self.upsample = Upsample(out_channels, temporal)
        self.resnets = nn.ModuleList(
            (
                ResidualBlock(2 * out_channels, in_channels, timestep_channels),
                ResidualBlock(in_channels + out_channels, in_channels),
                ResidualBlock(in_channels, in_channels),
            )
        )
        self.attention = attention
        self.text_attention = text_attention

    def forward(
        self,
        x: Tensor,
        skips: tuple[Tensor, Tensor],
        timestep_embedding: Tensor,
        keys: Tensor | None,
        values: Tensor | None,
    ) -> Tensor:
        """(b, out_channels, f, h, w) and the level's scaled skips to the larger (b, in_channels, f, h, w)."""
        first, second = skips
        x = self.run(self.resnets[0], torch.cat((second, self.upsample(x)), dim=1), timestep_embedding)
        x = self.run(self.resnets[2], self.run(self.resnets[1], torch.cat((first, x), dim=1)))
        x = x if self.attention is None else self.run(self.attention, x)
        return self.run(self.text_attention, x, keys, values)
