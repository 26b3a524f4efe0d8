"""Paths of what is read and what is written, compared before anything is lost."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from utils.errors import UserError


def refuse_overwrites(written: Iterable[str | Path], read: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, by whatever spelling of its path.

    Links are resolved, hard links compared, and letters' case and Unicode forms ignored: some file systems
    ignore them, and two files that differ in nothing else are a mistake waiting to happen. A folder clashes
    with a folder only where they are the same: a result may lie beside its inputs.

    Args:
        written: files and folders that will be written or replaced; they need not exist. Of a folder that is
            replaced as a whole, whatever is read inside it clashes too.
        read: files and folders that are read.

    Raises:
        UserError: two are the same; the message names both.
    """
    inputs = [Path(path) for path in read]
    for output in map(Path, written):
        for path in inputs:
            if is_same_path(output, path) or (output.is_dir() and _lies_in(path, output)):
                also = "" if str(output) == str(path) else f" ({output} is the same place)"
                raise UserError(
                    f"{path} is read and would be overwritten{also}; choose another folder to write to, "
                    "or another name"
                )
            if path.is_dir() and _lies_in(output, path) and output.exists():
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
