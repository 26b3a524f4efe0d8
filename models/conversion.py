"""The published checkpoint's names and shapes to ours and back, exactly.

A published file is a ``torch.save``d dict of the groups ``unet``, ``app_net`` and ``pose_net``, each a flat
state dict; training checkpoints also hold ``opt`` and ``epoch``, which are not read. Where our layers hold a
matrix in another shape or order of rows than the file, `_to_ours` and `_to_published` are the two directions;
both only move numbers.
"""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.denoiser import Denoiser
from utils.errors import UserError

GROUPS = {"unet": "unet", "appearance_encoder": "app_net", "pose_encoder": "pose_net"}
"""Our submodules and the published file's groups."""

_ATTENTION = (
    (
        r"\b(spatial|temporal)\.position_bias\.layer([12])\.",
        lambda m: f"{m[1]}_rel_pos_bias.net.{int(m[2]) - 1}.0.",
    ),
    (r"\b(spatial|temporal)\.position_bias\.layer3\.", r"\1_rel_pos_bias.net.2."),
    (r"\b(spatial|temporal)\.position_bias\.unused_bias$", r"\1_rel_pos_bias.net.2.bias"),
    (r"\b(spatial|temporal)\.(norm|to_q|to_kv|to_out)\.", r"\1_attn.\2."),
    (r"\bfeed_forward\.proj_in\.", "ff.proj_in.0."),
    (r"\bfeed_forward\.norm\.weight$", "ff.proj_out.0.g"),
    (r"\bfeed_forward\.proj_out\.", "ff.proj_out.1."),
)
_TEXT_ATTENTION = (
    (r"\btext_attention\.norm1\.", "4.layernorm_2."),
    (r"\btext_attention\.norm2\.", "4.layernorm_3."),
    (r"\btext_attention\.to_(q|k|v|out)\.", r"4.attention_2.\1_proj."),
    (r"\btext_attention\.feed_forward_in\.", "4.linear_geglu_1."),
    (r"\btext_attention\.feed_forward_out\.", "4.linear_geglu_2."),
    (r"\btext_attention\.proj_out\.", "4.conv_output.spatial_conv."),
)
_UNET = (
    (r"^timestep_embedding\.linear\.", "to_timestep_cond.1."),
    (r"^mid_resnet([12])\.", r"mid_block\1."),
    (r"^mid_attention\.", "mid_attn."),
    (r"^(down|up)_levels\.(\d+)\.", r"\1s.\2."),
    (r"\bresnets\.0\.", "0."),
    (r"\bresnets\.([12])\.", lambda m: f"1.{int(m[1]) - 1}."),
    (r"(?<=\.)attention\.", "2."),
    (r"\bdownsample\.(space|time)\.", r"3.down_\1.1."),
    (r"\bupsample\.(space|time)\.", r"3.up_\1.0."),
    (r"\btimestep_linear\.", "timestep_mlp.1."),
    (r"\bblock([12])\.conv\.", r"block\1.project."),
    (r"\bshortcut\.", "res_conv.spatial_conv."),
    (r"\b(project|conv_in|conv_out)\.(spatial|temporal)\.", r"\1.\2_conv."),
)
_RENAMES = {
    "unet": (*_ATTENTION, *_TEXT_ATTENTION, *_UNET),
    "app_net": (
        (r"^unused_input\.", "zero_conv."),
        (r"^mid_conv\.", "conv_out."),
        (r"^mid_projection\.", "zero_out."),
        (r"^skip_projections\.", "zero_blocks."),
    ),
    "pose_net": (
        (r"^convs\.(\d+)\.", lambda m: f"conv_layers.{2 * int(m[1])}."),
        (r"^proj_out\.", "final_proj."),
    ),
}

_MATRICES_4D = (
    ".upsample.space.weight",
    ".shortcut.weight",
    ".text_attention.proj_out.weight",
    ".unused_input.weight",
    ".unused_projection.weight",
)
_MATRICES_5D = (".upsample.time.weight", ".feed_forward.proj_in.weight", ".feed_forward.proj_out.weight")


class _Entry(NamedTuple):
    """One tensor of a published file."""

    group: str
    name: str
    shape: tuple[int, ...]


@functools.cache
def _table(config_json: str) -> dict[str, _Entry]:
    """Our name -> the published group, name and shape, for a denoiser of this configuration."""
    with torch.device("meta"):
        denoiser = Denoiser(**json.loads(config_json))
    if (
        denoiser.config.reference_input
        or denoiser.config.warp_input
        or not denoiser.config.keep_unused_tensors
    ):
        raise UserError(
            "a published file has no place for reference_input or warp_input and holds tensors that only a "
            "denoiser with keep_unused_tensors keeps; save this one as a folder with save_pretrained"
        )
    table = {}
    num_skips = 2 * len(denoiser.config.block_out_channels)
    for key, tensor in denoiser.state_dict().items():
        module, name = key.split(".", 1)
        group = GROUPS[module]
        for pattern, replacement in (
            *_RENAMES[group],
            (r"^unused_projection\.", f"zero_blocks.{num_skips}."),
        ):
            name = re.sub(pattern, replacement, name)
        table[key] = _Entry(group, name, _published_shape(key, tuple(tensor.shape)))
    return table


