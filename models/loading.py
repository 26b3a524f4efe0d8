"""Denoisers from and to disk: folders in diffusers' layout, and published ``.pth`` files."""

import hashlib
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.conversion import check_state_dict, published_to_state_dict, state_dict_to_published
from models.denoiser import Denoiser
from utils.errors import UserError
from utils.files import atomic_path, read_json

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
ALIGNMENT = 64  # bytes


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
        config, state_dict = _read_folder(path)
    elif path.is_file():
        config, state_dict = {}, published_to_state_dict(_read_pickle(path), source=str(path))
    else:
        raise UserError(
            f"no denoiser at {path}: give a folder with config.json and {WEIGHTS_NAME}, "
            "or a published .pth file"
        )
    with torch.device("meta"):
        denoiser = Denoiser(**config)
    # The tensors are still views of the file; copied one by one, there is never a second copy of the whole in
    # memory.
    for key in list(state_dict):
        state_dict[key] = state_dict[key].to(torch.float32, copy=True).contiguous()
    denoiser.load_state_dict(state_dict, assign=True)
    return denoiser.eval()


def align_weights(module: nn.Module) -> None:
    """Give each weight on the CPU memory that begins at a multiple of 64 bytes, as torch allocates it.

    Weights of a safetensors file begin where they stand in the file. Some processors then take other kernels,
    whose results differ in the last bits from those of the same weights before they were saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


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
    """SHA-256 of a model's configuration and weights, the same however often it was loaded and saved."""
    config = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps([type(model).__name__, config], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_folder(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and checked tensors of a folder."""
    folder = path / "denoiser" if (path / "denoiser").is_dir() else path
    for name in ("config.json", WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a denoiser's folder: {name} is missing; give one that has both")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("_class_name", "Denoiser") != "Denoiser":
        kind = config.get("_class_name") if isinstance(config, dict) else type(config).__name__
        raise UserError(f"{folder / 'config.json'} describes a {kind}, not a Denoiser")
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with torch.device("meta"):
            denoiser = Denoiser(**config)
    except (TypeError, UserError) as error:
        reason = str(error).removeprefix("Denoiser.__init__() ")
        raise UserError(f"{folder / 'config.json'}: {reason}") from error
    try:
        state_dict = load_file(folder / WEIGHTS_NAME)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder / WEIGHTS_NAME} is damaged ({_first_line(error)}); copy or download it again"
        ) from error
    shapes = {key: tuple(tensor.shape) for key, tensor in denoiser.state_dict().items()}
    check_state_dict(state_dict, shapes, str(folder / WEIGHTS_NAME))
    return config, state_dict


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


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
