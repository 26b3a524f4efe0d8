"""recipe.distill at toy size, on files made here."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models import load_denoiser
from recipe import distill
from tests.train_toys import (
    ENVIRONMENT,
    ROOT,
    assert_equal,
    losses,
    make_folders,
    run,
    torchrun,
    weights,
)
from utils.checkpoint import list_checkpoints
from utils.distributed import World
from utils.errors import UserError
from utils.files import locked_folder

ALONE = World(0, 1, torch.device("cpu"))
METHODS = ("consistency", "progressive")


@pytest.fixture(scope="module")
def shared(tiny_pipeline_dir, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of all runs here; the teacher has random weights, so its few steps and its many differ."""
    dataset, latents = make_folders(tmp_path_factory.mktemp("toys"))
    return {
        "teacher": tiny_pipeline_dir / "denoiser",
        "dataset": dataset,
        "latents": latents,
        "text_encoder": tiny_pipeline_dir / "text_encoder",
        "student_steps": 2,
        "teacher_steps": 4,
        "num_frames": 8,
        "short_clip_frames": 4,
        "train_batch_size": 2,
        "max_train_steps": 3,
        "warmup_steps": 1,
        "checkpoint_steps": 1,
        "validation_steps": 0,
        "dtype": "float32",
        "device": "cpu",
    }


def flags(settings: dict[str, Any]) -> list[str]:
    return ["-m", "recipe.distill", *(str(x) for k, v in settings.items() for x in (f"--{k}", v))]


def distilled(shared: dict[str, Any], output_dir: Path, **changes: object) -> Path:
    distill.main(distill.Config(**shared | {"output_dir": output_dir} | changes), ALONE)
    return output_dir


