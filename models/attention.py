"""Attention in space, over frames, and to the words of the sentence."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import ChannelNorm, as_tokens, from_tokens, gated_gelu


class RelativePositionBias(nn.Module):
    """A learned bias of the attention's logits that depends on query position minus key position.

    A small network evaluated once at every offset that occurs (continuous relative positions, Swin V2,
    arXiv:2111.09883, but of raw integers), so one set of weights serves every size.

    Args:
        num_dims: 2 for positions in a picture (row, column), 1 for frames.
        hidden: width of the network.
        heads: number of attention heads.
        keep_unused: hold the published last bias, which shifts all logits of a head alike and so changes
            nothing.
    """

    def __init__(self, num_dims: int, hidden: int, heads: int, keep_unused: bool):
        super().__init__()
        self.layer1 = nn.Linear(num_dims, hidden)
        self.layer2 = nn.Linear(hidden, hidden)
        self.layer3 = nn.Linear(hidden, heads, bias=False)
        if keep_unused:
            self.register_buffer("unused_bias", torch.zeros(heads))

        self._last: tuple[Any, Tensor] | None = None

    def forward(self, like: Tensor, *sizes: int) -> Tensor:
        """Bias (heads, n, n) for n = product of `sizes` positions, in row-major order.

        Without gradients the last one is kept, for as long as sizes, weights and precision stay as they were.

        Args:
            like: gives the device and the precision; the layers' weights may be elsewhere until they run.
            sizes: rows and columns, or frames.
        """
        parameters = list(self.parameters())
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or any(parameter.is_meta or parameter.is_inference() for parameter in parameters)
        ):
            return self._compute(sizes, like)
        autocast = torch.is_autocast_enabled(like.device.type)
        versions = [(id(parameter), parameter._version) for parameter in parameters]
        key = sizes, like.device, like.dtype, autocast, versions
        if self._last is None or self._last[0] != key:
            self._last = key, self._compute(sizes, like)
        return self._last[1]

    def _compute(self, sizes: tuple[int, ...], like: Tensor) -> Tensor:
        ranges = [torch.arange(1 - size, size, device=like.device) for size in sizes]
        offsets = torch.cartesian_prod(*ranges).view(-1, len(sizes))
        hidden = F.silu(self.layer1(offsets.to(like.dtype)))
        table = self.layer3(F.silu(self.layer2(hidden)))  # (number of offsets, heads)
        return table.t()[:, _offset_index(sizes, like.device)]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._last = None  # moved or cast, in the same parameters
        return super()._apply(fn, recurse)


def _offset_index(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """(n, n): which row of the table of all offsets belongs to a query (row) and a key (column)."""
    positions = torch.cartesian_prod(*[torch.arange(size, device=device) for size in sizes]).view(
        -1, len(sizes)
    )
    index = torch.zeros((), dtype=torch.long, device=device)
    for dim, size in enumerate(sizes):
        offset = positions[:, None, dim] - positions[None, :, dim] + size - 1
        index = index * (2 * size - 1) + offset
    return index


class SelfAttention(nn.Module):
    """Pre-normalised self-attention with a relative position bias, in each frame or over frames.

    Args:
        channels: width of the input and output.
        heads: number of heads.
        head_dim: channels of a head; the logits are scaled by 1 / sqrt(head_dim).
        over_frames: attend over the frames at each position, instead of over the positions of each frame.
        keep_unused: see `RelativePositionBias`.
    """

    def __init__(self, channels: int, heads: int, head_dim: int, over_frames: bool, keep_unused: bool):
        super().__init__()
        self.heads = heads
        self.over_frames = over_frames
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(channels, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, channels, bias=False)
        self.position_bias = RelativePositionBias(1 if over_frames else 2, channels // 2, heads, keep_unused)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (b, f, h, w, c) to what is added to them."""
        b, f, h, w, _ = x.shape
        x = self.norm(x)
        q, (k, v) = self.to_q(x), self.to_kv(x).chunk(2, dim=-1)
        if self.over_frames:
            # Heads of all positions side by side: (b, h*w*heads, f, d) is a view, (b*h*w, heads, f, d) is
            # not.
            q, k, v = (y.view(b, f, h * w, self.heads, -1).flatten(2, 3).transpose(1, 2) for y in (q, k, v))
            bias = self.position_bias(x, f).repeat(h * w, 1, 1)
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype)).transpose(1, 2)
        else:
            q, k, v = (y.view(b * f, h * w, self.heads, -1).transpose(1, 2) for y in (q, k, v))
            bias = self.position_bias(x, h, w)
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype)).transpose(1, 2)
        return self.to_out(x.reshape(b, f, h, w, -1))


class GatedFeedForward(nn.Module):
    """A gated feed-forward whose second half of channels comes from the frame before.

    The hidden width is 8/3 of `channels`, rounded down; of an odd width the smaller half is shifted. Frame 0
    gets zeros.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels * 8 // 3
        self.proj_in = nn.Linear(channels, 2 * hidden, bias=False)
        self.norm = ChannelNorm(hidden)
        self.proj_out = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (b, f, h, w, c) to what is added to them."""
        x = gated_gelu(self.proj_in(x))
        here, earlier = x.tensor_split(((x.shape[-1] + 1) // 2,), dim=-1)
        earlier = F.pad(earlier[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        return self.proj_out(self.norm(torch.cat((here, earlier), dim=-1)))


class SpatioTemporalAttention(nn.Module):
    """Self-attention in each frame, self-attention over frames at each position, feed-forward: each added."""

    def __init__(self, channels: int, heads: int, head_dim: int, keep_unused: bool):
        super().__init__()
        self.spatial = SelfAttention(channels, heads, head_dim, over_frames=False, keep_unused=keep_unused)
        self.temporal = SelfAttention(channels, heads, head_dim, over_frames=True, keep_unused=keep_unused)
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = as_tokens(x)
        x = x + self.spatial(x)
        x = x + self.temporal(x)
        x = x + self.feed_forward(x)
        return from_tokens(x)


class TextAttention(nn.Module):
    """Attention of every position of every frame to the words, a feed-forward, and a last linear layer.

    Keys and values come from `encode_text`, once for all steps of a denoising loop. They have no bias, so
    zeros stand for an empty sentence exactly.

    Args:
        channels: width of the input and output.
        text_channels: width of the words' embeddings.
        heads: number of heads, each of `channels` / `heads`.
    """

    def __init__(self, channels: int, text_channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(text_channels, channels, bias=False)
        self.to_v = nn.Linear(text_channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward_in = nn.Linear(channels, 8 * channels)
        self.feed_forward_out = nn.Linear(4 * channels, channels)
        self.proj_out = nn.Linear(channels, channels)

    def encode_text(self, prompt_embeds: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (b, n, text_channels) to keys and values, each (b, n, channels)."""
        return self.to_k(prompt_embeds), self.to_v(prompt_embeds)

    def forward(self, x: Tensor, keys: Tensor | None, values: Tensor | None) -> Tensor:
        """(b, c, f, h, w) and keys and values (b, n, c), None for no sentence, to the new (b, c, f, h, w)."""
        x = as_tokens(x)
        if keys is None or values is None:
            x = x + self.to_out(x.new_zeros(x.shape[-1]))  # its bias
        else:
            x = x + self._attend(self.norm1(x), keys, values)
        x = x + self.feed_forward_out(gated_gelu(self.feed_forward_in(self.norm2(x))))
        return from_tokens(self.proj_out(x))

    def _attend(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q = self.to_q(x).flatten(1, 3)
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (q, keys, values))
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(attended.transpose(1, 2).reshape(x.shape))
