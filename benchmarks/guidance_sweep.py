"""Sweep the guidance scales: what more or less of the photo, the poses and the sentence gives, and costs.

Try it, on the model and the clips that ship, then on held-out clips of a dataset (the figure needs
requirements-dev.txt):

    python -m benchmarks.guidance_sweep --max_clips 2 --values 0 1 2
    python -m benchmarks.guidance_sweep --dataset DATA --max_clips 12 --output_dir guidance_result

One scale takes the --values while the other two stay 1. Writes to --output_dir: guidance.json (curves with
95 % intervals over clips, and each clip), guidance.csv, guidance.png and the videos of each setting. The same
command again measures only what is not in guidance.json yet; more --values, --scales or --max_clips may be
asked for.
"""

import csv
import dataclasses
import hashlib
import importlib.util
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
import transformers
from tqdm import tqdm

from diffusion.pipeline import X2FashionPipeline
from evaluation.bootstrap import estimate_mean
from evaluation.clips import Clip, ClipSource, list_clips, load_clip
from evaluation.controls import choose_wrong
from evaluation.measure import Values, measure_video
from evaluation.report import Summary, summarise
from evaluation.settings import EvaluationSettings, check_evaluation_settings
from evaluation.videos import Tools, load_tools, measure_sentence, video_of
from generation.settings import ModelSettings
from models.pose_finder import WEIGHTS_SHA256
from utils.checkpoint import check_settings
from utils.config import check_minimum, run_script, save_config, settings_as_json
from utils.errors import UserError
from utils.files import check_output_dir, read_json, write_json, write_text

SCALES = ("image", "pose", "text")
MADE_WITH_POSES = (
    "garment_color_error", "pattern_correlation", "silhouette_iou", "joint_error", "pck",
    "motion_accuracy_with_poses", "silhouette_psnr", "flicker",
)  # fmt: skip
"""Measures of videos made from the photo, the poses and the clip's own sentence."""
MADE_FROM_A_SENTENCE = (
    "motion_accuracy_attention_only",
    "motion_conflict_follows_text",
    "motion_conflict_follows_poses",
)
"""Measures of videos made without poses, by the video model's own attention to the sentence, or with the
poses and another clip's sentence; swept with the text's scale."""
FREE_SETTINGS = ("values", "scales", "max_clips", "output_dir", "device", "pose_finder")
"""Settings that change which measurements are made, or where, and none of their results."""

Curves = dict[str, dict[str, list[dict[str, Any]]]]
"""Scale -> measure -> for each value {"value", "mean", "ci_low", "ci_high", "n", "change"}, or {"value",
"note"} where there is no number; "change" is the mean difference from the same clips at 1, as estimated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ModelSettings):
    """Settings of a sweep."""

    dataset: Path = Path("fashion_dataset")
    """Dataset with the true frames, and with masks, joints and motion labels."""
    split: Literal["train", "test"] = "test"
    """Which of its clips."""
    max_clips: int | None = 12
    """Take only the first so many clips."""
    num_frames: int = 24
    """Frames of a clip; shorter segments are taken whole."""
    values: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0)
    """What each scale takes; 1, which is neutral, is always measured."""
    scales: tuple[Literal["image", "pose", "text"], ...] = ("image", "pose", "text")
    """Which scales to sweep."""
    output_dir: Path = Path("guidance_result")
    """Gets everything that is written."""

    height: int | None = None
    """Of the pictures in pixels; by default the model's."""
    width: int | None = None
    """Of the pictures in pixels; by default the model's."""
    pose_finder: Path | None = None
    """Folder of the weights with which joints and motions of videos are read; by default those that ship."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One scale at a value, the other two at 1, and from what the videos are made."""

    scale: str = "image"
    value: float = 1.0
    made_from: Literal["poses", "sentence"] = "poses"
    """"poses": the clip's poses and own sentence. "sentence": that sentence without poses; and the poses with
    another clip's sentence."""

    @property
    def scales(self) -> dict[str, float]:
        """Value of each scale."""
        return {name: self.value if name == self.scale else 1.0 for name in SCALES}

    @property
    def folder(self) -> str:
        """Name of the folder of its videos."""
        return "_".join(f"{name}_{value:g}" for name, value in self.scales.items())

    @property
    def key(self) -> str:
        """Its name in guidance.json; the neutral settings of all scales are one."""
        return f"{self.folder} {self.made_from}"


