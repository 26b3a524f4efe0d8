"""The layers that every level of the UNet is made of.

Tensors are (b, c, f, h, w), always in the memory format ``torch.channels_last_3d``: memory runs b, f, h, w,
c. So the frames as a batch of pictures, the frames as rows of one picture, and the tokens of an attention are
all views of the same memory, and no layer copies a tensor to change its layout.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def as_tokens(x: Tensor) -> Tensor:
    """(b, c, f, h, w) seen as (b, f, h, w, c)."""
    return x.permute(0, 2, 3, 4, 1)


def from_tokens(x: Tensor) -> Tensor:
    """(b, f, h, w, c) seen as (b, c, f, h, w)."""
    return x.permute(0, 4, 1, 2, 3)


# The following go by way of the tokens, whose memory has no gaps: folding any other view of a single clip
# leaves its batch dimension with a stride by which torch no longer knows the memory format, and copies.


def frames_as_batch(x: Tensor) -> Tensor:
    """(b, c, f, h, w) seen as pictures (b*f, c, h, w)."""
    return as_tokens(x).flatten(0, 1).permute(0, 3, 1, 2)


def batch_as_frames(x: Tensor, num_frames: int) -> Tensor:
    """(b*f, c, h, w) seen as (b, c, f, h, w)."""
    return from_tokens(x.permute(0, 2, 3, 1).unflatten(0, (-1, num_frames)))


def frames_as_rows(x: Tensor) -> Tensor:
    """(b, c, f, h, w) seen as pictures (b, c, f, h*w), a frame in each row."""
    return as_tokens(x).flatten(2, 3).permute(0, 3, 1, 2)


def rows_as_frames(x: Tensor, height: int, width: int) -> Tensor:
    """(b, c, f, h*w) seen as (b, c, f, h, w)."""
    return from_tokens(x.permute(0, 2, 3, 1).unflatten(2, (height, width)))


class Conv2d(nn.Conv2d):
    """A convolution whose weight lies in memory as its input does: (out, kernel height, kernel width, in).

    So no step reorders it, neither forward nor backward, and it is still a contiguous tensor that any file
    can hold.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weight = nn.Parameter(self.weight.detach().permute(0, 2, 3, 1).contiguous())

    @property
    def kernel(self) -> Tensor:
        """The weight seen as (out, in, kernel height, kernel width)."""
        return self.weight.permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self._conv_forward(x, self.kernel, self.bias)


def zero_(*parameters: Tensor | None) -> None:
    """Let parameters start at zero."""
    for parameter in parameters:
        assert parameter is not None
        nn.init.zeros_(parameter)


class Recomputing:
    """A module that can run its blocks without keeping their activations for the backward pass.

    `Denoiser.enable_gradient_checkpointing` sets both attributes, as diffusers names them (Chen et al.,
    "Training Deep Nets with Sublinear Memory Cost", 2016).
    """

    gradient_checkpointing: bool = False
    _gradient_checkpointing_func: Callable[..., Any] | None = None

    def run(self, block: nn.Module, *args: Any) -> Any:
        """Call a block; with gradient checkpointing its activations are computed again when needed."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            assert self._gradient_checkpointing_func is not None
            return self._gradient_checkpointing_func(block, *args)
        return block(*args)


class PseudoConv3d(nn.Module):
    """A 2D convolution in every frame, then a 1D convolution over the frames at every position.

    Zero padding keeps all sizes (the stem's output too: the clip's ends are padded with zeros). The second
    convolution starts as the identity, so an untrained network treats every frame alone (Make-A-Video,
    arXiv:2209.14792).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel in space; over frames it is always 3.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3):
        super().__init__()
        self.spatial = Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        # A kernel of (3, 1) over the picture (f, h*w) is a convolution over frames that needs no
        # transposition.
        self.temporal = Conv2d(out_channels, out_channels, (3, 1), padding=(1, 0))
        nn.init.dirac_(self.temporal.kernel)
        zero_(self.temporal.bias)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        num_frames, height, width = x.shape[2:]
        x = batch_as_frames(self.spatial(frames_as_batch(x)), num_frames)
        return rows_as_frames(self.temporal(frames_as_rows(x)), height, width)


class Downsample(nn.Module):
    """Halve height and width, then, where asked, the number of frames; keep the channels.

    Every 2 x 2 square becomes a vector that a matrix maps back to `channels`, which is a convolution of
    kernel and stride 2. Pairs of frames become one vector in the same way.
    """

    def __init__(self, channels: int, temporal: bool):
        super().__init__()
        self.space = Conv2d(channels, channels, 2, stride=2, bias=False)
        self.time = Conv2d(channels, channels, (2, 1), stride=(2, 1), bias=False) if temporal else None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = batch_as_frames(self.space(frames_as_batch(x)), x.shape[2])
        if self.time is None:
            return x
        return rows_as_frames(self.time(frames_as_rows(x)), *x.shape[3:])


class Upsample(nn.Module):
    """Double height and width, then, where asked, the number of frames; keep the channels.

    A matrix makes four positions' channels out of each position's (in the order row, column, channel, so that
    they are moved in whole vectors), and two frames' out of each frame's.
    """

    def __init__(self, channels: int, temporal: bool):
        super().__init__()
        self.space = nn.Linear(channels, 4 * channels)
        self.time = nn.Linear(channels, 2 * channels) if temporal else None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        b, c, f, h, w = x.shape
        x = self.space(as_tokens(x)).view(b * f, h, w, 2, 2, c)
        x = x.transpose(2, 3).reshape(b, f, 2 * h, 2 * w, c)
        if self.time is not None:
            x = self.time(x).view(b, f, 4 * h * w, 2, c)
            x = x.transpose(2, 3).reshape(b, 2 * f, 2 * h, 2 * w, c)
        return from_tokens(x)


class ChannelNorm(nn.Module):
    """Normalise the last dimension and scale it: ``(x - mean) * rsqrt(max(variance, eps)) * weight``.

    Differs from `nn.LayerNorm` in that eps is a floor under the variance, and that it depends on the
    precision: 1e-5 for float32, 1e-3 for any other.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        return (x - mean) * variance.clamp(min=eps).rsqrt() * self.weight


class TimestepEmbedding(nn.Module):
    """Sines and cosines of the noise level, a linear layer and SiLU: (n,) timesteps to (n, out_channels).

    The sinusoid has `in_channels` / 2 frequencies from 1 down to 1e-4 and is computed in float32 in every
    precision: timesteps of neighbouring noise levels are the same number in bfloat16.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.num_frequencies = in_channels // 2
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, timesteps: Tensor) -> Tensor:  # noqa: D102
        exponents = torch.arange(self.num_frequencies, device=timesteps.device, dtype=torch.float32)
        frequencies = torch.exp(exponents * (-math.log(10000.0) / (self.num_frequencies - 1)))
        angles = timesteps.float()[:, None] * frequencies
        sinusoid = torch.cat((angles.sin(), angles.cos()), dim=1)
        return F.silu(self.linear(sinusoid.to(self.linear.weight.dtype)))


def gated_gelu(x: Tensor) -> Tensor:
    """Value times GELU(gate) over the two halves of the last dimension, value first (arXiv:2002.05202)."""
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


class StoredConv(nn.Module):
    """A 1x1 convolution that the published file holds and nothing computes with: kept, never trained."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels, channels))
        self.register_buffer("bias", torch.zeros(channels))
