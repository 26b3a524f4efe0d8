"""Step 1: encode a dataset's frames, and its reference frames warped to every pose, as latents on disk.

Poses and masks go beside them, as training needs them.

Try it:

    python project_latent_space.py
    torchrun --nproc_per_node 2 project_latent_space.py --dataset DATA --output_dir DATA_tensor

Writes one safetensors file for each video (see data/latents.py). Run the same command again to continue:
finished videos are skipped. A video is made again if the VAE, the settings, or the names or sizes of its
files have changed. On a CPU, run one process for each core with torchrun. Damaged videos are named and passed
over; the exit status is then 2.
"""

import contextlib
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from torch.nn import functional
from tqdm import tqdm

from data.annotations import SPLITS, read_annotation_file
from data.frames import count_frames, frame_paths, read_pictures
from data.latents import is_finished, write_latent_video
from data.masks import read_person
from data.pose_cache import POSE_SCALE, encode_picture, pack_pictures, resize_pictures
from diffusion.latents import encode_images, load_vae, spatial_factor
from diffusion.warped_photo import load_warper, warp_photo
from models.loading import model_sha256
from models.warper import Warper
from utils.config import run_script, save_config
from utils.distributed import World, distributed_world
from utils.errors import UserError
from utils.files import check_output_dir
from utils.image import fit_image, fit_size, read_image, to_signed, to_uint8
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL, refuse_overwrites_by
from utils.precision import autocast
from warping.joints import load_joints, scale_joints

FORMAT_VERSION = "3"
CHUNK_FRAMES = 64  # of a video held in memory at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a projection."""

    dataset: Path = SHIPPED_DATASET
    """Folder of the dataset. Its fashion_crop, fashion_poses, fashion_masks, train and test are read."""
    output_dir: Path = Path("fashion_dataset_tensor")
    """Folder for the latents: NAME.safetensors for each video."""
    vae: Path = SHIPPED_MODEL / "vae"
    """Folder of the VAE, in diffusers' layout."""
    warper: Path | None = None
    """Folder of the network that moves the reference frames to the poses, from recipe.train_warper. By
    default their limbs are moved by rules."""
    height: int | None = None
    """Height in pixels to resize frames to. By default that of the dataset's first frame. Frames of another
    shape are fitted in without distortion, with a border around them."""
    width: int | None = None
    """Width in pixels to resize frames to; give it together with --height."""
    num_references: int = 2
    """Reference frames of each video to warp to every pose: the first frame of each annotated segment, and
    further ones, evenly spaced, up to this number. 0 writes no warps."""
    batch_size: int = 16
    """Pictures that are encoded at once."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the encoder. auto takes bfloat16 if the machine has units for it."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:1. auto takes a GPU if there is one."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done for one video."""

    name: str
    frames: list[Path]
    poses: list[Path]
    masks: list[Path]
    references: list[int]
    metadata: dict[str, str]


