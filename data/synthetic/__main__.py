"""Render a synthetic fashion dataset: dressed, lit people who move as their sentences say.

    python -m data.synthetic --output_dir people --num_train 400 --num_test 40 --num_frames 24
    python -m data.synthetic --output_dir clips --num_train 4 --num_test 2 --num_frames 16 --height 256
    python -m data.synthetic --output_dir tracks --num_train 6000 --poses_only
    python -m data.synthetic --output_dir turns --num_train 400 --motions turn_left turn_right turn_around

What is written depends only on the seed, the number of frames and the height, not on the number of workers;
the same command again adds the clips that are missing. Left and right are the person's own.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import os
from pathlib import Path
from typing import Any, Literal

import cv2
from tqdm import tqdm

from data.synthetic.layout import FOLDERS, SPLITS, Output, is_finished
from data.synthetic.wordings import MOTIONS
from utils.config import run_script
from utils.errors import UserError
from utils.files import read_json, write_json

MAX_CLIPS = 100_000
RENDERER = "people 2"
"""Goes into synthetic.json: clips of another renderer are not mixed with these."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to render."""

    output_dir: Path
    """Where the dataset goes."""
    num_train: int = 400
    """Clips to train on."""
    num_test: int = 40
    """Clips kept for test: other people, and sentences worded otherwise."""
    num_frames: int = 24
    """Frames a clip, 4 to 1000; the whole motion fits in them."""
    height: int = 512
    """Height of the pictures in pixels, a multiple of 16 from 128 to 1024; they are half as wide."""
    seed: int = 0
    """Seed of everything that is drawn at random."""
    motions: tuple[str, ...] = ()
    """Draw motions among these labels only, such as turn_left turn_right turn_around; all if not given."""
    num_workers: int = 0
    """Processes side by side; 0 is one a core."""
    picture_format: Literal["png", "jpg"] = "png"
    """Format of the frames. Skeletons and masks are always PNG."""
    png_compression: int = 2
    """0 to 9: 2 is fast, 9 makes the files a little smaller; the pixels are the same."""
    jpg_quality: int = 95
    """1 to 100, for --picture_format jpg."""
    surface: bool = False
    """Also write fashion_surface/NAME.npz: which point of which surface every pixel shows, for warps."""
    poses_only: bool = False
    """Write no pictures, only annotations and fashion_poses/NAME.json, for the model of sentence to poses."""


def check(config: Config) -> None:
    """Refuse settings that cannot be rendered.

    Raises:
        UserError: a number out of its range, or a folder that holds a dataset of other settings.
    """
    for name, low, high in (
        ("num_train", 0, MAX_CLIPS),
        ("num_test", 0, MAX_CLIPS),
        ("num_frames", 4, 1000),
        ("height", 128, 1024),
        ("seed", 0, 2**63 - 1),
        ("num_workers", 0, 1024),
        ("png_compression", 0, 9),
        ("jpg_quality", 1, 100),
    ):
        value = getattr(config, name)
        if not low <= value <= high:
            raise UserError(f"--{name} {value} is out of range; give a number from {low} to {high}")
    if config.height % 16:
        near = round(config.height / 16) * 16
        raise UserError(f"--height {config.height} is not a multiple of 16; try --height {near}")
    if unknown := [label for label in config.motions if label not in MOTIONS]:
        raise UserError(f"--motions {unknown[0]} is not a motion; give some of {', '.join(MOTIONS)}")
    if config.num_train + config.num_test == 0:
        raise UserError("--num_train 0 with --num_test 0 leaves nothing to render; give at least one clip")
    if config.output_dir.exists() and not config.output_dir.is_dir():
        raise UserError(f"--output_dir {config.output_dir} is not a folder; give the name of a folder")
    settings_path = config.output_dir / "synthetic.json"
    if settings_path.exists():
        there, wanted = read_json(settings_path), _settings(config)
        if there != wanted:
            there = there if isinstance(there, dict) else {}
            others = [
                f"{name} is {there.get(name, 'not set')} there, {wanted.get(name, 'not set')} here"
                for name in there | wanted
                if there.get(name) != wanted.get(name)
            ]
            raise UserError(
                f"{config.output_dir} holds a dataset of other settings ({'; '.join(others)}); "
                "choose another --output_dir"
            )
    elif any((config.output_dir / folder).exists() for folder in (*FOLDERS.values(), *SPLITS)):
        raise UserError(
            f"{config.output_dir} holds a dataset that was not rendered; choose another --output_dir"
        )


def _settings(config: Config) -> dict[str, Any]:
    settings = {name: getattr(config, name) for name in ("num_frames", "height", "seed")}
    settings["renderer"] = RENDERER
    if config.motions:
        settings["motions"] = list(config.motions)
    if config.picture_format == "jpg":
        settings["jpg_quality"] = config.jpg_quality
    return settings | {name: True for name in ("surface", "poses_only") if getattr(config, name)}


def main(config: Config) -> None:
    """Render the clips that are not there yet."""
    check(config)
    from data.synthetic.write import write_sampled_clip  # needs numba, which --help does not

    counts = {"train": config.num_train, "test": config.num_test}
    wanted = [(split, index) for split in SPLITS for index in range(counts[split])]
    missing = [(s, i) for s, i in wanted if not is_finished(config.output_dir, s, f"{s}_{i:05d}")]
    write_json(config.output_dir / "synthetic.json", _settings(config))
    for split in SPLITS:
        (config.output_dir / split).mkdir(exist_ok=True)
    print(f"{len(wanted)} clips in {config.output_dir}, {len(wanted) - len(missing)} already there")

    output = Output(**{f.name: getattr(config, f.name) for f in dataclasses.fields(Output)})
    arguments = (config.output_dir, config.seed, config.num_frames, config.height, output, config.motions)
    num_workers = min(config.num_workers or os.cpu_count() or 1, len(missing))
    progress = tqdm(total=len(missing), unit="clip", disable=None)
    rejected: list[str] = []
    if num_workers <= 1:
        cv2.setNumThreads(1)
        for split, index in missing:
            rejected += write_sampled_clip(*arguments, split, index)
            progress.update()
    else:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(num_workers, context, cv2.setNumThreads, (1,)) as pool:
            futures = [pool.submit(write_sampled_clip, *arguments, split, index) for split, index in missing]
            try:
                for future in concurrent.futures.as_completed(futures):
                    rejected += future.result()
                    progress.update()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    progress.close()
    if rejected:
        print(f"draws that failed a check and were made again: {len(rejected)}")
        print("\n".join(f"  {line}" for line in sorted(rejected)))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
