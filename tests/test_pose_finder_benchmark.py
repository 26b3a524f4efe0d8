"""The pose finder's measurement, on a clip that ships."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pose_finder import Config, Found, compare, main
from evaluation.clips import list_clips, load_clip
from utils.errors import UserError

DATASET = Path(__file__).resolve().parents[1] / "fashion_dataset"
CONFIG = Config(dataset=DATASET, max_clips=1, num_frames=4)


@pytest.mark.parametrize("single", [False, True])
def test_a_table_is_printed(single: bool, capsys: pytest.CaptureFixture[str]) -> None:
    main(dataclasses.replace(CONFIG, single=single))
    lines = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1:4] == ["all", "4", "100.0"] and 0 < float(cells[4]) < 2 and float(cells[5]) > 0.95
    assert lines[-1].endswith("ms a frame on 1 threads")


def test_the_truth_is_faultless_and_exchanged_sides_are_counted() -> None:
    (source,) = list_clips(DATASET, "test", "x2fashion", 24, 1)
    clip = load_clip(DATASET, source)
    assert clip.joints is not None and clip.masks is not None
    masks: list[np.ndarray | None] = [(mask > 0).astype(np.float32) for mask in clip.masks]
    found = Found(clip.joints, np.ones(len(clip.joints), bool), masks)
    values = compare(found, clip)
    assert np.nanmax(values["error"]) == 0 and np.nanmin(values["pck"]) == 1 and values["iou"].min() == 1
    assert np.nansum(values["swapped"]) == 0 and values["seen"].all()
    mirrored = clip.joints * [-1, 1, 1] + [clip.frames.shape[2] - 1, 0, 0]
    assert np.nanmean(compare(dataclasses.replace(found, keypoints=mirrored), clip)["swapped"]) == 1


def test_a_dataset_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        main(dataclasses.replace(CONFIG, dataset=tmp_path / "none"))
