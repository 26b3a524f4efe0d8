"""Train the denoiser on projected videos.

Try it:

    python train.py --preset tiny --max_train_steps 20 --output_dir runs/tiny
    torchrun --nproc_per_node 2 train.py --dataset DATA --latents LATENTS --output_dir runs/small

Run project_latent_space.py first. The same command again goes on where the last checkpoint stands.
"""

import contextlib
import dataclasses
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from tensorboardX import SummaryWriter
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.annotations import load_annotations
from data.clips import ClipDataset, ClipSampler, collate_clips
from data.frames import read_frames
from data.latents import vae_sha256
from diffusion.latents import load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import make_scheduler
from diffusion.text import encode_prompts, load_text_encoder
from diffusion.training import Dropout, diffusion_loss, draw_randomness
from models import PRESETS, Denoiser, load_denoiser
from utils.checkpoint import check_settings, list_checkpoints, load_checkpoint, save_checkpoint
from utils.config import check_minimum, run_script, save_config, settings_as_json
from utils.contact_sheet import contact_sheet
from utils.distributed import World, distributed_world
from utils.errors import UserError
from utils.files import atomic_folder, check_output_dir
from utils.image import write_png
from utils.precision import autocast
from utils.video import write_video
from warping.joints import load_joints

# What a resumed run must agree on: a change of any of these would silently make it another run.
FIXED_SETTINGS = (
    "dataset", "latents", "preset", "prediction_type", "max_train_steps", "train_batch_size", "learning_rate",
    "warmup_steps", "num_frames", "short_clip_frames", "short_clip_steps", "drop_image", "drop_poses",
    "drop_text", "timestep_shift", "shared_noise", "person_weight", "temporal_weight", "seed",
)  # fmt: skip


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
    num_workers: int = 0
    """Data loader processes for each training process."""

    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps, and at the end."""
    keep: int = 2
    """Checkpoints to keep."""
    sample_steps: int = 1000
    """Write sample videos of held-out clips every so many steps; 0 for never."""
    num_samples: int = 3
    """Held-out clips to sample."""
    log_steps: int = 10
    """Write tensorboardX scalars every so many steps."""
    allow_changed_settings: bool = False
    """Resume although settings that shape the run differ from the checkpoint's."""


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
    check_minimum(config, 0, "warmup_steps", "sample_steps", "num_samples", "num_workers", "learning_rate")
    check_minimum(config, 0, "temporal_weight")
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


