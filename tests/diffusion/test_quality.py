"""Levels of quality, and weights of half the size."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import check_scheduler, make_scheduler
from generation.loading import load_pipeline
from generation.settings import ModelSettings
from generation.video import choose_sampling
from inference import Config, main
from models.denoiser import PREDICTION_TYPES
from tests.models.recipes import relative_error
from tests.toys import SENTENCES, figure_clip
from utils.config import run_script
from utils.image import write_png
from utils.precision import autocast

FRAMES, POSES, JOINTS = figure_clip(4)


def sample(pipeline: X2FashionPipeline) -> torch.Tensor:
    """Latents (b, c, f, h, w) of the figure's clip."""
    output = pipeline(
        FRAMES[0],
        POSES,
        SENTENCES[0],
        joints=JOINTS,
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        return_dict=False,
    )
    return output[0]


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_every_level_can_be_sampled(prediction_type: str) -> None:
    levels = QUALITIES[prediction_type]
    assert list(levels) == ["fast", "balanced", "best"]
    for level in levels.values():
        scheduler = make_scheduler(level.scheduler, prediction_type)
        check_scheduler(scheduler, prediction_type, level.num_inference_steps)
    steps = [level.num_inference_steps for level in levels.values()]
    assert steps == sorted(steps)


def test_flags_win_over_the_level(tiny_pipeline_dir: Path) -> None:
    def chosen(**flags: Any) -> tuple[str, int]:
        config = ModelSettings(pretrained_model=tiny_pipeline_dir, dtype="float32", **flags)
        pipeline = load_pipeline(config, torch.device("cpu"))
        return type(pipeline.scheduler).__name__, choose_sampling(config, pipeline).num_inference_steps

    assert chosen()[1] == 2
    assert chosen(quality="best") == ("DDIMScheduler", QUALITIES["sample"]["best"].num_inference_steps)
    assert chosen(quality="best", num_inference_steps=3) == ("DDIMScheduler", 3)
    assert chosen(quality="best", scheduler="euler")[0] == "EulerDiscreteScheduler"


def test_bfloat16_weights_are_cast_once(tiny_pipeline_dir: Path) -> None:
    latents = {}
    for dtype in ("float32", "bfloat16"):
        config = ModelSettings(pretrained_model=tiny_pipeline_dir, dtype=dtype)
        pipeline = load_pipeline(config, torch.device("cpu"))
        assert pipeline.denoiser.dtype == getattr(torch, dtype)
        with autocast(dtype, "cpu"):
            latents[dtype] = sample(pipeline)
    assert latents["bfloat16"].dtype == torch.float32
    assert relative_error(latents["bfloat16"], latents["float32"]) < 0.05


@pytest.mark.parametrize("quality", ["fast", "balanced"])
def test_the_command_takes_a_level(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: str
) -> None:
    write_png(tmp_path / "photo.png", FRAMES[0])
    for index, pose in enumerate(POSES):
        write_png(tmp_path / "poses" / f"{index:03d}.png", pose)
    flags = ["--image", tmp_path / "photo.png", "--poses", tmp_path / "poses", "--quality", quality]
    flags += ["--output_dir", tmp_path / "result", "--pretrained_model", tiny_pipeline_dir]
    flags += ["--height", 64, "--width", 32]
    monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, flags)])
    run_script(main, Config)
    settings = json.loads((tmp_path / "result" / "photo.json").read_text())
    assert settings["num_inference_steps"] == QUALITIES["sample"][quality].num_inference_steps
    assert settings["quality"] == quality
