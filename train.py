"""Train the denoiser on projected videos.

Try it:

    python train.py --preset tiny --max_train_steps 20 --output_dir runs/tiny
    torchrun --nproc_per_node 2 train.py --dataset DATA --latents LATENTS --output_dir runs/small

Run project_latent_space.py first. The same command again goes on where the last checkpoint stands.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from data.annotations import Segment, load_annotations
from data.check import check_dataset
from data.clips import ClipDataset, ClipRequest, ClipSampler, collate_clips
from data.latents import vae_sha256
from diffusion.latents import load_vae
from diffusion.memory import estimate_training_memory
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import make_scheduler
from diffusion.text import PromptCache, load_text_encoder
from diffusion.training import Dropout, diffusion_loss, draw_randomness
from models import PRESETS, Denoiser, load_denoiser
from training.interrupts import Interrupts
from training.samples import write_samples
from training.state import PARALLEL, OptimizerSettings, TrainingState
from training.tracker import StepLog, Tracker, exploded
from training.validation import Validation
from utils.checkpoint import list_checkpoints
from utils.config import check_minimum, run_script, save_config, settings_as_json
from utils.distributed import World, distributed_world
from utils.errors import UserError
from utils.files import check_output_dir, locked_folder
from utils.precision import autocast, resolve_dtype

# What a resumed run must agree on, besides its data: a change would silently make it another run.
FIXED_SETTINGS = (
    "preset", "prediction_type", "max_train_steps", "train_batch_size", "learning_rate", "warmup_steps",
    "weight_decay", "max_grad_norm", "ema_decay", "num_frames", "short_clip_frames", "short_clip_steps",
    "drop_image", "drop_poses", "drop_text", "timestep_shift", "shared_noise", "person_weight",
    "temporal_weight", "seed",
)  # fmt: skip
TIMESTEP_RANGES = 4  # the loss is also told for each quarter of the timesteps
RECENT_LOSSES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a training run."""

    dataset: Path = Path("fashion_dataset")
    """Dataset folder: fashion_poses and train/*.txt are read."""
    latents: Path = Path("fashion_dataset_tensor")
    """What project_latent_space.py wrote for it."""
    output_dir: Path = Path()
    """Gets checkpoint/, video_progress/ (tensorboardX) and training_sample/."""
    preset: Literal[*PRESETS] = "small"  # type: ignore[valid-type]
    """Size of the denoiser (models/presets.py): tiny for tests, small for a CPU, published for the
    original's."""
    prediction_type: Literal["preset", "epsilon", "v_prediction", "sample"] = "preset"
    """What the network predicts: noise, v or x0; "preset" takes the preset's own."""
    init_from: Path | None = None
    """Begin with the weights of this model (a folder or a published .pth) instead of random ones."""
    vae: Path = Path("pretrained_model/x2fashion-small/vae")
    """VAE that made the latents; here it only decodes the sample videos."""
    text_encoder: Path = Path("pretrained_model/x2fashion-small/text_encoder")
    """CLIP text encoder's folder."""
    tokenizer: Path | None = None
    """Tokenizer's folder; by default the text encoder's own, or `tokenizer` beside it."""

    max_train_steps: int = 10_000
    """Optimisation steps in all; the learning rate's cosine ends there."""
    train_batch_size: int = 4
    """Clips an optimisation step, over all processes and accumulated batches together."""
    gradient_accumulation_steps: int = 1
    """Parts a process splits its share of the batch into, to save memory."""
    learning_rate: float = 6e-4
    """Peak of AdamW's learning rate."""
    warmup_steps: int = 200
    """Steps of linear warm-up before the cosine decay to zero."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    ema_decay: float = 0.998
    """Decay a step of the moving average of the weights, which is what sampling uses."""
    num_frames: int = 24
    """Frames of a clip; shorter segments are not used."""
    short_clip_frames: int = 8
    """Frames of a clip while step < short_clip_steps: sorted random frames of the segment, which is
    cheaper."""
    short_clip_steps: int = 0
    """Steps at the beginning that train on short clips."""
    drop_image: float = 0.1
    """Probability that a sample loses the photo (and the warp); each condition is dropped by itself."""
    drop_poses: float = 0.1
    """Probability that a sample loses the poses (and the warp)."""
    drop_text: float = 0.1
    """Probability that a sample loses the sentence."""
    timestep_shift: float = 1.0
    """Above 1, draw noisy timesteps more often than clean ones; few-step sampling uses only those."""
    shared_noise: float | None = None
    """Share of the noise's variance that all frames of a clip have in common, against flicker; by default the
    preset's, or that of --init_from."""
    person_weight: float = 1.0
    """Weight of the loss where the person is, against 1 for the background; needs fashion_masks."""
    temporal_weight: float = 0.0
    """Weight of the error's change from frame to frame beside the error itself, against flicker."""
    seed: int = 0
    """Data order, timesteps, noise, dropout and initial weights follow from it."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast precision; auto takes bfloat16 on a GPU or a CPU with AMX, else float32."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    num_workers: int | None = None
    """Data loader processes for each training process; by default 4 with a GPU, none without."""
    parallel: Literal[*PARALLEL] = "ddp"  # type: ignore[valid-type]
    """How the processes of torchrun share the work: ddp copies the model to each, fsdp (FSDP2) keeps a part
    of weights, gradients, moments and average in each, for models that are too large for one."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the denoiser (torch.compile): minutes at the start; faster on GPUs, hardly on CPUs."""

    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps, and at the end."""
    keep: int = 2
    """Checkpoints to keep."""
    sample_steps: int = 1000
    """Write sample videos of held-out clips every so many steps, and at the end; 0 for never."""
    num_samples: int = 3
    """Held-out clips to sample."""
    validation_steps: int = 500
    """Compute the loss on held-out clips every so many steps, and at the end; 0 for never."""
    num_validation_clips: int = 16
    """Held-out clips for it, each with one fixed noise."""
    log_steps: int = 10
    """Write tensorboardX scalars every so many steps."""
    max_loss_ratio: float = 5.0
    """Stop where a loss is above so many times the largest of the last 100; 0 for never."""
    allow_changed_settings: bool = False
    """Resume although settings or data that shape the run differ from the checkpoint's."""
    dry_run: bool = False
    """Print the resolved settings, parameters, memory and steps an epoch, and end."""
    check_data: bool = False
    """Look at every file of the dataset, report what is wrong with it, and end."""


