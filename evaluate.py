"""Measure videos: do they follow the poses, keep the appearance, follow the sentence and move smoothly?

Try it on the shipped model and sample, then on videos that you already have (NAME.mp4 or NAME/000.png):

    python evaluate.py
    python evaluate.py --dataset fashion_dataset --split test --videos result --output_dir evaluation_result

Writes to --output_dir: metrics.json (means with 95 % intervals over clips, each clip, and the controls),
metrics.md and metrics.csv (the same numbers as tables), best.png, median.png and worst.png (contact sheets),
videos/ and settings.json. A measure that cannot be computed says why.
"""

import utils.interrupts  # noqa: F401

# isort: split
import dataclasses
from typing import Any, Literal

import diffusers
import numpy as np
import transformers
from tqdm import tqdm

from evaluation import controls
from evaluation.bootstrap import estimate_mean
from evaluation.clips import ClipSource, MeasuredClip, list_clips, load_clip, read_estimated, read_generated
from evaluation.facing import back_frame, without_frame
from evaluation.measure import MEASURES, Values, measure_video, motion_read
from evaluation.report import (
    VIDEOS,
    Summary,
    csv_table,
    markdown_table,
    rank_clips,
    summarise,
    summarise_distances,
)
from evaluation.settings import FOLDERS, EvaluationSettings, check_evaluation_settings
from evaluation.videos import Tools, load_tools, measure_sentence, video_of
from utils.config import run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.errors import UserError
from utils.files import check_output_dir, write_json, write_text
from utils.image import write_png
from utils.paths import refuse_overwrites_by

OUTPUTS = (
    "settings.json",
    "metrics.json",
    "metrics.md",
    "metrics.csv",
    "best.png",
    "median.png",
    "worst.png",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EvaluationSettings):
    """Settings of an evaluation."""

    protocol: Literal["x2fashion", "humanvid24"] = "x2fashion"
    """Which frames are measured. x2fashion: the segment's first frame is the photo, followed by consecutive
    frames. humanvid24: its middle frame is the photo, followed by 24 frames from the start, taking every
    third."""
    max_clips: int | None = None
    """Measure only the first so many clips."""
    sheet_measure: str = "silhouette_iou"
    """Measure that ranks the clips for best.png, median.png and worst.png. PSNR takes its place where it
    cannot be computed."""


def check(config: Config) -> None:
    """Refuse settings that cannot be right, before anything is loaded.

    Raises:
        UserError: a number out of its range or an unknown measure.
    """
    check_evaluation_settings(config)
    if config.max_clips is not None and config.max_clips < 1:
        raise UserError(f"--max_clips {config.max_clips} leaves nothing to measure; give at least 1")
    if config.sheet_measure not in MEASURES:
        raise UserError(
            f"--sheet_measure {config.sheet_measure} is unknown; choose one of {', '.join(MEASURES)}"
        )


@dataclasses.dataclass
class Row:
    """The measures of one row of the table, clip by clip, and the features of its videos."""

    clips: dict[str, Values] = dataclasses.field(default_factory=dict)
    features: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    reason: str | None = None

    def add(
        self, tools: Tools, clip: MeasuredClip, video: np.ndarray | str, external: np.ndarray | None = None
    ) -> None:
        """Measure one video of a clip; a string says why there is none."""
        if isinstance(video, str):
            self.clips[clip.name], self.reason = dict.fromkeys(MEASURES, video), video
            return
        self.clips[clip.name] = measure_video(clip, video, tools.finder, tools.learned, external)
        for name, features in tools.learned.features(video[clip.scored]).items():
            self.features.setdefault(name, []).append(features)


def measure_all(
    config: Config, tools: Tools, sources: list[ClipSource], size: tuple[int, int] | None
) -> dict[str, Row]:
    """Measure the videos and the controls of all clips, one clip in memory at a time."""
    rows = {name: Row() for name in (VIDEOS, *controls.CONTROLS)}
    for index, source in enumerate(tqdm(sources, desc="evaluate", unit="clip")):
        clip = load_clip(config.dataset, source, size)
        if config.back_photo and (back := back_frame(clip)) is not None:
            clip = without_frame(clip, back)
        wrong = controls.choose_wrong(sources, index)
        external = None if config.estimated_joints is None else read_estimated(config.estimated_joints, clip)
        rows[VIDEOS].add(tools, clip, video_of(config, tools, clip, "poses", source.segment.text), external)
        rows[VIDEOS].clips[clip.name] |= measure_sentence(config, tools, clip, wrong)
        wrong_clip = None if wrong is None else load_clip(config.dataset, wrong, size)
        for name, video in controls.control_videos(tools.vae, clip, wrong_clip, tools.warper).items():
            rows[name].add(tools, clip, video)
        rows["truth"].clips[clip.name]["motion_rules_on_true_joints"] = motion_read(
            source.motions, clip.joints
        )
    return rows


