"""The measurement of the preparation, on a clip that ships."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.preparation import Config, compare_joints, main
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_a_clip_is_filmed_prepared_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    main(Config(dataset=ROOT / "fashion_dataset", max_clips=1))
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert float(lines["median error"].split()[0]) < 3 and float(lines["PCK@0.2"]) > 0.95
    assert float(lines["mask IoU"]) > 0.9
    assert lines["frames that show all of her"] == lines["videos that became one clip"] == "1.000"
    assert lines["clips whose motions are read right"] == "1.000"
    assert lines["frames with left and right exchanged"] == "0.000"


def test_exchanged_sides_and_distances_are_seen() -> None:
    truth = np.ones((4, 18, 3))
    truth[:, :, :2] = np.random.default_rng(0).uniform(0, 50, (18, 2))
    truth[:, [2, 8], 0], truth[:, [5, 11], 0] = 10, 40
    truth[:, 0, 1], truth[:, [10, 13], 1] = 0, 87
    mirrored = truth * [-1, 1, 1] + [50, 0, 0]
    assert compare_joints(truth, truth)["swapped"].max() == 0 and compare_joints(truth, truth)["pck"].all()
    assert compare_joints(mirrored, truth)["swapped"].min() == 1
    moved = truth + np.array([1, 0, 0])
    assert np.nanmedian(compare_joints(moved, truth)["error"]) == pytest.approx(1)


def test_something_to_measure_is_needed() -> None:
    with pytest.raises(UserError, match="give --dataset, or --video with --joints"):
        main(Config())
