"""Adapters through the command lines of train.py and inference.py, at toy size."""

import itertools
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import inference
import train
from tests.train_toys import assert_equal, command, losses, make_folders, run, weights
from utils.checkpoint import list_checkpoints
from utils.config import run_script
from utils.distributed import World
from utils.errors import UserError

NAME = "lora/pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_folders(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def straight(folders, tiny_pipeline_dir: Path, tmp_path_factory) -> Path:
    output_dir = tmp_path_factory.mktemp("straight")
    done = run(
        lora_command(folders, tiny_pipeline_dir, output_dir, "--sample_steps", "4", "--num_samples", "1")
    )
    assert done.returncode == 0, done.stderr
    assert f"the averaged adapter is in {output_dir / 'checkpoint'}/lora" in done.stdout
    return output_dir


def lora_command(folders, pipeline_dir: Path, output_dir: Path, *flags: str) -> list[str]:
    own = ("--init_from", str(pipeline_dir), "--lora_rank", "2", "--learning_rate", "0.05")
    return command(folders, pipeline_dir, output_dir, *own, *flags)


def test_a_run_keeps_the_adapter_alone(straight: Path) -> None:
    checkpoint = straight / "checkpoint"
    assert not (checkpoint / "denoiser").exists()
    for name in ("raw", "ema"):
        assert all(".lora_" in key for key in weights(straight, name))
    with safe_open(checkpoint / NAME, "pt") as file:
        settings = json.loads(file.metadata()["lora_adapter_metadata"])
    assert settings["denoiser.target_modules"] == sorted(settings["denoiser.target_modules"])
    assert settings["denoiser.r"] == settings["denoiser.lora_alpha"] == 2
    averaged = {name.replace(".default.", "."): value for name, value in weights(straight, "ema").items()}
    written = load_file(checkpoint / NAME)
    assert_equal({name.removeprefix("denoiser."): value for name, value in written.items()}, averaged)
    assert any(value.any() for name, value in written.items() if "lora_B" in name)


def test_stop_and_resume_equals_the_straight_run(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(list_checkpoints(tmp_path / "checkpoint")[-1])
    shutil.rmtree(tmp_path / "checkpoint" / "lora")
    done = run(lora_command(folders, tiny_pipeline_dir, tmp_path))
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == losses(straight)
    for name in ("raw", "ema"):
        assert_equal(weights(tmp_path, name), weights(straight, name))
    assert_equal(load_file(tmp_path / "checkpoint" / NAME), load_file(straight / "checkpoint" / NAME))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lora_rank", "3"), "lora_rank was 2 and is 3"),
        (("--lora_rank", "0"), "holds an adapter; to go on, add --lora_rank"),
        (("--lora_rank", "0", "--allow_changed_settings"), "holds an adapter; to go on, add --lora_rank"),
        (("--preset", "small"), "--preset small asks for block_out_channels [40, 80, 160], but --init_from"),
        (("--preset", "published"), "--preset published asks for block_out_channels [64, 128, 256, 512]"),
        (("--prediction_type", "epsilon"), "leave out --prediction_type epsilon to train that model on"),
    ],
)
def test_a_users_mistake_is_one_line(folders, tiny_pipeline_dir, straight, flags, message) -> None:
    done = run(lora_command(folders, tiny_pipeline_dir, straight, *flags))
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("error:") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_from": None}, "add --init_from"),
        ({"shared_noise": 0.5}, "leave it out"),
        ({"lora_rank": -1}, "must be at least 0"),
    ],
)
def test_settings_that_do_not_go_with_an_adapter(tmp_path: Path, settings: dict, message: str) -> None:
    given = {"lora_rank": 2, "init_from": Path("model"), "output_dir": tmp_path, **settings}
    with pytest.raises(UserError, match=message):
        train.check_config(train.Config(**given), World(0, 1, torch.device("cpu")))


def test_a_whole_models_run_is_not_gone_on_with_by_an_adapter(
    folders, tiny_pipeline_dir, tmp_path: Path
) -> None:
    assert run(command(folders, tiny_pipeline_dir, tmp_path, "--max_train_steps", "1")).returncode == 0
    done = run(lora_command(folders, tiny_pipeline_dir, tmp_path))
    assert done.returncode == 2 and "holds a whole model; to go on, leave out --lora_rank" in done.stderr


def test_another_base_model_is_refused(
    folders, tiny_pipeline_dir, make_tiny_pipeline, straight, tmp_path
) -> None:
    pipeline = make_tiny_pipeline()
    pipeline.denoiser.unet.conv_in.spatial.weight.data.mul_(1.01)
    pipeline.denoiser.save_pretrained(tmp_path / "other")
    done = run(lora_command(folders, tiny_pipeline_dir, straight, "--init_from", str(tmp_path / "other")))
    assert done.returncode == 2 and "model was" in done.stderr


def test_inference_adds_it_by_its_scale(
    straight: Path, tiny_pipeline_dir: Path, tiny_dataset_dir: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    outputs = (tmp_path / f"result{number}" for number in itertools.count())

    def video(*flags: object) -> bytes:
        output_dir = next(outputs)
        arguments = ["--pretrained_model", tiny_pipeline_dir, "--dataset", tiny_dataset_dir]
        arguments += ["--output_dir", output_dir, "--dtype", "float32"]
        monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, [*arguments, *flags])])
        run_script(inference.main, inference.Config, inference.__doc__)
        return (output_dir / "anna.mp4").read_bytes()

    lora, base = straight / "checkpoint" / "lora", video()
    adapted = video("--lora", lora)
    assert adapted != base
    assert video("--lora", lora, "--lora_scale", 0) == base
    assert video("--lora", lora / "pytorch_lora_weights.safetensors") == adapted
    assert video("--lora", lora, "--lora_scale", 0.5) not in (base, adapted)
    for flags, message in (
        (("--lora", "nowhere"), "there is no --lora nowhere"),
        (("--lora_scale", 0.5), "give --lora FILE as well"),
        (("--lora", tiny_pipeline_dir / "denoiser"), "cannot read a LoRA"),
    ):
        with pytest.raises(SystemExit) as error:
            video(*flags)
        assert error.value.code == 2 and message in capsys.readouterr().err
