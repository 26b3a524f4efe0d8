import numpy as np
import pytest

from data.frames import count_frames, frame_paths, read_frames, read_poses
from utils.errors import UserError
from utils.image import write_png
from utils.video import write_video


def make_frames(folder, count, height=32, width=16):
    frames = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        write_png(folder / f"{i:03d}.png", frame)
    return frames


def test_frames_are_read_in_the_order_of_their_numbers(tmp_path):
    frames = make_frames(tmp_path, 12)
    (tmp_path / "011.png").rename(tmp_path / "11.PNG")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".000-half.png").touch()
    assert np.array_equal(read_frames(tmp_path), frames)
    assert np.array_equal(read_frames(tmp_path, [11, 3, 3]), frames[[11, 3, 3]])
    assert np.array_equal(read_frames(tmp_path, np.arange(2, 5)), frames[2:5])
    assert count_frames(tmp_path) == 12


def test_more_than_a_thousand_frames_are_sorted_by_number(tmp_path):
    for i in range(1002):
        (tmp_path / f"{i:03d}.png").touch()
    assert [p.name for p in frame_paths(tmp_path)[998:]] == ["998.png", "999.png", "1000.png", "1001.png"]


def test_gaps_doubles_and_missing_folders_are_named(tmp_path):
    make_frames(tmp_path / "gap", 3)
    (tmp_path / "gap" / "001.png").unlink()
    make_frames(tmp_path / "double", 3)
    (tmp_path / "double" / "1.png").touch()
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("gap", "no frame 001"),
        ("double", "twice"),
        ("empty", "no frames"),
        ("none", "no folder"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            frame_paths(tmp_path / name)
        assert name in str(error.value)


def test_damage_and_another_size_are_named(tmp_path):
    make_frames(tmp_path, 3)
    with pytest.raises(UserError, match="frames 0 to 2"):
        read_frames(tmp_path, [3])
    write_png(tmp_path / "001.png", np.zeros((64, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"001\.png is 16 x 64"):
        read_frames(tmp_path)
    (tmp_path / "001.png").write_bytes((tmp_path / "000.png").read_bytes()[:300])
    with pytest.raises(UserError, match=r"001\.png is damaged"):
        read_frames(tmp_path)


def test_poses_come_from_a_folder_or_a_video(tmp_path):
    frames = make_frames(tmp_path / "poses", 5)
    write_video(tmp_path / "poses.mp4", frames, 8)
    assert np.array_equal(read_poses(tmp_path / "poses", 3), frames[:3])
    assert read_poses(tmp_path / "poses.mp4").shape == frames.shape
    assert len(read_poses(tmp_path / "poses.mp4", 2)) == 2
    for path in (tmp_path / "poses", tmp_path / "poses.mp4"):
        with pytest.raises(UserError, match="5 poses, 6 are needed"):
            read_poses(path, 6)
    with pytest.raises(UserError, match="no poses"):
        read_poses(tmp_path / "missing")
