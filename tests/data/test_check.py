"""A dataset with one fault each: the report names the file; a good dataset has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.annotations import load_annotations
from data.check import check_dataset
from data.check_report import MAX_LINES, DataReport
from data.latents import write_latent_video
from utils.image import write_png

NUM_FRAMES = 4


def write_video(root: Path, split: str, name: str, num_frames: int = NUM_FRAMES, seed: int = 0) -> None:
    """Frames, poses, masks, joints and an annotation of a video whose pictures are noise."""
    rng = np.random.default_rng([seed, *name.encode()])
    for i in range(num_frames):
        for kind in ("fashion_crop", "fashion_poses"):
            write_png(root / kind / name / f"{i:03d}.png", rng.integers(0, 256, (32, 16, 3), np.uint8))
        mask = Image.fromarray(rng.integers(0, 9, (32, 16), np.uint8))
        path = root / "fashion_masks" / name / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path)
    write_joints(root, name, num_frames, name)
    (root / split).mkdir(exist_ok=True)
    (root / split / f"{name}.txt").write_text(f"0 {num_frames} This lady stands.\n")


def write_joints(root: Path, name: str, num_frames: int, identity: object) -> None:
    content = {
        "height": 32,
        "width": 16,
        "keypoints": np.ones((num_frames, 18, 3)).tolist(),
        "identity": {"id": identity, "gender": "woman"},
    }
    (root / "fashion_poses" / f"{name}.json").write_text(json.dumps(content))


def write_latents(folder: Path, name: str, num_frames: int = NUM_FRAMES, vae: str = "a") -> None:
    latents = torch.zeros(num_frames, 4, 4, 2).half()
    write_latent_video(folder / f"{name}.safetensors", {"latents": latents}, {"vae_sha256": vae})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training videos and a test video, all in order."""
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        write_video(tmp_path, split, name)
    return tmp_path


def check(root: Path, num_frames: int = NUM_FRAMES, latents_dir: Path | None = None) -> DataReport:
    report = check_dataset(root, num_frames, latents_dir, progress=False)
    for message in report.problems + report.warnings:
        assert "\n" not in message and str(root) in message
        assert ";" in message or ", for example" in message or "must" in message  # says what to do
    return report


def test_a_good_dataset_has_no_problems_and_is_counted(root: Path) -> None:
    for name in "abc":
        write_latents(root / "latents", name)
    with (root / "train" / "a.txt").open("a") as file:
        file.write("1 3 A short one.\n")
    report = check(root, latents_dir=root / "latents")
    assert report.problems == []
    (warning,) = report.warnings
    assert "1 of 3 segments are shorter than 4 frames" in warning and "train/a.txt, 1 to 3" in warning
    train, test = report.counts["train"], report.counts["test"]
    assert (train.videos, train.frames, train.segments, train.usable_segments) == (2, 8, 3, 2)
    assert (test.videos, test.frames, test.segments, test.usable_segments) == (1, 4, 1, 1)
    assert "train: videos 2, frames 8" in report.text() and "problems: 0, warnings: 1" in report.text()


def test_the_sample_that_ships_is_in_order() -> None:
    sample = Path(__file__).parents[2] / "fashion_dataset"
    report = check_dataset(sample, 24, progress=False)
    assert report.problems == [] and report.counts["train"].usable_segments > 0


def write_line(split: str, name: str, line: str) -> Callable[[Path], object]:
    return lambda root: (root / split / f"{name}.txt").write_bytes(b"0 4 Good.\n" + line.encode("latin-1"))


def cut(path: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-100])


def flip_last_bits(path: str) -> Callable[[Path], object]:
    """Damage the checksum of the compressed pixels, which no decoder needs to have all pixels."""

    def damage(root: Path) -> None:
        data = bytearray((root / path).read_bytes())
        data[-17] ^= 1
        (root / path).write_bytes(data)

    return damage


def picture(path: str, height: int, width: int) -> Callable[[Path], object]:
    return lambda root: write_png(root / path, np.zeros((height, width, 3), np.uint8))


def resize_poses(name: str, height: int, width: int) -> Callable[[Path], object]:
    def resize(root: Path) -> None:
        for path in (root / "fashion_poses" / name).glob("*.png"):
            picture(str(path), height, width)(root)

    return resize


