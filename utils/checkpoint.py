"""Training checkpoints: folders that are whole or absent, and that notice a flipped byte.

A checkpoint is `step_00001000/` with the files of its writer and `checkpoint.json`: step, settings and the
SHA-256 sums of the other files: one safetensors file a module, and `state.pt`, which is read with
`weights_only=True`.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from utils.errors import UserError
from utils.files import give_usual_permissions, read_json, write_json

MANIFEST = "checkpoint.json"
STATE = "state.pt"


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
    final = Path(folder) / f"step_{step:08d}"
    temporary = final.with_name(f".{final.name}.tmp")
    with _refusing_bad_disks(temporary):
        for stale in Path(folder).glob(".step_*.tmp"):  # of runs that were killed
            shutil.rmtree(stale, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, tensors in modules.items():
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                temporary / f"{name}.safetensors",
            )
        torch.save(state, temporary / STATE)
        give_usual_permissions(temporary)
        sums = {path.name: file_sha256(path) for path in sorted(temporary.iterdir())}
        for name in sums:
            _sync(temporary / name)
        write_json(temporary / MANIFEST, {"step": step, "settings": settings, "sha256": sums})
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        _sync(final.parent)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


@contextlib.contextmanager
def _refusing_bad_disks(temporary: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"cannot write the checkpoint {temporary}: {error}; the earlier ones are untouched: free some "
            "space or give another --output_dir, and run the same command again"
        ) from error


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The whole checkpoints in `folder`, oldest first."""
    return sorted(p for p in Path(folder).glob("step_*") if (p / MANIFEST).is_file())


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's step, settings and sums, and check all its files.

    Raises:
        UserError: a file is missing or its SHA-256 sum is not the stored one; the message names it.
    """
    path = Path(path)
    manifest = read_json(path / MANIFEST)
    parts = manifest if isinstance(manifest, dict) else {}
    known = isinstance(parts.get("settings"), dict) and isinstance(parts.get("sha256"), dict)
    if not known or path.name != f"step_{str(parts.get('step')).zfill(8)}":
        raise UserError(
            f"{path / MANIFEST} is damaged; remove {path} to resume from the checkpoint before it"
        )
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
    return manifest


def load_checkpoint(
    path: str | Path,
) -> tuple[int, dict[str, dict[str, torch.Tensor]], dict[str, Any], dict[str, Any]]:
    """Read a checkpoint that `save_checkpoint` wrote.

    Returns:
        step, modules, state, settings, as they were given to `save_checkpoint`.

    Raises:
        UserError: see `read_manifest`.
    """
    path = Path(path)
    manifest = read_manifest(path)
    modules = {
        name[: -len(".safetensors")]: load_file(path / name) for name in manifest["sha256"] if name != STATE
    }
    return manifest["step"], modules, read_state(path), manifest["settings"]


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint's state file; pickled code in it is refused by torch."""
    return torch.load(path / STATE, weights_only=True, map_location="cpu")


def check_settings(path: str | Path, stored: dict[str, Any], given: dict[str, Any], advice: str) -> None:
    """Refuse to go on with a checkpoint of another run.

    Args:
        path: path of the checkpoint.
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
    if os.name == "nt":  # Windows syncs neither folders nor files that are open for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
