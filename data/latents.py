"""Projected videos: latents and warped references, a safetensors file each, sliced without reading the rest.

A file holds

- ``latents`` (f, c, h, w) float16, normalised;
- where the dataset has joints, ``reference_frames`` (r,) int64: frames whose picture was warped to every
  frame's pose, more than once where it was also warped together with further photos; ``warped_latents``
  (r, f, c, h, w) float16: those pictures, encoded; ``warp_validity`` (r, f, 1, h, w) float16 in 0..1: how far
  the warp is right, averaged over each latent's square of pixels;
- where the dataset has skeleton pictures, ``pose_bytes`` (n,) uint8: they at 8 times the size of the latents,
  each a lossless WebP; ``pose_offsets`` (f + 1,) int64: where each begins, and the end;
- where the dataset has masks, ``person`` (f, h, w) bool: whether the person is in a latent's square of pixels
  or in one beside it;

and in its header what it was made from, so that latents of another VAE are noticed.
"""

import dataclasses
import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from data.pose_cache import decode_picture, to_tensor
from data.ranges import RangedTensors
from data.shards import IN_SHARD, Shards, address_of, is_sharded
from utils.errors import UserError
from utils.files import atomic_path, read_json

# Reading one stretch of frames is ten times faster than reading each frame, up to so many times the frames.
MAX_SPREAD = 8
WHOLE_BYTES = 4_000_000
"""Projected videos up to this size are read whole from a shard: one reading is faster than six."""


