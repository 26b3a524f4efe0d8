"""Poses of any form read for one video: our own to the last bit, those of a person's video found."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.found_poses import SURE_SCORE, find_pose_track
from data.pose_formats import PICTURES, find_series, read_pose_track
from data.pose_json import number_in_name, read_rate
from data.pose_track import PoseTrack
from generation.mending import body_height, has_even_times, resample
from generation.photo import find_person, is_accompanied, people_beside
from generation.pose_findings import NEARLY_NONE
from models.pose_finder import PoseFinder
from utils.errors import UserError
from utils.files import read_json
from utils.image import read_image
from utils.pose_drawing import COLORS, LIMB_DIMMING, NUM_JOINTS
from utils.video import DEMUXERS, iter_video
from warping.joints import joints_size, load_joints, read_joints, scale_joints


def read_track(
    path: Path,
    start: int,
    count: int | None,
    near: np.ndarray | None = None,
    finder: PoseFinder | None = None,
) -> PoseTrack:
    """Read poses of any form; those of a folder with a JSON beside it have that one's exact joints.

    Args:
        path: of the poses.
        start: the first frame to take.
        count: how many frames; None for all.
        near: (18, 3) the photo's pose in the poses' pixels, where known.
        finder: finds the poses in pictures that hold no skeletons; None leaves those without joints.

    Raises:
        UserError: they cannot be read, or are fewer.
    """
    end = None if count is None else start + count
    track = _own_track(path, end) or _foreign_track(path, end, near, finder)
    if path.is_dir() and _beside(path).is_file() and not is_described(path):
        track = dataclasses.replace(track, ignored=str(_beside(path)))
    if end is not None and len(track) < end:
        raise UserError(f"{path} has {len(track)} poses, {end} are needed; ask for fewer frames")
    return take_frames(track, start, end)


def _own_track(path: Path, end: int | None) -> PoseTrack | None:
    """The exact joints of a folder of pictures that has our JSON beside it."""
    series = find_series(path) if is_described(path) else []
    paths = series[:end]
    if not paths:
        return None
    folder = _named(path)
    joints = load_joints(folder, len(paths))
    total = len(read_json(_beside(path)).get("keypoints", ()))
    if number_in_name(paths[0]) and total > len(series):
        raise UserError(
            f"{path} begins with {paths[0].name}, and {_beside(path)} has the joints of {total} frames, of "
            "which the first would be taken; delete the JSON to go by the pictures, or name them from 000 on"
        )
    size = read_image(paths[0]).shape
    if joints is None:
        joints = np.zeros((len(paths), NUM_JOINTS, 3), np.float32)
    else:
        joints = scale_joints(joints, joints_size(folder), (size[0], size[1]))  # by what `load_joints` takes
    fps = read_rate(read_json(_beside(path)))
    return PoseTrack(
        keypoints=joints,
        confidences=(joints[..., 2] > 0).astype(np.float32),
        height=size[0],
        width=size[1],
        fps=fps,
        times=None if fps is None else np.arange(len(joints)) / fps,
        people=np.ones(len(joints), int),
        sources=tuple(map(str, paths)),
    )


def _foreign_track(
    path: Path, end: int | None, near: np.ndarray | None, finder: PoseFinder | None
) -> PoseTrack:
    track = read_pose_track(path, end, near)
    if finder is not None and holds_pictures(path) and not is_readable(track):
        found, scores = find_pose_track(path, finder, end)
        if found is not None and not has_even_times(found.times):
            found, scores = find_pose_track(path, finder)
        if found is not None:
            track = dataclasses.replace(found, sight=_describe_others(path, finder, found))
        else:
            track = dataclasses.replace(track, sight=_describe_sight(path, finder, scores))
        return track if has_even_times(track.times) else resample(track)
    if not has_even_times(track.times):  # its frames are counted after it was resampled
        return resample(read_pose_track(path, None, near))
    if path.is_dir() and track.palette == "ControlNet" and not track.swapped:
        return track.with_keypoints(_exact_joints(path, track))
    return track


def _describe_sight(path: Path, finder: PoseFinder, scores: np.ndarray) -> str:
    """What was seen in pictures in which the poses of one person could not be found."""
    sure = int((scores > SURE_SCORE).sum())
    sight = f"a whole person was found in {sure} of {len(scores)} frames"
    number = int(np.argsort(scores)[len(scores) // 2])
    pictures = pose_pictures(path, number, 1)
    picture = None if pictures is None else next(pictures, None)
    if picture is None:
        return sight
    pose = find_person(finder, picture)
    if pose.score < SURE_SCORE or pose.mask is None:
        return f"{sight} (in frame {number} with score {pose.score:.2f})"
    is_crowd = is_accompanied(finder, picture, pose.mask)
    return f"{sight}; frame {number} shows {'several people' if is_crowd else 'one who is small or cut off'}"


def _describe_others(path: Path, finder: PoseFinder, track: PoseTrack) -> str:
    """Whether somebody else is in the middle frame of a video in which one person's poses were found."""
    number = int(np.flatnonzero(track.people)[track.people.astype(bool).sum() // 2])
    pictures = pose_pictures(path, number, 1)
    picture = None if pictures is None else next(pictures, None)
    if picture is None:
        return ""
    columns = track.keypoints[number][track.seen[number], 0]
    margin = 0.15 * body_height(track.keypoints[number : number + 1])
    left, right = max(0, int(columns.min() - margin)), int(columns.max() + margin)
    others = people_beside(finder, picture, left, min(right, picture.shape[1]))
    return f"frame {number} of the poses shows {1 + len(others)} people; one is followed" if others else ""


def is_described(path: Path) -> bool:
    """Whether poses are a folder of pictures with our JSON of their joints beside it.

    Raises:
        UserError: the file beside it is no JSON.
    """
    if not path.is_dir() or not _beside(path).is_file():
        return False
    document = read_json(_beside(path))
    return isinstance(document, dict) and "keypoints" in document


def _beside(folder: Path) -> Path:
    folder = _named(folder)
    return folder.with_name(f"{folder.name}.json")


def _named(folder: Path) -> Path:
    """A folder by a path that ends in its name, as "." and ".." do not."""
    return folder.resolve() if folder.name in ("", "..") else folder


def is_readable(track: PoseTrack) -> bool:
    """Whether more than nearly none of a track's joints were read."""
    return bool(track.seen.any() and track.seen.mean() >= NEARLY_NONE)


def holds_pictures(path: Path) -> bool:
    """Whether poses are several pictures rather than numbers."""
    return bool(find_series(path)) if path.is_dir() else path.suffix.lower() in DEMUXERS


def take_frames(track: PoseTrack, start: int, end: int | None) -> PoseTrack:
    """Frames `start` to `end` of a track; its first one has time 0."""
    times = None if track.times is None else track.times[start:end]
    return dataclasses.replace(
        track,
        keypoints=track.keypoints[start:end],
        confidences=track.confidences[start:end],
        times=None if times is None else times - times[:1],
        people=track.people[start:end],
        sources=track.sources[start:end],
    )


def has_only_our_colors(picture: np.ndarray) -> bool:
    """Whether a skeleton picture (H, W, 3) has no other colours than `draw_pose` gives it."""
    return bool(np.isin(_packed(picture), OUR_COLORS).all())


def _exact_joints(path: Path, track: PoseTrack) -> np.ndarray:
    """The joints of a folder's pictures, to the pixel where they are our own drawings of one person."""
    joints = track.keypoints.copy()
    for index, file in enumerate(find_series(path)[: len(track)]):
        if track.people[index] == 1:
            picture = read_image(file)
            if has_only_our_colors(picture):
                joints[index] = read_joints(picture)
    return joints


def _packed(colors: np.ndarray) -> np.ndarray:
    return colors.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)


OUR_COLORS = _packed(np.concatenate([[(0, 0, 0)], COLORS, (np.array(COLORS) * LIMB_DIMMING).astype(int)]))


def pose_pictures(path: Path, start: int, count: int) -> Iterator[np.ndarray] | None:
    """The poses' pictures (H, W, 3) as they are; None where they are numbers."""
    if path.is_dir():
        series = find_series(path)
        return (read_image(file) for file in series[start : start + count]) if series else None
    if path.suffix.lower() in DEMUXERS:
        return (picture for picture, _, _ in itertools.islice(iter_video(path), start, start + count))
    return iter([read_image(path)]) if path.suffix.lower() in PICTURES else None


def with_canvas(track: PoseTrack, height: int, width: int) -> PoseTrack:
    """The track with a canvas: where none is said, that of the photo if all joints lie in it."""
    if track.height is not None and track.width is not None:
        return track
    places = track.keypoints[track.seen][:, :2]
    right, bottom = (int(np.ceil(v)) + 1 for v in places.max(axis=0)) if len(places) else (1, 1)
    if right > width or bottom > height:
        scale = max(right / width, bottom / height)
        height, width = round(height * scale), round(width * scale)
    return dataclasses.replace(track, height=height, width=width)
