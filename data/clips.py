"""Training clips: slices of projected videos with their poses and sentence, a pure function of the seed."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from data.annotations import Segment
from data.frames import count_frames, frame_paths, read_frames
from data.latents import Facts, Latents, LatentVideo, projection_command
from data.masks import read_mask, read_person
from data.pose_cache import POSE_SCALE, to_tensor
from utils.errors import UserError
from utils.image import Placement, fit_size, place_image


@dataclasses.dataclass(frozen=True)
class ClipRequest:
    """One sample of one step: which segment, how many frames, and the seed of all its random choices."""

    segment: int
    num_frames: int
    consecutive: bool
    seed: int


def sample_seed(seed: int, step: int, slot: int) -> int:
    """Seed of sample `slot` of the whole batch of `step`, however many processes share the batch."""
    return int(np.random.SeedSequence([seed, step, slot]).generate_state(1, np.uint64)[0] >> 1)


class ClipSampler(Sampler[list[ClipRequest]]):
    """Yields this rank's requests of every batch from `first_step` on: a pure function of (seed, step, slot).

    Every epoch visits each segment once in an order drawn from (seed, epoch).

    Args:
        num_segments: number of segments of the dataset.
        batch_size: samples a step over all ranks; must divide by `world_size` x `accumulation`.
        max_steps: batches in all.
        short_frames: frames of the clips of the first `short_steps` steps: sorted random frames of the
            segment.
        num_frames: frames of the clips after them: consecutive ones.
        seed: seed of the run.
        first_step: where to go on.
        rank: rank of this process.
        world_size: number of processes.
        accumulation: batches this rank gets for each step.
    """

    def __init__(
        self,
        num_segments: int,
        batch_size: int,
        max_steps: int,
        *,
        num_frames: int,
        short_frames: int,
        short_steps: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
    ) -> None:
        assert batch_size % (world_size * accumulation) == 0
        self.num_segments, self.batch_size, self.max_steps = num_segments, batch_size, max_steps
        self.num_frames, self.short_frames, self.short_steps = num_frames, short_frames, short_steps
        self.seed, self.first_step, self.rank, self.world_size = seed, first_step, rank, world_size
        self.accumulation = accumulation

    def __len__(self) -> int:
        return (self.max_steps - self.first_step) * self.accumulation

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        epoch, order = -1, np.empty(0, np.int64)
        per_rank = self.batch_size // self.world_size
        for step in range(self.first_step, self.max_steps):
            short = step < self.short_steps
            requests = []
            for slot in range(self.rank * per_rank, (self.rank + 1) * per_rank):
                drawn = step * self.batch_size + slot
                if drawn // self.num_segments != epoch:
                    epoch = drawn // self.num_segments
                    order = np.random.default_rng([self.seed, epoch]).permutation(self.num_segments)
                requests.append(
                    ClipRequest(
                        segment=int(order[drawn % self.num_segments]),
                        num_frames=self.short_frames if short else self.num_frames,
                        consecutive=not short,
                        seed=sample_seed(self.seed, step, slot),
                    )
                )
            size = per_rank // self.accumulation
            yield from (requests[i : i + size] for i in range(0, per_rank, size))


class ClipDataset(Dataset[dict[str, Any]]):
    """Clips of a projected dataset.

    A clip begins at its reference frame, as in the published model: a random frame of the segment that leaves
    room for the clip, among the frames that were warped where the videos hold warps. The others are the next
    ones, or, for short clips, sorted random ones of the rest of the segment.

    Poses, and where the person is, come from the projected videos; the dataset's pictures are looked at for
    those videos alone that were projected without.

    Args:
        dataset_dir: folder with fashion_poses and fashion_masks, or the shards that it was packed into.
        latents_dir: what project_latent_space.py wrote: a folder, or shards or their address.
        segments: annotations to draw from; those shorter than `num_frames` are left out, like in the
            published training.
        num_frames: frames of a whole clip.
        use_warps: return warped latents and their validity; zeros where a video was projected without.
        person_weight: above 1, return what the loss of each latent is to be weighted with: this where the
            person is in its square of pixels or beside it, else 1. Needs masks.

    Attributes:
        latent_channels: channels of the projected videos.
        latent_size: height and width of their latents.
        vae_sha256: checksum of the VAE that made them, "" where it is not known.

    Raises:
        UserError: no segment is long enough; a video was not projected, or by another VAE than the others; or
            it has not as many poses as frames, or no masks for a `person_weight`.
    """

    def __init__(
        self,
        dataset_dir: Path,
        latents_dir: Path,
        segments: list[Segment],
        num_frames: int,
        use_warps: bool = True,
        person_weight: float = 1.0,
    ) -> None:
        self.segments = [s for s in segments if s.end - s.start >= num_frames]
        if not self.segments:
            longest = max((s.end - s.start for s in segments), default=0)
            raise UserError(
                f"no segment of {dataset_dir} has {num_frames} frames "
                f"(the longest of {len(segments)} has {longest}); choose a smaller --num_frames"
            )
        self.latents = Latents(latents_dir)
        missing = sorted({s.name for s in self.segments if s.name not in self.latents})
        if missing:
            raise UserError(
                f"{len(missing)} videos are not in {self.latents.place} (the first: {missing[0]}); run: "
                f"{projection_command(dataset_dir, latents_dir)}"
            )
        self.poses_dir = dataset_dir / "fashion_poses"
        self.masks_dir, self.person_weight = dataset_dir / "fashion_masks", person_weight
        self.num_frames, self.use_warps = num_frames, use_warps
        self.vae_sha256 = self._check_videos()
        _, self.latent_channels, *size = self.latents.open(self.segments[0].name).latents([0]).shape
        self.latent_size = size[0], size[1]

    def _check_videos(self) -> str:
        """Refuse videos without a pose a frame or masks, and latents of several VAEs; the VAE's sum or ""."""
        vaes: dict[str, str] = {}
        ends: dict[str, int] = {}
        for segment in self.segments:
            ends[segment.name] = max(segment.end, ends.get(segment.name, 0))
        for name, end in ends.items():
            video = self.latents.facts(name)
            vaes.setdefault(video.vae_sha256, video.place)
            if not video.has_poses:
                self._check_poses(name, video)
            if self.person_weight > 1 and not video.has_person and not (self.masks_dir / name).is_dir():
                raise UserError(
                    f"{self.masks_dir} does not hold {name}, and a weight for the person needs "
                    "masks; give --person_weight 1"
                )
            if end > video.num_frames:
                raise UserError(
                    f"an annotation of {name} ends at {end}, and {video.place} has {video.num_frames} "
                    "frames; run project_latent_space.py again"
                )
        if len(vaes) > 1:
            one, other = list(vaes.values())[:2]
            raise UserError(
                f"{one} and {other} were made by different VAEs; run project_latent_space.py with one --vae "
                "for all, it makes the others anew"
            )
        return next(iter(vaes))

    def _check_poses(self, name: str, video: Facts) -> None:
        if (num_poses := count_frames(self.poses_dir / name)) != video.num_frames:
            raise UserError(
                f"{self.poses_dir / name} has {num_poses} poses, {video.place} {video.num_frames} frames; "
                "each frame needs its own pose: complete them and project again"
            )

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, request: ClipRequest) -> dict[str, Any]:
        """One clip.

        Returns:
            latents (c, f, h, w), pose_images (3, f, 8h, 8w) in [-1, 1], both float32; text, name, seed; with
            `use_warps` also warped_latents (c, f, h, w) and warp_validity (1, f, h, w); with a
            `person_weight` also loss_weight (1, f, h, w).
        """
        segment = self.segments[request.segment]
        video = self.latents.open(segment.name)
        rng = np.random.default_rng(request.seed)
        starts = np.arange(segment.start, segment.end - request.num_frames + 1)
        warped_starts = np.intersect1d(starts, video.reference_frames)
        has_warp = self.use_warps and warped_starts.size > 0
        start = int(rng.choice(warped_starts if has_warp else starts))
        if request.consecutive:
            frames = np.arange(start, start + request.num_frames)
        else:
            later = rng.choice(np.arange(start + 1, segment.end), request.num_frames - 1, replace=False)
            frames = np.concatenate([[start], np.sort(later)])

        latents = video.latents(frames)
        poses = video.poses(frames) if video.has_poses else self._read_poses(segment.name, frames, latents)
        sample = {
            "latents": latents.movedim(0, 1),
            "pose_images": poses.movedim(0, 1),
            "text": segment.text,
            "name": segment.name,
            "seed": request.seed,
        }
        if has_warp:
            warps = np.flatnonzero(video.reference_frames == start)
            warped, validity = video.warp(int(rng.choice(warps)) if len(warps) > 1 else int(warps[0]), frames)
        else:
            warped, validity = torch.zeros_like(latents), torch.zeros_like(latents[:, :1])
        if self.person_weight > 1:
            sample["loss_weight"] = self._loss_weight(segment.name, video, frames, latents)
        if self.use_warps:
            sample["warped_latents"] = warped.movedim(0, 1)
            sample["warp_validity"] = validity.movedim(0, 1)
        return sample

    def _read_poses(self, name: str, frames: np.ndarray, latents: torch.Tensor) -> torch.Tensor:
        """Poses (f, 3, 8h, 8w) in [-1, 1] from the dataset's pictures, for latents (f, c, h, w)."""
        pictures = read_frames(self.poses_dir / name, frames.tolist())
        size = (POSE_SCALE * latents.shape[2], POSE_SCALE * latents.shape[3])
        if (place := _border(pictures.shape[1:3], size)) is not None:
            pictures = np.stack([place_image(picture, place, *size) for picture in pictures])
        poses = to_tensor(pictures)
        if poses.shape[2:] != size:  # the videos were projected at another size
            poses = functional.interpolate(poses, size, mode="bilinear", antialias=True)
        return poses

    def _loss_weight(
        self, name: str, video: LatentVideo, frames: np.ndarray, latents: torch.Tensor
    ) -> torch.Tensor:
        """(1, f, h, w) float32: `person_weight` on the person and one latent around, 1 elsewhere."""
        if video.has_person:
            person = video.person(frames)
        else:
            paths = frame_paths(self.masks_dir / name)
            grid = latents.shape[2], latents.shape[3]
            size = POSE_SCALE * grid[0], POSE_SCALE * grid[1]
            place = _border(read_mask(paths[0]).shape, size)
            person = read_person([paths[i] for i in frames], *grid, place, POSE_SCALE)
        return 1 + (self.person_weight - 1) * person[None].float()


def _border(size: Sequence[int], new_size: tuple[int, int]) -> Placement | None:
    """Where pictures (height, width) of another shape lie in `new_size`; None where they fill it."""
    height, width = size
    place = fit_size(height, width, *new_size)
    return None if (place.height, place.width) == new_size else place


def collate_clips(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack the tensors of several clips along a new first dimension; texts, names and seeds stay lists."""
    return {
        key: torch.stack([s[key] for s in samples])
        if isinstance(samples[0][key], torch.Tensor)
        else [s[key] for s in samples]
        for key in samples[0]
    }
