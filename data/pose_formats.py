"""Poses of any form that people bring, as one `PoseTrack`: JSON, numbered pictures, videos."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.pose_json import number_in_name, read_pose_json
from data.pose_track import Medium, Person, PoseTrack, follow_person
from utils.errors import UserError
from utils.image import read_image
from utils.video import DEMUXERS, iter_video
from warping.palettes import Palette
from warping.skeletons import find_palette, read_people

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FORMS = (
    "give a folder of numbered skeleton pictures (PNG, JPEG, WebP) or of OpenPose .json files, a .json file, "
    f"or a video ({', '.join(DEMUXERS)})"
)
PROBES = 8  # frames that the palette is found in
PROBE_SIDE = 768
BLACK_BELOW, WHITE_ABOVE = 40, 215


@dataclasses.dataclass(frozen=True)
class _Picture:
    pixels: np.ndarray
    source: str
    seconds: float | None = None
    fps: float | None = None


def read_pose_track(
    path: str | Path,
    num_frames: int | None = None,
    near: np.ndarray | None = None,
    canvas: tuple[int, int] | None = None,
) -> PoseTrack:
    """Read poses from a file or folder of any form that is known.

    Args:
        path: path of a JSON file, a folder of JSON files, a folder with one series of numbered pictures, one
            picture, or a video.
        num_frames: read only the first so many; None reads all.
        near: (18, 3) the photo's pose in the same pixels: of several people the nearest is followed, else the
            largest.
        canvas: height and width in pixels for relative coordinates of files that say no size.

    Returns:
        The track; frames in which nothing was read are zeros, and where nothing at all was read, all are.

    Raises:
        UserError: no such path, or nothing of these forms; the message says what is expected.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there are no poses at {path}; {FORMS}")
    if path.is_dir():
        series = find_series(path)
        if not series:
            return _first(read_pose_json(path, near, canvas), num_frames)
        pictures = series[:num_frames]
        medium: Medium = "lossless" if all(each.suffix.lower() == ".png" for each in pictures) else "lossy"
        return _read_pictures(lambda: (_Picture(_open(each), str(each)) for each in pictures), medium, near)
    if path.suffix.lower() == ".json":
        return _first(read_pose_json(path, near, canvas), num_frames)
    if path.suffix.lower() in DEMUXERS:
        lossless: Medium = "lossless" if path.suffix.lower() == ".gif" else "lossy"
        return _read_pictures(lambda: _video(path, num_frames), lossless, near)
    if path.suffix.lower() in PICTURES:
        medium = "lossless" if path.suffix.lower() == ".png" else "lossy"
        return _read_pictures(lambda: iter([_Picture(_open(path), str(path))]), medium, near)
    raise UserError(f"{path} is no pose file that can be read; {FORMS}")


def find_series(folder: str | Path) -> list[Path]:
    """The pictures of a folder's one numbered series in the order of their numbers.

    Any name with a number and any first number will do: 000.png, frame_0001.png, pose-17.webp. Pictures
    without a number are ignored.

    Returns:
        Their paths; none where the folder holds no numbered pictures.

    Raises:
        UserError: no such folder, several series, a number twice, or a gap; the message names it.
    """
    folder = Path(folder)
    try:
        with os.scandir(folder) as entries:
            files = [Path(entry.path) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"there is no folder of poses {folder}; {FORMS}") from error
    series: dict[str, list[tuple[int, Path]]] = {}
    for file in files:
        number = number_in_name(file)
        if file.suffix.lower() in PICTURES and number is not None:
            digits = file.stem.rfind(str(number))
            stem = file.stem[:digits].rstrip("0") + "#" + file.stem[digits + len(str(number)) :]
            series.setdefault(stem, []).append((number, file))
    if not series:
        return []
    if len(series) > 1:
        names = ", ".join(sorted(min(each)[1].name for each in series.values())[:4])
        raise UserError(
            f"{folder} holds {len(series)} series of pictures ({names} ...); leave only the skeletons there"
        )
    numbered = sorted(next(iter(series.values())))
    for expected, (number, file) in enumerate(numbered, numbered[0][0]):
        if number < expected:
            raise UserError(f"{folder} has frame {number} twice ({file.name}); remove one of them")
        if number > expected:
            raise UserError(f"{folder} has no frame {expected} ({file.name} follows); add it, or renumber")
    return [file for _, file in numbered]


