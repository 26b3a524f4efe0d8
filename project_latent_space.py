"""Step 1: encode a dataset's frames, and its reference frames warped to every pose, as latents on disk.

Poses and masks go beside them, as training needs them.

Try it:

    python project_latent_space.py
    torchrun --nproc_per_node 2 project_latent_space.py --dataset DATA --output_dir DATA_tensor
    python project_latent_space.py --dataset s3://bucket/data --output_dir s3://bucket/latents --jobs 8

Writes one safetensors file for each video (see data/latents.py). Run the same command again to continue:
finished videos are skipped. A video is made again if the VAE, the settings, or the names or sizes of its
files have changed. On a CPU, run one process for each core with torchrun. Damaged videos are named and passed
over; the exit status is then 2. Of shards (see data/shards.py) a whole shard is made at a time.
"""

import utils.interrupts  # noqa: F401

# isort: split
import contextlib
import dataclasses
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from tqdm import tqdm

from data.annotations import SPLITS
from data.frames import frame_paths
from data.latents import Facts, LatentVideo, is_finished, write_latent_video
from data.pack import extract, local_dataset
from data.shards import (
    IN_SHARD,
    Shards,
    address_of,
    is_sharded,
    remove_shards,
    shards_there,
    write_document,
    write_shard,
)
from diffusion.latents import load_vae, spatial_factor
from diffusion.warped_photo import MAX_PHOTOS, load_warper
from models.loading import model_sha256
from preparation.projection import FORMAT_VERSION, Plan, Projector, plan_video
from utils.cluster import ClusterSettings, part_of, run_jobs
from utils.config import check_minimum, run_script, settings_as_json
from utils.distributed import distributed_world
from utils.errors import UserError
from utils.files import check_output_dir
from utils.image import read_image
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL, is_same_path, refuse_overwrites_by

PIXEL_MULTIPLE = 128
"""Pixels that every preset of train.py needs a multiple of, along each side, with its own VAE."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ClusterSettings):
    """Settings of a projection."""

    dataset: Path = SHIPPED_DATASET
    """Folder of the dataset. Its fashion_crop, fashion_poses, fashion_masks, train and test are read. Or a
    folder of shards that data.pack wrote, or their address, such as s3://bucket/my_dataset."""
    output_dir: Path = Path("fashion_dataset_tensor")
    """Folder for the latents: NAME.safetensors for each video. Of shards: a folder or an address for the
    shards of latents."""
    vae: Path = SHIPPED_MODEL / "vae"
    """Folder of the VAE, in diffusers' layout."""
    warper: Path | None = SHIPPED_MODEL / "warper"
    """Folder of the network that corrects how rules move the reference frames to the poses, from
    recipe.train_warper. With None, the rules work alone."""
    height: int | None = None
    """Height in pixels to resize frames to. By default that of the dataset's first frame. Frames of another
    shape are fitted in without distortion, with a border around them."""
    width: int | None = None
    """Width in pixels to resize frames to; give it together with --height."""
    num_references: int = 2
    """Reference frames of each video to warp to every pose: the first frame of each annotated segment, and
    further ones, evenly spaced, up to this number. 0 writes no warps."""
    num_photos: int = 1
    """Photos of the person that training may see, 1 to 3. Above 1, each reference is warped alone, and also
    together with one or two other frames of its video, each place from the frame that shows it best."""
    batch_size: int = 16
    """Pictures that are encoded at once."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the encoder. auto takes bfloat16 if the machine has units for it."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:1. auto takes a GPU if there is one."""


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


def all_videos(dataset_dir: Path) -> set[str]:
    """Names of the videos that have frames or annotations."""
    annotated = {path.stem for split in SPLITS for path in (dataset_dir / split).glob("[!.]*.txt")}
    return annotated.union(list_videos(dataset_dir))