def list_videos(dataset_dir: Path) -> list[str]:
    """Names of the folders in fashion_crop, sorted; UserError if there are none."""
    folder = dataset_dir / "fashion_crop"
    entries = folder.iterdir() if folder.is_dir() else ()
    names = sorted(path.name for path in entries if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(
            f"{folder} holds no videos; put each video's frames into {folder}/NAME/000.png and so on"
        )
    return names


def annotated_videos(dataset_dir: Path) -> list[str]:
    """Names of the videos that have annotations, with or without frames."""
    return [path.stem for split in SPLITS for path in (dataset_dir / split).glob("[!.]*.txt")]


def output_size(config: Config, names: Sequence[str], factor: int) -> tuple[int, int]:
    """Height and width to encode frames at: the settings', else those of the first frame that can be read."""
    if (config.height is None) != (config.width is None):
        raise UserError("--height and --width go together; give both or neither")
    if config.height is not None and config.width is not None:
        height, width = config.height, config.width
    else:
        height, width = _first_frame_size(config.dataset, names)
    if min(height, width) < factor or height % factor or width % factor:
        near = [max(factor, round(side / factor) * factor) for side in (height, width)]
        raise UserError(
            f"frames of {width} x {height} pixels do not divide into the VAE's squares of {factor}; "
            f"add --height {near[0]} --width {near[1]}"
        )
    return height, width


def _first_frame_size(dataset_dir: Path, names: Sequence[str]) -> tuple[int, int]:
    for name in names:
        with contextlib.suppress(UserError):
            height, width = read_image(frame_paths(dataset_dir / "fashion_crop" / name)[0]).shape[:2]
            return height, width
    raise UserError(f"no video in {dataset_dir / 'fashion_crop'} has a first frame that can be read")


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


def plan_video(config: Config, name: str, size: tuple[int, int], sums: dict[str, str]) -> Plan:
    """Look at a video's files, by name and size only; UserError if frames or annotations are not in order."""
    folder = config.dataset / "fashion_crop" / name
    if not folder.is_dir():
        raise UserError(f"it is annotated, and there are no frames {folder}/000.png and so on")
    frames = frame_paths(folder)
    annotations = [p for split in SPLITS if (p := config.dataset / split / f"{name}.txt").is_file()]
    starts = [segment.start for path in annotations for segment in read_annotation_file(path, len(frames))]
    references = pick_references(starts, len(frames), config.num_references)
    poses_dir = config.dataset / "fashion_poses" / name
    poses = _pictures_beside(frames, poses_dir, "poses")
    masks = _pictures_beside(frames, config.dataset / "fashion_masks" / name, "masks")
    keypoints = [path for path in [poses_dir.with_name(f"{name}.json")] if references and path.is_file()]
    files = [*frames, *keypoints, *poses, *masks]
    sources = [f"{path.relative_to(config.dataset)} {path.stat().st_size}" for path in files]
    metadata = {
        "format_version": FORMAT_VERSION,
        **sums,
        "height": str(size[0]),
        "width": str(size[1]),
        "num_frames": str(len(frames)),
        "requested_references": json.dumps(references),
        "sources_sha256": hashlib.sha256("\n".join(sources).encode()).hexdigest(),
    }
    return Plan(name, frames, poses, masks, references, metadata)


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
        photos = [self._resize(read_pictures([plan.frames[i]]))[0] for i in references]
        latents: list[torch.Tensor] = []
        warped: list[list[torch.Tensor]] = [[] for _ in references]
        validity: list[list[torch.Tensor]] = [[] for _ in references]
        for start, pictures in _chunks(plan.frames):
            latents.append(self._encode(self._resize(pictures)))
            if joints is not None:
                targets = joints[start : start + len(pictures)]
                for i, reference in enumerate(references):
                    warps, valid = self._warp(photos[i], joints[reference], targets)
                    warped[i].append(self._encode(warps))
                    validity[i].append(functional.avg_pool2d(valid, self.factor))
            progress.update(len(pictures))
        tensors = {"latents": torch.cat(latents)}
        if references:
            tensors["reference_frames"] = torch.tensor(references)
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

    def _warp(
        self, photo: np.ndarray, source: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, torch.Tensor]:
        """The photo moved to poses: (n, H, W, 3) uint8, and (n, 1, H, W) how far each pixel is right."""
        with autocast(self.dtype, self.vae.device):
            moved = warp_photo(
                to_signed(photo[None]),
                None,
                targets[None],
                source[None],
                self.warper,
            )
        return to_uint8(moved.pictures[0]), moved.validity[0]

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


@dataclasses.dataclass
class Tally:
    """What happened to this process's videos."""

    projected: int = 0
    redone: int = 0
    skipped: int = 0
    frames: int = 0
    damaged: int = 0

    def blame(self, name: str, error: UserError) -> None:
        """Name a damaged video on standard error, and go on."""
        self.damaged += 1
        tqdm.write(f"error: {name} is passed over: {error}", file=sys.stderr)


def project_videos(
    config: Config, names: Sequence[str], projector: Projector, sums: dict[str, str], world: World
) -> Tally:
    """Project this process's videos, those that are not finished."""
    tally = Tally()
    plans: list[Plan] = []
    for name in names:
        path = config.output_dir / f"{name}.safetensors"
        try:
            plan = plan_video(config, name, (projector.height, projector.width), sums)
        except UserError as error:
            tally.blame(name, error)
            continue
        if is_finished(path, plan.metadata):
            tally.skipped += 1
        else:
            tally.redone += path.exists()
            plans.append(plan)
    total = sum(len(plan.frames) for plan in plans)
    with tqdm(total=total, unit="frame", desc="projecting", disable=not world.is_main) as progress:
        for plan in plans:
            try:
                poses_dir = config.dataset / "fashion_poses" / plan.name
                tensors, source_size = projector.project(plan, poses_dir, progress)
            except UserError as error:
                tally.blame(plan.name, error)
                continue
            made_from = {"source_height": str(source_size[0]), "source_width": str(source_size[1])}
            metadata = plan.metadata | made_from | {"dtype": config.dtype, "vae": str(config.vae)}
            write_latent_video(config.output_dir / f"{plan.name}.safetensors", tensors, metadata)
            tally.projected += 1
            tally.frames += len(plan.frames)
    return tally


def main(config: Config) -> None:
    """Project the videos rank, rank + world size, ... of the sorted names; sum up over all processes."""
    if config.num_references < 0 or config.batch_size < 1:
        raise UserError("--num_references must be at least 0 and --batch_size at least 1")
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / "config.json"])
    started = time.perf_counter()
    with distributed_world(config.device) as world:
        # A process may have to wait for another's videos for longer than the default timeout.
        patient = dist.new_group(backend="gloo", timeout=timedelta(days=7)) if world.world_size > 1 else None
        names = sorted({*list_videos(config.dataset), *annotated_videos(config.dataset)})
        vae = load_vae(config.vae)
        warper = None if config.warper is None else load_warper(config.warper).to(world.device)
        sums = {
            "vae_sha256": model_sha256(vae),
            "warper_sha256": "" if warper is None else model_sha256(warper),
        }
        factor = spatial_factor(vae)
        height, width = output_size(config, names, factor)
        vae = vae.to(device=world.device, memory_format=torch.channels_last)
        projector = Projector(vae, height, width, factor, config.batch_size, config.dtype, warper)
        if world.is_main:
            save_config(config, config.output_dir / "config.json")
        mine = names[world.rank :: world.world_size]
        tally = project_videos(config, mine, projector, sums, world)
        counts = torch.tensor(dataclasses.astuple(tally))
        if patient is not None:
            dist.all_reduce(counts, group=patient)
        total = Tally(*counts.tolist())
    if world.is_main:
        print(
            f"projected {total.projected} videos ({total.frames} frames, {total.redone} videos anew) into "
            f"{config.output_dir} in {time.perf_counter() - started:.0f} s; "
            f"{total.skipped} were finished, {total.damaged} are damaged"
        )
        if total.damaged:
            raise UserError(f"{total.damaged} damaged videos are named above; mend them and run this again")
    if total.damaged:
        sys.exit(2)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
