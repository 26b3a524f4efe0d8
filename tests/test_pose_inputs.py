"""Poses of every form through inference.py, at toy size: drawn anew, and our own to the last bit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
from data.pose_formats import read_pose_track
from generation.inputs import Clip, read_inputs
from tests.toys import HEIGHT, SENTENCES, WIDTH, figure_clip, write_openpose_json
from utils.errors import UserError
from utils.image import read_image, write_png
from utils.pose_drawing import draw_pose
from utils.video import read_video, write_gif, write_video

ROOT = Path(__file__).resolve().parents[1]
FRAMES, POSES, JOINTS = figure_clip(4, height=256)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_png(tmp_path / "photo.png", FRAMES[0])
    return tmp_path / "photo.png"


def given(photo: Path, form: str) -> Path:
    path = photo.parent / form
    if form == "openpose.json":
        write_openpose_json(path, JOINTS, 256, 128)
    elif form == "own.json":
        path.write_text(json.dumps({"height": 256, "width": 128, "keypoints": JOINTS.tolist()}))
    elif form.endswith(".gif"):
        write_gif(path, POSES, 8)
    elif form.endswith(".mp4"):
        write_video(path, POSES, 8)
    else:
        for index, pose in enumerate(POSES):
            picture = np.where(pose.any(axis=2, keepdims=True), pose, 255) if form == "white" else pose
            picture = picture[..., ::-1] if form == "swapped" else picture
            write_png(path / f"frame_{index + 7:04d}.png", np.ascontiguousarray(picture, np.uint8))
    return path


FORMS = ["series", "white", "swapped", "openpose.json", "own.json", "poses.gif", "poses.mp4"]


@pytest.mark.parametrize("form", FORMS)
def test_poses_of_every_form_are_drawn_anew_on_black(photo: Path, form: str) -> None:
    clip = Clip(name="photo", image=photo, poses=given(photo, form), prompt="")
    inputs = read_inputs(clip, None, 256, 128)
    assert inputs.joints is not None and inputs.poses is not None
    seen = inputs.joints[..., 2] > 0
    assert seen.mean() > 0.9 and np.abs(inputs.joints - JOINTS)[seen].max() < 2
    if form == "series":
        assert np.array_equal(inputs.poses[:], POSES)
    else:
        assert np.array_equal(inputs.poses[:], [draw_pose(frame, 256, 128) for frame in inputs.joints])


@pytest.mark.parametrize("form", ["openpose.json", "swapped"])
def test_the_command_takes_them(tiny_pipeline_dir: Path, photo: Path, tmp_path: Path, form: str) -> None:
    settings = {"pretrained_model": tiny_pipeline_dir, "num_inference_steps": 1, "dtype": "float32"}
    path = given(photo, form)
    config = inference.Config(image=photo, poses=path, output_dir=tmp_path / "out", **settings)
    inference.main(config)
    assert read_video(tmp_path / "out" / "photo.mp4")[0].shape == (4, HEIGHT, WIDTH, 3)


def test_an_openpose_file_as_the_photos_joints(photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "joints.json"
    write_openpose_json(path, JOINTS[:1], 256, 128)
    clip = Clip(name="photo", image=photo, poses=None, prompt=SENTENCES[0], image_joints=path)
    found = read_inputs(clip, None, 256, 128).image_joints
    np.testing.assert_allclose(found, JOINTS[0], atol=0.01)


def test_joints_beside_our_own_skeletons_are_exact(photo: Path, tmp_path: Path) -> None:
    for index, pose in enumerate(POSES):
        write_png(tmp_path / "poses" / f"{index:03d}.png", pose)
    document = {"height": 256, "width": 128, "keypoints": JOINTS.tolist()}
    (tmp_path / "poses.json").write_text(json.dumps(document))
    clip = Clip(name="photo", image=photo, poses=tmp_path / "poses", prompt="")
    inputs = read_inputs(clip, None, 256, 128)
    assert np.array_equal(inputs.joints, JOINTS) and np.array_equal(inputs.poses, POSES)
    assert np.array_equal(read_image(tmp_path / "poses" / "000.png"), POSES[0])


@pytest.mark.parametrize("scale", [1, 2])
def test_joints_beside_skeletons_of_any_name_and_from_inside_the_folder(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: int
) -> None:
    for index, pose in enumerate(POSES):
        write_png(tmp_path / "poses" / f"frame_{index + 1:04d}.png", pose)
    exact = JOINTS + np.float32([0.25, 0.25, 0])
    placed = (exact[..., :2] + 0.5) * scale - 0.5
    joints = np.concatenate([placed, JOINTS[..., 2:]], axis=2)
    document = {"height": 256 * scale, "width": 128 * scale, "keypoints": joints.tolist()}
    (tmp_path / "poses.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path / "poses")
    for path in (tmp_path / "poses", Path(), Path("../poses/."), Path("../poses/x/..")):
        (tmp_path / "poses" / "x").mkdir(exist_ok=True)
        clip = Clip(name="photo", image=photo, poses=path, prompt="")
        found = read_inputs(clip, None, 256, 128).joints
        assert found is not None and np.abs(found - exact)[JOINTS[..., 2] > 0].max() < 0.01


def test_skeletons_without_the_first_ones_are_not_moved_by_their_joints(photo: Path, tmp_path: Path) -> None:
    for index, pose in enumerate(POSES):
        write_png(tmp_path / "poses" / f"{index:03d}.png", pose)
    document = {"height": 256, "width": 128, "keypoints": JOINTS.tolist()}
    (tmp_path / "poses.json").write_text(json.dumps(document))
    clip = Clip(name="photo", image=photo, poses=tmp_path / "poses", prompt="")
    assert len(read_inputs(clip, None, 256, 128).poses) == len(POSES)
    (tmp_path / "poses" / "000.png").unlink()
    with pytest.raises(UserError, match=r"begins with 001\.png, and .*poses\.json has the joints of"):
        read_inputs(clip, None, 256, 128)


def test_the_command_takes_the_folder_it_is_run_in(
    tiny_pipeline_dir: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"pretrained_model": tiny_pipeline_dir, "num_inference_steps": 1, "dtype": "float32"}
    monkeypatch.chdir(given(photo, "series"))
    inference.main(inference.Config(image=photo, poses=Path(), output_dir=tmp_path / "out", **settings))
    assert (tmp_path / "out" / "photo.mp4").is_file()


def test_fewer_poses_than_frames_are_told(photo: Path) -> None:
    clip = Clip(name="photo", image=photo, poses=given(photo, "own.json"), prompt="")
    with pytest.raises(UserError, match="4 poses, 9 are needed"):
        read_inputs(clip, 9, 256, 128)


def test_joints_are_saved_as_openpose_files_that_are_read_again(
    tiny_pipeline_dir: Path, photo: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "inference.py", "--image", photo, "--poses", given(photo, "own.json")]
    command += ["--pretrained_model", tiny_pipeline_dir, "--num_inference_steps", 1, "--dtype", "float32"]
    command += ["--save_joints", "openpose", "--output_dir", tmp_path / "out"]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, capture_output=True)
    folder = tmp_path / "out" / "photo_openpose"
    names = [path.name for path in sorted(folder.iterdir())]
    assert names == [f"photo_{number:012d}_keypoints.json" for number in range(4)]
    document = json.loads((folder / names[0]).read_text())
    assert document["canvas_height"] == HEIGHT and len(document["people"][0]["pose_keypoints_2d"]) == 54
    track = read_pose_track(folder)
    assert (track.height, track.width) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(track.keypoints[..., :2], (JOINTS[..., :2] + 0.5) / 4 - 0.5, atol=0.01)
    (folder / "mine.txt").write_text("notes")
    refused = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and "photo_openpose is not as it was written" in refused.stderr
