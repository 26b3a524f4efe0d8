"""Pieces of a training loop: the learning rate, the losses of a step, and when to give up."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from training.state import TrainingState
from utils.config import settings_as_json
from utils.distributed import World
from utils.errors import UserError

TIMESTEP_RANGES = 4  # the loss is also told for each quarter of the timesteps
MIN_LOSSES = 20  # before so many, no loss is called too large


FREE_SETTINGS = {
    "output_dir", "checkpoint_steps", "num_workers", "num_test_clips", "num_test_frames", "device",
    "rules_logit",
}  # fmt: skip
"""Settings that may change when a run of one of the recipe's trainers goes on."""


def shared_settings(config: Any) -> dict[str, Any]:
    """The settings that a resumed run of one of the recipe's trainers must share, as JSON can hold them."""
    return {name: value for name, value in settings_as_json(config).items() if name not in FREE_SETTINGS}


def learning_rate_at(step: int, peak: float, warmup_steps: int, num_steps: int) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter, "SGDR", 2017), for every trainer.

    A function of the step alone: a run that goes on needs no state of it. The first step's rate is not zero.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Let all parameters learn at this rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


class LossTotals:
    """Sums of the losses of a step, whole and for each range of timesteps."""

    def __init__(self) -> None:
        # The sum of all, then sum and number of each range.
        self._sums = torch.zeros(1 + 2 * TIMESTEP_RANGES, dtype=torch.float64)

    def add(self, losses: torch.Tensor, timesteps: torch.Tensor, num_timesteps: int) -> None:
        """Add the losses (b,) of a part of the batch, drawn at these timesteps (b,) of 0 to num_timesteps."""
        values = losses.detach().double().cpu()
        sums = torch.zeros_like(self._sums)
        sums[0] = values.sum()
        places = timesteps.cpu() * TIMESTEP_RANGES // num_timesteps
        sums[1::2].index_add_(0, places, values)
        sums[2::2].index_add_(0, places, torch.ones_like(values))
        self._sums += sums

    def agree(self, world: World, batch_size: int, signal: int) -> tuple[float, tuple[float, ...], bool]:
        """Sum over all processes, which must call this together.

        Args:
            world: the processes.
            batch_size: samples of the step in all processes.
            signal: number of the signal that this process received, 0 for none.

        Returns:
            The mean loss, the mean loss of each range of timesteps (NaN where none was drawn), and whether
            any process was told to stop.
        """
        sums = world.sum(torch.cat([torch.tensor([signal], dtype=torch.float64), self._sums]))
        by_timestep = tuple((sums[2::2] / sums[3::2]).tolist())
        return sums[1].item() / batch_size, by_timestep, bool(sums[0] > 0)


def stop_if_diverged(
    loss: float, grad_norm: float, state: TrainingState, names: Sequence[str], max_loss_ratio: float
) -> None:
    """End a run whose loss or gradient cannot be trusted, before the weights are touched.

    Args:
        loss: loss of the step, over all processes.
        grad_norm: norm of the gradient before it is clipped.
        state: knows the losses before.
        names: videos of this process's batch.
        max_loss_ratio: a loss above so many times the largest of the recent ones is too large; 0 for never.

    Raises:
        UserError: the loss or the gradient is no number, or the loss is too large; names the videos.
    """
    recent = state.recent_losses
    too_large = max_loss_ratio > 0 and len(recent) >= MIN_LOSSES and loss > max_loss_ratio * max(recent)
    if math.isfinite(loss) and math.isfinite(grad_norm) and not too_large:
        return
    batch = ", ".join(sorted(set(itertools.chain.from_iterable(state.world.gather(list(names))))))
    usual = f", before at most {max(recent):.4g}" if recent else ""
    raise UserError(
        f"at step {state.step} the loss is {loss:.4g}{usual}, the gradient's norm {grad_norm:.4g}, on "
        f"{batch}: nothing was written; the last checkpoint is untouched. Look at these videos; "
        "resume with a smaller --learning_rate and --allow_changed_settings, or raise --max_loss_ratio"
    )
