"""What makes a video cheaper: features used again, guidance in some of the steps, levels of quality."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion.guidance import guidance_branches
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.sampling import UNGUIDED, Sampling
from diffusion.schedule import check_scheduler, make_scheduler
from generation.loading import load_pipeline
from generation.settings import ModelSettings
from generation.video import choose_sampling
from inference import Config, main
from models import DeepFeatures
from models.denoiser import PREDICTION_TYPES
from tests.models.recipes import relative_error
from tests.toys import SENTENCES, figure_clip
from utils.config import run_script
from utils.errors import UserError
from utils.image import write_png
from utils.precision import autocast

FRAMES, POSES, JOINTS = figure_clip(4)
STEPS = 6
GUIDED = {"pose_guidance_scale": 2.0, "text_guidance_scale": 1.5}


@pytest.fixture(scope="module")
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    return make_tiny_pipeline()


@pytest.fixture
def calls(pipeline: X2FashionPipeline) -> Iterator[dict[str, list[int]]]:
    """Samples in each call of the whole network and of its middle, appended as the test goes on."""
    sizes: dict[str, list[int]] = {"network": [], "middle": []}
    modules = {"network": pipeline.denoiser, "middle": pipeline.denoiser.unet.mid_resnet1}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: sizes[name].append(len(inputs[0])))
        for name, module in modules.items()
    ]
    yield sizes
    for hook in hooks:
        hook.remove()


def sample(pipeline: X2FashionPipeline, **options: Any) -> torch.Tensor:
    """Latents (b, c, f, h, w) of the figure's clip."""
    output = pipeline(
        FRAMES[0],
        POSES,
        SENTENCES[0],
        joints=JOINTS,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **options,
        return_dict=False,
    )
    return output[0]


def test_saving_nothing_changes_no_bit(pipeline: X2FashionPipeline) -> None:
    for options in ({}, GUIDED):
        expected = sample(pipeline, **options)
        same = sample(pipeline, **options, reuse_interval=1, guidance_interval=(0.0, 1.0))
        assert torch.equal(same, expected)


def test_deep_features_are_computed_in_every_nth_step(pipeline: X2FashionPipeline, calls: dict) -> None:
    plain = sample(pipeline)
    assert len(calls["network"]) == len(calls["middle"]) == STEPS
    for interval, computed in ((2, 3), (4, 2), (100, 1)):
        calls["middle"].clear()
        reused = sample(pipeline, reuse_interval=interval)
        assert len(calls["middle"]) == computed
        assert not torch.equal(reused, plain) and reused.isfinite().all()


def test_reused_features_of_the_same_step_give_the_same_bits(pipeline: X2FashionPipeline) -> None:
    denoiser, latents = pipeline.denoiser, torch.randn(1, 8, 4, 8, 4, generator=torch.manual_seed(0))
    with torch.no_grad():
        expected, deep = denoiser(latents, 300), DeepFeatures()
        assert torch.equal(denoiser(latents, 300, deep=deep), expected)
        assert deep.features is not None
        assert torch.equal(denoiser(latents, 300, deep=deep), expected)
        assert not torch.equal(denoiser(latents, 500, deep=deep), denoiser(latents, 500))


def test_guidance_holds_within_its_interval(pipeline: X2FashionPipeline, calls: dict) -> None:
    everywhere, nowhere = sample(pipeline, **GUIDED), sample(pipeline)
    calls["network"].clear()
    some = sample(pipeline, **GUIDED, guidance_interval=(0.3, 0.8))
    assert calls["network"] == [1, 1, 3, 3, 3, 1]
    assert not torch.equal(some, everywhere) and not torch.equal(some, nowhere)
    assert torch.equal(sample(pipeline, **GUIDED, guidance_interval=(0.5, 0.5)), nowhere)


def test_features_are_not_reused_across_a_change_of_guidance(
    pipeline: X2FashionPipeline, calls: dict
) -> None:
    sample(pipeline, **GUIDED, reuse_interval=4, guidance_interval=(0.3, 0.8))
    assert calls["middle"] == [1, 3, 3, 1]


def test_outside_its_interval_guidance_is_one_prediction() -> None:
    branches = guidance_branches(2.0, 3.0, 1.0)
    sampling = Sampling(num_inference_steps=4, guidance_interval=(0.25, 0.75))
    assert [sampling.branches(branches, step, 4) is branches for step in range(4)] == [
        False,
        True,
        True,
        False,
    ]
    assert sampling.branches(branches, 0, 4) is UNGUIDED


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_every_level_can_be_sampled(prediction_type: str) -> None:
    levels = QUALITIES[prediction_type]
    assert list(levels) == ["fast", "balanced", "best"]
    for level in levels.values():
        scheduler = make_scheduler(level.scheduler, prediction_type)
        check_scheduler(scheduler, prediction_type, level.sampling.num_inference_steps)
    steps = [level.sampling.num_inference_steps for level in levels.values()]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reuse_interval": 0}, "reuse_interval is 0"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval is 0.5 0.2"),
        ({"guidance_interval": (0.0, 2.0)}, "guidance_interval is 0.0 2.0"),
    ],
)
def test_mistakes_are_one_line(pipeline: X2FashionPipeline, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(pipeline, **options)


def test_flags_win_over_the_level(tiny_pipeline_dir: Path) -> None:
    def options(**flags: Any) -> dict[str, Any]:
        config = ModelSettings(pretrained_model=tiny_pipeline_dir, dtype="float32", **flags)
        pipeline = load_pipeline(config, torch.device("cpu"))
        sampling = dataclasses.asdict(choose_sampling(config, pipeline))
        chosen = {name: value for name, value in sampling.items() if not name.endswith("_scale")}
        return {"scheduler": type(pipeline.scheduler).__name__, **chosen}

    plain = {"reuse_interval": 1, "guidance_interval": (0.0, 1.0)}
    assert options().items() >= {**plain, "num_inference_steps": 2}.items()
    level = QUALITIES["sample"]["best"]
    best = {"scheduler": "DDIMScheduler", "num_inference_steps": level.sampling.num_inference_steps}
    assert options(quality="best") == best | plain
    flags = {"num_inference_steps": 3, "reuse_interval": 2, "guidance_interval": (0.1, 0.5)}
    assert options(quality="best", scheduler="euler", **flags) == {
        "scheduler": "EulerDiscreteScheduler",
        **flags,
    }
    with pytest.raises(UserError, match="reuse_interval is 0"):
        options(reuse_interval=0)


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
    flags += ["--guidance_interval", 0.0, 0.5, "--text_guidance_scale", 1.0, "--height", 64, "--width", 32]
    monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, flags)])
    run_script(main, Config)
    settings = json.loads((tmp_path / "result" / "photo.json").read_text())
    assert settings["num_inference_steps"] == QUALITIES["sample"][quality].sampling.num_inference_steps
    assert settings["guidance_interval"] == [0.0, 0.5] and settings["quality"] == quality
