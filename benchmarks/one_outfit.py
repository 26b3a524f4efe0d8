"""Render clips of one person in one outfit, to measure what an adapter learns of them.

    python -m benchmarks.one_outfit --output_dir runs/outfit

The person, the outfit, the studio and the camera are those of one test clip of `data.synthetic`; only the
motions differ. `docs/training.md` shows what to do with them.
"""

import dataclasses
from pathlib import Path

import numpy as np

from data.synthetic.layout import SPLITS
from utils.config import run_script
from utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to render."""

    output_dir: Path
    """Where the dataset goes."""
    num_train: int = 20
    """Clips to train on."""
    num_test: int = 6
    """Clips kept for test: other motions of the same person."""
    num_frames: int = 24
    """Frames a clip."""
    height: int = 512
    """Height of the pictures in pixels; they are half as wide."""
    seed: int = 100
    """Chooses person and outfit."""


def main(config: Config) -> None:
    """Render all clips; no two of them have the same motions.

    Raises:
        UserError: the folder exists.
    """
    from data.synthetic.checks import RejectedError  # they need numba, which --help does not
    from data.synthetic.motion import sample_motions
    from data.synthetic.render import sample_clip
    from data.synthetic.write import write_clip

    if config.output_dir.exists():
        raise UserError(f"{config.output_dir} exists; give another --output_dir, or remove it")
    names = [f"{split}_{i:05d}" for split in SPLITS for i in range(getattr(config, f"num_{split}"))]
    for split in SPLITS:
        (config.output_dir / split).mkdir(parents=True)
    rng, performed = np.random.default_rng(config.seed), list[list[str]]()
    while names:
        motions = sample_motions(rng)
        if motions in performed:
            continue
        performed.append(motions)
        clip = sample_clip(config.seed, "test", 0, config.num_frames, config.height, motions)
        try:
            write_clip(config.output_dir, names[0].split("_")[0], dataclasses.replace(clip, name=names[0]))
        except RejectedError:  # this person cannot do it well
            continue
        print(f"{names.pop(0)}: {clip.text}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
