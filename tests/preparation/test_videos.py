"""Videos are found and read at an even rate, whatever they are like."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from preparation.videos import find_videos, name_videos, sample_frames
from utils.errors import UserError


def write(path: Path, times: list[float], size: tuple[int, int] = (48, 64)) -> None:
    """Frames of growing brightness, at these times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for number, seconds in enumerate(times):
            picture = np.full((*size, 3), 20 + 5 * number % 200, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_names_are_unique_and_fit_for_files(tmp_path: Path) -> None:
    for name in ("a b.mp4", "a_b.MOV", "in/a b.webm", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos = find_videos(tmp_path)
    assert {video.source: video.name for video in videos} == {
        "a b.mp4": "a_b",
        "a_b.MOV": "a_b-2",
        "in/a b.webm": "in_a_b",
    }


def test_links_are_followed_and_what_is_hidden_or_left_out_is_not_seen(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    for name in ("a.mp4", "in/b.mp4", ".trash/c.mp4", "in/.trash/deep/c.mp4", "made/sheets/d.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / "real" / "more").mkdir(parents=True)
    (tmp_path / "real" / "more" / "e.mp4").touch()
    (folder / "linked").symlink_to(tmp_path / "real")
    (folder / "in" / "again").symlink_to("../in")
    (tmp_path / "real" / "round").symlink_to(folder)
    (folder / "to_made").symlink_to("made")
    videos = find_videos(folder, None, [folder / "made"])
    assert [video.source for video in videos] == ["a.mp4", "in/b.mp4", "linked/more/e.mp4"]
    assert [video.source for video in find_videos(folder / "made", None, [folder / "made"])] == [
        "sheets/d.mp4"
    ]


def test_a_video_keeps_its_name_whatever_comes_and_goes(tmp_path: Path) -> None:
    first = {video.source: video.name for video in name_videos(tmp_path, ["b c.mov", "b_c.mp4"])}
    assert first == {"b c.mov": "b_c", "b_c.mp4": "b_c-2"}
    later = {video.source: video.name for video in name_videos(tmp_path, ["b c.avi", "b_c.mp4"], first)}
    assert later == {"b c.avi": "b_c-3", "b_c.mp4": "b_c-2"}  # b_c is of a video that is gone


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.mp4")).touch()
    with pytest.raises(UserError, match=r"�\.mp4 is not UTF-8; rename the file"):
        find_videos(tmp_path)


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no videos; give a folder of \.mp4"):
        find_videos(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        find_videos(tmp_path / "none")


def test_an_uneven_rate_comes_out_even(tmp_path: Path) -> None:
    times = np.cumsum([0.0, *np.random.default_rng(0).uniform(0.02, 0.05, 60)])
    write(tmp_path / "clip.mp4", times.tolist())
    frames = list(sample_frames(tmp_path / "clip.mp4", 10))
    nearest = [int(np.abs(times - moment / 10).argmin()) for moment in range(len(frames))]
    assert [frame.number for frame in frames] == nearest
    assert len(frames) == pytest.approx(times[-1] * 10 + 1, abs=1)


def test_frames_of_a_slow_video_are_repeated(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", [0.0, 0.25, 0.5, 0.75])
    numbers = [frame.number for frame in sample_frames(tmp_path / "clip.mp4", 8)]
    assert len(numbers) in (7, 8) and numbers == sorted(numbers) and set(numbers) == {0, 1, 2, 3}


def test_large_pictures_are_reduced_while_they_are_read(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", [0.0, 0.1], size=(64, 160))
    (first, *_) = sample_frames(tmp_path / "clip.mp4", 10, longest_side=80)
    assert first.picture.shape == (32, 80, 3) and abs(first.picture.mean() - 20) < 4
    (same, *_) = sample_frames(tmp_path / "clip.mp4", 10, longest_side=300)
    assert same.picture.shape == (64, 160, 3)


def test_a_long_video_is_refused_with_the_flag_that_allows_it(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", [0.0, 50.0, 100.0])
    assert len(list(sample_frames(tmp_path / "clip.mp4", 1, max_minutes=2))) > 100
    with pytest.raises(UserError, match=r"longer than 1 minutes.*--max_minutes"):
        next(sample_frames(tmp_path / "clip.mp4", 1, max_minutes=1))  # before anything is read


def test_a_video_that_was_cut_off_is_named(tmp_path: Path, turning: np.ndarray) -> None:
    path = tmp_path / "clip.mp4"
    write(path, [number / 30 for number in range(90)])
    content = path.read_bytes()
    moov = content.index(b"moov") - 4  # its index stands at the end
    path.write_bytes(content[:moov])
    with pytest.raises(UserError, match=r"clip\.mp4 cannot be read as mp4 video"):
        list(sample_frames(path, 10))
