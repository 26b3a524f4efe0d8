"""The denoiser: UNet, appearance encoder and pose encoder as one module, with one forward and state dict."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from models.appearance_encoder import AppearanceEncoder
from models.blocks import NORM_GROUPS
from models.conditions import Conditions
from models.layers import Recomputing, zero_
from models.offloading import fires_hooks
from models.pose_encoder import PoseEncoder
from models.unet import UNet, UNetParams
from utils.errors import UserError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


@dataclasses.dataclass
class DenoiserOutput(BaseOutput):
    """What `Denoiser.forward` returns where a dict is asked for.

    Attributes:
        sample: (b, latent_channels, f, h, w), the prediction.
    """

    sample: Tensor


class Denoiser(ModelMixin, ConfigMixin, PeftAdapterMixin, Recomputing):  # type: ignore[misc]
    """Predict a clip's noise, velocity or clean latents from its noisy latents and its conditions.

    The defaults are the sizes of the published model. After `enable_gradient_checkpointing()` the blocks of
    the UNet and the pose encoder compute their activations again in the backward pass: less memory, more
    time, the same gradients. (The appearance encoder sees one picture a clip; its activations are few.)

    Args:
        latent_channels: channels of a latent.
        block_out_channels: width of each level of the UNet, from the largest pictures down; multiples of 8.
        text_attention_heads: heads of the attention to the text of each level.
        spatio_temporal_attention: for each level, whether it has attention in space and over frames (the
            middle has).
        temporal_downsample: for each level, whether it halves the number of frames too. Where none does, any
            number of frames will do.
        attention_heads: heads of the attention in space and over frames.
        attention_head_dim: channels of each of these heads.
        cross_attention_dim: width of the text's embeddings.
        pose_channels: widths of the pose encoder's convolutions; all but the last halve height and width.
        prediction_type: "epsilon", "v_prediction" or "sample" (the clean latents), as diffusers' schedulers
            call them.
        reference_input: give the reference latent and a mask of the given frames as further input channels.
        warp_input: give the latents of the reference warped to each frame's pose, and where they are valid,
            as further input channels. With prediction type "sample" also add them to the output through a
            learned gate.
        shared_noise: the share, from 0 to 1, of the noise's variance that all frames of a clip have in common
            (mixed noise of Ge et al., "Preserve Your Own Correlation", 2023): what it was trained with, and
            what samplers have to draw.
        keep_unused_tensors: hold the five tensors and more that a published file has and nothing computes
            with, so that it can be written again without loss. They are buffers and are not trained.

    Raises:
        UserError: sizes that do not fit together.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ResidualBlock", "SpatioTemporalAttention", "TextAttention"]  # noqa: RUF012
    _repeated_blocks = ["SpatioTemporalAttention"]  # noqa: RUF012
    _skip_layerwise_casting_patterns = ["timestep_embedding", "position_bias", "norm"]  # noqa: RUF012
    config: Any  # diffusers' frozen dict, whose entries are attributes
    picture_size: tuple[int, int] | None = None
    """Height and width in pixels of the pictures it makes, where a pipeline has said so; not saved."""

    @register_to_config
    def __init__(
        self,
        *,
        latent_channels: int = 4,
        block_out_channels: Sequence[int] = (64, 128, 256, 512),
        text_attention_heads: Sequence[int] = (1, 1, 2, 4),
        spatio_temporal_attention: Sequence[bool] = (False, False, False, True),
        temporal_downsample: Sequence[bool] = (False, False, False, True),
        attention_heads: int = 8,
        attention_head_dim: int = 64,
        cross_attention_dim: int = 768,
        pose_channels: Sequence[int] = (16, 32, 64, 128),
        prediction_type: str = "epsilon",
        reference_input: bool = False,
        warp_input: bool = False,
        shared_noise: float = 0.0,
        keep_unused_tensors: bool = True,
    ):
        super().__init__()
        _check_config(self.config)
        self.has_output_skip = warp_input and prediction_type == "sample"
        params = UNetParams(
            in_channels=latent_channels * (1 + reference_input + warp_input) + reference_input + warp_input,
            out_channels=latent_channels + self.has_output_skip,
            block_out_channels=block_out_channels,
            text_attention_heads=text_attention_heads,
            spatio_temporal_attention=spatio_temporal_attention,
            temporal_downsample=temporal_downsample,
            attention_heads=attention_heads,
            attention_head_dim=attention_head_dim,
            cross_attention_dim=cross_attention_dim,
            keep_unused=keep_unused_tensors,
        )
        self.unet = UNet(params)
        self.appearance_encoder = AppearanceEncoder(latent_channels, block_out_channels, keep_unused_tensors)
        self.pose_encoder = PoseEncoder(pose_channels, block_out_channels[0])
        if self.has_output_skip:
            conv = self.unet.conv_out.spatial
            assert conv.bias is not None
            zero_(conv.weight[-1], conv.bias[-1])  # the gate is the last channel: it starts at sigmoid(0)

    @property
    def frame_multiple(self) -> int:
        """The number of frames must be a multiple of this."""
        return 2 ** sum(self.config.temporal_downsample)

    @property
    def size_multiple(self) -> int:
        """Height and width of the latents must be multiples of this."""
        return 2 ** len(self.config.block_out_channels)

    @property
    def pose_scale(self) -> int:
        """Height and width of the pose pictures are this times the latents'."""
        return 2 ** (len(self.config.pose_channels) - 1)

    @fires_hooks
    def encode_conditions(
        self,
        *,
        prompt_embeds: Tensor | None = None,
        reference_latents: Tensor | None = None,
        pose_images: Tensor | None = None,
        warped_latents: Tensor | None = None,
        warp_validity: Tensor | None = None,
    ) -> Conditions:
        """Do once what does not change over the steps of a denoising loop.

        None for a condition is its null: no sentence, no picture, no poses.

        Args:
            prompt_embeds: (b, n, cross_attention_dim).
            reference_latents: (b, latent_channels, h, w).
            pose_images: (b, 3, f, 8 h, 8 w) in [-1, 1].
            warped_latents: (b, latent_channels, f, h, w); not used without `warp_input`.
            warp_validity: (b, 1, f, h, w) in 0..1; not used without `warp_input`.

        Raises:
            UserError: a tensor of a shape that does not fit.
        """
        given = {
            "prompt_embeds": prompt_embeds,
            "reference_latents": reference_latents,
            "pose_images": pose_images,
            "warped_latents": warped_latents,
            "warp_validity": warp_validity,
        }
        return self._encode_conditions(given)

    def _encode_conditions(self, given: dict[str, Tensor | None]) -> Conditions:
        prompt_embeds, reference_latents = given["prompt_embeds"], given["reference_latents"]
        warped_latents = given["warped_latents"]
        encoded: dict[str, Any] = {"batch_size": self._check_conditions(given)}
        if prompt_embeds is not None:
            encoded["text_keys"], encoded["text_values"] = self.unet.encode_text(prompt_embeds)
        if reference_latents is not None:
            encoded["skip_residuals"], encoded["mid_residual"] = self.appearance_encoder(reference_latents)
        if given["pose_images"] is not None:
            encoded["pose_features"] = self.run(self.pose_encoder, given["pose_images"])
        if self.config.reference_input:
            encoded["reference_latents"] = reference_latents
            if reference_latents is not None:
                encoded["given_frames"] = reference_latents.new_ones(len(reference_latents), 1)
        if self.config.warp_input and warped_latents is not None:
            encoded["warped_latents"] = warped_latents
            encoded["warp_validity"] = given["warp_validity"]
        return Conditions(**encoded)

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor | float,
        *,
        prompt_embeds: Tensor | None = None,
        reference_latents: Tensor | None = None,
        pose_images: Tensor | None = None,
        warped_latents: Tensor | None = None,
        warp_validity: Tensor | None = None,
        conditions: Conditions | None = None,
        drop_image: Tensor | None = None,
        drop_poses: Tensor | None = None,
        drop_text: Tensor | None = None,
        return_dict: bool = False,
    ) -> Tensor | DenoiserOutput:
        """Predict what `prediction_type` says.

        Args:
            noisy_latents: (b, latent_channels, f, h, w).
            timesteps: (b,), or one number for all samples, which is cheaper.
            prompt_embeds: see `encode_conditions`.
            reference_latents: see `encode_conditions`.
            pose_images: see `encode_conditions`.
            warped_latents: see `encode_conditions`.
            warp_validity: see `encode_conditions`.
            conditions: what `encode_conditions` returned, instead of these five.
            drop_image: (b,) bool, see `Conditions.drop`; here so that training is one call, as DDP wants it.
            drop_poses: (b,) bool, see `Conditions.drop`.
            drop_text: (b,) bool, see `Conditions.drop`.
            return_dict: whether to return a `DenoiserOutput` in place of the tensor.

        Returns:
            A tensor shaped like `noisy_latents`, or a `DenoiserOutput` with it as its `sample`.

        Raises:
            UserError: a tensor of a shape that does not fit.
        """
        given = {
            "prompt_embeds": prompt_embeds,
            "reference_latents": reference_latents,
            "pose_images": pose_images,
            "warped_latents": warped_latents,
            "warp_validity": warp_validity,
        }
        if conditions is None:
            conditions = self._encode_conditions(given)
        else:
            assert all(tensor is None for tensor in given.values()), (
                "give either `conditions` or what they are made of"
            )
        conditions = conditions.drop(image=drop_image, poses=drop_poses, text=drop_text)
        timesteps = torch.as_tensor(timesteps, device=noisy_latents.device)
        timesteps = timesteps[None] if timesteps.dim() == 0 else timesteps
        self._check_inputs(noisy_latents, timesteps, conditions)

        output = self.unet(
            self._network_input(noisy_latents, conditions),
            timesteps,
            text_keys=conditions.text_keys,
            text_values=conditions.text_values,
            pose_features=conditions.pose_features,
            skip_residuals=conditions.skip_residuals,
            mid_residual=conditions.mid_residual,
        )
        if self.has_output_skip:
            output, gate = output[:, :-1], output[:, -1:].sigmoid()
            if conditions.warped_latents is not None:
                output = output + gate * conditions.warp_validity * conditions.warped_latents
        output = output.contiguous()
        return DenoiserOutput(sample=output) if return_dict else output

    def _network_input(self, noisy_latents: Tensor, conditions: Conditions) -> Tensor:
        """Noisy latents and, if configured, reference latent, given-frame mask, warped latents, validity."""
        b, c, f, h, w = noisy_latents.shape
        parts = [noisy_latents]
        if self.config.reference_input:
            reference, frames = conditions.reference_latents, conditions.given_frames
            if reference is None:
                reference = noisy_latents.new_zeros(b, c, h, w)
            if frames is None:
                frames = noisy_latents.new_zeros(b, f)
            frames = F.pad(frames, (0, f - frames.shape[1]))
            parts.append(reference[:, :, None].expand(b, c, f, h, w).to(noisy_latents.dtype))
            parts.append(frames[:, None, :, None, None].expand(b, 1, f, h, w).to(noisy_latents.dtype))
        if self.config.warp_input:
            if conditions.warped_latents is None or conditions.warp_validity is None:
                parts.append(noisy_latents.new_zeros(b, c + 1, f, h, w))
            else:
                parts += [conditions.warped_latents, conditions.warp_validity]
        return torch.cat(parts, dim=1) if len(parts) > 1 else noisy_latents

    def _check_conditions(self, given: dict[str, Tensor | None]) -> int | None:
        """Check each condition by itself and return the batch size they share."""
        config = self.config
        expected: dict[str, tuple[int | str, ...]] = {
            "prompt_embeds": ("b", "n", config.cross_attention_dim),
            "reference_latents": ("b", config.latent_channels, "h", "w"),
            "pose_images": ("b", 3, "f", "H", "W"),
            "warped_latents": ("b", config.latent_channels, "f", "h", "w"),
            "warp_validity": ("b", 1, "f", "h", "w"),
        }
        for name, tensor in given.items():
            if tensor is not None:
                _check_shape(name, tensor, expected[name])
        if (given["warped_latents"] is None) != (given["warp_validity"] is None):
            missing = "warp_validity" if given["warp_validity"] is None else "warped_latents"
            raise UserError(
                f"{missing} is missing: give warped_latents and warp_validity together, or neither"
            )
        batch_sizes = {name: len(tensor) for name, tensor in given.items() if tensor is not None}
        if len(set(batch_sizes.values())) > 1:
            listed = ", ".join(f"{name} {size}" for name, size in batch_sizes.items())
            raise UserError(
                f"the conditions have different batch sizes ({listed}); give one entry a video in each"
            )
        return next(iter(batch_sizes.values()), None)

    def _check_inputs(self, noisy_latents: Tensor, timesteps: Tensor, conditions: Conditions) -> None:
        """Check the clip's sizes, and that the conditions are of the same."""
        _check_shape("noisy_latents", noisy_latents, ("b", self.config.latent_channels, "f", "h", "w"))
        b, _, f, h, w = noisy_latents.shape
        if f % self.frame_multiple or f == 0:
            raise UserError(f"{f} frames given; this model takes a multiple of {self.frame_multiple}")
        if h % self.size_multiple or w % self.size_multiple or not h or not w:
            raise UserError(
                f"latents of {h} x {w} (height x width) given; "
                f"this model takes multiples of {self.size_multiple}"
            )
        if timesteps.shape not in ((1,), (b,)):
            raise UserError(
                f"timesteps of shape {tuple(timesteps.shape)} given for {b} videos; give one, or one each"
            )
        if conditions.batch_size not in (None, b):
            raise UserError(
                f"conditions of {conditions.batch_size} videos given for {b} noisy ones; give as many"
            )
        poses, residuals = conditions.pose_features, conditions.skip_residuals
        if poses is not None and poses.shape[2:] != (f, h, w):
            scale, (pose_f, pose_h, pose_w) = self.pose_scale, poses.shape[2:]
            raise UserError(
                f"poses of {pose_f} frames of {pose_h * scale} x {pose_w * scale} pixels given for a video "
                f"of {f} frames of {h * scale} x {w * scale}; give one pose a frame, of the video's size"
            )
        if residuals is not None and residuals[0].shape[3:] != (h, w):
            raise UserError(
                f"reference_latents of {_by(residuals[0].shape[3:])} given for latents of {h} x {w}"
            )
        for name in ("warped_latents", "warp_validity"):
            value = getattr(conditions, name)
            if value is not None and value.shape[2:] != (f, h, w):
                raise UserError(
                    f"{name} of {_by(value.shape[2:])} (frames x height x width) given for latents of "
                    f"{f} x {h} x {w}"
                )


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _check_shape(name: str, tensor: Tensor, expected: tuple[int | str, ...]) -> None:
    """Compare a shape with numbers that must match and letters that stand for any size."""
    fits = tensor.dim() == len(expected) and all(
        isinstance(size, str) or given == size for given, size in zip(tensor.shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, expected))
        raise UserError(f"{name} has shape {tuple(tensor.shape)}; this model takes ({wanted})")


