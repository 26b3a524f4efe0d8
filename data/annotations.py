"""Annotations: which frames of a video show what, one line of text a segment."""

import codecs
import dataclasses
import os
import re
from pathlib import Path

from data.frames import count_frames
from data.shards import Shards, is_sharded
from utils.errors import UserError

SPLITS = ("train", "test")
LINE = re.compile(r"(\d{1,9})\s+(\d{1,9})\s+(\S.*)", re.ASCII | re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """Frames `start` up to, not including, `end` of video `name`, and what they show."""

    name: str
    start: int
    end: int
    text: str


def load_annotations(dataset_dir: str | Path, split: str, check_frames: bool = True) -> list[Segment]:
    """Read all segments of a split, sorted by video, then start.

    A file DATASET/SPLIT/NAME.txt belongs to video NAME; its lines are ``start end text``, frames counted from
    0, `end` exclusive. Blank lines are skipped.

    Args:
        dataset_dir: the dataset's folder, or its shards or their address.
        split: "train" or "test".
        check_frames: whether each segment must lie within the frames that fashion_crop/NAME holds. They are
            counted by their names, not opened.

    Raises:
        UserError: no such split, no annotations in it, or a line that is not an annotation or runs past the
            last frame; the message starts with FILE:LINE.
    """
    segments: list[Segment] = []
    if is_sharded(dataset_dir):
        return _from_shards(Shards(dataset_dir), split)
    for path in annotation_paths(dataset_dir, split):
        num_frames = count_frames(f"{dataset_dir}/fashion_crop/{path.stem}") if check_frames else None
        segments += read_annotation_file(path, num_frames)
    return segments


def annotation_paths(dataset_dir: str | Path, split: str) -> list[Path]:
    """The files DATASET/SPLIT/NAME.txt, sorted by name; hidden ones are left out.

    Raises:
        UserError: no such split, or no annotations in it.
    """
    folder = Path(dataset_dir) / split
    try:
        with os.scandir(folder) as entries:
            files = [e.name for e in entries if e.name.endswith(".txt") and e.name[0] != "."]
    except OSError as error:
        raise UserError(
            f"there is no folder {folder}; it holds a NAME.txt with lines `start end text` for each video"
        ) from error
    if not files:
        raise UserError(f"{folder} holds no .txt file; write lines `start end text` into NAME.txt there")
    return [folder / name for name in sorted(files, key=lambda name: Path(name).stem)]  # the order of shards


def read_annotation_file(
    path: str | Path, num_frames: int | None = None, mistakes: list[str] | None = None
) -> list[Segment]:
    """Read one video's segments, sorted by start.

    Args:
        path: a UTF-8 file of lines ``start end text``; its stem is the video's name.
        num_frames: the video's frames; where given, no segment may end past them.
        mistakes: gets a message for each line that cannot be used, instead of an error for the first.

    Raises:
        UserError: see `load_annotations`.
    """
    path = Path(path)
    try:
        with path.open(
            "rb", buffering=0
        ) as file:  # half the system calls of read_bytes: files are many and small
            content = file.read()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return _parse_lines(path.stem, str(path), content, num_frames, mistakes)


def _from_shards(shards: Shards, split: str) -> list[Segment]:
    """All segments of a split of a sharded dataset."""
    segments: list[Segment] = []
    for name, clip in shards.clips.items():
        if text := clip.about.get("texts", {}).get(split):
            num_frames = sum(file.startswith("frame.") for file in clip.files)
            place = f"{shards.location}/{clip.shard}.tar: {name}.{split}.txt"
            segments += _parse_lines(name, place, text.encode(), num_frames, None)
    if not segments:
        raise UserError(
            f"{shards.location} has no annotations of the {split} split; give shards that data.pack wrote of "
            f"a dataset with a folder {split}"
        )
    return segments


def _parse_lines(
    name: str, place: str, content: bytes, num_frames: int | None, mistakes: list[str] | None
) -> list[Segment]:
    """The segments of a video, sorted by start; see `read_annotation_file`."""
    segments: list[Segment] = []
    for line_number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            if text := line.decode().strip():
                segments.append(_parse(name, text, num_frames))
        except ValueError as error:
            reason = "not UTF-8 text; save the file as UTF-8" if isinstance(error, UnicodeError) else error
            message = f"{place}:{line_number}: {reason}"
            if mistakes is None:
                raise UserError(message) from error
            mistakes.append(message)
    segments.sort(key=lambda segment: (segment.start, segment.end))
    return segments


def _parse(name: str, line: str, num_frames: int | None) -> Segment:
    """A segment; a ValueError says what is wrong with the line."""
    match = LINE.fullmatch(line)
    if match is None:
        shown = line if len(line) <= 60 else line[:57] + "..."
        raise ValueError(f"{shown!r} is not `start end text`, for example `0 24 This lady stands.`")
    start, end = int(match[1]), int(match[2])
    if end <= start:
        raise ValueError(f"the segment ends at {end}, it must end after its start {start}")
    if num_frames is not None and end > num_frames:
        raise ValueError(
            f"the segment ends at {end}, and the video has {num_frames} frames; "
            f"end is exclusive and at most {num_frames}"
        )
    return Segment(name, start, end, match[3])