@pytest.fixture(scope="module")
def straight(shared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method, which others are compared with."""
    return {
        method: distilled(shared, tmp_path_factory.mktemp(method), method=method, validation_steps=3)
        for method in METHODS
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_student_learns(shared, tmp_path, method: str) -> None:
    settings = {"max_train_steps": 30, "learning_rate": 3e-3, "warmup_steps": 5, "ema_decay": 0.8}
    settings |= {"checkpoint_steps": 30, "validation_steps": 30, "num_validation_clips": 2}
    settings |= {"drop_image": 0.0, "drop_poses": 0.0, "drop_text": 0.0}
    distilled(shared, tmp_path, method=method, **settings)
    curve = losses(tmp_path)
    assert sum(curve[-10:]) < 0.8 * sum(curve[:10])
    before, after = validations(tmp_path)
    if method == "progressive":  # the other does not aim at the teacher's latents between its steps
        assert after < before


def validations(output_dir: Path) -> list[float]:
    lines = map(json.loads, (output_dir / "losses.jsonl").read_text().splitlines())
    return [line["validation_loss"] for line in lines if "validation_loss" in line]


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_equals_the_straight_one(shared, straight, tmp_path, method: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight[method], folder)
    shutil.rmtree(list_checkpoints(folder / "checkpoint")[-1])
    shutil.rmtree(folder / "checkpoint" / "denoiser")
    distilled(shared, folder, method=method, validation_steps=3)
    for name in ("raw", "ema"):
        assert_equal(weights(folder, name), weights(straight[method], name))
    log = "losses.jsonl"
    assert (folder / log).read_bytes() == (straight[method] / log).read_bytes()


def test_the_student_is_a_denoiser_like_its_teacher(straight, shared) -> None:
    teacher = load_denoiser(shared["teacher"])
    for folder in straight.values():
        student = load_denoiser(folder / "checkpoint" / "denoiser")
        assert dict(student.config) == dict(teacher.config)
        assert_equal(student.state_dict(), weights(folder, "ema"))
        assert json.loads((folder / "checkpoint" / "config.json").read_text())["student_steps"] == 2


def test_without_steps_the_student_is_its_teacher(shared, tmp_path) -> None:
    """And as far from it in few steps as the teacher itself: the first validation says that."""
    settings = {"max_train_steps": 1, "learning_rate": 0.0, "validation_steps": 1}
    distilled(shared, tmp_path, **settings)
    teacher = load_denoiser(shared["teacher"]).state_dict()
    assert_equal(load_file(tmp_path / "checkpoint/denoiser/diffusion_pytorch_model.safetensors"), teacher)
    before, after = validations(tmp_path)
    assert before == after > 0
    same = tmp_path / "same"
    distilled(shared, same, **settings, student_steps=4)
    assert validations(same) == [0, 0]
    assert max(losses(same)) < 1e-8


CHANGES: dict[str, list[dict[str, object]]] = {
    "progressive": [
        {"student_steps": 1},
        {"teacher_steps": 8},
        {"exposure_steps": 0},
        {"seed": 1},
        {"learning_rate": 3e-5},
        {"warmup_steps": 3},
        {"weight_decay": 10.0},
        {"max_grad_norm": 1e-4},
        {"num_frames": 6},
        {"short_clip_steps": 2},
        {"short_clip_steps": 2, "short_clip_frames": 3},
        {"train_batch_size": 4},
        {"huber_c": 0.1},
        {"temporal_weight": 0.5},
        {"image_guidance_scale": 2.0},
        {"pose_guidance_scale": 2.0},
        {"text_guidance_scale": 2.0},
        {"drop_image": 1.0},
        {"drop_poses": 1.0},
        {"drop_text": 1.0},
        {"dtype": "bfloat16"},
        {"max_train_steps": 4},
    ],
    "consistency": [{"teacher_steps": 8}, {"ema_decay": 0.5}, {"huber_c": 0.1}, {"text_guidance_scale": 2.0}],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "change"), [(method, change) for method in METHODS for change in CHANGES[method]], ids=str
)
def test_every_flag_changes_the_run(shared, straight, tmp_path, method, change) -> None:
    distilled(shared, tmp_path, method=method, **change)
    ours, theirs = weights(tmp_path), weights(straight[method])
    assert any(not torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_teacher_counts_with_its_prediction_type_and_shared_noise(
    shared, straight, make_tiny_pipeline, tmp_path
) -> None:
    changes = ("shared_noise", 0.5), ("prediction_type", "epsilon"), ("prediction_type", "v_prediction")
    for name, value in changes:
        folder = tmp_path / f"{name}_{value}"
        make_tiny_pipeline(**{name: value}).denoiser.save_pretrained(folder / "teacher")
        for method in METHODS:
            settings = {"method": method, "teacher": folder / "teacher", "max_loss_ratio": 0.0}
            distilled(shared, folder / method, **settings)
            assert load_denoiser(folder / method / "checkpoint" / "denoiser").config[name] == value
            assert losses(folder / method) != losses(straight[method])


def test_accumulated_and_checkpointed_batches_are_the_same_batches(shared, straight, tmp_path) -> None:
    distilled(shared, tmp_path, gradient_accumulation_steps=2, gradient_checkpointing=True)
    assert losses(tmp_path) == pytest.approx(losses(straight["progressive"]), rel=1e-3)


def test_two_processes_equal_one(shared, straight, tmp_path) -> None:
    done = run(flags(shared | {"output_dir": tmp_path, "validation_steps": 3}), torchrun(29641))
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(straight["progressive"]), rel=1e-3)
    assert validations(tmp_path) == pytest.approx(validations(straight["progressive"]), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": Path("nowhere")}, "nowhere"),
        ({"dataset": Path("nowhere")}, "nowhere"),
        ({"latents": Path("nowhere")}, "project_latent_space.py"),
        ({"teacher_steps": 5}, "--teacher_steps 5 must be a multiple of --student_steps 2"),
        ({"teacher_steps": 0}, "--teacher_steps 0"),
        ({"teacher_steps": 2000}, "at most 1000"),
        ({"student_steps": 0}, "--student_steps 0 must be at least 1"),
        ({"exposure_steps": 2}, "--exposure_steps 2 must be 0 to 1"),
        ({"exposure_steps": 1, "method": "consistency"}, "is for --method progressive"),
        ({"huber_c": -1.0}, "--huber_c"),
        ({"text_guidance_scale": float("nan")}, "text_guidance_scale is nan"),
        ({"drop_image": 2.0}, "--drop_image 2.0 is a probability"),
        ({"train_batch_size": 3, "gradient_accumulation_steps": 2}, "must divide by"),
        ({"num_frames": 11}, "no segment of .* has 11 frames"),
        ({"person_weight": 3.0}, "needs masks"),
    ],
    ids=str,
)
def test_a_users_mistake_is_one_line(shared, tmp_path, changes, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        distilled(shared, tmp_path / "run", **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_another_run_writes_into_is_refused(shared, tmp_path) -> None:
    with locked_folder(tmp_path / "checkpoint"):
        done = run(flags(shared | {"output_dir": tmp_path}))
    assert done.returncode == 2 and "another process writes into" in done.stderr


def test_another_run_or_teacher_is_refused(shared, straight, make_tiny_pipeline, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight["progressive"], folder)
    with pytest.raises(UserError, match="student_steps was 2 and is 4"):
        distilled(shared, folder, student_steps=4)
    other = make_tiny_pipeline().denoiser
    with torch.no_grad():
        next(other.parameters()).add_(1)
    other.save_pretrained(tmp_path / "teacher")
    with pytest.raises(UserError, match="teacher was"):
        distilled(shared, folder, teacher=tmp_path / "teacher")
    distilled(shared, folder, teacher=tmp_path / "teacher", allow_changed_settings=True, keep=1)


def test_the_command_line_tells_a_mistake_and_ctrl_c_saves(shared, tmp_path) -> None:
    settings = shared | {"output_dir": tmp_path, "max_train_steps": 5000}
    done = run(flags(settings | {"teacher_steps": 5}))
    assert done.returncode == 2
    assert [line[:23] for line in done.stderr.splitlines()] == ["error: --teacher_steps "]
    process = subprocess.Popen(
        [sys.executable, *flags(settings)], stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT
    )
    while not list_checkpoints(tmp_path / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    last = list_checkpoints(tmp_path / "checkpoint")[-1]
    assert int(last.name.removeprefix("step_")) == len(losses(tmp_path))
