"""A pipeline whose photo is moved by a network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion.inputs import CallInputs
from diffusion.pipeline import X2FashionPipeline
from diffusion.warped_photo import warp_photo, warp_with
from generation.loading import load_pipeline
from generation.settings import ModelSettings
from models.warper import STEM, Warper
from tests.toys import SENTENCES, figure_clip, figure_joints, tiny_warper

FRAMES, POSES, JOINTS = figure_clip(4)


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    pipeline = make_tiny_pipeline()
    pipeline.register_modules(warper=tiny_warper())
    return pipeline


def sample(pipeline: X2FashionPipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return pipeline(
        FRAMES[0], POSES, SENTENCES[0], joints=JOINTS, generator=generator, output_type="latent"
    ).frames


def test_the_warper_moves_the_photo(pipeline: X2FashionPipeline) -> None:
    inputs = CallInputs.read(FRAMES[0], POSES, None, joints=JOINTS).expanded(1, 4)
    warped = pipeline.warp_photo(inputs)
    expected = warp_photo(inputs.photo, inputs.poses, inputs.joints, warper=pipeline.warper)
    assert torch.equal(warped.pictures, expected.pictures)
    with_it = sample(pipeline)
    pipeline.register_modules(warper=None)
    by_rules = pipeline.warp_photo(inputs)
    assert not torch.allclose(by_rules.pictures, warped.pictures, atol=0.05)
    assert not torch.allclose(sample(pipeline), with_it, atol=1e-3)


def test_it_is_saved_loaded_and_exchanged_with_the_pipeline(
    pipeline: X2FashionPipeline, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    pipeline.save_pretrained(tmp_path / "model")
    expected = sample(pipeline)
    loaded = X2FashionPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    torch.testing.assert_close(sample(loaded), expected, atol=1e-5, rtol=0)

    settings = ModelSettings(pretrained_model=tmp_path / "model", dtype="float32")
    own = load_pipeline(settings, torch.device("cpu"))
    assert own.warper is not None
    given = load_pipeline(
        dataclasses.replace(
            settings, pretrained_model=tiny_pipeline_dir, warper=tmp_path / "model" / "warper"
        ),
        torch.device("cpu"),
    )
    for name, weight in given.warper.state_dict().items():
        assert torch.equal(weight, own.warper.state_dict()[name])
    assert (
        load_pipeline(
            dataclasses.replace(settings, pretrained_model=tiny_pipeline_dir), torch.device("cpu")
        ).warper
        is None
    )


def test_in_bfloat16_the_frames_are_nearly_the_same(pipeline: X2FashionPipeline) -> None:
    expected = sample(pipeline)
    pipeline.cast_networks(torch.bfloat16)
    assert pipeline.warper.dtype == torch.bfloat16
    assert (sample(pipeline) - expected).abs().mean() < 0.1 * expected.abs().mean()


def test_it_is_offloaded_with_the_rest(pipeline: X2FashionPipeline) -> None:
    assert "warper" in pipeline.model_cpu_offload_seq
    assert np.isfinite(sample(pipeline).numpy()).all()


@pytest.mark.parametrize("size", [(64, 32), (96, 64), (80, 32), (64, 48), (128, 40)])
def test_a_photo_in_its_own_pose_stays_where_it_is_whatever_its_shape(size: tuple[int, int]) -> None:
    height, width = size
    # Untrained: what is near a limb moves with it.
    warper = Warper(height=64, channels=(8, 16, 24, 24), heads=2)
    with torch.no_grad():
        warper.show.weight.zero_()
        warper.show.bias.zero_()
        warper.show.bias[2 * STEM**2 : 3 * STEM**2] = 20  # take all of the photo that the network moved
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    photo = torch.stack([x, y, (6 * x).sin()])
    joints = figure_joints(1, height)
    moved, _ = warp_with(warper, photo, joints[0], joints)
    inside = np.s_[:, 2:-2, 2:-2]
    assert (moved[0] - photo)[inside].abs().amax() < 0.02
