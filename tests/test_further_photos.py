"""Several photos of one person on the command line: front.png and back.png make one video."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
from tests.toys import SENTENCES
from utils.config import run_script
from utils.image import read_image, write_png

SAMPLE = Path(__file__).resolve().parents[1] / "fashion_dataset"
FRONT = SAMPLE / "fashion_crop" / "test_00000" / "000.jpg"
OTHER = SAMPLE / "fashion_crop" / "test_00001" / "000.jpg"
TURNED = SAMPLE / "fashion_crop" / "test_00000" / "012.jpg"


def run(monkeypatch: pytest.MonkeyPatch, model: Path, out: Path, *flags: object) -> int | None:
    """Run the command line; its exit status."""
    arguments = [
        *("--pretrained_model", model, "--output_dir", out, "--dtype", "float32"),
        *("--prompt", SENTENCES[0], "--num_frames", 4),
    ]
    monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, [*arguments, *flags])])
    try:
        run_script(inference.main, inference.Config, inference.__doc__)
    except SystemExit as stop:
        return stop.code
    return None


def test_a_further_photo_is_posed_and_used(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    front, turned = ("--image", FRONT), ("--image", TURNED)
    assert run(monkeypatch, tiny_pipeline_dir, tmp_path / "one", *front) is None
    assert run(monkeypatch, tiny_pipeline_dir, tmp_path / "both", *front, *turned) is None
    one, both = ((tmp_path / name / "000.mp4").read_bytes() for name in ("one", "both"))
    assert one != both
    settings = json.loads((tmp_path / "both" / "000.json").read_text())
    assert settings["further_images"] == [str(TURNED)] and settings["image"] == str(FRONT)
    sheets = [read_image(tmp_path / name / "000.png") for name in ("one", "both")]
    assert not np.array_equal(sheets[0][:200, :200], sheets[1][:200, :200])  # "photos", and two of them
    assert "other clothes" not in capsys.readouterr().out


def test_what_cannot_be_a_further_photo_is_refused_or_said(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    write_png(tmp_path / "wall.png", np.full((200, 100, 3), 200, np.uint8))
    own = tmp_path / "000.png"
    write_png(own, read_image(TURNED))
    cases = [
        (tmp_path / "wall.png", tmp_path / "out", "no whole person was found in"),
        (tmp_path / "none.png", tmp_path / "out", "none.png"),
        (own, tmp_path, "000.png is read and would be overwritten"),
    ]
    for further, out, message in cases:
        before = own.read_bytes()
        assert run(monkeypatch, tiny_pipeline_dir, out, "--image", FRONT, "--image", further) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and message in error
        assert own.read_bytes() == before
    look = ("--check_inputs", "--image", FRONT, "--image", OTHER)
    assert run(monkeypatch, tiny_pipeline_dir, tmp_path / "out", *look) is None
    assert "seems to show other clothes" in capsys.readouterr().out
    assert run(monkeypatch, tiny_pipeline_dir, tmp_path / "out", *look, "--strict") == 2
