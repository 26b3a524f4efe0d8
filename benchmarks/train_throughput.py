"""Measure how fast a training loop feeds the network: the published training's way of it, and train.py's.

Try it, on small clips that it makes itself, then at the published model's size, then on a dataset:

    python -m benchmarks.train_throughput --preset tiny --height 64 --num_frames 8 --steps 2
    python -m benchmarks.train_throughput --preset published --steps 5 --warmup 2
    python -m benchmarks.train_throughput --preset small --dataset DATA --latents LATENTS --batch_size 4

Prints a markdown table. Both loops train the same network, ours, from random weights; they differ in what is
around it. "published": in each step the text encoder, the VAE's encoder for the reference frame, all poses of
the clips decoded from PNG and resized, float32, AdamW without fused kernels. "ours": latents and poses read
as slices of a file, sentences encoded once, bfloat16 where it is fast, fused AdamW, and a moving average of
the weights. The frozen models of preset "published" have the sizes of CLIP ViT-L/14 and sd-vae-ft-mse, those
of other presets the sizes of the models that ship; their weights are random.

Columns: samples (clips) a second; how many times the first row that is; the share of the loop's time in the
network's forward, backward and optimizer; the share that the network's products have of what the machine can
do (the fastest of a few square products before each row, in bfloat16 or float32, with as many threads); and
the peak memory of the row's own process. Files are in the page cache.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from benchmarks.random_models import make_text_encoder, make_vae
from data.annotations import Segment, load_annotations
from data.clips import ClipDataset, ClipSampler, collate_clips, sample_seed
from data.frames import frame_paths, read_pictures
from data.latents import LatentVideo, write_latent_video
from data.pose_cache import POSE_SCALE, encode_picture, pack_pictures
from data.synthetic.write import Output, write_sampled_clip
from diffusion.latents import encode_images
from diffusion.memory import count_training_flops, format_bytes
from diffusion.schedule import make_scheduler
from diffusion.text import PromptCache, encode_prompts
from diffusion.training import Dropout, diffusion_loss, draw_randomness
from models import PRESETS, Denoiser
from utils.config import check_minimum, run_script
from utils.devices import choose_device
from utils.errors import UserError
from utils.image import to_signed
from utils.peak_memory import peak_main_memory
from utils.precision import autocast, resolve_dtype
from utils.quiet import quiet_libraries

NUM_VIDEOS = 2  # of the dataset that is made
LEARNING_RATE, MAX_GRAD_NORM, EMA_DECAY = 1e-4, 1.0, 0.998


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    preset: Literal[*PRESETS] = "small"  # type: ignore[valid-type]
    """Size of the denoiser (models/presets.py), and of the frozen models beside it."""
    rows: tuple[Literal["published", "ours"], ...] = ("published", "ours")
    """Which loops to measure, each in a process of its own."""
    dataset: Path | None = None
    """Dataset folder; goes with --latents. By default clips are rendered, with random latents."""
    latents: Path | None = None
    """What project_latent_space.py wrote for it."""
    height: int | None = None
    """Of the pictures that are made, in pixels; they are half as wide. By default 512 for preset published,
    else 256."""
    tokenizer: Path = Path("pretrained_model/x2fashion-small/tokenizer")
    """CLIP tokenizer's folder."""

    batch_size: int = 1
    """Clips a step."""
    num_frames: int = 24
    """Frames of a clip."""
    steps: int = 10
    """Steps to measure."""
    warmup: int = 2
    """Steps before them."""
    seed: int = 0
    """What weights and data are drawn from."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast precision of our loop, as in train.py."""
    gradient_checkpointing: bool = False
    """Our loop computes activations again in the backward pass."""
    compile: bool = False
    """Our loop compiles the denoiser (torch.compile); give some --warmup for it."""
    num_workers: int | None = None
    """Data loader processes of our loop; by default 4 with a GPU, none without, as in train.py."""
    device: str = "auto"
    """cpu, cuda, or auto."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a row's process reports."""

    seconds: float
    """Of all measured steps."""
    network_seconds: float
    """Of these, in forward, backward and optimizer."""
    peak_bytes: int
    """Most memory that the process held; on a GPU, of the GPU's."""
    peak_flops: float
    """Operations a second of a large matrix product."""


