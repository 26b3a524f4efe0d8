"""The estimate of training's memory against what a real step keeps."""

import dataclasses
from typing import Any

import pytest
import torch

from diffusion.memory import (
    MemoryEstimate,
    estimate_training_memory,
    format_bytes,
    make_batch,
)
from diffusion.schedule import make_scheduler
from diffusion.training import diffusion_loss
from models import PRESETS, Denoiser
from utils.errors import UserError

SIZES = {"batch_size": 2, "num_frames": 4, "height": 16, "width": 8}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def estimate(preset: str = "tiny", dtype: torch.dtype = torch.float32, **changes: Any) -> MemoryEstimate:
    return estimate_training_memory(PRESETS[preset], dtype=dtype, **{**SIZES, **changes})


def really_saved(dtype: torch.dtype, gradient_checkpointing: bool) -> int:
    denoiser = Denoiser(**PRESETS["tiny"])
    if gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    weights = {p.data_ptr() for p in denoiser.parameters()}
    batch, randomness = make_batch(denoiser.config, pose_scale=denoiser.pose_scale, **SIZES)
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        loss = diffusion_loss(denoiser, make_scheduler("ddpm", "sample"), batch, randomness, "sample").mean()
    loss.backward()
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in weights)


@DTYPES
def test_the_estimate_is_what_a_real_step_saves(dtype: torch.dtype) -> None:
    assert estimate(dtype=dtype).activations == pytest.approx(really_saved(dtype, False), rel=0.03)


@DTYPES
def test_gradient_checkpointing_needs_less_but_one_block_more_than_it_saves(dtype: torch.dtype) -> None:
    estimated = estimate(dtype=dtype, gradient_checkpointing=True).activations
    assert really_saved(dtype, True) < estimated < 0.6 * estimate(dtype=dtype).activations


def test_activations_grow_with_the_batch_and_shrink_in_bfloat16() -> None:
    two, four, six = (estimate(batch_size=size).activations for size in (2, 4, 6))
    assert 0.9 * two < six - four == pytest.approx(four - two, rel=0.01)
    assert estimate(num_frames=8).activations > 1.8 * two
    assert estimate(dtype=torch.bfloat16).activations < 0.8 * two


def test_weights_are_counted_once_for_each_that_holds_them() -> None:
    denoiser = Denoiser(**PRESETS["tiny"])
    found = estimate()
    assert found.parameters == sum(p.numel() for p in denoiser.parameters())
    assert found.weights == found.gradients == found.ema == 4 * found.parameters
    assert found.optimizer == 2 * found.gradients
    parts = {k: v for k, v in dataclasses.asdict(found).items() if k != "parameters"}
    assert found.total == sum(parts.values())
    text = found.text()
    assert f"{found.parameters:,} parameters" in text
    for name, value in (parts | {"total": found.total}).items():
        assert f"{name} " in text and format_bytes(value) in text


def test_the_published_model_is_estimated_without_its_memory() -> None:
    found = estimate("published", batch_size=1, num_frames=24, height=64, width=32)
    assert 87e6 < found.parameters < 88e6 and found.weights > found.gradients
    assert 1e9 < found.activations < 4e9


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="latents of 10 x 8"):
        estimate(height=10)


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_bytes_have_units(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text
