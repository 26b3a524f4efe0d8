"""Distillation's losses where the answer is known, and its DDIM against diffusers'."""

import itertools

import pytest
import torch
from torch import nn

from diffusion.distillation import (
    CLEAN,
    DDIM,
    Clips,
    Predictor,
    consistency_loss,
    distance,
    make_clips,
    make_predictor,
    progressive_loss,
    sample,
)
from diffusion.guidance import guidance_branches
from diffusion.schedule import make_scheduler
from diffusion.training import Dropout, StepRandomness, draw_randomness

SHAPE = torch.Size((4, 3, 5, 2, 2))
DEVIATION = 0.5  # of the data in the analytic cases
NUM_STUDENT_STEPS, NUM_TEACHER_STEPS = 4, 16


@pytest.fixture(scope="module")
def ddim() -> DDIM:
    return DDIM(make_scheduler("ddpm", "sample"))


def draw(drop_image: float = 0.0) -> StepRandomness:
    return draw_randomness([1, 2, 3, 4], SHAPE, 1000, Dropout(image=drop_image, poses=0, text=0))


def draw_clips(drop_image: float = 0.0) -> Clips:
    latents = DEVIATION * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return make_clips({"latents": latents}, draw(drop_image))


def linear(factors: torch.Tensor) -> Predictor:
    """Predict clean latents by scaling noisy ones, each timestep by its own factor."""
    return lambda noisy, timesteps: factors[timesteps].view(-1, 1, 1, 1, 1) * noisy


def gaussian_teacher(ddim: DDIM) -> torch.Tensor:
    """Factors (1000,) of the best predictor of independent normal data: a s^2 / (a^2 s^2 + sigma^2)."""
    alpha, sigma = (scale.flatten() for scale in ddim.scales(torch.arange(1000)))
    return alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)