def learning_rate_at(step: int, config: Config) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter, "SGDR", 2017)."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.max_train_steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def check_config(config: Config, world: World) -> None:
    """Refuse settings that cannot work, before anything is read or written.

    Raises:
        UserError: names the flag.
    """
    parts = world.world_size * config.gradient_accumulation_steps
    if (
        config.train_batch_size < 1
        or config.gradient_accumulation_steps < 1
        or config.train_batch_size % parts
    ):
        raise UserError(
            f"--train_batch_size {config.train_batch_size} must divide by {world.world_size} processes x "
            f"{config.gradient_accumulation_steps} accumulated batches"
        )
    at_least_1 = "max_train_steps", "checkpoint_steps", "num_frames", "short_clip_frames", "log_steps", "keep"
    check_minimum(config, 1, *at_least_1)
    at_least_0 = "warmup_steps", "sample_steps", "num_samples", "validation_steps", "num_validation_clips"
    check_minimum(config, 0, *at_least_0, "learning_rate", "temporal_weight", "max_loss_ratio")
    if config.num_workers is not None:
        check_minimum(config, 0, "num_workers")
    check_minimum(config, 1, "timestep_shift", "person_weight")
    for name in ("drop_image", "drop_poses", "drop_text"):
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(f"--{name} {getattr(config, name)} is a probability; give 0 to 1")
    if config.shared_noise is not None and not 0 <= config.shared_noise <= 1:
        raise UserError(f"--shared_noise {config.shared_noise} is a share; give 0 to 1")
    if config.short_clip_frames > config.num_frames:
        raise UserError(
            f"--short_clip_frames {config.short_clip_frames} exceeds --num_frames {config.num_frames}"
        )
    check_output_dir(config.output_dir)


