"""The averaged weights of a short run are worth what its raw ones are, and a resumed run has the same."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from models.autoencoder import TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL
from recipe.train_vae import Config
from training.averaging import averaged_copy, decay_at
from training.vae import fit
from utils.checkpoint import list_checkpoints

STEPS = 12


def make_vae() -> SpaceToDepthAutoencoderKL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SpaceToDepthAutoencoderKL(**TINY_VAE_CONFIG).train()


def train(folder: Path, stop_at: int = STEPS) -> AutoencoderKL:
    """Fit noise that follows from the step; killed before the step `stop_at`."""
    config = Config(
        dataset=(folder,),
        output_dir=folder,
        max_train_steps=STEPS,
        learning_rate=1e-2,
        warmup_steps=0,
        ema_decay=0.998,
        checkpoint_steps=5,
    )

    def loss_of(vae: AutoencoderKL, batch: int, step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        images = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(batch))
        return (vae.decode(vae.encode(images).latent_dist.mode()).sample - images).square().mean()

    return fit(config, make_vae(), lambda step: range(step, STEPS), loss_of, "train")


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return sum((one[name] - other[name]).square().sum().item() for name in one) ** 0.5


def test_the_average_of_a_short_run_has_left_the_first_weights(tmp_path: Path) -> None:
    averaged = train(tmp_path).state_dict()
    raw = load_file(list_checkpoints(tmp_path / "checkpoint")[-1] / "raw.safetensors")
    assert distance(averaged, raw) < 0.5 * distance(averaged, make_vae().state_dict())


def test_a_resumed_average_is_that_of_a_run_that_was_not_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", stop_at=8)
    resumed, straight = train(tmp_path / "stopped").state_dict(), train(tmp_path / "straight").state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_the_decay_grows_to_what_was_asked_for() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average, expected = averaged_copy(network, 0.5), 0.0
    for step in range(20):
        network.weight.data.fill_(step)
        average.update_parameters(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = step if step == 0 else decay * expected + (1 - decay) * step
        assert average.module.weight.item() == pytest.approx(expected)
    assert decay_at(0, 0.998) == 0.1 and decay_at(4489, 0.998) < 0.998 == decay_at(4490, 0.998)
    assert not any(parameter.requires_grad for parameter in average.parameters())
