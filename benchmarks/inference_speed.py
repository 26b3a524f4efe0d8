"""Measure what a denoising step and a video cost, by size, level of quality and decoder.

Try it at toy size, then at the sizes of the models:

    python -m benchmarks.inference_speed --preset tiny --heights 64 --frames 4 --steps 2
    OMP_NUM_THREADS=1 python -m benchmarks.inference_speed --preset small
    OMP_NUM_THREADS=1 python -m benchmarks.inference_speed --preset published --heights 512

Prints two markdown tables: a step at each number of frames and height, and a whole video at each level of
quality, decoded by the VAE or by a small decoder of TAESD's size. Weights and inputs are random: time does
not depend on them. Moving the photo to the poses is left out. The frozen models of preset "published" have
the sizes of CLIP ViT-L/14 and sd-vae-ft-mse.
Times are seconds by the clock; a step's is the median. Each row is measured in a process of its own, whose
peak memory it tells.
"""

import concurrent.futures
import dataclasses
import itertools
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
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from data.pose_cache import POSE_SCALE
from diffusion.latents import spatial_factor
from diffusion.memory import format_bytes
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import make_scheduler
from models import PRESETS, Denoiser
from models.autoencoder import LARGE_VAE_CONFIG, TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL
from utils.allocator import keep_freed_memory
from utils.config import check_minimum, run_script
from utils.devices import choose_device
from utils.errors import UserError
from utils.paths import SHIPPED_MODEL
from utils.peak_memory import peak_main_memory
from utils.precision import autocast, resolve_dtype
from utils.quiet import quiet_libraries