def build_denoiser(config: Config, latent_channels: int, cross_attention_dim: int) -> Denoiser:
    """The denoiser of the preset with weights drawn from the seed, or the model of --init_from.

    Channels of the latents and width of the text are those of the frozen models, whatever the preset's.

    Raises:
        UserError: the model of --init_from was made for other latents or another text encoder.
    """
    given = {"latent_channels": latent_channels, "cross_attention_dim": cross_attention_dim}
    if config.init_from is not None:
        denoiser = load_denoiser(config.init_from).train()
        if any(denoiser.config[name] != value for name, value in given.items()):
            made_for = ", ".join(f"{name} {denoiser.config[name]}" for name in given)
            raise UserError(
                f"{config.init_from} was made for {made_for}; --latents and --text_encoder have "
                f"{latent_channels} and {cross_attention_dim}"
            )
        if config.shared_noise is not None:
            denoiser.register_to_config(shared_noise=config.shared_noise)
        return denoiser
    overrides = {**PRESETS[config.preset], **given}
    if config.prediction_type != "preset":
        overrides["prediction_type"] = config.prediction_type
    if config.shared_noise is not None:
        overrides["shared_noise"] = config.shared_noise
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Denoiser(**overrides).train()


def fixed_settings(config: Config, segments: list[Segment], vae_sum: str) -> dict[str, Any]:
    """The settings that a resumed run must share, as JSON can hold them, and a checksum of its data."""
    settings = settings_as_json(config)
    data = [dataclasses.astuple(segment) for segment in segments]
    digest = hashlib.sha256(json.dumps([data, vae_sum]).encode()).hexdigest()
    return {name: settings[name] for name in FIXED_SETTINGS} | {"data": digest[:16]}


def held_out_segments(config: Config) -> list[Segment]:
    """The test split, where samples or validation need it.

    Raises:
        UserError: it is missing or is not in order.
    """
    wanted = (config.sample_steps and config.num_samples) or (
        config.validation_steps and config.num_validation_clips
    )
    if not wanted:
        return []
    try:
        return load_annotations(config.dataset, "test")
    except UserError as error:
        advice = "give --sample_steps 0 --validation_steps 0 to do without held-out clips"
        raise UserError(f"{error}; or {advice}") from error


