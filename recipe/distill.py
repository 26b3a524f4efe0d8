"""Train a student that samples in few steps on what a trained denoiser does in many.

Try it:

    python -m recipe.distill --max_train_steps 20 --output_dir runs/student
    torchrun --nproc_per_node 2 -m recipe.distill --teacher DENOISER_DIR --dataset DATA --latents LATENTS

Run train.py first. The same command again goes on where the last checkpoint stands. checkpoint/denoiser is
the student: python inference.py --pretrained_model checkpoint/denoiser --scheduler ddim.
"""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch

from data.annotations import load_annotations
from data.clips import ClipDataset, ClipRequest, collate_clips, sample_seed
from diffusion.distillation import (
    DDIM,
    Clips,
    Predictor,
    condition_inputs,
    consistency_loss,
    make_clips,
    make_predictor,
    progressive_loss,
    sample,
)
from diffusion.guidance import Branch, guidance_branches
from diffusion.schedule import make_scheduler
from diffusion.text import PromptCache, load_text_encoder
from diffusion.training import Dropout, StepRandomness
from models import Denoiser
from models.loading import model_sha256
from training.data import held_out_segments, make_batches, prepare_batch
from training.denoiser import load_fitting_denoiser
from training.interrupts import Interrupts
from training.loop import LossTotals, learning_rate_at, stop_if_diverged
from training.settings import RunSettings, check_run_settings, fixed_settings
from training.state import OptimizerSettings, TrainingState
from training.tracker import StepLog, open_tracker
from training.validation import NO_DROPOUT, VALIDATION_SEED, make_validation
from utils.checkpoint import list_checkpoints
from utils.config import check_minimum, run_script, save_config
from utils.distributed import World, distributed_world
from utils.errors import UserError
from utils.files import locked_folder
from utils.precision import autocast

