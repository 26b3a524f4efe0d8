import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

from data.frames import read_frames
from data.latents import LatentVideo, write_latent_video
from diffusion.latents import encode_images, load_vae
from diffusion.warped_photo import WarpedPhoto, best_shown, load_warper, warp_with
from preparation.projection import joints_at, pick_references
from project_latent_space import Config, main
from project_latent_space import __doc__ as description
from tests.toys import tiny_warper
from utils.config import run_script
from utils.errors import UserError
from utils.files import write_json
from utils.image import fit_image, write_png
from utils.pose_drawing import NUM_JOINTS, draw_pose
from warping.warp import warp_to_poses

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 64, 32
STANDING = np.array(
    [(16, 9), (16, 15), (12, 15), (10, 22), (9, 29), (20, 15), (22, 22), (23, 29), (13, 31), (13, 43),
     (13, 55), (19, 31), (19, 43), (19, 55), (15, 8), (17, 8), (14, 9), (18, 9)],
    np.float32,
)  # fmt: skip


def keypoints(num_frames):
    """A skeleton that moves to the right by half a pixel a frame."""
    moved = np.repeat(STANDING[None], num_frames, 0) + np.arange(num_frames)[:, None, None] * np.array(
        [0.5, 0]
    )
    return np.concatenate([moved, np.ones((num_frames, NUM_JOINTS, 1))], axis=2).astype(np.float32)


def make_video(root, name, num_frames=6, starts=(0,), scale=1):
    """Frames of a figure drawn from its skeleton, skeleton pictures, joints and annotations."""
    joints = keypoints(num_frames)
    joints[..., :2] = (joints[..., :2] + 0.5) * scale - 0.5
    height, width = HEIGHT * scale, WIDTH * scale
    for i, pose in enumerate(joints):
        skeleton = draw_pose(pose, height, width)
        write_png(root / "fashion_poses" / name / f"{i:03d}.png", skeleton)
        person = np.where(skeleton.any(-1, keepdims=True), skeleton // 2 + 40, 230).astype(np.uint8)
        write_png(root / "fashion_crop" / name / f"{i:03d}.png", person)
    poses = {"height": height, "width": width, "keypoints": joints.tolist()}
    write_json(root / "fashion_poses" / f"{name}.json", poses)
    (root / "train").mkdir(exist_ok=True)
    lines = [f"{start} {num_frames} This lady moves toward the right side.\n" for start in starts]
    (root / "train" / f"{name}.txt").write_text("".join(lines))
    return joints


def make_masks(root, name, num_frames=6):
    """The person in one corner, from the second frame on."""
    (root / "fashion_masks" / name).mkdir(parents=True)
    for i in range(num_frames):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[:3, :3] = i
        Image.fromarray(mask, "P").save(root / "fashion_masks" / name / f"{i:03d}.png")


def make_vae(folder, seed=0):
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 8, 8],
        norm_num_groups=4,
        scaling_factor=0.5,
    )
    vae.save_pretrained(folder)
    return folder


@pytest.fixture
def dataset(tmp_path):
    make_video(tmp_path / "data", "a", starts=(0, 4))
    make_video(tmp_path / "data", "b", num_frames=3)
    make_vae(tmp_path / "vae")
    return tmp_path


def config(root, **settings):
    folders = {"dataset": root / "data", "output_dir": root / "out", "vae": root / "vae"}
    return Config(**({**folders, "warper": None, "dtype": "float32"} | settings))


def run_command(monkeypatch, root, *flags):
    """Run the script's command line in this process; the exit status. Limbs are moved by rules."""
    if "--warper" not in flags:
        flags = (*flags, "--warper", "None")
    monkeypatch.setattr(sys, "argv", ["project_latent_space.py", *map(str, paths(root)), *flags])
    try:
        run_script(main, Config, description)
    except SystemExit as stop:
        return stop.code
    return None


def paths(root):
    return ["--dataset", root / "data", "--output_dir", root / "out", "--vae", root / "vae"]


def to_images(frames):
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize(
    ("starts", "num_frames", "number", "expected"),
    [
        ((), 24, 1, [0]),
        ((0,), 24, 1, [0]),
        ((0,), 24, 2, [0, 12]),
        ((0,), 24, 4, [0, 6, 12, 18]),
        ((0, 10, 10, 20), 24, 2, [0, 10, 20]),
        ((5,), 6, 2, [2, 5]),
        ((0,), 3, 10, [0, 1, 2]),
        ((0, 10), 24, 0, []),
    ],
)
def test_references_are_the_segments_starts_then_evenly_spaced(starts, num_frames, number, expected):
    assert pick_references(starts, num_frames, number) == expected


