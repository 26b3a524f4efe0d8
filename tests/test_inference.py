"""inference.py through its command line, at toy size."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

import inference
from data.frames import read_poses
from generation import loading
from generation.inputs import Clip, read_inputs
from generation.photo import look_at_photo
from generation.video import clip_seed
from models import PRESETS, Denoiser
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from tests.models.recipes import seeded_checkpoint
from tests.toys import HEIGHT, SENTENCES, WIDTH, figure_clip, tiny_decoder, tiny_tokenizer
from utils.config import run_script
from utils.image import read_image, write_png
from utils.pose_drawing import draw_pose
from utils.video import read_video, write_video
from warping.retarget import retarget

ROOT = Path(__file__).resolve().parents[1]
REAL_INPUTS = ROOT.parent / "shared" / "real_inputs"
Run = Callable[..., dict[str, bytes]]


@pytest.fixture
def run(tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line with the tiny model and return the files it wrote, by name."""
    runs = iter(range(100))

    def run(*flags: object) -> dict[str, bytes]:
        output_dir = tmp_path / f"result_{next(runs)}"
        defaults = ["--pretrained_model", tiny_pipeline_dir, "--output_dir", output_dir]
        defaults += ["--num_inference_steps", 2, "--dtype", "float32"]
        given = {str(flag) for flag in flags}
        pairs = zip(defaults[::2], defaults[1::2], strict=True)
        arguments = [value for pair in pairs if pair[0] not in given for value in pair] + list(flags)
        monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, arguments)])
        run_script(inference.main, inference.Config, inference.__doc__)
        return {p.name: p.read_bytes() if p.is_file() else b"" for p in sorted(output_dir.iterdir())}

    return run


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Path]:
    """A user's own files: a photo of 150 x 90 pixels, and a skeleton folder and video of 128 x 64."""
    frames, poses, _ = figure_clip(4, height=2 * HEIGHT)
    photo = np.full((150, 90, 3), 220, np.uint8)
    photo[11:139, 13:77] = frames[0]
    write_png(tmp_path / "photo.png", photo)
    for index, pose in enumerate(poses):
        write_png(tmp_path / "skeletons" / f"{index:03d}.png", pose)
    write_video(tmp_path / "skeletons.mp4", poses, fps=8)
    return {name: tmp_path / name for name in ("photo.png", "skeletons", "skeletons.mp4")}


def test_every_clip_of_the_split_gets_video_sheet_and_settings(
    run: Run, tiny_dataset_dir, tmp_path, capsys
) -> None:
    files = run("--dataset", tiny_dataset_dir)
    assert list(files) == [
        f"{name}.{suffix}" for name in ("anna", "berta") for suffix in ("json", "mp4", "png")
    ]
    frames, fps = read_video(tmp_path / "result_0" / "anna.mp4")
    assert frames.shape == (6, HEIGHT, WIDTH, 3) and fps == 12
    sheet = read_image(tmp_path / "result_0" / "anna.png")
    assert sheet.shape[0] > 3 * 192
    settings = json.loads(files["anna.json"])
    assert settings["prompt"] == SENTENCES[0] and settings["num_frames"] == 6
    assert settings["scheduler"] == "DPMSolverMultistepScheduler" and settings["num_inference_steps"] == 2
    assert settings["versions"]["numpy"] == np.__version__
    assert "result_0" in capsys.readouterr().out


def test_the_same_command_gives_the_same_bytes_and_clips_do_not_depend_on_each_other(
    run, tiny_dataset_dir
) -> None:
    first = run("--dataset", tiny_dataset_dir)
    again = run("--dataset", tiny_dataset_dir)
    (tiny_dataset_dir / "test" / "anna.txt").unlink()
    alone = run("--dataset", tiny_dataset_dir)
    for name in ("berta.mp4", "berta.png"):
        assert first[name] == again[name] == alone[name]
    assert first["anna.mp4"] != first["berta.mp4"]