def published_shapes(config: Mapping[str, Any] | None = None) -> dict[str, dict[str, tuple[int, ...]]]:
    """{group: {name: shape}} of a published file; `config` overrides the denoiser's defaults."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {group: {} for group in GROUPS.values()}
    for entry in _table(_key(config)).values():
        shapes[entry.group][entry.name] = entry.shape
    return shapes


def published_to_state_dict(
    checkpoint: Mapping[str, Any], config: Mapping[str, Any] | None = None, source: str = "the checkpoint"
) -> dict[str, Tensor]:
    """A published checkpoint's groups to a `Denoiser`'s state dict.

    Args:
        checkpoint: {"unet": {...}, "app_net": {...}, "pose_net": {...}}; other entries are not read. Names
            may carry the prefix ``module.`` of a data-parallel wrapper.
        config: sizes other than the published ones.
        source: the file's name, for messages.

    Returns:
        New names; the tensors share memory with the checkpoint's where the order of numbers is the same.

    Raises:
        UserError: tensors are missing, unknown or of another shape; the message names each.
    """
    table = _table(_key(config))
    missing_groups = [group for group in GROUPS.values() if not isinstance(checkpoint.get(group), Mapping)]
    if missing_groups:
        raise UserError(
            f"{source} is not a published checkpoint: it lacks the group(s) {', '.join(missing_groups)}; "
            "it must hold unet, app_net and pose_net"
        )
    given = {
        (group, re.sub(r"^module\.", "", str(name))): tensor
        for group in GROUPS.values()
        for name, tensor in checkpoint[group].items()
    }
    expected = {(entry.group, entry.name): entry.shape for entry in table.values()}
    _refuse_differences(
        {"/".join(key): shape for key, shape in expected.items()},
        {"/".join(key): value for key, value in given.items()},
        source,
    )
    shapes = _our_shapes(_key(config))
    return {key: _to_ours(key, given[entry.group, entry.name], shapes[key]) for key, entry in table.items()}


def state_dict_to_published(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Tensor]]:
    """The inverse of `published_to_state_dict`: {"unet": {...}, "app_net": {...}, "pose_net": {...}}.

    Raises:
        UserError: the state dict is not that of a denoiser of this configuration, or a published file cannot
            hold it.
    """
    table = _table(_key(config))
    _refuse_differences(_our_shapes(_key(config)), state_dict, "the denoiser")
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS.values()}
    for key, (group, name, shape) in table.items():
        groups[group][name] = _to_published(key, state_dict[key].detach(), shape)
    return groups


def _refuse_differences(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, Any], source: str
) -> None:
    faults = [f"missing: {name} {_by(shape)}" for name, shape in expected.items() if name not in given]
    for name, value in given.items():
        if name not in expected:
            faults.append(f"unknown: {name}")
        elif not isinstance(value, Tensor):
            faults.append(f"not a tensor: {name} (a {type(value).__name__})")
        elif tuple(value.shape) != expected[name]:
            faults.append(f"shape: {name} is {_by(value.shape)}, must be {_by(expected[name])}")
    if faults:
        raise UserError(
            f"{source} does not fit the denoiser, {len(faults)} tensor(s) differ: {'; '.join(faults)}; "
            "give the whole file of a model of this configuration"
        )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _key(config: Mapping[str, Any] | None) -> str:
    """A configuration as a cache's key; diffusers' own entries (which start with _) are left out."""
    return json.dumps({k: v for k, v in (config or {}).items() if not k.startswith("_")}, sort_keys=True)


@functools.cache
def _our_shapes(config_json: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        denoiser = Denoiser(**json.loads(config_json))
    return {key: tuple(tensor.shape) for key, tensor in denoiser.state_dict().items()}


def _published_shape(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that the published file gives to our tensor `key`."""
    if len(shape) == 4:  # a convolution's weight, ours (out, height, width, in)
        out, height, width, channels = shape
        if key.endswith(".temporal.weight"):
            return (out, channels, height)
        if key.endswith(".downsample.space.weight"):
            return (out, channels * height * width, 1, 1)
        if key.endswith(".downsample.time.weight"):
            return (out, channels * height, 1, 1, 1)
        return (out, channels, height, width)
    if key.endswith(_MATRICES_4D):
        return (*shape, 1, 1)
    if key.endswith(_MATRICES_5D) or key.endswith("feed_forward.norm.weight"):
        return (*shape, 1, 1, 1)
    return shape


def _num_parts(key: str) -> int:
    """How many positions or frames the rows of an upsampling matrix make; 1 for all else."""
    if ".upsample.space." in key:
        return 4
    return 2 if ".upsample.time." in key else 1


def _to_ours(key: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    parts = _num_parts(key)
    if parts > 1:  # published rows run (channel, part), ours (part, channel)
        tensor = tensor.reshape(shape[0] // parts, parts, *shape[1:]).transpose(0, 1)
    elif len(shape) == 4:
        out, height, width, channels = shape
        tensor = tensor.reshape(out, channels, height, width).permute(0, 2, 3, 1)
    return tensor.reshape(shape)


def _to_published(key: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    parts = _num_parts(key)
    if parts > 1:
        tensor = tensor.reshape(parts, shape[0] // parts, *tensor.shape[1:]).transpose(0, 1)
    elif tensor.dim() == 4:
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.reshape(shape)