def _check_config(config: Any) -> None:
    """Refuse sizes that do not fit together, with the numbers."""
    widths = list(config.block_out_channels)
    if not widths or any(width < NORM_GROUPS or width % NORM_GROUPS for width in widths):
        raise UserError(f"block_out_channels {widths}: one or more widths, each a multiple of {NORM_GROUPS}")
    for name in ("text_attention_heads", "spatio_temporal_attention", "temporal_downsample"):
        given = list(getattr(config, name))
        if len(given) != len(widths):
            raise UserError(
                f"{name} {given} has {len(given)} entries for {len(widths)} levels {widths}; give one each"
            )
    in_widths = [widths[0], *widths[:-1]]
    for level, (heads, *pair) in enumerate(zip(config.text_attention_heads, in_widths, widths, strict=True)):
        if heads < 1 or any(width % heads for width in pair):
            raise UserError(
                f"text_attention_heads: {heads} heads at level {level}, whose widths are {pair[0]} and "
                f"{pair[1]}; heads must divide both"
            )
    for name in ("latent_channels", "attention_heads", "attention_head_dim", "cross_attention_dim"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} is {getattr(config, name)}; it must be 1 or more")
    poses = list(config.pose_channels)
    if len(poses) < 2 or any(width < 1 for width in poses):
        raise UserError(
            f"pose_channels {poses}: two or more widths, the last one of the unstrided convolution"
        )
    if config.prediction_type not in PREDICTION_TYPES:
        raise UserError(
            f"prediction_type {config.prediction_type!r}: choose one of {', '.join(PREDICTION_TYPES)}"
        )
    if not 0 <= config.shared_noise <= 1:
        raise UserError(f"shared_noise is {config.shared_noise}; it is a share from 0 to 1")
