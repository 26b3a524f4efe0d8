"""What a preparation says of itself: a table of what was kept and left out, and the dataset's README."""

import csv
import io
from collections.abc import Sequence
from typing import Any

HEADER = ("video", "clip", "split", "start_s", "end_s", "frames", "sentences", "kept", "why")
MAX_PRINTED = 60
LICENCES = {
    "videos": "TO FILL IN. Who owns the videos, and what may be done with them and with a model of them?\n"
    "  Sets of fashion videos that can be downloaded mostly allow research alone, no commercial use, and no\n"
    "  passing on.",
    "fashion_text2video": "Fashion-Text2Video, for non-commercial research alone. Neither it nor what is\n"
    "  made of it may be copied, published, passed on, or used commercially. Cite Jiang et al.,\n"
    '  "Text2Performer: Text-Driven Human Video Generation", ICCV 2023, and the Fashion dataset, which its\n'
    "  videos are from.",
}


def rows_of(
    records: Sequence[dict[str, Any]],
    failures: dict[str, str],
    sides: dict[str, str],
    segments: dict[str, list[tuple[int, int, str]]],
) -> list[dict[str, Any]]:
    """A row for each clip, each part that was left out and each video that could not be prepared.

    Args:
        records: of the videos, see `preparation.clips.prepare_video`.
        failures: a video's path -> why it could not be prepared.
        sides: clip -> "train" or "test".
        segments: clip -> its sentences with their first frame and the frame after the last.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        for clip in record["clips"]:
            sentences = segments[clip["name"]]
            why = [*clip["notes"], *record["notes"]] + (
                [] if sentences else [f"no sentence: {clip['silence']}"]
            )
            rows.append(
                {"video": record["source"], "clip": clip["name"], "split": sides[clip["name"]]}
                | {key: clip[key] for key in ("start_s", "end_s", "frames")}
                | {"sentences": len(sentences), "kept": "yes", "why": "; ".join(why)}
            )
        for part in record["dropped"]:
            times = {key: part[key] for key in ("start_s", "end_s", "frames")}
            rows.append({"video": record["source"], **times, "kept": "no", "why": part["reason"]})
        for place in record.get("unspoken", []):
            reason = f"the sentence at {place} lies in no clip"
            rows.append({"video": record["source"], "kept": "no", "why": reason})
    rows += [{"video": source, "kept": "no", "why": reason} for source, reason in failures.items()]
    return sorted(rows, key=lambda row: (row["video"], row.get("start_s", 0)))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as the content of prepared.csv."""
    file = io.StringIO()
    writer = csv.DictWriter(file, HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows to print, the first 60 of them."""
    cells = [[*HEADER]] + [[str(row.get(name, "")) for name in HEADER] for row in rows[:MAX_PRINTED]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    more = [f"and {len(rows) - MAX_PRINTED} more in prepared.csv"] if len(rows) > MAX_PRINTED else []
    return "\n".join(lines + more)


def readme(
    rows: Sequence[dict[str, Any]], videos: str, date: str, consent: str, settings: dict[str, Any]
) -> str:
    """The dataset's README.md.

    Args:
        rows: see `rows_of`.
        videos: the folder that the videos were read from.
        date: of the first preparation.
        consent: how the people shown agreed; may be empty.
        settings: of the clips.
    """
    kept = [row for row in rows if row["kept"] == "yes"]
    counts = "\n".join(
        f"| {split} | {len(part)} | {sum(row['frames'] for row in part)} "
        f"| {sum(row['sentences'] > 0 for row in part)} |"
        for split in ("train", "test")
        for part in [[row for row in kept if row["split"] == split]]
    )
    licence = LICENCES[settings.get("format", "videos")]
    faces = "Faces are blurred." if settings["blur_faces"] else "Faces are shown."
    return f"""# A prepared dataset

- Source: {len({row["video"] for row in rows})} videos in `{videos}`
- Prepared: {date}, by `prepare_dataset.py`; `prepared.json` has the settings, `prepared.csv` what was kept
  and why, `splits.json` why a clip is for training or for test
- Licence: {licence}
- Consent of the people shown: {consent or "NOT STATED (--consent)"}
- {faces}

| split | clips | frames | clips with a sentence |
|---|--:|--:|--:|
{counts}

Frames are {settings["height"]} x {settings["height"] // 2} pixels, {settings["fps"]:g} a second.
"""
