"""Clips to files in the dataset's layout, each whole or absent."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.synthetic.render import Clip, Frame, describe, render_clip, sample_clip, track_clip
from data.synthetic.shading import PART_COLORS
from utils.errors import UserError
from utils.files import write_json, write_text

FOLDERS = {"picture": "fashion_crop", "pose": "fashion_poses", "mask": "fashion_masks"}
PALETTE = bytes(value for color in PART_COLORS for value in color)


def is_finished(output_dir: Path, split: str, name: str) -> bool:
    """Whether a clip is on disk: its annotation is written last."""
    return (output_dir / split / f"{name}.txt").is_file()


def write_sampled_clip(
    output_dir: Path,
    seed: int,
    num_frames: int,
    height: int,
    png_compression: int,
    poses_only: bool,
    split: str,
    index: int,
) -> None:
    """Sample clip `index` of a split and write it: a function of this module, so that workers find it."""
    clip = sample_clip(seed, split, index, num_frames, height)
    write_clip(output_dir, split, clip, png_compression, poses_only)


def write_clip(
    output_dir: Path, split: str, clip: Clip, png_compression: int = 2, poses_only: bool = False
) -> None:
    """Render a clip and write its frames, skeletons, masks, JSON and, last, its annotation.

    With `poses_only` the JSON and the annotation alone: the same bytes, many times faster.

    Each folder is filled under a temporary name and then renamed, so that an interrupted run leaves no part
    of a clip that looks like a whole one.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        keypoints = track_clip(clip) if poses_only else _write_folders(output_dir, clip, png_compression)
    except OSError as error:
        raise UserError(
            f"cannot write to {output_dir}: {error.strerror or error}; free space or choose another folder"
        ) from error
    write_json(output_dir / "fashion_poses" / f"{clip.name}.json", describe(clip, keypoints))
    write_text(output_dir / split / f"{clip.name}.txt", f"0 {clip.num_frames} {clip.text}\n")


def _write_folders(output_dir: Path, clip: Clip, png_compression: int) -> list[np.ndarray]:
    final = {kind: output_dir / folder / clip.name for kind, folder in FOLDERS.items()}
    temporary = {kind: path.with_name(f".{clip.name}.partial") for kind, path in final.items()}
    for path in (*final.values(), *temporary.values()):
        shutil.rmtree(path, ignore_errors=True)
    for path in temporary.values():
        path.mkdir(parents=True)
    keypoints = _write_frames(temporary, render_clip(clip), png_compression)
    for kind, path in temporary.items():
        path.replace(final[kind])
    return keypoints


def _write_frames(
    folders: dict[str, Path], frames: Iterable[Frame], png_compression: int
) -> list[np.ndarray]:
    keypoints = []
    for number, frame in enumerate(frames):
        for kind in ("picture", "pose"):
            path = folders[kind] / f"{number:03d}.png"
            bgr = cv2.cvtColor(getattr(frame, kind), cv2.COLOR_RGB2BGR)
            encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, png_compression])[1]
            path.write_bytes(encoded.tobytes())
        mask = Image.fromarray(frame.mask, "P")
        mask.putpalette(PALETTE)
        mask.save(folders["mask"] / f"{number:03d}.png", compress_level=png_compression)
        keypoints.append(frame.keypoints)
    return keypoints
