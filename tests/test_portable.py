"""Every script starts on a system without `fcntl` and `resource`, such as Windows."""

import subprocess
import sys
from pathlib import Path

from tests.train_toys import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
# One process for all, so that torch is imported once.
PROGRAM = """
import contextlib, io, runpy, sys

# What others wrote for this system may use its modules.
import accelerate, av, cv2, tensorboardX, torch, tyro
import torch.distributed
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

for name in ("fcntl", "resource"):
    sys.modules[name] = None
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_module(script, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        assert stop.code in (0, None), (script, stop.code)
    assert "usage: " in output.getvalue(), script
    print(script)
"""


def scripts() -> list[str]:
    """Modules that have a command line."""
    paths = [
        *ROOT.glob("*.py"),
        *(p for folder in ("recipe", "benchmarks", "data") for p in ROOT.glob(f"{folder}/**/*.py")),
    ]
    named = [p.relative_to(ROOT).with_suffix("") for p in paths if "    run_script(" in p.read_text("utf-8")]
    return sorted(".".join(p.parts).removesuffix(".__main__") for p in named)


def test_every_script_starts_without_fcntl_and_resource() -> None:
    assert {"train", "inference", "evaluate", "project_latent_space", "data.synthetic", "data.pack"} <= set(
        scripts()
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *scripts()],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == scripts()
