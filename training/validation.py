"""The loss on held-out clips, always with the same noise: a curve that shows overfitting."""

import math
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import nn

from data.annotations import Segment
from data.clips import ClipDataset, ClipRequest, collate_clips, sample_seed
from diffusion.text import PromptCache
from diffusion.training import Dropout, diffusion_loss
from training.data import prepare_batch
from training.settings import RunSettings
from utils.distributed import World
from utils.errors import UserError
from utils.precision import autocast

VALIDATION_SEED = 20_240_229
NO_DROPOUT = Dropout(image=0, poses=0, text=0)


class Validation:
    """Held-out clips, each with one noise and one timestep; the timesteps are spread over all noise levels.

    Args:
        dataset: dataset of the held-out split; its first clips are used, one of each segment.
        num_clips: at most so many.
        world: the clips are dealt out among its processes.
        dtype: precision, as in training.
    """

    def __init__(self, dataset: ClipDataset, num_clips: int, world: World, dtype: str) -> None:
        self.dataset, self.world, self.dtype = dataset, world, dtype
        self.num_clips = min(num_clips, len(dataset))

    @torch.no_grad()
    def loss(
        self,
        denoiser: nn.Module,
        scheduler: DDPMScheduler,
        prompts: PromptCache,
        prediction_type: str,
        shared_noise: float,
    ) -> float:
        """Mean loss over the clips, the same for any number of processes.

        Args:
            denoiser: the averaged model.
            scheduler: noises the latents.
            prompts: embeds the sentences.
            prediction_type: what the denoiser predicts.
            shared_noise: see `diffusion.training.draw_randomness`.
        """
        device, losses = self.world.device, torch.zeros(self.num_clips, dtype=torch.float64)
        for turn in range(math.ceil(self.num_clips / self.world.world_size)):
            index = turn * self.world.world_size + self.world.rank
            # Where the clips run out a process computes the last one again, and leaves it out of the sum.
            place = min(index, self.num_clips - 1)
            num_timesteps = scheduler.config.num_train_timesteps
            batch, randomness = prepare_batch(
                self._batch(place),
                prompts,
                device,
                num_timesteps=num_timesteps,
                dropout=NO_DROPOUT,
                shared_noise=shared_noise,
            )
            randomness.timesteps.fill_(int((place + 0.5) / self.num_clips * num_timesteps))
            with autocast(self.dtype, device):
                loss = diffusion_loss(denoiser, scheduler, batch, randomness, prediction_type)
            if index < self.num_clips:
                losses[index] = loss.item()
        return self.world.sum(losses).mean().item()

    def _batch(self, index: int) -> dict[str, Any]:
        request = ClipRequest(
            segment=index,
            num_frames=self.dataset.num_frames,
            consecutive=True,
            seed=sample_seed(VALIDATION_SEED, 0, index),
        )
        return collate_clips([self.dataset[request]])


def make_validation(
    config: RunSettings, held_out: list[Segment], use_warps: bool, world: World
) -> Validation | None:
    """The validation that the settings ask for, or None.

    Raises:
        UserError: the held-out clips were not projected, or are too short.
    """
    if not (config.validation_steps and config.num_validation_clips):
        return None
    try:
        dataset = ClipDataset(config.dataset, config.latents, held_out, config.num_frames, use_warps)
    except UserError as error:
        raise UserError(f"{error}; or give --validation_steps 0 to do without") from error
    return Validation(dataset, config.num_validation_clips, world, config.dtype)
