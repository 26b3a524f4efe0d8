"""Annotations: which frames of a video show what, one line of text a segment."""

import dataclasses
import re
from pathlib import Path

from data.frames import count_frames
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
        dataset_dir: the dataset's folder.
        split: "train" or "test".
        check_frames: whether each segment must lie within the frames that fashion_crop/NAME holds. They are
            counted by their names, not opened.

    Raises:
        UserError: no such split, no annotations in it, or a line that is not an annotation or runs past the
            last frame; the message starts with FILE:LINE.
    """
    dataset_dir = Path(dataset_dir)
    folder = dataset_dir / split
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}; it holds a NAME.txt with lines `start end text` for each video"
        )
    paths = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    if not paths:
        raise UserError(f"{folder} holds no .txt file; write lines `start end text` into NAME.txt there")
    segments: list[Segment] = []
    for path in paths:
        num_frames = count_frames(dataset_dir / "fashion_crop" / path.stem) if check_frames else None
        segments += read_annotation_file(path, num_frames)
    return segments


def read_annotation_file(path: str | Path, num_frames: int | None = None) -> list[Segment]:
    """Read one video's segments, sorted by start.

    Args:
        path: a UTF-8 file of lines ``start end text``; its stem is the video's name.
        num_frames: the video's frames; where given, no segment may end past them.

    Raises:
        UserError: see `load_annotations`.
    """
    path = Path(path)
    segments: list[Segment] = []
    line_number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line_number, line in enumerate(file, 1):
                line = line.strip()
                if line:
                    segments.append(_parse(path, line_number, line, num_frames))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{line_number + 1}: not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    segments.sort(key=lambda segment: (segment.start, segment.end))
    return segments


def _parse(path: Path, line_number: int, line: str, num_frames: int | None) -> Segment:
    match = LINE.fullmatch(line)
    if match is None:
        shown = line if len(line) <= 60 else line[:57] + "..."
        raise UserError(
            f"{path}:{line_number}: {shown!r} is not `start end text`, for example `0 24 This lady stands.`"
        )
    start, end = int(match[1]), int(match[2])
    if end <= start:
        raise UserError(
            f"{path}:{line_number}: the segment ends at {end}, it must end after its start {start}"
        )
    if num_frames is not None and end > num_frames:
        raise UserError(
            f"{path}:{line_number}: the segment ends at {end}, and the video has {num_frames} frames; "
            f"end is exclusive and at most {num_frames}"
        )
    return Segment(path.stem, start, end, match[3])