def remove(path: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda root: shutil.copy(root / source, root / target)


def move(source: str, target: str) -> Callable[[Path], object]:
    return lambda root: (root / source).rename(root / target)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (write_line("train", "a", "0 4"), ["train/a.txt:2: '0 4' is not `start end text`"]),
        (write_line("test", "c", "0 4 f\xfcr"), ["test/c.txt:2: not UTF-8"]),
        (write_line("train", "b", "0 5 Long.\n3 3 None."), ["b.txt:2: the segment ends at 5", "b.txt:3:"]),
        (remove("fashion_crop/a"), ["train/a.txt describes a video without frames"]),
        (remove("train"), ["there is no folder"]),
        (remove("fashion_crop/c/001.png"), ["fashion_crop/c has no frame 001;"]),
        (
            move("fashion_crop/b/003.png", "fashion_crop/b/012.png"),
            ["has no frame 003-011;", "has poses up to 003", "has masks up to 003", "joints of 4 frames"],
        ),
        (copy("fashion_crop/b/003.png", "fashion_crop/b/3.png"), ["fashion_crop/b has frame 3 twice"]),
        (remove("fashion_poses/b/000.png"), ["fashion_poses/b has no pose 000;"]),
        (remove("fashion_poses/b/003.png"), ["fashion_poses/b has poses up to 002,"]),
        (remove("fashion_poses/b"), ["fashion_poses/b does not exist"]),
        (remove("fashion_masks/b/003.png"), ["fashion_masks/b has masks up to 002,"]),
        (picture("fashion_crop/b/002.png", 64, 32), ["fashion_crop/b/002.png is 32 x 64 pixels, 000.png"]),
        (picture("fashion_masks/b/002.png", 32, 16), ["fashion_masks/b/002.png has 3 channels"]),
        (resize_poses("a", 32, 32), ["fashion_poses/a is 32 x 32 pixels"]),
        (cut("fashion_crop/a/001.png"), ["fashion_crop/a/001.png is damaged"]),
        (cut("fashion_poses/a/000.png"), ["fashion_poses/a/000.png is damaged"]),
        (cut("fashion_masks/c/003.png"), ["fashion_masks/c/003.png is damaged"]),
        (flip_last_bits("fashion_crop/a/001.png"), ["fashion_crop/a/001.png is damaged"]),
        (copy("train/a.txt", "test/a.txt"), ["test/a.txt and"]),
        (lambda root: write_joints(root, "c", 4, "b"), ["c.json of the test split and"]),
        (copy("fashion_crop/a/000.png", "fashion_crop/c/000.png"), ["crop/c/000.png of the test split is"]),
        (lambda root: write_joints(root, "a", 5, "a"), ["a.json has joints of 5 frames"]),
        (lambda root: write_joints(root, "a", 3, "a"), ["a.json has joints of 3 frames"]),
        (lambda root: (root / "fashion_poses" / "a.json").write_text("{"), ["a.json is not valid JSON"]),
        (lambda root: (root / "fashion_poses" / "a.json").write_text("[]"), ["a.json holds no object"]),
        (
            lambda root: (root / "fashion_poses" / "a.json").write_text('{"height": 32, "width": 16}'),
            ['a.json: "keypoints"'],
        ),
    ],
)  # fmt: skip
def test_a_problem_is_named(root: Path, spoil: Callable[[Path], object], named: list[str]) -> None:
    spoil(root)
    problems = [message for message in check(root).problems if "no segment of" not in message]
    assert len(problems) == len(named)
    for message, part in zip(problems, named, strict=True):
        assert part in message


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (remove("test"), "--sample_steps 0"),
        (remove("test/c.txt"), "--sample_steps 0"),
        (resize_poses("a", 64, 32), "fashion_poses/a is 32 x 64 pixels"),
        (remove("fashion_masks/b"), "1 of 3 videos have no masks"),
        (remove("train/b.txt"), "1 videos have no annotation"),
        (lambda root: (root / "train" / "b.txt").write_text("\n"), "train/b.txt holds no segment"),
        (lambda root: write_wide_video(root), "1 of 4 videos have another aspect ratio"),
    ],
)
def test_a_warning_is_not_a_problem(root: Path, spoil: Callable[[Path], object], named: str) -> None:
    spoil(root)
    report = check(root)
    assert report.problems == [] and any(named in message for message in report.warnings)


