"""The benchmark of inference at toy size: its tables, and mistakes."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import inference_speed
from benchmarks.inference_speed import Config
from tests.train_toys import ENVIRONMENT, ROOT
from utils.errors import UserError


def test_the_command_prints_its_tables() -> None:
    flags = {"preset": "tiny", "device": "cpu", "dtype": "float32", "heights": "64", "steps": "1"}
    flags |= {"warmup": "0", "levels": "fast", "decoders": "tiny", "frames": "2"}
    command = [sys.executable, "-m", "benchmarks.inference_speed"]
    command += [word for name, value in flags.items() for word in (f"--{name}", value)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny, float32 on cpu, 1 threads")
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    step, video = rows[2], rows[5]
    assert step[:2] == ["2", "64 x 32"] and video[:2] == ["fast, 1 steps", "tiny"]
    assert float(step[2]) > 0 and float(video[2]) > float(video[3]) > 0
    assert step[4].endswith("iB") and video[4].endswith("iB")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps 0"),
        ({"heights": ()}, "--heights is empty"),
        ({"heights": (100,)}, "a height of 100 pixels"),
        ({"preset": "published", "frames": (3,)}, "3 frames: .* multiples of 2"),
        ({"tokenizer": Path("nowhere")}, "there is no nowhere"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        inference_speed.main(dataclasses.replace(Config(device="cpu"), **changes))
    assert "\n" not in str(caught.value)
