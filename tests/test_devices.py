"""Every script that computes takes --device, and refuses one that is not there in one line."""

import importlib
from pathlib import Path

import pytest

from utils.devices import choose_device
from utils.distributed import distributed_world
from utils.errors import UserError


@pytest.mark.parametrize(
    "script",
    [
        "inference",
        "evaluate",
        "recipe.predict_latents",
        "recipe.train_vae",
        "recipe.train_warper",
        "recipe.train_decoder",
        "recipe.train_text_encoder",
        "recipe.train_text_to_poses",
        "benchmarks.inference_speed",
    ],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    script: str, tmp_path: Path
) -> None:
    module = importlib.import_module(script)
    output = {"output_dir": tmp_path / "out"} if "output_dir" in module.Config.__dataclass_fields__ else {}
    with pytest.raises(UserError, match="--device toaster cannot be used here") as caught:
        module.main(module.Config(device="toaster", **output))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_runs_of_several_processes_refuse_it_too() -> None:
    with pytest.raises(UserError, match="--device toaster"), distributed_world("toaster"):
        raise AssertionError


def test_auto_and_cpu_are_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UserError, match="--device cuda:99"):
        choose_device("cuda:99")
