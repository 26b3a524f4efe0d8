"""A toy dataset, its latents, the command that trains on them, and an interrupt, for tests of trainings."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.latents import write_latent_video
from utils.checkpoint import list_checkpoints
from utils.image import write_png
from utils.pose_drawing import draw_pose

ROOT = Path(__file__).resolve().parents[1]
FRAMES, HEIGHT, WIDTH = 10, 64, 32


def make_folders(root: Path) -> tuple[Path, Path]:
    """A dataset of three random videos, two to train on, and its latents; pure functions of nothing."""
    dataset, latents = root / "dataset", root / "latents"
    rng = np.random.default_rng(0)
    for split, names in (("train", ("a", "b")), ("test", ("c",))):
        (dataset / split).mkdir(parents=True)
        for name in names:
            for frame in range(FRAMES):
                picture = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
                write_png(dataset / "fashion_crop" / name / f"{frame:03d}.png", picture)
                joints = np.c_[rng.uniform(4, 28, 18), rng.uniform(4, 60, 18), np.ones(18)]
                write_png(
                    dataset / "fashion_poses" / name / f"{frame:03d}.png", draw_pose(joints, HEIGHT, WIDTH)
                )
            (dataset / split / f"{name}.txt").write_text(
                f"0 {FRAMES} She turns to her left.\n1 {FRAMES} She steps back.\n"
            )
            generator = torch.Generator().manual_seed(len(name))
            write_latent_video(
                latents / f"{name}.safetensors",
                {
                    "latents": torch.randn(FRAMES, 8, 8, 4, generator=generator).half(),
                    "reference_frames": torch.tensor([0, 1, 2]),
                    "warped_latents": torch.randn(3, FRAMES, 8, 8, 4, generator=generator).half(),
                    "warp_validity": torch.rand(3, FRAMES, 1, 8, 4, generator=generator).half(),
                },
                {},
            )
    return dataset, latents


def command(folders: tuple[Path, Path], pipeline_dir: Path, output_dir: Path, *flags: str) -> list[str]:
    settings = {
        "dataset": folders[0],
        "latents": folders[1],
        "output_dir": output_dir,
        "vae": pipeline_dir / "vae",
        "warper": None,
        "text_encoder": pipeline_dir / "text_encoder",
        "preset": "tiny",
        "num_frames": 8,
        "short_clip_frames": 4,
        "train_batch_size": 2,
        "max_train_steps": 4,
        "warmup_steps": 2,
        "checkpoint_steps": 2,
        "sample_steps": 0,
        "validation_steps": 0,
        "dtype": "float32",
    }
    return [str(ROOT / "train.py"), *(str(x) for k, v in settings.items() for x in (f"--{k}", v)), *flags]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def torchrun(port: int, *flags: str, num_processes: int = 2) -> tuple[str, ...]:
    return (
        "-m", "torch.distributed.run", f"--nproc_per_node={num_processes}", f"--master_port={port}", *flags,
    )  # fmt: skip


def run(arguments: list[str], launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=300,
    )


def losses(output_dir: Path) -> list[float]:
    lines = (output_dir / "losses.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def weights(output_dir: Path, name: str = "raw") -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(output_dir / "checkpoint")[-1] / f"{name}.safetensors")


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@contextlib.contextmanager
def interrupted_in_a_step(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Send this process a signal while the optimizer changes the weights."""
    update = torch.optim.AdamW.step

    def interrupted_update(*arguments: Any) -> None:
        update(*arguments)
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", interrupted_update)
        yield
