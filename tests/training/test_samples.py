"""Sample videos that a training writes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from data.annotations import load_annotations
from diffusion.pipeline import X2FashionPipeline
from training.samples import write_samples
from training.tracker import SilentTracker
from utils.image import read_image
from utils.video import read_video


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    """Of a model that makes even numbers of frames."""
    pipeline = make_tiny_pipeline("ddim", temporal_downsample=(False, True))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_frames_of_another_shape_and_odd_segments_are_sampled(
    pipeline: X2FashionPipeline, tiny_dataset_dir: Path, tmp_path: Path
) -> None:
    whole, other = load_annotations(tiny_dataset_dir, "test")[:2]
    odd = dataclasses.replace(whole, end=whole.start + 5)
    too_short = dataclasses.replace(other, end=other.start + 1)
    folder = tmp_path / "samples"
    write_samples(
        pipeline, tiny_dataset_dir, [odd, too_short], 8, (96, 64), 0, folder, SilentTracker(), step=7
    )
    assert sorted(p.name for p in folder.iterdir()) == [
        "step_00000007.png",
        f"step_00000007_{odd.name}.gif",
        f"step_00000007_{odd.name}.mp4",
    ]
    frames, _ = read_video(folder / f"step_00000007_{odd.name}.mp4")
    assert frames.shape == (4, 96, 64, 3)
    assert read_image(folder / "step_00000007.png").ndim == 3
