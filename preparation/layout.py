"""Where the files of a prepared dataset lie, and how they are written: each whole or absent."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.files import read_json

FRAMES, POSES, MASKS = "fashion_crop", "fashion_poses", "fashion_masks"
SHEETS, LOOKS, RECORDS = "sheets", "looks", "records"
FOLDERS = (FRAMES, POSES, MASKS, SHEETS, LOOKS, RECORDS)
SPLITS = ("train", "test")
SETTINGS = "prepared.json"
REPORTS = ("splits.json", "prepared.csv", "README.md")
ROOT_FILES = ("prepared", "splits", "labels", "README")
JPEG_QUALITY = 95


class OutputError(UserError):
    """The dataset's folder cannot be written: nothing more can be prepared."""


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """A picture (H, W), (H, W, 3) RGB or (H, W, 4) RGBA uint8 as the content of a file.

    Args:
        picture: to encode.
        suffix: "png" or "jpg".
    """
    if picture.ndim == 3:
        code = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(picture, code)
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 4]
    )
    done, content = cv2.imencode(f".{suffix}", picture, options)
    assert done
    return content.tobytes()


def decode(content: bytes) -> np.ndarray:
    """The content of a grey picture's file as (H, W, 3) uint8."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def write_numbered(folder: Path, contents: Iterable[bytes], suffix: str) -> None:
    """Write 000.SUFFIX, 001.SUFFIX and so on."""
    for number, content in enumerate(contents):
        (folder / f"{number:03d}.{suffix}").write_bytes(content)


def read_look(output_dir: Path, clip: str) -> np.ndarray:
    """What clips are compared by, (H, W, 4) uint8 RGBA.

    Raises:
        UserError: it is missing or damaged.
    """
    path = output_dir / LOOKS / f"{clip}.png"
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise UserError(
            f"{path} is missing or damaged; remove the file of its video in {output_dir / RECORDS}, and the "
            "same command makes it anew"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def record_path(output_dir: Path, video: str) -> Path:
    """Of what was made of a video; it is written last, so a video that has it is finished."""
    return output_dir / RECORDS / f"{video}.json"


def known_videos(output_dir: Path) -> dict[str, str]:
    """The path in the folder of videos of each that was prepared -> its name."""
    records = sorted((output_dir / RECORDS).glob("[!.]*.json"))
    return {read_json(record)["source"]: record.stem for record in records}


def is_finished(output_dir: Path, video: str, path: Path) -> bool:
    """Whether all is made of the video in a file, as the file is now."""
    record = record_path(output_dir, video)
    if not record.is_file():
        return False
    made_of, status = read_json(record), path.stat()
    return (made_of["bytes"], made_of["modified_ns"]) == (status.st_size, status.st_mtime_ns)


def clip_files(output_dir: Path, clip: str) -> Iterator[Path]:
    """All files and folders of a clip."""
    yield from (output_dir / folder / clip for folder in (FRAMES, POSES, MASKS))
    yield output_dir / POSES / f"{clip}.json"
    yield from (output_dir / folder / f"{clip}.png" for folder in (SHEETS, LOOKS))
    yield from (output_dir / split / f"{clip}.txt" for split in SPLITS)


def remove_video(output_dir: Path, video: str) -> None:
    """Remove what an earlier run made of a video, its record first."""
    record_path(output_dir, video).unlink(missing_ok=True)
    for path in sorted((output_dir / FRAMES).glob(f"{video}_[0-9]*")):
        if path.name[len(video) + 1 :].isdigit():
            for file in clip_files(output_dir, path.name):
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink(missing_ok=True)


def remove_leftovers(output_dir: Path) -> None:
    """Remove half-written files of a run that was killed; only while no other run writes here."""
    for folder in (*FOLDERS, *SPLITS):
        for path in (output_dir / folder).glob(".*-*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in ROOT_FILES:
        for path in output_dir.glob(f".{name}-*"):
            path.unlink()
