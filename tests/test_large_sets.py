"""A dataset in object storage is projected and trained on as one in a folder is, to the bit."""

import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from data.annotations import load_annotations
from data.latents import Latents
from data.pack import pack_dataset
from data.shards import Shards, shards_there
from project_latent_space import Config
from project_latent_space import main as project
from tests.train_toys import ROOT, assert_equal, command, losses, make_folders, weights
from utils.checkpoint import list_checkpoints
from utils.errors import UserError

pytest.importorskip("s3fs", reason="pip install -r requirements-dev.txt")
moto = pytest.importorskip("moto.server", reason="pip install -r requirements-dev.txt")
fsspec = pytest.importorskip("fsspec")

BUCKET = "s3://bucket"


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    """A server that speaks S3, with an empty bucket; this process and the ones it starts find it."""
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in found.items():
            patch.setenv(key, value)
        fsspec.filesystem("s3").mkdir("bucket")
        yield found
    server.stop()


def run(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ.copy(),
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def project_again(vae: Path) -> str:
    """What is printed when the shards in the bucket are projected in this process."""
    settings = Config(
        dataset=Path(f"{BUCKET}/data"), output_dir=Path(f"{BUCKET}/latents"), vae=vae, warper=None
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        project(dataclasses.replace(settings, dtype="float32"))
    return printed.getvalue()


@pytest.fixture(scope="module")
def sets(storage: dict[str, str], tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dataset/ and latents/, and the same as shards in the bucket."""
    root = tmp_path_factory.mktemp("sets")
    dataset, _ = make_folders(root)
    pack = ("-m", "data.pack", "--dataset", dataset, "--output_dir", f"{BUCKET}/data", "--clips_per_shard", 2)
    assert "wrote 2 of 2 shards in s3://bucket/data" in run(*pack)
    assert pack_dataset(dataset, f"{BUCKET}/data", 2) == (2, 0)
    vae = tiny_pipeline_dir / "vae"
    project(Config(dataset=dataset, output_dir=root / "projected", vae=vae, warper=None, dtype="float32"))
    remote = ("--dataset", f"{BUCKET}/data", "--output_dir", f"{BUCKET}/latents", "--vae", vae)
    printed = run("project_latent_space.py", *remote, "--warper", None, "--dtype", "float32")
    assert "projected 3 videos (30 frames" in printed
    assert "projected 0 videos" in (printed := project_again(vae)) and "3 were finished" in printed
    return root


def test_projection_of_shards_is_that_of_the_folder(sets: Path) -> None:
    ours, theirs = Latents(f"{BUCKET}/latents"), Latents(sets / "projected")
    assert set(Shards(f"{BUCKET}/latents").clips) == {"a", "b", "c"}
    for name in ("a", "b", "c"):
        one, other = theirs.open(name), ours.open(name)
        assert one.metadata == other.metadata
        assert torch.equal(one.latents(range(10)), other.latents(range(10)))
        assert torch.equal(one.poses([3, 1]), other.poses([3, 1]))


@pytest.fixture(scope="module")
def straight(sets: Path, tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the folders, with validation and a sample video."""
    output_dir = tmp_path_factory.mktemp("straight")
    run(*command((sets / "dataset", sets / "projected"), tiny_pipeline_dir, output_dir, *WATCHED))
    return output_dir


WATCHED = ("--sample_steps", "4", "--num_samples", "1", "--validation_steps", "2")
REMOTE = Path("s3://bucket/data"), Path("s3://bucket/latents")


def test_training_from_shards_is_training_from_the_folder(
    sets: Path, straight: Path, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    run(*command(REMOTE, tiny_pipeline_dir, tmp_path, *WATCHED))
    assert losses(tmp_path) == losses(straight)
    assert_equal(weights(tmp_path), weights(straight))
    assert (tmp_path / "losses.jsonl").read_text().count("validation_loss") == 2
    assert (tmp_path / "training_sample/step_00000004_c.mp4").is_file()


def test_it_goes_on_at_the_sample_whatever_the_number_of_workers(
    sets: Path, straight: Path, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    first = command(REMOTE, tiny_pipeline_dir, tmp_path, "--num_workers", "2", "--checkpoint_steps", "1")
    process = subprocess.Popen([sys.executable, *first], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list_checkpoints(tmp_path / "checkpoint") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(*command(REMOTE, tiny_pipeline_dir, tmp_path, "--num_workers", "1"))
    assert losses(tmp_path) == losses(straight)
    assert_equal(weights(tmp_path), weights(straight))


def test_a_changed_clip_changes_its_shard_alone(sets: Path, tiny_pipeline_dir: Path) -> None:
    before = shards_there(f"{BUCKET}/latents")
    (sets / "dataset/test/c.txt").write_text("0 9 She stands.\n")
    assert pack_dataset(sets / "dataset", f"{BUCKET}/data", 2) == (2, 1)
    printed = project_again(tiny_pipeline_dir / "vae")
    assert "projected 1 videos" in printed and "1 videos anew" in printed and "2 were finished" in printed
    assert pack_dataset(sets / "dataset", f"{BUCKET}/data", 3) == (1, 1)  # all are in one shard now
    assert "2 were finished" in project_again(tiny_pipeline_dir / "vae")
    assert list(shards_there(f"{BUCKET}/latents")) == ["shard-00000"]
    assert pack_dataset(sets / "dataset", f"{BUCKET}/data", 2) == (2, 2)
    assert "2 were finished" in project_again(tiny_pipeline_dir / "vae")
    after = shards_there(f"{BUCKET}/latents")
    assert after["shard-00000"] == before["shard-00000"] and after["shard-00001"] != before["shard-00001"]
    assert set(Shards(f"{BUCKET}/latents").clips) == {"a", "b", "c"}


def test_mistakes_are_one_line(
    sets: Path, tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="takes shards; pack the dataset first"):
        project(Config(dataset=sets / "dataset", output_dir=Path(f"{BUCKET}/other")))
    with pytest.raises(UserError, match="is read and would be overwritten"):
        project(Config(dataset=Path(f"{BUCKET}/data"), output_dir=Path(f"{BUCKET}/data")))
    with pytest.raises(UserError, match="s3://nobucket/data"):
        load_annotations("s3://nobucket/data", "train")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    printed = run(*command(REMOTE, tiny_pipeline_dir, tmp_path), code=2)
    assert "error: s3://bucket/data cannot be read or written:" in printed and printed.count("error:") == 1


def test_two_local_jobs_do_what_one_process_does(sets: Path, tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="pip install -r requirements-dev.txt")
    printed = run(
        "project_latent_space.py", "--dataset", sets / "dataset", "--output_dir", tmp_path / "latents",
        "--vae", tiny_pipeline_dir / "vae", "--warper", None, "--dtype", "float32",
        "--jobs", 2, "--cluster", "local", "--job_dir", tmp_path / "jobs",
    )  # fmt: skip
    assert "projected 0 videos" in printed and "3 were finished" in printed
    logs = sorted((tmp_path / "jobs").rglob("*.out"))
    counts = [
        log.read_text().count("projected 2 videos") - log.read_text().count("projected 1 videos")
        for log in logs
    ]
    assert sorted(counts) == [-1, 1]
    for name in ("a", "b", "c"):
        one, other = Latents(tmp_path / "latents").open(name), Latents(sets / "projected").open(name)
        assert torch.equal(one.latents(range(10)), other.latents(range(10)))
