"""A video of a person as --poses, at toy size."""

import json
from pathlib import Path

import numpy as np
import pytest

import inference
from data.frames import read_frames
from data.pose_formats import read_pose_track
from utils.errors import UserError
from utils.image import read_image
from utils.video import read_video, write_gif, write_video

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "fashion_dataset/fashion_crop/test_00000"
TRUTH = ROOT / "fashion_dataset/fashion_poses/test_00000.json"
NUM_FRAMES = 6


@pytest.fixture
def settings(tiny_pipeline_dir: Path, tmp_path: Path) -> dict[str, object]:
    settings = {"pretrained_model": tiny_pipeline_dir, "num_inference_steps": 1, "dtype": "float32"}
    return settings | {"image": CLIP / "000.jpg", "output_dir": tmp_path / "out"}


@pytest.mark.parametrize("form", ["mp4", "gif", "folder"])
def test_the_poses_are_found_shown_saved_and_used(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    frames = read_frames(CLIP, range(NUM_FRAMES))
    poses = CLIP if form == "folder" else tmp_path / f"driver.{form}"
    if form == "mp4":
        write_video(poses, frames, 30)
    elif form == "gif":
        write_gif(poses, frames, 10)
    count = NUM_FRAMES if form == "folder" else None
    inference.main(inference.Config(**settings, poses=poses, num_frames=count))  # type: ignore[arg-type]
    assert f"her poses were found in {NUM_FRAMES} of {NUM_FRAMES} frames" in capsys.readouterr().out
    video, fps = read_video(tmp_path / "out" / "000.mp4")
    assert len(video) == NUM_FRAMES and fps == {"mp4": 30, "gif": 10, "folder": 12}[form]
    saved = read_pose_track(tmp_path / "out" / "000_poses.json")
    document = json.loads(TRUTH.read_text())
    truth = np.array(document["keypoints"])[:NUM_FRAMES]
    truth[..., :2] *= saved.height / document["height"]
    both = (truth[..., 2] > 0) & saved.seen
    apart = np.hypot(*np.moveaxis((saved.keypoints - truth)[..., :2], -1, 0))
    assert both.mean() > 0.8 and np.median(apart[both]) < 0.02 * saved.height
    assert read_image(tmp_path / "out" / "000.png").shape[0] > 4 * 192  # photo, driver, poses, frames
    assert len(list((tmp_path / "out" / "000_poses").iterdir())) == NUM_FRAMES


def test_what_a_video_of_half_a_person_shows_is_said(settings: dict[str, object], tmp_path: Path) -> None:
    frames = [np.ascontiguousarray(frame[110:240, 70:186]) for frame in read_frames(CLIP, range(2))]
    write_video(tmp_path / "driver.mp4", frames, 10)
    message = (
        r"a whole person was found in [01] of 2 frames \(in frame \d with score 0\.\d+\); give skeletons"
    )
    with pytest.raises(UserError, match=message):
        inference.main(inference.Config(**settings, poses=tmp_path / "driver.mp4"))  # type: ignore[arg-type]


def test_two_people_in_a_video_are_said(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [np.concatenate([frame, frame], axis=1) for frame in read_frames(CLIP, range(2))]
    write_video(tmp_path / "driver.mp4", frames, 10)
    flags = settings | {"poses": tmp_path / "driver.mp4", "check_inputs": True}
    try:
        inference.main(inference.Config(**flags))  # type: ignore[arg-type]
        told = capsys.readouterr().out
    except UserError as error:  # where the finder is sure of neither
        told = str(error)
    assert "shows 2 people; one is followed; leave one person" in told or "shows several people" in told


def test_a_video_without_a_person_is_refused(settings: dict[str, object], tmp_path: Path) -> None:
    rows = np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None]
    write_video(tmp_path / "empty.mp4", np.broadcast_to(rows, (4, 128, 128, 3)).copy(), 8)
    with pytest.raises(UserError, match="expected skeletons, but 0 of 72 joints were read in 4 frames"):
        inference.main(inference.Config(**settings, poses=tmp_path / "empty.mp4"))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
