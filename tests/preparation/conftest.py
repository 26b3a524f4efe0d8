"""Phone videos of the clips that ship."""

from pathlib import Path

import numpy as np
import pytest

from data.frames import read_frames
from data.synthetic.phone import Phone, film

SAMPLE = Path(__file__).resolve().parents[2] / "fashion_dataset"


@pytest.fixture(scope="session")
def turning() -> np.ndarray:
    """(24, 512, 256, 3): she turns to her left and back."""
    return read_frames(SAMPLE / "fashion_crop" / "test_00000")


@pytest.fixture(scope="session")
def phone_videos(tmp_path_factory: pytest.TempPathFactory, turning: np.ndarray) -> Path:
    """A folder of two videos of two people: a turned mov at 20 frames a second, and an mp4 in a folder."""
    folder = tmp_path_factory.mktemp("phone_videos")
    film(folder / "turn.mov", list(turning), 10, Phone(480, 270, repeats=2, rotation=90), seed=1)
    other = read_frames(SAMPLE / "fashion_crop" / "test_00001")
    film(folder / "more" / "step one.mp4", list(other), 10, Phone(360, 480, repeats=1, left=0.3), seed=2)
    return folder
