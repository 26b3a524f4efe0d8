"""Tell how much memory training takes, by preset and batch, without allocating it.

Try it:

    python -m benchmarks.train_memory
    python -m benchmarks.train_memory --presets published --batch_sizes 1 8 --height 1024 --width 512

Prints a markdown table from `diffusion.memory.estimate_training_memory`: weights, gradients, AdamW's moments
and the moving average together, then activations in float32, in bfloat16, and in bfloat16 with gradient
checkpointing. What operations need while they run, and what libraries hold, comes on top.
"""

import dataclasses

import torch
from tqdm import tqdm

from diffusion.memory import MemoryEstimate, estimate_training_memory, format_bytes
from models import PRESETS
from utils.config import run_script
from utils.errors import UserError

# Height and width in pixels that a preset is made for; its latents are 8 times smaller.
SIZES = {"published": (512, 256), "small": (256, 128), "published_small": (256, 128), "tiny": (64, 32)}
VAE_FACTOR = 8
TITLES = (
    "preset", "clips", "model", "activations, float32", "bfloat16", "bfloat16, checkpointed",
    "total of the last",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the table."""

    presets: tuple[str, ...] = ("small", "published")
    """Names in models/presets.py."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    """Clips in a process's batch."""
    num_frames: int = 24
    """Frames of a clip."""
    height: int | None = None
    """Of the pictures in pixels; by default the preset's own size."""
    width: int | None = None
    """Goes with --height."""


def main(config: Config) -> None:
    """Print the table."""
    unknown = [name for name in config.presets if name not in PRESETS]
    if unknown:
        raise UserError(f"--presets {' '.join(unknown)}: choose among {', '.join(PRESETS)}")
    if (config.height is None) != (config.width is None):
        raise UserError("--height and --width go together; give both or neither")
    lines = [
        f"| {' | '.join(TITLES)} |",
        f"|---{'|--:' * (len(TITLES) - 1)}|",
    ]
    rows = [(preset, batch) for preset in config.presets for batch in config.batch_sizes]
    for preset, batch in tqdm(rows, desc="estimate", unit="row"):
        height, width = (config.height, config.width) if config.height and config.width else SIZES[preset]

        def estimate(
            dtype: torch.dtype, checkpointing: bool, preset=preset, batch=batch, height=height, width=width
        ) -> MemoryEstimate:
            return estimate_training_memory(
                PRESETS[preset],
                batch_size=batch,
                num_frames=config.num_frames,
                height=height // VAE_FACTOR,
                width=width // VAE_FACTOR,
                dtype=dtype,
                gradient_checkpointing=checkpointing,
            )

        kinds = [
            estimate(torch.float32, False),
            estimate(torch.bfloat16, False),
            estimate(torch.bfloat16, True),
        ]
        cells = [format_bytes(kinds[0].total - kinds[0].activations)]
        cells += [format_bytes(kind.activations) for kind in kinds]
        lines.append(f"| `{preset}` | {batch} | {' | '.join(cells)} | {format_bytes(kinds[2].total)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
