"""What one training step computes: noise, dropout, prediction, loss."""

import dataclasses
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import nn

from diffusion.latents import mix_noise
from utils.devices import Tensors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropout:
    """Probability that a sample loses a condition; each is drawn by itself, so each can be guided."""

    image: float = 0.1
    poses: float = 0.1
    text: float = 0.1


@dataclasses.dataclass(frozen=True)
class StepRandomness(Tensors):
    """Everything random in a step; a pure function of the samples' seeds."""

    timesteps: torch.Tensor
    noise: torch.Tensor
    drop_image: torch.Tensor
    drop_poses: torch.Tensor
    drop_text: torch.Tensor


def draw_randomness(
    seeds: list[int],
    shape: torch.Size,
    num_timesteps: int,
    dropout: Dropout,
    timestep_shift: float = 1.0,
    shared_noise: float = 0.0,
) -> StepRandomness:
    """Draw timesteps (b,), noise (`shape`) and dropout masks (b,) on the CPU, each sample by its own seed.

    Timesteps are uniform; a `timestep_shift` s above 1 draws noisy ones more: t' = s t / (1 + (s - 1) t)
    for t in 0..1 (Esser et al., "Scaling Rectified Flow Transformers", 2024, equation 23). `shared_noise` is
    the share of the noise that the frames have in common, see `diffusion.latents.mix_noise`.
    """
    timesteps, noise, drops = [], [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        timesteps.append(torch.randint(num_timesteps, (), generator=generator))
        noise.append(torch.randn(shape[1:], generator=generator))
        drops.append(
            torch.rand(3, generator=generator) < torch.tensor([dropout.image, dropout.poses, dropout.text])
        )
        if shared_noise:
            common = torch.randn(shape[1], 1, *shape[3:], generator=generator)
            noise[-1] = mix_noise(noise[-1], common, shared_noise)
    image, poses, text = torch.stack(drops).unbind(1)
    uniform = (torch.stack(timesteps).double() + 0.5) / num_timesteps
    shifted = timestep_shift * uniform / (1 + (timestep_shift - 1) * uniform)
    return StepRandomness((shifted * num_timesteps).long(), torch.stack(noise), image, poses, text)


def diffusion_loss(
    denoiser: nn.Module,
    scheduler: DDPMScheduler,
    batch: dict[str, Any],
    randomness: StepRandomness,
    prediction_type: str,
    temporal_weight: float = 0.0,
) -> torch.Tensor:
    """Mean squared error of the prediction over all frames but the given one, for each sample.

    Frame 0 is the reference: its clean latent is in place and it has no target, as in the published training.
    A sample that loses its image has frame 0 noised like the others, and it counts.

    Args:
        denoiser: a `Denoiser`, or its DistributedDataParallel wrapper.
        scheduler: noises the latents.
        batch: latents (b, c, f, h, w), pose_images, prompt_embeds (b, n, d), and, where the model takes them,
            warped_latents and warp_validity; optionally loss_weight (b, 1, f, h, w); on the model's device.
        randomness: what `draw_randomness` returned, on the model's device.
        prediction_type: "epsilon" (Ho et al. 2020), "v_prediction" (Salimans & Ho 2022) or "sample" (x0).
        temporal_weight: weight of the squared change of the error from each frame to the next, which is what
            is seen as flicker.

    Returns:
        (b,) float32.
    """
    latents, timesteps, noise = batch["latents"], randomness.timesteps, randomness.noise
    noisy_latents = scheduler.add_noise(latents, noise, timesteps)
    given = torch.zeros(latents.shape[0], latents.shape[2], dtype=torch.bool, device=latents.device)
    given[:, 0] = ~randomness.drop_image
    given = given[:, None, :, None, None]
    noisy_latents = torch.where(given, latents, noisy_latents)

    prediction = denoiser(
        noisy_latents,
        timesteps,
        prompt_embeds=batch["prompt_embeds"],
        reference_latents=latents[:, :, 0],
        pose_images=batch["pose_images"],
        warped_latents=batch.get("warped_latents"),
        warp_validity=batch.get("warp_validity"),
        drop_image=randomness.drop_image,
        drop_poses=randomness.drop_poses,
        drop_text=randomness.drop_text,
    )
    if prediction_type == "sample":
        target = latents
    elif prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        assert prediction_type == "epsilon"
        target = noise
    error = (prediction.float() - target) * ~given
    weight = (~given).float()
    if "loss_weight" in batch:
        weight = weight * batch["loss_weight"]
    weight = weight.expand_as(target)
    squared = error**2
    if temporal_weight:
        squared[:, :, 1:] += temporal_weight * error.diff(dim=2) ** 2
    return (squared * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
