"""No run replaces what it reads, nor skeletons that somebody edited."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evaluate
import inference
import project_latent_space
from recipe import teaser
from tests.toys import HEIGHT, SENTENCES, figure_clip
from utils.errors import UserError
from utils.image import read_image, write_png
from utils.paths import check_name
from utils.video import write_video

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def settings(tiny_pipeline_dir: Path, tmp_path: Path) -> dict[str, object]:
    """A photo of 64 x 32 pixels, its joints and skeletons, and what one step of the toy model needs."""
    frames, poses, joints = figure_clip(4)
    write_png(tmp_path / "photo.png", frames[0])
    (tmp_path / "joints.json").write_text(json.dumps({"keypoints": joints[0].tolist()}))
    for index, pose in enumerate(poses):
        write_png(tmp_path / "skeletons" / f"{index:03d}.png", pose)
    write_video(tmp_path / "photo.mp4", poses, fps=8)
    return {
        "pretrained_model": tiny_pipeline_dir,
        "num_inference_steps": 1,
        "dtype": "float32",
        "num_frames": 4,
        "output_dir": tmp_path / "result",
    }


def make(settings: dict[str, object], **flags: object) -> None:
    inference.main(inference.Config(**{**settings, **flags}))  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", ["same", "link", "relative", "hard link"])
def test_an_input_is_never_replaced(settings: dict[str, object], tmp_path: Path, spelling: str) -> None:
    image, output_dir = tmp_path / "photo.png", tmp_path
    if spelling == "link":
        output_dir = tmp_path / "link"
        output_dir.symlink_to(tmp_path)
    elif spelling == "relative":
        output_dir = Path(os.path.relpath(tmp_path))
    elif spelling == "hard link":
        output_dir = tmp_path / "other"
        output_dir.mkdir()
        os.link(image, output_dir / "photo.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=re.escape("photo.png is read and would be overwritten")):
        make(settings, image=image, poses=tmp_path / "skeletons", output_dir=output_dir)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_poses_and_joints_are_never_replaced(settings: dict[str, object], tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes((tmp_path / "photo.png").read_bytes())
    (tmp_path / "photo.png").unlink()
    with pytest.raises(UserError, match=r"photo\.mp4 is read"):
        make(settings, image=photo, poses=tmp_path / "photo.mp4", output_dir=tmp_path)
    (tmp_path / "photo.mp4").unlink()
    (tmp_path / "joints.json").rename(tmp_path / "photo.json")
    with pytest.raises(UserError, match=r"photo\.json is read"):
        make(
            settings,
            image=photo,
            prompt=SENTENCES[0],
            image_joints=tmp_path / "photo.json",
            output_dir=tmp_path,
        )


def test_edited_skeletons_are_kept(settings: dict[str, object], tmp_path: Path) -> None:
    flags = {"image": tmp_path / "photo.png", "image_joints": tmp_path / "joints.json"}
    make(settings, **flags, prompt=SENTENCES[0])
    make(settings, **flags, prompt=SENTENCES[0])  # its own are replaced
    edited = tmp_path / "result" / "photo_poses" / "002.png"
    write_png(edited, 255 - read_image(edited))
    before = edited.read_bytes()
    with pytest.raises(UserError, match="is not as it was written"):
        make(settings, **flags, prompt=SENTENCES[0])
    assert edited.read_bytes() == before
    shutil.rmtree(edited.parent)
    joints = tmp_path / "result" / "photo_poses.json"
    before = joints.read_bytes()
    with pytest.raises(UserError, match="is not as it was written"):
        make(settings, **flags, prompt=SENTENCES[0])
    assert joints.read_bytes() == before


def test_files_of_other_programs_are_kept(settings: dict[str, object], tmp_path: Path) -> None:
    flags = settings | {"image": tmp_path / "photo.png", "poses": tmp_path / "skeletons"}
    result = tmp_path / "result"
    command = [sys.executable, "inference.py", "--save_joints", "openpose"]
    command += [str(part) for name, value in flags.items() for part in (f"--{name}", value)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    openpose = result / "photo_openpose" / "photo_000000000000_keypoints.json"
    for foreign in (result / "photo.json", result / "photo.mp4", openpose):
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.write_text('{"version": 1.3, "people": []}')
        refused = run()
        named = foreign.parent if foreign == openpose else foreign
        assert refused.returncode == 2 and f"{named} is not as it was written" in refused.stderr
        assert foreign.read_text() == '{"version": 1.3, "people": []}'
        shutil.rmtree(result)
    assert run().returncode == 0 and run().returncode == 0  # its own are replaced
    make(flags)  # says nothing of the joints, which stay known as its own
    assert run().returncode == 0
    openpose.write_text(openpose.read_text().replace("1.3", "1.2"))
    edited = openpose.read_text()
    assert run().returncode == 2 and openpose.read_text() == edited


def test_an_interrupt_after_the_video_does_not_make_it_a_foreign_one(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(inference, "contact_sheet", interrupted)
        make(settings, image=tmp_path / "photo.png", poses=tmp_path / "skeletons")
    assert (tmp_path / "result" / "photo.mp4").is_file()
    make(settings, image=tmp_path / "photo.png", poses=tmp_path / "skeletons")
    assert (tmp_path / "result" / "photo.png").is_file()


def test_too_long_a_name_is_told_before_work(settings: dict[str, object], tmp_path: Path) -> None:
    photo = tmp_path / f"{'x' * 243}.png"
    (tmp_path / "photo.png").rename(photo)
    with pytest.raises(UserError, match="bytes too long"):
        make(settings, image=photo, poses=tmp_path / "skeletons")
    assert not (tmp_path / "result").exists()
    check_name(tmp_path, f"{'x' * 200}_poses.json", "it")


def test_a_dataset_is_never_written_into(
    settings: dict[str, object], tiny_dataset_dir: Path, tmp_path: Path
) -> None:
    crop = tiny_dataset_dir / "fashion_crop"
    with pytest.raises(UserError, match="is read"):
        project_latent_space.main(
            project_latent_space.Config(dataset=tiny_dataset_dir, output_dir=crop / "anna")
        )
    with pytest.raises(UserError, match="is read"):
        evaluate.main(evaluate.Config(dataset=tiny_dataset_dir, output_dir=crop))
    write_png(tmp_path / "results" / "a.gif", np.zeros((HEIGHT, HEIGHT, 3), np.uint8))
    with pytest.raises(UserError, match="is read"):
        teaser.main(teaser.Config(results=tmp_path / "results", output=tmp_path / "results" / "a.gif"))


@pytest.mark.parametrize("name", ["photo.mp4", "photo.png"])
def test_a_users_own_file_beside_our_settings_is_kept(
    settings: dict[str, object], tmp_path: Path, name: str
) -> None:
    flags = {"image": tmp_path / "photo.png", "poses": tmp_path / "skeletons"}
    make(settings, **flags)
    own = tmp_path / "result" / name
    written = own.read_bytes()
    own.write_bytes(b"my own")
    with pytest.raises(UserError, match=re.escape(f"{name} is not as it was written")):
        make(settings, **flags)
    assert own.read_bytes() == b"my own"
    make(settings, **flags, check_inputs=True)  # writes nothing
    path = tmp_path / "result" / "photo.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in known.items() if k not in ("video_sha256", "sheet_sha256")}))
    make(settings, **flags)  # settings of an earlier version say nothing of the files
    assert own.read_bytes() == written and json.loads(path.read_text()) == known


def test_checking_inputs_minds_no_outputs(settings: dict[str, object], tmp_path: Path) -> None:
    foreign = tmp_path / "result" / "photo.json"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    flags = {"image": tmp_path / "photo.png", "poses": tmp_path / "skeletons"}
    make(settings, **flags, check_inputs=True)
    with pytest.raises(UserError, match="is not as it was written"):
        make(settings, **flags)


def test_the_same_command_again_may_write_below_the_poses(
    settings: dict[str, object], tmp_path: Path
) -> None:
    flags = {"image": tmp_path / "photo.png", "poses": tmp_path / "skeletons"}
    flags["output_dir"] = tmp_path / "skeletons" / "result"
    for _ in range(2):
        make(settings, **flags)
    assert (tmp_path / "skeletons" / "result" / "photo.mp4").is_file()


def test_videos_of_a_dataset_are_never_written_into_its_folders(
    settings: dict[str, object], tiny_dataset_dir: Path
) -> None:
    folder = tiny_dataset_dir / "fashion_crop" / "anna"
    (folder / "anna.png").write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(UserError, match=r"anna\.png lies in .*fashion_crop, which is read"):
        make(settings, dataset=tiny_dataset_dir, output_dir=folder)
