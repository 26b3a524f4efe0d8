"""The memory that training needs, found without a real tensor."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from diffusion.schedule import make_scheduler
from diffusion.training import StepRandomness, diffusion_loss
from models import Denoiser
from models.lora import add_lora

NUM_TOKENS = 77
"""Length of CLIP's sentences; it hardly matters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes that a training run holds, by what holds them.

    Not counted: what an operation needs only while it runs, and what libraries and the allocator keep.
    """

    parameters: int
    """Number of trained parameters."""
    weights: int
    """Bytes of the weights and buffers, float32."""
    gradients: int
    """Bytes of the gradients, float32."""
    optimizer: int
    """Bytes of AdamW's two moments."""
    ema: int
    """Bytes of the moving average of weights and buffers."""
    activations: int
    """Bytes that the forward pass of a batch keeps for the backward pass; with gradient checkpointing also
    those of the block that keeps most while it is computed again."""

    @property
    def total(self) -> int:
        """Bytes of everything together."""
        return self.weights + self.gradients + self.optimizer + self.ema + self.activations

    def text(self) -> str:
        """A few lines for people, the largest unit that fits for each number."""
        lines = [f"{self.parameters:,} parameters"]
        for name in ("weights", "gradients", "optimizer", "ema", "activations", "total"):
            lines.append(f"{name:<12}{format_bytes(getattr(self, name)):>10}")
        return "\n".join(lines)


def format_bytes(num_bytes: int) -> str:
    """Bytes with a unit, 1024 to the next: "512 B", "1.4 MiB"."""
    size, units = float(num_bytes), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1024 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


class SavedBytes:
    """Counts the distinct storages that operations save for the backward pass, weights and buffers aside.

    Args:
        denoiser: whose weights and buffers are not counted.
    """

    def __init__(self, denoiser: torch.nn.Module) -> None:
        owned = (*denoiser.parameters(), *denoiser.buffers())
        self._owned = {tensor.untyped_storage()._cdata for tensor in owned}
        self._saved: dict[int, torch.UntypedStorage] = {}  # kept alive, or another would get its address

    @property
    def total(self) -> int:
        """Bytes saved so far."""
        return sum(storage.nbytes() for storage in self._saved.values())

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is saved within."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._owned:
            self._saved[storage._cdata] = storage
        return tensor


def make_batch(
    config: dict[str, Any], *, batch_size: int, num_frames: int, height: int, width: int, pose_scale: int
) -> tuple[dict[str, torch.Tensor], StepRandomness]:
    """A batch of noise for `diffusion_loss` and what is random in its step.

    Args:
        config: settings of the denoiser.
        batch_size: clips.
        num_frames: number of frames of each clip.
        height: height of the latents.
        width: width of the latents.
        pose_scale: side of the pose pictures over that of the latents.
    """
    latents = torch.randn(batch_size, config["latent_channels"], num_frames, height, width)
    batch = {
        "latents": latents,
        "pose_images": torch.rand(batch_size, 3, num_frames, pose_scale * height, pose_scale * width) * 2 - 1,
        "prompt_embeds": torch.randn(batch_size, NUM_TOKENS, config["cross_attention_dim"]),
    }
    if config["warp_input"]:
        batch["warped_latents"] = torch.randn_like(latents)
        batch["warp_validity"] = torch.rand(batch_size, 1, num_frames, height, width)
    drop = torch.zeros(batch_size, dtype=torch.bool)
    timesteps = torch.zeros(batch_size, dtype=torch.long)
    return batch, StepRandomness(timesteps, torch.randn_like(latents), drop, drop, drop)


@contextlib.contextmanager
def _fake_step(
    denoiser_config: dict[str, Any], lora_rank: int = 0, **sizes: int
) -> Iterator[tuple[Denoiser, Callable[[], torch.Tensor]]]:
    """A denoiser and a function that computes the mean loss of a batch, of tensors that have only a shape."""
    with torch.device("meta"):
        denoiser = Denoiser(**denoiser_config).train()
        if lora_rank:
            add_lora(denoiser, lora_rank, seed=0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        denoiser.to_empty(device="cpu")
        batch, randomness = make_batch(denoiser.config, pose_scale=denoiser.pose_scale, **sizes)
        prediction_type = denoiser.config.prediction_type
        scheduler = make_scheduler("ddpm", prediction_type)
        yield (
            denoiser,
            lambda: diffusion_loss(denoiser, scheduler, batch, randomness, prediction_type).mean(),
        )


def estimate_training_memory(
    denoiser_config: dict[str, Any],
    *,
    batch_size: int,
    num_frames: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    gradient_checkpointing: bool = False,
    lora_rank: int = 0,
) -> MemoryEstimate:
    """Estimate the memory of training with AdamW and a moving average of the weights.

    Takes seconds and little memory itself: the forward pass runs on tensors without data.

    Args:
        denoiser_config: arguments of `Denoiser`, such as an entry of `PRESETS`.
        batch_size: clips whose activations are held at once.
        num_frames: number of frames of each clip.
        height: height of the latents.
        width: width of the latents.
        dtype: bfloat16 for autocast, or float32.
        gradient_checkpointing: as after `Denoiser.enable_gradient_checkpointing`.
        lora_rank: of an adapter that is trained in place of the model; 0 for none.

    Raises:
        UserError: sizes that the model does not take.
    """
    sizes = {"batch_size": batch_size, "num_frames": num_frames, "height": height, "width": width}
    largest_block = 0

    def recompute(block: torch.nn.Module, *args: Any) -> Any:
        nonlocal largest_block
        inside = SavedBytes(denoiser)
        with inside.counting():
            block(*args)
        largest_block = max(largest_block, inside.total)
        return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False)

    with _fake_step(denoiser_config, lora_rank, **sizes) as (denoiser, compute_loss):
        if gradient_checkpointing:
            denoiser.enable_gradient_checkpointing(recompute)
        saved = SavedBytes(denoiser)
        with saved.counting(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = compute_loss()
        activations = saved.total + largest_block
        del loss
        trained = [p for p in denoiser.parameters() if p.requires_grad]
        parameters = sum(p.numel() for p in trained)
        gradients = sum(p.nbytes for p in trained)
        weights = sum(t.nbytes for t in (*denoiser.parameters(), *denoiser.buffers()))
    return MemoryEstimate(
        parameters=parameters,
        weights=weights,
        gradients=gradients,
        optimizer=2 * gradients,
        ema=weights,
        activations=activations,
    )
