"""From measures of single clips to metrics.json, a table and contact sheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.bootstrap import estimate_mean
from evaluation.learned import NOT_COMPUTED, frechet_distance
from evaluation.measure import DISTANCES, MEASURES, Values

VIDEOS = "videos"
"""The row of what is evaluated; the other rows are controls."""

Summary = dict[str, Any]
"""Measure -> {"mean", "ci_low", "ci_high", "n"}, or "not computed: why"."""


def summarise(clips: Sequence[Values], seed: int) -> Summary:
    """Summarise one row; clips without a number for a measure are left out of it, `n` says how many are left.

    Args:
        clips: the measures of each clip.
        seed: seed of the bootstrap.
    """
    summary: Summary = {}
    for name in MEASURES:
        if name in DISTANCES:
            continue
        values = [clip.get(name, "does not apply") for clip in clips]
        numbers = [value for value in values if not isinstance(value, str)]
        reasons = [value for value in values if isinstance(value, str)]
        summary[name] = (
            estimate_mean(numbers, seed) if numbers else f"not computed: {(reasons or ['no clips'])[0]}"
        )
    return summary


def summarise_distances(
    ours: Mapping[str, list[np.ndarray]], theirs: Mapping[str, list[np.ndarray]], reason: str | None = None
) -> Summary:
    """FID and FVD of one row, without an interval: the distance is biased by drawing clips again.

    Args:
        ours: "fid" and "fvd" -> features of each clip, (n, d).
        theirs: "fid" and "fvd" -> features of the true frames.
        reason: why the row has none.
    """
    summary: Summary = {}
    for name in DISTANCES:
        if reason is not None or not ours.get(name):
            summary[name] = f"not computed: {reason or NOT_COMPUTED[name]}"
            continue
        a, b = np.concatenate(ours[name]), np.concatenate(theirs[name])
        if min(len(a), len(b)) < 2:
            summary[name] = "not computed: it takes at least two clips"
            continue
        summary[name] = {
            "mean": frechet_distance(a, b),
            "ci_low": None,
            "ci_high": None,
            "n": len(ours[name]),
        }
    return summary


def markdown_table(rows: Mapping[str, Summary], header: str) -> str:
    """One table an axis: the videos and the controls as rows, measures as columns, means with 95 % intervals.

    Args:
        rows: row -> its summary, the videos first.
        header: the page's first lines.
    """
    arrows = {"up": "↑", "down": "↓", "one": "→ 1"}
    lines = [header]
    for axis in dict.fromkeys(measure.axis for measure in MEASURES.values()):
        names = [name for name, measure in MEASURES.items() if measure.axis == axis]
        shown = [name for name in names if any(isinstance(row[name], dict) for row in rows.values())]
        lines += ["", f"## {axis.capitalize()}", ""]
        if shown:
            lines.append(f"| | {' | '.join(f'{name} {arrows[MEASURES[name].better]}' for name in shown)} |")
            lines.append("|---" * (len(shown) + 1) + "|")
            lines += [
                f"| {key} | {' | '.join(_cell(row[name]) for name in shown)} |" for key, row in rows.items()
            ]
            lines.append("")
        for name in names:
            summary = rows[VIDEOS][name]
            note = f": {summary}" if isinstance(summary, str) else ""
            lines.append(f"- `{name}`: {MEASURES[name].meaning}{note}")
    return "\n".join(lines) + "\n"


def _cell(summary: Any) -> str:
    if isinstance(summary, str):
        return "–"
    mean = f"{summary['mean']:.3g}"
    return (
        mean if summary["ci_low"] is None else f"{mean} [{summary['ci_low']:.3g}, {summary['ci_high']:.3g}]"
    )


def csv_table(rows: Mapping[str, Summary]) -> str:
    """The table of all rows as lines `row,measure,mean,ci_low,ci_high,n,note`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "measure", "mean", "ci_low", "ci_high", "n", "note"])
    for row, summaries in rows.items():
        for name, value in summaries.items():
            numbers = (
                [value[key] for key in ("mean", "ci_low", "ci_high", "n")]
                if isinstance(value, dict)
                else [""] * 4
            )
            writer.writerow([row, name, *numbers, value if isinstance(value, str) else ""])
    return text.getvalue()


def rank_clips(clips: Mapping[str, Values], preferred: str) -> tuple[str, list[str]]:
    """Order clips from best to worst.

    Args:
        clips: clip -> its measures.
        preferred: the measure to go by; where no clip has it, PSNR.

    Returns:
        The measure and the clips' names; none where nothing was measured.
    """
    name = preferred if any(isinstance(values[preferred], float) for values in clips.values()) else "psnr"
    numbered = {
        clip: float(values[name]) for clip, values in clips.items() if not isinstance(values[name], str)
    }
    sign = {"up": -1.0, "down": 1.0, "one": 1.0}[MEASURES[name].better]
    offset = 1.0 if MEASURES[name].better == "one" else 0.0
    cost = {clip: abs(value - offset) if offset else sign * value for clip, value in numbered.items()}
    return name, sorted(cost, key=lambda clip: (cost[clip], clip))
