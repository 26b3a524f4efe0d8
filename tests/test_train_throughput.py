"""The benchmark of training loops at toy size: its table, its flags, mistakes."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import train_throughput
from benchmarks.random_models import make_vae
from benchmarks.train_throughput import Config, Measured, make_dataset, open_source
from data.annotations import load_annotations
from data.clips import ClipDataset, ClipRequest
from diffusion.latents import spatial_factor
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Config(preset="tiny", height=64, num_frames=4, steps=2, warmup=1, device="cpu", dtype="float32")
HEADER = ["loop", "samples/s", "ratio", "network's share of time", "share of peak", "peak memory"]


def run_benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.train_throughput", "--preset", "tiny", "--device", "cpu"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ)
    )


def rows_of(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_command_prints_a_row_a_loop() -> None:
    done = run_benchmark("--height", 64, "--num_frames", 4, "--steps", 2, "--warmup", 1, "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny, 1 x 4 frames of 64 x 32 pixels")
    assert done.stderr.count("s a step") == 2
    header, _, published, ours = rows_of(done.stdout)
    assert header == HEADER
    assert published[0] == "published loop, float32" and ours[0] == "our loop, float32"
    assert published[2] == "1.00"
    for _, samples, ratio, network_share, peak_share, memory in (published, ours):
        assert float(samples) > 0 and float(ratio) > 0
        assert 0 < float(network_share) <= 1 and 0 < float(peak_share) < 1
        assert memory.endswith("MiB") or memory.endswith("GiB")


def test_a_dataset_on_disk_is_measured_and_flags_are_named(tmp_path: Path) -> None:
    dataset, latents = make_dataset(CONFIG, tmp_path)
    done = run_benchmark(
        "--dataset", dataset, "--latents", latents, "--num_frames", 4, "--steps", 1, "--warmup", 0,
        "--rows", "ours", "--batch_size", 2, "--dtype", "bfloat16", "--gradient_checkpointing",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny, 2 x 4 frames of 64 x 32 pixels")
    *_, row = rows_of(done.stdout)
    assert row[0] == "our loop, bfloat16, gradient checkpointing"


def test_clips_that_are_made_have_all_that_training_reads(tmp_path: Path) -> None:
    source = open_source(CONFIG, *make_dataset(CONFIG, tmp_path))
    assert (source.latent_channels, source.height, source.width) == (8, 8, 4)
    segments = load_annotations(source.dataset, "train")
    ours = ClipDataset(source.dataset, source.latents, segments, 4)
    request = ClipRequest(segment=0, num_frames=4, consecutive=True, seed=0)
    clip = ours[request]
    assert clip["warp_validity"].min() == 1
    published = train_throughput.read_published_clip(source, segments[request.segment], 4, seed=0)
    assert published["text"] == clip["text"] and published["reference"].shape == (3, 64, 32)
    assert torch.equal(published["latents"], clip["latents"])
    assert torch.equal(published["pose_images"], clip["pose_images"])
    for name in ("warped_latents", "warp_validity"):
        assert published[name].shape == clip[name].shape


@pytest.mark.parametrize("preset", ["tiny", "small", "published"])
def test_every_vae_makes_a_latent_of_8_pixels(preset: str) -> None:
    with torch.device("meta"):
        vae = make_vae(preset, 4)
    assert spatial_factor(vae) == 8 and vae.config.latent_channels == 4


def test_shares_and_ratio_are_those_of_the_measurements() -> None:
    slow = Measured(seconds=10.0, network_seconds=5.0, peak_bytes=2**30, peak_flops=90.0)
    fast = Measured(seconds=4.0, network_seconds=3.0, peak_bytes=2**20, peak_flops=100.0)
    table = train_throughput.table(CONFIG, {"slow": slow, "fast": fast}, flops=100)
    assert rows_of(table)[2:] == [
        ["slow", "0.2", "1.00", "0.500", "0.2", "1.0 GiB"],
        ["fast", "0.5", "2.50", "0.750", "0.5", "1.0 MiB"],
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps 0"),
        ({"rows": ()}, "--rows is empty"),
        ({"dataset": Path("nowhere")}, "--dataset and --latents go together"),
        ({"num_frames": 2}, "--num_frames 2"),
        ({"height": 60}, "--height 60"),
        ({"tokenizer": Path("nowhere")}, "there is no nowhere"),
    ],
)
def test_mistakes_are_one_line(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train_throughput.main(dataclasses.replace(CONFIG, **changes))
    assert "\n" not in str(caught.value)
