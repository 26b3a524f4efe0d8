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
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL, refuse_overwrites_by

# What a resumed run must agree on, besides its data: a change would silently make it another run.
FIXED_SETTINGS = (
    "max_train_steps", "train_batch_size", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm",
    "ema_decay", "num_frames", "short_clip_frames", "short_clip_steps", "drop_image", "drop_poses",
    "drop_text", "person_weight", "temporal_weight", "seed", "dtype",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run that trains a denoiser, with the defaults of train.py."""

    dataset: Path = SHIPPED_DATASET
    """Folder of the dataset, or its shards or their address, such as s3://bucket/my_dataset."""
    latents: Path = Path("fashion_dataset_tensor")
    """What project_latent_space.py wrote for the dataset: a folder, or shards or their address."""
    output_dir: Path
    """Folder for checkpoint/, losses.jsonl and video_progress/ (TensorBoard)."""
    text_encoder: Path = SHIPPED_MODEL / "text_encoder"
    """Folder of the CLIP text encoder."""
    tokenizer: Path | None = None
    """Folder of the tokenizer. By default the text encoder's own, or `tokenizer` beside it."""

    max_train_steps: int = 10_000
    """Number of optimisation steps in all. The learning rate falls to zero by then."""
    train_batch_size: int = 4
    """Clips in an optimisation step, over all processes and accumulated batches together."""
    gradient_accumulation_steps: int = 1
    """Number of parts that each process splits its share of the batch into, to save memory."""
    learning_rate: float = 6e-4
    """Largest learning rate of AdamW."""
    warmup_steps: int = 200
    """Steps in which the learning rate rises, before it falls to zero by half a cosine."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradients; larger ones are scaled down to it."""
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are used to make videos. It grows to this value from 0.1, so that
    short runs are usable too."""
    num_frames: int = 24
    """Frames of a clip. Shorter segments are not used."""
    short_clip_frames: int = 8
    """Frames of a clip in the first --short_clip_steps steps: random frames of the segment, in order. Short
    clips are cheaper."""
    short_clip_steps: int = 0
    """Number of steps at the start that train on short clips."""
    drop_image: float = 0.1
    """Probability that a sample is trained without its photo (and the warp). Each condition is dropped
    independently."""
    drop_poses: float = 0.1
    """Probability that a sample is trained without its poses (and the warp)."""
    drop_text: float = 0.1
    """Probability that a sample is trained without its sentence."""
    person_weight: float = 1.0
    """Weight of errors on the person, relative to 1 for the background. Needs fashion_masks."""
    temporal_weight: float = 0.0
    """Weight of the change of the error from frame to frame, against flicker."""
    seed: int = 0
    """Seed of the data order, timesteps, noise, dropout and initial weights."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation. auto takes bfloat16 where the machine has units for it."""
    device: str = "auto"
    """Where to compute: cpu or cuda. auto takes a GPU if there is one."""
    num_workers: int | None = None
    """Number of data loader processes for each training process. By default 4 with a GPU, none without."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass. Needs less memory and about a third more time."""

    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps, and at the end."""
    keep: int = 2
    """Number of checkpoints to keep."""
    validation_steps: int = 500
    """Compute the loss on held-out clips every so many steps, and at the end. 0 computes none."""
    num_validation_clips: int = 16
    """Number of held-out clips for the validation loss. Each always gets the same noise."""
    log_steps: int = 10
    """Write the curves for TensorBoard every so many steps."""
    max_loss_ratio: float = 5.0
    """Stop if a loss is above so many times the largest of the last 100. 0 never stops."""
    allow_changed_settings: bool = False
    """Resume even if settings or data that shape the run differ from the checkpoint's."""


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
        config: settings of the run.
        names: names of the settings that the script adds to `FIXED_SETTINGS`.
        segments: that are trained on.
        vae_sum: checksum of the VAE that made their latents.
    """
    settings = settings_as_json(config)
    data = [dataclasses.astuple(segment) for segment in segments]
    digest = hashlib.sha256(json.dumps([data, vae_sum]).encode()).hexdigest()
    return {name: settings[name] for name in (*FIXED_SETTINGS, *names)} | {"data": digest[:16]}
