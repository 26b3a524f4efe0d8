"""What a run reads: its batches, and the clips held out from them."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from data.annotations import Segment, load_annotations
from data.clips import ClipDataset, ClipSampler, collate_clips
from diffusion.text import PromptCache
from diffusion.training import Dropout, StepRandomness, draw_randomness
from training.settings import RunSettings
from utils.distributed import World
from utils.errors import UserError


def held_out_segments(config: RunSettings, num_samples: int = 0) -> list[Segment]:
    """The test split, where validation or sample videos need it; else nothing.

    Args:
        config: settings of the run.
        num_samples: clips to sample, where the script has --sample_steps.

    Raises:
        UserError: the split is missing or is not in order.
    """
    if not num_samples and not (config.validation_steps and config.num_validation_clips):
        return []
    try:
        return load_annotations(config.dataset, "test")
    except UserError as error:
        flags = "--sample_steps 0 --validation_steps 0" if num_samples else "--validation_steps 0"
        raise UserError(f"{error}; or give {flags} to do without held-out clips") from error


def make_batches(
    config: RunSettings, dataset: ClipDataset, first_step: int, world: World
) -> Iterator[dict[str, Any]]:
    """This process's batches from a step on, one for each part of a step.

    Raises:
        UserError: a file of the dataset cannot be read.
    """
    sampler = ClipSampler(
        len(dataset),
        config.train_batch_size,
        config.max_train_steps,
        num_frames=config.num_frames,
        short_frames=config.short_clip_frames,
        short_steps=config.short_clip_steps,
        seed=config.seed,
        first_step=first_step,
        rank=world.rank,
        world_size=world.world_size,
        accumulation=config.gradient_accumulation_steps,
    )
    has_gpu = world.device.type == "cuda"
    num_workers = (4 if has_gpu else 0) if config.num_workers is None else config.num_workers
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate_clips,
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        pin_memory=has_gpu,
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    try:
        yield from loader
    except UserError as error:  # from a worker process it comes with the worker's traceback in its message
        raise UserError(str(error).strip().split("UserError: ")[-1]) from None


def prepare_batch(
    batch: dict[str, Any],
    prompts: PromptCache,
    device: torch.device,
    *,
    num_timesteps: int,
    dropout: Dropout,
    timestep_shift: float = 1.0,
    shared_noise: float = 0.0,
) -> tuple[dict[str, Any], StepRandomness]:
    """A batch with its sentences embedded, and everything random in its step, both on the device.

    Args:
        batch: batch of `collate_clips`.
        prompts: embeds the sentences.
        device: where the loss is computed.
        num_timesteps: number of timesteps of the noise schedule.
        dropout: dropout probabilities of the conditions.
        timestep_shift: see `diffusion.training.draw_randomness`.
        shared_noise: see `diffusion.training.draw_randomness`.
    """
    batch = batch | {"prompt_embeds": prompts(batch["text"])}
    randomness = draw_randomness(
        batch["seed"], batch["latents"].shape, num_timesteps, dropout, timestep_shift, shared_noise
    )
    on_device = {
        key: value.to(device, non_blocking=True) if torch.is_tensor(value) else value
        for key, value in batch.items()
    }
    return on_device, randomness.to(device)


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Stay out of the trainer's process group, to which torchrun sends SIGTERM: its last step needs batches.

    A worker whose trainer is gone ends by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
