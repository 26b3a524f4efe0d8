import shutil
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.toys import figure_clip
from utils import video
from utils.errors import UserError
from utils.video import check_fps, read_video, video_length, video_seconds, write_gif, write_video

REAL_INPUTS = Path(__file__).resolve().parents[2] / "../shared/real_inputs"


def moving_square(num_frames=10, height=96, width=64):
    """A smooth background in which a bright square moves by 3 pixels a frame."""
    y, x = np.mgrid[:height, :width]
    background = np.stack([60 + x, 200 - y, 90 + (x + y) // 2], axis=-1).astype(np.uint8)
    frames = np.repeat(background[None], num_frames, 0)
    for i, frame in enumerate(frames):
        frame[20:40, 4 + 3 * i : 20 + 3 * i] = (250, 200, 40)
    return frames


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("fps", [8, 24, 29.97, 12.5])
def test_video_round_trip(tmp_path, fps):
    frames = moving_square()
    write_video(tmp_path / "new" / "clip.mp4", iter(frames), fps)
    read, read_fps = read_video(tmp_path / "new" / "clip.mp4")
    assert read.shape == frames.shape and read.dtype == np.uint8
    assert read_fps == pytest.approx(fps, rel=1e-4)
    assert psnr(frames, read) > 34
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["clip.mp4"]


def test_video_is_tagged_h264_and_starts_fast(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, moving_square(), 8)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tuple(int(tag) for tag in tags) == (6, 6, 6, 1)
        assert container.duration == pytest.approx(10 / 8 * 1e6, rel=0.01)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 128, 0), (30, 60, 200), (255, 255, 255), (128, 128, 128)])
def test_flat_colours_are_kept(tmp_path, color):
    write_video(tmp_path / "flat.mp4", [np.full((64, 32, 3), color, np.uint8)] * 3, 8)
    assert np.abs(read_video(tmp_path / "flat.mp4")[0].astype(int) - color).max() <= 4


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1000])
def test_impossible_fps_is_refused(tmp_path, fps):
    with pytest.raises(UserError, match="fps is"):
        write_video(tmp_path / "a.mp4", moving_square(), fps)
    assert not list(tmp_path.iterdir())


def test_fps_becomes_the_usual_fraction():
    assert [str(check_fps(fps)) for fps in (8, 29.97, 23.976, 12.5, 59.94)] == [
        "8",
        "30000/1001",
        "24000/1001",
        "25/2",
        "60000/1001",
    ]


def test_bad_frames_leave_no_file(tmp_path):
    with pytest.raises(UserError, match="even sides"):
        write_video(tmp_path / "odd.mp4", [np.zeros((33, 32, 3), np.uint8)], 8)
    with pytest.raises(UserError, match=r"frame 1 .* one size"):
        write_video(
            tmp_path / "two.mp4", [np.zeros((32, 32, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)], 8
        )
    with pytest.raises(UserError, match="no frames"):
        write_video(tmp_path / "none.mp4", [], 8)
    with pytest.raises(UserError, match=r"clip\.mp4"):
        write_video(tmp_path / "clip.avi", moving_square(), 8)

    def failing():
        yield from moving_square()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "stopped.mp4", failing(), 8)
    assert not list(tmp_path.iterdir())


