"""The denoiser's step as the published code computes it, with the weights of our modules.

Tensors lie channels first, with a copy before and after each convolution over frames and each attention;
softmax and position bias are written out and computed at every step.
"""

import math
import types
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import Denoiser
from models.attention import SelfAttention, SpatioTemporalAttention, TextAttention
from models.blocks import NORM_GROUPS, ConvBlock, ResidualBlock
from models.layers import Conv2d, Downsample, PseudoConv3d, Upsample


def frames_first(x: Tensor) -> Tensor:
    """(b, c, f, h, w) copied to (b*f, c, h, w)."""
    return x.transpose(1, 2).flatten(0, 1).contiguous()


def frames_last(x: Tensor) -> Tensor:
    """(b, c, f, h, w) copied to (b*h*w, c, f)."""
    return x.permute(0, 3, 4, 1, 2).flatten(0, 2).contiguous()


def over_pictures(conv: Conv2d, x: Tensor) -> Tensor:
    """A convolution in every frame."""
    y = F.conv2d(frames_first(x), conv.plain_weight, conv.bias, conv.stride, conv.padding)  # type: ignore
    return y.unflatten(0, (len(x), -1)).transpose(1, 2).contiguous()


def over_frames(conv: Conv2d, x: Tensor) -> Tensor:
    """A convolution over frames at every position."""
    b, _, _, h, w = x.shape
    weight = conv.plain_weight.squeeze(3)  # type: ignore[operator]
    y = F.conv1d(frames_last(x), weight, conv.bias, conv.stride[0], conv.padding[0])
    return y.unflatten(0, (b, h, w)).permute(0, 3, 4, 1, 2).contiguous()


def plain_pseudo_conv(self: PseudoConv3d, x: Tensor) -> Tensor:
    """See `PseudoConv3d.forward`."""
    return over_frames(self.temporal, over_pictures(self.spatial, x))


def plain_downsample(self: Downsample, x: Tensor) -> Tensor:
    """See `Downsample.forward`."""
    x = over_pictures(self.space, x)
    return x if self.time is None else over_frames(self.time, x)


def plain_conv_block(self: ConvBlock, x: Tensor, scale_shift: Tensor | None = None) -> Tensor:
    """See `ConvBlock.forward`."""
    x = F.group_norm(self.conv(x), NORM_GROUPS, self.norm.weight, self.norm.bias, self.norm.eps)
    if scale_shift is not None:
        scale, shift = scale_shift[:, :, None, None, None].chunk(2, dim=1)
        x = x * (scale + 1) + shift
    return F.silu(x)


def plain_residual_block(self: ResidualBlock, x: Tensor, timestep_embedding: Tensor | None = None) -> Tensor:
    """See `ResidualBlock.forward`."""
    scale_shift = None
    if self.timestep_linear is not None:
        assert timestep_embedding is not None
        scale_shift = self.timestep_linear(F.silu(timestep_embedding))
    shortcut = x
    if self.shortcut is not None:
        y = F.conv2d(frames_first(x), self.shortcut.weight[:, :, None, None], self.shortcut.bias)
        shortcut = y.unflatten(0, (len(x), -1)).transpose(1, 2).contiguous()
    return self.block2(self.block1(x, scale_shift)) + shortcut


def plain_self_attention(self: SelfAttention, x: Tensor) -> Tensor:
    """See `SelfAttention.forward`."""
    _, f, h, w, _ = x.shape
    y = self.norm(x.permute(0, 2, 3, 1, 4) if self.over_frames else x)  # (b, h, w, f, c) or (b, f, h, w, c)
    sequences = y.reshape(-1, f if self.over_frames else h * w, y.shape[-1]).contiguous()
    q, (k, v) = self.to_q(sequences), self.to_kv(sequences).chunk(2, dim=-1)
    q, k, v = (z.unflatten(2, (self.heads, -1)).transpose(1, 2).contiguous() for z in (q, k, v))
    bias = self.position_bias._compute((f,) if self.over_frames else (h, w), y)
    weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias).softmax(dim=-1)
    y = self.to_out((weights @ v).transpose(1, 2).flatten(2)).view(*y.shape[:4], -1)
    return y.permute(0, 3, 1, 2, 4).contiguous() if self.over_frames else y


def plain_attend(self: TextAttention, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """See `TextAttention._attend`."""
    q = self.to_q(x).flatten(1, 3)
    q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2).contiguous() for y in (q, keys, values))
    weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return self.to_out((weights @ v).transpose(1, 2).reshape(x.shape))


def between_copies(module: nn.Module) -> Callable[..., Tensor]:
    """A forward pass of ours on tokens, with a copy to their layout and one back."""
    forward = module.forward

    def copied(self: nn.Module, x: Tensor, *args: Tensor | None) -> Tensor:
        return forward(x.contiguous(memory_format=torch.channels_last_3d), *args).contiguous()

    return copied


PLAIN: dict[type[nn.Module], Callable[..., Tensor]] = {
    PseudoConv3d: plain_pseudo_conv,
    Downsample: plain_downsample,
    ConvBlock: plain_conv_block,
    ResidualBlock: plain_residual_block,
    SelfAttention: plain_self_attention,
}


def make_plain(denoiser: Denoiser) -> Denoiser:
    """Let a denoiser compute as the published code does, with the weights that it has; returns it."""
    for module in denoiser.unet.modules():
        if isinstance(module, Conv2d):
            module.plain_weight = module.kernel.detach().contiguous()  # type: ignore[assignment]
        if isinstance(module, TextAttention):
            module._attend = types.MethodType(plain_attend, module)  # type: ignore[method-assign]
        forward = PLAIN.get(type(module))
        if isinstance(module, Upsample | SpatioTemporalAttention | TextAttention):
            forward = between_copies(module)
        if forward is not None:
            module.forward = types.MethodType(forward, module)  # type: ignore[method-assign]
    return denoiser
