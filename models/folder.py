"""One part of a model from its folder in diffusers' layout: configuration, class, weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from models.loading import align_weights
from utils.errors import UserError
from utils.files import read_json

STEM = "diffusion_pytorch_model"
"""Of the files of weights: STEM.safetensors, STEM.fp16.safetensors, STEM-00001-of-00002.safetensors ..."""


def load_part(path: Path, kind: str, classes: Mapping[str, type]) -> Any:
    """Load a network in float32, frozen and in eval mode, without running anything that is in its files.

    Args:
        path: folder with config.json and weights: one file or several (shards), of full or half precision (a
            variant such as fp16), safetensors or, where there are none, .bin.
        kind: what it should be, for messages: "VAE".
        classes: those that it may be, by the `_class_name` of its configuration.

    Raises:
        UserError: no such folder, another class, or weights that are damaged, missing, unknown or of another
            shape; the message names the folder.
    """
    try:
        class_name = read_json(path / "config.json")["_class_name"]
    except (UserError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a {kind} folder: it needs a config.json with a _class_name and the weights "
            "beside it"
        ) from error
    if class_name not in classes:
        raise UserError(f"{path} holds a {class_name}; a {kind} here is one of {', '.join(classes)}")
    suffix, variant = find_weights(path)
    try:
        model, report = classes[class_name].from_pretrained(  # type: ignore[attr-defined]
            path,
            local_files_only=True,
            low_cpu_mem_usage=False,
            use_safetensors=suffix == ".safetensors",
            variant=variant,
            torch_dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise UserError(f"cannot load the {kind} in {path}: {' '.join(str(error).split())[:300]}") from error
    faults = [f"{fault}: {key}" for fault in ("missing", "unexpected") for key in report[f"{fault}_keys"]]
    if faults:
        raise UserError(
            f"the weights in {path} do not fit its config.json, {len(faults)} tensor(s) differ: "
            f"{'; '.join(faults[:10])}; copy or download the folder again"
        )
    align_weights(model)
    return model.eval().requires_grad_(False)


def find_weights(path: Path) -> tuple[str, str | None]:
    """Which weights a folder holds: their files' suffix and variant; full precision before a variant.

    Raises:
        UserError: none.
    """
    for suffix in (".safetensors", ".bin"):
        # STEM[.variant][-shard].suffix
        middles = [p.name.removeprefix(STEM).removesuffix(suffix) for p in path.glob(f"{STEM}*{suffix}")]
        variants = {middle.split("-")[0].removeprefix(".") or None for middle in middles}
        if None in variants:
            return suffix, None
        if variants:
            return suffix, min(name for name in variants if name is not None)
    raise UserError(f"{path} holds no weights: {STEM}.safetensors or {STEM}.bin is missing")
