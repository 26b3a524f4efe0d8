"""A real fashion clip, where there is one: her joints, and her left and right as she turns."""

from pathlib import Path

import pytest

from benchmarks.preparation import Config, main

REAL_INPUTS = Path(__file__).resolve().parents[2] / "../shared/real_inputs"


@pytest.mark.slow
@pytest.mark.skipif(not REAL_INPUTS.is_dir(), reason="real inputs are not ours to publish")
def test_a_real_turn_is_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    main(Config(video=REAL_INPUTS / "fashion_clip.mp4", joints=REAL_INPUTS / "fashion_clip_poses.json"))
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert float(lines["PCK@0.2"]) >= 0.97 and lines["frames with left and right exchanged"] == "0.000"
