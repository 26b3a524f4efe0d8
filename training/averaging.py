"""The moving average of a network's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def decay_at(num_updates: int, decay: float) -> float:
    """Decay of the average after so many updates: it grows from 1/10 to `decay`.

    A short run is then not judged by the random weights it began with; 0.998 is reached after 4490 updates.
    """
    return min(decay, (1 + num_updates) / (10 + num_updates))


def averaged_copy(network: nn.Module, decay: float) -> AveragedModel:
    """A frozen copy of a network whose `update_parameters` moves it towards the network's weights.

    A resumed run sets `n_averaged` to the steps done; with the weights that is all there is to restore.

    Args:
        network: being trained.
        decay: decay of the average a step, which grows to this, see `decay_at`.
    """

    @torch.no_grad()
    def move(averaged: Tensors, current: Tensors, _: Tensor | int) -> None:
        # The count of `copy` itself is on the CPU: reading it waits for no GPU.
        share = 1 - decay_at(int(copy.n_averaged), decay)
        torch._foreach_lerp_(averaged, current, share)

    copy = AveragedModel(network, multi_avg_fn=move)
    return copy.eval().requires_grad_(False)
