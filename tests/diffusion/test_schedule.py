"""The noise schedule, and schedulers over it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler
from safetensors.numpy import load_file

from diffusion.schedule import SAMPLERS, check_scheduler, make_scheduler, published_betas
from utils.errors import UserError

PARITY = Path(__file__).resolve().parents[2] / "../shared/published_model/parity.safetensors"


def test_betas_rise_as_half_a_cosine() -> None:
    betas = published_betas()
    assert betas.dtype == np.float64 and betas.shape == (1000,)
    assert betas[0] == pytest.approx(1e-4) and betas[-1] == pytest.approx(0.02)
    assert (np.diff(betas) > 0).all()
    # A cosine is symmetric about its middle.
    np.testing.assert_allclose(betas + betas[::-1], 1e-4 + 0.02, rtol=1e-12)


@pytest.mark.skipif(not PARITY.is_file(), reason="the published model's numbers are not here")
def test_betas_are_the_published_ones() -> None:
    np.testing.assert_allclose(published_betas(), load_file(PARITY)["betas"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_follows_the_schedule_from_its_noisiest_step(sampler: str) -> None:
    scheduler = make_scheduler(sampler, "sample")
    np.testing.assert_allclose(scheduler.betas.numpy(), published_betas(), rtol=1e-6)
    assert scheduler.config.prediction_type == "sample"
    assert not scheduler.config.get("clip_sample", False)
    scheduler.set_timesteps(5)
    assert scheduler.timesteps[0] == 999
    check_scheduler(scheduler, "sample", 5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_scheduler_that_keeps_tensors_on_a_gpu_can_be_checked(sampler: str) -> None:
    """`add_noise` of some moves its noise levels to the latents' device, here one that every machine has."""
    scheduler = make_scheduler(sampler, "sample")
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to("meta")
    check_scheduler(scheduler, "sample", 4)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(UserError, match=r"'foo'.*ddim"):
        make_scheduler("foo")


@pytest.mark.parametrize(
    ("scheduler", "prediction_type", "steps", "message"),
    [
        (make_scheduler("ddim", "epsilon"), "sample", 4, "is set to 'epsilon'"),
        (make_scheduler("ddim", "sample"), "sample", 1001, "it can be at most that"),
        (make_scheduler("ddim", "sample"), "sample", 0, "1 or more"),
        (
            EulerAncestralDiscreteScheduler(
                trained_betas=published_betas().tolist(), prediction_type="sample"
            ),
            "sample",
            4,
            "EulerAncestralDiscreteScheduler cannot take 4 steps with prediction_type 'sample'",
        ),
    ],
)
def test_a_scheduler_that_cannot_sample_is_refused(scheduler, prediction_type, steps, message) -> None:
    with pytest.raises(UserError, match=message):
        check_scheduler(scheduler, prediction_type, steps)


def test_checking_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    check_scheduler(make_scheduler("ddpm", "sample"), "sample", 4)
    check_scheduler(make_scheduler("ddpm", "epsilon"), "epsilon", 4)
    assert torch.equal(torch.get_rng_state(), state)
