"""The denoising loop: noise to latents, step by step, guided by the conditions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.utils.torch_utils import randn_tensor

from diffusion.guidance import Branch, combine
from diffusion.inputs import resize_clip
from diffusion.latents import mix_noise
from diffusion.schedule import step_options
from diffusion.warped_photo import WarpedPhoto, encode_warped_photo
from models import Conditions
from utils.errors import UserError

if TYPE_CHECKING:
    from diffusion.pipeline import X2FashionPipeline

Generators = torch.Generator | list[torch.Generator] | None
"""On the CPU, the same seed gives the same noise on every device; a list has one for each clip."""
StepFunction: TypeAlias = (
    Callable[[Any, int, torch.Tensor, dict], dict] | PipelineCallback | MultiPipelineCallbacks | None
)


@dataclasses.dataclass(frozen=True)
class StepCallback:
    """What is called after each step, and the names of the tensors that it is given.

    A `PipelineCallback` of diffusers says itself what it is given.
    """

    function: StepFunction = None
    tensor_inputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.function, PipelineCallback | MultiPipelineCallbacks):
            object.__setattr__(self, "tensor_inputs", self.function.tensor_inputs)
        elif isinstance(self.tensor_inputs, str):
            object.__setattr__(self, "tensor_inputs", [self.tensor_inputs])

    def __call__(
        self,
        pipeline: "X2FashionPipeline",
        step: int,
        timestep: torch.Tensor,
        tensors: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Call it; returns the latents that it wants, or those given."""
        latents = tensors["latents"]
        if self.function is None:
            return latents
        chosen = {name: tensors[name] for name in self.tensor_inputs}
        return (self.function(pipeline, step, timestep, chosen) or {}).get("latents", latents)


