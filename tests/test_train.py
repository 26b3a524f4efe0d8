"""train.py through its command line, at toy size, on files made here."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.latents import write_latent_video
from models import load_denoiser
from utils.checkpoint import list_checkpoints, load_checkpoint
from utils.image import write_png
from utils.pose_drawing import draw_pose

ROOT = Path(__file__).resolve().parents[1]
FRAMES, HEIGHT, WIDTH = 10, 64, 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of three random videos and its latents."""
    dataset, latents = tmp_path_factory.mktemp("dataset"), tmp_path_factory.mktemp("latents")
    rng = np.random.default_rng(0)
    for split, names in (("train", ("a", "b")), ("test", ("c",))):
        (dataset / split).mkdir()
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
        "text_encoder": pipeline_dir / "text_encoder",
        "preset": "tiny",
        "num_frames": 8,
        "short_clip_frames": 4,
        "train_batch_size": 2,
        "max_train_steps": 4,
        "warmup_steps": 2,
        "checkpoint_steps": 2,
        "sample_steps": 0,
        "dtype": "float32",
    }
    return [str(ROOT / "train.py"), *(str(x) for k, v in settings.items() for x in (f"--{k}", v)), *flags]


def run(arguments: list[str], launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *launcher, *arguments], capture_output=True, text=True, env=environment, timeout=300
    )


def weights(output_dir: Path, name: str = "raw") -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(output_dir / "checkpoint")[-1] / f"{name}.safetensors")


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def straight(folders, tiny_pipeline_dir, tmp_path_factory) -> Path:
    """The run that others are compared with: four steps on short clips of batches of two."""
    output_dir = tmp_path_factory.mktemp("straight")
    done = run(command(folders, tiny_pipeline_dir, output_dir, "--sample_steps", "4", "--num_samples", "1"))
    assert done.returncode == 0, done.stderr
    return output_dir


def test_a_run_leaves_what_it_promises(straight: Path) -> None:
    assert [p.name for p in list_checkpoints(straight / "checkpoint")] == ["step_00000002", "step_00000004"]
    assert list((straight / "video_progress").glob("events*"))
    assert (straight / "training_sample" / "step_00000004_c.mp4").stat().st_size > 500
    assert (straight / "training_sample" / "step_00000004.png").is_file()
    assert json.loads((straight / "checkpoint" / "config.json").read_text())["preset"] == "tiny"
    averaged = load_denoiser(straight / "checkpoint" / "denoiser").state_dict()
    assert_equal(averaged, weights(straight, "ema"))
    assert not torch.equal(
        averaged["unet.conv_in.spatial.weight"], weights(straight)["unet.conv_in.spatial.weight"]
    )


def test_stop_and_resume_equals_the_straight_run(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path)
    process = subprocess.Popen(
        [sys.executable, *arguments], stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    while not list_checkpoints(tmp_path / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    for name in ("raw", "ema"):
        assert_equal(weights(straight, name), weights(tmp_path, name))


def test_interrupt_saves_and_exits_130(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path, "--max_train_steps", "5000")
    process = subprocess.Popen(
        [sys.executable, *arguments], stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    while not list_checkpoints(tmp_path / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert load_checkpoint(list_checkpoints(tmp_path / "checkpoint")[-1])[0] >= 2


@pytest.mark.parametrize(
    "launcher",
    [
        ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29611"),
        ("-m", "torch.distributed.launch", "--nproc_per_node=2", "--master_port=29612"),
    ],
    ids=["torchrun", "launch"],
)
def test_two_processes_equal_one(folders, tiny_pipeline_dir, straight, tmp_path, launcher) -> None:
    done = run(command(folders, tiny_pipeline_dir, tmp_path), launcher)
    assert done.returncode == 0, done.stderr
    for name, value in weights(straight).items():
        torch.testing.assert_close(weights(tmp_path)[name], value, rtol=1e-3, atol=1e-4)


def test_accumulation_equals_one_batch(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    done = run(command(folders, tiny_pipeline_dir, tmp_path, "--gradient_accumulation_steps", "2"))
    assert done.returncode == 0, done.stderr
    for name, value in weights(straight).items():
        torch.testing.assert_close(weights(tmp_path)[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "flags",
    [
        ("--seed", "1"),
        ("--learning_rate", "1e-4"),
        ("--prediction_type", "epsilon"),
        ("--prediction_type", "v_prediction"),
        ("--num_frames", "6"),
        ("--short_clip_steps", "4"),
        ("--drop_image", "1"),
        ("--drop_poses", "1"),
        ("--drop_text", "1"),
        ("--weight_decay", "10"),
        ("--max_grad_norm", "1e-4"),
        ("--dtype", "bfloat16"),
    ],
    ids=lambda flags: " ".join(flags),
)
@pytest.mark.slow
def test_every_flag_changes_the_run(folders, tiny_pipeline_dir, straight, tmp_path, flags) -> None:
    done = run(command(folders, tiny_pipeline_dir, tmp_path, *flags))
    assert done.returncode == 0, done.stderr
    changed = weights(tmp_path)
    assert any(
        changed[k].shape != v.shape or not torch.equal(changed[k], v) for k, v in weights(straight).items()
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num_frames", "11"), "no segment of .* has 11 frames"),
        (("--train_batch_size", "3", "--gradient_accumulation_steps", "2"), "must divide by"),
        (("--dataset", "nowhere"), "nowhere"),
        (("--latents", "nowhere"), "project_latent_space.py"),
        (("--text_encoder", "nowhere"), "nowhere"),
        (("--init_from", "nowhere"), "nowhere"),
    ],
)
def test_a_users_mistake_is_one_line(folders, tiny_pipeline_dir, tmp_path, flags, message) -> None:
    done = run(command(folders, tiny_pipeline_dir, tmp_path, *flags))
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert not list_checkpoints(tmp_path / "checkpoint")


def test_another_runs_checkpoint_is_refused(folders, tiny_pipeline_dir, straight) -> None:
    before = weights(straight)
    done = run(command(folders, tiny_pipeline_dir, straight, "--seed", "5"))
    assert done.returncode == 2
    assert "seed was 0 and is 5" in done.stderr
    assert_equal(before, weights(straight))
