"""Raw videos: which there are, and their frames at an even rate, read one by one."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from data.frames import count_frames, frame_paths, iter_pictures
from utils.errors import UserError
from utils.video import DEMUXERS, iter_video, video_length, video_seconds

MAX_NAME = 100
FOLDER_FPS = 30
"""Of videos that are folders of pictures."""
MISSING_SHARE = 0.05
"""Of the frames that a video says it has: it was cut off if more are missing."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A video.

    Attributes:
        name: unique, fit for file names; its clips are NAME_00, NAME_01 and so on.
        path: of the file, or of a folder of numbered pictures.
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


def find_videos(
    folder: Path, known: Mapping[str, str] | None = None, left_out: Iterable[Path] = ()
) -> list[Video]:
    """All videos in a folder and the folders in it, sorted by path; what is hidden is left out.

    Links to folders are followed, but not out to one that the folder is in; what several of them lead to is
    found once.

    Args:
        folder: to look through.
        known: see `name_videos`.
        left_out: folders in it that are not looked through.

    Raises:
        UserError: no such folder, no videos in it, or a name that cannot be written down.
    """
    if not folder.is_dir():
        raise UserError(f"--videos {folder} is no folder; give a folder of videos ({', '.join(DEMUXERS)})")
    sources = sorted(
        path.relative_to(folder).as_posix()
        for path in _files_in(folder, left_out)
        if path.suffix.lower() in DEMUXERS and path.is_file()
    )
    if not sources:
        raise UserError(f"--videos {folder} holds no videos; give a folder of {', '.join(DEMUXERS)} files")
    for source in sources:
        try:
            source.encode()
        except UnicodeError as error:
            shown = os.fsencode(source).decode(errors="replace")
            raise UserError(f"the name of {folder}/{shown} is not UTF-8; rename the file") from error
    return name_videos(folder, sources, known)


def _files_in(folder: Path, left_out: Iterable[Path]) -> Iterator[Path]:
    """What is in a folder and the folders in it that is not hidden and is no folder, each place once."""
    seen = {os.path.realpath(path) for path in left_out} - {os.path.realpath(folder)}
    waiting, links = [folder], list[Path]()
    while waiting or links:  # links last: what lies in the folder itself has its path there
        place = waiting.pop() if waiting else links.pop(0)
        if os.path.realpath(place) in seen:
            continue
        seen.add(os.path.realpath(place))
        entries: list[Path] = []
        with contextlib.suppress(PermissionError):
            entries = sorted(place.iterdir())
        for path in entries:
            if path.name[0] == ".":
                continue
            if not path.is_dir():
                yield path
            elif not path.is_symlink():
                waiting.append(path)
            elif not folder.resolve().is_relative_to(path.resolve()):
                links.append(path)


def name_videos(folder: Path, sources: Iterable[str], known: Mapping[str, str] | None = None) -> list[Video]:
    """Give each video a name of its own.

    Args:
        folder: that the videos are in.
        sources: their paths in the folder: files, or folders of numbered pictures.
        known: source -> the name that an earlier run gave it; it keeps the name, and no other gets it.
    """
    names = dict(known or {})
    taken = {name.lower() for name in names.values()}
    videos = []
    for source in sources:
        is_folder = (folder / source).is_dir()
        stem = Path(source).name if is_folder else Path(source).with_suffix("").as_posix()
        base = re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_")[:MAX_NAME] or "video"
        name, number = base, 2
        while source not in names and name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        name = names.setdefault(source, name)
        taken.add(name.lower())
        videos.append(Video(name, folder / source, source))
    return videos


def length_of(path: Path) -> float | None:
    """Seconds that a video lasts by what it says of itself; None where it says nothing."""
    return count_frames(path) / FOLDER_FPS if path.is_dir() else video_seconds(path)


def _pictures(path: Path, longest_side: int | None) -> Iterator[tuple[np.ndarray, float]]:
    """The pictures of a video, upright, and their times in seconds."""
    if not path.is_dir():
        yield from ((picture, seconds) for picture, seconds, _ in iter_video(path, longest_side))
        return
    for number, picture in enumerate(iter_pictures(frame_paths(path))):
        scale = min(1.0, (longest_side or np.inf) / max(picture.shape[:2]))
        if scale < 1:
            size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        yield picture, number / FOLDER_FPS


def sample_frames(
    path: Path, fps: float, longest_side: int | None = None, max_minutes: float = 60
) -> Iterator[Frame]:
    """Read a video at an even rate: of each moment the frame that is nearest in time.

    The frames' own times count, so a phone's uneven rate comes out even. Where the video shows fewer frames a
    second, frames are repeated. Only two frames are in memory.

    Args:
        path: of the video, or a folder of numbered pictures, which are 30 a second.
        fps: moments per second.
        longest_side: pixels to which larger pictures are reduced while they are read.
        max_minutes: a longer video is refused.

    Raises:
        UserError: the video cannot be read, is too long, or ends before it should.
    """
    stated = None if path.is_dir() else video_length(path)
    limit = max_minutes * 60
    too_long = f"{path} is longer than {max_minutes:g} minutes; cut it, or raise --max_minutes"
    if (length_of(path) or 0) > limit + 1:
        raise UserError(too_long)
    last: Frame | None = None
    start, moment, count = 0.0, 0, 0
    for picture, seconds in _pictures(path, longest_side):
        start = seconds if last is None else start
        now = seconds - start
        if now > limit:
            raise UserError(too_long)
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
