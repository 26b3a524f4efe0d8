"""One video becomes clips: it is read twice, once to find the person and once to cut her out."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from data.pose_json import read_pose_json
from data.pose_track import PoseTrack
from evaluation.motion_rules import make_track
from generation.framing import ARM_SHARE
from generation.photo import people_beside
from models.pose_finder import PoseFinder
from preparation import layout
from preparation.crops import crop_around, extent_of_clip, for_picture, needed_side
from preparation.faces import blur_face
from preparation.people import middle_person
from preparation.readings import read_clip
from preparation.shots import Span, find_spans, split_shots
from preparation.splits import look_of
from preparation.videos import Frame, Video, sample_frames
from utils.contact_sheet import contact_sheet, spread, thumbnail
from utils.errors import UserError
from utils.files import atomic_folder, atomic_path, write_json
from utils.image import Placement, fit_size, place_image
from utils.pose_drawing import draw_pose

LOOK_SIDE = 768
"""Longest side in pixels of the pictures in which she is looked for."""
SHEET_COLUMNS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the clips.

    Attributes:
        height: of the frames in pixels; they are half as wide.
        fps: frames per second.
        min_frames: of a clip, and of what is described by one sentence.
        max_frames: of a clip.
        max_minutes: of a video.
        keypoints: folder of files of joints that take the place of the finder.
        blur_faces: make faces unrecognisable.
        picture_format: of the frames.
        format: "videos" are cropped around the person; the frames of "fashion_text2video" are kept whole.
    """

    height: int = 512
    fps: float = 10.0
    min_frames: int = 24
    max_frames: int = 240
    max_minutes: float = 60.0
    keypoints: Path | None = None
    blur_faces: bool = False
    picture_format: Literal["jpg", "png"] = "jpg"
    format: Literal["videos", "fashion_text2video"] = "videos"


@dataclasses.dataclass(frozen=True)
class _Clip:
    """What is known of a clip before its pictures are cut out; joints and masks are in its frame."""

    start: int
    keypoints: np.ndarray
    confidence: np.ndarray
    masks: list[bytes]
    times: list[float]
    numbers: list[int]
    place: Placement


@dataclasses.dataclass(frozen=True)
class _Found:
    """The joints of a part of a video, in pixels of the pictures that were looked at."""

    keypoints: np.ndarray
    confidence: np.ndarray
    score: np.ndarray
    masks: list[np.ndarray | None]
    size: tuple[int, int]


def prepare_video(
    video: Video,
    output_dir: Path,
    settings: Settings,
    finder: PoseFinder | None,
    tell: Callable[[float], object] | None = None,
) -> None:
    """Write all clips of a video and then its record.

    What an earlier run left of the video is replaced.

    Args:
        video: to read.
        output_dir: the dataset's folder.
        settings: of the clips.
        finder: of poses; may be None where `settings.keypoints` gives them.
        tell: is called with seconds of the video that are done, from time to time.

    Raises:
        UserError: the video or its joints cannot be read.
        OutputError: the dataset's folder cannot be written.
    """
    try:
        status = video.path.stat()
    except OSError as error:
        raise UserError(f"{video.path} cannot be read: {error.strerror}") from error
    clips, dropped, last, rate = _look(video, settings, finder, tell)
    is_slow = rate < 0.95 * settings.fps
    try:
        layout.remove_video(output_dir, video.name)
        entries = _cut_out(video, output_dir, settings, clips, finder, tell)
        record = {
            "source": video.source,
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
            "seconds": round(last.seconds, 3),
            "frames": last.number + 1,
            "notes": [f"it shows {rate:.3g} frames a second; some are repeated"] if is_slow else [],
            "clips": entries,
            "dropped": dropped,
        }
        write_json(layout.record_path(output_dir, video.name), record)
    except (OSError, UserError) as error:  # all of the video was read before
        raise layout.OutputError(str(error)) from error


def _look(
    video: Video, settings: Settings, finder: PoseFinder | None, tell: Callable[[float], object] | None
) -> tuple[list[_Clip], list[dict[str, Any]], Frame, float]:
    """First reading: the clips, what is left out, the last frame, and frames per second of the video."""
    given = None if settings.keypoints is None else _given_joints(settings.keypoints, video)
    clips: list[_Clip] = []
    dropped: list[dict[str, Any]] = []
    start, last = 0, Frame(np.empty(0), 0.0, 0)
    frames = _told(sample_frames(video.path, settings.fps, LOOK_SIDE, settings.max_minutes), tell)
    for part in split_shots(frames, settings.max_frames):
        seen: list[Frame] = []
        found = _find(_remember(part, seen), seen, settings.fps, finder, given)
        for span in find_spans(found.keypoints, found.score, found.size, settings.min_frames):
            if span.reason:
                dropped.append(_left_out(span, seen, settings.fps))
            else:
                clips.append(_clip(start, span, found, seen, settings))
        start, last = start + len(seen), seen[-1]
    rate = last.number / last.seconds if last.seconds > 0 else settings.fps
    if given is not None and not 0 <= len(given) - last.number - 1 <= rate / settings.fps + 1:
        raise UserError(
            f"the joints of {video.source} are of {len(given)} frames, the video has about "
            f"{last.number + 1}; give one pose for each of its frames"
        )
    return clips, dropped, last, rate