def write_wide_video(root: Path) -> None:
    write_video(root, "train", "wide")
    for kind in ("fashion_crop", "fashion_poses"):
        for path in (root / kind / "wide").iterdir():
            picture(str(path), 32, 64)(root)


def test_frames_that_the_vae_cannot_encode_are_named_until_they_are_projected(root: Path) -> None:
    for name in "abc":
        for kind in ("fashion_crop", "fashion_poses"):
            for path in (root / kind / name).iterdir():
                picture(str(path), 35, 17)(root)
    (message,) = check(root).problem_kinds["size of frames"]
    assert "17 x 35 pixels" in message and "--height 32 --width 16" in message
    for name in "abc":
        write_latents(root / "latents", name)
    assert "size of frames" not in check(root, latents_dir=root / "latents").problem_kinds
    report = check_dataset(root, NUM_FRAMES, progress=False, size_multiple=1)
    assert "size of frames" not in report.problem_kinds


def test_all_problems_are_collected(root: Path) -> None:
    write_line("train", "a", "nothing")(root)
    cut("fashion_crop/a/001.png")(root)
    cut("fashion_poses/c/001.png")(root)
    remove("fashion_masks/b/000.png")(root)
    write_joints(root, "c", 4, "a")
    assert len(check(root).problems) == 5


def test_a_dataset_that_is_not_there_is_a_report_too(tmp_path: Path) -> None:
    report = check(tmp_path / "none")
    assert len(report.problems) == 1 and report.counts["train"].videos == 0


def test_it_is_a_problem_if_all_segments_are_short(root: Path) -> None:
    (message,) = check(root, num_frames=5).problems
    assert "no segment of" in message and "the longest of 2 has 4" in message


def test_identities_are_compared_between_splits_alone(root: Path) -> None:
    write_joints(root, "b", 4, "a")
    assert check(root).problems == []
    for name in "abc":
        write_joints(root, name, 4, None)
    assert check(root).problems == []


def test_projected_videos_are_compared_with_the_dataset(root: Path) -> None:
    latents_dir = root / "latents"
    (message,) = check(root, latents_dir=latents_dir).problems
    assert "there is no folder" in message and "project_latent_space.py --dataset" in message

    write_latents(latents_dir, "a")
    report = check(root, latents_dir=latents_dir)
    assert [Path(message.split()[0]).name for message in report.problems] == ["b.safetensors"]
    assert [Path(message.split()[0]).name for message in report.warnings] == ["c.safetensors"]

    write_latents(latents_dir, "b", vae="b")
    write_latents(latents_dir, "c")
    (message,) = check(root, latents_dir=latents_dir).problems
    assert "b.safetensors was made by another VAE than" in message

    write_latents(latents_dir, "b", num_frames=3)
    (latents_dir / "c.safetensors").write_bytes(b"half a file")
    problems = check(root, latents_dir=latents_dir).problems
    assert (
        "b.safetensors has 3 frames" in problems[0] and "c.safetensors is no projected video" in problems[1]
    )


def test_a_report_shows_some_lines_of_each_kind(root: Path) -> None:
    (root / "train" / "a.txt").write_text("0 4 Good.\n" + "bad\n" * 50)
    cut("fashion_crop/b/001.png")(root)
    report = check(root)
    lines = report.text().splitlines()
    assert len(report.problems) == 51
    assert sum("a.txt:" in line for line in lines) == MAX_LINES
    assert "problem: annotations (50)" in lines and f"  and {50 - MAX_LINES} more" in lines
    assert any("b/001.png is damaged" in line for line in lines)


def test_a_hundred_thousand_lines_are_loaded_in_order(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    lines = "".join(f"{start} {start + 24} Line {start}.\n" for start in reversed(range(100)))
    for video in range(1000):
        (tmp_path / "train" / f"{video:04d}.txt").write_text(lines)
    segments = load_annotations(tmp_path, "train", check_frames=False)
    assert [(s.name, s.start) for s in segments] == [(f"{v:04d}", i) for v in range(1000) for i in range(100)]
    assert segments[-1].text == "Line 99."