def test_two_segments_of_a_video_are_two_clips(run: Run, tiny_dataset_dir: Path) -> None:
    (tiny_dataset_dir / "test" / "anna.txt").write_text(f"0 4 {SENTENCES[0]}\n2 6 {SENTENCES[1]}\n")
    (tiny_dataset_dir / "test" / "berta.txt").unlink()
    files = run("--dataset", tiny_dataset_dir)
    assert json.loads(files["anna_002.json"])["image"].endswith("002.png")
    assert files["anna_000.mp4"] != files["anna_002.mp4"]


@pytest.mark.parametrize("poses", ["skeletons", "skeletons.mp4"])
def test_a_photo_and_poses_of_other_sizes(run: Run, own: dict[str, Path], tmp_path: Path, poses: str) -> None:
    run("--image", own["photo.png"], "--poses", own[poses], "--prompt", SENTENCES[1])
    frames, _ = read_video(tmp_path / "result_0" / "photo.mp4")
    assert frames.shape == (4, HEIGHT, WIDTH, 3)


def test_a_long_video_that_was_stopped_goes_on_with_the_window_it_was_at(
    tiny_pipeline_dir: Path, tiny_dataset_dir: Path, tmp_path: Path
) -> None:
    (tiny_dataset_dir / "test" / "berta.txt").unlink()
    settings = {"pretrained_model": tiny_pipeline_dir, "dataset": tiny_dataset_dir, "dtype": "float32"}
    settings |= {"window_frames": 4, "window_overlap": 2, "num_inference_steps": 1}
    calls: list[int] = []

    def count(module: torch.nn.Module, _inputs: object) -> None:
        if isinstance(module, Denoiser):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt

    with torch.nn.modules.module.register_module_forward_pre_hook(count):
        stop_at = 0
        inference.main(inference.Config(output_dir=tmp_path / "whole", **settings))
        num_windows, stop_at = len(calls), 3
        assert num_windows == 3
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            inference.main(inference.Config(output_dir=tmp_path / "stopped", **settings))
        assert len(list((tmp_path / "stopped").glob(".anna.windows/*.safetensors"))) == 2
        calls.clear()
        stop_at = 0
        inference.main(inference.Config(output_dir=tmp_path / "stopped", **settings))
        assert len(calls) == num_windows - 2
    whole, stopped = (tmp_path / name / "anna.mp4" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()
    assert not (tmp_path / "stopped" / ".anna.windows").exists()


def test_a_tiny_decoder_from_a_folder(run: Run, own: dict[str, Path], tmp_path: Path) -> None:
    tiny_decoder(PRESETS["tiny"]["latent_channels"]).save_pretrained(tmp_path / "taesd")
    clip = "--image", own["photo.png"], "--poses", own["skeletons"]
    plain, tiny = run(*clip), run(*clip, "--tiny_decoder", tmp_path / "taesd")
    assert plain["photo.mp4"] != tiny["photo.mp4"]
    assert json.loads(tiny["photo.json"])["tiny_decoder"].endswith("taesd")


@pytest.mark.parametrize("transpose", [False, True])
def test_the_person_is_not_distorted(own: dict[str, Path], transpose: bool) -> None:
    """A disc in the photo is as wide as it is high in what the model sees, in landscape too."""
    photo = np.full((200, 120, 3), 230, np.uint8)
    cv2.circle(photo, (60, 100), 45, (180, 20, 20), -1)
    write_png(own["photo.png"], np.ascontiguousarray(photo.transpose(1, 0, 2)) if transpose else photo)
    clip = Clip(name="photo", image=own["photo.png"], poses=own["skeletons"], prompt="")
    inputs = read_inputs(clip, None, 256, 128)
    rows, columns = np.nonzero(inputs.photo[..., 1] < 125)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=1)


def test_poses_and_joints_are_fitted_alike(own: dict[str, Path]) -> None:
    clip = Clip(name="photo", image=own["photo.png"], poses=own["skeletons"], prompt="")
    inputs = read_inputs(clip, 2, HEIGHT, WIDTH)
    assert inputs.poses.shape == (2, HEIGHT, WIDTH, 3) and inputs.image_joints is None
    np.testing.assert_allclose(inputs.joints[..., :2], figure_clip(2)[2][..., :2], atol=1)
    redrawn = [draw_pose(joints, HEIGHT, WIDTH) for joints in inputs.joints]
    np.testing.assert_array_equal(inputs.poses, redrawn)