def check(config: Config) -> None:
    """Refuse settings that cannot be right, before anything is loaded.

    Raises:
        UserError: the message names the flag.
    """
    if not config.scales:
        raise UserError("--scales is empty; give one or more of image, pose, text")
    if not all(math.isfinite(value) and value >= 0 for value in config.values):
        given = " ".join(f"{value:g}" for value in config.values)
        raise UserError(f"--values {given}: a scale is a number from 0; 1 is neutral, usual ones are 0 to 3")
    if set(config.values) <= {1.0}:
        raise UserError("--values holds nothing but 1, which is neutral; give others too, such as 0 1 2")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("the figure needs matplotlib; python -m pip install -r requirements-dev.txt")
    if config.max_clips is not None:
        check_minimum(config, 1, "max_clips")
    check_evaluation_settings(evaluation_settings(config, Setting()))
    check_output_dir(config.output_dir)


def evaluation_settings(config: Config, setting: Setting) -> EvaluationSettings:
    """What one setting of the scales is measured with."""
    model = {field.name: getattr(config, field.name) for field in dataclasses.fields(ModelSettings)}
    return EvaluationSettings(
        **model,
        dataset=config.dataset,
        split=config.split,
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        pose_finder=config.pose_finder,
        output_dir=config.output_dir / setting.folder,
        conditions=("poses", "attention", "conflict"),
        image_guidance_scale=setting.scales["image"],
        pose_guidance_scale=setting.scales["pose"],
        text_guidance_scale=setting.scales["text"],
    )


def values_of(config: Config) -> list[float]:
    """The values of each scale, rising, with the neutral one."""
    return sorted({*config.values, 1.0})


def list_settings(config: Config) -> list[Setting]:
    """Every setting that is measured, once: all scales share the neutral one."""
    settings = [Setting(scale, value) for scale in config.scales for value in values_of(config)]
    if "text" in config.scales:
        settings += [Setting("text", value, "sentence") for value in values_of(config)]
    return list({setting.key: setting for setting in settings}.values())


def measure(config: Config, tools: Tools, clip: Clip, wrong: ClipSource | None, setting: Setting) -> Values:
    """Make the videos of a clip at one setting, and measure what it gives and costs."""
    settings = evaluation_settings(config, setting)
    if setting.made_from == "sentence":
        values = measure_sentence(settings, tools, clip, wrong)
        return {name: values[name] for name in MADE_FROM_A_SENTENCE}
    video = video_of(settings, tools, clip, "poses", clip.source.segment.text)
    assert not isinstance(video, str), video
    values = measure_video(clip, video, tools.finder, tools.learned)
    return {name: values[name] for name in MADE_WITH_POSES}


def measured_with(config: Config, pipeline: X2FashionPipeline) -> dict[str, Any]:
    """Everything that a measurement depends on: settings, the model and the pose finder."""
    settings = {name: v for name, v in settings_as_json(config).items() if name not in FREE_SETTINGS}
    configs = [dict(part.config) for part in (pipeline.scheduler, pipeline.denoiser)]
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode())
    for _, part in sorted(pipeline.components.items()):
        if isinstance(part, torch.nn.Module):
            for tensor in part.state_dict().values():
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return settings | {"model_sha256": digest.hexdigest(), "pose_finder_sha256": WEIGHTS_SHA256}


def read_measured(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, Values]]:
    """Measurements of an earlier run: clip -> setting -> measures.

    Raises:
        UserError: they were made with other settings or weights.
    """
    if not path.is_file():
        return {}
    document = read_json(path)
    if not isinstance(document, dict) or not {"settings", "clips"} <= set(document):
        raise UserError(f"{path} was not written by a sweep; remove it or give another --output_dir")
    check_settings(path, document["settings"], settings, "give another --output_dir, or remove the file")
    return document["clips"]


