"""Weights and inputs that anyone can make again from names alone, and what tests compare.

Every tensor comes from a `numpy.random.RandomState` (whose streams are frozen for good) seeded by the CRC-32
of its own name, so the 87 million weights that the published model was run with need not be stored.
"""

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from models import Denoiser, published_shapes, published_to_state_dict

SAMPLES_PATH = Path(__file__).parents[1] / "data" / "published_outputs.safetensors"
STRIDE = 23
TOY = {
    "block_out_channels": (16, 24, 32),
    "text_attention_heads": (1, 2, 4),
    "spatio_temporal_attention": (False, True, True),
    "temporal_downsample": (False, False, True),
    "attention_heads": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 20,
    "pose_channels": (4, 8, 8, 12),
}
"""The published design at toy size, with a level more that has attention."""


def normal(name: str, *shape: int) -> Tensor:
    """Standard normal float32 numbers that depend on `name` alone."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def seeded_weight(group: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """Kernels and matrices N(0, 1 / fan-in), norms' scales 1 + 0.1 N(0, 1), the rest 0.1 N(0, 1)."""
    noise = normal(f"{group}/{name}", *shape).numpy()
    leaf = name.split(".")[-1]
    if leaf == "g" or (leaf == "weight" and len(shape) == 1):
        values = 1.0 + 0.1 * noise
    elif len(shape) > 1:
        values = noise / math.sqrt(math.prod(shape[1:]))
    else:
        values = 0.1 * noise
    return torch.from_numpy(values.astype(np.float32))


def seeded_checkpoint(config: Mapping[str, Any] | None = None) -> dict[str, dict[str, Tensor]]:
    """A published checkpoint's three groups, every tensor different and none zero."""
    return {
        group: {name: seeded_weight(group, name, shape) for name, shape in shapes.items()}
        for group, shapes in published_shapes(config).items()
    }


def seeded_denoiser(
    config: Mapping[str, Any] | None = None, checkpoint: dict[str, dict[str, Tensor]] | None = None
) -> Denoiser:
    """A denoiser that holds a seeded checkpoint, in eval mode."""
    denoiser = Denoiser(**(config or {}))
    denoiser.load_state_dict(published_to_state_dict(checkpoint or seeded_checkpoint(config), config))
    return denoiser.eval()


def seeded_inputs(
    num_frames: int = 8, height: int = 32, width: int = 16, seed: str = "inputs", text_channels: int = 768
) -> dict[str, Tensor]:
    """A batch of two videos, as arguments of `Denoiser.forward`."""
    return {
        "noisy_latents": normal(f"{seed}/noisy_latents", 2, 4, num_frames, height, width),
        "timesteps": torch.tensor([987.0, 13.0]),
        "prompt_embeds": normal(f"{seed}/text_embeddings", 2, 77, text_channels),
        "reference_latents": normal(f"{seed}/reference_latents", 2, 4, height, width),
        "pose_images": normal(f"{seed}/pose_images", 2, 3, num_frames, 8 * height, 8 * width).clamp(-1, 1),
    }


def take(
    inputs: dict[str, Any], samples: slice | None = None, dtype: torch.dtype | None = None
) -> dict[str, Any]:
    """Some samples of a batch, in a precision (timesteps keep theirs)."""
    chosen = {name: tensor[samples or slice(None)] for name, tensor in inputs.items()}
    return {name: tensor if name == "timesteps" else tensor.to(dtype) for name, tensor in chosen.items()}


def relative_error(result: Tensor, truth: Tensor) -> float:
    """Relative L2 distance."""
    assert result.shape == truth.shape
    return ((result.double() - truth.double()).norm() / truth.double().norm()).item()


def sample(tensor: Tensor) -> dict[str, Tensor]:
    """What is stored of a large tensor: every 23rd number, and the norm of all."""
    return {
        "values": tensor.flatten()[::STRIDE].float().clone(),
        "norm": tensor.double().norm().float()[None],
    }


def load_samples() -> dict[str, dict[str, Tensor]]:
    """{tensor: {"values": ..., "norm": ...}} of what the published model returns for the seeded weights."""
    samples: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(SAMPLES_PATH).items():
        name, part = key.rsplit(".", 1)
        samples.setdefault(name, {})[part] = value
    return samples