def write_sheets(
    config: Config, sources: list[ClipSource], size: tuple[int, int] | None, clips: dict[str, Values]
) -> None:
    """Contact sheets of the best, the median and the worst clip, of those with poses."""
    measure, ranked = rank_clips(clips, config.sheet_measure)
    if not ranked:  # no video was made with poses
        return
    by_name = {source.name: source for source in sources}
    for label, name in {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}.items():
        clip = load_clip(config.dataset, by_name[name], size)
        video = read_generated(config.videos or config.output_dir / FOLDERS["poses"], clip)
        rows = [("photo", [clip.photo]), ("poses", list(clip.poses)), ("video", list(video))]
        if (warped := controls.photo_warped(clip)) is not None:
            rows.append(("photo warped to the poses", list(warped[0])))
        rows.append(("truth", list(clip.frames)))
        title = f"{label}: {name}, {measure} {clips[name][measure]:.3g}. {clip.source.segment.text}"
        write_png(config.output_dir / f"{label}.png", contact_sheet(rows, title=title))


def write_report(config: Config, rows: dict[str, Row], sources: list[ClipSource]) -> dict[str, Summary]:
    """Write settings.json, metrics.json, metrics.md and metrics.csv."""
    truth = rows["truth"]
    table = {
        name: summarise(list(row.clips.values()), config.seed)
        | summarise_distances(row.features, truth.features, row.reason)
        for name, row in rows.items()
    }
    rules = [values.pop("motion_rules_on_true_joints") for values in truth.clips.values()]
    right = [value for value in rules if not isinstance(value, str)]
    document: dict[str, Any] = {
        **table[VIDEOS],
        "controls": {name: table[name] for name in controls.CONTROLS},
        "motion_rules_on_true_joints": (
            estimate_mean(right, config.seed) if right else f"not computed: {rules[0]}"
        ),
        "protocol": config.protocol,
        "num_clips": len(sources),
        "clips": {
            source.name: {
                "text": source.segment.text,
                "motions": source.motions,
                "wrong_clip": getattr(controls.choose_wrong(sources, index), "name", None),
                **rows[VIDEOS].clips[source.name],
            }
            for index, source in enumerate(sources)
        },
    }
    save_config(config, config.output_dir / "settings.json")  # now, so that it belongs to these figures
    write_json(config.output_dir / "metrics.json", document)
    header = (
        f"# {len(sources)} clips of {config.dataset}/{config.split}, protocol {config.protocol}\n\n"
        f"Videos: {config.videos or config.pretrained_model}. Means, 95 % intervals (bootstrap over clips). "
        f"Controls: {'; '.join(f'{name}: {meaning}' for name, meaning in controls.CONTROLS.items())}."
    )
    write_text(config.output_dir / "metrics.md", markdown_table(table, header))
    write_text(config.output_dir / "metrics.csv", csv_table(table))
    return table


def main(config: Config) -> None:
    """Choose clips, measure them one by one, write the report."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    check(config)
    check_output_dir(config.output_dir)
    names = [*OUTPUTS, *(FOLDERS[made] for made in FOLDERS if config.videos is None)]
    refuse_overwrites_by(config, [config.output_dir / name for name in names])
    sources = list_clips(config.dataset, config.split, config.protocol, config.num_frames, config.max_clips)
    tools = load_tools(config)
    size = (config.height, config.width) if config.height and config.width else None
    if size is None and tools.pipeline is not None:
        size = tools.pipeline.config.height, tools.pipeline.config.width

    rows = measure_all(config, tools, sources, size)
    table = write_report(config, rows, sources)
    write_sheets(config, sources, size, rows[VIDEOS].clips)
    for name, summary in table[VIDEOS].items():
        text = f"{summary['mean']:.4g}" if isinstance(summary, dict) else summary
        print(f"{name:32} {text}")
    print(f"metrics.json, metrics.md, metrics.csv and three sheets are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
