"""A network that moves a photo's pixels to other poses, beginning from what rules made of it.

As in Siarohin et al., "First Order Motion Model for Image Animation", 2019, each place chooses among affine
maps, here those of `warping.limbs`, and adds a residual; the coarse flow is enlarged by learned convex
combinations (Teed & Deng, "RAFT", 2020). What the photo does not show is painted. Each pixel is then mixed of
what was moved, what was painted, what the rules of `warping.warp` made, and the empty background.
"""

import dataclasses
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn import functional

from models.layers import zero_
from utils.devices import Tensors

STEM = 4
"""Side of the square of pixels that one place of the flow stands for."""


@dataclasses.dataclass(frozen=True)
class WarpConditions(Tensors):
    """What leads from n frames to p photos; lengths in heights of the picture.

    Attributes:
        maps: (n, K, 2, 3), affine maps from each frame to its photo.
        frame_lines: (n, K, 2, 2), ends of each limb's line in the frame: x, y.
        photo_lines: (p, K, 2, 2), the same in the photos.
        frame_lengths: (n,), from neck to hips.
        photo_lengths: (p,), the same in the photos.
        state: (n, S), how photo and frame are turned.
        photo_index: (n,) int64, each frame's photo.
    """

    maps: torch.Tensor
    frame_lines: torch.Tensor
    photo_lines: torch.Tensor
    frame_lengths: torch.Tensor
    photo_lengths: torch.Tensor
    state: torch.Tensor
    photo_index: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Draft(Tensors):
    """p photos moved to n frames by rules, as `warping.warp.RuleWarp`; colours in [-1, 1], the rest in 0..1.

    Attributes:
        pictures: (n, 3, H, W).
        validity: (n, 1, H, W).
        person: (n, 1, H, W).
        photo_person: (p, 1, H, W).
        background: (p, 3, H, W).
        background_validity: (p, 1, H, W), less where the person hid it.
    """

    pictures: torch.Tensor
    validity: torch.Tensor
    person: torch.Tensor
    photo_person: torch.Tensor
    background: torch.Tensor
    background_validity: torch.Tensor

    def resized(self, size: tuple[int, int]) -> "Draft":
        """The same at another height and width."""
        parts = (getattr(self, f.name) for f in dataclasses.fields(self))
        return Draft(*(functional.interpolate(p, size, mode="bilinear", antialias=True) for p in parts))

    def widened(self, width: int) -> "Draft":
        """The same, continued to the right."""
        return Draft(*(widened(getattr(self, f.name), width) for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True)
class Warp:
    """Photos moved to the poses of n frames.

    Attributes:
        picture: (n, 3, H, W) in [-1, 1], mixed of the four sources.
        moved: (n, 3, H, W), the moved photo alone.
        visible: (n, 1, H, W) logits that the photo shows what is here.
        person: (n, 1, H, W) logits that the person is here.
        taken: (n, 4, H, W) logits of how much is taken of the moved photo, the paint, the draft and the
            background.
        flow: (n, 2, H, W) x, y in the photo of what is here, in heights of the picture.
        parts: (n, C, H / 4, W / 4) logits of the parts.
        paint: (n, 3, H / 4, W / 4) colours where the photo shows nothing.
    """

    picture: torch.Tensor
    moved: torch.Tensor
    visible: torch.Tensor
    person: torch.Tensor
    taken: torch.Tensor
    flow: torch.Tensor
    parts: torch.Tensor
    paint: torch.Tensor

    def apply(
        self, photos: torch.Tensor, draft: Draft, photo_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move the same photos at another size.

        Args:
            photos: (p, 3, H, W) in [-1, 1].
            draft: what the rules made of them at that size.
            photo_index: (n,) int64, each frame's photo.

        Returns:
            Pictures (n, 3, H, W), and (n, 1, H, W) in 0..1 how far they are right: paint is not.
        """
        size = photos.shape[-2:]
        flow, visible, taken = (
            functional.interpolate(part, size, mode="bilinear")
            for part in (self.flow, self.visible, self.taken)
        )
        moved = _sample(photos[photo_index], flow, *size)
        picture = _compose(taken, moved, self.paint, draft.pictures, draft.background[photo_index])
        shares = taken.softmax(1).split(1, dim=1)
        trust = visible.sigmoid(), 0.0, draft.validity, draft.background_validity[photo_index]
        return picture, sum(s * t for s, t in zip(shares, trust, strict=True))


class CrossAttention(nn.Module):
    """Places of the frame look at places of the photo."""

    def __init__(self, channels: int, photo_channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.photo_norm = nn.GroupNorm(8, channels), nn.GroupNorm(8, photo_channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(photo_channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zero_(*self.out.parameters())

    def forward(self, x: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) and (n, d, h', w') to (n, c, h, w)."""
        key, value = self.key_value(self.photo_norm(photo)).chunk(2, dim=1)
        query, key, value = (
            t.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
            for t in (self.query(self.norm(x)), key, value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(seen.transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[-2:]))


class Warper(ModelMixin, ConfigMixin):
    """Moves photos to poses.

    Args:
        height: of the pictures it is trained on, in pixels.
        num_limbs: K, candidates at each place.
        state_size: S, numbers that tell how photo and frame are turned.
        num_parts: C, parts of a person and the background.
        channels: of the grids of 4, 8, 16 and 32 pixels.
        heads: of the attention to the photo.
        rules_logit: added to the logit with which each pixel takes the rules' picture: the larger, the
            sharper, and the more of the rules' mistakes stay.
    """

    @register_to_config
    def __init__(
        self,
        height: int = 512,
        num_limbs: int = 18,
        state_size: int = 52,
        num_parts: int = 12,
        channels: tuple[int, int, int, int] = (32, 64, 128, 192),
        heads: int = 6,
        rules_logit: float = 0.0,
    ) -> None:
        super().__init__()
        c4, c8, c16, c32 = channels
        time = 2 * c16
        self.state_in = nn.Sequential(nn.Linear(state_size, time), nn.SiLU(), nn.Linear(time, time))

        def block(inside: int, outside: int, embedded: bool = True) -> ResnetBlock2D:
            settings: dict[str, Any] = {"groups": 8, "groups_out": 8, "eps": 1e-6}
            return ResnetBlock2D(
                in_channels=inside,
                out_channels=outside,
                temb_channels=time if embedded else None,
                **settings,
            )

        # The photo, once for all frames.
        self.photo_in = nn.Conv2d(3 * STEM**2 + num_limbs + 1, c4, 3, padding=1)
        self.photo_4 = block(c4, c4, embedded=False)
        self.photo_down_8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.photo_8 = block(c8, c8, embedded=False)
        self.photo_down_16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.photo_16 = block(c16, c16, embedded=False)

        # Coarse: which limb, and where to.
        self.frame_in = nn.Conv2d(4 * num_limbs + 2 + 5, c8, 3, padding=1)
        self.down_8 = block(c8, c8)
        self.to_16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.down_16 = block(c16, c16)
        self.to_32 = nn.Conv2d(c16, c32, 3, stride=2, padding=1)
        self.mid_1 = block(c32, c32)
        self.attend = CrossAttention(c32, c16, heads)
        self.mid_2 = block(c32, c32)
        self.up_16 = block(c32 + c16, c16)
        self.up_8 = block(c16 + c8, c8)
        self.choose = nn.Conv2d(c8, num_limbs + 2, 3, padding=1)

        # Fine: what the photo shows there corrects it.
        self.fine_in = nn.Conv2d(c8 + c4 + 8 + 5, c4, 3, padding=1)
        self.fine_1 = block(c4, c4)
        self.fine_2 = block(c4, c4)
        self.fine_out = nn.Sequential(nn.GroupNorm(8, c4), nn.SiLU())
        self.correct = nn.Conv2d(c4, 2, 3, padding=1)
        self.enlarge = nn.Conv2d(c4, 9 * STEM**2, 1)
        self.show = nn.Conv2d(c4, 6 * STEM**2, 3, padding=1)
        self.label = nn.Conv2d(c4, num_parts + 3, 1)
        zero_(*self.correct.parameters(), *self.enlarge.parameters(), *self.choose.parameters())
        self.register_buffer("bilinear", _bilinear_logits(), persistent=False)

    def forward(self, photos: torch.Tensor, conditions: WarpConditions, draft: Draft) -> Warp:
        """Move photos to poses.

        Args:
            photos: (p, 3, H, W) float32 in [-1, 1], H and W multiples of 32.
            conditions: of n frames, in float32.
            draft: what the rules made of the photos, in float32.
        """
        height, width = photos.shape[-2:]
        dtype = self.dtype  # of what the layers take; places and colours stay in float32
        state = self.state_in(conditions.state.to(dtype))
        index = conditions.photo_index
        drafted = torch.cat([draft.pictures, draft.validity, draft.person], 1)

        # The photo.
        grid_4 = _grid(height, width, 4, photos)
        near = _nearness(grid_4, conditions.photo_lines, conditions.photo_lengths)
        mask = functional.avg_pool2d(draft.photo_person, STEM)
        folded = torch.cat([functional.pixel_unshuffle(photos, STEM), near, mask], 1)
        photo_4 = self.photo_4(self.photo_in(_last(folded.to(dtype))), None)
        photo_8 = self.photo_8(self.photo_down_8(photo_4), None)
        photo_16 = self.photo_16(self.photo_down_16(photo_8), None)

        # Coarse flow.
        grid_8 = _grid(height, width, 8, photos)
        maps = conditions.maps
        with torch.autocast(photos.device.type, enabled=False):
            candidates = (maps[..., :2] @ grid_8.flatten(1) + maps[..., 2:]).unflatten(3, grid_8.shape[1:])
        small = functional.avg_pool2d(photos, 8)
        colors = [_sample(small[index], place, height, width) for place in candidates.unbind(1)]
        near = _nearness(grid_8, conditions.frame_lines, conditions.frame_lengths)
        place = grid_8.expand(len(index), -1, -1, -1) - 0.5
        x = _last(torch.cat([*colors, near, place, functional.avg_pool2d(drafted, 8)], 1).to(dtype))
        x8 = self.down_8(self.frame_in(x), state)
        x16 = self.down_16(self.to_16(x8), state)
        x = self.mid_1(self.to_32(x16), state)
        x = self.mid_2(self.attend(x, photo_16[index]), state)
        x = self.up_16(torch.cat([_double(x), x16], 1), state)
        x = self.up_8(torch.cat([_double(x), x8], 1), state)
        choice = self.choose(x).float()
        # Without training a place takes the limb that is nearest.
        weights = (choice[:, :-2] + 4 * near).softmax(1)
        coarse = (weights[:, :, None] * candidates).sum(1) + 0.1 * choice[:, -2:]

        # Fine flow.
        shift = functional.interpolate(coarse - grid_8, scale_factor=2, mode="bilinear")
        flow = shift + grid_4
        seen = _sample(photo_4[index], flow, height, width)
        small = functional.avg_pool2d(photos, 4)
        color = _sample(small[index], flow, height, width)
        empty = functional.avg_pool2d(draft.background, STEM)[index]
        fine = [_double(x), seen, color, empty, shift, functional.avg_pool2d(drafted, STEM)]
        x = self.fine_in(_last(torch.cat(fine, 1).to(dtype)))
        x = self.fine_out(self.fine_2(self.fine_1(x, state), state))
        shift = shift + 0.1 * self.correct(x).float()
        flow = _enlarge(shift, self.enlarge(x).float() + self.bilinear) + _grid(height, width, 1, photos)
        shown = functional.pixel_shuffle(self.show(x).float(), STEM)
        visible, person, taken = shown.split((1, 1, 4), dim=1)
        taken = taken + taken.new_tensor([0, 0, self.config.rules_logit, 0])[:, None, None]
        labels = self.label(x).float()
        parts, paint = labels[:, :-3], empty + labels[:, -3:]
        moved = _sample(photos[index], flow, height, width)
        picture = _compose(taken, moved, paint, draft.pictures, draft.background[index])
        return Warp(picture, moved, visible, person, taken, flow, parts, paint)


def widened(picture: torch.Tensor, width: int) -> torch.Tensor:
    """Continue pictures (n, c, h, w) to the right up to a width with the colours of their edge."""
    return functional.pad(picture, (0, width - picture.shape[-1], 0, 0), mode="replicate")


def _last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _double(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _grid(height: int, width: int, step: int, like: torch.Tensor) -> torch.Tensor:
    """(2, H / step, W / step): x and y of the squares' middles, in heights."""
    y = (torch.arange(height // step, device=like.device, dtype=torch.float32) + 0.5) * step / height
    x = (torch.arange(width // step, device=like.device, dtype=torch.float32) + 0.5) * step / height
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])


def _nearness(grid: torch.Tensor, lines: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(n, K, h, w) in 0..1: how near each place is to each limb's line; 1 on it, for the background 0.5."""
    x, y = grid
    start_x, start_y, end_x, end_y = lines.flatten(2)[..., None, None].unbind(2)  # (n, K, 1, 1) each
    along_x, along_y = end_x - start_x, end_y - start_y
    squared = (along_x.square() + along_y.square()).clamp(min=1e-8)
    share = (((x - start_x) * along_x + (y - start_y) * along_y) / squared).clamp(0, 1)
    off = (x - start_x - share * along_x).square() + (y - start_y - share * along_y).square()
    near = torch.exp(-off.sqrt() / (0.2 * lengths[:, None, None, None]))
    return torch.cat([torch.full_like(near[:, :1], 0.5), near[:, 1:]], 1)


def _compose(
    taken: torch.Tensor,
    moved: torch.Tensor,
    paint: torch.Tensor,
    draft: torch.Tensor,
    background: torch.Tensor,
) -> torch.Tensor:
    """Mix the sources, in the order of the channels of `taken`."""
    paint = functional.interpolate(paint, moved.shape[-2:], mode="bilinear")
    shares = taken.softmax(1).split(1, dim=1)
    return sum(s * p for s, p in zip(shares, (moved, paint, draft, background), strict=True))


def _sample(picture: torch.Tensor, place: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The picture (n, c, h, w) at places (n, 2, h', w') in heights of the full picture."""
    scale = place.new_tensor([2 * height / width, 2.0])[:, None, None]
    grid = (place.float() * scale - 1).permute(0, 2, 3, 1)
    return functional.grid_sample(picture.float(), grid, padding_mode="border", align_corners=False)


def _enlarge(flow: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """(n, 2, h, w) to (n, 2, 4 h, 4 w): convex combinations of the 3 x 3 coarse places around each."""
    n, _, h, w = flow.shape
    weights = logits.unflatten(1, (9, STEM**2)).softmax(1)
    around = functional.unfold(functional.pad(flow, (1, 1, 1, 1), mode="replicate"), 3).view(n, 2, 9, h, w)
    fine = torch.stack([(weights * around[:, axis, :, None]).sum(1) for axis in range(2)], 1)
    return functional.pixel_shuffle(fine.flatten(1, 2), STEM)


def _bilinear_logits() -> torch.Tensor:
    """(1, 9 x 16, 1, 1) logits with which `_enlarge` interpolates bilinearly."""
    middles = (torch.arange(STEM) + 0.5) / STEM - 0.5
    near = (1 - (middles[None] - torch.arange(-1, 2)[:, None]).abs()).clamp(min=0)  # (3, 4)
    weights = torch.einsum("ai,bj->abij", near, near).reshape(9 * STEM**2)
    return (weights + 1e-2).log()[None, :, None, None]
