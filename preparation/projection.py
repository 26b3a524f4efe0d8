"""One video becomes latents: its frames, its references warped to every pose, its poses and its person."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional
from tqdm import tqdm

from data.annotations import SPLITS, read_annotation_file
from data.frames import count_frames, frame_paths, read_pictures
from data.masks import read_person
from data.pose_cache import POSE_SCALE, encode_picture, pack_pictures, resize_pictures
from diffusion.latents import encode_images
from diffusion.warped_photo import WarpedPhoto, best_shown, warp_photo
from models.warper import Warper
from utils.errors import UserError
from utils.image import fit_image, fit_size, read_image, to_signed, to_uint8
from utils.precision import autocast
from warping.joints import load_joints, scale_joints

FORMAT_VERSION = "4"
CHUNK_FRAMES = 64  # of a video held in memory at once


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done for one video."""

    name: str
    frames: list[Path]
    poses: list[Path]
    masks: list[Path]
    references: list[list[int]]
    """Frames that are warped to every pose; several in one list become one warp, the first is the photo."""
    metadata: dict[str, str]


def pick_references(starts: Sequence[int], num_frames: int, num_references: int) -> list[int]:
    """Frames to warp: all of `starts`, then middles of the longest stretches between, up to `num_references`.

    Returns:
        Sorted frame numbers, at least frame 0 and at most all frames; none for `num_references` of 0.
    """
    if num_references == 0:
        return []
    chosen = sorted(set(starts)) or [0]
    while len(chosen) < min(num_references, num_frames):
        bounds = [-1, *chosen, num_frames]
        stretch = max(range(len(bounds) - 1), key=lambda i: bounds[i + 1] - bounds[i])
        chosen = sorted([*chosen, (bounds[stretch] + bounds[stretch + 1]) // 2])
    return chosen


def with_further_photos(reference: int, num_frames: int, num_photos: int) -> list[list[int]]:
    """A reference alone, with a second photo, with a third, up to `num_photos`; evenly over the video."""
    counts = range(1, min(num_photos, num_frames) + 1)
    return [[(reference + i * num_frames // n) % num_frames for i in range(n)] for n in counts]


def sources_sha256(dataset_dir: Path, files: Sequence[Path]) -> str:
    """A checksum of files' names and sizes."""
    sources = [f"{path.relative_to(dataset_dir)} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def plan_video(
    dataset_dir: Path,
    name: str,
    size: tuple[int, int],
    made_with: dict[str, str],
    num_references: int,
    num_photos: int = 1,
) -> Plan:
    """Look at a video's files, by name and size only.

    Args:
        dataset_dir: the dataset's folder.
        name: of the video.
        size: height and width that frames are encoded at.
        made_with: checksums of the networks, and the precision.
        num_references: frames to warp, see `pick_references`.
        num_photos: photos that a reference has in all, at most, see `with_further_photos`.

    Raises:
        UserError: frames or annotations are not in order.
    """
    folder = dataset_dir / "fashion_crop" / name
    if not folder.is_dir():
        raise UserError(f"it is annotated, and there are no frames {folder}/000.png and so on")
    frames = frame_paths(folder)
    annotations = [p for split in SPLITS if (p := dataset_dir / split / f"{name}.txt").is_file()]
    starts = [segment.start for path in annotations for segment in read_annotation_file(path, len(frames))]
    references = pick_references(starts, len(frames), num_references)
    poses_dir = dataset_dir / "fashion_poses" / name
    poses = _pictures_beside(frames, poses_dir, "poses")
    masks = _pictures_beside(frames, dataset_dir / "fashion_masks" / name, "masks")
    keypoints = [path for path in [poses_dir.with_name(f"{name}.json")] if references and path.is_file()]
    files = [*frames, *keypoints, *poses, *masks]
    metadata = {
        "format_version": FORMAT_VERSION,
        **made_with,
        "height": str(size[0]),
        "width": str(size[1]),
        "num_frames": str(len(frames)),
        "requested_references": json.dumps(references),
        "num_photos": str(num_photos),
        "sources_sha256": sources_sha256(dataset_dir, files),
    }
    photos = [some for i in references for some in with_further_photos(i, len(frames), num_photos)]
    return Plan(name, frames, poses, masks, photos, metadata)


def _pictures_beside(frames: Sequence[Path], folder: Path, kind: str) -> list[Path]:
    if not folder.is_dir():
        return []
    if (number := count_frames(folder)) != len(frames):
        raise UserError(f"{folder} has {number} {kind} for {len(frames)} frames; each frame needs its own")
    return frame_paths(folder)


@dataclasses.dataclass(frozen=True)
class Projector:
    """Encodes videos at one size."""

    vae: AutoencoderKL
    height: int
    width: int
    factor: int
    batch_size: int
    dtype: str
    warper: Warper | None = None

    def project(
        self, plan: Plan, poses_dir: Path, progress: tqdm
    ) -> tuple[dict[str, torch.Tensor], tuple[int, int]]:
        """Encode one video.

        Returns:
            The tensors for `write_latent_video`, and the height and width of the frames on disk.

        Raises:
            UserError: a picture is damaged or of another size, or the joints cannot be read.
        """
        source_height, source_width = read_image(plan.frames[0]).shape[:2]
        place = fit_size(source_height, source_width, self.height, self.width)
        is_padded = (place.height, place.width) != (self.height, self.width)
        joints = None
        if plan.references:
            size = (source_height, source_width) if is_padded else (self.height, self.width)
            joints = joints_at(poses_dir, len(plan.frames), *size)
            joints = place.to_fitted(joints) if is_padded and joints is not None else joints
        references = plan.references if joints is not None else []
        shown = {frame for together in references for frame in together}
        photos = {frame: self._resize(read_pictures([plan.frames[frame]]))[0] for frame in shown}
        latents: list[torch.Tensor] = []
        warped: list[list[torch.Tensor]] = [[] for _ in references]
        validity: list[list[torch.Tensor]] = [[] for _ in references]
        for start, pictures in _chunks(plan.frames):
            latents.append(self._encode(self._resize(pictures)))
            if joints is not None:
                targets = joints[start : start + len(pictures)]
                moved: dict[int, WarpedPhoto] = {}
                for number, together in enumerate(references):
                    if len(together) == 1:
                        moved = {}  # the next reference; the warps of one take 128 MB
                    for frame in set(together) - set(moved):
                        moved[frame] = self._warp(photos[frame], joints[frame], targets)
                    best = best_shown([moved[frame] for frame in together])
                    warped[number].append(self._encode(to_uint8(best.pictures[0])))
                    validity[number].append(functional.avg_pool2d(best.validity[0], self.factor))
            progress.update(len(pictures))
        tensors = {"latents": torch.cat(latents)}
        if references:
            tensors["reference_frames"] = torch.tensor([some[0] for some in references])
            tensors["warped_latents"] = torch.stack([torch.cat(parts) for parts in warped])
            tensors["warp_validity"] = torch.stack([torch.cat(parts).half() for parts in validity])
        grid = self.height // self.factor, self.width // self.factor
        if plan.poses:
            tensors["pose_bytes"], tensors["pose_offsets"] = _encode_poses(
                plan.poses, *grid, (source_height, source_width) if is_padded else None
            )
        if plan.masks:
            tensors["person"] = read_person(plan.masks, *grid, place if is_padded else None, self.factor)
        return tensors, (source_height, source_width)

    def _warp(self, photo: np.ndarray, source: np.ndarray, targets: np.ndarray) -> WarpedPhoto:
        """The photo (H, W, 3) uint8 moved to n poses, as one clip."""
        with autocast(self.dtype, self.vae.device):
            return warp_photo(to_signed(photo[None]), None, targets[None], source[None], self.warper)

    def _encode(self, pictures: np.ndarray) -> torch.Tensor:
        """Pictures (n, H, W, 3) uint8 to latents (n, c, h, w) float16."""
        images = torch.from_numpy(pictures).to(self.vae.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast(self.dtype, self.vae.device):
            return encode_images(self.vae, images, chunk_size=self.batch_size).cpu().half()

    def _resize(self, pictures: np.ndarray) -> np.ndarray:
        if pictures.shape[1:3] == (self.height, self.width):
            return pictures
        height, width = pictures.shape[1:3]
        place = fit_size(height, width, self.height, self.width)
        if (place.height, place.width) != (self.height, self.width):
            return np.stack([fit_image(picture, self.height, self.width)[0] for picture in pictures])
        resized = functional.interpolate(
            torch.from_numpy(pictures).permute(0, 3, 1, 2),
            size=(self.height, self.width),
            mode="bilinear",
            antialias=True,
        )
        return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def joints_at(poses_dir: Path, num_frames: int, height: int, width: int) -> np.ndarray | None:
    """Joints (F, 18, 3) of a video in pixels of frames of `height` x `width`, or None where it has none."""
    joints = load_joints(poses_dir, num_frames) if poses_dir.is_dir() else None
    if joints is None:
        return None
    pose_height, pose_width = read_image(frame_paths(poses_dir)[0]).shape[:2]
    return scale_joints(joints, (pose_height, pose_width), (height, width))


def _encode_poses(
    paths: Sequence[Path], height: int, width: int, frame_size: tuple[int, int] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes and offsets (see data/latents.py) of the poses of latents of `height` x `width`.

    `frame_size` is that of the frames where they are fitted in with a border, and the poses with them.
    """
    height, width = POSE_SCALE * height, POSE_SCALE * width
    encoded: list[bytes] = []
    for _, pictures in _chunks(paths):
        if frame_size is None:
            resized = resize_pictures(pictures, height, width)
        else:
            as_frames = resize_pictures(pictures, *frame_size)
            resized = np.stack([fit_image(picture, height, width)[0] for picture in as_frames])
        encoded += map(encode_picture, resized)
    return pack_pictures(encoded)


def _chunks(paths: Sequence[Path]) -> Iterator[tuple[int, np.ndarray]]:
    size: tuple[int, ...] | None = None
    for start in range(0, len(paths), CHUNK_FRAMES):
        pictures = read_pictures(paths[start : start + CHUNK_FRAMES])
        if size is not None and pictures.shape[1:3] != size:
            raise UserError(f"{paths[start]} has another size than the pictures before it")
        size = pictures.shape[1:3]
        yield start, pictures