def test_latents_and_warps_are_those_of_the_pictures(dataset, capsys):
    main(config(dataset))
    assert "projected 2 videos (9 frames, 0 videos anew)" in capsys.readouterr().out
    video = LatentVideo(dataset / "out" / "a.safetensors")
    frames, joints, vae = (
        read_frames(dataset / "data" / "fashion_crop" / "a"),
        keypoints(6),
        load_vae(dataset / "vae"),
    )
    assert video.num_frames == 6 and video.reference_frames.tolist() == [0, 4]
    expected = encode_images(vae, to_images(frames))
    assert torch.allclose(video.latents(range(6)), expected, atol=2e-3)
    warped, validity = warp_to_poses(frames[4], joints[4], joints)
    got_warped, got_validity = video.warp(1, range(6))
    assert torch.allclose(got_warped, encode_images(vae, to_images(warped)), atol=2e-3)
    pooled = functional.avg_pool2d(torch.from_numpy(validity)[:, None], 4)
    assert got_validity.shape == (6, 1, 16, 8) and torch.allclose(got_validity, pooled, atol=1e-3)
    assert LatentVideo(dataset / "out" / "b.safetensors").reference_frames.tolist() == [0, 1]
    assert video.metadata["source_height"] == "64" and video.metadata["num_frames"] == "6"
    assert json.loads((dataset / "out" / "config.json").read_text())["num_references"] == 2


def test_references_are_also_warped_together_with_other_frames(dataset, capsys):
    main(config(dataset, num_references=1))
    main(config(dataset, num_references=1))
    assert "projected 0 videos" in capsys.readouterr().out
    main(config(dataset, num_references=1, num_photos=3, dtype="float32"))
    assert "projected 2 videos (9 frames, 2 videos anew)" in capsys.readouterr().out
    video, vae = LatentVideo(dataset / "out" / "a.safetensors"), load_vae(dataset / "vae")
    assert video.reference_frames.tolist() == [0, 0, 0, 4, 4, 4]  # its two segments begin there
    frames, joints = read_frames(dataset / "data" / "fashion_crop" / "a"), keypoints(6)
    with_rules = [
        WarpedPhoto(to_images(moved)[None], torch.from_numpy(valid)[None, :, None])
        for moved, valid in (warp_to_poses(frames[i], joints[i], joints) for i in (0, 2, 4))
    ]
    both = best_shown(with_rules)
    assert torch.allclose(video.warp(2, range(6))[0], encode_images(vae, both.pictures[0]), atol=0.02)
    own, further = (video.warp(place, range(6))[1] for place in (0, 2))
    assert (further >= own - 1e-3).all() and (further > own + 0.05).any()


def test_a_network_moves_the_reference_frames(dataset, monkeypatch, capsys):
    tiny_warper(HEIGHT).save_pretrained(dataset / "warper")
    main(config(dataset, output_dir=dataset / "by_rules", dtype="float32"))
    assert (
        run_command(monkeypatch, dataset, "--dtype", "float32", "--warper", str(dataset / "warper")) is None
    )
    photo = to_images(read_frames(dataset / "data" / "fashion_crop" / "a"))[4]
    moved, validity = warp_with(load_warper(dataset / "warper"), photo, keypoints(6)[4], keypoints(6))
    latents, shown = LatentVideo(dataset / "out" / "a.safetensors").warp(1, range(6))
    encoded = encode_images(load_vae(dataset / "vae"), moved)
    assert (latents - encoded).abs().mean() < 0.02 * encoded.abs().mean()
    assert torch.allclose(shown, functional.avg_pool2d(validity, 4), atol=5e-3)
    by_rules, _ = LatentVideo(dataset / "by_rules" / "a.safetensors").warp(1, range(6))
    assert (by_rules - encoded).abs().mean() > 0.1 * encoded.abs().mean()
    main(config(dataset))  # without it, the warps are made anew
    assert "2 videos anew" in capsys.readouterr().out
    assert run_command(monkeypatch, dataset, "--warper", str(dataset / "vae")) == 2
    assert "vae" in capsys.readouterr().err


