"""A dataset's folder as shards, and back.

    python -m data.pack --dataset my_dataset --output_dir my_shards
    python -m data.pack --dataset my_dataset --output_dir s3://bucket/my_dataset

A shard's tar (see data/shards.py) holds, for each clip, NAME.frame.000.jpg and so on, NAME.pose.000.png,
NAME.mask.000.png, NAME.joints.json, NAME.train.txt and NAME.test.txt. The same command again writes what has
changed.
"""

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.frames import NUMBERED, frame_paths
from data.shards import (
    IN_SHARD,
    Shards,
    address_of,
    documents_there,
    is_sharded,
    remove_leftovers,
    remove_shards,
    shards_there,
    write_shard,
)
from utils.config import check_minimum, run_script
from utils.errors import UserError
from utils.files import check_output_dir
from utils.paths import is_same_path

PICTURES = {"frame": "fashion_crop", "pose": "fashion_poses", "mask": "fashion_masks"}
SPLITS = ("train", "test")


def local_path(name: str, file: str) -> Path:
    """Where a file of a clip lies in the folder of a dataset.

    Raises:
        UserError: it is no file of a dataset.
    """
    kind, _, rest = file.partition(".")
    if "/" in name or name in ("", ".", "..") or "/" in rest or "\\" in name + rest:
        raise UserError(f"{name!r} with {file!r} is no clip's name; write the shard anew")
    if kind in PICTURES and NUMBERED.fullmatch(rest):
        return Path(PICTURES[kind]) / name / rest
    if kind in SPLITS and rest == "txt":
        return Path(kind) / f"{name}.txt"
    if file == "joints.json":
        return Path(PICTURES["pose"]) / f"{name}.json"
    raise UserError(f"{name}.{file} is no file of a dataset; give the shards of a dataset")


def clip_files(dataset_dir: Path, name: str) -> dict[str, Path]:
    """The files of a clip in the folder of a dataset, by what they are called in a shard.

    Raises:
        UserError: its frames are missing or not in order.
    """
    files: dict[str, Path] = {}
    for kind, folder in PICTURES.items():
        if kind == "frame" or (dataset_dir / folder / name).is_dir():
            paths = frame_paths(dataset_dir / folder / name)
            files |= {f"{kind}.{n:03d}{path.suffix.lower()}": path for n, path in enumerate(paths)}
    others = {"joints.json": dataset_dir / PICTURES["pose"] / f"{name}.json"}
    others |= {f"{split}.txt": dataset_dir / split / f"{name}.txt" for split in SPLITS}
    return files | {key: path for key, path in others.items() if path.is_file()}


def pack_dataset(
    dataset_dir: Path, path: str | Path, clips_per_shard: int, names: Sequence[str] | None = None
) -> tuple[int, int]:
    """Write a dataset's folder as shards; those that are there and would be the same are left as they are.

    Args:
        dataset_dir: the dataset's folder.
        path: folder of shards or its address.
        clips_per_shard: clips of a shard; the last has what is left.
        names: of the clips; by default all that have frames.

    Returns:
        How many shards there are, and how many of them were written.

    Raises:
        UserError: a clip's files are not in order, a shard cannot be written, or shards of something else
            would be overwritten.
    """
    if names is None:
        folder = dataset_dir / PICTURES["frame"]
        entries = folder.iterdir() if folder.is_dir() else ()
        names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    if not names:
        raise UserError(f"{dataset_dir} holds no clips; give the folder of a dataset")
    _refuse_other_shards(path, names)
    there = shards_there(path)
    remove_leftovers(path)
    written = 0
    batches = [names[start : start + clips_per_shard] for start in range(0, len(names), clips_per_shard)]
    for number, batch in enumerate(batches):
        clips = {name: clip_files(dataset_dir, name) for name in batch}
        shard = f"shard-{number:05d}"
        made_from = fingerprint(clips)
        if there.get(shard) != made_from:
            about = {name: {"texts": _texts(files)} for name, files in clips.items()}
            write_shard(path, shard, clips, about, made_from)
            written += 1
    remove_shards(path, [shard for shard in there if int(shard.removeprefix("shard-")) >= len(batches)])
    return len(batches), written


def _refuse_other_shards(path: str | Path, names: Sequence[str]) -> None:
    """Refuse to replace shards of latents, or of a dataset that has no clip in common with this one."""
    clips: dict[str, Any] = {}
    for document in documents_there(path).values():
        clips |= document.get("clips", {})
    is_latents = any(IN_SHARD in clip["files"] for clip in clips.values())
    if clips and (is_latents or not clips.keys() & set(names)):
        what = "of projected videos" if is_latents else "of another dataset"
        raise UserError(f"{address_of(path) or path} holds the shards {what}; give another place for these")


def fingerprint(clips: Mapping[str, Mapping[str, Path]]) -> str:
    """A checksum of the files' names, sizes and times of change, and of what the small ones say."""
    digest = hashlib.sha256()
    for name, files in clips.items():
        for key, file in files.items():
            status = file.stat()
            known = file.read_bytes() if key.endswith(".txt") else str(status.st_mtime_ns).encode()
            digest.update(f"{name} {key} {status.st_size} ".encode() + known)
    return digest.hexdigest()


def _texts(files: Mapping[str, Path]) -> dict[str, str]:
    """The annotations of a clip, by split."""
    texts = {}
    for split in SPLITS:
        if path := files.get(f"{split}.txt"):
            try:
                texts[split] = path.read_text(encoding="utf-8-sig")
            except UnicodeError as error:
                raise UserError(f"{path} is not UTF-8 text; save the file as UTF-8") from error
    return texts


@contextlib.contextmanager
def local_dataset(path: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """The folder of a dataset; of a sharded one, a temporary folder with some of its clips.

    Args:
        path: the dataset's folder, or its shards or their address.
        names: of the clips that are needed.
    """
    if not is_sharded(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(path)
        for name in names:
            extract(shards, name, Path(folder))
        yield Path(folder)


def extract(shards: Shards, name: str, folder: Path) -> None:
    """Write a clip of a sharded dataset in the layout of a dataset's folder.

    Raises:
        UserError: there is no such clip, or it cannot be read.
    """
    if name not in shards.clips:
        raise UserError(f"{shards.location} has no clip {name}; give the shards of the same dataset")
    for file, content in shards.read_clip(name).items():
        path = folder / local_path(name, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is packed."""

    dataset: Path
    """Folder of the dataset."""
    output_dir: Path
    """Where the shards go: another folder, or an address in object storage such as s3://bucket/my_dataset."""
    clips_per_shard: int = 64
    """Clips of a tar. A few hundred MB a tar are a good size."""


def main(config: Config) -> None:
    """Pack a dataset."""
    check_minimum(config, 1, "clips_per_shard")
    if is_same_path(config.output_dir, config.dataset):
        raise UserError(
            f"--output_dir {config.output_dir} is the dataset itself, which would be taken for shards; give "
            "another folder"
        )
    if address_of(config.output_dir) is None:
        check_output_dir(config.output_dir)
    count, written = pack_dataset(config.dataset, config.output_dir, config.clips_per_shard)
    place = address_of(config.output_dir) or config.output_dir
    print(f"wrote {written} of {count} shards in {place}; the others were there")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
