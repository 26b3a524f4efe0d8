"""Sentences: a user's own file of them, or written from what was read in the poses."""

import csv
import dataclasses
import io
import itertools
import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data.synthetic.wordings import sample_wording
from preparation.readings import Reading
from preparation.videos import Video
from utils.errors import UserError

COLUMNS = ("video", "start", "end", "sentence")
LEAST_SHARE = 0.8
"""Of a sentence's time that must lie in a clip, for the sentence to be said of it."""
FEWEST_FRAMES = 4
TOLERANCE_S = 0.5
"""How far a sentence may seem to end after its video."""
Unit = Literal["seconds", "frames"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A sentence about a part of a video.

    Attributes:
        place: file and line that it stands in.
        video: path in the folder of videos.
        start: in seconds or frames of the video.
        end: likewise, exclusive.
        sentence: one line.
    """

    place: str
    video: str
    start: float
    end: float
    sentence: str


def read_texts(path: Path, videos: Sequence[Video]) -> list[Text]:
    """Read a csv or jsonl file of sentences with `video`, `start`, `end` and `sentence`.

    Args:
        path: a .csv file with a line of column names, or a .jsonl file with an object a line.
        videos: that there are; a sentence names one by its path in the folder, with or without its suffix.

    Raises:
        UserError: names file and line: a missing column, no such video, times that are none, no sentence;
            or the file holds none.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise UserError(f"--texts {path} is neither .csv nor .jsonl; give columns {', '.join(COLUMNS)}")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read --texts {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save the file as UTF-8") from error
    by_name = {_composed(video.source): video for video in videos}
    for video in videos:  # a name without its suffix, where it is clear
        stem = _composed(Path(video.source).with_suffix("").as_posix())
        by_name[stem] = by_name.get(stem, video)
    rows = _csv_rows(path, content) if suffix == ".csv" else _json_rows(path, content)
    texts = [_text(place, row, by_name) for place, row in rows]
    if not texts:
        raise UserError(f"--texts {path} holds no sentence; give lines of {', '.join(COLUMNS)}")
    return texts


def _composed(name: str) -> str:
    """A name with each letter and its accent as one character: macOS stores two, keyboards write one."""
    return unicodedata.normalize("NFC", name)


def _csv_rows(path: Path, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's place and its values; a sentence in quotes may go over several lines."""
    reader = csv.reader(io.StringIO(content, newline=""), skipinitialspace=True, strict=True)
    names: list[str] = []
    number = 1
    try:
        names = next(reader, [])
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UserError(
                f"{path}:1: no column {', '.join(missing)}; the first line is `{','.join(COLUMNS)}`, with "
                "commas between; a sentence with commas stands in quotes"
            )
        number = reader.line_num + 1
        for row in reader:
            place, number = f"{path}:{number}", reader.line_num + 1
            if len(row) > len(names):
                raise UserError(f"{place}: more values than columns; put a sentence with commas in quotes")
            if any(value.strip() for value in row):
                yield place, dict(itertools.zip_longest(names, row))
    except csv.Error as error:
        raise UserError(
            f"{path}:{number}: not csv ({error}); a quote in a sentence is written twice"
        ) from error


def _json_rows(path: Path, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not JSON ({error}); write one object a line") from error
        missing = [name for name in COLUMNS if not isinstance(row, dict) or name not in row]
        if missing:
            raise UserError(f"{path}:{number}: no {', '.join(missing)}; give {', '.join(COLUMNS)}")
        yield f"{path}:{number}", row


def _text(place: str, row: dict[str, Any], videos: dict[str, Video]) -> Text:
    name = _composed(str(row["video"] or "").strip())
    video = videos.get(name) or videos.get(name.replace("\\", "/"))
    if video is None:
        raise UserError(f"{place}: there is no video {row['video']!r}; give its path inside --videos")
    try:
        start, end = float(row["start"]), float(row["end"])
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{place}: start {row['start']!r} and end {row['end']!r} must be numbers") from error
    if not (math.isfinite(end) and 0 <= start < end):
        raise UserError(f"{place}: start {start:g} and end {end:g}; give 0 <= start < end")
    sentence = " ".join(str(row["sentence"] or "").split())
    if not sentence:
        raise UserError(f"{place}: no sentence; say what she does")
    return Text(place, video.source, start, end, sentence)


def check_ends(texts: Sequence[Text], unit: Unit, seconds: float, frames: int) -> list[str]:
    """Say which of a video's sentences end after it.

    Args:
        texts: of one video.
        unit: of their times.
        seconds: that the video lasts.
        frames: that the video has.
    """
    last = seconds if unit == "seconds" else frames
    tolerance = TOLERANCE_S * (1 if unit == "seconds" else frames / max(seconds, TOLERANCE_S))
    return [
        f"{text.place}: the sentence ends at {text.end:g}, and {text.video} at {last:.5g} {unit}"
        for text in texts
        if text.end > last + tolerance
    ]


def place_texts(
    texts: Sequence[Text], unit: Unit, times: Sequence[float], numbers: Sequence[int]
) -> list[tuple[int, int, Text]]:
    """Find what sentences say of a clip.

    Args:
        texts: of the clip's video.
        unit: of their times.
        times: (F,) seconds of the clip's frames in the video.
        numbers: (F,) which of the video's frames they are.

    Returns:
        Start, end and sentence of each that lies in the clip, in the clip's own frames.
    """
    own = np.asarray(times if unit == "seconds" else numbers, np.float64)
    step = (own[-1] - own[0]) / max(len(own) - 1, 1)
    segments = []
    for text in texts:
        inside = np.flatnonzero((own >= text.start - step / 2) & (own < text.end - step / 2 + 1e-9))
        wanted = (text.end - text.start) / max(step, 1e-9)
        if len(inside) >= max(FEWEST_FRAMES, LEAST_SHARE * wanted):
            segments.append((int(inside[0]), int(inside[-1]) + 1, text))
    return sorted(segments, key=lambda segment: (*segment[:2], segment[2].sentence))


def write_sentences(
    readings: Sequence[Reading], split: str, subject: str, seed: int, clip: str
) -> list[tuple[int, int, str]]:
    """Word what was read as the synthetic dataset words it.

    Args:
        readings: of a clip.
        split: "train" or "test", which have different wordings.
        subject: "woman", "man", or "either" where the sentences are to say neither.
        seed: of the choice among wordings.
        clip: its name; each clip draws for itself.

    Returns:
        Start, end and sentence of each.
    """
    rng = np.random.default_rng([seed, *clip.encode()])
    return [(r.start, r.stop, sample_wording(r.motions, rng, split, subject)) for r in readings]
