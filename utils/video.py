"""Video files: H.264 that browsers play, animated GIFs, and reading of whatever clip a user gives."""

import collections
import concurrent.futures
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image

from utils.errors import UserError
from utils.files import atomic_path
from utils.image import MAX_PIXELS, MIN_SIDE

MIN_FPS = 0.1
MAX_FPS = 240
FRAMES_AHEAD = 32
"""Pictures that may wait for the encoder."""
# The suffix alone chooses the demuxer: left to guess, FFmpeg also reads playlists, which open other files.
DEMUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".gif": "gif",
}
# Code points of ITU-T H.273: SMPTE 170M matrix, primaries and transfer; limited range.
SMPTE_170M = 6
LIMITED_RANGE = 1

# The same pictures give the same bytes, on any processor and number of cores. Without this x264's fast
# estimate of what later frames take from a block reads memory that it never wrote, where pictures are small.
X264_OPTIONS = {"crf": "18", "x264-params": "cpu-independent=1"}


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write an H.264 mp4 that browsers play with the right colours, whole or not at all.

    Args:
        path: ends in .mp4.
        frames: (H, W, 3) uint8 RGB pictures of one size with even sides; read one by one, and encoded in
            another thread while the next ones are made. They must not change after they were given.
        fps: frames per second, above 0 and at most 240.

    Raises:
        UserError: another suffix, an impossible fps, an odd side, frames of several sizes, or none.
    """
    path = Path(path)
    rate = check_fps(fps)
    if path.suffix.lower() != ".mp4":
        raise UserError(f"videos are written as .mp4, not {path.name}; name the file {path.stem}.mp4")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise UserError(f"there are no frames to write to {path}")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UserError(f"H.264 needs even sides, and the frames for {path} are {width} x {height} pixels")
    with atomic_path(path) as temporary:
        options = {"movflags": "+faststart"}  # the index first, so that a browser need not load all of it
        with av.open(str(temporary), "w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=rate, options=X264_OPTIONS)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            context.thread_count = 1
            context.colorspace = context.color_primaries = context.color_trc = SMPTE_170M
            context.color_range = LIMITED_RANGE

            def encode(index: int, picture: np.ndarray) -> None:
                frame = _to_yuv(picture)
                frame.pts, frame.time_base = index, 1 / rate
                container.mux(stream.encode(frame))

            # One thread encodes, so that the caller can compute the next frames meanwhile.
            with concurrent.futures.ThreadPoolExecutor(1) as encoder:
                waiting: collections.deque[concurrent.futures.Future[None]] = collections.deque()
                for index, picture in enumerate(itertools.chain([first], frames)):
                    _check_frame(path, index, picture, first)
                    waiting.append(encoder.submit(encode, index, picture))
                    if len(waiting) > FRAMES_AHEAD:
                        waiting.popleft().result()
                for done in waiting:
                    done.result()
            container.mux(stream.encode())


def check_fps(fps: float) -> Fraction:
    """The frame rate as a fraction (29.97 becomes 30000/1001); UserError unless from 0.1 to 240."""
    if not (math.isfinite(fps) and MIN_FPS <= fps <= MAX_FPS):
        raise UserError(f"fps is {fps}; it must be from {MIN_FPS} to {MAX_FPS}, for example 8")
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    is_ntsc = fps != round(fps) and abs(float(ntsc) - fps) < 0.005
    return ntsc if is_ntsc else Fraction(fps).limit_denominator(1000)


def _check_frame(path: Path, index: int, picture: np.ndarray, first: np.ndarray) -> None:
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if picture.shape != first.shape:
        raise UserError(
            f"frame {index} for {path} is {picture.shape[1]} x {picture.shape[0]} pixels, "
            f"the first is {first.shape[1]} x {first.shape[0]}; all frames must have one size"
        )


def _to_yuv(picture: np.ndarray) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.reformat(
        format="yuv420p",
        interpolation=Interpolation.AREA,
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.MPEG,
    )


def read_video(
    path: str | Path,
    num_frames: int | None = None,
    max_frames: int = 1000,
    max_pixels: int = 500_000_000,
    max_seconds: float = 120,
) -> tuple[np.ndarray, float]:
    """Read a video's frames, upright as a player shows them.

    Args:
        path: an mp4, m4v, mov, mkv, webm, avi or gif file.
        num_frames: read only the first so many (or all there are); the rest is not looked at.
        max_frames: a longer video is refused.
        max_pixels: pixels of all frames together. A bigger video is refused (a pixel takes 3 bytes).
        max_seconds: a longer video is refused.

    Returns:
        (F, H, W, 3) uint8 RGB and the frames per second.

    Raises:
        UserError: no such file, another kind of file, damaged, without pictures, or over a limit.
    """
    limits = f"at most {max_frames} frames, {max_seconds:g} s and {max_pixels // 10**6} million pixels in all"
    frames: list[np.ndarray] = []
    fps = 0.0
    for picture, seconds, fps in iter_video(path):  # noqa: B007
        if num_frames is not None and len(frames) >= num_frames:
            break
        total = (len(frames) + 1) * picture.shape[0] * picture.shape[1]
        if len(frames) >= max_frames or total > max_pixels or seconds > max_seconds:
            raise UserError(f"{path} is too long; {limits} are read: cut or shrink it")
        frames.append(picture)
    return np.stack(frames), fps


def iter_video(
    path: str | Path, longest_side: int | None = None
) -> Iterator[tuple[np.ndarray, float, float]]:
    """Read a video frame by frame: picture (H, W, 3) uint8 RGB, its time in seconds, frames per second.

    Args:
        path: of the video.
        longest_side: pixels to which larger pictures are reduced while they are read.

    Raises:
        UserError: no such file, another kind of file, damaged, or without pictures.
    """
    path = Path(path)
    demuxer = DEMUXERS.get(path.suffix.lower())
    if demuxer is None:
        raise UserError(f"{path} is not a video that can be read; give one of {', '.join(DEMUXERS)}")
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; give a video file")
    count, first = 0, (0, 0)
    try:
        with av.open(_address(path), format=demuxer, options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no pictures; give a video")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise UserError(
                    f"{path} is damaged: nothing says how its pictures are stored; encode it anew"
                )
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            _check_dimensions(path, stream.width, stream.height)
            for frame in _decode(path, container, stream):
                picture = _to_rgb(frame, longest_side)
                first = first if count else picture.shape[:2]
                if picture.shape[:2] != first:
                    raise UserError(f"{path} changes its size at frame {count}; encode it anew in one size")
                if not 0 < fps < math.inf:
                    raise UserError(f"{path} has no frame rate; encode it anew with one")
                count += 1
                yield picture, float(frame.time or 0), fps
    except (av.error.FFmpegError, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be read as {path.suffix[1:].lower()} video ({reason}): it is damaged or cut off; "
            "copy it again, or encode it anew"
        ) from error
    if count == 0:
        raise UserError(
            f"no picture of {path} can be decoded: it is cut off or damaged; copy it again, or encode it anew"
        )


def video_length(path: str | Path) -> int | None:
    """About how many frames a video has by what its container says; None where it does not say."""
    path = Path(path)
    try:
        with av.open(_address(path), format=DEMUXERS.get(path.suffix.lower())) as container:
            stream = container.streams.video[0]
            if stream.frames or container.duration is None:
                return stream.frames or None
            return round(container.duration / av.time_base * float(stream.average_rate or 0)) or None
    except (av.error.FFmpegError, OSError, IndexError, AttributeError):
        return None


def video_seconds(path: str | Path) -> float | None:
    """How long a video is by what its container says; None where it does not say."""
    path = Path(path)
    try:
        with av.open(_address(path), format=DEMUXERS.get(path.suffix.lower())) as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.error.FFmpegError, OSError):
        return None


def _check_dimensions(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
        raise UserError(
            f"{path} is {width} x {height} pixels; a frame may have {MAX_PIXELS // 10**6} megapixels, "
            f"and each side needs at least {MIN_SIDE}"
        )


def _address(path: Path) -> str:
    """A file's path for FFmpeg, which takes what is before a colon in a relative one for a protocol."""
    return str(path.absolute())


