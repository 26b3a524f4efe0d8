"""The published noise schedule, and diffusers' schedulers set up to follow it."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from diffusion.inputs import check_count
from utils.errors import UserError


class Sampler(NamedTuple):
    """A scheduler class and the options that make it follow our schedule.

    Latents are not confined to [-1, 1]: where a class clips its estimate of the clean sample by default, that
    is switched off.
    """

    scheduler_class: type[SchedulerMixin]
    options: Mapping[str, Any]


SAMPLERS: dict[str, Sampler] = {
    # Ho et al., "Denoising Diffusion Probabilistic Models", 2020; over all 1000 steps, the published
    # procedure.
    "ddpm": Sampler(DDPMScheduler, {"clip_sample": False, "variance_type": "fixed_small"}),
    "ddim": Sampler(DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": True}),
    "dpmsolver++": Sampler(DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": Sampler(UniPCMultistepScheduler, {"solver_order": 2}),
    "euler": Sampler(EulerDiscreteScheduler, {}),
}
DEFAULT_SAMPLER = "dpmsolver++"


def published_betas(num_steps: int = 1000) -> np.ndarray:
    """Variances of the noise that each step adds: half a cosine from 1e-4 up to 0.02.

    beta_i = 1e-4 + (0.02 - 1e-4) / 2 * (1 + cos(pi * u)), with u = (num_steps - 1 - i) / (num_steps - 1).

    Args:
        num_steps: number of steps, at least 2.

    Returns:
        (num_steps,) float64, rising.
    """
    assert num_steps >= 2, num_steps
    u = np.arange(num_steps - 1, -1, -1) / (num_steps - 1)
    return 1e-4 + 0.5 * (0.02 - 1e-4) * (1 + np.cos(np.pi * u))


def make_scheduler(
    sampler: str = DEFAULT_SAMPLER,
    prediction_type: str = "epsilon",
    betas: np.ndarray | list[float] | None = None,
) -> SchedulerMixin:
    """Build a scheduler for a denoiser of ours.

    Steps are spaced "trailing": the first one is the noisiest, however few they are (Lin et al., "Common
    Diffusion Noise Schedules and Sample Steps are Flawed", 2023).

    Args:
        sampler: a name in `SAMPLERS`.
        prediction_type: what the denoiser predicts: "epsilon", "v_prediction" or "sample".
        betas: the schedule it was trained with; the published one if None.

    Raises:
        UserError: an unknown name.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"there is no scheduler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    scheduler_class, options = SAMPLERS[sampler]
    betas = np.asarray(published_betas() if betas is None else betas)
    common = {
        "num_train_timesteps": len(betas),
        "trained_betas": betas.tolist(),
        "prediction_type": prediction_type,
        "timestep_spacing": "trailing",
    }
    return scheduler_class.from_config({**common, **options})


def check_scheduler(scheduler: SchedulerMixin, prediction_type: str, num_inference_steps: int) -> None:
    """Refuse a scheduler that cannot sample a denoiser of this prediction type in this number of steps.

    Raises:
        UserError: it is set to another prediction type, or cannot take this one, or so many steps.
    """
    name = type(scheduler).__name__
    if not hasattr(scheduler, "alphas_cumprod"):
        raise UserError(
            f"the {name} does not follow the noise levels that the denoiser was trained on (no betas); "
            f"make one with diffusion.schedule.make_scheduler: {', '.join(SAMPLERS)}"
        )
    given = scheduler.config.get("prediction_type")
    if given != prediction_type:
        raise UserError(
            f"the denoiser predicts {prediction_type!r}, but the {name} is set to {given!r}; "
            f"make it with prediction_type={prediction_type!r}"
        )
    check_count("num_inference_steps", num_inference_steps)
    num_train_timesteps = scheduler.config.num_train_timesteps
    if num_inference_steps > num_train_timesteps:
        raise UserError(
            f"num_inference_steps is {num_inference_steps}; the model was trained on {num_train_timesteps} "
            "noise levels, it can be at most that"
        )
    # Most schedulers tell what they cannot take only while stepping: step another before anything costly.
    # Made anew, because one that has sampled on a GPU keeps tensors there.
    trial, nothing = type(scheduler).from_config(scheduler.config), torch.zeros(1, 1, 1, 1, 1)
    try:
        trial.set_timesteps(num_inference_steps)
        trial.scale_model_input(nothing, trial.timesteps[0])
        trial.step(nothing, trial.timesteps[0], nothing, **step_options(trial, torch.Generator()))
    except (ValueError, NotImplementedError) as error:
        raise UserError(
            f"the {name} cannot take {num_inference_steps} steps with prediction_type {prediction_type!r} "
            f"({' '.join(str(error).split())}); choose another scheduler or number of steps"
        ) from error


def step_options(scheduler: SchedulerMixin, generator: Any) -> dict[str, Any]:
    """Keyword arguments for ``scheduler.step``: the generator, where this scheduler draws noise."""
    return {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
