"""Everything a run changes as it goes: weights, their average, the optimizer, the recent losses."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from models import Denoiser
from training.averaging import averaged_copy
from utils.checkpoint import (
    STATE,
    begin_checkpoint,
    check_settings,
    finish_checkpoint,
    read_manifest,
    read_state,
    save_checkpoint,
    temporary_path,
)
from utils.distributed import World
from utils.errors import UserError
from utils.files import atomic_folder

PARALLEL = ("ddp", "fsdp")
SHARDED = "sharded"  # the folder of a checkpoint that torch.distributed.checkpoint wrote
MOMENTS = ("exp_avg", "exp_avg_sq")
RECENT_LOSSES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Of AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019) and of the average."""

    weight_decay: float
    ema_decay: float
    ema_grows: bool = True
    """Whether the average's decay grows to `ema_decay`, see `training.averaging`."""
    betas: tuple[float, float] = (0.9, 0.99)


class TrainingState:
    """A denoiser in training, alone or among several processes.

    Args:
        denoiser: with its first weights, on the CPU or on the device.
        settings: of the optimizer.
        world: the processes of the run.
        parallel: how several processes share the work: "ddp" copies the model to each
            (DistributedDataParallel), "fsdp" keeps a part of weights, gradients, moments and average in each
            (FSDP2's `fully_shard`).

    Attributes:
        step: optimisation steps done.
        recent_losses: of the last steps, newest last.
        model: what the loss is computed with.
        denoiser: the module with the trained weights.
        averaged: the module with their moving average; under FSDP all processes must call it together.
        optimizer: AdamW, fused.
    """

    def __init__(self, denoiser: Denoiser, settings: OptimizerSettings, world: World, parallel: str) -> None:
        self.world, self.step, self.recent_losses = world, 0, cast(list[float], [])
        self.denoiser = denoiser.to(world.device)
        self._ema = averaged_copy(self.denoiser, settings.ema_decay, settings.ema_grows)
        self.averaged = cast(Denoiser, self._ema.module)
        self.is_sharded = parallel == "fsdp" and world.world_size > 1
        self.model: nn.Module = self.denoiser
        self._whole: Denoiser | None = None
        if self.is_sharded:
            _shard(self.denoiser)
            _shard(self.averaged)
        elif world.world_size > 1:
            self.model = DistributedDataParallel(self.denoiser)
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )

    @contextlib.contextmanager
    def accumulating(self, is_last: bool) -> Iterator[None]:
        """Around forward and backward of a part of the batch; processes exchange gradients with the last."""
        if self.is_sharded:
            cast(Any, self.denoiser).set_requires_gradient_sync(is_last)
        with contextlib.ExitStack() as stack:
            if isinstance(self.model, DistributedDataParallel) and not is_last:
                stack.enter_context(self.model.no_sync())
            yield

    def clip_gradients(self, max_norm: float) -> float:
        """Scale all gradients down to this norm together; returns what it was."""
        norm = torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), max_norm)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def update(self, learning_rate: float, loss: float) -> None:
        """Take the optimizer's step, move the average, remember the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._ema.update_parameters(self.denoiser)
        self.recent_losses = [*self.recent_losses, loss][-RECENT_LOSSES:]
        self.step += 1

    def whole_average(self) -> Denoiser | None:
        """The averaged model as one module that the main process may use by itself; None in the others.

        Under FSDP all processes must ask for it.
        """
        if not self.is_sharded:
            return self.averaged if self.world.is_main else None
        tensors = {
            name: value.full_tensor().cpu() if isinstance(value, DTensor) else value.cpu()
            for name, value in self.averaged.state_dict().items()
        }
        if not self.world.is_main:
            return None
        if self._whole is None:
            whole = cast(Denoiser, Denoiser.from_config(self.averaged.config))
            self._whole = whole.to(self.world.device).eval().requires_grad_(False)
        self._whole.load_state_dict(tensors)
        return self._whole

    def save(self, folder: Path, settings: dict[str, Any], keep: int) -> None:
        """Write a checkpoint into `folder`, and the averaged model into `folder`/denoiser.

        Raises:
            UserError: the folder cannot be written (SystemExit in the other processes).
        """
        state: dict[str, Any] = {"recent_losses": self.recent_losses}
        if self.is_sharded:
            temporary = temporary_path(folder, self.step)
            self.world.on_main(lambda: torch.save(state, begin_checkpoint(folder, self.step) / STATE))
            writer = HuggingFaceStorageWriter(str(temporary / SHARDED), save_distributed=True)
            try:
                dcp.save(self._flat_tensors(), storage_writer=writer, process_group=self.world.patient)
            except dcp.CheckpointException as error:
                reason = next(iter(error.failures.values()))[0]
                raise UserError(
                    f"cannot write the checkpoint {temporary}: {reason}; the earlier ones are untouched"
                ) from error
            self.world.on_main(lambda: finish_checkpoint(temporary, self.step, settings, keep))
        else:
            modules = self._tensors()
            state["optimizer"] = modules.pop("optimizer")
            self.world.on_main(lambda: save_checkpoint(folder, self.step, modules, state, settings, keep))
        self.save_average(folder)

    def save_average(self, folder: Path) -> None:
        """Write the averaged model into `folder`/denoiser, where inference.py finds it."""
        averaged = self.whole_average()

        def write() -> None:
            assert averaged is not None
            for stale in folder.glob(".denoiser-*"):  # of a run that was killed
                shutil.rmtree(stale, ignore_errors=True)
            with atomic_folder(folder / "denoiser") as new:
                averaged.save_pretrained(new)

        self.world.on_main(write)

    def restore(self, path: Path, settings: dict[str, Any] | None) -> None:
        """Go on from a checkpoint, whichever number of processes wrote it, and however they shared the work.

        Args:
            path: of the checkpoint.
            settings: what it must have been saved with; None takes any.

        Raises:
            UserError: it is damaged, of another run, or of another model.
        """
        manifest = read_manifest(path)
        if settings is not None:
            advice = "give the old settings, another --output_dir, or --allow_changed_settings"
            check_settings(path, manifest["settings"], settings, advice)
        for parameter in self.denoiser.parameters():
            moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device)} | moments
        try:
            state = read_state(path)
            if (path / SHARDED).is_dir():
                reader = HuggingFaceStorageReader(str(path / SHARDED))
                dcp.load(self._flat_tensors(), storage_reader=reader, no_dist=self.world.world_size == 1)
            else:
                stored = {name: load_file(path / f"{name}.safetensors") for name in ("raw", "ema")}
                stored["optimizer"] = state["optimizer"]
                for group, tensors in self._tensors().items():
                    _fill(tensors, stored[group])
            self.recent_losses = state["recent_losses"]
        except (KeyError, RuntimeError, ValueError, OSError, dcp.CheckpointException) as error:
            raise UserError(f"{path} holds another model: {' '.join(str(error).split())[:300]}") from error
        self.step = manifest["step"]
        self._ema.n_averaged.fill_(self.step)

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a checkpoint holds: trained weights, their average, the optimizer's moments by name."""
        moments = {
            f"{name}.{key}": value
            for name, parameter in self.denoiser.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }
        return {
            "raw": self.denoiser.state_dict(),
            "ema": self.averaged.state_dict(),
            "optimizer": moments,
        }

    def _flat_tensors(self) -> dict[str, Tensor]:
        return {f"{group}.{name}": t for group, named in self._tensors().items() for name, t in named.items()}


def _shard(denoiser: Denoiser) -> None:
    for network in (denoiser.unet, denoiser.appearance_encoder, denoiser.pose_encoder):
        fully_shard(network)
    register_fsdp_forward_method(denoiser.unet, "encode_text")
    fully_shard(denoiser)


def _fill(targets: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Copy stored tensors into those of the model, which may hold only this process's part."""
    if targets.keys() != stored.keys():
        differing = sorted(targets.keys() ^ stored.keys())
        raise KeyError(f"{len(differing)} tensors differ, the first: {differing[0]}")
    for name, target in targets.items():
        value = stored[name]
        if value.shape != target.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, must be {tuple(target.shape)}")
        with torch.no_grad():
            if isinstance(target, DTensor):
                value = distribute_tensor(
                    value.to(target.device), target.device_mesh, target.placements, src_data_rank=None
                )
            target.copy_(value)
