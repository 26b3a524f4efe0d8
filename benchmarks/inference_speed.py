"""Measure what a denoising step and a video cost: as the published code computes them, and as this one does.

Try it at toy size, then at the published model's, then the tables one by one:

    python -m benchmarks.inference_speed --preset tiny --height 64 --num_frames 4 --steps 2
    OMP_NUM_THREADS=1 python -m benchmarks.inference_speed --preset published --steps 5
    python -m benchmarks.inference_speed --preset published --levels --frames --heights
    python -m benchmarks.inference_speed --preset small --rows --frames 8 24 48 96 192 --heights 256 512 1024

Prints markdown tables. All rows compute with the same random weights of our networks. "published" rows do it
plainly: tensors lie channels first, with a copy before and after each convolution over frames and each
attention; softmax and position bias are written out and computed at every step, and so are all encoders: the
text encoder, the VAE's encoder for the photo, the appearance and the pose encoder. Ours encode once. The
frozen models of preset "published" have the sizes of CLIP ViT-L/14 and sd-vae-ft-mse, those of other presets
the sizes of the models that ship.

A whole video is made by the pipeline at each level of quality, and decoded by the VAE or by a small decoder
of TAESD's size. The 1000 steps of the published procedure are not run: they are 1000 times the measured step,
and as many frames decoded as the video has, of which one is measured.

Columns: seconds of a step by the clock, and the processor's, which other work on the machine disturbs less
(medians); how many times the first row's speed that is; the share that the network's products (encoders not
counted) have of what the machine can do (the fastest of a few square products in each process, bfloat16 or
float32, as many threads); and the peak memory of the row's own process. Ratios and shares are of processor
time on a CPU, of clock time on a GPU.
"""

import concurrent.futures
import dataclasses
import itertools
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.published_step import make_plain
from benchmarks.random_models import make_text_encoder, make_vae
from data.pose_cache import POSE_SCALE
from diffusion.cuda_graphs import GraphedDenoiser
from diffusion.latents import encode_images
from diffusion.memory import format_bytes
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import make_scheduler
from diffusion.text import encode_prompts
from models import PRESETS, Denoiser
from utils.allocator import keep_freed_memory
from utils.config import check_minimum, run_script
from utils.devices import choose_device
from utils.errors import UserError
from utils.peak_memory import peak_main_memory
from utils.precision import autocast, resolve_dtype
from utils.quiet import quiet_libraries