# What a resumed run must agree on, besides its teacher and what the package `training` says.
FIXED_SETTINGS = (
    "method", "student_steps", "teacher_steps", "exposure_steps", "image_guidance_scale",
    "pose_guidance_scale", "text_guidance_scale", "huber_c",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """What the student learns, and from whom."""

    teacher: Path = Path("pretrained_model/x2fashion-small/denoiser")
    """The trained denoiser: a folder (train.py's checkpoint/denoiser) or a published .pth. The student begins
    with its weights and keeps its prediction type and shared noise."""
    method: Literal["consistency", "progressive"] = "progressive"
    """progressive: one step of the student leads where several of the teacher do, at exactly the timesteps
    of its sampler. consistency: all points of the teacher's way are pulled to one end, so that a student may
    be sampled in any number of steps that divides --teacher_steps, down to one."""
    student_steps: int = 4
    """Steps that the student is to be sampled in, with --scheduler ddim."""
    teacher_steps: int = 16
    """Steps of the teacher from noise to data, a multiple of --student_steps. More are nearer to the true
    way; progressive pays for them: each step of training takes teacher_steps / student_steps of them."""
    exposure_steps: int | None = None
    """Steps, 0 to student_steps - 1, that the student takes before the one it learns: it learns on its own
    latents, as sampling shows them, instead of on noised data. Each costs a prediction. For progressive
    only, 1 by default."""
    image_guidance_scale: float = 1.0
    """The teacher's guidance by the photo, which the student learns to do without. 1 is none and costs
    nothing; another value costs two more predictions in each of the teacher's steps."""
    pose_guidance_scale: float = 1.0
    """The teacher's guidance by the poses; a value other than 1 costs two more predictions as well."""
    text_guidance_scale: float = 1.0
    """The teacher's guidance by the sentence; a value other than 1 costs one more prediction."""
    huber_c: float = 0.0
    """0 squares the errors of latents (whose deviation is 1); above 0, those much larger than it count
    linearly, so that a few cannot lead."""


# The command line begins with the settings of the last base.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunSettings, StudentSettings):
    """Settings of a distillation; those without a help text have that of `RunSettings`."""

    dataset: Path = Path("fashion_dataset")
    """Dataset folder: fashion_poses and train/*.txt are read, test/*.txt for the validation."""
    output_dir: Path = Path("distilled")
    max_train_steps: int = 2000
    learning_rate: float = 1e-4
    """Peak of AdamW's learning rate; the student begins trained, so it is less than train.py's."""
    warmup_steps: int = 50
    weight_decay: float = 0.0
    ema_decay: float = 0.99
    """Decay a step of the moving average of the weights: it is what is sampled, what a consistent student
    is pulled to, and what takes the exposure's steps."""
    drop_image: float = 0.05
    """Probability that a sample loses the photo (and the warp), for student and teacher alike, so that the
    student can still be guided; each condition is dropped by itself."""
    drop_poses: float = 0.05
    seed: int = 0
    """Data order, timesteps, noise and dropout follow from it."""
    validation_steps: int = 500
    """Sample held-out clips every so many steps, before the first and at the end, and compare them with the
    teacher's; 0 for never."""
    num_validation_clips: int = 4
    allow_changed_settings: bool = False
    """Resume although settings, data or teacher differ from the checkpoint's."""


def check_config(config: Config, world: World) -> None:
    """Refuse settings that cannot work, before anything is read or written.

    Raises:
        UserError: names the flag.
    """
    check_run_settings(config, world)
    check_minimum(config, 1, "student_steps")
    check_minimum(config, 0, "huber_c")
    num_timesteps = make_scheduler().config.num_train_timesteps
    if config.teacher_steps % config.student_steps or not (
        config.student_steps <= config.teacher_steps <= num_timesteps
    ):
        raise UserError(
            f"--teacher_steps {config.teacher_steps} must be a multiple of --student_steps "
            f"{config.student_steps}, at most {num_timesteps}"
        )
    if config.exposure_steps is not None and config.method != "progressive":
        raise UserError("--exposure_steps is for --method progressive; leave it out")
    if not 0 <= exposure_steps(config) < config.student_steps:
        raise UserError(
            f"--exposure_steps {config.exposure_steps} must be 0 to {config.student_steps - 1}, below "
            "--student_steps"
        )


def exposure_steps(config: Config) -> int:
    """What --exposure_steps means where it was left out."""
    return min(1, config.student_steps - 1) if config.exposure_steps is None else config.exposure_steps


class Distillation:
    """The loss of a batch, and how far the student's samples are from the teacher's.

    Args:
        config: method, steps, weights.
        teacher: frozen.
        prompts: embeds the sentences.
        device: where all is computed.
    """

    def __init__(self, config: Config, teacher: Denoiser, prompts: PromptCache, device: torch.device) -> None:
        self.config, self.teacher, self.prompts, self.device = config, teacher, prompts, device
        self.prediction_type = teacher.config.prediction_type
        scheduler = make_scheduler("ddpm", self.prediction_type)
        self.num_timesteps = scheduler.config.num_train_timesteps
        self.ddim = DDIM(scheduler, device)
        self.timesteps = self.ddim.timesteps(config.teacher_steps)
        self.branches = guidance_branches(
            config.image_guidance_scale, config.pose_guidance_scale, config.text_guidance_scale
        )
        self._teacher_samples: dict[int, torch.Tensor] = {}

    def loss(self, state: TrainingState, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (b,) of a batch of `collate_clips`, and the timesteps (b,) they belong to."""
        config = self.config
        dropout = Dropout(image=config.drop_image, poses=config.drop_poses, text=config.drop_text)
        clips, inputs, randomness = self._prepare(batch, dropout)
        student = make_predictor(state.model, inputs, self.ddim, clips, randomness, self.prediction_type)
        average = self._frozen(state.averaged, inputs, clips, randomness)
        teacher = self._frozen(self.teacher, inputs, clips, randomness, self.branches)
        # The noisiest timesteps stand first.
        places = (self.num_timesteps - 1 - randomness.timesteps) * config.teacher_steps // self.num_timesteps
        weights = config.huber_c, config.temporal_weight
        if config.method == "consistency":
            losses = consistency_loss(
                student, average, teacher, self.ddim, self.timesteps, places, clips, *weights
            )
        else:
            losses = progressive_loss(
                student,
                average,
                teacher,
                self.ddim,
                self.timesteps,
                places,
                clips,
                *weights,
                num_student_steps=config.student_steps,
                exposure_steps=exposure_steps(config),
            )
        return losses, randomness.timesteps

    @torch.no_grad()
    def sampling_error(self, student: Denoiser, dataset: ClipDataset) -> float:
        """Mean squared difference of the student's samples and the teacher's, from the same noise.

        The first --num_validation_clips segments are sampled, each in its own number of steps; the photo's
        frame is left out.
        """
        errors = []
        for index in range(min(self.config.num_validation_clips, len(dataset))):
            seed = sample_seed(VALIDATION_SEED, 0, index)
            request = ClipRequest(index, self.config.num_frames, consecutive=True, seed=seed)
            clips, inputs, randomness = self._prepare(collate_clips([dataset[request]]), NO_DROPOUT)
            if index not in self._teacher_samples:
                teacher = self._frozen(self.teacher, inputs, clips, randomness, self.branches)
                self._teacher_samples[index] = sample(teacher, self.ddim, self.timesteps, clips)
            predict = self._frozen(student, inputs, clips, randomness)
            stride = self.config.teacher_steps // self.config.student_steps
            made = sample(predict, self.ddim, self.timesteps[::stride], clips)
            errors.append((made - self._teacher_samples[index])[:, :, 1:].square().mean().item())
        return sum(errors) / len(errors)

    def _prepare(
        self, batch: dict[str, Any], dropout: Dropout
    ) -> tuple[Clips, dict[str, Any], StepRandomness]:
        batch, randomness = prepare_batch(
            batch,
            self.prompts,
            self.device,
            num_timesteps=self.num_timesteps,
            dropout=dropout,
            shared_noise=self.teacher.config.shared_noise,
        )
        return make_clips(batch, randomness), condition_inputs(batch), randomness

    def _frozen(
        self,
        denoiser: Denoiser,
        inputs: dict[str, Any],
        clips: Clips,
        randomness: StepRandomness,
        branches: list[Branch] | None = None,
    ) -> Predictor:
        """A predictor without gradients: its conditions are encoded once for all its steps."""
        with torch.no_grad():
            conditions = {"conditions": denoiser.encode_conditions(**inputs)}
        options = {} if branches is None else {"branches": branches}
        return make_predictor(
            denoiser, conditions, self.ddim, clips, randomness, self.prediction_type, **options
        )


def main(config: Config, world: World) -> None:
    """Distill until --max_train_steps: the run of one process."""
    check_config(config, world)
    device = world.device

    # Data: clips of latents, each with its own poses and sentence.
    segments = load_annotations(config.dataset, "train", check_frames=False)
    held_out = held_out_segments(config)
    dataset = ClipDataset(
        config.dataset, config.latents, segments, config.num_frames, person_weight=config.person_weight
    )

    # The teacher, and a student that begins as its copy.
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    prompts = PromptCache(tokenizer, text_encoder.to(device))
    sizes = dataset.latent_channels, text_encoder.config.hidden_size
    teacher = load_fitting_denoiser(config.teacher, *sizes).to(device).eval().requires_grad_(False)
    student = load_fitting_denoiser(config.teacher, *sizes)
    dataset.use_warps = teacher.config.warp_input
    distillation = Distillation(config, teacher, prompts, device)
    validation = make_validation(config, held_out, dataset.use_warps, world)

    # Weights, their average, the optimizer: new, or as the last checkpoint has them.
    if config.gradient_checkpointing:
        student.enable_gradient_checkpointing()
    # The student begins trained, and learns from its average, which must not follow it too soon.
    optimizer = OptimizerSettings(
        weight_decay=config.weight_decay, ema_decay=config.ema_decay, ema_grows=False
    )
    state = TrainingState(student, optimizer, world, "ddp")
    checkpoint_dir = config.output_dir / "checkpoint"
    settings = fixed_settings(config, FIXED_SETTINGS, dataset.segments, dataset.vae_sha256)
    settings["teacher"] = model_sha256(teacher)[:16]
    if checkpoints := list_checkpoints(checkpoint_dir):
        state.restore(checkpoints[-1], None if config.allow_changed_settings else settings)
        state.save_average(checkpoint_dir)
    batches = make_batches(config, dataset, state.step, world)
    precision = autocast(config.dtype, device)

    if world.is_main:
        save_config(config, checkpoint_dir / "config.json")

    def due(steps: int) -> bool:
        return steps > 0 and (state.step % steps == 0 or state.step == config.max_train_steps)

    def validate() -> None:
        if validation is not None:
            with precision:
                error = distillation.sampling_error(state.averaged, validation.dataset)
            tracker.add_validation(state.step, error)
            tracker.resume_clock()

    # The loop.
    parts = config.gradient_accumulation_steps
    with open_tracker(config, state.step, world) as tracker, Interrupts() as interrupts:
        if state.step == 0:
            world.on_main(validate)
        while state.step < config.max_train_steps:
            # Forward and backward, part by part.
            totals, names = LossTotals(), list[str]()
            for part in range(parts):
                with tracker.waiting():
                    batch = next(batches)
                with state.accumulating(is_last=part == parts - 1), precision:
                    losses, timesteps = distillation.loss(state, batch)
                    (losses.mean() / parts).backward()
                totals.add(losses, timesteps, distillation.num_timesteps)
                names += batch["name"]

            # All processes agree on the loss and on whether to stop; then the weights move.
            loss, by_timestep, stop = totals.agree(world, config.train_batch_size, interrupts.received)
            grad_norm = state.clip_gradients(config.max_grad_norm)
            stop_if_diverged(loss, grad_norm, state, names, config.max_loss_ratio)
            learning_rate = learning_rate_at(
                state.step, config.learning_rate, config.warmup_steps, config.max_train_steps
            )
            state.update(learning_rate, loss)

            # Say what happened; validate before the checkpoint, which would skip it.
            tracker.add_step(StepLog(state.step, loss, grad_norm, learning_rate, by_timestep))
            if due(config.validation_steps):
                world.on_main(validate)
            if due(config.checkpoint_steps) or stop:
                tracker.sync()
                state.save(checkpoint_dir, settings, config.keep)
                tracker.resume_clock()
            if stop:
                interrupts.stop()
    if world.is_main:
        print(f"trained {state.step} steps; the student is in {checkpoint_dir / 'denoiser'}")


def launch(config: Config) -> None:
    """Join the other processes of the run, if there are any, and distill."""
    with distributed_world(config.device) as world:
        checkpoint_dir = config.output_dir / "checkpoint"
        with locked_folder(checkpoint_dir) if world.is_main else contextlib.nullcontext():
            main(config, world)


if __name__ == "__main__":
    run_script(launch, Config, __doc__)
