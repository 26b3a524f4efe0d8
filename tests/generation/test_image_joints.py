"""--image_joints in every form, and compared with the pose that is found in the photo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.pose_json import read_pose_json
from generation.image_joints import OTHER_SIDE, look_at_image_joints, read_image_joints
from generation.photo import look_at_photo
from models.pose_finder import PoseFinder
from tests.toys import SENTENCES, write_openpose_json
from utils.errors import UserError
from utils.image import write_png
from utils.pose_drawing import draw_pose

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "fashion_dataset/fashion_crop/test_00000/000.jpg"
TRUE = read_pose_json(ROOT / "fashion_dataset/fashion_poses/test_00000.json").keypoints[0]


def write(path: Path, **document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"width": -256, "height": 512}, '"width" -256; give pixels'),
        ({"width": float("nan"), "height": 512}, '"width" nan; give pixels'),
        ({"width": 256}, '"height" is None'),
        ({"keypoints": (TRUE * (1e7, 1e7, 1)).tolist()}, "shows 0 of 18 joints"),
        ({"keypoints": (TRUE * (50, 50, 1)).tolist()}, "lie outside the photo of 256 x 512 pixels"),
        ({"keypoints": (TRUE * (0, 0, 1) + (99, 99, 0)).tolist()}, r"lie within 0\.0 pixels"),
        ({"keypoints": (TRUE * (1, -1, 1) + (0, 512, 0)).tolist()}, "stand on their head"),
        ({"keypoints": "abc"}, "no regular list of numbers"),
    ],
)
def test_what_is_no_pose_in_the_photo_is_one_line(tmp_path: Path, document: dict, message: str) -> None:
    path = write(tmp_path / "joints.json", **{"keypoints": TRUE.tolist(), **document})
    with pytest.raises(UserError, match=message) as error:
        read_image_joints(path, 512, 256)
    assert "\n" not in str(error.value) and "joints.json" in str(error.value)


def test_relative_coordinates_are_of_the_photo(tmp_path: Path) -> None:
    relative = TRUE.copy()
    relative[:, :2] = (relative[:, :2] + 0.5) / (256, 512)
    for size in ({}, {"width": 1, "height": 1}):
        path = write(tmp_path / "joints.json", keypoints=relative.tolist(), **size)
        np.testing.assert_allclose(read_image_joints(path, 512, 256)[:, :2], TRUE[:, :2], atol=0.01)


def test_of_several_people_the_one_found_in_the_photo_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    write_openpose_json(path, TRUE[None], 512, 256)
    document = json.loads(path.read_text())
    other = TRUE * (1.05, 1.05, 1) + (30, 0, 0)
    document[0]["people"].append({"pose_keypoints_2d": other.ravel().tolist()})
    path.write_text(json.dumps(document))
    near = TRUE + np.array((2, 2, 0))
    np.testing.assert_allclose(read_image_joints(path, 512, 256, near), TRUE, atol=0.01)
    np.testing.assert_allclose(read_image_joints(path, 512, 256), other, atol=0.01)


def test_a_skeleton_picture_of_another_size(tmp_path: Path) -> None:
    write_png(tmp_path / "joints.png", draw_pose(TRUE * (2, 2, 1), 1024, 512))
    joints = read_image_joints(tmp_path / "joints.png", 512, 256)
    assert np.abs(joints - TRUE)[joints[:, 2] > 0, :2].max() < 1


def test_wrong_and_exchanged_joints_are_told_beside_what_is_found() -> None:
    assert not look_at_image_joints(TRUE, TRUE, None)
    (wrong,) = look_at_image_joints(TRUE * (0.3, 0.3, 1), TRUE, None)
    assert (
        (wrong.code, wrong.severity) == ("wrong_joints", "refusal") and wrong.figure > 0.25 and wrong.remedy
    )
    shifted = TRUE + np.array((60, 0, 0))
    (off,) = look_at_image_joints(shifted, TRUE, None)
    assert (off.code, off.severity) == ("wrong_joints", "warning")
    assert not look_at_image_joints(shifted, TRUE, shifted)  # somebody else stands there
    (mirrored,) = look_at_image_joints(TRUE[OTHER_SIDE], TRUE, None)
    assert (mirrored.code, mirrored.severity) == ("mirrored_joints", "warning")


def test_the_photos_look_says_so(tmp_path: Path) -> None:
    finder = PoseFinder.from_pretrained()
    right = write(tmp_path / "right.json", keypoints=TRUE.tolist())
    assert not look_at_photo(PHOTO, 256, 128, finder, right).findings
    mirrored = write(tmp_path / "mirrored.json", keypoints=TRUE[OTHER_SIDE].tolist())
    (finding,) = look_at_photo(PHOTO, 256, 128, finder, mirrored).findings
    assert finding.code == "mirrored_joints"


def test_the_command_refuses_joints_of_another_photo(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong.json", keypoints=(TRUE * (0.3, 0.3, 1)).tolist())
    command = [sys.executable, "inference.py", "--image", PHOTO, "--image_joints", wrong]
    command += ["--prompt", SENTENCES[0], "--pretrained_model", tiny_pipeline_dir, "--num_frames", 2]
    command += ["--output_dir", tmp_path / "out"]
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 2 and "body heights from the pose that is found" in done.stderr
    assert not (tmp_path / "out").exists()
