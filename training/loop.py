"""Pieces of a training loop: the learning rate, the losses of a step, and when to give up."""

import itertools
import math

import torch

from training.state import TrainingState

TIMESTEP_RANGES = 4  # the loss is also told for each quarter of the timesteps
RECENT_LOSSES = 100


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


def loss_totals(losses: torch.Tensor, timesteps: torch.Tensor, num_timesteps: int) -> torch.Tensor:
    """Sum of the losses (b,), then sum and number of those in each range of timesteps, as one vector."""
    values = losses.detach().double().cpu()
    totals = torch.zeros(1 + 2 * TIMESTEP_RANGES, dtype=torch.float64)
    totals[0] = values.sum()
    places = timesteps * TIMESTEP_RANGES // num_timesteps
    totals[1::2].index_add_(0, places, values)
    totals[2::2].index_add_(0, places, torch.ones_like(values))
    return totals


def exploded(loss: float, recent: list[float], ratio: float) -> bool:
    """Whether a loss is no number, or above `ratio` times the largest of the recent ones (0: never)."""
    if not math.isfinite(loss):
        return True
    return ratio > 0 and len(recent) >= 20 and loss > ratio * max(recent)


def explosion(loss: float, grad_norm: float, state: TrainingState, names: list[list[str]]) -> str:
    """The message of a run that ends because its loss or gradient cannot be trusted."""
    batch = ", ".join(sorted(set(itertools.chain.from_iterable(names))))
    usual = f", before at most {max(state.recent_losses):.4g}" if state.recent_losses else ""
    return (
        f"at step {state.step} the loss is {loss:.4g}{usual}, the gradient's norm {grad_norm:.4g}, on "
        f"{batch}: nothing was written; the last checkpoint is untouched. Look at these videos; "
        "resume with a smaller --learning_rate and --allow_changed_settings, or raise --max_loss_ratio"
    )
