"""Paths of what is read and what is written, compared before anything is lost."""

import dataclasses
import itertools
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from utils.errors import UserError


def refuse_overwrites(
    written: Iterable[str | Path], read: Iterable[str | Path], trees: Iterable[str | Path] = ()
) -> None:
    """Refuse to write over what is read, by whatever spelling of its path.

    Links are resolved, hard links compared, and letters' case and Unicode forms ignored: some file systems
    ignore them, and two files that differ in nothing else are a mistake waiting to happen. A folder clashes
    with a folder only where they are the same: a result may lie beside its inputs, or in a folder inside
    theirs.

    Args:
        written: files and folders that will be written or replaced; they need not exist. Of a folder that is
            replaced as a whole, whatever is read inside it clashes too.
        read: files that are read, and folders of which the files directly in them are.
        trees: folders that are read with all that is in them, however deep.

    Raises:
        UserError: two are the same; the message names both.
    """
    deep = [Path(path) for path in trees]
    inputs = [*map(Path, read), *deep]
    for output in map(Path, written):
        for path in inputs:
            if is_same_path(output, path) or (output.is_dir() and _lies_in(path, output)):
                also = "" if str(output) == str(path) else f" ({output} is the same place)"
                raise UserError(
                    f"{path} is read and would be overwritten{also}; choose another folder to write to, "
                    "or another name"
                )
            if path in deep:
                is_read = _lies_in(output, path) and output.exists()
            else:
                is_read = path.is_dir() and output.is_file() and _key(output)[:-1] == _key(path)
            if is_read:
                raise UserError(
                    f"{output} lies in {path}, which is read, and would be overwritten; choose "
                    "another folder to write to"
                )


def is_same_path(first: str | Path, second: str | Path) -> bool:
    """Whether two paths lead to the same file or folder; they need not exist."""
    try:
        if Path(first).samefile(second):
            return True
    except (OSError, ValueError):
        pass  # one of them does not exist yet
    return _key(Path(first)) == _key(Path(second))


def _lies_in(path: Path, folder: Path) -> bool:
    parts, outer = _key(path), _key(folder)
    return len(parts) > len(outer) and parts[: len(outer)] == outer


def _key(path: Path) -> tuple[str, ...]:
    """A path's resolved parts in one spelling."""
    resolved = os.path.realpath(Path(path).expanduser())
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in Path(resolved).parts)


def beside_code(name: str) -> Path:
    """What ships with the code: where it is from the working folder, else beside the code."""
    return Path(name) if Path(name).exists() else ROOT / name


ROOT = Path(__file__).resolve().parents[1]
SHIPPED_MODEL = beside_code("pretrained_model/x2fashion-small")
SHIPPED_DATASET = beside_code("fashion_dataset")
DATASET_FOLDERS = ("fashion_crop", "fashion_poses", "fashion_masks", "train", "test")
LONGEST_NAME = 255
TEMPORARY = len(".-12345678")
"""Bytes that `utils.files.atomic_path` adds to a name while the file is written."""


def refuse_overwrites_by(config: Any, written: Iterable[Path]) -> None:
    """Refuse a run of a script that would write over what its settings say is read.

    Read are all fields of `config` that are paths and whose names do not begin with "output"; of "dataset"
    the folders that a dataset has. Of another folder only the files directly in it are compared, so a run may
    write into a new folder inside it.

    Args:
        config: a dataclass of settings.
        written: files and folders that the run will write or replace.

    Raises:
        UserError: two are the same; the message names both.
    """
    outputs = [Path(path) for path in written]
    read: list[Path] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, Path) or field.name.startswith("output"):
            continue
        if field.name == "dataset":
            folders = [value / name for name in DATASET_FOLDERS]
            for output, folder in itertools.product(outputs, folders):
                if _lies_in(output, folder) or is_same_path(output, folder):
                    raise UserError(
                        f"{output} lies in {folder}, which is read; choose another folder to write to"
                    )
            read += folders
        elif value.is_dir():
            read += [value / output.name for output in outputs if (value / output.name).is_file()]
            read += [] if any(_lies_in(output, value) for output in outputs) else [value]
        else:
            read.append(value)
    refuse_overwrites(outputs, read)


def check_name(folder: str | Path, longest: str, what: str) -> None:
    """Refuse a name that is too long for a file system, before there is something to write.

    Args:
        folder: to write into; it need not exist.
        longest: the longest of the files' names.
        what: the name comes from, for the message.

    Raises:
        UserError: the name has too many bytes; the message says how many there may be.
    """
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    try:
        limit = os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        limit = LONGEST_NAME
    excess = len(os.fsencode(longest)) + TEMPORARY - limit
    if excess > 0:
        raise UserError(
            f"the name of {what} is {excess} bytes too long for the files to be written; shorten it"
        )