def output_size(config: Config, names: Sequence[str], factor: int) -> tuple[int, int]:
    """Height and width to encode frames at: the settings', else those of the first frame that can be read."""
    if (config.height is None) != (config.width is None):
        raise UserError("--height and --width go together; give both or neither")
    if config.height is not None and config.width is not None:
        height, width = config.height, config.width
    else:
        height, width = _first_frame_size(config.dataset, names)
    if min(height, width) < factor or height % factor or width % factor:
        multiple = math.lcm(factor, PIXEL_MULTIPLE)
        near = [max(multiple, round(side / multiple) * multiple) for side in (height, width)]
        raise UserError(
            f"frames of {width} x {height} pixels do not divide into the VAE's squares of {factor}; "
            f"add --height {near[0]} --width {near[1]}"
        )
    return height, width


def _first_frame_size(dataset_dir: Path, names: Sequence[str]) -> tuple[int, int]:
    for name in names:
        with contextlib.suppress(UserError), local_dataset(dataset_dir, [name]) as folder:
            height, width = read_image(frame_paths(folder / "fashion_crop" / name)[0]).shape[:2]
            return height, width
    place = address_of(dataset_dir) or dataset_dir / "fashion_crop"
    raise UserError(f"no video in {place} has a first frame that can be read")


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

    def __iadd__(self, other: "Tally") -> "Tally":
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self


def project_videos(
    config: Config, names: Sequence[str], projector: Projector, made_with: dict[str, str], progress: tqdm
) -> Tally:
    """Project videos of a dataset's folder, those that are not finished."""
    tally = Tally()
    plans: list[Plan] = []
    size = projector.height, projector.width
    for name in names:
        path = config.output_dir / f"{name}.safetensors"
        try:
            plan = plan_video(config.dataset, name, size, made_with, config.num_references, config.num_photos)
        except UserError as error:
            tally.blame(name, error)
            continue
        if is_finished(path, plan.metadata):
            tally.skipped += 1
        else:
            tally.redone += path.exists()
            plans.append(plan)
    progress.total = progress.n + sum(len(plan.frames) for plan in plans)
    for plan in plans:
        try:
            poses_dir = config.dataset / "fashion_poses" / plan.name
            tensors, source_size = projector.project(plan, poses_dir, progress)
        except UserError as error:
            tally.blame(plan.name, error)
            continue
        made_from = {"source_height": str(source_size[0]), "source_width": str(source_size[1])}
        metadata = plan.metadata | made_from | {"vae": str(config.vae)}
        write_latent_video(config.output_dir / f"{plan.name}.safetensors", tensors, metadata)
        tally.projected += 1
        tally.frames += len(plan.frames)
    return tally


def project_shards(
    config: Config,
    shards: Shards,
    mine: Sequence[str],
    projector: Projector,
    made_with: dict[str, str],
    progress: tqdm,
) -> Tally:
    """Project shards of a dataset into shards of the same names, those that are not finished.

    Raises:
        UserError: the output holds a dataset, or a storage fails.
    """
    tally = Tally()
    there = shards_there(config.output_dir)
    old = None
    with contextlib.suppress(UserError):
        old = Shards(config.output_dir)
    place = address_of(config.output_dir) or config.output_dir
    if old is not None and not all(IN_SHARD in clip.files for clip in old.clips.values()):
        raise UserError(f"{place} holds the shards of a dataset; choose another --output_dir")
    settings = [FORMAT_VERSION, made_with, projector.height, projector.width, config.num_references]
    settings += [config.num_photos] if config.num_photos > 1 else []
    for shard in mine:
        names = [name for name, clip in shards.clips.items() if clip.shard == shard]
        sources = [shards.made_from[shard], *[[name, shards.clips[name].files] for name in names]]
        wanted = hashlib.sha256(json.dumps([settings, sources]).encode()).hexdigest()
        if there.get(shard) == wanted:
            tally.skipped += len(names)
            continue
        with tempfile.TemporaryDirectory() as folder:
            part = dataclasses.replace(config, dataset=Path(folder) / "in", output_dir=Path(folder) / "out")
            part.output_dir.mkdir()
            for name in names:
                extract(shards, name, part.dataset)
                # Most of the shard's videos may be finished; other shards may be written anew meanwhile.
                if old is not None and name in old.clips and old.clips[name].shard == shard:
                    content = old.read(name, IN_SHARD)
                    (part.output_dir / f"{name}.safetensors").write_bytes(content)
            done = project_videos(part, names, projector, made_with, progress)
            made = [name for name in names if (part.output_dir / f"{name}.safetensors").is_file()]
            files = {name: {IN_SHARD: part.output_dir / f"{name}.safetensors"} for name in made}
            about = {
                name: dataclasses.asdict(Facts.of(LatentVideo(files[name][IN_SHARD])))
                | {"place": f"{place}/{shard}.tar: {name}.safetensors"}
                for name in made
            }
            write_shard(config.output_dir, shard, files, about, "" if done.damaged else wanted)
        tally += done
    return tally


