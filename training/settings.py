"""Settings of a run that trains a denoiser: their flags, and what these must keep to."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from data.annotations import Segment
from utils.config import check_minimum, settings_as_json
from utils.distributed import World
from utils.errors import UserError
from utils.files import check_output_dir
from utils.paths import refuse_overwrites_by

# What a resumed run must agree on, besides its data: a change would silently make it another run.
FIXED_SETTINGS = (
    "max_train_steps", "train_batch_size", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm",
    "ema_decay", "num_frames", "short_clip_frames", "short_clip_steps", "drop_image", "drop_poses",
    "drop_text", "person_weight", "temporal_weight", "seed",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run that trains a denoiser, with the defaults of train.py."""

    dataset: Path = Path("fashion_dataset")
    """Dataset folder: fashion_poses and train/*.txt are read."""
    latents: Path = Path("fashion_dataset_tensor")
    """What project_latent_space.py wrote for it."""
    output_dir: Path
    """Gets checkpoint/, losses.jsonl and video_progress/ (tensorboardX)."""
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
    """Decay a step of the moving average of the weights, which is what sampling uses; it grows to this from
    0.1, so that a short run is worth sampling too."""
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
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""

    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps, and at the end."""
    keep: int = 2
    """Checkpoints to keep."""
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


def check_run_settings(config: RunSettings, world: World) -> None:
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
    check_minimum(config, 1, *at_least_1, "person_weight")
    at_least_0 = "warmup_steps", "validation_steps", "num_validation_clips", "learning_rate"
    check_minimum(config, 0, *at_least_0, "temporal_weight", "max_loss_ratio")
    if config.num_workers is not None:
        check_minimum(config, 0, "num_workers")
    for name in ("drop_image", "drop_poses", "drop_text"):
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(f"--{name} {getattr(config, name)} is a probability; give 0 to 1")
    if config.short_clip_frames > config.num_frames:
        raise UserError(
            f"--short_clip_frames {config.short_clip_frames} exceeds --num_frames {config.num_frames}"
        )
    check_output_dir(config.output_dir)
    names = "checkpoint", "training_sample", "video_progress", "losses.jsonl"
    refuse_overwrites_by(config, [config.output_dir / name for name in names])


def fixed_settings(
    config: RunSettings, names: tuple[str, ...], segments: list[Segment], vae_sum: str
) -> dict[str, Any]:
    """The settings that a resumed run must share, as JSON can hold them, and a checksum of its data.

    Args:
        config: of the run.
        names: of those that the script adds to `FIXED_SETTINGS`.
        segments: that are trained on.
        vae_sum: checksum of the VAE that made their latents.
    """
    settings = settings_as_json(config)
    data = [dataclasses.astuple(segment) for segment in segments]
    digest = hashlib.sha256(json.dumps([data, vae_sum]).encode()).hexdigest()
    return {name: settings[name] for name in (*FIXED_SETTINGS, *names)} | {"data": digest[:16]}
