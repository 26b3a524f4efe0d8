"""Training that is killed again and again ends with the bytes of training that was left in peace."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train_toys import ENVIRONMENT, assert_equal, command, make_folders, run, torchrun, weights
from utils.checkpoint import list_checkpoints, load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
STEPS = 400
VARIANTS = {
    "alone": ((), ()),
    "workers": (("--num_workers", "2"), ()),
    "accumulation": (("--gradient_accumulation_steps", "2"), ()),
    "two processes": ((), torchrun(29621)),
}


def flags(variant: str) -> tuple[str, ...]:
    """A checkpoint every three steps; an epoch has two."""
    settings = ("--max_train_steps", str(STEPS), "--checkpoint_steps", "3", "--validation_steps", "50")
    return (*settings, *VARIANTS[variant][0])


def files(output_dir: Path) -> dict[str, bytes]:
    """All that a run leaves but tensorboardX's records and config.json: these hold times and paths."""
    folder = output_dir / "checkpoint"
    kept = {p for p in folder.rglob("*") if p.is_file() and p != folder / "config.json"}
    return {
        str(p.relative_to(output_dir)): p.read_bytes() for p in sorted(kept | {output_dir / "losses.jsonl"})
    }


def kill(process: subprocess.Popen) -> None:
    """Kill a process and its children: torchrun's have sessions of their own."""
    for pid in [*children(process), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def children(process: subprocess.Popen) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def unfinished(checkpoints: Path) -> list[Path]:
    return [*checkpoints.glob(".step_*"), *checkpoints.glob(".denoiser-*")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_twenty_times(tiny_pipeline_dir, tmp_path, variant: str) -> None:
    folders = make_folders(tmp_path / "toys")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    launcher = VARIANTS[variant][1]
    done = run(command(folders, tiny_pipeline_dir, undisturbed, *flags(variant)), launcher)
    assert done.returncode == 0, done.stderr

    rng = random.Random(variant)
    arguments = command(folders, tiny_pipeline_dir, killed, *flags(variant))
    checkpoints = killed / "checkpoint"
    kills, while_writing = 0, 0
    while kills < 20:
        process = subprocess.Popen(
            [sys.executable, *launcher, *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before = len(losses_so_far(killed))
        while process.poll() is None and len(losses_so_far(killed)) == before:
            time.sleep(0.005)  # the log is written with the first checkpoint
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.3))
        else:
            while process.poll() is None and not unfinished(checkpoints):
                pass
        if process.poll() is not None:
            break  # it was done before it could be killed
        kill(process)
        kills += 1
        while_writing += bool(unfinished(checkpoints))
    assert kills == 20, f"the run was over after {kills} kills: it needs more steps"
    assert while_writing > 0

    done = run(arguments, launcher)
    assert done.returncode == 0, done.stderr
    ours, theirs = files(killed), files(undisturbed)
    assert ours.keys() == theirs.keys()
    assert ours["losses.jsonl"] == theirs["losses.jsonl"]
    for name in ("raw", "ema"):
        assert_equal(weights(killed, name), weights(undisturbed, name))
    ours_state, their_state = (
        load_checkpoint(list_checkpoints(d / "checkpoint")[-1])[2] for d in (killed, undisturbed)
    )
    assert_equal(ours_state["optimizer"], their_state["optimizer"])
    assert ours_state["recent_losses"] == their_state["recent_losses"]
    assert ours == theirs


def losses_so_far(output_dir: Path) -> bytes:
    path = output_dir / "losses.jsonl"
    return path.read_bytes() if path.is_file() else b""


def test_a_rank_that_dies_is_started_again(tiny_pipeline_dir, tmp_path) -> None:
    folders = make_folders(tmp_path / "toys")
    settings = ("--max_train_steps", "60", "--checkpoint_steps", "3")
    undisturbed, restarted = tmp_path / "undisturbed", tmp_path / "restarted"
    assert run(command(folders, tiny_pipeline_dir, undisturbed, *settings), torchrun(29622)).returncode == 0
    process = subprocess.Popen(
        [
            sys.executable,
            *torchrun(29623, "--max-restarts=2"),
            *command(folders, tiny_pipeline_dir, restarted, *settings),
        ],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
    )
    while not list_checkpoints(restarted / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    os.kill(children(process)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    assert (restarted / "losses.jsonl").read_bytes() == (undisturbed / "losses.jsonl").read_bytes()
    assert files(restarted) == files(undisturbed)
