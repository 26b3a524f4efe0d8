"""What a training step draws and what its loss weighs."""

import pytest
import torch
from torch import nn

from diffusion.schedule import make_scheduler
from diffusion.training import Dropout, diffusion_loss, draw_randomness

SHAPE = torch.Size((2, 3, 4, 2, 2))


class Fixed(nn.Module):
    """A denoiser that answers the same to everything."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, **conditions: object) -> torch.Tensor:
        return self.answer


def losses(error: torch.Tensor, temporal_weight: float = 0.0, **batch: torch.Tensor) -> torch.Tensor:
    """The loss where the prediction of x0 is wrong by `error`, of samples that keep their photo."""
    latents = torch.zeros(SHAPE)
    randomness = draw_randomness([1, 2], SHAPE, 1000, Dropout(image=0, poses=0, text=0))
    batch = {"latents": latents, "prompt_embeds": latents, "pose_images": latents} | batch
    scheduler = make_scheduler("ddpm", "sample")
    return diffusion_loss(Fixed(error), scheduler, batch, randomness, "sample", temporal_weight)


def test_a_shift_draws_noisier_timesteps_and_nothing_else_anew() -> None:
    seeds = list(range(400))
    plain, shifted = (
        draw_randomness(seeds, torch.Size((400, 1, 1, 1, 1)), 1000, Dropout(), shift) for shift in (1.0, 3.0)
    )
    assert plain.timesteps.float().mean() == pytest.approx(500, abs=40)
    assert shifted.timesteps.float().mean() > 620
    assert shifted.timesteps.min() >= 0 and shifted.timesteps.max() <= 999
    assert torch.equal(plain.noise, shifted.noise)
    assert torch.equal(plain.drop_text, shifted.drop_text)


def test_without_a_shift_every_timestep_is_as_it_was_drawn() -> None:
    drawn = draw_randomness([7, 8, 9], torch.Size((3, 1, 1, 1, 1)), 1000, Dropout())
    expected = [torch.randint(1000, (), generator=torch.Generator().manual_seed(s)).item() for s in (7, 8, 9)]
    assert drawn.timesteps.tolist() == expected


def test_the_loss_is_the_mean_over_frames_that_are_not_given() -> None:
    error = torch.full(SHAPE, 2.0)
    error[:, :, 0] = 100.0
    torch.testing.assert_close(losses(error), torch.full((2,), 4.0))


def test_a_weight_counts_where_it_lies() -> None:
    error = torch.zeros(SHAPE)
    error[:, :, 1:, 0] = 2.0
    weight = torch.ones(2, 1, *SHAPE[2:])
    weight[1, :, :, 0] = 3.0
    # Half of the places err; in the second sample they count three times as much as the others.
    torch.testing.assert_close(losses(error, loss_weight=weight), torch.tensor([2.0, 3.0]))


def test_flicker_costs_more_than_a_steady_error() -> None:
    steady, flickering = torch.ones(SHAPE), torch.ones(SHAPE)
    flickering[:, :, 2] = -1
    torch.testing.assert_close(losses(steady), losses(flickering))
    assert (losses(flickering, temporal_weight=0.5) > losses(steady, temporal_weight=0.5) + 1).all()


def test_shared_noise_is_common_to_the_frames_and_keeps_unit_variance() -> None:
    shape = torch.Size((1, 8, 6, 64, 32))
    noises = {
        share: draw_randomness([3], shape, 1000, Dropout(), shared_noise=share).noise[0]
        for share in (0.0, 0.5, 1.0)
    }
    for share, noise in noises.items():
        assert abs(noise.std().item() - 1) < 0.04
        together = (noise[:, 0] * noise[:, 5]).mean().item()
        assert abs(together - share) < 0.04
    again = draw_randomness([3], shape, 1000, Dropout(), shared_noise=0.5).noise[0]
    assert torch.equal(again, noises[0.5])