def check_places(config: Config) -> None:
    """Refuse an output that cannot be written, or that would be written over what is read.

    Raises:
        UserError: it is so; or shards are wanted of a dataset that is not packed.
    """
    if address_of(config.output_dir) is None:
        check_output_dir(config.output_dir)
    elif not is_sharded(config.dataset):
        raise UserError(
            f"{config.output_dir} takes shards; pack the dataset first: python -m data.pack --dataset "
            f"{config.dataset} --output_dir SHARDS, and give --dataset SHARDS"
        )
    if is_sharded(config.dataset) and is_same_path(config.dataset, config.output_dir):
        raise UserError(f"{config.dataset} is read and would be overwritten; choose another --output_dir")
    refuse_overwrites_by(config, [config.output_dir / "config.json"])


def main(config: Config) -> None:
    """Project the videos or shards of this process, and sum up over all processes."""
    check_minimum(config, 0, "num_references")
    if not 1 <= config.num_photos <= MAX_PHOTOS:
        raise UserError(f"--num_photos {config.num_photos} must be 1 to {MAX_PHOTOS}")
    check_minimum(config, 1, "batch_size")
    part, num_parts = part_of(config)
    check_places(config)
    if config.jobs:
        run_jobs(config)
    started = time.perf_counter()
    with distributed_world(config.device) as world:
        # A process may have to wait for another's videos for longer than the default timeout.
        patient = dist.new_group(backend="gloo", timeout=timedelta(days=7)) if world.world_size > 1 else None
        shards = Shards(config.dataset) if is_sharded(config.dataset) else None
        videos = sorted(shards.clips if shards else all_videos(config.dataset))
        vae = load_vae(config.vae)
        warper = None if config.warper is None else load_warper(config.warper).to(world.device)
        made_with = {
            "vae_sha256": model_sha256(vae),
            "warper_sha256": "" if warper is None else model_sha256(warper),
            "dtype": config.dtype,
        }
        factor = spatial_factor(vae)
        height, width = output_size(config, videos, factor)
        vae = vae.to(device=world.device, memory_format=torch.channels_last)
        projector = Projector(vae, height, width, factor, config.batch_size, config.dtype, warper)
        if world.is_main and part == 0:
            write_document(config.output_dir, "config.json", settings_as_json(config))
        units = sorted(shards.made_from) if shards else videos
        mine = units[part::num_parts][world.rank :: world.world_size]
        with tqdm(unit="frame", desc="projecting", disable=not world.is_main) as progress:
            if shards:
                tally = project_shards(config, shards, mine, projector, made_with, progress)
            else:
                tally = project_videos(config, mine, projector, made_with, progress)
        counts = torch.tensor(dataclasses.astuple(tally))
        if patient is not None:
            dist.all_reduce(counts, group=patient)
        total = Tally(*counts.tolist())
    if world.is_main:
        if shards and num_parts == 1:
            old = [shard for shard in shards_there(config.output_dir) if shard not in shards.made_from]
            remove_shards(config.output_dir, old)
        print(
            f"projected {total.projected} videos ({total.frames} frames, {total.redone} videos anew) into "
            f"{address_of(config.output_dir) or config.output_dir} in {time.perf_counter() - started:.0f} s; "
            f"{total.skipped} were finished, {total.damaged} are damaged"
        )
        if total.damaged:
            raise UserError(f"{total.damaged} damaged videos are named above; mend them and run this again")
    if total.damaged:
        sys.exit(2)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