def restore(
    config: Config, path: Path, denoiser: Denoiser, ema: AveragedModel, optimizer: torch.optim.Optimizer
) -> int:
    """Load a checkpoint into the run's parts; returns the steps done."""
    step, modules, state, settings = load_checkpoint(path)
    if not config.allow_changed_settings:
        advice = "give the old settings, another --output_dir, or --allow_changed_settings"
        check_settings(path, settings, fixed_settings(config), advice)
    try:
        denoiser.load_state_dict(modules["raw"])
        ema.module.load_state_dict(modules["ema"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path} holds another model: {' '.join(str(error).split())[:300]}") from error
    ema.n_averaged.fill_(step)
    optimizer.load_state_dict(state["optimizer"])
    return step


def fixed_settings(config: Config) -> dict[str, Any]:
    """The settings that a resumed run must share, as JSON can hold them."""
    settings = settings_as_json(config)
    return {name: settings[name] for name in FIXED_SETTINGS}


def check_samples(config: Config) -> None:
    """Refuse held-out clips that cannot be sampled, before the training rather than at the first sample.

    Raises:
        UserError: the test split is missing or is not in order.
    """
    try:
        load_annotations(config.dataset, "test")
    except UserError as error:
        raise UserError(f"{error}; or give --sample_steps 0 to make no sample videos") from error


def write_samples(config: Config, pipeline: X2FashionPipeline, step: int, writer: SummaryWriter) -> None:
    """Sample the first held-out clips: a video each in training_sample/, and one contact sheet."""
    rows = []
    for segment in load_annotations(config.dataset, "test")[: config.num_samples]:
        indices = range(segment.start, min(segment.end, segment.start + config.num_frames))
        truth = read_frames(config.dataset / "fashion_crop" / segment.name, indices)
        poses = read_frames(config.dataset / "fashion_poses" / segment.name, indices)
        joints = load_joints(config.dataset / "fashion_poses" / segment.name, segment.end)
        (videos,) = pipeline(
            truth[0],
            poses,
            segment.text,
            joints=None if joints is None else joints[list(indices)],
            generator=torch.Generator().manual_seed(config.seed),
            return_dict=False,
        )
        frames = (np.asarray(videos[0]) * 255).round().astype(np.uint8)
        write_video(
            config.output_dir / "training_sample" / f"step_{step:08d}_{segment.name}.mp4", frames, fps=12
        )
        shown = np.linspace(0, len(frames) - 1, 8).astype(int)
        rows += [
            (segment.text, list(frames[shown])),
            ("true frames", list(truth[shown])),
            ("poses", list(poses[shown])),
        ]
    if rows:
        sheet = contact_sheet(rows)
        write_png(config.output_dir / "training_sample" / f"step_{step:08d}.png", sheet)
        writer.add_image("samples", sheet, step, dataformats="HWC")


def main(config: Config, world: World) -> None:
    """Train until --max_train_steps: the run of one process."""
    check_config(config, world)
    device = world.device

    # Data: clips of latents, each with its own poses and sentence.
    segments = load_annotations(config.dataset, "train")
    dataset = ClipDataset(
        config.dataset, config.latents, segments, config.num_frames, person_weight=config.person_weight
    )
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    text_encoder.to(device)
    denoiser = build_denoiser(config, dataset.latent_channels, text_encoder.config.hidden_size)
    dataset.use_warps = denoiser.config.warp_input
    prompt_cache: dict[str, torch.Tensor] = {}

    # Model, optimizer, moving average.
    denoiser.to(device)
    ema = AveragedModel(denoiser, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    ema.eval().requires_grad_(False)
    averaged = cast(Denoiser, ema.module)
    optimizer = torch.optim.AdamW(
        denoiser.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.99),
        fused=True,
    )
    scheduler = make_scheduler("ddpm", denoiser.config.prediction_type)
    checkpoint_dir = config.output_dir / "checkpoint"
    checkpoints = list_checkpoints(checkpoint_dir)
    step = restore(config, checkpoints[-1], denoiser, ema, optimizer) if checkpoints else 0
    model = DistributedDataParallel(denoiser) if world.world_size > 1 else denoiser

    sampler = ClipSampler(
        len(dataset),
        config.train_batch_size,
        config.max_train_steps,
        num_frames=config.num_frames,
        short_frames=config.short_clip_frames,
        short_steps=config.short_clip_steps,
        seed=config.seed,
        first_step=step,
        rank=world.rank,
        world_size=world.world_size,
        accumulation=config.gradient_accumulation_steps,
    )
    loader = iter(
        DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate_clips,
            num_workers=config.num_workers,
            pin_memory=device.type == "cuda",
        )
    )
    dropout = Dropout(image=config.drop_image, poses=config.drop_poses, text=config.drop_text)
    precision = autocast(config.dtype, device)

    # What the main process writes while it runs.
    writer = pipeline = None
    if world.is_main:
        if config.sample_steps and config.num_samples:
            check_samples(config)
            vae = load_vae(config.vae)
            if dataset.vae_sha256 not in ("", vae_sha256(vae)):
                print(
                    f"warning: --vae {config.vae} is not the one that made {config.latents}; unless it has "
                    "that one's encoder, the sample videos will look wrong",
                    file=sys.stderr,
                )
            pipeline = X2FashionPipeline(
                denoiser=averaged,
                vae=vae.to(device),
                text_encoder=text_encoder,
                tokenizer=tokenizer,
                scheduler=make_scheduler(prediction_type=denoiser.config.prediction_type),
            )
            pipeline.set_progress_bar_config(disable=True)
        save_config(config, config.output_dir / "checkpoint" / "config.json")
        writer = SummaryWriter(str(config.output_dir / "video_progress"))
    progress = tqdm(
        total=config.max_train_steps,
        initial=step,
        desc="train",
        unit="step",
        disable=not world.is_main,
        dynamic_ncols=True,
    )

    def checkpoint() -> None:
        if world.is_main:
            save_checkpoint(
                checkpoint_dir,
                step,
                {"raw": denoiser.state_dict(), "ema": averaged.state_dict()},
                {"optimizer": optimizer.state_dict()},
                fixed_settings(config),
                config.keep,
            )
            with atomic_folder(checkpoint_dir / "denoiser") as folder:
                averaged.save_pretrained(folder)
        world.barrier()

    # Ctrl-C ends the step in progress first; among several processes it ends at once, as they could not agree
    # on a step.
    interrupted: list[int] = []
    old_handler = signal.getsignal(signal.SIGINT)
    if world.world_size == 1:
        signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))

    # The loop.
    losses: list[float] = []
    started = time.perf_counter()
    try:
        while step < config.max_train_steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, config)
            for part in range(config.gradient_accumulation_steps):
                batch = next(loader)
                unseen = [text for text in dict.fromkeys(batch["text"]) if text not in prompt_cache]
                if unseen:
                    prompt_cache.update(
                        zip(unseen, encode_prompts(tokenizer, text_encoder, unseen), strict=True)
                    )
                batch["prompt_embeds"] = torch.stack([prompt_cache[text] for text in batch["text"]])
                batch = {
                    k: v.to(device, non_blocking=True) if torch.is_tensor(v) else v for k, v in batch.items()
                }
                randomness = draw_randomness(
                    batch["seed"],
                    batch["latents"].shape,
                    scheduler.config.num_train_timesteps,
                    dropout,
                    config.timestep_shift,
                    denoiser.config.shared_noise,
                ).to(device)
                last = part == config.gradient_accumulation_steps - 1
                with contextlib.nullcontext() if last or model is denoiser else model.no_sync(), precision:
                    loss = diffusion_loss(
                        model,
                        scheduler,
                        batch,
                        randomness,
                        denoiser.config.prediction_type,
                        config.temporal_weight,
                    ).mean()
                    (loss / config.gradient_accumulation_steps).backward()
                losses.append(loss.item())
            grad_norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), config.max_grad_norm)
            if not (math.isfinite(losses[-1]) and torch.isfinite(grad_norm)):
                raise UserError(
                    f"the loss or its gradient is not finite at step {step} on {', '.join(batch['name'])}; "
                    "the last checkpoint is untouched: resume with a smaller --learning_rate and "
                    "--allow_changed_settings"
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.update_parameters(denoiser)
            step += 1

            # Say what happened.
            progress.update()
            if step % config.log_steps == 0 and writer is not None:
                mean_loss = sum(losses) / len(losses)
                rate = (
                    len(losses)
                    * len(batch["seed"])
                    * batch["latents"].shape[2]
                    / (time.perf_counter() - started)
                )
                progress.set_postfix(loss=f"{mean_loss:.4f}", frames_per_s=f"{rate:.1f}")
                writer.add_scalar("loss", mean_loss, step)
                writer.add_scalar("learning_rate", optimizer.param_groups[0]["lr"], step)
                writer.add_scalar("grad_norm", float(grad_norm), step)
                writer.add_scalar("frames_per_s_per_process", rate, step)
            if step % config.log_steps == 0:
                losses, started = [], time.perf_counter()
            if step % config.checkpoint_steps == 0 or step == config.max_train_steps:
                checkpoint()
            if config.sample_steps and (step % config.sample_steps == 0 or step == config.max_train_steps):
                if pipeline is not None and writer is not None:
                    write_samples(config, pipeline, step, writer)
                world.barrier()
            if interrupted:
                if step % config.checkpoint_steps:
                    checkpoint()
                raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, old_handler)
        progress.close()
        if writer is not None:
            writer.close()
    if world.is_main:
        print(f"trained {step} steps; the averaged model is in {checkpoint_dir / 'denoiser'}")


def launch(config: Config) -> None:
    """Join the other processes of the run, if there are any, and train."""
    with distributed_world(config.device) as world:
        main(config, world)


if __name__ == "__main__":
    run_script(launch, Config, __doc__)
