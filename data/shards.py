"""Large sets: tar files that are read clip by clip, from a disk or, through fsspec, from object storage.

A sharded set is a folder, or the address of one, with shard-00000.tar, shard-00001.tar and so on, in the
layout of the webdataset library: the files of a clip follow each other and are named NAME.EXTENSION. Beside
each, shard-00000.json says what is in it and where, so any clip, and any part of a projected one, is read by
itself, in any order: training draws the same clips from shards as from a folder. The JSON is written last.

Of a dataset's clip the tar holds what `data/pack.py` says, of a projected one NAME.safetensors. Nothing is
unpickled.
"""

import contextlib
import dataclasses
import itertools
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec

from utils.errors import UserError
from utils.files import atomic_path, write_json

FORMAT = 1
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
SHARD = re.compile(r"shard-\d{5,}\.json")
IN_SHARD = "safetensors"
"""What a projected video is called in a shard, after its NAME."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """Where a clip's files lie.

    Attributes:
        shard: name of the shard, without its suffix.
        files: what follows "NAME." in a file's name -> its first byte in the tar, and how many it has.
        about: what is known of it without reading it: texts of a dataset's clip, facts of a projected one.
    """

    shard: str
    files: dict[str, tuple[int, int]]
    about: dict[str, Any]


def address_of(path: str | Path) -> str | None:
    """The address in object storage that a path stands for, such as s3://bucket/set; None for a local path.

    A `Path` of an address has lost one of its two slashes.
    """
    match = ADDRESS.fullmatch(Path(path).as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def is_sharded(path: str | Path) -> bool:
    """Whether a path is an address, or a folder of shards."""
    if address_of(path):
        return True
    return Path(path).is_dir() and any(SHARD.fullmatch(entry.name) for entry in Path(path).iterdir())


@contextlib.contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Make a storage's errors a `UserError`, whichever of its libraries they come from."""
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise UserError(
            f"{place} cannot be reached: {error}; run: python -m pip install -r requirements-large.txt"
        ) from error
    except FileNotFoundError as error:
        raise UserError(f"there is no {place}; is the address right?") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{place} cannot be read or written: {reason}") from error


