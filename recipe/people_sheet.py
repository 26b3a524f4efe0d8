"""Lay frames of a dataset's clips side by side in one picture.

python -m data.synthetic --output_dir people --num_train 24 --num_test 0 --seed 7
python -m recipe.people_sheet --dataset people --output_path docs/synthetic.jpg
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from data.annotations import annotation_paths
from data.frames import frame_paths
from utils.config import run_script
from utils.errors import UserError
from utils.files import atomic_path
from utils.image import read_image
from utils.paths import SHIPPED_DATASET


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to lay out."""

    dataset: Path = SHIPPED_DATASET
    """Dataset with the folder fashion_crop."""
    output_path: Path = Path("runs/people.jpg")
    """Picture to write: .jpg or .png."""
    split: str = "train"
    """Split of the dataset: "train" or "test"."""
    frames: tuple[int, ...] = (0,)
    """Numbers of the frames to show of each clip, side by side."""
    columns: int = 8
    """Number of clips in a row."""
    height: int = 256
    """Height of each frame in pixels."""


def main(config: Config) -> None:
    """Write the picture.

    Raises:
        UserError: no clips, or a clip without one of the frames.
    """
    names = [path.stem for path in annotation_paths(config.dataset, config.split)]
    if not names:
        raise UserError(f"{config.dataset / config.split} names no clips; give another --dataset or --split")
    cells = [_cell(config, name) for name in names]
    rows = [cells[i : i + config.columns] for i in range(0, len(cells), config.columns)]
    blank = np.full_like(cells[0], 255)
    sheet = np.concatenate(
        [np.concatenate(row + [blank] * (config.columns - len(row)), axis=1) for row in rows]
    )
    with atomic_path(config.output_path) as path:
        Image.fromarray(sheet).save(path, quality=88)


def _cell(config: Config, name: str) -> np.ndarray:
    paths = frame_paths(config.dataset / "fashion_crop" / name)
    if max(config.frames) >= len(paths):
        raise UserError(f"clip {name} has {len(paths)} frames; --frames {max(config.frames)} is too high")
    pictures = [Image.fromarray(read_image(paths[i])) for i in config.frames]
    width = round(pictures[0].width * config.height / pictures[0].height)
    small = [np.asarray(p.resize((width, config.height), Image.Resampling.LANCZOS)) for p in pictures]
    return np.concatenate(small, axis=1)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