class NetworkClock:
    """Adds up the time within `running`, with the GPU's work finished at both ends."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0

    def now(self) -> float:
        """Seconds, when all that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time within."""
        started = self.now()
        yield
        self.seconds += self.now() - started


Step = Callable[[NetworkClock], None]


@dataclasses.dataclass(frozen=True)
class Source:
    """The data of a run and its sizes."""

    dataset: Path
    latents: Path
    latent_channels: int
    height: int
    """Of the latents."""
    width: int
    """Of the latents."""


def check(config: Config) -> None:
    """Refuse settings that cannot work.

    Raises:
        UserError: names the flag.
    """
    check_minimum(config, 1, "batch_size", "num_frames", "steps")
    check_minimum(config, 0, "warmup")
    if not config.rows:
        raise UserError("--rows is empty; give published, ours or both")
    if (config.dataset is None) != (config.latents is None):
        raise UserError("--dataset and --latents go together; give both or neither")
    if config.dataset is None and (config.num_frames < 4 or picture_height(config) % 16):
        raise UserError(
            f"--num_frames {config.num_frames} --height {picture_height(config)}: clips that are made have 4 "
            "frames or more and a height that divides by 16"
        )
    if not config.tokenizer.is_dir():
        raise UserError(f"there is no {config.tokenizer}; give --tokenizer a CLIP tokenizer's folder")


def picture_height(config: Config) -> int:
    """Height in pixels of the pictures that are made."""
    return config.height or (512 if config.preset == "published" else 256)


def preset_config(config: Config, **changes: Any) -> dict[str, Any]:
    """All arguments of the preset's denoiser, also those that it leaves at their defaults."""
    with torch.device("meta"):
        denoiser = Denoiser(**PRESETS[config.preset] | changes)
    return {name: value for name, value in denoiser.config.items() if not name.startswith("_")}


def make_dataset(config: Config, folder: Path) -> tuple[Path, Path]:
    """Render clips, and write random latents and warps with the poses beside them; returns both folders."""
    dataset, latents = folder / "dataset", folder / "latents"
    preset, height, frames = preset_config(config), picture_height(config), config.num_frames
    size = preset["latent_channels"], height // POSE_SCALE, height // 2 // POSE_SCALE
    generator = torch.Generator().manual_seed(config.seed)
    for index in range(NUM_VIDEOS):
        write_sampled_clip(dataset, config.seed, frames, height, Output(), "train", index)
        name = f"train_{index:05d}"
        poses = read_pictures(frame_paths(dataset / "fashion_poses" / name))
        tensors = {"latents": torch.randn(frames, *size, generator=generator).half()}
        tensors["pose_bytes"], tensors["pose_offsets"] = pack_pictures([encode_picture(p) for p in poses])
        if preset["warp_input"]:
            tensors["reference_frames"] = torch.tensor([0])
            tensors["warped_latents"] = torch.randn(1, frames, *size, generator=generator).half()
            tensors["warp_validity"] = torch.ones(1, frames, 1, *size[1:]).half()
        write_latent_video(latents / f"{name}.safetensors", tensors, {})
    return dataset, latents


def open_source(config: Config, dataset: Path, latents: Path) -> Source:
    """Take all sizes from the first clip that is long enough."""
    clips = ClipDataset(dataset, latents, load_annotations(dataset, "train"), config.num_frames)
    first = LatentVideo(latents / f"{clips.segments[0].name}.safetensors").latents([0])
    return Source(dataset, latents, *first.shape[1:])


def make_denoiser(config: Config, source: Source) -> Denoiser:
    """The denoiser with random weights, for the latents that there are."""
    torch.manual_seed(config.seed)
    return Denoiser(**preset_config(config, latent_channels=source.latent_channels)).train()


def read_picture(path: Path, height: int, width: int) -> torch.Tensor:
    """Decode and resize a picture: (3, height, width) float32 in [-1, 1]."""
    picture = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return to_signed(np.asarray(picture))