def test_poses_and_masks_lie_beside_the_latents_at_their_size(dataset):
    make_video(dataset / "data", "c", scale=2)  # its poses are as large as training wants them
    make_masks(dataset / "data", "a")
    main(config(dataset))
    resized, same = (LatentVideo(dataset / "out" / f"{name}.safetensors") for name in "ac")
    pictures = to_images(read_frames(dataset / "data" / "fashion_poses" / "c"))
    assert torch.equal(same.poses(range(6)), pictures)
    pictures = to_images(read_frames(dataset / "data" / "fashion_poses" / "a"))
    pictures = functional.interpolate(pictures, (128, 64), mode="bilinear", antialias=True)
    assert (resized.poses(range(6)) - pictures).abs().max() <= 0.501 / 127.5
    expected = torch.zeros(6, 16, 8, dtype=torch.bool)
    expected[1:, :2, :2] = True  # the corner's latent and those beside it
    assert torch.equal(resized.person(range(6)), expected)
    assert same.has_poses and not same.has_person


def test_poses_of_long_videos_go_in_chunks_of_one_size(dataset, monkeypatch):
    main(config(dataset))
    monkeypatch.setattr("preparation.projection.CHUNK_FRAMES", 2)
    main(config(dataset, output_dir=dataset / "other"))
    one, other = (LatentVideo(dataset / folder / "a.safetensors") for folder in ("out", "other"))
    assert torch.equal(one.poses(range(6)), other.poses(range(6)))
    for frame in (4, 5):
        path = dataset / "data" / "fashion_poses" / "a" / f"{frame:03d}.png"
        write_png(path, np.zeros((128, 64, 3), np.uint8))
    with pytest.raises(UserError, match="1 damaged"):
        main(config(dataset, output_dir=dataset / "third"))


def test_changed_poses_and_masks_and_files_of_earlier_versions_are_projected_anew(dataset, capsys):
    data, path = dataset / "data", dataset / "out" / "a.safetensors"
    main(config(dataset, num_references=0))

    def anew():
        capsys.readouterr()
        main(config(dataset, num_references=0))
        return "(6 frames, 1 videos anew)" in capsys.readouterr().out

    assert not anew()
    write_png(data / "fashion_poses" / "a" / "003.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert anew() and not LatentVideo(path).poses([3]).add(1).any()
    make_masks(data, "a")
    assert anew() and not anew()
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8), "P").save(data / "fashion_masks" / "a" / "000.png")
    assert anew() and LatentVideo(path).person([0])[0, 7, 7]
    metadata = LatentVideo(path).metadata | {"format_version": "1"}
    write_latent_video(path, {"latents": load_file(path)["latents"]}, metadata)
    assert anew() and LatentVideo(path).has_poses and LatentVideo(path).has_person


def test_batch_size_does_not_matter_and_long_videos_go_in_chunks(dataset, monkeypatch):
    main(config(dataset))
    monkeypatch.setattr("preparation.projection.CHUNK_FRAMES", 4)
    main(config(dataset, output_dir=dataset / "other", batch_size=1))
    one, other = (LatentVideo(dataset / folder / "a.safetensors") for folder in ("out", "other"))
    assert torch.allclose(one.latents(range(6)), other.latents(range(6)), atol=2e-3)
    for a, b in zip(one.warp(1, range(6)), other.warp(1, range(6)), strict=True):
        assert torch.allclose(a, b, atol=2e-3)


def test_bfloat16_is_close(dataset):
    main(config(dataset, num_references=0))
    main(config(dataset, num_references=0, output_dir=dataset / "other", dtype="bfloat16"))
    one, other = (LatentVideo(dataset / f / "a.safetensors").latents(range(6)) for f in ("out", "other"))
    assert 0 < (one - other).norm() / one.norm() < 0.03


