"""Everything a run changes as it goes: weights, their average, the optimizer, the recent losses."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diffusion.pipeline import X2FashionPipeline
from models import Denoiser
from models.lora import ADAPTER, lora_tensors
from training.averaging import averaged_copy
from utils.checkpoint import check_settings, load_checkpoint, save_checkpoint
from utils.distributed import World
from utils.errors import UserError
from utils.files import atomic_folder

MOMENTS = ("exp_avg", "exp_avg_sq")
RECENT_LOSSES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Of AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019) and of the average."""

    weight_decay: float
    ema_decay: float
    betas: tuple[float, float] = (0.9, 0.99)


class TrainingState:
    """A denoiser in training, alone or among several processes.

    Args:
        denoiser: with its first weights, on the CPU or on the device.
        settings: settings of the optimizer.
        world: the processes of the run; DistributedDataParallel copies the model to each.

    Attributes:
        step: optimisation steps done.
        recent_losses: losses of the last steps, newest last.
        model: what the loss is computed with.
        denoiser: the module with the trained weights.
        averaged: the module with their moving average.
        optimizer: AdamW, fused.
    """

    def __init__(self, denoiser: Denoiser, settings: OptimizerSettings, world: World) -> None:
        self.world, self.step, self.recent_losses = world, 0, cast(list[float], [])
        self.denoiser = denoiser.to(world.device)
        self._ema = averaged_copy(self.denoiser, settings.ema_decay)
        self.averaged = cast(Denoiser, self._ema.module)
        self.model: nn.Module = (
            DistributedDataParallel(self.denoiser) if world.world_size > 1 else self.denoiser
        )
        self._trained = {name: p for name, p in self.denoiser.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self._trained.values(), betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )

    @property
    def trains_adapter(self) -> bool:
        """Whether the weights are frozen, and only those of an adapter are trained and kept."""
        return ADAPTER in getattr(self.denoiser, "peft_config", {})

    @contextlib.contextmanager
    def accumulating(self, is_last: bool) -> Iterator[None]:
        """Around forward and backward of a part of the batch; processes exchange gradients with the last."""
        with contextlib.ExitStack() as stack:
            if isinstance(self.model, DistributedDataParallel) and not is_last:
                stack.enter_context(self.model.no_sync())
            yield

    def clip_gradients(self, max_norm: float) -> float:
        """Scale all gradients down to this norm together; returns what it was."""
        return float(torch.nn.utils.clip_grad_norm_(self._trained.values(), max_norm))

    def update(self, learning_rate: float, loss: float) -> None:
        """Take the optimizer's step, move the average, remember the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._ema.update_parameters(self.denoiser)
        self.recent_losses = [*self.recent_losses, loss][-RECENT_LOSSES:]
        self.step += 1

    def save(self, folder: Path, settings: dict[str, Any], keep: int) -> None:
        """Write a checkpoint into `folder`, and beside it what `save_average` does.

        Raises:
            UserError: the folder cannot be written (SystemExit in the other processes).
        """
        modules = self._tensors()
        state = {"recent_losses": self.recent_losses, "optimizer": modules.pop("optimizer")}
        self.world.on_main(lambda: save_checkpoint(folder, self.step, modules, state, settings, keep))
        self.save_average(folder)

    def save_average(self, folder: Path) -> None:
        """Write the averaged model into `folder`/denoiser, or its adapter into `folder`/lora."""
        name = "lora" if self.trains_adapter else "denoiser"

        def write() -> None:
            for stale in folder.glob(f".{name}-*"):  # of a run that was killed
                shutil.rmtree(stale, ignore_errors=True)
            with atomic_folder(folder / name) as new:
                if self.trains_adapter:
                    tensors, adapter_settings = lora_tensors(self.averaged)
                    X2FashionPipeline.save_lora_weights(
                        new, tensors, denoiser_lora_adapter_metadata=adapter_settings
                    )
                else:
                    self.averaged.save_pretrained(new)

        self.world.on_main(write)

    def restore(self, path: Path, settings: dict[str, Any] | None) -> None:
        """Go on from a checkpoint, whichever number of processes wrote it.

        Args:
            path: path of the checkpoint.
            settings: what it must have been saved with; None takes any.

        Raises:
            UserError: it is damaged, of another run, or of another model.
        """
        step, stored, state, stored_settings = load_checkpoint(path)
        holds_adapter = all(".lora_" in name for name in stored.get("raw", {"": None}))
        if holds_adapter != self.trains_adapter:
            what, advice = (
                ("an adapter", "add --lora_rank as in that run")
                if holds_adapter
                else ("a whole model", "leave out --lora_rank")
            )
            raise UserError(f"{path} holds {what}; to go on, {advice}; or give another --output_dir")
        if settings is not None:
            advice = "give the old settings, another --output_dir, or --allow_changed_settings"
            check_settings(path, stored_settings, settings, advice)
        for parameter in self._trained.values():
            moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device)} | moments
        try:
            stored["optimizer"] = state["optimizer"]
            for group, tensors in self._tensors().items():
                _fill(tensors, stored[group])
            self.recent_losses = state["recent_losses"]
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} holds another model: {' '.join(str(error).split())[:300]}") from error
        self.step = step
        self._ema.n_averaged.fill_(self.step)

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a checkpoint holds: trained weights, their average, the optimizer's moments by name."""
        moments = {
            f"{name}.{key}": value
            for name, parameter in self._trained.items()
            for key, value in self.optimizer.state[parameter].items()
        }
        raw, average = self.denoiser.state_dict(), self.averaged.state_dict()
        if self.trains_adapter:
            raw, average = ({name: tensors[name] for name in self._trained} for tensors in (raw, average))
        return {"raw": raw, "ema": average, "optimizer": moments}


def _fill(targets: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Copy stored tensors into those of the model."""
    if targets.keys() != stored.keys():
        differing = sorted(targets.keys() ^ stored.keys())
        raise ValueError(f"{len(differing)} tensors differ, the first: {differing[0]}")
    for name, target in targets.items():
        value = stored[name]
        if value.shape != target.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, must be {tuple(target.shape)}")
        with torch.no_grad():
            target.copy_(value)
