"""The processed set of the original authors is projected and trained on as it is, quirks included.

Its code takes the frames from `start` to `start + 24`, and leaves out segments with `end - start` below 24.
There are no joints as numbers, and no masks.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.annotations import load_annotations
from data.clips import ClipDataset, ClipRequest
from tests.toys import figure_clip
from tests.train_toys import ROOT, command, losses
from utils.image import write_png

VIDEO = "A1F1j+kNaDS"
LINES = (
    "0  23 The lady stands still. ",  # `end` is the last frame: 23 frames by its rule, which leaves it out
    "2 29  She turns left  from the front to the side.",
    "4 28 The girl moves to the right.",
)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two videos of 30 frames, two or three segments each, in the layout that its README shows."""
    folder = tmp_path / "fashion_dataset"
    for split, name in (("train", VIDEO), ("test", "81FyMPk-WIS")):
        frames, poses, _ = figure_clip(30)
        for number, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
            write_png(folder / "fashion_crop" / name / f"{number:03d}.png", frame)
            write_png(folder / "fashion_poses" / name / f"{number:03d}.png", pose)
        (folder / split).mkdir(parents=True)
        (folder / split / f"{name}.txt").write_text("\n".join(LINES) + "\n")
    return folder


def test_it_is_read_as_it_is(published: Path, tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    project = [
        "--dataset",
        published,
        "--output_dir",
        tmp_path / "latents",
        "--vae",
        tiny_pipeline_dir / "vae",
        "--warper",
        None,
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "project_latent_space.py"), *map(str, project)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0 and "projected 2 videos (60 frames" in done.stdout, done.stderr

    segments = load_annotations(published, "train")
    assert [(s.start, s.end) for s in segments] == [(0, 23), (2, 29), (4, 28)]
    dataset = ClipDataset(published, tmp_path / "latents", segments, 24)
    assert [s.start for s in dataset.segments] == [2, 4]
    video = dataset.latents.open(VIDEO)
    assert video.reference_frames.tolist() == [0, 2, 4]
    first = [
        dataset[ClipRequest(segment=number, num_frames=24, consecutive=True, seed=seed)]
        for number in (0, 1)
        for seed in (0, 1)
    ]
    for clip, start in zip(first, (2, 2, 4, 4), strict=True):
        frames = np.arange(start, start + 24)
        if start == 4:  # the segment has 24 frames: there is one clip in it
            assert torch.equal(clip["latents"], video.latents(frames).movedim(0, 1))
        starts = [
            s for s in video.reference_frames if torch.equal(clip["latents"][:, 0], video.latents([s])[0])
        ]
        assert starts and min(starts) >= start
        assert clip["warp_validity"].max() > 0

    arguments = command(
        (published, tmp_path / "latents"), tiny_pipeline_dir, tmp_path / "run",
        "--num_frames", "24", "--max_train_steps", "2", "--validation_steps", "2",
    )  # fmt: skip
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / "run")) == 2
