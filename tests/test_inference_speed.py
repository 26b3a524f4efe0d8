"""The benchmark of inference at toy size: its tables, the plain variant against ours, mistakes."""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import inference_speed
from benchmarks.inference_speed import Config, Measured, count_flops, make_models, make_step
from benchmarks.published_step import make_plain
from diffusion.quality import QUALITIES
from models import Denoiser
from tests.models.recipes import TOY, relative_error, seeded_denoiser, seeded_inputs
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Config(
    preset="tiny", height=64, num_frames=4, steps=1, warmup=0, frames=(), heights=(), device="cpu",
    dtype="float32",
)  # fmt: skip


def tables_of(text: str) -> list[list[list[str]]]:
    """Cells of each markdown table, without the line below its header."""
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    rows = [[[c.strip() for c in row.strip("|").split("|")] for row in t.splitlines()] for t in tables]
    return [[table[0], *table[2:]] for table in rows]


def test_the_command_prints_its_tables() -> None:
    command = [sys.executable, "-m", "benchmarks.inference_speed", "--preset", "tiny", "--device", "cpu"]
    command += ["--height", "64", "--num_frames", "4", "--steps", "1", "--warmup", "0", "--dtype", "float32"]
    command += [
        "--rows",
        "published-float32",
        "ours-float32",
        "--levels",
        "fast",
        "--frames",
        "2",
        "--heights",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny, 4 frames of 64 x 32 pixels (height x width) on cpu")
    steps, videos, sizes = tables_of(done.stdout)
    assert [row[0] for row in steps] == ["step", "published, float32", "ours, float32"]
    assert steps[1][3] == "1.00" and all(float(cell) > 0 for row in steps[1:] for cell in row[1:5])
    assert [row[0] for row in videos] == [
        "video",
        "published procedure, 1000 steps, extrapolated",
        *[f"--quality fast, {QUALITIES['sample']['fast'].sampling.num_inference_steps} steps"] * 2,
    ]
    assert [row[1] for row in videos[1:]] == ["vae", "vae", "tiny"]
    assert sizes[1][:2] == ["2", "64 x 32"] and len(sizes) == 2


@pytest.mark.parametrize("row", ["float32", "bfloat16"])
def test_the_published_step_is_ours(row: str) -> None:
    results = []
    for kind in ("published", "ours"):
        torch.manual_seed(0)
        step = make_step(make_models(CONFIG, torch.device("cpu")), f"{kind}-{row}")  # type: ignore[arg-type]
        results.append(step())
    assert relative_error(*results) < (1e-5 if row == "float32" else 3e-2)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_plain_variant_of_the_published_design_is_ours(batch_size: int) -> None:
    denoiser: Denoiser = seeded_denoiser(TOY)
    inputs = {k: v[:batch_size] for k, v in seeded_inputs(4, 16, 8, text_channels=20).items()}
    plain = make_plain(copy.deepcopy(denoiser))
    with torch.no_grad():
        expected, found = denoiser(**inputs), plain(**inputs)
    assert not torch.equal(found, expected)
    assert relative_error(found, expected) < 1e-5


def test_products_are_counted() -> None:
    flops = count_flops(CONFIG)
    assert flops > 0
    assert count_flops(dataclasses.replace(CONFIG, num_frames=8)) > 1.9 * flops


def test_shares_and_ratios_are_those_of_the_measurements() -> None:
    slow = Measured(clock=12.0, processor=10.0, peak_bytes=2**30, peak_flops=90.0)
    fast = Measured(clock=2.0, processor=1.0, peak_bytes=2**20, peak_flops=100.0)
    table = inference_speed.steps_table({"published-float32": slow, "ours-bfloat16": fast}, flops=100)
    assert tables_of(table)[0][1:] == [
        ["published, float32", "12", "10", "1.00", "0.1", "1.0 GiB"],
        ["ours, bfloat16", "2", "1", "10.00", "1", "1.0 MiB"],
    ]
    video = dataclasses.replace(fast, clock=30.0, decode=5.0)
    table = inference_speed.videos_table(
        CONFIG, {"published-float32": dataclasses.replace(slow, decode=12.0)}, {("fast", "tiny"): video}
    )
    assert tables_of(table)[0][1][1:5] == ["vae", "1.201e+04", "12", "1.00"]
    assert tables_of(table)[0][2][1:5] == ["tiny", "30", "5", "400.4"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps 0"),
        ({"height": 60}, "a height of 60 pixels"),
        ({"heights": (100,)}, "a height of 100 pixels"),
        ({"preset": "published", "height": 256, "frames": (3,)}, "3 frames: .* multiples of 2"),
        ({"tokenizer": Path("nowhere")}, "there is no nowhere"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        inference_speed.main(dataclasses.replace(CONFIG, **changes))
    assert "\n" not in str(caught.value)