def draw_latents(
    pipeline: "X2FashionPipeline",
    reference_latents: torch.Tensor,
    num_frames: int,
    generator: Generators = None,
    latents: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the initial noise, or take the caller's.

    Args:
        pipeline: its scheduler and the denoiser's settings are used.
        reference_latents: (b, c, h, w), the encoded photo.
        num_frames: f.
        generator: source of the noise.
        latents: (b, c, f, h, w) standard normal noise to use in place of a draw.

    Returns:
        The noisy latents (b, c, f, h, w) in float32, scaled as the scheduler wants them, with the photo in
        place at frame 0; and the noise of frame 0 (b, c, h, w), for branches that do not see the photo.

    Raises:
        UserError: `latents` of another shape.
    """
    batch, channels, height, width = reference_latents.shape
    latents = None if latents is None else torch.as_tensor(latents)
    shape = (batch, channels, num_frames, height, width)
    if latents is None:
        noise = randn_tensor(shape, generator, reference_latents.device, torch.float32)
        if share := pipeline.denoiser.config.shared_noise:
            one_frame = (*shape[:2], 1, *shape[3:])
            common = randn_tensor(one_frame, generator, reference_latents.device, torch.float32)
            noise = mix_noise(noise, common, share)
    elif latents.shape != shape:
        raise UserError(f"latents have shape {tuple(latents.shape)}; this call needs {shape}")
    else:
        noise = latents.to(reference_latents.device, torch.float32)
    scaled = noise * pipeline.scheduler.init_noise_sigma
    return _with_first_frame(scaled, reference_latents), noise[:, :, 0]


def encode_conditions(
    pipeline: "X2FashionPipeline",
    reference_latents: torch.Tensor,
    prompt_embeds: torch.Tensor | None,
    pose_images: torch.Tensor | None,
    warped: WarpedPhoto | None,
) -> Conditions:
    """What the denoiser is told in every step, encoded once; see `X2FashionPipeline.generate_latents`."""
    inputs = {"reference_latents": reference_latents}
    if pose_images is not None:
        height, width = (pipeline.denoiser.pose_scale * side for side in reference_latents.shape[-2:])
        inputs["pose_images"] = resize_clip(pose_images, height, width)
    if warped is not None and pipeline.denoiser.config.warp_input:
        inputs["warped_latents"], inputs["warp_validity"] = encode_warped_photo(
            pipeline.vae, warped, pipeline._execution_device
        )
    if prompt_embeds is not None:
        inputs["prompt_embeds"] = prompt_embeds
    device, dtype = pipeline._execution_device, pipeline.denoiser.dtype
    return pipeline.denoiser.encode_conditions(
        **{name: value.to(device, dtype) for name, value in inputs.items()}
    )


def denoise(
    pipeline: "X2FashionPipeline",
    conditions: Conditions,
    branches: Sequence[Branch],
    num_inference_steps: int,
    reference_latents: torch.Tensor,
    num_frames: int,
    generator: Generators,
    latents: torch.Tensor | None,
    callback: StepCallback,
) -> torch.Tensor:
    """Run the loop; frame 0 of the latents is the photo at all times.

    Args:
        pipeline: its denoiser, scheduler, progress bar and `interrupt` are used.
        conditions: of the batch, encoded.
        branches: the predictions that guidance combines.
        num_inference_steps: steps of the scheduler.
        reference_latents: (b, c, h, w), the photo.
        num_frames: f.
        generator: source of the noise.
        latents: (b, c, f, h, w) noise to start from in place of a draw.
        callback: called after each step.

    Returns:
        (b, c, f, h, w) float32.
    """
    device, dtype = pipeline._execution_device, pipeline.denoiser.dtype
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(num_inference_steps, device=device)
    latents, first_noise = pipeline.prepare_latents(reference_latents, num_frames, generator, latents)
    options = step_options(scheduler, generator)
    pipeline._num_timesteps, pipeline._interrupt = len(scheduler.timesteps), False
    conditions = _branch_conditions(conditions, branches, len(reference_latents), device)

    with pipeline.progress_bar(total=pipeline.num_timesteps) as progress:
        for step, timestep in enumerate(scheduler.timesteps):
            if pipeline.interrupt:
                break
            noisy = _model_input(scheduler, latents, reference_latents, first_noise, branches, timestep)
            prediction = pipeline.denoiser(noisy.to(dtype), timestep, conditions=conditions)
            prediction = combine(prediction.float(), branches)
            latents = scheduler.step(prediction, timestep, latents, **options, return_dict=False)[0]
            latents = _with_first_frame(latents, reference_latents)
            tensors = {"latents": latents, "reference_latents": reference_latents, "prediction": prediction}
            latents = callback(pipeline, step, timestep, tensors)
            progress.update()
    return latents


def _branch_conditions(
    conditions: Conditions, branches: Sequence[Branch], batch: int, device: torch.device
) -> Conditions:
    """Copy the conditions for each branch, without those that the branch leaves out; branch by branch."""

    def mask(drop: bool) -> torch.Tensor:
        return torch.full((batch,), drop, device=device)

    dropped = [
        conditions
        if branch.image and branch.poses and branch.text
        else conditions.drop(
            image=mask(not branch.image), poses=mask(not branch.poses), text=mask(not branch.text)
        )
        for branch in branches
    ]
    return dropped[0] if len(dropped) == 1 else Conditions.cat(dropped)


def _model_input(
    scheduler: Any,
    latents: torch.Tensor,
    reference_latents: torch.Tensor,
    first_noise: torch.Tensor,
    branches: Sequence[Branch],
    timestep: torch.Tensor,
) -> torch.Tensor:
    """Scale the latents for the denoiser; frame 0 is the photo, noised where a branch must not see it."""
    scaled = scheduler.scale_model_input(latents, timestep)
    inputs = []
    for branch in branches:
        first = reference_latents
        if not branch.image:
            first = scheduler.add_noise(first, first_noise, timestep.expand(len(first)))
            first = scheduler.scale_model_input(first, timestep)
        inputs.append(_with_first_frame(scaled, first))
    return torch.cat(inputs)


def _with_first_frame(latents: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    return torch.cat([first.unsqueeze(2), latents[:, :, 1:]], dim=2)