def test_finished_videos_are_skipped_and_changed_ones_made_anew(dataset, capsys):
    main(config(dataset))
    out = dataset / "out"
    times = {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}
    main(config(dataset))
    assert "projected 0 videos" in capsys.readouterr().out
    assert times == {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}

    make_video(dataset / "data", "b", num_frames=4)  # another frame
    data = (out / "a.safetensors").read_bytes()
    (out / "a.safetensors").write_bytes(data[: len(data) // 2])  # a copy that was cut short
    main(config(dataset))
    assert "projected 2 videos (10 frames, 2 videos anew)" in capsys.readouterr().out
    for change in (
        {"num_references": 3},
        {"height": 32, "width": 16},
        {"vae": make_vae(dataset / "vae2", 1)},
    ):
        main(config(dataset, **change))
        assert "2 videos anew" in capsys.readouterr().out, change
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_no_references_and_no_joints_leave_out_the_warps(dataset):
    main(config(dataset, num_references=0, output_dir=dataset / "none"))
    assert LatentVideo(dataset / "none" / "a.safetensors").reference_frames.size == 0
    assert LatentVideo(dataset / "none" / "a.safetensors").has_poses
    for path in (dataset / "data" / "fashion_poses" / "a").iterdir():
        path.unlink()
    (dataset / "data" / "fashion_poses" / "a").rmdir()
    (dataset / "data" / "fashion_poses" / "a.json").unlink()
    main(config(dataset))
    assert LatentVideo(dataset / "out" / "a.safetensors").reference_frames.size == 0
    assert not LatentVideo(dataset / "out" / "a.safetensors").has_poses
    assert LatentVideo(dataset / "out" / "b.safetensors").reference_frames.size == 2


def test_joints_come_from_the_json_or_the_pictures_in_pixels_of_the_encoded_frames(dataset):
    make_video(dataset / "data", "c", scale=2)
    poses = dataset / "data" / "fashion_poses"
    for name in ("a", "c"):
        assert np.allclose(joints_at(poses / name, 6, HEIGHT, WIDTH), keypoints(6), atol=1e-4)
    (poses / "c.json").unlink()
    joints = joints_at(poses / "c", 6, HEIGHT, WIDTH)
    assert np.abs(joints - keypoints(6)).max() < 1
    assert joints_at(poses / "missing", 6, HEIGHT, WIDTH) is None


def test_frames_of_another_size_are_resized(dataset):
    make_video(dataset / "data", "c", starts=(0, 4), scale=2)  # video a, twice as large
    main(config(dataset))
    small, large = (LatentVideo(dataset / "out" / f"{name}.safetensors") for name in "ac")
    assert large.latents(range(6)).shape == large.warp(1, range(6))[0].shape == small.latents(range(6)).shape
    assert (large.metadata["source_height"], large.metadata["height"]) == ("128", "64")
    pictures = read_frames(dataset / "data" / "fashion_crop" / "c")
    resized = functional.interpolate(
        to_images(pictures), size=(HEIGHT, WIDTH), mode="bilinear", antialias=True
    )
    expected = encode_images(load_vae(dataset / "vae"), resized)
    assert (
        large.latents(range(6)) - expected
    ).norm() / expected.norm() < 0.02  # rounded to whole grey levels


def test_frames_of_another_shape_are_fitted_with_their_joints_poses_and_masks(dataset):
    data, size = dataset / "data", (64, 64)
    joints = keypoints(6)
    joints[..., 0] += 16
    for i, pose in enumerate(joints):
        disc = cv2.circle(np.full((*size, 3), 230, np.uint8), (32, 32), 20, (40, 40, 40), -1)
        write_png(data / "fashion_crop" / "wide" / f"{i:03d}.png", disc)
        write_png(data / "fashion_poses" / "wide" / f"{i:03d}.png", draw_pose(pose, *size))
        mask = Image.fromarray((disc[..., 0] < 100).astype(np.uint8), "P")
        (data / "fashion_masks" / "wide").mkdir(parents=True, exist_ok=True)
        mask.save(data / "fashion_masks" / "wide" / f"{i:03d}.png")
    document = {"height": 64, "width": 64, "keypoints": joints.tolist()}
    write_json(data / "fashion_poses" / "wide.json", document)
    (data / "train" / "wide.txt").write_text("0 6 This lady moves toward the right side.\n")
    main(config(dataset, height=HEIGHT, width=WIDTH))

    video, vae = LatentVideo(dataset / "out" / "wide.safetensors"), load_vae(dataset / "vae")
    fitted = [
        fit_image(frame, HEIGHT, WIDTH) for frame in read_frames(data / "fashion_crop" / "wide", range(6))
    ]
    pictures, place = [picture for picture, _ in fitted], fitted[0][1]
    assert (place.top, place.height, place.width) == (16, 32, 32)
    assert torch.allclose(video.latents(range(6)), encode_images(vae, to_images(pictures)), atol=2e-3)
    warped, _ = warp_to_poses(pictures[0], place.to_fitted(joints[0]), place.to_fitted(joints))
    assert torch.allclose(video.warp(0, range(6))[0], encode_images(vae, to_images(warped)), atol=2e-3)
    poses = video.poses([0])[0]
    assert poses.shape == (3, 128, 64) and (poses[:, :32] == -1).all() and (poses[:, 96:] == -1).all()
    assert (poses[:, 32:96] > 0).any()
    rows, columns = np.nonzero(video.person([0])[0].numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 0, 7)


def test_annotated_videos_without_frames_are_named(dataset, monkeypatch, capsys):
    (dataset / "data" / "fashion_crop" / "film.mp4").write_bytes(b"a video")
    (dataset / "data" / "test").mkdir()
    for split, name in (("train", "film"), ("test", "gone")):
        (dataset / "data" / split / f"{name}.txt").write_text("0 3 She turns.\n")
    assert run_command(monkeypatch, dataset) == 2
    output = capsys.readouterr()
    for name in ("film", "gone"):
        line = next(line for line in output.err.splitlines() if line.startswith(f"error: {name} is passed"))
        assert f"fashion_crop/{name}" in line and "000.png" in line
    assert "projected 2 videos" in output.out and "2 are damaged" in output.out


def test_damaged_videos_are_named_and_the_rest_goes_on(dataset, monkeypatch, capsys):
    data = dataset / "data"
    for name in ("c", "d", "e", "f", "g", "h", "i"):
        make_video(data, name, num_frames=3)
    first = data / "fashion_crop" / "c" / "000.png"
    first.write_bytes(first.read_bytes()[:100])
    (data / "fashion_crop" / "d" / "001.png").unlink()
    (data / "train" / "e.txt").write_text("0 3 good\n0 9 too long\n")
    (data / "fashion_poses" / "f" / "002.png").unlink()
    write_png(data / "fashion_crop" / "g" / "002.png", np.zeros((32, 32, 3), np.uint8))
    make_masks(data, "h", num_frames=2)
    make_masks(data, "i", num_frames=3)
    (data / "fashion_masks" / "i" / "001.png").write_bytes(b"no picture")
    assert run_command(monkeypatch, dataset) == 2
    output = capsys.readouterr()
    for name, reason in (
        ("c", "000.png is damaged"),
        ("d", "no frame 001"),
        ("e", "train/e.txt:2: the segment ends at 9"),
        ("f", "2 poses for 3 frames"),
        ("g", "002.png is 32 x 32"),
        ("h", "2 masks for 3 frames"),
        ("i", "001.png is no mask"),
    ):
        line = next(
            line for line in output.err.splitlines() if line.startswith(f"error: {name} is passed over: ")
        )
        assert reason in line
    assert "projected 2 videos" in output.out and "7 are damaged" in output.out
    assert sorted(p.name for p in (dataset / "out").iterdir()) == [
        "a.safetensors",
        "b.safetensors",
        "config.json",
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"height": 64}, "--height and --width go together"),
        ({"height": 66, "width": 30}, r"add --height 128 --width 128"),
        ({"num_references": -1}, "at least 0"),
        ({"num_photos": 4}, "--num_photos 4 must be 1 to 3"),
        ({"batch_size": 0}, "at least 1"),
        ({"vae": Path("nowhere")}, "nowhere"),
        ({"dataset": Path("nowhere")}, "holds no videos"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(dataset, settings, reason):
    with pytest.raises(UserError, match=reason):
        main(config(dataset, **settings))
    assert not (dataset / "out").exists()


def test_a_users_mistake_is_one_line_and_status_two(dataset, monkeypatch, capsys):
    assert run_command(monkeypatch, dataset, "--height", "65", "--width", "32") == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "\n" not in message


def test_torchrun_splits_the_videos_over_processes(dataset):
    make_video(dataset / "data", "c", num_frames=3)
    make_video(dataset / "data", "d", num_frames=3)
    (dataset / "data" / "fashion_crop" / "d" / "001.png").unlink()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = [*launcher, "project_latent_space.py", *paths(dataset), "--warper", None]
    command = [str(part) for part in script]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stderr
    assert "error: d is passed over: " in done.stderr
    assert "projected 3 videos (12 frames" in done.stdout and "1 are damaged" in done.stdout
    (dataset / "alone").mkdir()
    with pytest.raises(UserError, match="1 damaged videos"):
        main(config(dataset, output_dir=dataset / "alone", dtype="auto"))
    for name in "abc":
        one, other = (LatentVideo(dataset / f / f"{name}.safetensors") for f in ("out", "alone"))
        assert one.metadata == other.metadata
        assert torch.allclose(one.latents(range(3)), other.latents(range(3)), atol=0.02)


def test_from_another_folder_it_takes_the_vae_that_ships(tmp_path):
    make_video(tmp_path / "mine", "clip", num_frames=2)
    command = [sys.executable, ROOT / "project_latent_space.py", "--dataset", "mine", "--num_references", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fashion_dataset_tensor" / "clip.safetensors").is_file()
