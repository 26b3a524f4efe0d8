"""What inference.py says of its inputs, mends and refuses, at toy size."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inference
from data.pose_formats import read_pose_track
from data.pose_track import PoseTrack
from generation.look import check_inputs
from generation.pose_findings import look_at_track
from generation.tracks import read_track
from tests.test_pose_inputs import FRAMES, JOINTS, POSES, given
from tests.toys import SENTENCES, figure_joints
from utils.errors import UserError
from utils.image import read_image, write_png
from utils.pose_drawing import draw_pose
from utils.video import read_video, write_video

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def settings(tiny_pipeline_dir: Path, tmp_path: Path) -> dict[str, object]:
    write_png(tmp_path / "photo.png", FRAMES[0])
    (tmp_path / "joints.json").write_text(json.dumps({"keypoints": JOINTS[0].tolist()}))
    settings = {"pretrained_model": tiny_pipeline_dir, "num_inference_steps": 1, "dtype": "float32"}
    settings |= {"image": tmp_path / "photo.png", "image_joints": tmp_path / "joints.json"}
    return settings | {"output_dir": tmp_path / "out"}


def make(settings: dict[str, object], **flags: object) -> None:
    inference.main(inference.Config(**{**settings, **flags}))  # type: ignore[arg-type]


def test_what_is_no_skeleton_is_refused(settings: dict[str, object], tmp_path: Path) -> None:
    for index in range(4):
        write_png(tmp_path / "raw" / f"{index:03d}.png", np.full((256, 128, 3), 60 * index, np.uint8))
    with pytest.raises(UserError, match="expected skeletons, but"):
        make(settings, poses=tmp_path / "raw")
    assert not (tmp_path / "out").exists()


def test_poses_of_another_place_are_fitted_by_themselves(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shifted = JOINTS * (0.7, 0.7, 1) + (30, 0, 0)
    document = {"height": 256, "width": 128, "keypoints": shifted.tolist()}
    (tmp_path / "poses.json").write_text(json.dumps(document))
    make(settings, poses=tmp_path / "poses.json")
    assert "fitted to the photo" in capsys.readouterr().out
    assert (tmp_path / "out" / "photo_poses").is_dir()
    make(settings, poses=tmp_path / "poses.json", fit_poses="off", output_dir=tmp_path / "off")
    assert "fit them with --fit_poses on" in capsys.readouterr().out
    assert not (tmp_path / "off" / "photo_poses").exists()
    with pytest.raises(UserError, match="--strict"):
        make(settings, poses=tmp_path / "poses.json", fit_poses="off", strict=True)


def test_the_drivers_rate_is_kept_unless_another_is_given(
    settings: dict[str, object], tmp_path: Path
) -> None:
    write_video(tmp_path / "poses.mp4", POSES, 30)
    make(settings, poses=tmp_path / "poses.mp4")
    assert read_video(tmp_path / "out" / "photo.mp4")[1] == pytest.approx(30)
    make(settings, poses=tmp_path / "poses.mp4", fps=8)
    assert read_video(tmp_path / "out" / "photo.mp4")[1] == 8


def test_the_report_is_printed_and_nothing_made(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = given(tmp_path / "photo.png", "swapped")
    make(settings, poses=poses, prompt=SENTENCES[0], check_inputs=True)
    assert "red and blue of the skeletons were exchanged" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    report = check_inputs(tmp_path / "photo.png", poses, image_joints=tmp_path / "joints.json")
    assert report.has("swapped_colors") and not report.refused


def test_unknown_and_blank_sentences(settings: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="the sentence is blank"):
        make(settings, prompt="  ", num_frames=4)
    make(settings, prompt="她向左转", num_frames=4, check_inputs=True)
    assert "knows no word" in capsys.readouterr().out


def test_nobody_in_the_photo_is_said(tmp_path: Path) -> None:
    write_png(tmp_path / "empty.png", np.full((256, 128, 3), 200, np.uint8))
    poses = given(tmp_path / "photo.png", "own.json")
    assert check_inputs(tmp_path / "empty.png", poses).has("no_person")


def test_the_video_is_laid_back_into_the_photo(
    tiny_pipeline_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = read_image(ROOT / "fashion_dataset/fashion_crop/test_00000/000.jpg")
    photo = np.pad(frame, ((60, 41), (200, 345), (0, 0)), mode="edge")
    write_png(tmp_path / "photo.png", photo)
    command = [sys.executable, "inference.py", "--image", tmp_path / "photo.png", "--prompt", SENTENCES[0]]
    command += ["--pretrained_model", tiny_pipeline_dir, "--num_inference_steps", 1, "--num_frames", 2]
    command += ["--frame", "photo", "--output_dir", tmp_path / "out"]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, capture_output=True)
    video, _ = read_video(tmp_path / "out" / "photo.mp4")
    assert video.shape == (2, 612, 800, 3)
    away = np.abs(video.astype(int) - photo[:612, :800]).max(axis=3)
    assert np.percentile(away[:, :, :180], 99) < 8 and np.percentile(away[:, :, 620:], 99) < 8
    assert json.loads((tmp_path / "out" / "photo.json").read_text())["frame"] == "photo"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_no_terminal_and_no_folder_ends_a_run(tmp_path: Path, encoding: str) -> None:
    write_png(tmp_path / "photo.png", FRAMES[0])
    command = [sys.executable, str(ROOT / "inference.py"), "--image", "photo.png", "--check_inputs"]
    command += ["--prompt", "Она поворачивается.", "--poses", str(given(tmp_path / "photo.png", "own.json"))]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "knows no word of '\\u041e" in done.stdout


@pytest.mark.parametrize("number", [0, -4])
def test_no_frames_are_refused(settings: dict[str, object], number: int) -> None:
    with pytest.raises(UserError, match=f"--num_frames {number} must be at least 1"):
        make(settings, prompt=SENTENCES[0], num_frames=number)


def test_blank_frames_of_own_skeletons_are_filled(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joints = JOINTS.copy()
    joints[1] = 0
    for index, frame in enumerate(joints):
        write_png(tmp_path / "own" / f"{index:03d}.png", draw_pose(frame, 256, 128))
    (tmp_path / "own.json").write_text(
        json.dumps({"height": 256, "width": 128, "keypoints": joints.tolist()})
    )
    make(settings, poses=tmp_path / "own", save_joints="openpose")
    assert "frame 1 of the poses show nobody; filled from neighbours" in capsys.readouterr().out
    saved = read_pose_track(tmp_path / "out" / "photo_openpose").keypoints
    np.testing.assert_allclose(saved[1], (saved[0] + saved[2]) / 2, atol=0.01)


def own_folder(folder: Path, beside: object) -> Path:
    for index, frame in enumerate(JOINTS):
        write_png(folder / f"{index:03d}.png", draw_pose(frame, 256, 128))
    folder.with_name(f"{folder.name}.json").write_text(json.dumps(beside))
    return folder


@pytest.mark.parametrize("beside", [{"nodes": [1, 2]}, [{"people": []}], 5])
def test_a_foreign_json_beside_the_skeletons_is_ignored(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str], beside: object
) -> None:
    poses = own_folder(tmp_path / "own", beside)
    make(settings, poses=poses, check_inputs=True)
    told = capsys.readouterr().out
    assert "own.json lies beside the poses and does not hold their joints; the pictures are read" in told
    track = read_track(poses, 0, None)
    assert np.abs(track.keypoints - JOINTS)[track.seen].max() < 1


def test_saved_poses_keep_their_rate(settings: dict[str, object], tmp_path: Path) -> None:
    shifted = JOINTS * (0.7, 0.7, 1) + (30, 0, 0)
    document = {"height": 256, "width": 128, "fps": 25, "keypoints": shifted.tolist()}
    (tmp_path / "poses.json").write_text(json.dumps(document))
    make(settings, poses=tmp_path / "poses.json", save_joints="openpose")
    for saved in ("photo_poses", "photo_poses.json", "photo_openpose"):
        out = tmp_path / saved.replace(".", "_")
        make(settings, poses=tmp_path / "out" / saved, output_dir=out)
        assert read_video(out / "photo.mp4")[1] == 25
    make(settings, prompt=SENTENCES[0], num_frames=4, fps=8, output_dir=tmp_path / "text")
    assert json.loads((tmp_path / "text" / "photo_poses.json").read_text())["fps"] == 8


def test_the_first_pose_is_compared_with_the_photos(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(joints: np.ndarray) -> str:
        document = {"height": 256, "width": 128, "keypoints": joints.tolist()}
        (tmp_path / "poses.json").write_text(json.dumps(document))
        make(settings, poses=tmp_path / "poses.json", check_inputs=True)
        return capsys.readouterr().out

    assert "note: the first of the poses is the photo's (" in told(JOINTS)
    raised = JOINTS * (0.7, 0.7, 1) + (30, 0, 0)  # of another size: it is fitted
    raised[:, 7, :2] = raised[:, 5, :2] + (10, -50)
    report = told(raised)
    assert "fitted to the photo" in report
    assert re.search(
        r"not the photo's \(left wrist is 0\.\d+ body heights away\); --image_joints are used", report
    )


def test_what_cannot_be_laid_back_is_told_by_the_look(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "empty.png", np.full((256, 128, 3), 200, np.uint8))
    flags = settings | {"image_joints": None, "poses": own_folder(tmp_path / "own", {"nodes": []})}
    flags["image"] = tmp_path / "empty.png"
    make(flags, check_inputs=True)
    capsys.readouterr()
    with pytest.raises(UserError, match=r"no person was found in .* to lay the video back to; give a photo"):
        make(flags, check_inputs=True, frame="photo")
    assert "refusal: no person was found" in capsys.readouterr().out


def test_a_negative_seed_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"--seed -1 must be at least 0 .*; give 0"):
        make(settings, prompt=SENTENCES[0], seed=-1)


def test_much_that_compression_spoiled_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    joints = np.repeat(figure_joints(1, 256), 12, axis=0)
    joints[rng.random(joints.shape[:2]) < 0.15, :2] += 40
    track = PoseTrack(
        keypoints=joints,
        confidences=np.ones((12, 18), np.float32),
        height=256,
        width=128,
        medium="lossy",
        people=np.ones(12, int),
        sources=("poses.mp4",) * 12,
    )
    codes = {each.code: each.severity for each in look_at_track(track)}
    assert codes["very_lossy"] == "warning"
    exact = dataclasses.replace(track, medium="exact")
    assert "very_lossy" not in {each.code for each in look_at_track(exact)}


def test_half_a_person_is_not_moved_by_a_sentence(settings: dict[str, object], tmp_path: Path) -> None:
    whole = read_image(ROOT / "fashion_dataset/fashion_crop/test_00000/000.jpg")
    write_png(tmp_path / "half.png", np.kron(whole[110:260, 60:200], np.ones((2, 2, 1), np.uint8)))
    flags = settings | {"image": tmp_path / "half.png", "image_joints": None, "num_frames": 4}
    with pytest.raises(UserError, match=r"doubtful whether|no person was found"):
        make(flags, prompt=SENTENCES[0])
    poses = given(tmp_path / "photo.png", "own.json")
    report = check_inputs(tmp_path / "half.png", poses)
    assert {"doubtful_person", "no_person"} & {each.code for each in report.of("warning")}
    with pytest.raises(UserError, match="--strict"):
        make(flags | {"num_frames": None}, poses=poses, strict=True)


def test_a_variable_rate_is_said(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [Image.fromarray(pose) for pose in POSES]
    pictures[0].save(
        tmp_path / "p.gif", save_all=True, append_images=pictures[1:], duration=[100, 100, 400, 100], loop=0
    )
    make(settings, poses=tmp_path / "p.gif", check_inputs=True)
    assert (
        "the poses have a variable frame rate; resampled at their usual 10 a second"
        in capsys.readouterr().out
    )
