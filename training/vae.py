"""What recipe.train_vae, recipe.train_decoder and recipe.train_warper share: their loop, loss and PSNR."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from diffusers import ModelMixin
from torch.nn import functional
from tqdm import tqdm

from training.adversary import Adversary
from training.averaging import averaged_copy
from training.interrupts import Interrupts
from training.loop import learning_rate_at, set_learning_rate, shared_settings
from utils.checkpoint import check_settings, list_checkpoints, load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.precision import autocast

Network = TypeVar("Network", bound=ModelMixin)


class TrainingSettings(Protocol):
    """The settings that these scripts have; their help stands there."""

    @property
    def output_dir(self) -> Path:
        """Where the checkpoints go."""
        ...

    @property
    def max_train_steps(self) -> int:
        """Steps in all."""
        ...

    @property
    def learning_rate(self) -> float:
        """Its peak."""
        ...

    @property
    def warmup_steps(self) -> int:
        """Steps up to it."""
        ...

    @property
    def ema_decay(self) -> float:
        """Of the averaged weights, once it has grown."""
        ...

    @property
    def checkpoint_steps(self) -> int:
        """Steps between two checkpoints."""
        ...

    @property
    def seed(self) -> int:
        """Of the order and the noise."""
        ...


def reconstruction_loss(decoded: torch.Tensor, images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """L1 and L2 on pixels; L1 on 8x8 averages, 2x2 averages of chroma, differences of neighbours."""
    weight = weight / weight.mean()
    error = decoded - images
    chroma = error - error.mean(1, keepdim=True)
    coarse_weight = functional.avg_pool2d(weight, 8)
    return (
        (error.abs() * weight).mean()
        + 2 * (error.square() * weight).mean()
        + 0.5 * (functional.avg_pool2d(error, 8).abs() * coarse_weight).mean()
        + 0.5 * (functional.avg_pool2d(chroma, 2).abs() * functional.avg_pool2d(weight, 2)).mean()
        + 0.5 * (error.diff(dim=2).abs() * weight[:, :, 1:]).mean()
        + 0.5 * (error.diff(dim=3).abs() * weight[..., 1:]).mean()
    )


def psnr(squared: torch.Tensor) -> float:
    """PSNR in dB of squared errors of pixels in [-1, 1]; at most 100."""
    return float(-10 * (squared.mean() / 4).clamp(min=1e-10).log10())


def step_generator(seed: int, step: int) -> torch.Generator:
    """Source of a step's noise: a function of (seed, step)."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


def with_noise(latents: torch.Tensor, level: float, generator: torch.Generator) -> torch.Tensor:
    """Add noise of up to `level` times each channel's standard deviation, how much drawn for each sample."""
    deviation = latents.detach().std((0, 2, 3), keepdim=True)
    share = level * torch.rand(len(latents), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    return latents + share.to(latents.device) * deviation * noise.to(latents.device)


def shuffled_batches(count: int, batch_size: int, config: TrainingSettings, step: int) -> list[list[int]]:
    """Places i + epoch * count of each batch from `step` on; every epoch has an order of its own."""
    order = [
        int(i) + epoch * count
        for epoch in range(config.max_train_steps * batch_size // count + 1)
        for i in np.random.default_rng([config.seed, epoch]).permutation(count)
    ]
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(step, config.max_train_steps)]


def fit(
    config: TrainingSettings,
    network: Network,
    make_loader: Callable[[int], Iterable[Any]],
    loss_of: Callable[[Network, Any, int], torch.Tensor],
    description: str,
    adversary: Adversary | None = None,
) -> Network:
    """Train the parameters that want a gradient until `max_train_steps`, going on from the last checkpoint.

    Ctrl-C and SIGTERM end it after the step in progress, with a checkpoint.

    Args:
        config: the script's settings.
        network: in training mode, on the device to train on.
        make_loader: gives the batches from a step on.
        loss_of: the loss of a batch at a step.
        description: description of the progress bar.
        adversary: what `loss_of` also asks, and which learns there; it is saved with the rest.

    Returns:
        The network with averaged weights, in eval mode.

    Raises:
        UserError: the folder holds a run of other settings, or the loss is not finite.
    """
    ema = averaged_copy(network, config.ema_decay)
    averaged = cast(Network, ema.module)
    device = network.device
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.99))

    checkpoint_dir, step = config.output_dir / "checkpoint", 0
    if checkpoints := list_checkpoints(checkpoint_dir):
        step, modules, state, settings = load_checkpoint(checkpoints[-1])
        advice = "give the old settings or another --output_dir"
        check_settings(checkpoints[-1], settings, shared_settings(config), advice)
        network.load_state_dict(modules["raw"])
        averaged.load_state_dict(modules["ema"])
        ema.n_averaged.fill_(step)
        optimizer.load_state_dict(state["optimizer"])
        if adversary is not None:
            adversary.load_state(modules["critic"], state["critic_optimizer"])

    progress = tqdm(
        total=config.max_train_steps, initial=step, desc=description, unit="step", dynamic_ncols=True
    )
    with progress, Interrupts() as interrupts:
        for batch in make_loader(step):
            rate = learning_rate_at(step, config.learning_rate, config.warmup_steps, config.max_train_steps)
            set_learning_rate(optimizer, rate)
            with autocast("auto", device):
                loss = loss_of(network, batch, step)
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is not finite at step {step}; "
                    f"use a smaller --learning_rate than {config.learning_rate}"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.update_parameters(network)
            step += 1
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.4f}")
            stop = interrupts.received > 0
            if step % config.checkpoint_steps == 0 or step == config.max_train_steps or stop:
                modules = {"raw": network.state_dict(), "ema": averaged.state_dict()}
                state = {"optimizer": optimizer.state_dict()}
                if adversary is not None:
                    modules["critic"], state["critic_optimizer"] = adversary.state()
                save_checkpoint(checkpoint_dir, step, modules, state, shared_settings(config))
            if stop:
                interrupts.stop()
    return averaged