def measure_all(config: Config, tools: Tools, sources: list[ClipSource], document: dict[str, Any]) -> None:
    """Measure what is missing in `document["clips"]`, and write it down one setting after the other."""
    assert tools.pipeline is not None
    size = config.height or tools.pipeline.config.height, config.width or tools.pipeline.config.width
    settings, measured = list_settings(config), document["clips"]
    chosen = sources[: config.max_clips]
    missing = {
        source.name: [s for s in settings if s.key not in measured.get(source.name, {})] for source in chosen
    }
    total = len(chosen) * len(settings)
    with tqdm(
        desc="guidance", unit="setting", total=total, initial=total - sum(map(len, missing.values()))
    ) as progress:
        for index, source in enumerate(chosen):
            if not missing[source.name]:
                continue
            # Among all clips: the sentence in conflict does not depend on how many of them are measured.
            clip, wrong = load_clip(config.dataset, source, size), choose_wrong(sources, index)
            for setting in missing[source.name]:
                measured.setdefault(source.name, {})[setting.key] = measure(
                    config, tools, clip, wrong, setting
                )
                write_json(config.output_dir / "guidance.json", document)
                progress.update()


def curves_of(config: Config, clips: list[dict[str, Values]]) -> Curves:
    """Means over clips against each scale, and their paired difference from the neutral scale.

    Args:
        config: of the sweep.
        clips: for each clip, setting -> measures.
    """
    curves: Curves = {}
    for scale in config.scales:
        names = MADE_WITH_POSES + (MADE_FROM_A_SENTENCE if scale == "text" else ())
        curves[scale] = {name: [] for name in names}
        neutral = [_values_at(clip, scale, 1.0) for clip in clips]
        for value in values_of(config):
            values = [_values_at(clip, scale, value) for clip in clips]
            summary: Summary = summarise(values, config.seed)
            for name in names:
                point: dict[str, Any] = {"value": value}
                if isinstance(summary[name], str):
                    point["note"] = summary[name]
                else:
                    pairs = [(ours[name], theirs[name]) for ours, theirs in zip(values, neutral, strict=True)]
                    differences = [
                        a - b for a, b in pairs if not isinstance(a, str) and not isinstance(b, str)
                    ]
                    change = estimate_mean(differences, config.seed) if differences else None
                    point |= {**summary[name], "change": change}
                curves[scale][name].append(point)
    return curves


def _values_at(clip: dict[str, Values], scale: str, value: float) -> Values:
    """All measures of a clip where one scale has a value and the others are 1."""
    values = dict(clip[Setting(scale, value).key])
    if scale == "text":
        values |= clip[Setting(scale, value, "sentence").key]
    return values


def csv_table(curves: Curves) -> str:
    """Lines `scale,value,measure,mean,ci_low,ci_high,n,change,change_low,change_high,note`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = ["mean", "ci_low", "ci_high", "n"]
    header = ["scale", "value", "measure", *numbers, "change", "change_low", "change_high", "note"]
    writer.writerow(header)
    for scale, measures in curves.items():
        for name, points in measures.items():
            for point in points:
                change = point.get("change") or {}
                writer.writerow(
                    [scale, point["value"], name, *(point.get(key, "") for key in numbers)]
                    + [change.get(key, "") for key in numbers[:3]]
                    + [point.get("note", "")]
                )
    return text.getvalue()


def main(config: Config) -> None:
    """Measure what is missing, then write curves, table and figure."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    check(config)
    sources = list_clips(config.dataset, config.split, "x2fashion", config.num_frames)
    tools = load_tools(evaluation_settings(config, Setting()))
    assert tools.pipeline is not None
    path = config.output_dir / "guidance.json"
    settings = measured_with(config, tools.pipeline)
    document: dict[str, Any] = {"settings": settings, "clips": read_measured(path, settings)}
    save_config(config, config.output_dir / "settings.json")

    measure_all(config, tools, sources, document)
    names = [source.name for source in sources[: config.max_clips]]
    curves = curves_of(config, [document["clips"][name] for name in names])
    write_json(
        path, {"settings": settings, "num_clips": len(names), "curves": curves, "clips": document["clips"]}
    )
    write_text(path.with_suffix(".csv"), csv_table(curves))

    # The figure's library is a tool's, not what the project runs on.
    from benchmarks.guidance_figure import draw

    draw(path.with_suffix(".png"), curves, len(names))
    print(f"guidance.json, guidance.csv and guidance.png of {len(names)} clips are in {config.output_dir}/")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
