"""Files that are either whole or absent."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from utils.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`, else remove it.

    The temporary name keeps the suffix (writers choose a format by it) and starts with a dot.

    Raises:
        UserError: the folder cannot be created or written (read-only, disk full).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another folder or free some space"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another folder or free some space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output_dir(folder: str | Path) -> None:
    """Refuse a folder that cannot be written to, without creating it.

    Raises:
        UserError: it, or what it would be created in, is a file or may not be written to.
    """
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f"cannot write into {folder}: {there} is a file; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write into {folder}: no permission to write to {there}; choose another folder"
        )


@contextlib.contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Hold a folder against other processes that would write the same files; a dead process holds nothing.

    The folder is made where it is missing, and removed again if nothing was written into it. The file .lock
    in it does not stay.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"another process writes into {folder}; wait for it, end it, or choose another folder"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows refuses, and removes the file on release
            (folder / ".lock").unlink()  # while it is held: who opened it before finds it gone, and asks anew
        lock.release()
        with contextlib.suppress(OSError):  # something was written, or another process holds it by now
            for path in missing:
                path.rmdir()


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, else it is removed.

    Raises:
        UserError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            new, old = Path(folder) / "new", Path(folder) / "old"
            new.mkdir()
            yield new
            give_usual_permissions(new)
            if path.exists():
                path.replace(old)
            new.replace(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {error}; choose another folder or free some space") from error


def give_usual_permissions(folder: Path) -> None:
    """Let others read the files of a folder as far as the umask does: safetensors writes for the owner."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~_umask())


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