def _decode(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    for frame in container.decode(stream):
        # A stream may change its size on the way, past the check of its header.
        _check_dimensions(path, frame.width, frame.height)
        yield frame


def _to_rgb(frame: av.VideoFrame, longest_side: int | None = None) -> np.ndarray:
    scale = 1.0 if longest_side is None else min(1.0, longest_side / max(frame.width, frame.height))
    picture = frame.to_ndarray(
        format="rgb24",
        width=max(1, round(frame.width * scale)),
        height=max(1, round(frame.height * scale)),
        interpolation=Interpolation.BILINEAR if scale == 1 else Interpolation.AREA,
    )
    return np.rot90(picture, round(frame.rotation / 90) % 4) if frame.rotation else picture


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write a looping animated GIF, whole or not at all.

    All frames share one palette, so that a still background does not flicker. GIF counts time in hundredths
    of a second: durations are rounded so that the errors do not add up.

    Args:
        path: path of the file.
        frames: (H, W, 3) uint8 RGB pictures of one size.
        fps: frames per second, above 0 and at most 50 (browsers slow a faster GIF down to 10).
    """
    check_fps(fps)
    if fps > 50:
        raise UserError(f"a GIF cannot show {fps} frames per second; give at most 50")
    if len(frames) == 0:
        raise UserError(f"there are no frames to write to {path}")
    for index, frame in enumerate(frames):
        _check_frame(Path(path), index, frame, frames[0])
    sample = np.concatenate([frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, 12).astype(int))])
    palette = Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures = [
        Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames
    ]
    ends = np.round(np.arange(len(frames) + 1) * 100 / fps).astype(int)
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=(np.diff(ends) * 10).tolist(),
            loop=0,
        )