class Shards:
    """A sharded set. What is in it is read when it is opened; each call reads what it returns.

    Args:
        path: a folder of shards or its address.

    Attributes:
        location: the folder or the address.
        clips: name -> where it lies, sorted by name.
        made_from: shard -> by what `write_shard` was told that a later run knows it, sorted.

    Raises:
        UserError: it cannot be read, holds no shards, or a clip twice.
    """

    def __init__(self, path: str | Path) -> None:
        self.location = address_of(path) or str(path)
        self.clips: dict[str, Clip] = {}
        self.made_from: dict[str, str] = {}
        for shard, document in read_documents(path).items():
            self._add(shard, document)
        self.clips = dict(sorted(self.clips.items()))

    def _add(self, shard: str, document: Any) -> None:
        try:
            self.made_from[shard] = str(document["made_from"])
            for name, clip in document["clips"].items():
                if name in self.clips:
                    raise UserError(
                        f"{self.location} has {name} in {self.clips[name].shard} and in {shard}, so it is "
                        "half written; run the command that writes it again"
                    )
                files = {key: (int(start), int(size)) for key, (start, size) in clip["files"].items()}
                self.clips[name] = Clip(shard, files, clip["about"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.location}/{shard}.json is no description of a shard ({error}); write the shard anew"
            ) from error

    def read(self, name: str, file: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of a file of a clip; by default all of it.

        Raises:
            UserError: they cannot be read, or the shard is shorter than it should be.
        """
        clip = self.clips[name]
        begin, size = clip.files[file]
        stop = size if stop is None else stop
        assert 0 <= start <= stop <= size
        return self._read(clip.shard, begin + start, begin + stop)

    def read_clip(self, name: str) -> dict[str, bytes]:
        """All files of a clip, in one reading."""
        clip = self.clips[name]
        first = min(start for start, _ in clip.files.values())
        data = self._read(clip.shard, first, max(start + size for start, size in clip.files.values()))
        return {
            file: data[start - first : start - first + size] for file, (start, size) in clip.files.items()
        }

    def _read(self, shard: str, start: int, stop: int) -> bytes:
        place = f"{self.location}/{shard}.tar"
        with storage_errors(place):
            fs, root = fsspec.core.url_to_fs(self.location)  # a file system belongs to one process
            data = fs.cat_file(f"{root.rstrip('/')}/{shard}.tar", start=start, end=stop)
        if len(data) != stop - start:
            raise UserError(f"{place} is cut off; write or copy the shard anew")
        return data


def read_documents(path: str | Path) -> dict[str, Any]:
    """The JSON of each shard, sorted by the shards' names.

    Raises:
        UserError: they cannot be read, or there are none.
    """
    location = address_of(path) or str(path)
    with storage_errors(location):
        fs, root = fsspec.core.url_to_fs(location)
        names = [entry.rstrip("/").split("/")[-1] for entry in fs.ls(root, detail=False, refresh=True)]
        places = [f"{root.rstrip('/')}/{name}" for name in sorted(names) if SHARD.fullmatch(name)]
        contents = fs.cat(places) if places else {}
    if not contents:
        raise UserError(f"{location} holds no shards; make them with: python -m data.pack --help")
    documents: dict[str, Any] = {}
    for place, content in sorted(contents.items()):
        shard = place.split("/")[-1].removesuffix(".json")
        try:
            documents[shard] = json.loads(content)
            if documents[shard]["format"] != FORMAT:
                raise ValueError(f"format {documents[shard]['format']}")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{location}/{shard}.json is no description of a shard ({error}); write the shard anew"
            ) from error
    return documents


def shards_there(path: str | Path) -> dict[str, str]:
    """What each shard was made from, where there are any; they need not fit together."""
    return {shard: str(document.get("made_from")) for shard, document in documents_there(path).items()}


def documents_there(path: str | Path) -> dict[str, Any]:
    """The JSON of each shard, where there are any that can be read."""
    try:
        return read_documents(path)
    except UserError:
        return {}


def write_document(path: str | Path, name: str, value: Any) -> None:
    """Write JSON into a folder or below an address, whole or not at all."""
    address = address_of(path)
    if address is None:
        write_json(Path(path) / name, value)
        return
    with storage_errors(f"{address}/{name}"):
        fs, root = fsspec.core.url_to_fs(address)
        fs.pipe_file(f"{root.rstrip('/')}/{name}", json.dumps(value, ensure_ascii=False).encode())


def write_shard(
    path: str | Path,
    shard: str,
    clips: Mapping[str, Mapping[str, Path]],
    about: Mapping[str, dict[str, Any]],
    made_from: str,
) -> None:
    """Write a shard, whole or not at all; the same files give the same bytes.

    Args:
        path: folder of shards or its address.
        shard: its name, without a suffix.
        clips: name -> what follows "NAME." in the tar -> a local file.
        about: what is known of each clip without reading it.
        made_from: by which a later run knows whether the shard is as it would write it; "" for never.

    Raises:
        UserError: a name with a dot, or the shard cannot be written.
    """
    for name in clips:
        if "." in name:
            raise UserError(f"{name} has a dot in its name, which ends a clip's name in a shard; rename it")
    address = address_of(path)
    if address is None:
        (Path(path) / f"{shard}.json").unlink(missing_ok=True)
        document = _write_tar(Path(path), shard, clips, about, made_from)
    else:
        with tempfile.TemporaryDirectory() as folder, storage_errors(f"{address}/{shard}"):
            document = _write_tar(Path(folder), shard, clips, about, made_from)
            fs, root = fsspec.core.url_to_fs(address)
            stem = f"{root.rstrip('/')}/{shard}"
            if fs.exists(f"{stem}.json"):
                fs.rm_file(f"{stem}.json")
            fs.put_file(f"{folder}/{shard}.tar", f"{stem}.tar")
    write_document(path, f"{shard}.json", document)


def _write_tar(
    folder: Path,
    shard: str,
    clips: Mapping[str, Mapping[str, Path]],
    about: Mapping[str, dict[str, Any]],
    made_from: str,
) -> dict[str, Any]:
    """Write the tar of a shard; what its JSON is to say."""
    with atomic_path(folder / f"{shard}.tar") as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, files in clips.items():
                for key, file in files.items():
                    info = tarfile.TarInfo(f"{name}.{key}")
                    info.size = file.stat().st_size
                    with file.open("rb") as content:
                        tar.addfile(info, content)
        with tarfile.open(temporary) as tar:
            places = {member.name: [member.offset_data, member.size] for member in tar}
    entries = {
        name: {"files": {key: places[f"{name}.{key}"] for key in files}, "about": about[name]}
        for name, files in clips.items()
    }
    return {"format": FORMAT, "made_from": made_from, "clips": entries}


def remove_leftovers(path: str | Path) -> None:
    """Remove tars and JSON that a killed run left half-written; only while no other run writes here."""
    if address_of(path) is None:  # storages show no half-written files
        for leftover in Path(path).glob(".shard-*"):
            leftover.unlink()


def remove_shards(path: str | Path, shards: Sequence[str]) -> None:
    """Remove shards by their names."""
    location = address_of(path) or str(path)
    with storage_errors(location):
        fs, root = fsspec.core.url_to_fs(location)
        for shard, suffix in itertools.product(shards, ("json", "tar")):
            fs.rm_file(f"{root.rstrip('/')}/{shard}.{suffix}")
