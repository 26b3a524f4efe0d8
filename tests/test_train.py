"""train.py through its command line, at toy size, on files made here."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboardX.proto.event_pb2 import Event

import train
from models import load_denoiser
from tests.train_toys import (
    ENVIRONMENT,
    ROOT,
    assert_equal,
    command,
    losses,
    make_folders,
    run,
    torchrun,
    weights,
)
from training.tracker import StepLog, Tracker
from utils.checkpoint import list_checkpoints, load_checkpoint
from utils.distributed import World
from utils.files import locked_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_folders(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def straight(folders, tiny_pipeline_dir, tmp_path_factory) -> Path:
    """The run that others are compared with: four steps on short clips of batches of two."""
    output_dir = tmp_path_factory.mktemp("straight")
    flags = ("--sample_steps", "4", "--num_samples", "1", "--validation_steps", "2", "--log_steps", "2")
    done = run(command(folders, tiny_pipeline_dir, output_dir, *flags))
    assert done.returncode == 0, done.stderr
    return output_dir


def test_a_run_leaves_what_it_promises(straight: Path) -> None:
    assert [p.name for p in list_checkpoints(straight / "checkpoint")] == ["step_00000002", "step_00000004"]
    assert list((straight / "video_progress").glob("events*"))
    assert (straight / "training_sample" / "step_00000004_c.mp4").stat().st_size > 500
    assert (straight / "training_sample" / "step_00000004.png").is_file()
    assert (straight / "training_sample" / "step_00000004_c.gif").read_bytes().startswith(b"GIF")
    assert json.loads((straight / "checkpoint" / "config.json").read_text())["preset"] == "tiny"
    averaged = load_denoiser(straight / "checkpoint" / "denoiser").state_dict()
    assert_equal(averaged, weights(straight, "ema"))
    assert not torch.equal(
        averaged["unet.conv_in.spatial.weight"], weights(straight)["unet.conv_in.spatial.weight"]
    )


def test_frames_a_second_count_the_frames_of_short_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 2.0, 2.0])
    monkeypatch.setattr("training.tracker.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    tracker = Tracker(tmp_path, 0, 2, 2, torch.device("cpu"))
    for step, num_frames in ((1, 8), (2, 24)):
        tracker.add_step(StepLog(step, 0.5, 1.0, 1e-3, (0.5,), num_frames))
    tracker.close()
    values = {v.tag: v.simple_value for event in events(tmp_path) for v in event.summary.value}
    assert values["throughput/frames_per_s"] == 16


def test_the_log_has_every_step_and_the_curves_their_points(straight: Path) -> None:
    lines = [json.loads(line) for line in (straight / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "validation_loss" in line] == [2, 4]
    assert all(line["grad_norm"] > 0 for line in lines if "loss" in line)
    values = {v.tag: v for event in events(straight) for v in event.summary.value}
    mean = sum(line["loss"] for line in lines if line.get("loss") and line["step"] > 2) / 2
    assert values["loss"].simple_value == pytest.approx(mean, rel=1e-5)
    assert values["validation_loss"].simple_value == pytest.approx(lines[-1]["validation_loss"], rel=1e-5)
    expected = {"grad_norm", "learning_rate", "memory/peak_gib", "throughput/frames_per_s", "samples/sheet"}
    assert expected <= values.keys()
    assert 0 <= values["throughput/share_of_time_waiting_for_data"].simple_value <= 1
    assert any(tag.startswith("loss_by_timestep/") for tag in values)
    assert values["samples/c_beside_the_truth"].image.encoded_image_string.startswith(b"GIF")


def events(output_dir: Path) -> list[Event]:
    """What tensorboardX wrote: records of length, checksum, event, checksum."""
    found = []
    for path in sorted((output_dir / "video_progress").glob("events*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 8], "little")
            found.append(Event.FromString(data[place + 12 : place + 12 + size]))
            place += size + 16
    return found


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
    assert losses(tmp_path) == losses(straight)


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
    [torchrun(29611), ("-m", "torch.distributed.launch", "--nproc_per_node=2", "--master_port=29612")],
    ids=["torchrun", "launch"],
)
def test_two_processes_equal_one(folders, tiny_pipeline_dir, straight, tmp_path, launcher) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path, "--validation_steps", "2")
    samples = ("--sample_steps", "4", "--num_samples", "1")
    done = run([*arguments, *samples], launcher)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "training_sample" / "step_00000004_c.mp4").stat().st_size > 500
    assert_like_one(tmp_path, straight)

    shutil.rmtree(list_checkpoints(tmp_path / "checkpoint")[-1])
    done = run(arguments)  # one process takes over from two
    assert done.returncode == 0, done.stderr
    assert_like_one(tmp_path, straight)


def assert_like_one(tmp_path: Path, straight: Path) -> None:
    for name, value in weights(straight).items():
        torch.testing.assert_close(weights(tmp_path)[name], value, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(log(tmp_path), log(straight), strict=True):
        assert ours.keys() == theirs.keys()
        assert ours.get("loss", 0) == pytest.approx(theirs.get("loss", 0), abs=1e-5)
        assert ours.get("validation_loss", 0) == pytest.approx(theirs.get("validation_loss", 0), abs=1e-5)


def log(output_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output_dir / "losses.jsonl").read_text().splitlines()]


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


def test_another_preset_is_refused_even_where_settings_may_change(
    folders, tiny_pipeline_dir, straight
) -> None:
    done = run(command(folders, tiny_pipeline_dir, straight, "--preset", "small"))
    assert done.returncode == 2 and "preset was tiny and is small" in done.stderr
    done = run(command(folders, tiny_pipeline_dir, straight, "--preset", "small", "--allow_changed_settings"))
    assert done.returncode == 2 and "holds another model" in done.stderr


def test_a_folder_that_another_run_writes_into_is_refused(folders, tiny_pipeline_dir, straight) -> None:
    with locked_folder(straight / "checkpoint"):
        done = run(command(folders, tiny_pipeline_dir, straight))
    assert done.returncode == 2 and "another process writes into" in done.stderr


def test_a_refused_dataset_leaves_no_folder_behind(folders, tiny_pipeline_dir, tmp_path) -> None:
    done = run(command((tmp_path / "none", folders[1]), tiny_pipeline_dir, tmp_path / "runs" / "one"))
    assert done.returncode == 2 and not list(tmp_path.iterdir())


def test_other_data_are_refused_unless_said_so(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(folders[0], dataset)
    copied = tmp_path / "run"
    shutil.copytree(straight, copied)
    arguments = command((dataset, folders[1]), tiny_pipeline_dir, copied)
    assert run(arguments).returncode == 0  # the same data in another place are the same data
    (dataset / "train" / "a.txt").write_text("0 10 She walks.\n")
    done = run(arguments)
    assert done.returncode == 2 and "data was" in done.stderr
    assert run([*arguments, "--allow_changed_settings"]).returncode == 0


def test_a_full_disk_leaves_the_last_good_checkpoint(folders, tiny_pipeline_dir, tmp_path) -> None:
    arguments = command(
        folders, tiny_pipeline_dir, tmp_path, "--max_train_steps", "4", "--checkpoint_steps", "1"
    )
    limit = 2**20  # bytes of a file, less than the weights have

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = run([*arguments, "--keep", "3"])
    assert done.returncode == 0, done.stderr
    good = list_checkpoints(tmp_path / "checkpoint")
    shutil.rmtree(good[-1])
    full = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=fill_disk
    )
    assert full.returncode == 2, full.stderr
    assert "error: cannot write" in full.stderr and "Traceback" not in full.stderr
    assert list_checkpoints(tmp_path / "checkpoint") == good[:-1]
    assert load_checkpoint(good[-2])[0] == 3
    assert not list((tmp_path / "checkpoint").glob(".step_*"))


@pytest.mark.parametrize("launcher", [(), torchrun(29616)], ids=["one process", "two"])
def test_a_loss_that_is_no_number_stops_and_names_the_videos(
    folders, tiny_pipeline_dir, tmp_path, launcher
) -> None:
    latents = tmp_path / "latents"
    shutil.copytree(folders[1], latents)
    tensors = load_file(latents / "b.safetensors")
    tensors["latents"][:] = torch.nan
    save_file(tensors, latents / "b.safetensors")
    output_dir = tmp_path / "run"
    flags = ("--checkpoint_steps", "1", "--max_train_steps", "50", "--num_frames", "9")
    done = run(command((folders[0], latents), tiny_pipeline_dir, output_dir, *flags), launcher)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: at step")]
    assert errors and re.search("the loss is nan.*, on .*b", errors[0])
    for path in list_checkpoints(output_dir / "checkpoint"):
        assert all(t.isfinite().all() for t in load_checkpoint(path)[1]["raw"].values())


def test_an_exploding_loss_stops(folders, tiny_pipeline_dir, tmp_path) -> None:
    flags = (
        "--learning_rate",
        "3",
        "--max_train_steps",
        "200",
        "--warmup_steps",
        "40",
        "--max_loss_ratio",
        "3",
    )
    done = run(command(folders, tiny_pipeline_dir, tmp_path, *flags, "--checkpoint_steps", "200"))
    assert done.returncode == 2, done.stderr
    assert re.search(r"error: at step \d+ the loss is .*, before at most .*, on .*[ab]", done.stderr)


def test_a_model_to_begin_with_brings_its_own_size(folders, tiny_pipeline_dir, tmp_path) -> None:
    flags = ("--init_from", str(tiny_pipeline_dir), "--max_train_steps", "1", "--learning_rate", "0")
    arguments = command(folders, tiny_pipeline_dir, tmp_path, *flags)
    at = arguments.index("--preset")
    done = run(arguments[:at] + arguments[at + 2 :])
    assert done.returncode == 0, done.stderr
    own = load_file(tiny_pipeline_dir / "denoiser" / "diffusion_pytorch_model.safetensors")
    assert_equal(weights(tmp_path), own)


def test_dry_run_tells_and_writes_nothing(folders, tiny_pipeline_dir, tmp_path) -> None:
    done = run(command(folders, tiny_pipeline_dir, tmp_path / "run", "--dry_run"))
    assert done.returncode == 0, done.stderr
    assert "preset: tiny" in done.stdout and "an epoch: 2.0 steps of 2 clips" in done.stdout
    assert re.search(r"[\d,]+ parameters", done.stdout) and re.search(r"total +[\d.]+ MiB", done.stdout)
    assert not (tmp_path / "run").exists()


def test_check_data_exits_2_where_training_would_fail(folders, tiny_pipeline_dir, tmp_path) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path / "run", "--check_data")
    done = run(arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    dataset = tmp_path / "dataset"
    shutil.copytree(folders[0], dataset)
    (dataset / "fashion_crop" / "a" / "003.png").write_bytes(b"\x89PNG")
    (dataset / "fashion_poses" / "b" / "009.png").unlink()
    done = run([*arguments, "--latents", str(tmp_path / "none")])
    assert done.returncode == 2 and str(tmp_path / "none") in done.stdout
    done = run([*arguments, "--dataset", str(dataset)])
    assert done.returncode == 2
    assert "003.png" in done.stdout and str(dataset / "fashion_poses" / "b") in done.stdout


def test_latents_of_a_size_that_the_model_cannot_take_are_refused(tiny_pipeline_dir, tmp_path) -> None:
    dataset, latents = make_folders(tmp_path)
    for path in latents.iterdir():
        tensors = load_file(path)
        tensors["latents"] = torch.nn.functional.pad(tensors["latents"], (0, 2))
        for name in ("warped_latents", "warp_validity"):
            tensors[name] = torch.nn.functional.pad(tensors[name], (0, 2))
        save_file(tensors, path, {"height": "64", "width": "48"})
    for flags in ((), ("--dry_run",), ("--check_data",)):
        done = run(command((dataset, latents), tiny_pipeline_dir, tmp_path / "run", *flags))
        assert done.returncode == 2
        assert "multiples of 32" in done.stdout + done.stderr
        assert "--height 64 --width 64" in done.stdout + done.stderr
    assert not list((tmp_path / "run").glob("losses*"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_damaged_file_is_one_line_from_a_worker_too(
    folders, tiny_pipeline_dir, tmp_path, num_workers: int
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(folders[0], dataset)
    for name in "ab":
        (dataset / "fashion_poses" / name / "004.png").write_bytes(b"\x89PNG")
    flags = ("--num_workers", str(num_workers), "--num_frames", "9")
    done = run(command((dataset, folders[1]), tiny_pipeline_dir, tmp_path / "run", *flags))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert re.match(r"error: .*004\.png", line)


@pytest.mark.timeout(120)
def test_interrupting_two_processes_saves_too(folders, tiny_pipeline_dir, tmp_path) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path, "--max_train_steps", "5000")
    process = subprocess.Popen(
        [sys.executable, *torchrun(29617), *arguments],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    while not list_checkpoints(tmp_path / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0
    path = list_checkpoints(tmp_path / "checkpoint")[-1]
    assert losses(tmp_path) and load_checkpoint(path)[0] == len(losses(tmp_path))


def test_a_second_program_takes_sigterm_as_a_wish_to_save(folders, tiny_pipeline_dir, tmp_path) -> None:
    arguments = command(folders, tiny_pipeline_dir, tmp_path, "--max_train_steps", "5000")
    flags = ("--num_workers", "2", "--checkpoint_steps", "5000")
    process = subprocess.Popen([sys.executable, *arguments, *flags], stderr=subprocess.PIPE, env=ENVIRONMENT)
    while not list((tmp_path / "video_progress").glob("*")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    (path,) = list_checkpoints(tmp_path / "checkpoint")
    assert load_checkpoint(path)[0] == len(losses(tmp_path))


STORED_LOSSES = ROOT / "tests" / "data" / "train_losses.json"


def test_twenty_steps_give_the_stored_losses(folders, tiny_pipeline_dir, tmp_path) -> None:
    """A refactor keeps them. To change them: X2FASHION_RECORD=1 pytest tests/test_train.py."""
    config = train.Config(
        dataset=folders[0],
        latents=folders[1],
        output_dir=tmp_path,
        vae=tiny_pipeline_dir / "vae",
        text_encoder=ROOT / "pretrained_model" / "x2fashion-small" / "text_encoder",
        preset="tiny",
        num_frames=8,
        short_clip_frames=4,
        short_clip_steps=10,
        train_batch_size=2,
        gradient_accumulation_steps=2,
        max_train_steps=20,
        warmup_steps=5,
        timestep_shift=2,
        shared_noise=0.3,
        temporal_weight=0.5,
        validation_steps=10,
        num_validation_clips=2,
        sample_steps=0,
        dtype="float32",
        device="cpu",
    )
    train.main(config, World(0, 1, torch.device("cpu")))
    if os.environ.get("X2FASHION_RECORD"):
        STORED_LOSSES.write_text(json.dumps(log(tmp_path), indent=1) + "\n")
    stored = json.loads(STORED_LOSSES.read_text())
    ours = log(tmp_path)
    assert len(ours) == len(stored) == 22
    for line, expected in zip(ours, stored, strict=True):
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_slurm_job_of_two_nodes_trains(folders, tiny_pipeline_dir, straight, tmp_path) -> None:
    """The script of the documentation, with two torchruns on this machine in place of srun's two nodes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {
        "scontrol": f'[ "$1" = requeue ] && echo "$2" > "{tmp_path}/requeued" || echo localhost',
        "srun": f"""
            for n in 0 1; do SLURM_NODEID=$n "$@" & echo $! >> "{tmp_path}/tasks"; done
            for task in $(jobs -p); do wait $task || exit; done""",
        "scancel": f'[ "$*" = "--signal=TERM 7" ] && kill -TERM $(cat "{tmp_path}/tasks")',
        "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
    }
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "here[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_JOB_ID": "7",
        "MASTER_PORT": "29618",
    }
    environment = ENVIRONMENT | slurm | {"PATH": f"{tools}:{os.environ['PATH']}"}
    _, *flags = command(folders, tiny_pipeline_dir, tmp_path / "run")
    done = subprocess.run(
        ["bash", "docs/slurm_train.sh", *flags],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == pytest.approx(losses(straight), abs=1e-5)
    assert not (tmp_path / "requeued").exists()

    # Before the time is up the script is warned: the run writes a checkpoint, and the job is queued again.
    (tmp_path / "tasks").unlink()
    more = ("--max_train_steps", "5000", "--num_workers", "2")
    _, *flags = command(folders, tiny_pipeline_dir, tmp_path / "long", *more)
    job = subprocess.Popen(
        ["bash", "docs/slurm_train.sh", *flags], cwd=ROOT, env=environment, start_new_session=True
    )
    try:
        while not list_checkpoints(tmp_path / "long" / "checkpoint") and job.poll() is None:
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(timeout=120) != 0
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert (tmp_path / "requeued").read_text() == "7\n"
    path = list_checkpoints(tmp_path / "long" / "checkpoint")[-1]
    assert load_checkpoint(path)[0] == len(losses(tmp_path / "long")) < 5000
