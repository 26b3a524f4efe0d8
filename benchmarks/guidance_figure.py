"""The figure of a guidance sweep: a column a scale, what it gives above, what it costs below."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from evaluation.measure import MEASURES
from utils.files import atomic_path

# Okabe and Ito's colours, which colour-blind readers tell apart; line and marker differ as well.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
)
TITLES = {
    "image": "photo\n--image_guidance_scale",
    "pose": "poses\n--pose_guidance_scale",
    "text": "sentence\n--text_guidance_scale",
}
COSTS = (("silhouette_psnr",), ("flicker",))
GIVES = {
    "image": (("garment_color_error",), ("pattern_correlation",)),
    "pose": (("silhouette_iou",), ("pck",)),
    "text": (
        ("motion_conflict_follows_text", "motion_conflict_follows_poses"),
        ("motion_accuracy_attention_only",),
    ),
}
"""Of each scale, two plots of one or two measures of the same unit."""
LABELS = {
    "garment_color_error": "garment colour error\n(8-bit steps)",
    "pattern_correlation": "pattern correlation",
    "silhouette_iou": "silhouette IoU",
    "pck": "joints within\n0.2 torso lengths",
    "motion_conflict_follows_text": "where poses and sentence\nconflict, clips that follow",
    "motion_accuracy_attention_only": "motion read back,\nno poses given",
    "silhouette_psnr": "PSNR inside\nthe silhouette (dB)",
    "flicker": "flicker\n(8-bit steps)",
}
LEGEND = {
    "motion_conflict_follows_text": "the sentence",
    "motion_conflict_follows_poses": "the poses",
}
ARROWS = {"up": "↑", "down": "↓", "one": "→ 1"}
NOTE_WIDTH = 40


def draw(path: Path, curves: Mapping[str, Mapping[str, list[dict[str, Any]]]], num_clips: int) -> None:
    """Write the figure as PNG.

    Args:
        path: of the picture.
        curves: scale -> measure -> points, as guidance.json has them.
        num_clips: for the caption.
    """
    scales = list(curves)
    figure = Figure(figsize=(1.2 + 3.4 * len(scales), 9.6), dpi=120, layout="constrained")
    axes = figure.subplots(4, len(scales), sharex=True, squeeze=False)
    for column, scale in enumerate(scales):
        axes[0, column].set_title(TITLES[scale], fontsize=11, fontweight="bold", pad=10)
        for row, names in enumerate((*GIVES[scale], *COSTS)):
            _plot(axes[row, column], curves[scale], names)
            if row >= 2 and column:
                axes[row, column].sharey(axes[row, 0])
        axes[3, column].set_xlabel("scale (1 is neutral, the others stay at 1)", fontsize=9)
    for row in (2, 3):
        axes[row, 0].autoscale(axis="y")
    figure.suptitle(
        f"Rows 1 and 2: what a scale gives. Rows 3 and 4: what it costs.\n"
        f"↑ more is better, ↓ less is better. Means over {num_clips} clips with 95 % bootstrap intervals",
        fontsize=10,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _plot(axes: Axes, measures: Mapping[str, list[dict[str, Any]]], names: Sequence[str]) -> None:
    """One or two measures against the scale; what was not computed says why."""
    values = [point["value"] for point in measures[names[0]]]
    axes.axvline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(labelsize=9, labelbottom=True)
    arrow = "" if len(names) > 1 else f"{ARROWS[MEASURES[names[0]].better]} "
    axes.set_ylabel(arrow + LABELS[names[0]], fontsize=9)
    for name, style in zip(names, STYLES, strict=False):
        points = [point for point in measures[name] if "mean" in point]
        if not points:
            note = textwrap.fill(measures[name][0]["note"], NOTE_WIDTH)
            place: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, note, fontsize=8, color="0.3", **place)
            axes.set_yticks([])
            return
        x = [point["value"] for point in points]
        axes.plot(x, [p["mean"] for p in points], label=LEGEND.get(name), markersize=5, **style)
        low, high = ([p[key] for p in points] for key in ("ci_low", "ci_high"))
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    if len(names) > 1:
        axes.legend(fontsize=8, frameon=False)
    if names[0].startswith("motion_"):
        axes.set_ylim(-0.02, 1.02)
