"""The pose encoder: skeleton pictures to features that are added to the UNet's first ones."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Conv2d, batch_as_frames, frames_as_batch, zero_


class PoseEncoder(nn.Module):
    """Strided convolutions from pixels to latents' size, read out through a convolution that starts at zero.

    Args:
        pose_channels: widths of the convolutions; all but the last halve height and width.
        out_channels: width of the UNet's first features.
    """

    def __init__(self, pose_channels: Sequence[int], out_channels: int):
        super().__init__()
        *strided, last = pose_channels
        self.convs = nn.ModuleList()
        width = 3
        for next_width in strided:
            self.convs.append(Conv2d(width, next_width, 4, stride=2, padding=1))
            width = next_width
        self.convs.append(Conv2d(width, last, 3, padding=1))
        self.proj_out = Conv2d(last, out_channels, 1)
        zero_(self.proj_out.weight, self.proj_out.bias)
        self.scale = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, pose_images: Tensor) -> Tensor:
        """(b, 3, f, H, W) in [-1, 1] to (b, out_channels, f, h, w)."""
        num_frames = pose_images.shape[2]
        x = frames_as_batch(pose_images.contiguous(memory_format=torch.channels_last_3d))
        for conv in self.convs:
            x = F.silu(conv(x))
        return batch_as_frames(self.proj_out(x) * self.scale, num_frames)
