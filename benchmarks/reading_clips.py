"""Measure how fast training clips are read from a folder, from shards on disk, and from object storage.

    python -m benchmarks.reading_clips --dataset fashion_dataset --latents fashion_dataset_tensor
    python -m benchmarks.reading_clips --dataset people --latents people_tensor --address s3://bucket/measure

The projected videos are packed into shards first, in a temporary folder and at the address. Printed are clips
a second, over random clips, for each place and number of worker processes, and milliseconds of a core a clip,
which depend less on what else the machine does.
"""

import dataclasses
import tempfile
import time
from pathlib import Path

from torch.utils.data import DataLoader

from data.annotations import Segment, load_annotations
from data.clips import ClipDataset, ClipSampler, collate_clips
from data.latents import IN_SHARD, Facts, LatentVideo
from data.shards import address_of, write_shard
from utils.config import check_minimum, run_script
from utils.paths import SHIPPED_DATASET


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is read."""

    dataset: Path = SHIPPED_DATASET
    """Folder of the dataset."""
    latents: Path = Path("fashion_dataset_tensor")
    """Folder of its projected videos."""
    split: str = "train"
    """"train" or "test"."""
    address: Path | None = None
    """Also pack the videos to this address, such as s3://bucket/measure, and read them from there."""
    clips_per_shard: int = 64
    """Clips of a tar."""
    num_frames: int = 24
    """Frames of a clip."""
    batch_size: int = 4
    """Clips of a batch."""
    num_batches: int = 100
    """Batches to read in each way, after ten that are not counted."""
    num_workers: tuple[int, ...] = (0, 2)
    """Worker processes; each number is measured."""


UNCOUNTED = 10


def pack_latents(config: Config, names: list[str], place: Path) -> None:
    """Pack projected videos into shards."""
    for number, start in enumerate(range(0, len(names), config.clips_per_shard)):
        paths = {
            name: config.latents / f"{name}.safetensors"
            for name in names[start : start + config.clips_per_shard]
        }
        about = {name: dataclasses.asdict(Facts.of(LatentVideo(path))) for name, path in paths.items()}
        files = {name: {IN_SHARD: path} for name, path in paths.items()}
        write_shard(place, f"shard-{number:05d}", files, about, "")


def measure(config: Config, segments: list[Segment], latents: Path, num_workers: int) -> str:
    """Clips a second from one place, and, where this process reads them, milliseconds of a core for each."""
    dataset = ClipDataset(config.dataset, latents, segments, config.num_frames)
    sampler = ClipSampler(
        len(dataset),
        config.batch_size,
        config.num_batches + UNCOUNTED,
        num_frames=config.num_frames,
        short_frames=1,
        short_steps=0,
        seed=0,
    )
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_clips, num_workers=num_workers)
    for number, _ in enumerate(loader, 1):
        if number == UNCOUNTED:
            started, busy = time.perf_counter(), time.process_time()
    num_clips = config.num_batches * config.batch_size
    speed = f"{num_clips / (time.perf_counter() - started):.1f} clips of {config.num_frames} frames a second"
    if num_workers:
        return speed
    return f"{speed}, {1000 * (time.process_time() - busy) / num_clips:.1f} ms of a core a clip"


def main(config: Config) -> None:
    """Pack the videos and read clips from each place.

    Raises:
        UserError: the dataset or its projected videos cannot be read, or the address cannot be written.
    """
    check_minimum(config, 1, "clips_per_shard", "batch_size", "num_batches", "num_frames")
    segments = load_annotations(config.dataset, config.split, check_frames=False)
    names = sorted({segment.name for segment in segments})
    with tempfile.TemporaryDirectory() as folder:
        places = {"folder": config.latents, "shards on disk": Path(folder)}
        if config.address is not None:
            places[address_of(config.address) or str(config.address)] = config.address
        for place in list(places.values())[1:]:
            pack_latents(config, names, place)
        size = sum((config.latents / f"{name}.safetensors").stat().st_size for name in names)
        print(f"{len(segments)} segments of {len(names)} videos, {size / len(names) / 1e6:.1f} MB a video")
        for num_workers in config.num_workers:
            for name, place in places.items():
                print(f"{name}, {num_workers} workers: {measure(config, segments, place, num_workers)}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
