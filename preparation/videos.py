"""Raw videos: which there are, and their frames at an even rate, read one by one."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.video import DEMUXERS, iter_video, video_length

MAX_NAME = 100
MISSING_SHARE = 0.05
"""Of the frames that a video says it has: it was cut off if more are missing."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A video file.

    Attributes:
        name: unique, fit for file names; its clips are NAME_00, NAME_01 and so on.
        path: of the file.
        source: the path as seen from the folder of videos.
    """

    name: str
    path: Path
    source: str


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        picture: (H, W, 3) uint8 RGB, upright.
        seconds: when the video shows it, from the start of its pictures.
        number: which of the video's frames it is, from 0.
    """

    picture: np.ndarray
    seconds: float
    number: int


def find_videos(folder: Path) -> list[Video]:
    """All videos in a folder and the folders in it, sorted by path; hidden ones are left out.

    Raises:
        UserError: no such folder, or no videos in it.
    """
    if not folder.is_dir():
        raise UserError(f"--videos {folder} is no folder; give a folder of videos ({', '.join(DEMUXERS)})")
    sources = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in DEMUXERS and path.is_file() and path.name[0] != "."
    )
    if not sources:
        raise UserError(f"--videos {folder} holds no videos; give a folder of {', '.join(DEMUXERS)} files")
    videos: dict[str, Video] = {}
    for source in sources:
        stem = Path(source).with_suffix("").as_posix()
        base = re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_")[:MAX_NAME] or "video"
        name, number = base, 2
        while name.lower() in videos:
            name, number = f"{base}-{number}", number + 1
        videos[name.lower()] = Video(name, folder / source, source)
    return list(videos.values())


def sample_frames(
    path: Path, fps: float, longest_side: int | None = None, max_minutes: float = 60
) -> Iterator[Frame]:
    """Read a video at an even rate: of each moment the frame that is nearest in time.

    The frames' own times count, so a phone's uneven rate comes out even. Where the video shows fewer frames a
    second, frames are repeated. Only two frames are in memory.

    Args:
        path: of the video.
        fps: moments per second.
        longest_side: pixels to which larger pictures are reduced while they are read.
        max_minutes: a longer video is refused.

    Raises:
        UserError: the video cannot be read, is too long, or ends before it should.
    """
    stated = video_length(path)
    last: Frame | None = None
    start, moment, count = 0.0, 0, 0
    for picture, seconds, _ in iter_video(path, longest_side):
        start = seconds if last is None else start
        now = seconds - start
        if now > max_minutes * 60:
            raise UserError(f"{path} is longer than {max_minutes:g} minutes; cut it, or raise --max_minutes")
        if last is not None:
            if now <= last.seconds:  # times that do not rise say nothing
                count += 1
                continue
            while moment / fps <= (last.seconds + now) / 2:
                yield last
                moment += 1
        last = Frame(picture, now, count)
        count += 1
    if last is not None:
        usual = last.seconds / max(last.number, 1)
        while moment / fps < last.seconds + usual / 2 or moment == 0:
            yield last
            moment += 1
    if stated is not None and count < (1 - MISSING_SHARE) * stated - 2:
        raise UserError(
            f"{path} ends after {count} of {stated} frames, as if it were cut off; copy or encode it anew"
        )