def _first(track: PoseTrack, num_frames: int | None) -> PoseTrack:
    return track if num_frames is None else cut_track(track, num_frames)


def cut_track(track: PoseTrack, num_frames: int) -> PoseTrack:
    """The first frames of a track, or all there are."""
    return dataclasses.replace(
        track,
        keypoints=track.keypoints[:num_frames],
        confidences=track.confidences[:num_frames],
        times=None if track.times is None else track.times[:num_frames],
        people=track.people[:num_frames],
        sources=track.sources[:num_frames],
    )


def _open(path: Path) -> np.ndarray:
    """A skeleton picture; where it is transparent it is black."""
    picture = read_image(path)
    with Image.open(path) as image:
        if image.has_transparency_data and image.size == (picture.shape[1], picture.shape[0]):
            solid = np.asarray(image.convert("RGBA"))[..., 3:] > 127
            return np.where(solid, picture, 0).astype(np.uint8)
    return picture


def _video(path: Path, num_frames: int | None) -> Iterator[_Picture]:
    for number, (pixels, seconds, fps) in enumerate(iter_video(path)):
        if num_frames is not None and number >= num_frames:
            return
        yield _Picture(pixels, f"{path}, frame {number}", seconds, fps)


def _read_pictures(
    open_pictures: Callable[[], Iterator[_Picture]], medium: Medium, near: np.ndarray | None
) -> PoseTrack:
    """Read skeletons twice: once for the palette, once for the joints, so that no video is held in memory."""
    probes: list[np.ndarray] = []
    step, size = 1, (0, 0)
    for number, picture in enumerate(open_pictures()):
        height, width = picture.pixels.shape[:2]
        if number and (height, width) != size:
            raise UserError(
                f"{picture.source} is {width} x {height} pixels, the first is {size[1]} x {size[0]}; "
                "all poses must have one size"
            )
        size = height, width
        if number % step == 0:
            probes.append(picture.pixels)
        if len(probes) == 2 * PROBES:
            probes, step = probes[::2], 2 * step
    probes = [probes[i] for i in np.unique(np.linspace(0, len(probes) - 1, PROBES).astype(int))]
    palette = find_palette([_smaller(each) for each in probes])
    frames: list[list[Person]] = []
    sources, seconds, fps = [], [], None
    for picture in open_pictures():
        frames.append(_people(picture.pixels, palette))
        sources.append(picture.source)
        seconds.append(picture.seconds)
        fps = picture.fps or fps
    keypoints, confidences = follow_person(frames, near)
    times = None
    if all(each is not None for each in seconds):
        times = np.array(seconds, np.float64) - float(seconds[0] or 0)
        if len(times) > 1 and times[-1] > 0:  # what a container says of its rate is often its clock's
            fps = (len(times) - 1) / float(times[-1])
    return PoseTrack(
        keypoints=keypoints,
        confidences=confidences,
        height=size[0],
        width=size[1],
        fps=fps,
        times=times,
        medium="lossy" if palette is not None and palette.few_colors else medium,
        palette=None if palette is None else palette.name,
        swapped=palette is not None and palette.swapped,
        ground=_ground(probes),
        people=np.array([len(each) for each in frames]),
        sources=tuple(sources),
    )


def _smaller(picture: np.ndarray) -> np.ndarray:
    """A picture of at most PROBE_SIDE pixels a side: enough to tell its colours."""
    scale = PROBE_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _people(picture: np.ndarray, palette: Palette | None) -> list[Person]:
    if palette is None:
        return []
    return [(person.joints, person.confidence) for person in read_people(picture, palette)]


def _ground(pictures: list[np.ndarray]) -> str:
    """What skeletons are drawn on, by the pictures' borders."""
    borders = [np.concatenate([each[0], each[-1], each[:, 0], each[:, -1]]) for each in pictures]
    colour = np.median(np.concatenate(borders), axis=0) if borders else np.zeros(3)
    if colour.max() < BLACK_BELOW:
        return "black"
    return "white" if colour.min() > WHITE_ABOVE else "coloured"
