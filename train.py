"""Train the denoiser on projected videos.

Try it:

    python train.py --preset tiny --max_train_steps 20 --output_dir runs/tiny
    torchrun --nproc_per_node 2 train.py --dataset DATA --latents LATENTS --output_dir runs/small

Run project_latent_space.py first. Run the same command again to continue from the last checkpoint.
"""

import utils.interrupts  # noqa: F401

# isort: split
import contextlib
import dataclasses
import functools
import inspect
import sys
from pathlib import Path
from typing import Literal

import torch

from data.annotations import Segment, load_annotations
from data.check import check_dataset
from data.clips import ClipDataset, ClipRequest
from data.pack import local_dataset
from data.shards import address_of, is_sharded
from diffusion.latents import load_vae, spatial_factor
from diffusion.memory import estimate_training_memory
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import make_scheduler
from diffusion.text import PromptCache, load_text_encoder
from diffusion.training import Dropout, diffusion_loss
from diffusion.warped_photo import load_warper
from models import PRESETS, Denoiser
from models.loading import load_denoiser, model_sha256
from models.lora import add_lora
from training.data import held_out_segments, make_batches, prepare_batch
from training.denoiser import load_fitting_denoiser
from training.interrupts import Interrupts
from training.loop import LossTotals, learning_rate_at, stop_if_diverged
from training.samples import write_samples
from training.settings import RunSettings, check_run_settings, fixed_settings
from training.state import OptimizerSettings, TrainingState
from training.tracker import SilentTracker, StepLog, open_tracker
from training.validation import make_validation
from utils.checkpoint import list_checkpoints
from utils.config import check_minimum, run_script, save_config, settings_as_json
from utils.distributed import World, distributed_world
from utils.errors import UserError
from utils.files import locked_folder
from utils.paths import SHIPPED_MODEL
from utils.precision import autocast, resolve_dtype

