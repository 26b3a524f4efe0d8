"""Training checkpoints: folders that are whole or absent, and that notice a flipped byte.

A checkpoint is `step_00001000/` with one file of safetensors a module, `state.pt` (optimizer and schedule,
read with `weights_only=True`), and `checkpoint.json` (step, settings, SHA-256 sums of the other files).
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from utils.errors import UserError
from utils.files import read_json, write_json

MANIFEST = "checkpoint.json"


def save_checkpoint(
    folder: str | Path,
    step: int,
    modules: dict[str, dict[str, torch.Tensor]],
    state: dict[str, Any],
    settings: dict[str, Any],
    keep: int = 2,
) -> Path:
    """Write `folder`/step_N whole or not at all, then remove all but the newest `keep`.

    Args:
        folder: where checkpoints are kept.
        step: optimisation steps done.
        modules: name -> state dict; each becomes NAME.safetensors.
        state: what `torch.load(weights_only=True)` can read: optimizer and schedule state.
        settings: what a resumed run must agree with.
        keep: checkpoints to leave.

    Raises:
        UserError: the folder cannot be written; earlier checkpoints are left as they were.
    """
    folder = Path(folder)
    final = folder / f"step_{step:08d}"
    temporary = folder / f".step_{step:08d}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, tensors in modules.items():
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                temporary / f"{name}.safetensors",
            )
        torch.save(state, temporary / "state.pt")
        sums = {path.name: file_sha256(path) for path in sorted(temporary.iterdir())}
        for name in sums:
            _sync(temporary / name)
        write_json(temporary / MANIFEST, {"step": step, "settings": settings, "sha256": sums})
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        _sync(folder)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"cannot write the checkpoint {final}: {error}; the earlier ones are untouched"
        ) from error
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The whole checkpoints in `folder`, oldest first."""
    return sorted(p for p in Path(folder).glob("step_*") if (p / MANIFEST).is_file())


def load_checkpoint(
    path: str | Path,
) -> tuple[int, dict[str, dict[str, torch.Tensor]], dict[str, Any], dict[str, Any]]:
    """Read a checkpoint that `save_checkpoint` wrote.

    Returns:
        step, modules, state, settings, as they were given to `save_checkpoint`.

    Raises:
        UserError: a file is missing or its SHA-256 sum is not the stored one; the message names it.
    """
    path = Path(path)
    manifest = read_json(path / MANIFEST)
    for name, expected in manifest["sha256"].items():
        if not (path / name).is_file():
            raise UserError(
                f"{path / name} is missing; remove {path} to resume from the checkpoint before it"
            )
        if file_sha256(path / name) != expected:
            raise UserError(
                f"{path / name} is damaged (its SHA-256 sum changed); "
                f"remove {path} to resume from the one before"
            )
    modules = {
        name[: -len(".safetensors")]: load_file(path / name)
        for name in manifest["sha256"]
        if name != "state.pt"
    }
    state = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
    return manifest["step"], modules, state, manifest["settings"]


def check_settings(path: str | Path, stored: dict[str, Any], given: dict[str, Any], advice: str) -> None:
    """Refuse to go on with a checkpoint of another run.

    Args:
        path: of the checkpoint.
        stored: the settings it was saved with.
        given: those of this run that must be the same.
        advice: what to type.

    Raises:
        UserError: some differ; the message has both values of each.
    """
    changed = [
        f"{name} was {stored.get(name)} and is {value}"
        for name, value in given.items()
        if stored.get(name) != value
    ]
    if changed:
        raise UserError(f"{path} belongs to another run: {'; '.join(changed)}; {advice}")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
