"""inference.py --timeline through its command line, at toy size."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
from tests.toys import SENTENCES, figure_clip
from utils.config import run_script
from utils.files import write_json
from utils.image import write_png
from utils.video import read_video
from warping.joints import load_joints


@pytest.fixture
def run(tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command line on a photo with given joints; returns the output folder."""
    frames, _, joints = figure_clip(1)
    write_png(tmp_path / "photo.png", frames[0])
    write_json(tmp_path / "joints.json", {"keypoints": joints[0].tolist()})

    def run(name: str, *flags: object) -> Path:
        given = ["--pretrained_model", tiny_pipeline_dir, "--output_dir", tmp_path / name, "--image"]
        given += [tmp_path / "photo.png", "--image_joints", tmp_path / "joints.json", "--dtype", "float32"]
        monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, [*given, *flags])])
        run_script(inference.main, inference.Config, inference.__doc__)
        return tmp_path / name

    return run


def test_a_timeline_makes_a_video_of_its_length_and_says_how(run, tmp_path: Path) -> None:
    text = f"0-2: {SENTENCES[0]}; 2-3: {SENTENCES[2]}"
    (tmp_path / "line.txt").write_text(text.replace("; ", "\n"))
    result = run("text", "--timeline", text)
    frames, fps = read_video(result / "photo.mp4")
    assert len(frames) == 36 and fps == 12
    settings = json.loads((result / "photo.json").read_text())
    assert settings["timeline"]["segments"][1] == {"start": 2.0, "end": 3.0, "sentence": SENTENCES[2]}
    assert len(list((result / "photo_poses").iterdir())) == 36
    again = run("file", "--timeline", tmp_path / "line.txt")
    assert (again / "photo.mp4").read_bytes() == (result / "photo.mp4").read_bytes()
    other = run("other", "--timeline", text.replace(SENTENCES[2], SENTENCES[1]), "--fps", 8)
    assert len(read_video(other / "photo.mp4")[0]) == 24
    first, second = (load_joints(folder / "photo_poses", 16) for folder in (result, other))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--timeline", "0-2: She stands", "--prompt", "She turns"], "--timeline goes in place of --prompt"),
        (["--timeline", "0-2: She stands", "--num_frames", "4"], "goes in place of --num_frames 4"),
        (["--timeline", "0-2: She stands; 3-4: She turns"], "leaves a gap after 2 s"),
    ],
)
def test_mistakes_are_one_line(run, capsys, flags: list[str], part: str) -> None:
    with pytest.raises(SystemExit) as status:
        run("result", *flags)
    message = capsys.readouterr().err
    assert status.value.code == 2 and part in message and message.count("\n") == 1


def test_words_that_the_text_encoder_does_not_know_are_told_for_each_sentence(run, capsys) -> None:
    run("result", "--timeline", f"0-2: {SENTENCES[0]}; 2-3: Zyxw", "--check_inputs")
    assert "'Zyxw'" in capsys.readouterr().out
