"""The files of a run, checked before it: nothing that is read, and nothing that was edited, is replaced."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.pose_json import read_pose_json
from generation.inputs import Clip
from generation.settings import ModelSettings
from utils.checkpoint import file_sha256
from utils.errors import UserError
from utils.files import read_json
from utils.image import read_image
from utils.paths import DATASET_FOLDERS, check_name, is_same_path, refuse_overwrites
from utils.pose_drawing import draw_pose

MODEL_PARTS = (
    "model_index.json", "denoiser", "vae", "text_encoder", "tokenizer", "scheduler", "text_to_poses",
    "config.json", "diffusion_pytorch_model.safetensors", "model.safetensors",
)  # fmt: skip

SUMS = {".mp4": "video_sha256", ".png": "sheet_sha256"}
"""Files beside a clip's settings -> the setting that holds the file's SHA-256."""

_FOREIGN = (
    "{} is not as it was written, or was not written by this script, and would be overwritten; rename it, or "
    "choose another --output_dir"
)


def poses_folder(output_dir: Path, name: str) -> Path:
    """Where the skeletons that were made for a clip go."""
    return output_dir / f"{name}_poses"


def joints_folder(output_dir: Path, name: str) -> Path:
    """Where a clip's poses go as OpenPose's files."""
    return output_dir / f"{name}_openpose"


def check_outputs(
    output_dir: Path,
    clips: Sequence[Clip],
    settings: ModelSettings,
    with_poses: Iterable[str],
    dataset: Path | None = None,
    with_joints: bool = False,
) -> None:
    """Refuse to write over what is read, edited or not of this script, or under names that are too long.

    Args:
        output_dir: gets the files.
        clips: that are made.
        settings: name the model's files.
        with_poses: names of the clips whose skeletons will be written.
        dataset: that the clips are of, None for a user's own clip.
        with_joints: OpenPose's files are written.

    Raises:
        UserError: names the files.
    """
    poses = [poses_folder(output_dir, name) for name in with_poses]
    written = [output_dir / f"{clip.name}{end}" for clip in clips for end in (".mp4", ".png", ".json")]
    written += [path for folder in poses for path in (folder, folder.with_name(f"{folder.name}.json"))]
    joints = [joints_folder(output_dir, clip.name) for clip in clips if with_joints]
    written += joints
    for clip in clips:
        check_name(output_dir, f"{clip.name}_poses.json", str(clip.image))
        if with_joints:
            check_name(output_dir, f"{clip.name}_{0:012d}_keypoints.json", str(clip.image))
    trees = [] if dataset is None else [dataset / name for name in DATASET_FOLDERS]
    read = [] if dataset is not None else [path for clip in clips for path in _files_of(clip)]
    refuse_overwrites(written, [*read, *_model_files(settings)], trees)
    for folder in poses:
        if is_edited(folder):
            raise UserError(_FOREIGN.format(folder))
    for clip in clips:
        _check_own(output_dir, clip.name, with_joints)


def _check_own(output_dir: Path, name: str, with_joints: bool) -> None:
    """Refuse to replace a clip's files that the settings beside them do not call this script's."""
    settings = read_settings(output_dir, name)
    foreign = [output_dir / f"{name}{end}" for end in (".mp4", ".png", ".json") if settings is None]
    for end, key in SUMS.items():
        path, known = output_dir / f"{name}{end}", (settings or {}).get(key)
        if known is not None and path.is_file() and file_sha256(path) != known:  # older settings know none
            foreign.append(path)
    joints = joints_folder(output_dir, name)
    if with_joints and (settings or {}).get("joints_sha256") != joints_sha256(joints):
        foreign.append(joints)
    for path in foreign:
        if path.exists() or path.is_symlink():
            raise UserError(_FOREIGN.format(path))


def read_settings(output_dir: Path, name: str) -> dict[str, Any] | None:
    """The settings beside a clip's video, None where they are missing or are not of this script."""
    try:
        settings = read_json(output_dir / f"{name}.json")
    except UserError:
        return None
    is_own = isinstance(settings, dict) and settings.get("name") == name and "clip_seed" in settings
    return settings if is_own else None


def joints_sha256(folder: Path) -> str | None:
    """SHA-256 of a folder's names and contents, by which an edited one is known; None where there is none."""
    if not folder.is_dir():
        return None
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        total.update(f"{path.relative_to(folder).as_posix()} {len(content)} ".encode() + content)
    return total.hexdigest()


def _files_of(clip: Clip) -> list[Path]:
    return [path for path in (clip.image, *clip.further_images, clip.poses, clip.image_joints) if path]


def keeps_poses(output_dir: Path, clip: Clip) -> bool:
    """Whether the skeletons in a clip's place are the user's: edited, or read by this very run."""
    folder = poses_folder(output_dir, clip.name)
    return is_edited(folder) or any(
        path is not None and (is_same_path(path, folder) or is_same_path(path, f"{folder}.json"))
        for path in (clip.poses, clip.image_joints)
    )


def is_edited(folder: Path) -> bool:
    """Whether a folder of skeletons is there and is not what its JSON says, or that JSON is there alone."""
    description = folder.with_name(f"{folder.name}.json")
    if not folder.exists() and not folder.is_symlink():
        return description.exists()
    try:
        track = read_pose_json(description)
        pictures = sorted(folder.iterdir())
        if [path.name for path in pictures] != [f"{index:03d}.png" for index in range(len(track))]:
            return True
        assert track.height is not None and track.width is not None
        return any(
            not np.array_equal(read_image(path), draw_pose(frame, track.height, track.width))
            for path, frame in zip(pictures, track.keypoints, strict=True)
        )
    except (UserError, OSError, AssertionError):
        return True


def _model_files(settings: ModelSettings) -> list[Path]:
    given = (settings.pretrained_model, settings.vae, settings.text_encoder, settings.tokenizer)
    paths = [path for path in (*given, settings.tiny_decoder) if path is not None]
    inside = [path / name for path in paths for name in MODEL_PARTS if (path / name).exists()]
    return [*inside, *(path for path in paths if path.is_file())]
