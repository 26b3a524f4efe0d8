"""Where the files of a synthetic dataset lie, and what is written of a clip."""

import dataclasses
from pathlib import Path

SPLITS = ("train", "test")
FOLDERS = {"picture": "fashion_crop", "pose": "fashion_poses", "mask": "fashion_masks"}
SURFACE_FOLDER = "fashion_surface"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """What is written of a clip, and how.

    Attributes:
        picture_format: "png" or "jpg", of the frames; skeletons and masks are PNG always.
        png_compression: 0 to 9.
        jpg_quality: 1 to 100.
        surface: also write `fashion_surface/NAME.npz`.
        poses_only: only annotation and joints.
    """

    picture_format: str = "png"
    png_compression: int = 2
    jpg_quality: int = 95
    surface: bool = False
    poses_only: bool = False


def is_finished(output_dir: Path, split: str, name: str) -> bool:
    """Whether a clip is on disk: its annotation is written last."""
    return (output_dir / split / f"{name}.txt").is_file()