def read_published_clip(source: Source, segment: Segment, num_frames: int, seed: int) -> dict[str, Any]:
    """A clip as `ClipDataset` gives it, and its reference frame (3, H, W), each picture decoded from PNG."""
    rng = np.random.default_rng(seed)
    start = int(rng.integers(segment.start, segment.end - num_frames + 1))
    frames = range(start, start + num_frames)
    size = POSE_SCALE * source.height, POSE_SCALE * source.width
    pictures = frame_paths(source.dataset / "fashion_crop" / segment.name)
    poses = frame_paths(source.dataset / "fashion_poses" / segment.name)
    latents = LatentVideo(source.latents / f"{segment.name}.safetensors").latents(frames).movedim(0, 1)
    return {
        "latents": latents,
        "pose_images": torch.stack([read_picture(poses[i], *size) for i in frames], dim=1),
        "reference": read_picture(pictures[start], *size),
        "warped_latents": torch.zeros_like(latents),
        "warp_validity": torch.zeros_like(latents[:1]),
        "text": segment.text,
        "seed": seed,
    }


def published_loop(config: Config, source: Source, device: torch.device) -> Step:
    """A step of training as the published code did it."""
    denoiser = make_denoiser(config, source).to(device)
    tokenizer, text_encoder = make_text_encoder(
        config.preset, config.tokenizer, denoiser.config.cross_attention_dim
    )
    text_encoder.to(device)
    vae = make_vae(config.preset, source.latent_channels).to(device)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=LEARNING_RATE, foreach=False, fused=False)
    scheduler = make_scheduler("ddpm", denoiser.config.prediction_type)
    segments = [
        segment
        for segment in load_annotations(source.dataset, "train")
        if segment.end - segment.start >= config.num_frames
    ]
    seeds = (sample_seed(config.seed, number, 0) for number in itertools.count())

    def step(clock: NetworkClock) -> None:
        drawn = [next(seeds) for _ in range(config.batch_size)]
        batch = collate_clips(
            [
                read_published_clip(source, segments[seed % len(segments)], config.num_frames, seed)
                for seed in drawn
            ]
        )
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
        batch["prompt_embeds"] = encode_prompts(tokenizer, text_encoder, batch["text"])
        batch["latents"][:, :, 0] = encode_images(vae, batch["reference"])
        shape, num_timesteps = batch["latents"].shape, scheduler.config.num_train_timesteps
        randomness = draw_randomness(batch["seed"], shape, num_timesteps, Dropout()).to(device)
        with clock.running():
            optimizer.zero_grad()
            loss = diffusion_loss(denoiser, scheduler, batch, randomness, denoiser.config.prediction_type)
            loss.mean().backward()
            torch.nn.utils.clip_grad_norm_(denoiser.parameters(), MAX_GRAD_NORM, foreach=False)
            optimizer.step()

    return step