class LatentVideo:
    """A projected video. Only the header is read here; each call reads the frames that it returns.

    The file stays open as long as the object lives, which belongs to one process.

    Args:
        path: of the file, or what it is called in messages.
        file: its tensors, where they do not come from `path`.

    Attributes:
        num_frames: number of frames of the video.
        reference_frames: (r,) int64, the frames that were warped; empty where the dataset has no joints.
        has_poses: whether the file holds the skeleton pictures.
        has_person: whether the file holds where the person is.
        metadata: what the file was made from, all strings: see `project_latent_space.py`.

    Raises:
        UserError: no such file, or not a projected video.
    """

    def __init__(self, path: str | Path, file: RangedTensors | None = None) -> None:
        self.path = path
        try:
            self._file: Any = safe_open(self.path, "pt") if file is None else file
            names = set(self._file.keys())
            self.metadata: dict[str, str] = self._file.metadata() or {}
            self.num_frames: int = self._file.get_slice("latents").get_shape()[0]
            self.reference_frames: np.ndarray = np.zeros(0, np.int64)
            if "reference_frames" in names:
                self.reference_frames = self._file.get_tensor("reference_frames").numpy()
            self.has_poses = {"pose_bytes", "pose_offsets"} <= names
            self.has_person = "person" in names
        except FileNotFoundError as error:
            raise UserError(f"there is no {self.path}; make it with project_latent_space.py") from error
        except (OSError, KeyError, SafetensorError) as error:
            raise UserError(
                f"{self.path} is no projected video ({error}); remove it and project again"
            ) from error

    def latents(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Latents (n, c, h, w) float32 of frames in any order."""
        return _read_frames(self._file.get_slice("latents"), (), indices).float()

    def warp(self, reference: int, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """One reference warped to the poses of some frames.

        Args:
            reference: place in `reference_frames`.
            indices: frames in any order.

        Returns:
            Latents (n, c, h, w) and validity (n, 1, h, w) in 0..1, both float32.
        """
        assert 0 <= reference < len(self.reference_frames)
        warped, validity = (
            _read_frames(self._file.get_slice(name), (reference,), indices).float()
            for name in ("warped_latents", "warp_validity")
        )
        return warped, validity

    def poses(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Skeleton pictures (n, 3, H, W) float32 in [-1, 1] of frames in any order; only with `has_poses`.

        Raises:
            UserError: a picture is damaged.
        """
        assert self.has_poses
        frames = [int(i) for i in indices]
        first = min(frames)
        offsets = self._file.get_slice("pose_offsets")[first : max(frames) + 2].tolist()
        # A slice maps the file: bytes of frames between that nobody asks for are not read.
        data = self._file.get_slice("pose_bytes")[offsets[0] : offsets[-1]].numpy()
        places = [(offsets[i - first] - offsets[0], offsets[i - first + 1] - offsets[0]) for i in frames]
        pictures = [decode_picture(data[start:stop]) for start, stop in places]
        whole = [picture for picture in pictures if picture is not None]
        if len(whole) < len(pictures):
            raise UserError(f"{self.path} holds a damaged pose; remove it and project again")
        return to_tensor(whole)

    def person(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Whether the person is at or beside each latent, (n, h, w) bool; only with `has_person`."""
        assert self.has_person
        return _read_frames(self._file.get_slice("person"), (), indices)


def _read_frames(tensor: Any, outer: tuple[int, ...], indices: Sequence[int] | np.ndarray) -> torch.Tensor:
    """Frames of a slice of a safetensors file, below the indices `outer` of earlier dimensions."""
    frames = [int(i) for i in indices]
    first, stop = min(frames), max(frames) + 1
    if stop - first <= MAX_SPREAD * len(frames):
        return tensor[(*outer, slice(first, stop))][[frame - first for frame in frames]]
    return tensor[(*outer, frames)]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a projected video without reading its frames."""

    place: str
    num_frames: int
    vae_sha256: str
    has_poses: bool
    has_person: bool

    @classmethod
    def of(cls, video: LatentVideo) -> "Facts":
        """The facts of a video."""
        vae_sum = video.metadata.get("vae_sha256", "")
        return cls(str(video.path), video.num_frames, vae_sum, video.has_poses, video.has_person)


class Latents:
    """All projected videos of a dataset: a folder of NAME.safetensors, or shards of them (data/shards.py).

    Args:
        path: the folder, the folder of shards, or the address of the shards.

    Attributes:
        place: where they are, for messages.
        shards: the shards, or None for a folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.shards = Shards(path) if is_sharded(path) else None
        self.place = self.shards.location if self.shards else str(path)

    def __contains__(self, name: str) -> bool:
        return name in self.shards.clips if self.shards else self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return Path(self.place) / f"{name}.safetensors"

    def open(self, name: str) -> LatentVideo:
        """A video.

        Raises:
            UserError: it is missing or damaged.
        """
        if self.shards is None:
            return LatentVideo(self._path(name))
        place = f"{self.place}/{self.shards.clips[name].shard}.tar: {name}.safetensors"
        _, size = self.shards.clips[name].files.get(IN_SHARD, (0, 0))
        if not size:
            raise UserError(
                f"{self.place} holds no projected videos; give what project_latent_space.py wrote"
            )
        if size <= WHOLE_BYTES:
            whole = self.shards.read(name, IN_SHARD)
            return LatentVideo(place, RangedTensors(place, size, lambda start, stop: whole[start:stop]))
        read = functools.partial(self.shards.read, name, IN_SHARD)
        return LatentVideo(place, RangedTensors(place, size, read))

    def facts(self, name: str) -> Facts:
        """What is known of a video."""
        if self.shards is None:
            return Facts.of(self.open(name))
        try:
            return Facts(**self.shards.clips[name].about)
        except TypeError as error:
            raise UserError(
                f"{self.place} holds no projected videos; give what project_latent_space.py wrote"
            ) from error


def write_latent_video(path: str | Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a projected video, whole or not at all; `tensors` are those that this module's head lists."""
    with atomic_path(path) as temporary:
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata=metadata)
        except SafetensorError as error:
            raise UserError(
                f"cannot write {path}: {error}; choose another folder or free some space"
            ) from error


def projection_command(dataset_dir: str | Path, latents_dir: str | Path) -> str:
    """What to type to project a dataset, with the settings of the videos that are there already."""
    words = ["python", "project_latent_space.py", "--dataset", address_of(dataset_dir) or str(dataset_dir)]
    words += ["--output_dir", address_of(latents_dir) or str(latents_dir)]
    path = Path(latents_dir) / "config.json"
    if address_of(latents_dir) is None and path.is_file():
        settings = read_json(path)
        for name in ("vae", "warper", "num_references", "num_photos", "height", "width"):
            if name in settings and (settings[name] is not None or name == "warper"):
                words += [f"--{name}", str(settings[name])]
    return shlex.join(words)


def is_finished(path: Path, metadata: dict[str, str]) -> bool:
    """Whether `path` is a projected video that was made from the same things."""
    try:
        # Where nothing is said of a network that moved the photo, or of further photos, there were none.
        unsaid = {"warper_sha256": "", "num_photos": "1"}
        return metadata.items() <= (unsaid | LatentVideo(path).metadata).items()
    except UserError:
        return False
