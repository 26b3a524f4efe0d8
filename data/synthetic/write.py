"""Clips to files in the dataset's layout, each whole or absent."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.synthetic.checks import RejectedError
from data.synthetic.layout import FOLDERS, SURFACE_FOLDER, Output
from data.synthetic.mesh import PART_COLORS
from data.synthetic.render import Frame, SyntheticClip, describe, render_clip, sample_clip, track_clip
from data.synthetic.surface import SurfaceWriter
from utils.errors import UserError
from utils.files import write_json, write_text

PALETTE = bytes(value for color in PART_COLORS for value in color)
MAX_DRAWS = 8
"""How often a clip is drawn before the renderer is declared broken."""


def write_sampled_clip(
    output_dir: Path,
    seed: int,
    num_frames: int,
    height: int,
    output: Output,
    among: Sequence[str],
    split: str,
    index: int,
) -> list[str]:
    """Sample clip `index` of a split and write it; one that fails a check is drawn again.

    A function of this module, so that worker processes find it.

    Returns:
        Why earlier draws were rejected, a line each.

    Raises:
        UserError: the folder cannot be written.
        RuntimeError: all draws were rejected.
    """
    rejected: list[str] = []
    for draw in range(MAX_DRAWS):
        clip = sample_clip(seed, split, index, num_frames, height, draw=draw, among=among)
        try:
            write_clip(output_dir, split, clip, output)
        except RejectedError as error:
            rejected.append(f"{clip.name}, draw {draw}: {error}")
            continue
        return rejected
    raise RuntimeError("no draw passed the checks: " + "; ".join(rejected))


def write_clip(output_dir: Path, split: str, clip: SyntheticClip, output: Output | None = None) -> None:
    """Render a clip and write its frames, skeletons, masks, JSON and, last, its annotation.

    Each folder is filled under a temporary name and then renamed, so that an interrupted run leaves no part
    of a clip that looks like a whole one.

    Raises:
        RejectedError: a check found the clip broken; nothing of it is left.
        UserError: the folder cannot be written.
    """
    output = output or Output()
    try:
        keypoints = track_clip(clip) if output.poses_only else _write_folders(output_dir, clip, output)
    except OSError as error:
        raise UserError(
            f"cannot write to {output_dir}: {error.strerror or error}; free space or choose another folder"
        ) from error
    write_json(output_dir / "fashion_poses" / f"{clip.name}.json", describe(clip, keypoints))
    write_text(output_dir / split / f"{clip.name}.txt", f"0 {clip.num_frames} {clip.text}\n")


def _write_folders(output_dir: Path, clip: SyntheticClip, output: Output) -> list[np.ndarray]:
    final = {kind: output_dir / folder / clip.name for kind, folder in FOLDERS.items()}
    temporary = {kind: path.with_name(f".{clip.name}.partial") for kind, path in final.items()}
    for path in (*final.values(), *temporary.values()):
        shutil.rmtree(path, ignore_errors=True)
    for path in temporary.values():
        path.mkdir(parents=True)
    surface = SurfaceWriter() if output.surface else None
    try:
        keypoints = _write_frames(temporary, render_clip(clip, surface), output)
        if surface is not None:
            surface.save(output_dir / SURFACE_FOLDER / f"{clip.name}.npz")
    except BaseException:
        for path in temporary.values():
            shutil.rmtree(path, ignore_errors=True)
        raise
    for kind, path in temporary.items():
        path.replace(final[kind])
    return keypoints


def _write_frames(folders: dict[str, Path], frames: Iterable[Frame], output: Output) -> list[np.ndarray]:
    keypoints = []
    for number, frame in enumerate(frames):
        for kind, encoded in _encode(frame, output):
            suffix = output.picture_format if kind == "picture" else "png"
            (folders[kind] / f"{number:03d}.{suffix}").write_bytes(encoded)
        mask = Image.fromarray(frame.mask, "P")
        mask.putpalette(PALETTE)
        mask.save(folders["mask"] / f"{number:03d}.png", compress_level=output.png_compression)
        keypoints.append(frame.keypoints)
    return keypoints


def _encode(frame: Frame, output: Output) -> Iterator[tuple[str, bytes]]:
    png = [cv2.IMWRITE_PNG_COMPRESSION, output.png_compression]
    jpg = [cv2.IMWRITE_JPEG_QUALITY, output.jpg_quality]
    for kind in ("picture", "pose"):
        bgr = cv2.cvtColor(getattr(frame, kind), cv2.COLOR_RGB2BGR)
        as_jpg = kind == "picture" and output.picture_format == "jpg"
        encoded = cv2.imencode(".jpg", bgr, jpg)[1] if as_jpg else cv2.imencode(".png", bgr, png)[1]
        yield kind, encoded.tobytes()
