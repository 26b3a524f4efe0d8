"""A small rendered dataset that the tests of the measures share."""

from pathlib import Path

import pytest

from data.synthetic.render import sample_clip
from data.synthetic.write import write_clip
from evaluation.clips import MeasuredClip, list_clips, load_clip
from tests.toys import HEIGHT as TOY_HEIGHT
from tests.toys import WIDTH as TOY_WIDTH
from tests.toys import figure_clip
from utils.files import write_json, write_text
from utils.image import write_png

NUM_FRAMES, HEIGHT = 8, 256
MOTIONS = ("turn_around", "raise_left_arm", "step_right", "walk_forward")


@pytest.fixture(scope="session")
def rendered_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four test clips and two training clips of 8 frames, 256 x 128; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("rendered")
    for index, motion in enumerate(MOTIONS):
        write_clip(folder, "test", sample_clip(7, "test", index, NUM_FRAMES, HEIGHT, [motion]))
    for index in range(2):
        write_clip(folder, "train", sample_clip(7, "train", index, NUM_FRAMES, HEIGHT))
    return folder


@pytest.fixture(scope="session")
def rendered_clips(rendered_dir: Path) -> list[MeasuredClip]:
    """The test clips, in memory."""
    return [load_clip(rendered_dir, s) for s in list_clips(rendered_dir, "test", "x2fashion", NUM_FRAMES)]


def write_long_video(folder: Path, num_frames: int, lines: str) -> None:
    """Write a dataset of one toy clip, dora, whose figure walks; `lines` are its annotation."""
    frames, poses, joints = figure_clip(num_frames)
    for index, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
        write_png(folder / "fashion_crop" / "dora" / f"{index:03d}.png", frame)
        write_png(folder / "fashion_poses" / "dora" / f"{index:03d}.png", pose)
    write_json(
        folder / "fashion_poses" / "dora.json",
        {"height": TOY_HEIGHT, "width": TOY_WIDTH, "keypoints": joints.tolist()},
    )
    write_text(folder / "test" / "dora.txt", lines)
