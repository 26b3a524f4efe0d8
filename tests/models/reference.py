"""The published model, written as literally as its description reads: slow, plain, by the file's own names.

Tensors are (b, c, f, h, w) in torch's default memory order; every rearrangement is a permutation to be read.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Reference:
    """Computes with a published checkpoint's groups.

    Args:
        checkpoint: {"unet": ..., "app_net": ..., "pose_net": ...}; sizes are read from the tensors.
        text_heads: heads of the text attention of each level.
        heads: heads of the attention in space and over frames.
    """

    def __init__(self, checkpoint: dict[str, dict[str, Tensor]], text_heads: tuple[int, ...], heads: int):
        self.groups, self.text_heads, self.heads = checkpoint, text_heads, heads
        self.p = checkpoint["unet"]

    def __call__(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        prompt_embeds: Tensor,
        reference_latents: Tensor,
        pose_images: Tensor,
    ) -> Tensor:
        residuals, mid_residual = self.appearance(reference_latents)
        t = self.timestep(timesteps, noisy_latents.dtype)
        x = self.pseudo_conv(noisy_latents, "conv_in") + self.poses(pose_images)
        skips, levels = [], len(self.text_heads)
        for i in range(levels):
            x = self.residual_block(x, f"downs.{i}.0", t)
            skips.append(x)
            x = self.residual_block(self.residual_block(x, f"downs.{i}.1.0"), f"downs.{i}.1.1")
            x = self.spatio_temporal_attention(x, f"downs.{i}.2")
            skips.append(x)
            x = self.downsample(x, f"downs.{i}.3")
            x = self.text_attention(x, f"downs.{i}.4", prompt_embeds, self.text_heads[i])
        skips = [skip + residual[:, :, None] for skip, residual in zip(skips, residuals, strict=True)]
        x = self.residual_block(x, "mid_block1", t)
        x = self.spatio_temporal_attention(x, "mid_attn")
        x = self.residual_block(x, "mid_block2", t) + mid_residual[:, :, None]
        for i in reversed(range(levels)):
            x = self.upsample(x, f"ups.{i}.3")
            x = self.residual_block(torch.cat((skips.pop() / math.sqrt(2), x), 1), f"ups.{i}.0", t)
            x = self.residual_block(torch.cat((skips.pop() / math.sqrt(2), x), 1), f"ups.{i}.1.0")
            x = self.residual_block(x, f"ups.{i}.1.1")
            x = self.spatio_temporal_attention(x, f"ups.{i}.2")
            x = self.text_attention(x, f"ups.{i}.4", prompt_embeds, self.text_heads[i])
        return self.pseudo_conv(x, "conv_out")

    def timestep(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        half = self.p["to_timestep_cond.1.weight"].shape[1] // 2
        # In float32 throughout: at timestep 987 a frequency's rounding shows in the fifth digit of its sine.
        frequencies = torch.exp(torch.arange(half).float() * (-math.log(10000) / (half - 1)))
        angles = timesteps[:, None].float() * frequencies[None]
        sinusoid = torch.cat((angles.sin(), angles.cos()), 1).to(dtype)
        return F.silu(self.linear(sinusoid, "to_timestep_cond.1"))

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.p[f"{name}.weight"], self.p.get(f"{name}.bias"))

    def pointwise(self, x: Tensor, name: str) -> Tensor:
        weight = self.p[f"{name}.weight"].flatten(1)
        x = torch.einsum("oc,bcfhw->bofhw", weight, x)
        bias = self.p.get(f"{name}.bias")
        return x if bias is None else x + bias[None, :, None, None, None]

    def pseudo_conv(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.p[f"{name}.spatial_conv.weight"], self.p[f"{name}.spatial_conv.bias"]
        frames = [
            F.conv2d(x[:, :, i], weight, bias, padding=weight.shape[-1] // 2) for i in range(x.shape[2])
        ]
        x = torch.stack(frames, 2)
        if f"{name}.temporal_conv.weight" not in self.p:
            return x
        b, c, f, h, w = x.shape
        lines = x.permute(0, 3, 4, 1, 2).reshape(b * h * w, c, f)
        lines = F.conv1d(
            lines, self.p[f"{name}.temporal_conv.weight"], self.p[f"{name}.temporal_conv.bias"], padding=1
        )
        return lines.reshape(b, h, w, c, f).permute(0, 3, 4, 1, 2)

    def conv_block(self, x: Tensor, name: str, scale_shift: Tensor | None) -> Tensor:
        x = self.pseudo_conv(x, f"{name}.project")
        x = F.group_norm(x.contiguous(), 8, self.p[f"{name}.norm.weight"], self.p[f"{name}.norm.bias"], 1e-5)
        if scale_shift is not None:
            scale, shift = scale_shift[:, :, None, None, None].chunk(2, 1)
            x = x * (scale + 1) + shift
        return F.silu(x)

    def residual_block(self, x: Tensor, name: str, t: Tensor | None = None) -> Tensor:
        scale_shift = None if t is None else self.linear(F.silu(t), f"{name}.timestep_mlp.1")
        y = self.conv_block(self.conv_block(x, f"{name}.block1", scale_shift), f"{name}.block2", None)
        has_shortcut = f"{name}.res_conv.spatial_conv.weight" in self.p
        return y + (self.pseudo_conv(x, f"{name}.res_conv") if has_shortcut else x)

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.p[f"{name}.weight"], self.p[f"{name}.bias"], 1e-5)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | float) -> Tensor:
        q, k, v = (y.reshape(*y.shape[:2], heads, -1) for y in (q, k, v))
        logits = torch.einsum("nihd,njhd->nhij", q, k) / math.sqrt(q.shape[-1]) + bias
        return torch.einsum("nhij,njhd->nihd", logits.softmax(-1), v).flatten(2)

    def position_bias(self, positions: Tensor, name: str) -> Tensor:
        offsets = (positions[:, None] - positions[None]).to(self.p[f"{name}.net.0.0.weight"].dtype)
        hidden = F.silu(self.linear(offsets, f"{name}.net.0.0"))
        return self.linear(F.silu(self.linear(hidden, f"{name}.net.1.0")), f"{name}.net.2").permute(2, 0, 1)

    def self_attention(self, x: Tensor, name: str, positions: Tensor) -> Tensor:
        y = self.layer_norm(x, f"{name}_attn.norm")
        k, v = self.linear(y, f"{name}_attn.to_kv").chunk(2, -1)
        bias = self.position_bias(positions, f"{name}_rel_pos_bias")
        y = self.attend(self.linear(y, f"{name}_attn.to_q"), k, v, self.heads, bias)
        return x + self.linear(y, f"{name}_attn.to_out")

    def spatio_temporal_attention(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.ff.proj_in.0.weight" not in self.p:
            return x
        b, c, f, h, w = x.shape
        grid = torch.tensor([(row, column) for row in range(h) for column in range(w)])
        y = x.permute(0, 2, 3, 4, 1).reshape(b * f, h * w, c)
        x = self.self_attention(y, f"{name}.spatial", grid).reshape(b, f, h, w, c).permute(0, 4, 1, 2, 3)
        y = x.permute(0, 3, 4, 2, 1).reshape(b * h * w, f, c)
        y = self.self_attention(y, f"{name}.temporal", torch.arange(f)[:, None])
        x = y.reshape(b, h, w, f, c).permute(0, 4, 3, 1, 2)

        value, gate = self.pointwise(x, f"{name}.ff.proj_in.0").chunk(2, 1)
        y = value * F.gelu(gate)
        half = math.ceil(y.shape[1] / 2)
        shifted = torch.zeros_like(y[:, half:])
        shifted[:, :, 1:] = y[:, half:, :-1]
        y = torch.cat((y[:, :half], shifted), 1)
        mean, variance = y.mean(1, keepdim=True), y.var(1, unbiased=False, keepdim=True)
        eps = 1e-5 if y.dtype == torch.float32 else 1e-3
        y = (y - mean) * variance.clamp(min=eps).rsqrt() * self.p[f"{name}.ff.proj_out.0.g"]
        return x + self.pointwise(y, f"{name}.ff.proj_out.1")

    def text_attention(self, x: Tensor, name: str, text: Tensor, heads: int) -> Tensor:
        b, c, f, h, w = x.shape
        x = x.permute(0, 2, 3, 4, 1).reshape(b, f * h * w, c)
        q = self.linear(self.layer_norm(x, f"{name}.layernorm_2"), f"{name}.attention_2.q_proj")
        k, v = (self.linear(text, f"{name}.attention_2.{y}_proj") for y in "kv")
        x = x + self.linear(self.attend(q, k, v, heads, 0.0), f"{name}.attention_2.out_proj")
        y = self.linear(self.layer_norm(x, f"{name}.layernorm_3"), f"{name}.linear_geglu_1")
        value, gate = y.chunk(2, -1)
        x = x + self.linear(value * F.gelu(gate), f"{name}.linear_geglu_2")
        return self.pseudo_conv(x.reshape(b, f, h, w, c).permute(0, 4, 1, 2, 3), f"{name}.conv_output")

    def downsample(self, x: Tensor, name: str) -> Tensor:
        b, c, f, h, w = x.shape
        x = x.reshape(b, c, f, h // 2, 2, w // 2, 2).permute(0, 1, 4, 6, 2, 3, 5)
        x = self.pointwise(x.reshape(b, 4 * c, f, h // 2, w // 2), f"{name}.down_space.1")
        if f"{name}.down_time.1.weight" not in self.p:
            return x
        x = x.reshape(b, c, f // 2, 2, h // 2, w // 2).permute(0, 1, 3, 2, 4, 5)
        return self.pointwise(x.reshape(b, 2 * c, f // 2, h // 2, w // 2), f"{name}.down_time.1")

    def upsample(self, x: Tensor, name: str) -> Tensor:
        b, c, f, h, w = x.shape
        x = self.pointwise(x, f"{name}.up_space.0").reshape(b, c, 2, 2, f, h, w)
        x = x.permute(0, 1, 4, 5, 2, 6, 3).reshape(b, c, f, 2 * h, 2 * w)
        if f"{name}.up_time.0.weight" not in self.p:
            return x
        x = self.pointwise(x, f"{name}.up_time.0").reshape(b, c, 2, f, 2 * h, 2 * w)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(b, c, 2 * f, 2 * h, 2 * w)

    def appearance(self, latents: Tensor) -> tuple[list[Tensor], Tensor]:
        p = self.groups["app_net"]
        x = F.conv2d(latents, p["conv_in.weight"], p["conv_in.bias"], padding=1)
        features = [x]
        for i in range(2 * len(self.text_heads)):
            weight, bias = p[f"blocks.{i}.weight"], p[f"blocks.{i}.bias"]
            x = F.silu(F.conv2d(x, weight, bias, padding=1, stride=1 + i % 2))
            features.append(x)
        residuals = [
            F.conv2d(y, p[f"zero_blocks.{i}.weight"], p[f"zero_blocks.{i}.bias"])
            for i, y in enumerate(features[:-1])
        ]
        mid = F.silu(F.conv2d(features[-1], p["conv_out.weight"], p["conv_out.bias"], padding=1))
        return residuals, F.conv2d(mid, p["zero_out.weight"], p["zero_out.bias"], padding=1)

    def poses(self, images: Tensor) -> Tensor:
        p, features = self.groups["pose_net"], []
        for i in range(images.shape[2]):
            x = images[:, :, i]
            for layer, stride in ((0, 2), (2, 2), (4, 2), (6, 1)):
                weight, bias = p[f"conv_layers.{layer}.weight"], p[f"conv_layers.{layer}.bias"]
                x = F.silu(F.conv2d(x, weight, bias, padding=1, stride=stride))
            features.append(F.conv2d(x, p["final_proj.weight"], p["final_proj.bias"]) * p["scale"])
        return torch.stack(features, 2)
