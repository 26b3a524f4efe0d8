"""The synthetic dataset's renderer: its files, its determinism, its people and their motions."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.synthetic import __main__ as script
from data.synthetic.figure import Camera
from data.synthetic.motion import perform, sample_motions, sample_performance
from data.synthetic.render import (
    describe,
    most_common_part,
    project_joints,
    render_clip,
    sample_clip,
    track_clip,
)
from data.synthetic.shading import PARTS
from data.synthetic.skeleton import SIDES
from data.synthetic.wordings import MOTIONS, WORDINGS, sample_wording
from utils.errors import UserError
from utils.files import read_json
from utils.pose_drawing import JOINT, draw_pose

ROOT = Path(__file__).resolve().parents[1]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _config(folder: Path, **changes) -> script.Config:
    settings = {"num_train": 2, "num_test": 1, "num_frames": 4, "height": 64, "seed": 3, "num_workers": 1}
    return script.Config(output_dir=folder, **(settings | changes))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    script.main(_config(folder))
    return folder


def test_the_layout_is_the_datasets(dataset):
    for split, name in (("train", "train_00000"), ("train", "train_00001"), ("test", "test_00000")):
        start, end, text = (dataset / split / f"{name}.txt").read_text().strip().split(" ", 2)
        assert (start, end) == ("0", "4")
        assert text.endswith(".")
        info = read_json(dataset / "fashion_poses" / f"{name}.json")
        assert np.array(info["keypoints"]).shape == (4, 18, 3)
        assert info["text"] == text
        for number in range(4):
            for kind in ("fashion_crop", "fashion_poses"):
                assert cv2.imread(str(dataset / kind / name / f"{number:03d}.png")).shape == (64, 32, 3)
            pose = cv2.imread(str(dataset / "fashion_poses" / name / f"{number:03d}.png"))[:, :, ::-1]
            assert np.array_equal(pose, draw_pose(np.array(info["keypoints"][number]), 64, 32))
            mask = Image.open(dataset / "fashion_masks" / name / f"{number:03d}.png")
            assert mask.mode == "P"
            assert set(np.unique(np.array(mask))) <= set(info["parts"].values())
        for part, garment in info["garments"].items():
            assert part in info["parts"]
            assert len(garment["color"]) == 3
    assert not list(dataset.rglob(".*"))


def test_workers_do_not_change_the_pictures(dataset, tmp_path):
    script.main(_config(tmp_path, num_workers=2))
    assert _files(tmp_path) == _files(dataset)


def test_poses_alone_are_those_of_the_pictures(dataset, tmp_path):
    script.main(_config(tmp_path, poses_only=True))
    files = _files(tmp_path)
    whole = _files(dataset)
    assert {name for name in files if name != "synthetic.json"} == {
        name for name in whole if name.endswith((".json", ".txt")) and name != "synthetic.json"
    }
    assert all(whole[name] == files[name] for name in files if name != "synthetic.json")
    with pytest.raises(UserError, match="another --output_dir"):
        script.main(_config(tmp_path))


def test_arms_behind_the_body_are_hidden_without_pictures_too():
    clip = sample_clip(3, "train", 0, 8, 128, ["turn_around"])
    tracked = np.array(track_clip(clip))
    assert np.array_equal(tracked, [frame.keypoints for frame in render_clip(clip)])
    arms = [JOINT[f"{side}_{part}"] for side in SIDES for part in ("elbow", "wrist")]
    assert not tracked[:, arms, 2].all()


def test_the_seed_changes_the_pictures(dataset, tmp_path):
    script.main(_config(tmp_path, num_train=1, num_test=0, seed=4))
    name = Path("fashion_crop/train_00000/000.png")
    assert (tmp_path / name).read_bytes() != (dataset / name).read_bytes()


def test_the_same_command_again_adds_only_what_is_missing(tmp_path):
    script.main(_config(tmp_path, num_train=1))
    before = _files(tmp_path)
    (tmp_path / "test" / "test_00000.txt").unlink()
    (tmp_path / "fashion_crop" / "test_00000" / "003.png").unlink()
    kept = tmp_path / "fashion_crop" / "train_00000" / "000.png"
    written_at = kept.stat().st_mtime_ns
    script.main(_config(tmp_path, num_train=1))
    assert _files(tmp_path) == before
    assert kept.stat().st_mtime_ns == written_at


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_train": -1}, "--num_train -1"),
        ({"num_train": 0, "num_test": 0}, "at least one"),
        ({"num_frames": 1}, "--num_frames 1"),
        ({"height": 100}, "--height 96"),
        ({"height": 32}, "--height 32"),
        ({"seed": -5}, "--seed -5"),
        ({"num_workers": -1}, "--num_workers -1"),
    ],
)
def test_bad_numbers_are_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        script.main(_config(tmp_path / "new", **change))
    assert not (tmp_path / "new").exists()


def test_other_settings_in_one_folder_are_refused(dataset):
    with pytest.raises(UserError, match="another --output_dir"):
        script.main(_config(dataset, height=128))


def test_the_command_line_reports_in_one_line(tmp_path):
    command = [sys.executable, "-m", "data.synthetic", "--output_dir", str(tmp_path / "d"), "--height", "70"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --height 70")
    assert done.stderr.count("\n") == 1


def test_train_and_test_show_different_people():
    train, test = sample_clip(0, "train", 0, 4, 64), sample_clip(0, "test", 0, 4, 64)
    assert train.body != test.body
    assert describe(train, [])["identity"]["id"] != describe(test, [])["identity"]["id"]


@pytest.mark.parametrize("motion", MOTIONS)
def test_everybody_stays_inside_the_frame(motion):
    for index in range(12):
        clip = sample_clip(1, "train", index, 12, 256, [motion])
        joints = project_joints(clip)[..., :2] / 2
        assert joints.min() > 2, (motion, index)
        assert joints[..., 0].max() < 126
        assert joints[..., 1].max() < 254


@pytest.mark.parametrize(
    "motion", ["step_left", "raise_right_arm", "walk_forward", "turn_around", "stand_sway"]
)
def test_the_first_frame_does_not_depend_on_the_motion(motion):
    rest = sample_clip(1, "train", 5, 12, 256, ["turn_left"])
    other = sample_clip(1, "train", 5, 12, 256, [motion])
    assert np.allclose(project_joints(rest)[0], project_joints(other)[0], atol=1e-9)


def test_motions_go_to_the_persons_own_side():
    for index in range(6):
        tracks = {m: sample_clip(2, "train", index, 24, 256, [m]).skeleton for m in MOTIONS}

        def moved(motion: str, point: str, axis: int, tracks=tracks) -> float:
            track = tracks[motion].points[point][:, axis]
            return float(track[np.abs(track - track[0]).argmax()] - track[0])

        assert moved("step_left", "neck", 0) > 0.04  # facing the viewer, her left is the right of the picture
        assert moved("step_right", "neck", 0) < -0.04
        assert moved("walk_forward", "neck", 2) > 0.25
        assert tracks["turn_left"].pelvis_yaw.max() - tracks["turn_left"].pelvis_yaw[0] > 1.0
        assert tracks["turn_right"].pelvis_yaw.min() - tracks["turn_right"].pelvis_yaw[0] < -1.0
        assert abs(tracks["turn_left"].pelvis_yaw[-1] - tracks["turn_left"].pelvis_yaw[0]) < 0.05
        assert np.cos(tracks["turn_around"].pelvis_yaw[-1]) < -0.8
        for side in SIDES:
            assert moved(f"raise_{side}_arm", f"{side}_wrist", 1) > 0.3


def test_limbs_keep_their_length_and_knees_bend_forward():
    rng = np.random.default_rng(0)
    for index in range(8):
        clip = sample_clip(4, "train", index, 16, 128, sample_motions(rng))
        points, body = clip.skeleton.points, clip.body
        yaw = clip.skeleton.pelvis_yaw
        front = np.stack([np.sin(yaw), np.zeros_like(yaw), np.cos(yaw)], -1)
        for side in SIDES:
            for a, b, length in (
                ("shoulder", "elbow", body.upper_arm),
                ("elbow", "wrist", body.forearm),
                ("hip", "knee", body.thigh),
                ("knee", "ankle", body.shin),
            ):
                bone = np.linalg.norm(points[f"{side}_{a}"] - points[f"{side}_{b}"], axis=-1)
                assert np.allclose(bone, length, atol=1e-3)
            hip, knee, ankle = (points[f"{side}_{j}"] for j in ("hip", "knee", "ankle"))
            bend = np.sum((knee - (hip + ankle) / 2) * front, -1)
            assert bend.min() > -0.01


def test_a_motion_is_smooth_and_whole_at_any_number_of_frames():
    clip = sample_clip(5, "train", 1, 8, 128, ["step_left"])
    performance = sample_performance(np.random.default_rng(0), clip.body, ["step_left"])
    short, long = (perform(performance, clip.body, clip.sections, n) for n in (8, 96))
    assert np.allclose(short.points["neck"][-1], long.points["neck"][-1], atol=1e-6)
    assert np.abs(np.diff(long.points["left_wrist"], axis=0)).max() < 0.03


def test_the_face_is_hidden_from_behind_and_the_clothes_are_seen():
    clip = sample_clip(6, "train", 2, 6, 128, ["turn_around"])
    first, *_, last = list(render_clip(clip))
    face = [JOINT[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
    assert first.keypoints[face[:3], 2].all()
    assert not last.keypoints[face, 2].any()
    garment = PARTS["dress"] if clip.outfit.lower is None else PARTS["top"]
    for frame in (first, last):
        assert (frame.mask == garment).mean() > 0.02
        assert 0.06 < (frame.mask > 0).mean() < 0.45
        assert np.median(frame.picture[frame.mask == 0]) > 190


def test_wordings_are_many_and_some_are_kept_for_test():
    rng = np.random.default_rng(0)
    for motion in MOTIONS:
        train, test = WORDINGS[motion]
        assert len(set(train)) >= 10
        assert len(set(test)) >= 3
        assert not set(train) & set(test)
        other = motion.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        if other != motion:
            assert not set(train + test) & set(sum(WORDINGS[other], ()))
    sentences = {sample_wording(["step_left", "turn_right"], rng, "train") for _ in range(50)}
    assert len(sentences) > 30
    for sentence in sentences:
        assert sentence[0].isupper()
        assert "{" not in sentence
    assert "her" not in sample_wording(["raise_left_arm"], rng, "test", "man").split()


def test_the_camera_enlarges_who_comes_nearer():
    clip = sample_clip(1, "train", 3, 12, 128, ["walk_forward"])
    assert isinstance(clip.camera, Camera)
    scales = clip.camera.scales(clip.skeleton)
    assert 1.03 < scales[-1] / scales[0] < 1.2


def test_a_masks_pixel_is_the_commonest_of_its_samples():
    samples = np.array([[0, 3, 0, 0], [3, 3, 0, 3], [0, 2, 5, 0], [2, 0, 5, 0]], np.uint8)
    assert most_common_part(samples).tolist() == [[3, 0], [2, 5]]
