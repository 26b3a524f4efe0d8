"""Denoisers from and to disk: folders in diffusers' layout, and published ``.pth`` files."""

import hashlib
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from models.conversion import published_to_state_dict, state_dict_to_published
from models.denoiser import Denoiser
from models.folder import STEM, load_part
from utils.errors import UserError
from utils.files import atomic_path


def load_denoiser(path: str | Path) -> Denoiser:
    """Load a denoiser in float32 and in eval mode, on the CPU.

    Args:
        path: a folder that `Denoiser.save_pretrained` wrote, a pipeline's folder with such a folder
            ``denoiser`` in it, or a published checkpoint (``.pth``, with or without ``opt``, ``epoch`` and
            ``module.`` prefixes).

    Raises:
        UserError: nothing there, a damaged file, a file that would run code, or tensors that do not fit; one
            line.
    """
    path = Path(path)
    if path.is_dir():
        folder = path / "denoiser" if (path / "denoiser").is_dir() else path
        return load_part(folder, "denoiser", {"Denoiser": Denoiser}).requires_grad_(True)
    if not path.is_file():
        raise UserError(
            f"no denoiser at {path}: give a folder with config.json and {STEM}.safetensors, or a published "
            ".pth file"
        )
    state_dict = published_to_state_dict(_read_pickle(path), source=str(path))
    with torch.device("meta"):
        denoiser = Denoiser()
    # The tensors are still views of the file; copied one by one, there is never a second copy of the whole in
    # memory.
    for key in list(state_dict):
        state_dict[key] = state_dict[key].to(torch.float32, copy=True).contiguous()
    denoiser.load_state_dict(state_dict, assign=True)
    return denoiser.eval()


def save_published(denoiser: Denoiser, path: str | Path) -> None:
    """Write a denoiser as a published ``.pth`` file, whole or not at all.

    Raises:
        UserError: the denoiser is not of the published sizes, or the file cannot be written.
    """
    with torch.device("meta"):
        sizes = Denoiser().config
    other = [
        name
        for name, size in sizes.items()
        if name[0] != "_" and _plain(denoiser.config[name]) != _plain(size)
    ]
    if other:
        raise UserError(
            f"cannot write {path}: a published file has the published sizes, and this denoiser differs in "
            f"{', '.join(other)}; save it as a folder with save_pretrained"
        )
    groups = state_dict_to_published(denoiser.state_dict())
    with atomic_path(path) as temporary:
        torch.save(groups, temporary)


def model_sha256(model: Any) -> str:
    """SHA-256 of a model's configuration and weights, the same however often it was loaded and saved.

    The model is one of diffusers, or a text encoder of transformers: version and precision do not count.
    """
    values = model.config.to_diff_dict() if hasattr(model.config, "to_diff_dict") else dict(model.config)
    aside = "transformers_version", "dtype", "architectures"
    config = {key: value for key, value in values.items() if key[0] != "_" and key not in aside}
    digest = hashlib.sha256(json.dumps([type(model).__name__, config], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_pickle(path: Path) -> dict[str, Any]:
    """Read a ``torch.save``d dict of tensors without running anything that is in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickles: they are refused below, in one line
            # Only files written by torch 1.6 and later, which are zip archives, can be mapped.
            is_zip = zipfile.is_zipfile(path)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a file that is no pickle can make the reader raise nearly anything
        refusals = ("Unsupported", "not an allowed global", "GLOBAL")
        if isinstance(error, pickle.UnpicklingError) and any(text in str(error) for text in refusals):
            raise UserError(
                f"{path} holds more than tensors: it would run code when loaded, so it was refused; "
                "use a checkpoint of plain tensors from a source you trust"
            ) from error
        raise UserError(
            f"{path} is not a checkpoint that can be read, or is damaged; copy or download it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"{path} holds a {type(checkpoint).__name__}, not a checkpoint with unet, app_net and pose_net; "
            "give a published .pth file"
        )
    return checkpoint


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
