"""Joints read from skeleton pictures and from JSON."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.pose_formats import read_pose_track
from utils.errors import UserError
from utils.image import write_png
from utils.pose_drawing import COLORS, NUM_JOINTS, draw_pose
from utils.video import iter_video, read_video
from warping import load_joints, read_joints, scale_joints

STANDING = np.array(
    [
        (0, -0.42), (0, 0), (-0.35, 0.03), (-0.42, 0.55), (-0.45, 0.95),
        (0.35, 0.03), (0.42, 0.55), (0.45, 0.95),
        (-0.2, 1), (-0.22, 1.8), (-0.22, 2.6), (0.2, 1), (0.22, 1.8), (0.22, 2.6),
        (-0.07, -0.5), (0.07, -0.5), (-0.17, -0.45), (0.17, -0.45),
    ]
)  # fmt: skip
SKELETONS = Path(__file__).resolve().parents[1] / "../shared/real_inputs/skeletons.mp4"


def standing(height: int) -> np.ndarray:
    joints = np.ones((NUM_JOINTS, 3), np.float32)
    joints[:, :2] = STANDING * height / 4.6 + (height / 4, height * 0.22)
    return joints


@pytest.mark.parametrize("height", [64, 128, 256, 512, 1024])
def test_every_drawn_joint_is_read_back_within_a_pixel(height):
    rng = np.random.default_rng(height)
    for _ in range(4):
        joints = standing(height)
        joints[:, :2] += rng.normal(0, 0.01 * height, (NUM_JOINTS, 2))
        joints[rng.integers(NUM_JOINTS), 2] = 0
        found = read_joints(draw_pose(joints, height, height // 2))
        hidden = (found[:, 2] == 0) & (joints[:, 2] > 0)
        if height >= 256:  # below, a whole dot may lie under another
            assert not hidden.any()
        both = (joints[:, 2] > 0) & (found[:, 2] > 0)
        assert np.array_equal(found[:, 2] > 0, (joints[:, 2] > 0) & ~hidden)
        assert np.abs(found - joints)[both].max() <= 1


def test_a_gif_that_merges_the_colours_of_dots_is_read(tmp_path: Path) -> None:
    joints = np.stack([standing(512) + np.array((2 * i, 0, 0)) for i in range(4)])
    pictures = []
    for frame in joints:
        picture = draw_pose(frame, 512, 256)
        for number, color in enumerate(COLORS):
            picture[(picture == color).all(axis=2)] = ((200, 200, 60), (60, 200, 120))[number % 2]
        pictures.append(Image.fromarray(picture))
    pictures[0].save(tmp_path / "few.gif", save_all=True, append_images=pictures[1:], duration=100)
    track = read_pose_track(tmp_path / "few.gif")
    assert track.palette is not None and "few colours" in track.palette and track.medium == "lossy"
    body = np.arange(1, 14)
    assert track.seen[:, body].all()
    assert np.hypot(*np.moveaxis((track.keypoints - joints)[:, body, :2], -1, 0)).max() < 4


@pytest.mark.skipif(not SKELETONS.exists(), reason="needs the video shared/real_inputs/skeletons.mp4")
def test_a_real_drawing_with_hands_and_face_is_read_from_a_gif(tmp_path: Path) -> None:
    frames = [picture for picture, _, _ in itertools.islice(iter_video(SKELETONS), 2)]
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / "real.gif", save_all=True, append_images=pictures[1:], duration=40)
    for index, frame in enumerate(frames):
        write_png(tmp_path / "real" / f"{index:03d}.png", frame)
    track, exact = read_pose_track(tmp_path / "real.gif"), read_pose_track(tmp_path / "real")
    body = np.arange(1, 14)
    assert track.seen[:, body].all()
    away = np.hypot(*np.moveaxis((track.keypoints - exact.keypoints)[..., :2], -1, 0))[:, body]
    assert away[exact.seen[:, body]].max() < 0.015 * 768


def test_resized_and_compressed_skeletons_are_read():
    joints = standing(512)
    picture = draw_pose(joints, 512, 256)
    small = read_joints(cv2.resize(picture, (128, 256), interpolation=cv2.INTER_AREA))
    jpeg = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)
    for found, wanted in ((small, scale_joints(joints, (512, 256), (256, 128))), (read_joints(jpeg), joints)):
        seen = found[:, 2] > 0
        assert seen[:14].all()
        assert np.median(np.hypot(*(found - wanted)[seen, :2].T)) < 1
        assert np.hypot(*(found - wanted)[:14, :2].T).max() < 6


def test_an_empty_picture_has_no_joints():
    assert not read_joints(np.zeros((64, 32, 3), np.uint8)).any()
    assert not read_joints(np.full((64, 32, 3), 255, np.uint8))[:, 2].any()


@pytest.mark.skipif(not SKELETONS.is_file(), reason="needs a foreign skeleton video")
def test_a_foreign_skeleton_with_hands_and_face_is_read():
    frames, _ = read_video(SKELETONS)
    joints = read_joints(frames[0])
    assert joints[1:14, 2].all()
    # Left knee at the knee, though the hands are drawn in its colour.
    assert np.hypot(*(joints[12, :2] - (281, 520))) < 6


def write_clip(folder: Path, joints: np.ndarray, height: int = 128) -> Path:
    for frame, pose in enumerate(joints):
        write_png(folder / f"{frame:03d}.png", draw_pose(pose, height, height // 2))
    return folder


def test_load_joints_takes_the_json_scaled_to_the_pictures(tmp_path):
    joints = np.stack([standing(256)] * 3)
    folder = write_clip(tmp_path / "a", scale_joints(joints, (256, 128), (128, 64)))
    content = {"height": 256, "width": 128, "keypoints": joints.tolist()}
    (tmp_path / "a.json").write_text(json.dumps(content))
    loaded = load_joints(folder, 2)
    assert loaded.shape == (2, 18, 3) and loaded.dtype == np.float32
    np.testing.assert_allclose(loaded[..., :2], (joints[:2, :, :2] + 0.5) / 2 - 0.5, atol=1e-4)


def test_load_joints_reads_the_pictures_without_a_json(tmp_path):
    joints = np.stack([standing(256), standing(256) + np.array([3, 2, 0])])
    loaded = load_joints(write_clip(tmp_path / "a.b", joints, 256), 2)
    assert np.abs(loaded - joints).max() <= 1
    for frame in range(2):
        write_png(tmp_path / "black" / f"{frame:03d}.png", np.zeros((64, 32, 3), np.uint8))
    assert load_joints(tmp_path / "black", 2) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "holds no object"),
        ('{"height": 0, "width": 4, "keypoints": []}', "height"),
        ('{"height": 8, "width": true, "keypoints": []}', "width"),
        ('{"height": 8, "width": 4}', "keypoints"),
        ('{"height": 8, "width": 4, "keypoints": [[1, 2], [3]]}', "keypoints"),
        ('{"height": 8, "width": 4, "keypoints": [[[1, 2, 3]]]}', "shape"),
        (json.dumps({"height": 8, "width": 4, "keypoints": [[[float("nan")] * 3] * 18]}), "NaN"),
        (json.dumps({"height": 8, "width": 4, "keypoints": [[[1, 2, 1]] * 18]}), "1 frames, 2"),
    ],
)
def test_a_damaged_json_is_named(tmp_path, content, message):
    (tmp_path / "clip.json").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load_joints(tmp_path / "clip", 2)
    assert "clip.json" in str(error.value) and "\n" not in str(error.value)


def test_a_picture_of_the_wrong_kind_is_refused():
    with pytest.raises(UserError, match="uint8"):
        read_joints(np.zeros((8, 8, 3), np.float32))


def test_a_finger_coloured_like_the_nose_is_not_taken_for_it():
    joints = standing(512)
    joints[0, 2] = 0
    drawn = draw_pose(joints, 512, 256)
    picture = np.where(drawn > 0, np.minimum(drawn.astype(int) + 3, 255), 0).astype(np.uint8)
    x, y = joints[4, :2].astype(int)
    finger = (slice(y + 20, y + 28), slice(x - 4, x + 4))
    picture[finger] = draw_pose(standing(512), 512, 256)[tuple(standing(512)[0, 1::-1].astype(int))]
    found = read_joints(picture)
    assert found[0, 2] == 0 and found[4, 2] == 1


def test_jpeg_skeletons_are_read_and_too_few_are_named(tmp_path):
    folder = tmp_path / "skeletons"
    folder.mkdir()
    picture = cv2.cvtColor(draw_pose(standing(512), 512, 256), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "000.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    found = load_joints(folder, 1)
    assert found is not None and (found[0, :, 2] > 0).sum() >= 12
    with pytest.raises(UserError, match="has 1 skeleton pictures, 2 are wanted"):
        load_joints(folder, 2)