PROMPT = "This lady turns to the left."
PUBLISHED_STEPS = 1000
Row = Literal["published-float32", "published-bfloat16", "ours-float32", "ours-bfloat16"]
Level = Literal["fast", "balanced", "best"]
Decoder = Literal["vae", "tiny"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    preset: Literal[*PRESETS] = "small"  # type: ignore[valid-type]
    """Size of the denoiser (models/presets.py), and of the frozen models beside it."""
    rows: tuple[Row, ...] = ("published-float32", "published-bfloat16", "ours-float32", "ours-bfloat16")
    """Steps to measure, each in a process of its own; none with an empty --rows."""
    levels: tuple[Level, ...] = ("fast", "balanced", "best")
    """Levels of quality to make a whole video at."""
    decoders: tuple[Decoder, ...] = ("vae", "tiny")
    """What decodes it."""
    frames: tuple[int, ...] = (8, 24, 48, 96, 192)
    """Numbers of frames to measure a step of ours at."""
    heights: tuple[int, ...] = (256, 512, 1024)
    """Heights in pixels to measure a step of ours at; pictures are half as wide."""
    height: int | None = None
    """Of the other measurements; by default 512 for preset published, else 256."""
    num_frames: int = 24
    """Of the other measurements."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of ours, rows apart."""
    compile: bool = False
    """Ours compile the denoiser's levels (torch.compile); give some --warmup for it."""
    cuda_graphs: bool = False
    """Ours replay their steps as CUDA graphs; needs a GPU."""
    steps: int = 3
    """Steps to measure."""
    warmup: int = 1
    """Steps before them."""
    seed: int = 0
    """What weights and inputs are drawn from."""
    tokenizer: Path = Path("pretrained_model/x2fashion-small/tokenizer")
    """CLIP tokenizer's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a row's process reports."""

    clock: float
    """Seconds of a step, or of a video."""
    processor: float
    """Of these, the processor's, for each thread; on a GPU the same as `clock`."""
    decode: float = 0.0
    """Seconds by the clock to decode a video; of a published step's video, as many times one frame."""
    peak_bytes: int
    """Most memory that the process held; on a GPU, of the GPU's."""
    peak_flops: float
    """Operations a second of a large matrix product."""


class Stopwatch:
    """Seconds by the clock and by the processor since it was made, with the GPU's work finished."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = self._now()

    def read(self) -> tuple[float, float]:
        """Clock, processor."""
        clock, processor = (now - then for now, then in zip(self._now(), self.started, strict=True))
        return clock, clock if self.device.type == "cuda" else processor / torch.get_num_threads()

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()


@dataclasses.dataclass(frozen=True)
class Models:
    """The networks of a row, with random weights, and random inputs."""

    denoiser: Denoiser
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    photo: Tensor
    """(1, 3, H, W)."""
    poses: Tensor
    """(1, 3, f, H, W)."""
    noisy: Tensor
    """(1, c, f, h, w)."""

    def encode(self) -> dict[str, Tensor]:
        """Arguments of `Denoiser.encode_conditions`."""
        latents = encode_images(self.vae, self.photo)
        embeds = encode_prompts(self.tokenizer, self.text_encoder, [PROMPT])
        inputs = {"reference_latents": latents, "pose_images": self.poses, "prompt_embeds": embeds}
        if self.denoiser.config.warp_input:
            inputs["warped_latents"] = torch.zeros_like(self.noisy)
            inputs["warp_validity"] = torch.zeros_like(self.noisy[:, :1])
        return inputs


def picture_height(config: Config) -> int:
    """Height in pixels of the pictures."""
    return config.height or (512 if config.preset == "published" else 256)


def make_models(config: Config, device: torch.device) -> Models:
    """Draw weights and inputs."""
    torch.manual_seed(config.seed)
    denoiser = Denoiser(**PRESETS[config.preset]).eval().requires_grad_(False)
    with torch.no_grad():  # also those that start at zero, or the conditions would not count
        for parameter in denoiser.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    tokenizer, text_encoder = make_text_encoder(
        config.preset, config.tokenizer, denoiser.config.cross_attention_dim
    )
    channels, height = denoiser.config.latent_channels, picture_height(config)
    latent_size = height // POSE_SCALE, height // 2 // POSE_SCALE
    return Models(
        denoiser.to(device),
        make_vae(config.preset, channels).to(device),
        tokenizer,
        text_encoder.to(device),
        torch.rand(1, 3, height, height // 2, device=device) * 2 - 1,
        torch.rand(1, 3, config.num_frames, height, height // 2, device=device) * 2 - 1,
        torch.randn(1, channels, config.num_frames, *latent_size, device=device),
    )


@torch.no_grad()
def make_step(
    models: Models, row: Row, compiled: bool = False, cuda_graphs: bool = False
) -> Callable[[], Tensor]:
    """A function that computes a row's step; what ours do once is done, and they may compile or replay."""
    kind, dtype = row.split("-")
    denoiser, precision = models.denoiser, autocast(dtype, models.noisy.device)
    if kind == "published":
        make_plain(denoiser)

        @torch.no_grad()
        def published() -> Tensor:
            with precision:
                return denoiser(models.noisy, 500, **models.encode()).float()

        return published
    with precision:
        inputs = models.encode()
        if dtype == "bfloat16":
            nn.Module.to(denoiser, dtype=torch.bfloat16)
        inputs = {name: value.to(denoiser.dtype) for name, value in inputs.items()}
        conditions = denoiser.encode_conditions(**inputs)
    if compiled:
        denoiser.compile_levels()
    predict = GraphedDenoiser(denoiser) if cuda_graphs else denoiser
    timestep = torch.full((1,), 500, device=models.noisy.device)

    @torch.no_grad()
    def ours() -> Tensor:
        with precision:
            return predict(models.noisy.to(denoiser.dtype), timestep, conditions=conditions).float()

    return ours


def measure_peak_flops(device: torch.device) -> float:
    """Operations a second of the fastest of a few square matrix products, bfloat16 and float32."""
    side, fastest = 8192 if device.type == "cuda" else 2048, math.inf
    for dtype in (torch.bfloat16, torch.float32):
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        for _ in range(6):
            watch = Stopwatch(device)
            matrix @ matrix
            fastest = min(fastest, watch.read()[1])
    return 2 * side**3 / fastest


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # what resource reports begins with the memory of the process that started this one
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    return peak_main_memory()


def measure_step(config: Config, row: Row, device: torch.device) -> Measured:
    """A step of a row; in a process of its own, whose memory is then the row's."""
    quiet_libraries()
    models, decode = make_models(config, device), 0.0
    if row.startswith("ours"):
        keep_freed_memory()
    else:
        with autocast(row.removeprefix("published-"), device), torch.no_grad():
            watch = Stopwatch(device)
            models.vae.decode(models.noisy[:, :, 0])
            decode = config.num_frames * watch.read()[0]
    step = make_step(models, row, config.compile, config.cuda_graphs)
    for _ in range(config.warmup):
        step()
    times = []
    for _ in range(config.steps):
        watch = Stopwatch(device)
        step()
        times.append(watch.read())
    clock, processor = (statistics.median(seconds) for seconds in zip(*times, strict=True))
    held = peak_bytes(device)
    return Measured(
        clock=clock, processor=processor, decode=decode, peak_bytes=held,
        peak_flops=measure_peak_flops(device),
    )  # fmt: skip


def measure_video(config: Config, label: tuple[Level, Decoder], device: torch.device) -> Measured:
    """A whole video at a level of quality, decoded by a decoder; likewise."""
    quiet_libraries()
    keep_freed_memory()
    models, (level, decoder) = make_models(config, device), label
    prediction_type, channels = models.denoiser.config.prediction_type, models.noisy.shape[1]
    quality = QUALITIES[prediction_type][level]
    pipeline = X2FashionPipeline(
        models.denoiser,
        models.vae,
        models.text_encoder,
        models.tokenizer,
        make_scheduler(quality.scheduler, prediction_type),
        tiny_decoder=AutoencoderTiny(latent_channels=channels).to(device) if decoder == "tiny" else None,
    )
    pipeline.cast_networks(resolve_dtype(config.dtype, device))
    if config.compile:
        pipeline.denoiser.compile_levels()
    if config.cuda_graphs:
        pipeline.enable_cuda_graphs()
    pipeline.set_progress_bar_config(disable=True)
    height, frames = picture_height(config), config.num_frames
    photo = np.full((height, height // 2, 3), 128, np.uint8)
    # What a GPU, a compiler or a recording do once is not measured.
    rounds = 2 if device.type == "cuda" or config.compile else 1
    for _ in range(rounds):
        with autocast(config.dtype, device), torch.no_grad():
            watch = Stopwatch(device)
            latents = pipeline(
                photo,
                np.zeros((frames, *photo.shape), np.uint8),
                PROMPT,
                joints=np.zeros((frames, 18, 3), np.float32),
                **dataclasses.asdict(quality.sampling),
                output_type="latent",
                return_dict=False,
            )[0]
            clock, processor = watch.read()
            watch = Stopwatch(device)
            pipeline.decode(latents, None, None)
            decode = watch.read()[0]
    held = peak_bytes(device)
    return Measured(
        clock=clock + decode, processor=processor, decode=decode, peak_bytes=held,
        peak_flops=measure_peak_flops(device),
    )  # fmt: skip


def count_flops(config: Config) -> int:
    """Floating point operations of the products of a step, the encoders not counted."""
    height = picture_height(config)
    with torch.device("meta"):
        denoiser = Denoiser(**PRESETS[config.preset]).requires_grad_(False)
        size = config.num_frames, height // POSE_SCALE, height // 2 // POSE_SCALE
        noisy = torch.zeros(1, denoiser.config.latent_channels, *size)
        embeds = torch.zeros(1, 77, denoiser.config.cross_attention_dim)
    with torch.no_grad():
        keys, values = denoiser.unet.encode_text(embeds)
        x = noisy.new_zeros(1, denoiser.unet.conv_in.spatial.in_channels, *size)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            denoiser.unet(x, torch.zeros(1, device="meta"), keys, values)
    return counter.get_total_flops()


def in_own_process(function: Callable[..., Measured], *args: Any) -> Measured:
    """Call a function in a new process."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(function, *args).result()
    label = args[1] if isinstance(args[1], str) else ", ".join(args[1])
    print(f"{label}: {result.clock:.3g} s", file=sys.stderr, flush=True)
    return result


def table(header: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def steps_table(measured: dict[Row, Measured], flops: int) -> str:
    """Rows of `measured`, whose step has `flops` operations in its products."""
    peak = max(row.peak_flops for row in measured.values())
    first = next(iter(measured.values())).processor
    names = ["step", "s a step", "processor s a step", "ratio", "share of peak", "peak memory"]
    rows = [
        [
            label.replace("-", ", "),
            f"{row.clock:.3g}",
            f"{row.processor:.3g}",
            f"{first / row.processor:.2f}",
            f"{flops / row.processor / peak:.3g}",
            format_bytes(row.peak_bytes),
        ]
        for label, row in measured.items()
    ]
    return table(names, rows)


def videos_table(
    config: Config, steps: dict[Row, Measured], videos: dict[tuple[Level, Decoder], Measured]
) -> str:
    """Whole videos; the published procedure's from its measured step, where there is one."""
    prediction_type = PRESETS[config.preset].get("prediction_type", "epsilon")
    rows, first = [], None
    if "published-float32" in steps:
        step = steps["published-float32"]
        first = PUBLISHED_STEPS * step.clock + step.decode
        rows.append(
            [f"published procedure, {PUBLISHED_STEPS} steps, extrapolated", "vae", f"{first:.4g}",
             f"{step.decode:.3g}", "1.00", format_bytes(step.peak_bytes)]
        )  # fmt: skip
    for (level, decoder), row in videos.items():
        count = QUALITIES[prediction_type][level].sampling.num_inference_steps
        ratio = "" if first is None else f"{first / row.clock:.4g}"
        rows.append(
            [f"--quality {level}, {count} steps", decoder, f"{row.clock:.3g}", f"{row.decode:.3g}", ratio,
             format_bytes(row.peak_bytes)]
        )  # fmt: skip
    return table(["video", "decoder", "s a video", "of these decoding", "ratio", "peak memory"], rows)


def check(config: Config) -> None:
    """Refuse settings that cannot work.

    Raises:
        UserError: names the flag.
    """
    check_minimum(config, 1, "steps", "num_frames")
    check_minimum(config, 0, "warmup")
    with torch.device("meta"):
        denoiser = Denoiser(**PRESETS[config.preset])
    multiple = 2 * POSE_SCALE * denoiser.size_multiple
    for height in (*config.heights, picture_height(config)):
        if height < 1 or height % multiple:
            raise UserError(
                f"a height of {height} pixels: preset {config.preset} takes multiples of {multiple}"
            )
    for frames in (*config.frames, config.num_frames):
        if frames < 1 or frames % denoiser.frame_multiple:
            raise UserError(
                f"{frames} frames: preset {config.preset} takes multiples of {denoiser.frame_multiple}"
            )
    if not config.tokenizer.is_dir():
        raise UserError(f"there is no {config.tokenizer}; give --tokenizer a CLIP tokenizer's folder")


def main(config: Config) -> None:
    """Measure one thing after the other and print the tables."""
    check(config)
    device = choose_device(config.device)
    if config.cuda_graphs and device.type != "cuda":
        raise UserError(f"--cuda_graphs needs a GPU, and the device is {device.type}; leave it out")
    height, flops = picture_height(config), count_flops(config)
    print(
        f"{config.preset}, {config.num_frames} frames of {height} x {height // 2} pixels (height x width) on "
        f"{device.type}, {torch.get_num_threads()} threads; {flops / 1e12:.4g} TFLOP a step, matrix products "
        f"at {measure_peak_flops(device) / 1e12:.3g} TFLOP/s\n"
    )
    steps = {row: in_own_process(measure_step, config, row, device) for row in config.rows}
    if steps:
        print(steps_table(steps, flops))
    labels = itertools.product(config.levels, config.decoders)
    videos = {label: in_own_process(measure_video, config, label, device) for label in labels}
    if videos:
        print(videos_table(config, steps, videos))
    row: Row = "ours-bfloat16"
    if resolve_dtype(config.dtype, device) == torch.float32:
        row = "ours-float32"
    sizes = [dataclasses.replace(config, num_frames=count) for count in config.frames]
    sizes += [dataclasses.replace(config, height=size) for size in config.heights]
    rows = []
    for size in sizes:
        result, pixels = in_own_process(measure_step, size, row, device), picture_height(size)
        rows.append(
            [str(size.num_frames), f"{pixels} x {pixels // 2}", f"{result.clock:.3g}",
             f"{result.processor:.3g}", f"{result.processor / size.num_frames:.3g}",
             format_bytes(result.peak_bytes)]
        )  # fmt: skip
    if rows:
        header = ["frames", "pixels", "s a step", "processor s a step", "of these a frame", "peak memory"]
        print(f"A step of ours, {row.removeprefix('ours-')}\n\n{table(header, rows)}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