def _told(frames: Iterator[Frame], tell: Callable[[float], object] | None) -> Iterator[Frame]:
    """The frames; half of their time is told, as each video is read twice."""
    told = 0.0
    for frame in frames:
        if tell is not None:
            tell((frame.seconds - told) / 2)
        told = frame.seconds
        yield frame


def _remember(frames: Iterator[Frame], seen: list[Frame]) -> Iterator[np.ndarray]:
    """The pictures one by one; `seen` gets the frames, of whose pictures only the size is kept."""
    for frame in frames:
        seen.append(dataclasses.replace(frame, picture=np.empty((*frame.picture.shape[:2], 0), np.uint8)))
        yield frame.picture


def _given_joints(folder: Path, video: Video) -> PoseTrack:
    """The joints of a video, one pose for each of its frames."""
    stem = Path(video.source).with_suffix("")
    for path in (folder / f"{stem}.json", folder / stem):
        if path.exists():
            return read_pose_json(path)
    raise UserError(
        f"--keypoints {folder} has no joints of {video.source}; add {stem}.json or a folder {stem}"
    )


def _find(
    pictures: Iterator[np.ndarray],
    seen: list[Frame],
    fps: float,
    finder: PoseFinder | None,
    given: PoseTrack | None,
) -> _Found:
    """Her joints in a part of a video; `seen` gets its frames meanwhile."""
    if given is None:
        assert finder is not None
        first = next(pictures)
        start = middle_person(finder, first)
        track = finder.find_track(itertools.chain([first], pictures), fps, with_masks=True, start=start)
        size = seen[0].picture.shape[:2]
        return _Found(track.keypoints, track.confidence, track.score, track.masks, size)
    for _ in pictures:
        pass
    height, width = seen[0].picture.shape[:2]
    numbers = np.minimum([frame.number for frame in seen], len(given) - 1)
    place = fit_size(given.height or height, given.width or width, height, width)
    keypoints = given.keypoints[numbers].copy()
    if given.height and given.width:
        keypoints = place.to_fitted(keypoints)
    keypoints[given.keypoints[numbers, :, 2] <= 0] = 0
    score = np.asarray((keypoints[..., 2] > 0).any(axis=1), np.float64)
    return _Found(keypoints, given.confidences[numbers], score, [None] * len(seen), (height, width))


def _left_out(span: Span, seen: list[Frame], fps: float) -> dict[str, Any]:
    start, end = seen[span.start].seconds, seen[span.stop - 1].seconds + 1 / fps
    frames = span.stop - span.start
    return {"start_s": round(start, 2), "end_s": round(end, 2), "frames": frames, "reason": span.reason}


def _clip(start: int, span: Span, found: _Found, seen: list[Frame], settings: Settings) -> _Clip:
    """A clip of frames that are kept; `start` is the number of the part's first sampled frame."""
    here = slice(span.start, span.stop)
    height, width = settings.height, settings.height // 2
    masks = found.masks[here]
    if settings.format == "videos":
        person = extent_of_clip(found.keypoints[here], masks, found.size)
        place = crop_around(person, found.size, height, width)
    else:
        place = fit_size(*found.size, height, width)
    keypoints = place.to_fitted(found.keypoints[here])
    inside = (keypoints[..., :2] > -0.5).all(axis=-1) & (
        keypoints[..., :2] < (width - 0.5, height - 0.5)
    ).all(axis=-1)
    keypoints[~inside, 2] = 0
    to_frame = np.array([[place.scale, 0, place.left], [0, place.scale, place.top]])
    to_frame[:, 2] += (place.scale - 1) / 2
    encoded = []
    for mask in masks:
        if mask is not None:
            whole = cv2.warpAffine(mask, to_frame, (width, height), flags=cv2.INTER_LINEAR)
            encoded.append(layout.encode((whole > 0.5).astype(np.uint8), "png"))
    return _Clip(
        start=start + span.start,
        keypoints=keypoints,
        confidence=found.confidence[here],
        masks=encoded if len(encoded) == len(masks) else [],
        times=[round(frame.seconds, 4) for frame in seen[here]],
        numbers=[frame.number for frame in seen[here]],
        place=place,
    )


def _cut_out(
    video: Video,
    output_dir: Path,
    settings: Settings,
    clips: list[_Clip],
    finder: PoseFinder | None,
    tell: Callable[[float], object] | None,
) -> list[dict[str, Any]]:
    """Second reading: write the clips' files; what the record says of each."""
    if not clips:
        return []
    side = max(needed_side(clip.place) for clip in clips)
    frames = enumerate(_told(sample_frames(video.path, settings.fps, side, settings.max_minutes), tell))
    entries = []
    for number, clip in enumerate(clips):
        own = itertools.islice(
            (frame.picture for index, frame in frames if index >= clip.start), len(clip.keypoints)
        )
        entries.append(
            _write_clip(f"{video.name}_{number:02d}", video, output_dir, settings, clip, own, finder)
        )
    return entries