def step_factor(ddim: DDIM, factor: torch.Tensor, here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """What a step of DDIM scales noisy latents by, where the prediction is `factor` times them."""
    (alpha, sigma), (next_alpha, next_sigma) = ddim.scales(here), ddim.scales(there)
    return (next_alpha * factor + next_sigma * (1 - alpha * factor) / sigma).flatten()


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("num_steps", [1, 2, 4, 8])
def test_steps_are_those_of_the_sampler(prediction_type: str, num_steps: int) -> None:
    scheduler = make_scheduler("ddim", prediction_type)
    scheduler.set_timesteps(num_steps)
    ours = DDIM(make_scheduler("ddpm", prediction_type))
    timesteps = ours.timesteps(num_steps)
    assert timesteps.tolist() == [*scheduler.timesteps.tolist(), CLEAN]
    noisy = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    output = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    for here, there in itertools.pairwise(timesteps):
        expected = scheduler.step(output, here, noisy)
        here, there = here.expand(4), there.expand(4)
        clean = ours.clean(output, noisy, here, prediction_type)
        torch.testing.assert_close(clean, expected.pred_original_sample, rtol=1e-4, atol=1e-4)
        stepped = ours.step(clean, noisy, here, there)
        torch.testing.assert_close(stepped, expected.prev_sample, rtol=1e-4, atol=1e-4)


def test_the_clean_latents_between_two_are_those_of_the_step(ddim: DDIM) -> None:
    here, there = torch.tensor([999, 749, 499, 249]), torch.tensor([749, 499, 249, CLEAN])
    clean, noisy = draw_clips().latents, draw_clips().noise
    reached = ddim.step(clean, noisy, here, there)
    torch.testing.assert_close(ddim.clean_between(noisy, reached, here, there), clean, rtol=1e-4, atol=1e-4)
    assert torch.equal(ddim.step(clean, noisy, there[3:].expand(4) + 500, there[3:].expand(4)), clean)


def test_predictors_of_all_types_mean_the_same(ddim: DDIM) -> None:
    clips, timesteps = draw_clips(), torch.tensor([999, 700, 300, 10])
    noisy = ddim.add_noise(clips.latents, clips.noise, timesteps)
    velocity = make_scheduler("ddpm").get_velocity(clips.latents, clips.noise, timesteps)
    for name, output in (("sample", clips.latents), ("epsilon", clips.noise), ("v_prediction", velocity)):
        clean = ddim.clean(output, noisy, timesteps, name)
        torch.testing.assert_close(clean, clips.latents, rtol=1e-3, atol=1e-3)


def test_a_consistent_student_loses_nothing(ddim: DDIM) -> None:
    """Of normal data the teacher is linear, and so is the end of its way as a function of its beginning."""
    timesteps = ddim.timesteps(NUM_TEACHER_STEPS)
    teacher, student = gaussian_teacher(ddim), torch.zeros(1000)
    end = torch.ones(1)
    for here, there in zip(timesteps[:-1].flip(0), timesteps[1:].flip(0), strict=True):
        end = end * step_factor(ddim, teacher[here], here[None], there[None])
        student[here] = end
    clips = draw_clips()
    for first in range(0, NUM_TEACHER_STEPS, 4):
        arguments = ddim, timesteps, torch.arange(first, first + 4), clips
        good, bad = linear(student), linear(teacher)
        assert consistency_loss(good, good, linear(teacher), *arguments).max() < 1e-9
        if first < NUM_TEACHER_STEPS - 4:
            assert consistency_loss(bad, bad, linear(teacher), *arguments).min() > 1e-6


@pytest.mark.parametrize("exposure_steps", [0, 1, 3])
def test_a_student_of_few_steps_that_keeps_up_loses_nothing(ddim: DDIM, exposure_steps: int) -> None:
    timesteps = ddim.timesteps(NUM_TEACHER_STEPS)
    stride = NUM_TEACHER_STEPS // NUM_STUDENT_STEPS
    teacher, student = gaussian_teacher(ddim), torch.zeros(1000)
    for place in range(0, NUM_TEACHER_STEPS, stride):
        factor = torch.ones(1)
        for i in range(place, place + stride):
            here, there = timesteps[i : i + 1], timesteps[i + 1 : i + 2]
            factor = factor * step_factor(ddim, teacher[here], here, there)
        # A step from z to `factor` z: next_alpha x0 + next_sigma (z - alpha x0) / sigma, solved for x0.
        here, there = timesteps[place : place + 1], timesteps[place + stride : place + stride + 1]
        (alpha, sigma), (next_alpha, next_sigma) = ddim.scales(here), ddim.scales(there)
        ratio = next_sigma / sigma
        student[here] = ((factor - ratio) / (next_alpha - ratio * alpha)).flatten()
    good, slow = linear(student), linear(teacher)
    arguments = ddim, timesteps, torch.tensor([0, 5, 10, 15]), draw_clips()
    options = {"num_student_steps": NUM_STUDENT_STEPS, "exposure_steps": exposure_steps}
    assert progressive_loss(good, good, slow, *arguments, **options).max() < 1e-9
    assert progressive_loss(slow, slow, slow, *arguments, **options).min() > 1e-6

    # In its few steps it ends where the teacher ends.
    clips = draw_clips(drop_image=1.0)
    few, many = sample(good, ddim, timesteps[::stride], clips), sample(slow, ddim, timesteps, clips)
    torch.testing.assert_close(few, many, rtol=1e-4, atol=1e-4)
    assert (sample(slow, ddim, timesteps[::stride], clips) - many).abs().max() > 0.01


def test_the_student_learns_at_the_timesteps_of_its_sampler_and_on_its_own_latents(ddim: DDIM) -> None:
    clips, seen = draw_clips(), []

    def student(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, timesteps))
        return noisy

    def wrong(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return torch.full_like(noisy, 7.0)

    timesteps, places = ddim.timesteps(8), torch.tensor([0, 3, 5, 7])
    for exposure_steps in (0, 1):
        options = {"num_student_steps": 4, "exposure_steps": exposure_steps}
        progressive_loss(student, wrong, student, ddim, timesteps, places, clips, **options)
    asked = [s for s in seen if s[1].tolist() == [999, 749, 499, 249]]
    noised = clips.hold(ddim.add_noise(clips.latents, clips.noise, asked[0][1]))
    assert torch.equal(asked[0][0], noised)
    own = asked[-1][0]
    torch.testing.assert_close(own[0], noised[0])
    assert torch.equal(own[:, :, 0], clips.latents[:, :, 0])
    assert ((own - noised)[1:, :, 1:].flatten(1).mean(1) > 0.3).all()


def test_given_frames_are_clean_and_cost_nothing() -> None:
    clips = draw_clips()
    error = torch.ones(SHAPE)
    error[:, :, 0] = 100.0
    torch.testing.assert_close(distance(clips.latents + error, clips.latents, clips), torch.ones(4))
    without = draw_clips(drop_image=1.0)
    assert distance(without.latents + error, without.latents, without).min() > 1000
    assert torch.equal(without.hold(without.noise), without.noise)


def test_the_huber_distance_is_square_for_small_errors_and_linear_for_large_ones() -> None:
    clips, still = draw_clips(), torch.zeros(SHAPE)
    assert distance(still + 1e-3, still, clips, huber_c=1.0).mean() == pytest.approx(1e-6, rel=0.2)
    large, larger = (distance(still + size, still, clips, huber_c=0.1).mean() for size in (10.0, 20.0))
    assert larger / large == pytest.approx(2, abs=0.02)


def test_weights_count_the_person_and_flicker_more() -> None:
    latents, flicker = torch.zeros(SHAPE), torch.ones(SHAPE)
    flicker[:, :, 2] = -1
    clips = make_clips({"latents": latents}, draw())
    assert (distance(flicker, latents, clips, temporal_weight=0.5) > 1.5).all()
    weight = torch.ones(4, 1, *SHAPE[2:])
    weight[..., 0, :] = 3
    weighted = make_clips({"latents": latents, "loss_weight": weight}, draw())
    error = torch.zeros(SHAPE)
    error[..., 0, :] = 1
    torch.testing.assert_close(distance(error, latents, clips), torch.full((4,), 0.5))
    torch.testing.assert_close(distance(error, latents, weighted), torch.full((4,), 0.75))


class Counting(nn.Module):
    """A denoiser that answers how many conditions a sample keeps, plus frame 0 of what it is shown."""

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, **drops: torch.Tensor) -> torch.Tensor:
        kept = sum((~drops[name]).float() for name in ("drop_image", "drop_poses", "drop_text"))
        return kept.view(-1, 1, 1, 1, 1) + noisy[:, :, :1].expand_as(noisy)


def test_a_guided_teacher_adds_up_its_branches_and_hides_the_photo(ddim: DDIM) -> None:
    clips, timesteps = draw_clips(), torch.full((4,), 500)
    noisy = clips.hold(ddim.add_noise(clips.latents, clips.noise, timesteps))
    plain = make_predictor(Counting(), {}, ddim, clips, draw(), "sample")(noisy, timesteps)
    photo = clips.latents[:, :, :1].expand(SHAPE)
    torch.testing.assert_close(plain, 3 + photo)
    branches = guidance_branches(1.0, 1.0, 2.5)
    guided = make_predictor(Counting(), {}, ddim, clips, draw(), "sample", branches)(noisy, timesteps)
    torch.testing.assert_close(guided, 2 + 2.5 + photo)
    hidden = ddim.add_noise(clips.latents, clips.noise, timesteps)[:, :, :1].expand(SHAPE)
    branches = guidance_branches(3.0, 1.0, 1.0)
    guided = make_predictor(Counting(), {}, ddim, clips, draw(), "sample", branches)(noisy, timesteps)
    torch.testing.assert_close(guided, hidden + 3 * (1 + photo - hidden) + 2)
