"""One part of a model from its folder, in diffusers' or transformers' layout: settings, class, weights."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from safetensors import SafetensorError
from torch import nn

from utils.errors import UserError
from utils.files import read_json

STEM = "diffusion_pytorch_model"
"""Of the files of weights: STEM.safetensors, STEM.fp16.safetensors, STEM-00001-of-00002.safetensors ..."""
TRANSFORMERS_STEMS = {".safetensors": "model", ".bin": "pytorch_model"}
ALIGNMENT = 64  # bytes


def load_part(path: Path, kind: str, classes: Mapping[str, type]) -> Any:
    """Load a network in float32, frozen and in eval mode, without running anything that is in its files.

    Args:
        path: folder with config.json and weights: one file or several (shards), of full or half precision (a
            variant such as fp16), safetensors or, where there are none, .bin.
        kind: what it should be, for messages: "VAE".
        classes: those of diffusers that it may be, by the `_class_name` of its configuration; or the one of
            transformers that it is taken for, and then other models' tensors beside its own are no fault.

    Raises:
        UserError: no such folder, another class, or weights that are damaged, missing, unknown or of another
            shape; the message names the folder.
    """
    model_class = _read_class(path, kind, classes)
    is_diffusers = issubclass(model_class, ModelMixin)
    stems = dict.fromkeys(TRANSFORMERS_STEMS, STEM) if is_diffusers else TRANSFORMERS_STEMS
    suffix, variant = find_weights(path, stems)
    own = (
        {"torch_dtype": torch.float32, "low_cpu_mem_usage": False}
        if is_diffusers
        else {"dtype": torch.float32}
    )
    try:
        # A tensor of another shape is reported like a missing one, in place of a table on standard error.
        model, report = model_class.from_pretrained(  # type: ignore[attr-defined]
            path,
            local_files_only=True,
            use_safetensors=suffix == ".safetensors",
            variant=variant,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **own,
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"cannot load the {kind} in {path}: {reason}; where a file is damaged, copy or download it again"
        ) from error
    faults = [f"missing: {name}" for name in sorted(report["missing_keys"])]
    faults += [f"unexpected: {name}" for name in sorted(report["unexpected_keys"]) if is_diffusers]
    faults += [
        f"shape: {name} is {_by(given)}, must be {_by(due)}"
        for name, given, due in sorted(report["mismatched_keys"])
    ]
    if faults:
        raise UserError(
            f"the weights in {path} do not fit its config.json, {len(faults)} tensor(s) differ: "
            f"{'; '.join(faults[:10])}; copy or download the folder again"
        )
    align_weights(model)
    return model.eval().requires_grad_(False)


def find_weights(path: Path, stems: Mapping[str, str]) -> tuple[str, str | None]:
    """Which weights a folder holds: their files' suffix and variant; full precision before a variant.

    Args:
        path: of the folder.
        stems: beginning of the files' names, by their suffix; earlier ones are preferred.

    Raises:
        UserError: none.
    """
    for suffix, stem in stems.items():
        # STEM[.variant][-shard].suffix
        middles = [p.name.removeprefix(stem).removesuffix(suffix) for p in path.glob(f"{stem}*{suffix}")]
        variants = {middle.split("-")[0].removeprefix(".") or None for middle in middles}
        if None in variants:
            return suffix, None
        if variants:
            return suffix, min(name for name in variants if name is not None)
    names = " or ".join(f"{stem}{suffix}" for suffix, stem in stems.items())
    raise UserError(f"{path} holds no weights: {names} is missing")


def align_weights(module: nn.Module) -> None:
    """Give each weight on the CPU memory that begins at a multiple of 64 bytes, as torch allocates it.

    Weights of a safetensors file begin where they stand in the file. Some processors then take other kernels,
    whose results differ in the last bits from those of the same weights before they were saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def _read_class(path: Path, kind: str, classes: Mapping[str, type]) -> type:
    """The class of what is in a folder (UserError where it is none of `classes`)."""
    try:
        config = read_json(path / "config.json")
        single = next(iter(classes))
        name = single if not issubclass(classes[single], ModelMixin) else config["_class_name"]
    except (UserError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a {kind} folder: it needs a config.json with a _class_name and the weights "
            "beside it"
        ) from error
    if name not in classes:
        raise UserError(f"{path} holds a {name}; a {kind} here is one of {', '.join(classes)}")
    found = classes[name]
    if found.__module__.startswith("models."):  # of ours: it has no settings that we do not know
        unknown = {key for key in config if key[0] != "_"} - inspect.signature(found).parameters.keys()
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"{path / 'config.json'} has settings that a {name} does not have: {names}")
    return found


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
