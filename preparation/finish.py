"""The last step, over all videos: train and test, sentences, and the files that say what was done."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preparation import layout, tables
from preparation.readings import Reading
from preparation.splits import divide
from preparation.texts import Text, Unit, check_ends, place_texts, write_sentences
from utils.files import read_json, write_json, write_text

Segments = list[tuple[int, int, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the last step goes by.

    Attributes:
        videos: the folder that was read, for README.md.
        texts: the user's sentences, or None to write them from the poses.
        texts_unit: of their times.
        subject: of the sentences that are written.
        test_share: of the clips.
        seed: of the choice of clips for test and among wordings.
        consent: for README.md.
        sides: video -> "train" or "test", where it was decided before.
    """

    videos: Path
    texts: list[Text] | None
    texts_unit: Unit
    subject: str
    test_share: float
    seed: int
    consent: str
    sides: dict[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What came out.

    Attributes:
        table: to print, of what was kept and left out.
        mistakes: a line for each sentence that cannot be used.
        sides: "train" or "test" of each clip.
    """

    table: str
    mistakes: list[str]
    sides: list[str]


def finish(output_dir: Path, failures: dict[str, str], wishes: Wishes) -> Summary:
    """Write annotations, splits.json, prepared.csv and README.md for all videos that are prepared.

    Args:
        output_dir: the dataset's folder.
        failures: a video's path -> why it could not be prepared.
        wishes: what to go by.
    """
    records = [read_json(path) for path in sorted((output_dir / layout.RECORDS).glob("[!.]*.json"))]
    clips = {clip["name"]: clip for record in records for clip in record["clips"]}
    sources = {clip["name"]: record["source"] for record in records for clip in record["clips"]}
    looks = {name: layout.read_look(output_dir, name) for name in clips}
    split = divide(looks, sources, wishes.test_share, wishes.seed, wishes.sides)

    mistakes: list[str] = []
    segments: dict[str, Segments] = {}
    for record in records:
        if wishes.texts is None:
            for clip in record["clips"]:
                name = clip["name"]
                readings = [Reading(**reading) for reading in clip["readings"]]
                segments[name] = write_sentences(
                    readings, split.sides[name], wishes.subject, wishes.seed, name
                )
        else:
            own = [text for text in wishes.texts if text.video == record["source"]]
            mistakes += check_ends(own, wishes.texts_unit, record["seconds"], record["frames"])
            spoken: set[str] = set()
            for clip in record["clips"]:
                name, placed = clip["name"], _given(output_dir, clip["name"], own, wishes.texts_unit)
                segments[name] = [(start, end, text.sentence) for start, end, text in placed]
                spoken |= {text.place for _, _, text in placed}
                clip["silence"] = "none of --texts lies in the clip"
            record["unspoken"] = [text.place for text in own if text.place not in spoken]
    for name in sorted(clips):
        _annotate(output_dir, name, split.sides[name], segments[name])
    write_json(output_dir / "splits.json", split.report)

    rows = tables.rows_of(records, failures, split.sides, segments)
    write_text(output_dir / "prepared.csv", tables.as_csv(rows))
    settings = read_json(output_dir / layout.SETTINGS)
    text = tables.readme(rows, str(wishes.videos), settings["date"], wishes.consent, settings)
    write_text(output_dir / "README.md", text)
    return Summary(tables.as_text(rows), mistakes, list(split.sides.values()))


def _given(output_dir: Path, name: str, texts: Sequence[Text], unit: Unit) -> list[tuple[int, int, Text]]:
    """The user's sentences of a clip."""
    source: dict[str, Any] = read_json(output_dir / layout.POSES / f"{name}.json")["source"]
    return place_texts(texts, unit, source["times_s"], source["frames"])


def _annotate(output_dir: Path, name: str, side: str, segments: Segments) -> None:
    """Write TRAIN_OR_TEST/NAME.txt, or remove what an earlier run wrote."""
    for split in layout.SPLITS:
        path = output_dir / split / f"{name}.txt"
        if split == side and segments:
            write_text(path, "".join(f"{start} {end} {text}\n" for start, end, text in segments))
        else:
            path.unlink(missing_ok=True)
