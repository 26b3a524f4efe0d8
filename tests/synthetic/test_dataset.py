"""The synthetic dataset's renderer: its files, its determinism, its people and their motions."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.synthetic import __main__ as script
from data.synthetic.checks import RejectedError, check_joints, check_through, check_vertices, share_through
from data.synthetic.layout import Output
from data.synthetic.mesh import PARTS
from data.synthetic.render import describe, render_clip, sample_clip, track_clip
from data.synthetic.tights import vertex_normals
from data.synthetic.wordings import MOTIONS, WORDINGS, sample_wording
from data.synthetic.write import write_sampled_clip
from utils.errors import UserError
from utils.files import read_json, write_json
from utils.pose_drawing import JOINT, draw_pose

ROOT = Path(__file__).resolve().parents[2]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _config(folder: Path, **changes) -> script.Config:
    settings = {"num_train": 2, "num_test": 1, "num_frames": 4, "height": 128, "seed": 3, "num_workers": 1}
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
                assert cv2.imread(str(dataset / kind / name / f"{number:03d}.png")).shape == (128, 64, 3)
            pose = cv2.imread(str(dataset / "fashion_poses" / name / f"{number:03d}.png"))[:, :, ::-1]
            assert np.array_equal(pose, draw_pose(np.array(info["keypoints"][number]), 128, 64))
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
    arms = [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("elbow", "wrist")]
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
        ({"height": 200}, "--height 192"),
        ({"height": 64}, "--height 64"),
        ({"seed": -5}, "--seed -5"),
        ({"num_workers": -1}, "--num_workers -1"),
    ],
)
def test_bad_numbers_are_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        script.main(_config(tmp_path / "new", **change))
    assert not (tmp_path / "new").exists()


def test_other_settings_in_one_folder_are_refused(dataset):
    with pytest.raises(UserError, match=r"\(height is 128 there, 256 here\); choose another --output_dir"):
        script.main(_config(dataset, height=256))
    with pytest.raises(UserError, match="surface is not set there, True here"):
        script.main(_config(dataset, surface=True))


@pytest.mark.parametrize("settings", [[1], {}, "people"])
def test_a_folder_with_foreign_settings_is_refused(tmp_path, settings):
    write_json(tmp_path / "synthetic.json", settings)
    with pytest.raises(UserError, match="renderer is not set there, people"):
        script.main(_config(tmp_path))


def test_the_command_line_reports_in_one_line(tmp_path):
    command = [sys.executable, "-m", "data.synthetic", "--output_dir", str(tmp_path / "d"), "--height", "70"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --height 70")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["data.synthetic", "benchmarks.one_outfit", "benchmarks.skin_through_cloth"])
def test_without_numba_one_line_says_what_to_install(name, tmp_path):
    flags = [] if name.endswith("cloth") else ["--output_dir", str(tmp_path / "d")]
    code = (
        "import sys; sys.modules['numba'] = None; import runpy; "
        f"sys.argv = {[name, *flags]!r}; runpy.run_module({name!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install -r requirements-render.txt" in done.stderr
    assert not (tmp_path / "d").exists()


def test_train_and_test_show_different_people():
    train, test = sample_clip(0, "train", 0, 4, 128), sample_clip(0, "test", 0, 4, 128)
    assert describe(train, [])["identity"] != describe(test, [])["identity"]
    assert not np.array_equal(train.person.vertices, test.person.vertices)


@pytest.mark.parametrize("motion", ["step_right", "raise_left_arm", "turn_around"])
def test_the_first_frame_does_not_depend_on_the_motion(motion):
    rest = sample_clip(1, "train", 5, 12, 256, ["turn_left"])
    other = sample_clip(1, "train", 5, 12, 256, [motion])
    joints = [c.person.joints(c.motion.transforms[0]) for c in (rest, other)]
    assert np.allclose(joints[0], joints[1], atol=1e-5)


def test_the_face_is_hidden_from_behind_and_the_clothes_are_seen():
    clip = sample_clip(6, "train", 2, 6, 256, ["turn_around"])
    first, *_, last = list(render_clip(clip))
    face = [JOINT[name] for name in ("nose", "left_eye", "right_eye")]
    assert first.keypoints[face, 2].all()
    assert not last.keypoints[face, 2].any()
    garments = [PARTS[name] for name in clip.outfit.description() if name in ("dress", "top", "lower")]
    for frame in (first, last):
        assert np.isin(frame.mask, garments).mean() > 0.03
        assert 0.05 < (frame.mask > 0).mean() < 0.6
        assert (frame.mask == PARTS["hair"]).any() or clip.person.description()["hair"]["style"] == "shaved"


def test_a_clip_that_fails_a_check_is_drawn_again_and_counted(tmp_path, monkeypatch):
    from data.synthetic import write

    def fail_first(clip, surface=None, *, whole=render_clip):
        if clip.draw == 0:
            yield from list(whole(clip, surface))[:1]
            raise RejectedError("cloth is torn")
        yield from whole(clip, surface)

    monkeypatch.setattr(write, "render_clip", fail_first)
    rejected = write_sampled_clip(tmp_path, 3, 4, 128, Output(), (), "train", 0)
    assert rejected == ["train_00000, draw 0: cloth is torn"]
    assert read_json(tmp_path / "fashion_poses" / "train_00000.json")["draw"] == 1
    assert len(list((tmp_path / "fashion_crop" / "train_00000").iterdir())) == 4
    assert not list(tmp_path.rglob(".*"))


def test_the_checks_refuse_what_is_broken():
    clip = sample_clip(3, "train", 0, 4, 128)
    body = clip.person.meshes[0]
    check_vertices(body, np.zeros((3, 3)), 0)
    with pytest.raises(RejectedError, match="not finite in frame 2"):
        check_vertices(body, np.array([[0, np.nan, 0]]), 2)
    with pytest.raises(RejectedError, match="below the floor"):
        check_vertices(body, np.array([[0, -3.0, 0]]), 0)
    mask = np.zeros((100, 50), np.uint8)
    mask[40:60, 20:30] = PARTS["dress"]
    keypoints = np.tile([25.0, 50.0, 1.0], (18, 1))
    check_joints(keypoints, mask, 0)
    keypoints[JOINT["left_knee"]] = (5, 90, 1)
    with pytest.raises(RejectedError, match="beside the body"):
        check_joints(keypoints, mask, 0)
    skin = np.zeros(mask.shape, bool)
    skin[40, 20] = True
    assert share_through(skin, mask) == 1 / 200
    with pytest.raises(RejectedError, match="body through cloth"):
        check_through(0.01, 0)


def test_a_body_that_comes_through_its_clothes_is_refused():
    clip = sample_clip(3, "train", 0, 4, 128)
    next(render_clip(clip))
    body = clip.person.meshes[0]
    stout = body.rest + 0.6 * vertex_normals(np.ascontiguousarray(body.rest), body.triangles)
    outfit = dataclasses.replace(clip.outfit, body_rest=stout.astype(np.float32))
    with pytest.raises(RejectedError, match="body through cloth"):
        next(render_clip(dataclasses.replace(clip, outfit=outfit)))


def test_skin_through_cloth_is_measured():
    command = [sys.executable, "-m", "benchmarks.skin_through_cloth", "--num_clips", "2", "--num_frames", "4"]
    result = subprocess.run([*command, "--height", "128"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "2 clips, 0 more" in result.stdout
    assert "above 0.5% of the person's pixels: 0" in result.stdout
    assert result.stdout.count("  clip ") == 2


def test_photos_as_jpeg_are_smaller(dataset, tmp_path):
    script.main(_config(tmp_path, num_train=1, num_test=0, picture_format="jpg", jpg_quality=80))
    jpg = tmp_path / "fashion_crop" / "train_00000" / "000.jpg"
    png = dataset / "fashion_crop" / "train_00000" / "000.png"
    assert jpg.stat().st_size < png.stat().st_size
    difference = cv2.imread(str(jpg)).astype(int) - cv2.imread(str(png))
    assert np.abs(difference).mean() < 6


def test_a_folder_of_another_kind_of_dataset_is_refused(tmp_path):
    (tmp_path / "fashion_crop").mkdir()
    with pytest.raises(UserError, match="not rendered; choose another --output_dir"):
        script.main(_config(tmp_path))


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


def test_motions_can_be_chosen(tmp_path: Path) -> None:
    config = {
        "num_train": 3,
        "num_test": 0,
        "num_frames": 4,
        "height": 128,
        "poses_only": True,
        "num_workers": 1,
    }
    script.main(script.Config(output_dir=tmp_path / "turns", motions=("turn_left", "turn_around"), **config))
    documents = [read_json(path) for path in sorted((tmp_path / "turns" / "fashion_poses").glob("*.json"))]
    assert {label for document in documents for label in document["motions"]} <= {"turn_left", "turn_around"}
    with pytest.raises(UserError, match="--motions fly is not a motion; give some of hands_on_hips, left"):
        script.main(script.Config(output_dir=tmp_path / "other", motions=("fly",), **config))
    with pytest.raises(UserError, match="choose another --output_dir"):
        script.main(script.Config(output_dir=tmp_path / "turns", **config))
