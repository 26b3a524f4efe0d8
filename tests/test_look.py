"""What inference.py says of its inputs, mends and refuses, at toy size."""

import json
from pathlib import Path

import numpy as np
import pytest

import inference
from generation.look import check_inputs
from tests.test_pose_inputs import FRAMES, JOINTS, POSES, given
from tests.toys import SENTENCES
from utils.errors import UserError
from utils.image import write_png
from utils.video import read_video, write_video


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
    for index, frame in enumerate(FRAMES):
        write_png(tmp_path / "raw" / f"{index:03d}.png", frame)
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
