"""A student of few steps learns from a teacher of many: consistency and progressive distillation.

Both speak of predictors of the clean latents and of DDIM steps between them, whatever the networks predict.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from diffusion.guidance import Branch, combine
from diffusion.schedule import make_scheduler
from diffusion.training import StepRandomness

CLEAN = -1
"""The timestep below 0, at which nothing is noised."""

Predictor = Callable[[Tensor, Tensor], Tensor]
"""From noisy latents (b, c, f, h, w) and their timesteps (b,) to clean latents (b, c, f, h, w), float32."""


class DDIM:
    """Steps of DDIM without noise of their own (Song et al., "Denoising Diffusion Implicit Models", 2021).

    Noisy latents are z = alpha x0 + sigma noise, with alpha^2 = `alphas_cumprod` and sigma^2 = 1 - alpha^2;
    at `CLEAN` alpha is 1.

    Args:
        scheduler: whose noise schedule to follow.
        device: of the latents.
    """

    def __init__(self, scheduler: DDPMScheduler, device: torch.device | str = "cpu") -> None:
        alphas_cumprod = scheduler.alphas_cumprod.double()
        self.alphas_cumprod = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod]).to(device)
        self.betas = scheduler.betas.tolist()

    def timesteps(self, num_steps: int) -> Tensor:
        """(num_steps + 1,) long: those at which a sampler of so many steps predicts, noisiest first; `CLEAN`.

        They are spaced as `diffusion.schedule.make_scheduler` spaces them, "trailing".
        """
        sampler = make_scheduler("ddim", betas=self.betas)
        sampler.set_timesteps(num_steps)
        return torch.tensor([*sampler.timesteps.tolist(), CLEAN], device=self.alphas_cumprod.device)

    def scales(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma, each (b, 1, 1, 1, 1) float32."""
        alphas_cumprod = self.alphas_cumprod[timesteps + 1].view(-1, 1, 1, 1, 1)
        return alphas_cumprod.sqrt().float(), (1 - alphas_cumprod).sqrt().float()

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise clean latents."""
        alpha, sigma = self.scales(timesteps)
        return alpha * clean + sigma * noise

    def clean(self, prediction: Tensor, noisy: Tensor, timesteps: Tensor, prediction_type: str) -> Tensor:
        """The clean latents that a prediction means.

        They are the prediction itself ("sample"), (z - sigma epsilon) / alpha ("epsilon") or alpha z - sigma
        v ("v_prediction"; Salimans & Ho, "Progressive Distillation", 2022, appendix D).
        """
        if prediction_type == "sample":
            return prediction
        alpha, sigma = self.scales(timesteps)
        if prediction_type == "v_prediction":
            return alpha * noisy - sigma * prediction
        assert prediction_type == "epsilon"
        return (noisy - sigma * prediction) / alpha

    def step(self, clean: Tensor, noisy: Tensor, timesteps: Tensor, next_timesteps: Tensor) -> Tensor:
        """From noisy latents to less noisy ones, given the predicted clean ones (equation 12, eta 0)."""
        alpha, sigma = self.scales(timesteps)
        next_alpha, next_sigma = self.scales(next_timesteps)
        return next_alpha * clean + next_sigma * (noisy - alpha * clean) / sigma

    def clean_between(
        self, noisy: Tensor, next_noisy: Tensor, timesteps: Tensor, next_timesteps: Tensor
    ) -> Tensor:
        """The clean latents with which one step leads from `noisy` to `next_noisy`, the inverse of `step`.

        Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, equation 8.
        """
        alpha, sigma = self.scales(timesteps)
        next_alpha, next_sigma = self.scales(next_timesteps)
        ratio = next_sigma / sigma
        return (next_noisy - ratio * noisy) / (next_alpha - ratio * alpha)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clips:
    """What a step of distillation learns on."""

    latents: Tensor
    """(b, c, f, h, w), clean."""

    noise: Tensor
    """(b, c, f, h, w)."""

    given: Tensor
    """(b, 1, f, 1, 1) bool, True for frames whose latents are given clean."""

    weight: Tensor
    """Of the loss, (b, 1, f, h, w) or what expands to it."""

    def hold(self, noisy: Tensor) -> Tensor:
        """The same with the given frames clean."""
        return torch.where(self.given, self.latents, noisy)


def make_clips(batch: dict[str, Any], randomness: StepRandomness) -> Clips:
    """Frame 0 is given, except to samples that lose their photo, as in `diffusion.training.diffusion_loss`.

    Args:
        batch: as there.
        randomness: as there.
    """
    latents = batch["latents"]
    given = torch.zeros(latents.shape[0], 1, latents.shape[2], 1, 1, dtype=torch.bool, device=latents.device)
    given[:, :, 0] = ~randomness.drop_image.view(-1, 1, 1, 1)
    weight = batch.get("loss_weight", torch.ones((), device=latents.device))
    return Clips(latents=latents, noise=randomness.noise, given=given, weight=weight)


def condition_inputs(batch: dict[str, Any]) -> dict[str, Any]:
    """What `Denoiser.forward` or `Denoiser.encode_conditions` take of a batch."""
    return {
        "prompt_embeds": batch["prompt_embeds"],
        "reference_latents": batch["latents"][:, :, 0],
        "pose_images": batch["pose_images"],
        "warped_latents": batch.get("warped_latents"),
        "warp_validity": batch.get("warp_validity"),
    }


def make_predictor(
    denoiser: nn.Module,
    inputs: dict[str, Any],
    ddim: DDIM,
    clips: Clips,
    randomness: StepRandomness,
    prediction_type: str,
    branches: Sequence[Branch] = (Branch(image=True, poses=True, text=True, weight=1.0),),
) -> Predictor:
    """Bind a denoiser to the conditions of a batch.

    Args:
        denoiser: a `Denoiser`, or its DistributedDataParallel wrapper.
        inputs: `condition_inputs`, or {"conditions": ...} where they were encoded before.
        ddim: turns what it predicts into clean latents.
        clips: a branch without the photo has frame 0 noised, as in the pipeline.
        randomness: which samples lose which conditions.
        prediction_type: what the denoiser predicts.
        branches: of `diffusion.guidance.guidance_branches`, to predict with guidance.
    """

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        predicted = []
        for branch in branches:
            shown = noisy
            if not branch.image:
                noised = ddim.add_noise(clips.latents, clips.noise, timesteps)
                shown = torch.where(clips.given, noised, noisy)
            output = denoiser(
                shown,
                timesteps,
                **inputs,
                drop_image=randomness.drop_image | (not branch.image),
                drop_poses=randomness.drop_poses | (not branch.poses),
                drop_text=randomness.drop_text | (not branch.text),
            )
            predicted.append(ddim.clean(output.float(), shown, timesteps, prediction_type))
        return combine(torch.cat(predicted), branches)

    return predict


@torch.no_grad()
def sample(predict: Predictor, ddim: DDIM, timesteps: Tensor, clips: Clips) -> Tensor:
    """Sample clips from their noise, frame 0 held where it is given.

    Args:
        predict: the clean latents.
        ddim: takes the steps.
        timesteps: (n + 1,) from `DDIM.timesteps`.
        clips: their noise and what is given.

    Returns:
        (b, c, f, h, w).
    """
    noisy = clips.hold(clips.noise)
    for here, there in itertools.pairwise(timesteps[:, None].expand(-1, len(noisy))):
        noisy = clips.hold(ddim.step(predict(noisy, here), noisy, here, there))
    return noisy


def distance(
    predicted: Tensor, target: Tensor, clips: Clips, huber_c: float = 0.0, temporal_weight: float = 0.0
) -> Tensor:
    """How far predicted clean latents are from their target, over all frames but the given ones.

    Args:
        predicted: (b, c, f, h, w).
        target: the same.
        clips: what is given, and the weight of the rest.
        huber_c: 0 squares the error e; above 0 it is 2 c (sqrt(e^2 + c^2) - c), like e^2 far below c and like
            2 c |e| far above (the pseudo-Huber loss of Song & Dhariwal, "Improved Techniques for Training
            Consistency Models", 2024).
        temporal_weight: weight of the error's change from each frame to the next.

    Returns:
        (b,) float32.
    """

    def penalty(error: Tensor) -> Tensor:
        return 2 * huber_c * ((error**2 + huber_c**2).sqrt() - huber_c) if huber_c else error**2

    error = (predicted - target) * ~clips.given
    costs = penalty(error)
    if temporal_weight:
        costs = costs + temporal_weight * nn.functional.pad(penalty(error.diff(dim=2)), (0, 0, 0, 0, 1, 0))
    weight = (clips.weight * ~clips.given).expand_as(costs)
    return (costs * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)


def consistency_loss(
    student: Predictor,
    average: Predictor,
    teacher: Predictor,
    ddim: DDIM,
    timesteps: Tensor,
    places: Tensor,
    clips: Clips,
    huber_c: float = 0.0,
    temporal_weight: float = 0.0,
) -> Tensor:
    """Latent consistency distillation: all points of a way from noise to data lead to the same end.

    Data are noised to a timestep, and the teacher takes one step from there to the next. What the student
    predicts before it is pulled to what its average predicts after it (Song et al., "Consistency Models",
    2023, algorithm 2; Luo et al., "Latent Consistency Models", 2023, equation 14, whose skipping step k is
    the distance of two `timesteps`). At `CLEAN` the consistency function is the identity: there the target is
    what the teacher reached.

    Args:
        student: what is trained.
        average: the moving average of its weights.
        teacher: whose way it is, with guidance or without.
        ddim: takes the step.
        timesteps: (n + 1,) from `DDIM.timesteps`, of the teacher's steps.
        places: (b,) long in 0..n - 1, where in `timesteps` each sample is.
        clips: to learn on.
        huber_c: see `distance`.
        temporal_weight: see `distance`.

    Returns:
        (b,) float32.
    """
    here, there = timesteps[places], timesteps[places + 1]
    with torch.no_grad():
        noisy = clips.hold(ddim.add_noise(clips.latents, clips.noise, here))
        reached = clips.hold(ddim.step(teacher(noisy, here), noisy, here, there))
        is_clean = (there == CLEAN).view(-1, 1, 1, 1, 1)
        target = torch.where(is_clean, reached, average(reached, there.clamp(min=0)))
    return distance(student(noisy, here), target, clips, huber_c, temporal_weight)


def progressive_loss(
    student: Predictor,
    average: Predictor,
    teacher: Predictor,
    ddim: DDIM,
    timesteps: Tensor,
    places: Tensor,
    clips: Clips,
    huber_c: float = 0.0,
    temporal_weight: float = 0.0,
    *,
    num_student_steps: int,
    exposure_steps: int = 0,
) -> Tensor:
    """Progressive distillation: one step of the student leads where several of the teacher do.

    The student learns at the timesteps of its sampler alone. There the teacher takes its small steps up to
    the student's next timestep; the target is what the student must predict to get there in one (Salimans &
    Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, algorithm 2, for any number of
    small steps). The last `exposure_steps` steps before, the student's average takes itself, so the noisy
    latents are those that sampling shows, errors and all.

    Args:
        student: see `consistency_loss`, like the next six.
        average: as there.
        teacher: as there.
        ddim: as there.
        timesteps: as there.
        places: as there; each learns at the student's timestep at or before it.
        clips: as there.
        huber_c: see `distance`.
        temporal_weight: see `distance`.
        num_student_steps: of the student's sampler; divides the number of the teacher's.
        exposure_steps: 0 only noises data.

    Returns:
        (b,) float32.
    """
    stride = (len(timesteps) - 1) // num_student_steps
    assert stride * num_student_steps == len(timesteps) - 1, (len(timesteps), num_student_steps)
    places = places // stride * stride
    here, there = timesteps[places], timesteps[places + stride]
    with torch.no_grad():
        # A sample that has arrived takes steps of no length until the others have.
        at = (places - stride * exposure_steps).clamp(min=0)
        noisy = clips.hold(ddim.add_noise(clips.latents, clips.noise, timesteps[at]))
        for _ in range(exposure_steps):
            next_at = torch.minimum(at + stride, places)
            clean = average(noisy, timesteps[at])
            noisy = clips.hold(ddim.step(clean, noisy, timesteps[at], timesteps[next_at]))
            at = next_at

        reached = noisy
        for i in range(stride):
            begin, end = timesteps[places + i], timesteps[places + i + 1]
            reached = clips.hold(ddim.step(teacher(reached, begin), reached, begin, end))
        target = ddim.clean_between(noisy, reached, here, there)
    return distance(student(noisy, here), target, clips, huber_c, temporal_weight)