def _write_clip(
    name: str,
    video: Video,
    output_dir: Path,
    settings: Settings,
    clip: _Clip,
    pictures: Iterator[np.ndarray],
    finder: PoseFinder | None,
) -> dict[str, Any]:
    """Write a clip's files and say what happens in it."""
    height, width = settings.height, settings.height // 2
    shown = spread(len(clip.keypoints), SHEET_COLUMNS)
    front = _front(clip.keypoints)
    thumbnails: list[np.ndarray] = []
    skeletons: list[np.ndarray] = []
    notes: list[str] = []
    look = None
    with atomic_folder(output_dir / layout.FRAMES / name) as folder:
        for number, (picture, joints) in enumerate(zip(pictures, clip.keypoints, strict=True)):
            place = for_picture(clip.place, picture.shape[:2])
            if number == 0 and finder is not None and _accompanied(finder, picture, clip):
                notes.append("another person is beside her; the one nearest to the middle is followed")
            frame = place_image(picture, place, height, width)
            if settings.blur_faces:
                frame = blur_face(frame, joints)
            if number == front:
                look = look_of(frame, joints)
            content = layout.encode(frame, settings.picture_format)
            (folder / f"{number:03d}.{settings.picture_format}").write_bytes(content)
            if number in shown:
                thumbnails.append(thumbnail(frame))
                skeletons.append(thumbnail(draw_pose(joints, height, width)))
    assert look is not None
    with atomic_folder(output_dir / layout.POSES / name) as folder:
        drawn = (layout.encode(draw_pose(joints, height, width), "png") for joints in clip.keypoints)
        layout.write_numbered(folder, drawn, "png")
    if clip.masks:
        with atomic_folder(output_dir / layout.MASKS / name) as folder:
            layout.write_numbered(folder, clip.masks, "png")
    else:
        notes.append("no masks: the joints were given" if finder is None else "no masks")
    write_json(output_dir / layout.POSES / f"{name}.json", _describe(video, settings, clip))
    readings, silence = read_clip(clip.keypoints, settings.min_frames)
    rows = [("frames", thumbnails), ("skeletons", skeletons)]
    if clip.masks:
        rows.append(("masks", [thumbnail(layout.decode(clip.masks[number]) * 255) for number in shown]))
    title = f"{name}: {video.source}, {clip.times[0]:.1f} to {clip.times[-1]:.1f} s"
    for path, picture in (
        (
            output_dir / layout.SHEETS / f"{name}.png",
            contact_sheet(rows, title=title, max_columns=SHEET_COLUMNS),
        ),
        (output_dir / layout.LOOKS / f"{name}.png", look),
    ):
        with atomic_path(path) as temporary:
            temporary.write_bytes(layout.encode(picture, "png"))
    return {
        "name": name,
        "start_s": round(clip.times[0], 2),
        "end_s": round(clip.times[-1] + 1 / settings.fps, 2),
        "frames": len(clip.keypoints),
        "readings": [dataclasses.asdict(reading) for reading in readings],
        "silence": silence,
        "notes": notes,
    }


def _front(keypoints: np.ndarray) -> int:
    """The frame that shows her from the front best; the first of those that do so fully."""
    track = make_track(keypoints)
    return 0 if track is None else int(np.argmax(np.round(track.facing, 1)))


def _accompanied(finder: PoseFinder, picture: np.ndarray, clip: _Clip) -> bool:
    """Whether somebody is to the left or right of her in a whole picture of the video."""
    place = for_picture(clip.place, picture.shape[:2])
    seen = clip.keypoints[0][clip.keypoints[0, :, 2] > 0]
    (left, top), (right, bottom) = (
        place.to_source(np.concatenate([edge, [1]])[None])[0, :2]
        for edge in (seen[:, :2].min(axis=0), seen[:, :2].max(axis=0))
    )
    arms = ARM_SHARE * 2 * (bottom - top)
    edges = max(0, round(left - arms)), min(picture.shape[1], round(right + arms) + 1)
    return bool(people_beside(finder, picture, *edges))


def _describe(video: Video, settings: Settings, clip: _Clip) -> dict[str, Any]:
    """NAME.json: joints, how sure they are, and where the frames come from."""
    return {
        "height": settings.height,
        "width": settings.height // 2,
        "fps": settings.fps,
        "keypoints": np.round(clip.keypoints.astype(np.float64), 2).tolist(),
        "confidence": np.round(clip.confidence.astype(np.float64), 3).tolist(),
        "identity": {"id": video.name},
        "parts": {"background": 0, "person": 1},
        "source": {
            "video": video.source,
            "frames": clip.numbers,
            "times_s": clip.times,
            # Left, top, width and height of the frame in shares of the video's width and height.
            "crop": [
                round(-clip.place.left / clip.place.width, 6),
                round(-clip.place.top / clip.place.height, 6),
                round(settings.height // 2 / clip.place.width, 6),
                round(settings.height / clip.place.height, 6),
            ],
        },
    }