def make_validation(
    config: Config, held_out: list[Segment], use_warps: bool, world: World
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


def make_batches(
    config: Config, dataset: ClipDataset, first_step: int, world: World
) -> Iterator[dict[str, Any]]:
    """This process's batches from a step on, one for each part of a step."""
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
        worker_init_fn=_leave_interrupts_to_the_trainer,
    )
    try:
        yield from loader
    except UserError as error:  # from a worker process it comes with the worker's traceback in its message
        raise UserError(str(error).strip().split("UserError: ")[-1]) from None


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_pipeline(
    config: Config, denoiser: Denoiser, prompts: PromptCache, latents_vae_sum: str
) -> X2FashionPipeline:
    """A pipeline that samples with the averaged model."""
    vae = load_vae(config.vae)
    if latents_vae_sum not in ("", vae_sha256(vae)):
        print(
            f"warning: --vae {config.vae} is not the one that made {config.latents}; unless it has "
            "that one's encoder, the sample videos will look wrong",
            file=sys.stderr,
        )
    pipeline = X2FashionPipeline(
        denoiser=denoiser,
        vae=vae.to(denoiser.device),
        text_encoder=prompts.text_encoder,
        tokenizer=prompts.tokenizer,
        scheduler=make_scheduler(prediction_type=denoiser.config.prediction_type),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def describe(config: Config, dataset: ClipDataset, denoiser: Denoiser, world: World) -> str:
    """What --dry_run prints: settings, parameters, memory, steps an epoch."""
    clip = ClipRequest(segment=0, num_frames=config.num_frames, consecutive=True, seed=0)
    channels, num_frames, height, width = dataset[clip]["latents"].shape
    parts = world.world_size * config.gradient_accumulation_steps
    memory = estimate_training_memory(
        dict(denoiser.config),
        batch_size=config.train_batch_size // parts,
        num_frames=num_frames,
        height=height,
        width=width,
        dtype=resolve_dtype(config.dtype, world.device),
        gradient_checkpointing=config.gradient_checkpointing,
    )
    settings = "\n".join(f"  {name}: {value}" for name, value in settings_as_json(config).items())
    steps_an_epoch = len(dataset) / config.train_batch_size
    lines = [
        f"settings:\n{settings}",
        f"data: {len(dataset)} segments of at least {config.num_frames} frames; latents of {channels} "
        f"channels, {height} x {width}",
        f"an epoch: {steps_an_epoch:.1f} steps of {config.train_batch_size} clips; "
        f"{config.max_train_steps} steps are {config.max_train_steps / steps_an_epoch:.1f} epochs",
        f"memory of a process (of {world.world_size}; sharding not counted):\n{memory.text()}",
    ]
    return "\n".join(lines)


def main(config: Config, world: World) -> None:
    """Train until --max_train_steps: the run of one process."""
    check_config(config, world)
    if config.check_data:
        world.on_main(lambda: report_on_data(config))
        return
    device = world.device

    # Data: clips of latents, each with its own poses and sentence.
    segments = load_annotations(config.dataset, "train", check_frames=False)
    held_out = held_out_segments(config)
    dataset = ClipDataset(
        config.dataset, config.latents, segments, config.num_frames, person_weight=config.person_weight
    )
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    prompts = PromptCache(tokenizer, text_encoder.to(device))
    denoiser = build_denoiser(config, dataset.latent_channels, text_encoder.config.hidden_size)
    dataset.use_warps = denoiser.config.warp_input
    prediction_type, shared_noise = denoiser.config.prediction_type, denoiser.config.shared_noise
    validation = make_validation(config, held_out, dataset.use_warps, world)
    if config.dry_run:
        world.on_main(lambda: print(describe(config, dataset, denoiser, world)))
        return

    # Weights, their average, the optimizer: new, or as the last checkpoint has them.
    checkpoint_dir = config.output_dir / "checkpoint"
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    optimizer = OptimizerSettings(weight_decay=config.weight_decay, ema_decay=config.ema_decay)
    state = TrainingState(denoiser, optimizer, world, config.parallel)
    settings = fixed_settings(config, dataset.segments, dataset.vae_sha256)
    if checkpoints := list_checkpoints(checkpoint_dir):
        state.restore(checkpoints[-1], None if config.allow_changed_settings else settings)
        state.save_average(checkpoint_dir)
    if config.compile:
        state.denoiser.compile()
    scheduler = make_scheduler("ddpm", prediction_type)
    batches = make_batches(config, dataset, state.step, world)
    dropout = Dropout(image=config.drop_image, poses=config.drop_poses, text=config.drop_text)
    precision = autocast(config.dtype, device)

    # What the main process writes while it runs.
    pipeline = tracker = None
    averaged = state.whole_average()
    if averaged is not None:
        if config.sample_steps and config.num_samples:
            pipeline = make_pipeline(config, averaged, prompts, dataset.vae_sha256)
        save_config(config, checkpoint_dir / "config.json")
        frames_per_step = config.train_batch_size * config.num_frames
        tracker = Tracker(
            config.output_dir, state.step, config.max_train_steps, config.log_steps, frames_per_step, device
        )

    def due(steps: int) -> bool:
        return steps > 0 and (state.step % steps == 0 or state.step == config.max_train_steps)

    # The loop.
    try:
        with Interrupts() as interrupts:
            while state.step < config.max_train_steps:
                # Forward and backward, part by part: sums of this process's losses, whole and by timestep.
                names, waited = list[str](), 0.0
                totals = torch.zeros(2 + 2 * TIMESTEP_RANGES, dtype=torch.float64)
                for part in range(config.gradient_accumulation_steps):
                    started = time.perf_counter()
                    batch = next(batches)
                    waited += time.perf_counter() - started
                    names += batch["name"]
                    batch["prompt_embeds"] = prompts(batch["text"])
                    batch = {
                        k: v.to(device, non_blocking=True) if torch.is_tensor(v) else v
                        for k, v in batch.items()
                    }
                    randomness = draw_randomness(
                        batch["seed"],
                        batch["latents"].shape,
                        scheduler.config.num_train_timesteps,
                        dropout,
                        config.timestep_shift,
                        shared_noise,
                    )
                    is_last = part == config.gradient_accumulation_steps - 1
                    with state.accumulating(is_last), precision:
                        losses = diffusion_loss(
                            state.model,
                            scheduler,
                            batch,
                            randomness.to(device),
                            prediction_type,
                            config.temporal_weight,
                        )
                        (losses.mean() / config.gradient_accumulation_steps).backward()
                    totals[1:] += loss_totals(
                        losses, randomness.timesteps, scheduler.config.num_train_timesteps
                    )

                # All processes agree on the loss, and on whether to stop.
                totals[0] = interrupts.received
                totals = world.sum(totals)
                loss = totals[1].item() / config.train_batch_size
                grad_norm = state.clip_gradients(config.max_grad_norm)
                if not math.isfinite(grad_norm) or exploded(loss, state.recent_losses, config.max_loss_ratio):
                    raise UserError(explosion(loss, grad_norm, state, world.gather(names)))
                learning_rate = learning_rate_at(state.step, config)
                state.update(learning_rate)
                state.recent_losses = [*state.recent_losses, loss][-RECENT_LOSSES:]

                # Say what happened; validate and sample before the checkpoint, which would skip them.
                if tracker is not None:
                    by_timestep = tuple((totals[2::2] / totals[3::2]).tolist())
                    tracker.add_step(StepLog(state.step, loss, grad_norm, learning_rate, by_timestep), waited)
                if validation is not None and due(config.validation_steps):
                    held_out_loss = validation.loss(
                        state.averaged, scheduler, prompts, prediction_type, shared_noise
                    )
                    if tracker is not None:
                        tracker.add_validation(state.step, held_out_loss)
                if due(config.sample_steps):
                    state.whole_average()
                    world.on_main(lambda: sample(config, pipeline, held_out, tracker, state.step))
                if due(config.checkpoint_steps) or totals[0] > 0:
                    if tracker is not None:
                        tracker.sync()
                    state.save(checkpoint_dir, settings, config.keep)
                    if tracker is not None:
                        tracker.resume_clock()
                if totals[0] > 0:
                    interrupts.stop()
    finally:
        if tracker is not None:
            tracker.close()
    if world.is_main:
        print(f"trained {state.step} steps; the averaged model is in {checkpoint_dir / 'denoiser'}")


def loss_totals(losses: torch.Tensor, timesteps: torch.Tensor, num_timesteps: int) -> torch.Tensor:
    """Sum of the losses (b,), then sum and number of those in each range of timesteps, as one vector."""
    values = losses.detach().double().cpu()
    totals = torch.zeros(1 + 2 * TIMESTEP_RANGES, dtype=torch.float64)
    totals[0] = values.sum()
    places = timesteps * TIMESTEP_RANGES // num_timesteps
    totals[1::2].index_add_(0, places, values)
    totals[2::2].index_add_(0, places, torch.ones_like(values))
    return totals


def explosion(loss: float, grad_norm: float, state: TrainingState, names: list[list[str]]) -> str:
    """The message of a run that ends because its loss or gradient cannot be trusted."""
    batch = ", ".join(sorted(set(itertools.chain.from_iterable(names))))
    usual = f", before at most {max(state.recent_losses):.4g}" if state.recent_losses else ""
    return (
        f"at step {state.step} the loss is {loss:.4g}{usual}, the gradient's norm {grad_norm:.4g}, on "
        f"{batch}: nothing was written; the last checkpoint is untouched. Look at these videos; "
        "resume with a smaller --learning_rate and --allow_changed_settings, or raise --max_loss_ratio"
    )


def sample(
    config: Config,
    pipeline: X2FashionPipeline | None,
    held_out: list[Segment],
    tracker: Tracker | None,
    step: int,
) -> None:
    """Write the videos of the first held-out clips."""
    if pipeline is not None and tracker is not None:
        folder = config.output_dir / "training_sample"
        clips = held_out[: config.num_samples]
        write_samples(pipeline, config.dataset, clips, config.num_frames, config.seed, folder, tracker, step)
        tracker.resume_clock()


def report_on_data(config: Config) -> None:
    """Look at every file of the dataset; ends with status 2 where training would fail."""
    latents = config.latents if config.latents.is_dir() else None
    report = check_dataset(config.dataset, config.num_frames, latents)
    print(report.text())
    if report.problems:
        raise UserError(
            f"{len(report.problems)} problems in {config.dataset} are listed above; mend them first"
        )


def launch(config: Config) -> None:
    """Join the other processes of the run, if there are any, and train."""
    with distributed_world(config.device) as world:
        writes = world.is_main and not (config.dry_run or config.check_data)
        with locked_folder(config.output_dir / "checkpoint") if writes else contextlib.nullcontext():
            main(config, world)


if __name__ == "__main__":
    run_script(launch, Config, __doc__)
