"""Frames and poses from disk: a folder of numbered pictures a video, or a video file."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.image import read_image
from utils.video import iter_video

NUMBERED = re.compile(r"(\d{1,9})\.(?:png|jpe?g)", re.ASCII | re.IGNORECASE)
NAMING = "frames are named 000.png, 001.png and so on"


def frame_paths(folder: str | Path) -> list[Path]:
    """The numbered pictures of a folder in the order of their numbers; other files are ignored.

    Raises:
        UserError: no such folder, no numbered pictures, or numbers that do not run from 0 without a gap.
    """
    folder = Path(folder)
    numbered = sorted(numbered_pictures(folder))
    if not numbered:
        raise UserError(f"{folder} holds no frames; {NAMING}")
    for expected, (number, name) in enumerate(numbered):
        if number < expected:
            raise UserError(f"{folder} has frame {number} twice ({name}); remove one of them")
        if number > expected:
            raise UserError(f"{folder} has no frame {expected:03d}; {NAMING}, without a gap")
    return [folder / name for _, name in numbered]


def count_frames(folder: str | Path) -> int:
    """How many numbered pictures a folder holds, by their names alone.

    Raises:
        UserError: no such folder.
    """
    return len(numbered_pictures(folder))


def numbered_pictures(folder: str | Path) -> list[tuple[int, str]]:
    """Number and name of each numbered picture in a folder, in no order.

    Raises:
        UserError: no such folder.
    """
    try:
        with os.scandir(folder) as entries:
            matches = [NUMBERED.fullmatch(entry.name) for entry in entries]
    except OSError as error:
        raise UserError(f"there is no folder of frames {folder}; {NAMING}") from error
    return [(int(match[1]), match[0]) for match in matches if match]


def read_frames(folder: str | Path, indices: Sequence[int] | None = None) -> np.ndarray:
    """Read frames of a folder.

    Args:
        folder: folder of numbered pictures.
        indices: which ones, in this order; None reads all.

    Returns:
        (F, H, W, 3) uint8 RGB.

    Raises:
        UserError: see `frame_paths` and `read_image`; an index past the last frame; frames of several sizes.
    """
    paths = frame_paths(folder)
    if indices is not None:
        if len(indices) == 0 or not 0 <= min(indices) <= max(indices) < len(paths):
            raise UserError(f"{folder} has frames 0 to {len(paths) - 1}, asked for {list(indices)}")
        paths = [paths[i] for i in indices]
    return read_pictures(paths)


def read_pictures(paths: Sequence[Path]) -> np.ndarray:
    """Read pictures of one size as (F, H, W, 3) uint8 RGB; a `UserError` names the first that differs."""
    pictures = iter_pictures(paths)
    first = next(pictures)
    frames = np.empty((len(paths), *first.shape), np.uint8)
    frames[0] = first
    for i, picture in enumerate(pictures, 1):
        frames[i] = picture
    return frames


def iter_pictures(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Read pictures (H, W, 3) uint8 RGB one by one; a `UserError` names the first of another size."""
    first: np.ndarray | None = None
    for path in paths:
        picture = read_image(path)
        first = picture if first is None else first
        if picture.shape != first.shape:
            raise UserError(
                f"{path} is {picture.shape[1]} x {picture.shape[0]} pixels, {paths[0].name} beside it is "
                f"{first.shape[1]} x {first.shape[0]}; all frames of a video must have one size"
            )
        yield picture


def read_poses(path: str | Path, num_frames: int | None = None) -> np.ndarray:
    """Read skeleton pictures as (F, H, W, 3) uint8 RGB; see `iter_poses`."""
    return np.stack(list(iter_poses(path, num_frames)))


def iter_poses(path: str | Path, num_frames: int | None = None) -> Iterator[np.ndarray]:
    """Read skeleton pictures one by one, from a folder of numbered pictures or from a video file.

    Args:
        path: path of the folder or the video.
        num_frames: read only the first so many; None reads all.

    Yields:
        (H, W, 3) uint8 RGB.

    Raises:
        UserError: see `frame_paths`, `iter_pictures` and `iter_video`; or fewer poses than `num_frames`.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"there are no poses at {path}; give a folder of skeleton pictures or a video of them"
        )
    pictures = iter_pictures(frame_paths(path)) if path.is_dir() else (p for p, _, _ in iter_video(path))
    count = 0
    for picture in itertools.islice(pictures, num_frames):
        count += 1
        yield picture
    if num_frames is not None and count < num_frames:
        raise UserError(f"{path} has {count} poses, {num_frames} are needed; ask for fewer frames")
