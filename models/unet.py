"""The pseudo-3D UNet: noisy latents of a clip to what the model predicts of it."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.attention import SpatioTemporalAttention, TextAttention
from models.blocks import DownLevel, ResidualBlock, UpLevel
from models.layers import PseudoConv3d, Recomputing, TimestepEmbedding

SKIP_SCALE = 1 / math.sqrt(2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetParams:
    """Sizes of a UNet."""

    in_channels: int
    """Channels of the input; more than the latent's where conditions are given as input."""
    out_channels: int
    """Channels of the output."""
    block_out_channels: Sequence[int]
    """Width of each level, from the largest pictures down."""
    text_attention_heads: Sequence[int]
    """Heads of the attention to the text of each level."""
    spatio_temporal_attention: Sequence[bool]
    """For each level, whether it has attention in space and over frames; the middle has."""
    temporal_downsample: Sequence[bool]
    """For each level, whether it halves the number of frames too."""
    attention_heads: int
    """Heads of the attention in space and over frames."""
    attention_head_dim: int
    """Channels of each of these heads."""
    cross_attention_dim: int
    """Width of the text's embeddings."""
    keep_unused: bool
    """Hold what a published file holds and nothing computes with."""

    def attention(self, channels: int) -> SpatioTemporalAttention:
        """Attention in space and over frames at a level of this width."""
        return SpatioTemporalAttention(
            channels, self.attention_heads, self.attention_head_dim, self.keep_unused
        )


class UNet(nn.Module, Recomputing):
    """A UNet over clips that adds poses to its first features and appearance to its skips and middle."""

    def __init__(self, params: UNetParams):
        super().__init__()
        base, deepest = params.block_out_channels[0], params.block_out_channels[-1]
        timestep_channels = 4 * base

        self.timestep_embedding = TimestepEmbedding(base, timestep_channels)
        self.conv_in = PseudoConv3d(params.in_channels, base, kernel_size=7)
        self.down_levels, self.up_levels = nn.ModuleList(), nn.ModuleList()
        in_width = base
        for out_width, heads, has_attention, temporal in zip(
            params.block_out_channels,
            params.text_attention_heads,
            params.spatio_temporal_attention,
            params.temporal_downsample,
            strict=True,
        ):
            for level_class, levels, width in (
                (DownLevel, self.down_levels, out_width),
                (UpLevel, self.up_levels, in_width),
            ):
                levels.append(
                    level_class(
                        in_width,
                        out_width,
                        timestep_channels,
                        params.attention(width) if has_attention else None,
                        TextAttention(width, params.cross_attention_dim, heads),
                        temporal,
                    )
                )
            in_width = out_width
        self.mid_resnet1 = ResidualBlock(deepest, deepest, timestep_channels)
        self.mid_attention = params.attention(deepest)
        self.mid_resnet2 = ResidualBlock(deepest, deepest, timestep_channels)
        self.conv_out = PseudoConv3d(base, params.out_channels)

    def encode_text(self, prompt_embeds: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Embeddings (b, n, d) to the keys and the values of every level: those down, then those up."""
        levels = (*self.down_levels, *self.up_levels)
        keys, values = zip(
            *(level.text_attention.encode_text(prompt_embeds) for level in levels), strict=True
        )
        return keys, values

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        text_keys: Sequence[Tensor] | None = None,
        text_values: Sequence[Tensor] | None = None,
        pose_features: Tensor | None = None,
        skip_residuals: Sequence[Tensor] | None = None,
        mid_residual: Tensor | None = None,
    ) -> Tensor:
        """Predict from a noisy clip.

        Args:
            x: (b, in_channels, f, h, w).
            timesteps: (b,), or (1,) where all samples share it, which is cheaper.
            text_keys: of `encode_text`; None for no sentence.
            text_values: of `encode_text`.
            pose_features: (b, block_out_channels[0], f, h, w), added after the first convolution.
            skip_residuals: two for each level, (b, width, 1, h, w) of the level, added to the skips of every
                frame.
            mid_residual: (b, deepest width, 1, h, w), added to the middle of every frame.

        Returns:
            (b, out_channels, f, h, w) in the memory format ``channels_last_3d``.
        """
        num_levels = len(self.down_levels)
        keys = text_keys or [None] * 2 * num_levels
        values = text_values or [None] * 2 * num_levels
        embedding = self.timestep_embedding(timesteps)

        x = self.conv_in(x.contiguous(memory_format=torch.channels_last_3d))
        if pose_features is not None:
            x = x + pose_features

        skips: list[Tensor] = []
        for i, level in enumerate(self.down_levels):
            x, level_skips = level(x, embedding, keys[i], values[i])
            skips += level_skips

        x = self.run(self.mid_resnet1, x, embedding)
        x = self.run(self.mid_resnet2, self.run(self.mid_attention, x), embedding)
        if mid_residual is not None:
            x = x + mid_residual

        for i in reversed(range(num_levels)):
            level_skips = tuple(
                skip * SKIP_SCALE
                if skip_residuals is None
                else torch.add(skip_residuals[j] * SKIP_SCALE, skip, alpha=SKIP_SCALE)
                for j, skip in ((2 * i, skips[2 * i]), (2 * i + 1, skips[2 * i + 1]))
            )
            x = self.up_levels[i](x, level_skips, embedding, keys[num_levels + i], values[num_levels + i])
        return self.conv_out(x)