PROMPT = "This lady turns to the left."
PUBLISHED_VAE_CONFIG: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}
Level = Literal["fast", "balanced", "best"]
Decoder = Literal["vae", "tiny"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    preset: Literal[*PRESETS] = "small"  # type: ignore[valid-type]
    """Size of the denoiser (models/presets.py), and of the frozen models beside it."""
    frames: tuple[int, ...] = (8, 24, 96)
    """Numbers of frames to measure a step at."""
    heights: tuple[int, ...] = (512,)
    """Heights in pixels to measure a step at. Pictures are half as wide. Videos are made at the first
    height."""
    levels: tuple[Level, ...] = ("fast", "balanced", "best")
    """Levels of quality at which to make a video of 24 frames. Give an empty --levels to make none."""
    decoders: tuple[Decoder, ...] = ("vae", "tiny")
    """What decodes the videos: the VAE, or a small decoder of TAESD's size."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks; auto takes bfloat16 where the machine has units for it."""
    steps: int = 5
    """Steps to measure."""
    warmup: int = 2
    """Steps that run first and are not measured."""
    tokenizer: Path = SHIPPED_MODEL / "tokenizer"
    """Folder of a CLIP tokenizer."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a row's process reports."""

    seconds: float
    """Of a step, or of a video."""
    decode_seconds: float = 0.0
    """Of these, in the decoder."""
    peak_bytes: int
    """Most memory that the process held; on a GPU, of the GPU's."""


def make_vae(preset: str, channels: int) -> AutoencoderKL:
    """The VAE beside a preset's denoiser, with random weights."""
    if preset == "published":
        return AutoencoderKL(**PUBLISHED_VAE_CONFIG, latent_channels=channels)
    sizes = TINY_VAE_CONFIG if preset == "tiny" else LARGE_VAE_CONFIG
    return SpaceToDepthAutoencoderKL(**sizes | {"latent_channels": channels})


def make_pipeline(config: Config, decoder: Decoder, device: torch.device) -> X2FashionPipeline:
    """All networks at the preset's sizes, with random weights."""
    torch.manual_seed(0)
    published = config.preset == "published"
    denoiser = Denoiser(**PRESETS[config.preset])
    channels = denoiser.config.latent_channels
    tokenizer = CLIPTokenizer.from_pretrained(config.tokenizer, local_files_only=True)
    tokenizer.model_max_length = 77 if published else 32
    width = denoiser.config.cross_attention_dim
    text_config = CLIPTextConfig(
        vocab_size=max(len(tokenizer), 49408 if published else 0),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12 if published else 3,
        num_attention_heads=12 if published else 4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    pipeline = X2FashionPipeline(
        denoiser,
        make_vae(config.preset, channels),
        CLIPTextModel(text_config),
        tokenizer,
        make_scheduler("ddim", denoiser.config.prediction_type),
        tiny_decoder=AutoencoderTiny(latent_channels=channels) if decoder == "tiny" else None,
    ).to(device)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    pipeline.cast_networks(resolve_dtype(config.dtype, device))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def now(device: torch.device) -> float:
    """Seconds by the clock, with the GPU's work finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # what `resource` tells begins with the memory of the process that started this one
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    return peak_main_memory()


@torch.no_grad()
def measure_step(config: Config, num_frames: int, height: int, device: torch.device) -> Measured:
    """A step of the denoiser, with all its conditions encoded before."""
    quiet_libraries()
    keep_freed_memory()
    pipeline = make_pipeline(config, "vae", device)
    denoiser, factor = pipeline.denoiser, spatial_factor(pipeline.vae)
    channels, size = denoiser.config.latent_channels, (height // factor, height // 2 // factor)
    noisy = torch.randn(1, channels, num_frames, *size, device=device, dtype=denoiser.dtype)
    inputs = {
        "prompt_embeds": noisy.new_zeros(1, 77, denoiser.config.cross_attention_dim),
        "reference_latents": noisy[:, :, 0],
        "pose_images": noisy.new_zeros(1, 3, num_frames, *(POSE_SCALE * side for side in size)),
    }
    if denoiser.config.warp_input:
        inputs |= {"warped_latents": torch.zeros_like(noisy), "warp_validity": torch.zeros_like(noisy[:, :1])}
    times = []
    with autocast(config.dtype, device):
        conditions = denoiser.encode_conditions(**inputs)
        for _ in range(config.warmup + config.steps):
            started = now(device)
            denoiser(noisy, 500, conditions=conditions)
            times.append(now(device) - started)
    return Measured(seconds=statistics.median(times[config.warmup :]), peak_bytes=peak_bytes(device))


@torch.no_grad()
def measure_video(config: Config, level: Level, decoder: Decoder, device: torch.device) -> Measured:
    """A video of 24 frames, from the photo to the decoded pictures."""
    quiet_libraries()
    keep_freed_memory()
    pipeline, height = make_pipeline(config, decoder, device), config.heights[0]
    prediction_type = pipeline.denoiser.config.prediction_type
    quality = QUALITIES[prediction_type][level]
    pipeline.scheduler = make_scheduler(quality.scheduler, prediction_type)
    photo = np.full((height, height // 2, 3), 128, np.uint8)
    poses, joints = np.zeros((24, *photo.shape), np.uint8), np.zeros((24, 18, 3), np.float32)
    for _ in range(2 if device.type == "cuda" else 1):  # what a GPU does once is not measured
        with autocast(config.dtype, device):
            started = now(device)
            latents = pipeline(
                photo, poses, PROMPT, height=height, width=height // 2, joints=joints,
                num_inference_steps=quality.num_inference_steps, output_type="latent", return_dict=False,
            )[0]  # fmt: skip
            decoding = now(device)
            pipeline.decode(latents, None, None)
            ended = now(device)
    return Measured(seconds=ended - started, decode_seconds=ended - decoding, peak_bytes=peak_bytes(device))


def in_own_process(function: Callable[..., Measured], *args: Any) -> Measured:
    """Call a function in a new process."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(function, *args).result()
    print(f"{', '.join(map(str, args[1:]))}: {result.seconds:.3g} s", file=sys.stderr, flush=True)
    return result


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print a markdown table."""
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")
    print()


def check(config: Config) -> None:
    """Refuse settings that cannot work.

    Raises:
        UserError: names the flag.
    """
    check_minimum(config, 1, "steps")
    check_minimum(config, 0, "warmup")
    if not config.heights:
        raise UserError("--heights is empty; give at least one")
    with torch.device("meta"):
        denoiser = Denoiser(**PRESETS[config.preset])
        vae = make_vae(config.preset, denoiser.config.latent_channels)
    multiple = 2 * spatial_factor(vae) * denoiser.size_multiple
    for height in config.heights:
        if height < 1 or height % multiple:
            raise UserError(
                f"a height of {height} pixels: preset {config.preset} takes multiples of {multiple}"
            )
    for frames in config.frames:
        if frames < 1 or frames % denoiser.frame_multiple:
            raise UserError(
                f"{frames} frames: preset {config.preset} takes multiples of {denoiser.frame_multiple}"
            )
    if not config.tokenizer.is_dir():
        raise UserError(f"there is no {config.tokenizer}; give --tokenizer a CLIP tokenizer's folder")


def main(config: Config) -> None:
    """Measure one row after the other and print the tables."""
    check(config)
    device = choose_device(config.device)
    dtype = str(resolve_dtype(config.dtype, device)).removeprefix("torch.")
    print(f"{config.preset}, {dtype} on {device.type}, {torch.get_num_threads()} threads\n")
    rows = []
    for frames, height in itertools.product(config.frames, config.heights):
        result = in_own_process(measure_step, config, frames, height, device)
        rows.append(
            [str(frames), f"{height} x {height // 2}", f"{result.seconds:.3g}",
             f"{result.seconds / frames:.3g}", format_bytes(result.peak_bytes)]
        )  # fmt: skip
    print_table(["frames", "pixels", "s a step", "of these a frame", "peak memory"], rows)
    levels, rows = QUALITIES[PRESETS[config.preset].get("prediction_type", "epsilon")], []
    for level, decoder in itertools.product(config.levels, config.decoders):
        result = in_own_process(measure_video, config, level, decoder, device)
        rows.append(
            [f"{level}, {levels[level].num_inference_steps} steps", decoder, f"{result.seconds:.3g}",
             f"{result.decode_seconds:.3g}", format_bytes(result.peak_bytes)]
        )  # fmt: skip
    print_table(["video", "decoder", "s a video", "of these decoding", "peak memory"], rows)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