# What a resumed run must agree on, besides what the package `training` says.
FIXED_SETTINGS = ("preset", "prediction_type", "timestep_shift", "shared_noise")
DEFAULT_PRESET = "small"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which denoiser is trained."""

    preset: Literal[*PRESETS] | None = None  # type: ignore[valid-type]
    """Size of the denoiser (models/presets.py): tiny for tests, small for a CPU, published for the size of
    the original. By default small, or that of --init_from."""
    init_from: Path | None = None
    """Start from the weights of this model (a folder or a published .pth file) instead of random ones. Its
    size and its prediction type are kept."""
    lora_rank: int = 0
    """Train an adapter of this rank (LoRA) for the model of --init_from, whose own weights stay as they are.
    Start with 16. 0 trains the whole model."""
    prediction_type: Literal["preset", "epsilon", "v_prediction", "sample"] = "preset"
    """What the network predicts: noise (epsilon), v, or the clean latents (sample). By default what the
    preset or --init_from says."""
    shared_noise: float | None = None
    """Share of the noise that all frames of a clip have in common, against flicker. By default the preset's,
    or that of --init_from."""


# The command line begins with the settings of the last base.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunSettings, ModelSettings):
    """Settings of a training run."""

    output_dir: Path = Path()
    """Folder for checkpoint/, video_progress/ (TensorBoard), training_sample/ and losses.jsonl."""

    timestep_shift: float = 1.0
    """Above 1, noisy timesteps are drawn more often than clean ones; sampling in few steps uses only
    those."""
    compile: bool = False
    """Compile the denoiser (torch.compile). It takes minutes at the start, and hardly helps on a CPU."""

    sample_steps: int = 1000
    """Make videos of held-out clips every so many steps, and at the end. 0 makes none."""
    num_samples: int = 3
    """Number of held-out clips to make videos of."""
    vae: Path = SHIPPED_MODEL / "vae"
    """Folder of the VAE that made the latents. Here it only decodes the sample videos."""
    warper: Path | None = SHIPPED_MODEL / "warper"
    """Folder of the network that moved the reference frames (--warper of project_latent_space.py), or None.
    Here it only serves the sample videos."""

    dry_run: bool = False
    """Print the settings, the number of parameters, the memory and the steps an epoch, and train nothing."""
    check_data: bool = False
    """Check every file of the dataset, report what is wrong with it, and train nothing."""


def check_config(config: Config, world: World) -> None:
    """Refuse settings that cannot work, before anything is read or written.

    Raises:
        UserError: names the flag.
    """
    check_run_settings(config, world)
    check_minimum(config, 0, "sample_steps", "num_samples")
    check_minimum(config, 1, "timestep_shift")
    if config.shared_noise is not None and not 0 <= config.shared_noise <= 1:
        raise UserError(f"--shared_noise {config.shared_noise} is a share; give 0 to 1")
    check_minimum(config, 0, "lora_rank")
    if not config.lora_rank:
        return
    if config.init_from is None:
        raise UserError(
            f"--lora_rank {config.lora_rank} needs the model that it adapts: add --init_from "
            "pretrained_model/x2fashion-small"
        )
    if config.shared_noise is not None:
        raise UserError("--shared_noise is the model's own with --lora_rank; leave it out")


def check_is_preset(config: Config, denoiser: Denoiser) -> None:
    """Refuse a --preset or --prediction_type that the model of --init_from does not have (UserError)."""
    wanted = {}
    if config.preset is not None:
        defaults = {name: p.default for name, p in inspect.signature(Denoiser).parameters.items()}
        preset = defaults | PRESETS[config.preset]
        wanted = {name: (value, f"--preset {config.preset}") for name, value in preset.items()}
    if config.prediction_type != "preset":
        wanted["prediction_type"] = config.prediction_type, f"--prediction_type {config.prediction_type}"
    of_the_run = "latent_channels", "cross_attention_dim", "shared_noise", "keep_unused_tensors"
    for name, (value, flag) in wanted.items():
        given, own = (list(v) if isinstance(v, tuple) else v for v in (value, denoiser.config[name]))
        if name not in of_the_run and given != own:
            raise UserError(
                f"{flag} asks for {name} {given}, but --init_from {config.init_from} has {own}; leave out "
                f"{flag} to train that model on, or --init_from to train a new one"
            )


def build_denoiser(config: Config, latent_channels: int, cross_attention_dim: int) -> Denoiser:
    """The denoiser of the preset with weights drawn from the seed, or the model of --init_from.

    Channels of the latents and width of the text are those of the frozen models, whatever the preset's.

    Raises:
        UserError: the model of --init_from was made for other latents or another text encoder, or is not what
            --preset and --prediction_type say.
    """
    if config.init_from is not None:
        denoiser = load_fitting_denoiser(config.init_from, latent_channels, cross_attention_dim)
        check_is_preset(config, denoiser)
        if config.shared_noise is not None:
            denoiser.register_to_config(shared_noise=config.shared_noise)
        return denoiser
    sizes = {"latent_channels": latent_channels, "cross_attention_dim": cross_attention_dim}
    overrides = {**PRESETS[config.preset or DEFAULT_PRESET], **sizes}
    if config.prediction_type != "preset":
        overrides["prediction_type"] = config.prediction_type
    if config.shared_noise is not None:
        overrides["shared_noise"] = config.shared_noise
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Denoiser(**overrides).train()


def size_multiple(config: Config, factor: int) -> int:
    """Pixels that VAE (`factor` pixels a latent) and denoiser need a multiple of, along each side."""
    if config.init_from is not None:
        return factor * load_denoiser(config.init_from).size_multiple
    with torch.device("meta"):
        return factor * Denoiser(**PRESETS[config.preset or DEFAULT_PRESET]).size_multiple


def check_latent_size(config: Config, dataset: ClipDataset, denoiser: Denoiser) -> None:
    """Refuse latents that the denoiser cannot halve as often as it has levels (UserError)."""
    multiple = denoiser.size_multiple
    if all(side % multiple == 0 for side in dataset.latent_size):
        return
    factor = spatial_factor(load_vae(config.vae))
    height, width = (side * factor for side in dataset.latent_size)
    near = [max(1, round(side / multiple)) * multiple * factor for side in dataset.latent_size]
    raise UserError(
        f"{config.latents} was projected with --height {height} --width {width}, and this model takes "
        f"multiples of {multiple * factor} pixels; project into another folder with --height {near[0]} "
        f"--width {near[1]}"
    )


def make_pipeline(
    config: Config, denoiser: Denoiser, prompts: PromptCache, latents_vae_sum: str
) -> X2FashionPipeline:
    """A pipeline that samples with the averaged model."""
    vae = load_vae(config.vae)
    if latents_vae_sum not in ("", model_sha256(vae)):
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
        warper=None if config.warper is None else load_warper(config.warper).to(denoiser.device),
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
        lora_rank=config.lora_rank,
    )
    settings = "\n".join(f"  {name}: {value}" for name, value in settings_as_json(config).items())
    steps_an_epoch = len(dataset) / config.train_batch_size
    lines = [
        f"settings:\n{settings}",
        f"data: {len(dataset)} segments of at least {config.num_frames} frames; latents of {channels} "
        f"channels, {height} x {width}",
        f"an epoch: {steps_an_epoch:.1f} steps of {config.train_batch_size} clips; "
        f"{config.max_train_steps} steps are {config.max_train_steps / steps_an_epoch:.1f} epochs",
        f"memory of a process (of {world.world_size}):\n{memory.text()}",
    ]
    return "\n".join(lines)


def main(config: Config, world: World) -> None:
    """Train until --max_train_steps: the run of one process."""
    check_config(config, world)
    if config.init_from is None and config.preset is None:
        config = dataclasses.replace(config, preset=DEFAULT_PRESET)
    if config.check_data:
        world.on_main(lambda: report_on_data(config))
        return
    device = world.device

    # Data: clips of latents, each with its own poses and sentence.
    segments = load_annotations(config.dataset, "train", check_frames=False)
    held_out = held_out_segments(config, config.num_samples if config.sample_steps else 0)
    dataset = ClipDataset(
        config.dataset, config.latents, segments, config.num_frames, person_weight=config.person_weight
    )
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    prompts = PromptCache(tokenizer, text_encoder.to(device))
    denoiser = build_denoiser(config, dataset.latent_channels, text_encoder.config.hidden_size)
    adapter = {}
    if config.lora_rank:
        adapter = {"lora_rank": config.lora_rank, "model": model_sha256(denoiser)}
        add_lora(denoiser, config.lora_rank, config.seed)
    dataset.use_warps = denoiser.config.warp_input
    prediction_type, shared_noise = denoiser.config.prediction_type, denoiser.config.shared_noise
    validation = make_validation(config, held_out, dataset.use_warps, world)
    if config.dry_run:
        check_latent_size(config, dataset, denoiser)
        world.on_main(lambda: print(describe(config, dataset, denoiser, world)))
        return

    # Weights, their average, the optimizer: new, or as the last checkpoint has them.
    checkpoint_dir = config.output_dir / "checkpoint"
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    optimizer = OptimizerSettings(weight_decay=config.weight_decay, ema_decay=config.ema_decay)
    state = TrainingState(denoiser, optimizer, world)
    settings = fixed_settings(config, FIXED_SETTINGS, dataset.segments, dataset.vae_sha256)
    settings |= {"text_encoder": model_sha256(text_encoder)[:16]} | adapter
    if checkpoints := list_checkpoints(checkpoint_dir):
        state.restore(checkpoints[-1], None if config.allow_changed_settings else settings)
        state.save_average(checkpoint_dir)
    check_latent_size(config, dataset, denoiser)
    if config.compile:
        state.denoiser.compile()
    scheduler = make_scheduler("ddpm", prediction_type)
    batches = make_batches(config, dataset, state.step, world)
    num_timesteps = scheduler.config.num_train_timesteps
    prepare = functools.partial(
        prepare_batch,
        prompts=prompts,
        device=device,
        num_timesteps=num_timesteps,
        dropout=Dropout(image=config.drop_image, poses=config.drop_poses, text=config.drop_text),
        timestep_shift=config.timestep_shift,
        shared_noise=shared_noise,
    )
    precision = autocast(config.dtype, device)

    # What the main process writes while it runs.
    pipeline = None
    if world.is_main:
        if config.sample_steps and config.num_samples:
            pipeline = make_pipeline(config, state.averaged, prompts, dataset.vae_sha256)
        save_config(config, checkpoint_dir / "config.json")

    def due(steps: int) -> bool:
        return steps > 0 and (state.step % steps == 0 or state.step == config.max_train_steps)

    # The loop.
    parts = config.gradient_accumulation_steps
    with open_tracker(config, state.step, world) as tracker, Interrupts() as interrupts:
        while state.step < config.max_train_steps:
            # Forward and backward, part by part.
            totals, names = LossTotals(), list[str]()
            for part in range(parts):
                with tracker.waiting():
                    clips = next(batches)
                batch, randomness = prepare(clips)
                with state.accumulating(is_last=part == parts - 1), precision:
                    losses = diffusion_loss(
                        state.model, scheduler, batch, randomness, prediction_type, config.temporal_weight
                    )
                    (losses.mean() / parts).backward()
                totals.add(losses, randomness.timesteps, num_timesteps)
                names += batch["name"]

            # All processes agree on the loss and on whether to stop; then the weights move.
            loss, by_timestep, stop = totals.agree(world, config.train_batch_size, interrupts.received)
            grad_norm = state.clip_gradients(config.max_grad_norm)
            stop_if_diverged(loss, grad_norm, state, names, config.max_loss_ratio)
            learning_rate = learning_rate_at(
                state.step, config.learning_rate, config.warmup_steps, config.max_train_steps
            )
            state.update(learning_rate, loss)

            # Say what happened; validate and sample before the checkpoint, which would skip them.
            num_frames = config.train_batch_size * batch["latents"].shape[2]
            tracker.add_step(StepLog(state.step, loss, grad_norm, learning_rate, by_timestep, num_frames))
            if validation is not None and due(config.validation_steps):
                held_out_loss = validation.loss(
                    state.averaged, scheduler, prompts, prediction_type, shared_noise
                )
                tracker.add_validation(state.step, held_out_loss)
            if due(config.sample_steps):
                world.on_main(
                    lambda: sample(config, pipeline, held_out, dataset.latent_size, tracker, state.step)
                )
            if due(config.checkpoint_steps) or stop:
                tracker.sync()
                state.save(checkpoint_dir, settings, config.keep)
                tracker.resume_clock()
            if stop:
                interrupts.stop()
    if world.is_main:
        made = "adapter is in {0}/lora" if state.trains_adapter else "model is in {0}/denoiser"
        print(f"trained {state.step} steps; the averaged {made.format(checkpoint_dir)}")


def sample(
    config: Config,
    pipeline: X2FashionPipeline | None,
    held_out: list[Segment],
    latent_size: tuple[int, int],
    tracker: SilentTracker,
    step: int,
) -> None:
    """Write the videos of the first held-out clips, in the size of the frames that were projected."""
    if pipeline is not None:
        folder = config.output_dir / "training_sample"
        height, width = (side * pipeline.vae_factor for side in latent_size)
        clips = held_out[: config.num_samples]
        with local_dataset(config.dataset, [clip.name for clip in clips]) as dataset_dir:
            write_samples(
                pipeline,
                dataset_dir,
                clips,
                config.num_frames,
                (height, width),
                config.seed,
                folder,
                tracker,
                step,
            )
        tracker.resume_clock()


def report_on_data(config: Config) -> None:
    """Look at every file of the dataset; ends with status 2 where training would fail."""
    if is_sharded(config.dataset):
        raise UserError(
            f"--check_data looks at a folder, and {address_of(config.dataset) or config.dataset} is sharded; "
            "check the folder before it is packed"
        )
    latents = None if is_sharded(config.latents) else config.latents
    if config.latents == RunSettings.__dataclass_fields__["latents"].default and not config.latents.is_dir():
        latents = None  # not given, and nothing was projected yet
    multiple = size_multiple(config, spatial_factor(load_vae(config.vae)))
    if is_sharded(config.latents):
        multiple = 1  # they may have been projected at another size, which training looks at
    report = check_dataset(config.dataset, config.num_frames, latents, size_multiple=multiple)
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