def test_skeletons_without_readable_joints_are_resized(own: dict[str, Path]) -> None:
    for path in own["skeletons"].iterdir():
        write_png(path, read_image(path) // 255 * 90)
    clip = Clip(name="photo", image=own["photo.png"], poses=own["skeletons"], prompt="")
    poses = read_inputs(clip, None, HEIGHT, WIDTH).poses
    assert 0 < poses.max() <= 90


def test_the_photos_own_joints_from_json_and_from_a_picture(own: dict[str, Path], tmp_path: Path) -> None:
    """Both are mapped to where the photo lies in the model's frame: scaled by 32 / 90."""
    _, poses, joints = figure_clip(1, height=2 * HEIGHT)
    skeleton = np.zeros((150, 90, 3), np.uint8)
    skeleton[11:139, 13:77] = poses[0]
    write_png(tmp_path / "skeleton.png", skeleton)
    placed = joints[0] + (13, 11, 0)
    (tmp_path / "joints.json").write_text(json.dumps({"keypoints": placed.tolist()}))
    doubled = {"height": 300, "width": 180, "keypoints": [(placed * (2, 2, 1)).tolist()]}
    (tmp_path / "doubled.json").write_text(json.dumps(doubled))
    expected = placed[:, :2] * (32 / 90) + np.array([0, (64 - 53) // 2])
    for name in ("joints.json", "skeleton.png", "doubled.json"):
        clip = Clip(
            name="photo",
            image=own["photo.png"],
            poses=own["skeletons"],
            prompt="",
            image_joints=tmp_path / name,
        )
        found = read_inputs(clip, None, HEIGHT, WIDTH).image_joints
        np.testing.assert_allclose(found[:, :2], expected, atol=1)


def test_a_sentence_alone_moves_the_person(
    run: Run, own: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skeletons are made, shown and saved, and given again they make the same video."""
    joints = figure_clip(1, height=2 * HEIGHT)[2][0] + (13, 11, 0)
    (tmp_path / "joints.json").write_text(json.dumps({"keypoints": joints.tolist()}))
    photo = ("--image", own["photo.png"], "--prompt", SENTENCES[0])
    photo = (*photo, "--image_joints", tmp_path / "joints.json")
    flags = (*photo, "--num_frames", 6)
    files = run(*flags)
    expected = ["photo.json", "photo.mp4", "photo.png", "photo_poses", "photo_poses.json"]
    assert list(files) == expected
    poses = read_poses(tmp_path / "result_0" / "photo_poses")
    assert poses.shape == (6, HEIGHT, WIDTH, 3)
    assert read_video(tmp_path / "result_0" / "photo.mp4")[0].shape == (6, HEIGHT, WIDTH, 3)
    keypoints = np.array(json.loads(files["photo_poses.json"])["keypoints"])
    assert np.abs(keypoints[:, :, :2] - keypoints[:1, :, :2]).max() > 1

    saved = tmp_path / "result_0" / "photo_poses"
    clip = Clip(name="photo", image=own["photo.png"], poses=saved, prompt="")
    given = read_inputs(clip, None, HEIGHT, WIDTH)
    assert np.array_equal(given.joints, keypoints.astype(np.float32)) and np.array_equal(given.poses, poses)
    assert run(*photo, "--poses", saved, "--fit_poses", "off")["photo.mp4"] == files["photo.mp4"]
    assert run(*flags)["photo_poses.json"] == files["photo_poses.json"]
    assert run(*flags, "--seed", 1)["photo_poses.json"] != files["photo_poses.json"]
    other = [SENTENCES[2] if flag == SENTENCES[0] else flag for flag in flags]
    assert run(*other)["photo_poses.json"] != files["photo_poses.json"]


def test_the_photos_pose_is_found_in_the_whole_photo(run: Run, tmp_path: Path) -> None:
    clip = ROOT / "fashion_dataset" / "fashion_crop" / "test_00000"
    truth = json.loads((ROOT / "fashion_dataset" / "fashion_poses" / "test_00000.json").read_text())
    photo = np.pad(read_image(clip / "000.jpg"), ((20, 12), (70, 10), (0, 0)), mode="edge")
    write_png(tmp_path / "photo.png", photo)
    finder = shutil.copytree(SHIPPED_FINDER, tmp_path / "finder")
    flags = ("--image", tmp_path / "photo.png", "--prompt", SENTENCES[0], "--num_frames", 4)
    files = run(*flags, "--pose_finder", finder)
    first = np.array(json.loads(files["photo_poses.json"])["keypoints"])[0]
    looked_at = look_at_photo(tmp_path / "photo.png", HEIGHT, WIDTH, PoseFinder.from_pretrained())
    np.testing.assert_allclose(first, looked_at.found, atol=1e-3)
    placement = looked_at.placement
    true = placement.to_fitted(np.array(truth["keypoints"][0]) + np.array([70, 20, 0]))
    assert np.abs(first - true)[true[:, 2] > 0].max() < 0.04 * HEIGHT
    (finder / "pose_landmark_full.tflite").write_bytes(b"broken")
    with pytest.raises(SystemExit):
        run(*flags, "--pose_finder", finder)


def test_poses_of_another_body_are_fitted_to_the_photos(
    run: Run, own: dict[str, Path], tmp_path: Path
) -> None:
    joints = figure_clip(1, height=2 * HEIGHT)[2][0] + (13, 11, 0)
    (tmp_path / "joints.json").write_text(json.dumps({"keypoints": joints.tolist()}))
    flags = ("--image", own["photo.png"], "--poses", own["skeletons"], "--prompt", SENTENCES[0])
    files = run(*flags, "--image_joints", tmp_path / "joints.json", "--fit_poses")
    fitted = np.array(json.loads(files["photo_poses.json"])["keypoints"])
    clip = Clip(
        name="photo",
        image=own["photo.png"],
        poses=own["skeletons"],
        prompt="",
        image_joints=tmp_path / "joints.json",
    )
    finder = PoseFinder.from_pretrained()
    photo = look_at_photo(clip.image, HEIGHT, WIDTH, finder, clip.image_joints)
    inputs = read_inputs(clip, None, HEIGHT, WIDTH, photo=photo)
    np.testing.assert_allclose(fitted, retarget(inputs.joints, inputs.image_joints), atol=1e-3)
    np.testing.assert_allclose(fitted[0, :, :2], inputs.image_joints[:, :2], atol=1.5)
    assert "photo_poses" not in run(*flags, "--image_joints", tmp_path / "joints.json", "--fit_poses", "off")


def test_every_flag_changes_the_video(run: Run, own: dict[str, Path], tmp_path: Path) -> None:
    _, poses, _ = figure_clip(4)
    write_png(tmp_path / "skeleton.png", poses[3])
    flags = ["--image", own["photo.png"], "--poses", own["skeletons"], "--prompt", SENTENCES[1]]
    videos = {"": run(*flags)["photo.mp4"]}
    for change in (
        "--prompt=She raises her arm.",
        "--image_guidance_scale=2",
        "--pose_guidance_scale=2",
        "--text_guidance_scale=3",
        "--seed=1",
        "--num_frames=3",
        "--fps=8",
        "--height=96",
        "--width=64",
        "--scheduler=ddpm",
        "--num_inference_steps=3",
        "--dtype=bfloat16",
        f"--image_joints={tmp_path / 'skeleton.png'}",
    ):
        name, value = change.split("=")
        rest = [f for i, f in enumerate(flags) if not (name == "--prompt" and i >= 4)]
        videos[change] = run(*rest, name, value)["photo.mp4"]
    equal = [(a, b) for a, b in itertools.combinations(videos, 2) if videos[a] == videos[b]]
    assert not equal


def test_a_denoiser_folder_borrows_the_shipped_models_other_parts(
    run: Run, tiny_dataset_dir: Path, tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("--dataset", tiny_dataset_dir)
    monkeypatch.setattr(loading, "SHIPPED_MODEL", tiny_pipeline_dir)
    denoiser = shutil.copytree(tiny_pipeline_dir / "denoiser", tmp_path / "denoiser")
    parts = run("--dataset", tiny_dataset_dir, "--pretrained_model", denoiser)
    assert parts["anna.mp4"] == whole["anna.mp4"]


def test_vae_and_text_encoder_can_be_exchanged(
    run: Run, tiny_dataset_dir, tiny_pipeline_dir: Path, tmp_path
) -> None:
    folder = tiny_pipeline_dir
    flags = ("--dataset", tiny_dataset_dir)
    whole = run(*flags)
    same = run(*flags, "--vae", folder / "vae", "--text_encoder", folder / "text_encoder")
    assert same["anna.mp4"] == whole["anna.mp4"]


def test_a_bad_command_is_one_line_and_writes_nothing(
    run: Run, own: dict[str, Path], tiny_dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = ("--dataset", tiny_dataset_dir)
    user = ("--image", own["photo.png"], "--poses", own["skeletons"])
    sentence = ("--image", own["photo.png"], "--prompt", "She turns.")
    (tmp_path / "trunkless.json").write_text(json.dumps({"keypoints": [[0, 0, 0]] * 18}))
    (tmp_path / "broken.png").write_bytes(own["photo.png"].read_bytes()[:200])
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (tmp_path / "joints.json").write_text('{"keypoints": [[1, 2, 3]]}')
    (tmp_path / "nan.json").write_text(json.dumps({"keypoints": [[1, float("nan"), 1]] * 18}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("text")
    write_png(tmp_path / "empty.png", np.full((150, 90, 3), 220, np.uint8))
    write_png(tmp_path / "wide.png", np.zeros((20, 20_000, 3), np.uint8))
    cases = [
        (("--image", own["photo.png"]), "needs a --prompt"),
        (("--image", own["photo.png"], "--prompt", "She turns.", "--fit_poses"), "goes with --poses"),
        (("--image", tmp_path / "empty.png", *sentence[2:]), "empty.png; give a photo of one whole person"),
        ((*sentence, "--pose_finder", tmp_path / "empty"), "pose_landmark_full.tflite cannot be read"),
        ((*sentence, "--text_to_poses", tmp_path / "empty"), "holds no text-to-poses model"),
        ((*sentence, "--image_joints", tmp_path / "trunkless.json"), "shows 0 of 18 joints"),
        (("--poses", own["skeletons"]), "goes with --image"),
        (("--prompt", "hello"), "goes with --image"),
        ((*user, "--text_guidance_scale", 3), "needs a --prompt"),
        ((*user, "--num_frames", 5), "4 poses, 5 are needed"),
        ((*dataset, "--num_frames", 7), "clip anna has 6 poses"),
        ((*user, "--num_frames", 0), "must be at least 1"),
        ((*dataset, "--num_frames", -1), "must be at least 1"),
        ((*dataset, "--height", 70), "take 64 or 96"),
        ((*dataset, "--width", 33), "take 32 or 64"),
        ((*dataset, "--fps", 0), "fps is 0"),
        ((*dataset, "--num_inference_steps", 0), "num_inference_steps is 0"),
        ((*dataset, "--num_inference_steps", 1001), "it can be at most that"),
        ((*dataset, "--device", "toaster"), "--device toaster"),
        ((*dataset, "--pretrained_model", tmp_path / "empty"), "not a denoiser folder"),
        ((*dataset, "--pretrained_model", tmp_path / "evil.pth"), "add --vae"),
        ((*dataset, "--vae", tmp_path / "empty"), "not a VAE folder"),
        (("--dataset", tmp_path / "empty"), "there is no folder"),
        (("--image", tmp_path / "broken.png", "--poses", own["skeletons"]), "broken.png"),
        (("--image", own["photo.png"], "--poses", tmp_path / "empty"), "holds no frames"),
        ((*user, "--image_joints", tmp_path / "joints.json"), "joints of shape (3,)"),
        (("--image", tmp_path / "wide.png", "--poses", own["skeletons"]), "wide.png"),
        ((*user, "--image_joints", tmp_path / "nan.json"), "shows 0 of 18 joints"),
        ((*user, "--height", 64_000), "at most 4096"),
        ((*user, "--image_guidance_scale", "nan"), "image_guidance_scale is nan"),
        ((*dataset, "--num_inference_steps", 1001), "at most that"),
        ((*dataset, "--output_dir", tmp_path / "a_file"), "is a file"),
        ((*dataset, "--output_dir", tmp_path / "a_file" / "result"), "is a file"),
    ]
    for number, (flags, message) in enumerate(cases):
        with pytest.raises(SystemExit) as exit_info:
            run(*flags)
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        error = lines[-1]
        # Above the error there is no more than a progress bar.
        assert all("%|" in line for line in lines[:-1]), lines
        assert exit_info.value.code == 2 and error.startswith("error: ") and message in error, (flags, error)
        assert not (tmp_path / f"result_{number}").exists(), flags


def test_a_mistake_in_the_last_clip_is_told_before_the_first_is_made(
    run, tiny_dataset_dir, tmp_path, capsys
) -> None:
    (tiny_dataset_dir / "fashion_poses" / "berta" / "005.png").unlink()
    with pytest.raises(SystemExit):
        run("--dataset", tiny_dataset_dir)
    assert "berta" in capsys.readouterr().err
    assert not (tmp_path / "result_0").exists()


def test_a_clips_seed_depends_on_seed_and_name() -> None:
    seeds = {clip_seed(seed, name) for seed in (0, 1) for name in ("anna", "berta")}
    assert len(seeds) == 4
    torch.Generator().manual_seed(max(seeds))


def test_as_a_program(tiny_pipeline_dir: Path, tiny_dataset_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "inference.py", "--pretrained_model", tiny_pipeline_dir]
    command += [
        "--dataset",
        tiny_dataset_dir,
        "--output_dir",
        tmp_path / "result",
        "--num_inference_steps",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "result") in done.stdout and len(list((tmp_path / "result").iterdir())) == 6


@pytest.mark.slow
@pytest.mark.skipif(not REAL_INPUTS.is_dir(), reason="the real inputs are not here")
@pytest.mark.parametrize("photo", ["silver.jpg", "blue.jpg", "portrait.png"])
def test_real_photos_and_skeletons(run: Run, tmp_path: Path, photo: str) -> None:
    files = run("--image", REAL_INPUTS / photo, "--poses", REAL_INPUTS / "skeletons.mp4", "--num_frames", 8)
    stem = Path(photo).stem
    assert sorted(files) == [f"{stem}.json", f"{stem}.mp4", f"{stem}.png"]
    frames, _ = read_video(tmp_path / "result_0" / f"{stem}.mp4")
    assert frames.shape == (8, HEIGHT, WIDTH, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_published_checkpoint_at_its_own_size(own: dict[str, Path], tmp_path: Path) -> None:
    """Random weights of the published sizes: denoiser, Stable Diffusion's VAE, CLIP ViT-L/14's text half."""
    torch.save({**seeded_checkpoint(), "opt": {}, "epoch": 3}, tmp_path / "model_3.pth")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512],
            layers_per_block=2,
            latent_channels=4,
        ).save_pretrained(tmp_path / "vae")
        CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
            )
        ).save_pretrained(tmp_path / "text_encoder")
    tiny_tokenizer(tmp_path / "text_encoder")
    flags = ["--pretrained_model", tmp_path / "model_3.pth", "--vae", tmp_path / "vae"]
    flags += ["--text_encoder", tmp_path / "text_encoder", "--image", own["photo.png"]]
    flags += ["--poses", own["skeletons"], "--prompt", SENTENCES[0], "--num_frames", 4]
    flags += ["--num_inference_steps", 1, "--output_dir", tmp_path / "result"]
    command = [sys.executable, "inference.py", *map(str, flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frames, _ = read_video(tmp_path / "result" / "photo.mp4")
    assert frames.shape == (4, 512, 256, 3)