def test_frames_are_encoded_beside_the_caller_but_not_far_behind(tmp_path, monkeypatch):
    encoded, threads, go_on = [], set(), threading.Event()

    def slow(picture):
        go_on.wait(10)
        threads.add(threading.get_ident())
        encoded.append(picture)
        return to_yuv(picture)

    to_yuv = video._to_yuv
    monkeypatch.setattr(video, "_to_yuv", slow)
    monkeypatch.setattr(video, "FRAMES_AHEAD", 3)
    ahead = []

    def frames():
        for index, frame in enumerate(moving_square()):
            if index == 3:
                go_on.set()  # three are waiting, and a fourth is asked for
            ahead.append(index - len(encoded))
            yield frame

    write_video(tmp_path / "clip.mp4", frames(), 8)
    assert max(ahead) == 3 and len(encoded) == 10
    assert threads and threading.get_ident() not in threads
    monkeypatch.undo()
    write_video(tmp_path / "plain.mp4", moving_square(), 8)
    assert (tmp_path / "clip.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


def test_an_error_of_the_encoder_leaves_no_file(tmp_path, monkeypatch):
    def failing(picture):
        raise OSError("disk full")

    monkeypatch.setattr(video, "_to_yuv", failing)
    with pytest.raises(OSError, match="disk full"):
        write_video(tmp_path / "clip.mp4", moving_square(), 8)
    assert not list(tmp_path.iterdir())


def test_limits_of_reading(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, moving_square(), 8)
    for limit in ({"max_frames": 9}, {"max_pixels": 9 * 96 * 64}, {"max_seconds": 1}):
        with pytest.raises(UserError, match=r"clip\.mp4 is too long"):
            read_video(path, **limit)
    assert len(read_video(path, num_frames=4, max_frames=9)[0]) == 4
    assert len(read_video(path, num_frames=40)[0]) == 10


def test_files_that_are_no_video(tmp_path):
    victim = tmp_path / "clip.mp4"
    write_video(victim, moving_square(), 8)
    (tmp_path / "text.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(victim.read_bytes()[:700])
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (tmp_path / "folder.mp4").mkdir()
    shutil.copy(victim, tmp_path / "renamed.webm")
    for name in ("text.mp4", "empty.mp4", "cut.mp4", "list.txt", "folder.mp4", "renamed.webm", "missing.mp4"):
        with pytest.raises(UserError) as error:
            read_video(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)


def test_a_download_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "whole.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=8)
        stream.width = stream.height = 64
        for picture in np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert len(read_video(path)[0]) == 4
    (tmp_path / "cut.webm").write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match=r"cut\.webm.* (cut off|encode it anew)"):
        read_video(tmp_path / "cut.webm")


def test_a_rotated_phone_video_is_read_upright(tmp_path):
    path = tmp_path / "clip.mp4"
    frames = moving_square(2)
    write_video(path, frames, 8)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and ids, layer and volume
    quarter_turn_clockwise = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in quarter_turn_clockwise)
    path.write_bytes(data)
    read = read_video(path)[0]
    assert read.shape == (2, 64, 96, 3)
    assert psnr(np.rot90(frames, -1, axes=(1, 2)), read) > 30


def test_gif_keeps_the_pictures_and_the_total_time(tmp_path):
    frames = moving_square(8)
    write_gif(tmp_path / "a.gif", frames, 12)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 8 and gif.info["loop"] == 0
        total = 0
        for i, frame in enumerate(frames):
            gif.seek(i)
            total += gif.info["duration"]
            assert psnr(np.asarray(gif.convert("RGB")), frame) > 25
    assert total == 670
    with pytest.raises(UserError, match="at most 50"):
        write_gif(tmp_path / "b.gif", frames, 60)


@pytest.mark.skipif(not REAL_INPUTS.exists(), reason="the real clips are not here")
def test_real_clips_are_read():
    frames, fps = read_video(REAL_INPUTS / "silver01.mp4")
    assert frames.shape == (70, 640, 512, 3) and fps > 0
    assert read_video(REAL_INPUTS / "skeletons.mp4", num_frames=5)[0].shape == (5, 768, 512, 3)


def test_the_same_frames_give_the_same_bytes_whatever_was_in_memory(tmp_path: Path) -> None:
    frames, _, _ = figure_clip(6)
    written, kept = set(), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = [np.full(rng.integers(100, 100_000), 1e3 * rng.normal(), np.float32) for _ in range(40)]
        kept = [*kept[-100:], *noise[::5]]
        write_video(tmp_path / "video.mp4", frames, 12)
        written.add((tmp_path / "video.mp4").read_bytes())
    assert len(written) == 1


def test_a_relative_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "clip-12:30.mp4"
    write_video(name, [np.full((32, 32, 3), 90, np.uint8)] * 4, 8)
    frames, fps = read_video(name)
    assert len(frames) == 4 and fps == 8
    assert video_length(name) == 4 and video_seconds(name) == 0.5