def our_loop(config: Config, source: Source, device: torch.device) -> Step:
    """A step of train.py in one process."""
    denoiser = make_denoiser(config, source)
    tokenizer, text_encoder = make_text_encoder(
        config.preset, config.tokenizer, denoiser.config.cross_attention_dim
    )
    prompts = PromptCache(tokenizer, text_encoder.to(device))
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    denoiser.to(device)
    ema = AveragedModel(denoiser, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    ema.eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=LEARNING_RATE, fused=True)
    if config.compile:
        denoiser.compile()
    scheduler = make_scheduler("ddpm", denoiser.config.prediction_type)
    precision = autocast(config.dtype, device)

    segments = load_annotations(source.dataset, "train")
    dataset = ClipDataset(
        source.dataset, source.latents, segments, config.num_frames, denoiser.config.warp_input
    )
    sampler = ClipSampler(
        len(dataset),
        config.batch_size,
        config.warmup + config.steps,
        num_frames=config.num_frames,
        short_frames=config.num_frames,
        short_steps=0,
        seed=config.seed,
    )
    default_workers = 4 if device.type == "cuda" else 0
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate_clips,
        num_workers=default_workers if config.num_workers is None else config.num_workers,
        pin_memory=device.type == "cuda",
    )
    batches = iter(loader)

    def step(clock: NetworkClock) -> None:
        batch = next(batches)
        batch["prompt_embeds"] = prompts(batch["text"])
        batch = {k: v.to(device, non_blocking=True) if torch.is_tensor(v) else v for k, v in batch.items()}
        shape, num_timesteps = batch["latents"].shape, scheduler.config.num_train_timesteps
        randomness = draw_randomness(batch["seed"], shape, num_timesteps, Dropout()).to(device)
        with clock.running():
            with precision:
                loss = diffusion_loss(denoiser, scheduler, batch, randomness, denoiser.config.prediction_type)
                loss.mean().backward()
            torch.nn.utils.clip_grad_norm_(denoiser.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(denoiser)

    return step


LOOPS: dict[str, Callable[[Config, Source, torch.device], Step]] = {
    "published": published_loop,
    "ours": our_loop,
}


def measure_peak_flops(device: torch.device) -> float:
    """Operations a second of the fastest of a few square matrix products, bfloat16 and float32."""
    side = 8192 if device.type == "cuda" else 2048
    clock, fastest = NetworkClock(device), math.inf
    for dtype in (torch.bfloat16, torch.float32):
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        for _ in range(5):
            started = clock.now()
            matrix @ matrix
            fastest = min(fastest, clock.now() - started)
    return 2 * side**3 / fastest


def measure_row(config: Config, row: str, source: Source, device: torch.device) -> Measured:
    """Run a row's loop: in a process of its own, whose memory is then the row's."""
    quiet_libraries()
    peak_flops = measure_peak_flops(device)
    step, clock = LOOPS[row](config, source, device), NetworkClock(device)
    for _ in range(config.warmup):
        step(clock)
    started, clock.seconds = clock.now(), 0.0
    for _ in range(config.steps):
        step(clock)
    seconds = clock.now() - started
    on_gpu = device.type == "cuda"
    peak_bytes = torch.cuda.max_memory_allocated(device) if on_gpu else peak_main_memory()
    return Measured(
        seconds=seconds, network_seconds=clock.seconds, peak_bytes=peak_bytes, peak_flops=peak_flops
    )


def row_label(config: Config, row: str, device: torch.device) -> str:
    """What a row measured, in words."""
    if row == "published":
        return "published loop, float32"
    parts = ["our loop", str(resolve_dtype(config.dtype, device)).removeprefix("torch.")]
    parts += ["gradient checkpointing"] * config.gradient_checkpointing + ["compiled"] * config.compile
    return ", ".join(parts)


def table(config: Config, measured: dict[str, Measured], flops: int) -> str:
    """A markdown table.

    Args:
        config: of the run.
        measured: for each row's label what it measured.
        flops: of the network's products in a step.
    """
    peak_flops = max(row.peak_flops for row in measured.values())
    lines = [
        "| loop | samples/s | ratio | network's share of time | share of peak | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    first = next(iter(measured.values())).seconds
    for label, row in measured.items():
        lines.append(
            f"| {label} | {config.batch_size * config.steps / row.seconds:.4g} | {first / row.seconds:.2f} | "
            f"{row.network_seconds / row.seconds:.3f} | "
            f"{flops * config.steps / row.seconds / peak_flops:.3g} | {format_bytes(row.peak_bytes)} |"
        )
    return "\n".join(lines)


def main(config: Config) -> None:
    """Measure the rows one after the other and print the table."""
    check(config)
    device = choose_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        if config.dataset is None or config.latents is None:
            source = open_source(config, *make_dataset(config, Path(folder)))
        else:
            source = open_source(config, config.dataset, config.latents)
        flops = count_training_flops(
            preset_config(config, latent_channels=source.latent_channels),
            batch_size=config.batch_size,
            num_frames=config.num_frames,
            height=source.height,
            width=source.width,
        )
        measured: dict[str, Measured] = {}
        for row in config.rows:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                result = pool.submit(measure_row, config, row, source, device).result()
            label = row_label(config, row, device)
            measured[label] = result
            print(f"{label}: {result.seconds / config.steps:.2f} s a step", file=sys.stderr, flush=True)
    peak_flops = max(result.peak_flops for result in measured.values())
    print(
        f"{config.preset}, {config.batch_size} x {config.num_frames} frames of "
        f"{POSE_SCALE * source.height} x {POSE_SCALE * source.width} pixels (height x width), "
        f"{config.steps} steps on {device.type}, {torch.get_num_threads()} threads; "
        f"{flops / 1e12:.4g} TFLOP a step, matrix products at {peak_flops / 1e12:.3g} TFLOP/s\n"
    )
    print(table(config, measured, flops))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
