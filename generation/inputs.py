"""The inputs of one video: photo, skeletons and joints, read and fitted into the model's size."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.annotations import load_annotations
from data.frames import frame_paths
from data.pose_cache import PackedPictures, pack_if_many
from data.pose_formats import find_series, read_pose_track
from data.pose_json import read_pose_json
from data.pose_track import PoseTrack
from generation.findings import Finding
from generation.mending import has_even_times, resample
from generation.pose_findings import NEARLY_NONE
from utils.errors import UserError
from utils.files import read_json
from utils.image import Placement, fit_image, fit_size, read_image
from utils.pose_drawing import COLORS, LIMB_DIMMING, NUM_JOINTS, draw_pose
from utils.video import DEMUXERS, iter_video
from warping.joints import load_joints, read_joints

JOINTS_HELP = (
    'a JSON file with {"keypoints": 18 x [x, y, visibility]} in pixels, one of OpenPose or DWPose, or a '
    "skeleton picture"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """Where the inputs of one video are.

    `poses` None: the sentence moves the person. `end` None stands for the last pose.
    """

    name: str
    image: Path
    poses: Path | None
    prompt: str
    start: int = 0
    end: int | None = None
    image_joints: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of one video at the model's size: uint8 RGB, joints (F, 18, 3) and (18, 3) in its pixels.

    The poses (F, H, W, 3) of a long video are kept compressed. None are there until a sentence made them.
    """

    photo: np.ndarray
    poses: np.ndarray | PackedPictures | None
    joints: np.ndarray | None
    image_joints: np.ndarray | None
    track: PoseTrack | None = None
    """What the poses were read as, in the photo's pixels."""
    findings: tuple[Finding, ...] = ()
    """What was found in photo, poses and sentence."""

    def with_joints(self, joints: np.ndarray) -> "Inputs":
        """These inputs with other joints (F, 18, 3), and skeletons drawn of them."""
        height, width = self.photo.shape[:2]
        poses = pack_if_many(draw_pose(frame, height, width) for frame in joints)
        return dataclasses.replace(self, poses=poses, joints=joints)


def dataset_clips(dataset: Path, split: str) -> list[Clip]:
    """The clips of a dataset's split; each begins with its own first frame as the photo.

    Raises:
        UserError: a dataset that cannot be read.
    """
    segments = load_annotations(dataset, split)
    counts = collections.Counter(segment.name for segment in segments)
    return [
        Clip(
            name=segment.name if counts[segment.name] == 1 else f"{segment.name}_{segment.start:03d}",
            image=frame_paths(dataset / "fashion_crop" / segment.name)[segment.start],
            poses=dataset / "fashion_poses" / segment.name,
            prompt=segment.text,
            start=segment.start,
            end=segment.end,
        )
        for segment in segments
    ]


def read_inputs(
    clip: Clip, num_frames: int | None, height: int, width: int, near: np.ndarray | None = None
) -> Inputs:
    """Read a clip's pictures and joints, and fit them into `height` x `width` without distortion.

    Skeletons are drawn anew from their joints; those in our own colours and of this size, and pictures that
    (nearly) no joint is read in, stay as they are.

    Args:
        clip: where they are.
        num_frames: take the first so many poses; None for all.
        height: in pixels.
        width: in pixels.
        near: (18, 3) the photo's pose in the fitted photo's pixels: of several skeletons the nearest is
            followed; by default that of `clip.image_joints`.

    Raises:
        UserError: a picture or video that cannot be read, or fewer poses than frames; the message names it.
    """
    available = None if clip.end is None else clip.end - clip.start
    if available is not None and num_frames is not None and num_frames > available:
        raise UserError(f"clip {clip.name} has {available} poses; --num_frames {num_frames} asks for more")
    count = available if num_frames is None else num_frames
    original = read_image(clip.image)
    photo, photo_placement = _fit(clip.image, original, height, width)
    image_joints = None
    if clip.image_joints is not None:
        image_joints = photo_placement.to_fitted(read_image_joints(clip.image_joints, *original.shape[:2]))
    if clip.poses is None:
        return Inputs(photo=photo, poses=None, joints=None, image_joints=image_joints)
    track = read_track(clip.poses, clip.start, count)
    track = _with_canvas(track, *original.shape[:2])
    assert track.height is not None and track.width is not None
    try:
        placement = fit_size(track.height, track.width, height, width)
    except UserError as error:
        raise UserError(f"{clip.poses}: {error}") from error
    near = image_joints if near is None else near
    if near is not None and (track.people > 1).any():
        again = read_track(clip.poses, clip.start, count, placement.to_source(near))
        track = dataclasses.replace(again, height=track.height, width=track.width)
    return _place_track(clip, track, placement, photo, image_joints)


def _place_track(
    clip: Clip, track: PoseTrack, placement: Placement, photo: np.ndarray, image_joints: np.ndarray | None
) -> Inputs:
    """The inputs with the track in the photo's pixels, and skeletons: as they are, or drawn of it."""
    path = clip.poses
    assert path is not None
    height, width = photo.shape[:2]
    keeps_size = (track.height, track.width) == (height, width)
    pictures = _pictures(path, clip.start, len(track))
    joints = track.keypoints if keeps_size else placement.to_fitted(track.keypoints)
    readable = track.seen.any() and track.seen.mean() >= NEARLY_NONE

    def drawn() -> Iterator[np.ndarray]:
        if pictures is not None and not readable:
            yield from (_fit(path, picture, height, width)[0] for picture in pictures)
        elif pictures is not None and path.is_dir() and keeps_size and not track.swapped:
            for picture, frame in zip(pictures, joints, strict=True):
                kept = clip.end is not None or (track.medium != "exact" and has_only_our_colors(picture))
                yield picture if kept else draw_pose(frame, height, width)
        else:
            yield from (draw_pose(frame, height, width) for frame in joints)

    poses = pack_if_many(drawn())
    track = dataclasses.replace(track.with_keypoints(joints), height=height, width=width)
    return Inputs(
        photo=photo,
        poses=poses,
        joints=track.keypoints if track.seen.any() else None,
        image_joints=image_joints,
        track=track,
    )


def read_track(path: Path, start: int, count: int | None, near: np.ndarray | None = None) -> PoseTrack:
    """Read poses of any form; those of a folder with a JSON beside it have that one's exact joints.

    Args:
        path: of the poses.
        start: the first frame to take.
        count: how many frames; None for all.
        near: (18, 3) the photo's pose in the poses' pixels, where known.

    Raises:
        UserError: they cannot be read, or are fewer.
    """
    end = None if count is None else start + count
    exact = path.with_name(f"{path.name}.json")
    if path.is_dir() and exact.is_file():
        paths = frame_paths(path)[:end]
        joints = load_joints(path, len(paths))
        size = read_image(paths[0]).shape
        joints = np.zeros((len(paths), NUM_JOINTS, 3), np.float32) if joints is None else joints
        track = PoseTrack(
            keypoints=joints,
            confidences=(joints[..., 2] > 0).astype(np.float32),
            height=size[0],
            width=size[1],
            people=np.ones(len(joints), int),
            sources=tuple(map(str, paths)),
        )
    else:
        track = read_pose_track(path, end, near)
        if not has_even_times(track.times):  # its frames are counted after it was resampled
            track = resample(read_pose_track(path, None, near))
        elif path.is_dir() and track.palette == "ControlNet" and not track.swapped:
            track = track.with_keypoints(_exact_joints(path, track))
    if end is not None and len(track) < end:
        raise UserError(f"{path} has {len(track)} poses, {end} are needed; ask for fewer frames")
    return take_frames(track, start, end)


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


def _pictures(path: Path, start: int, count: int) -> Iterator[np.ndarray] | None:
    """The poses as they are; None where they are numbers."""
    if path.is_dir():
        series = find_series(path)
        return (read_image(file) for file in series[start : start + count]) if series else None
    if path.suffix.lower() in DEMUXERS:
        return (picture for picture, _, _ in itertools.islice(iter_video(path), start, start + count))
    return None if path.suffix.lower() == ".json" else iter([read_image(path)])


def _with_canvas(track: PoseTrack, height: int, width: int) -> PoseTrack:
    """The track with a canvas: where none is said, that of the photo if all joints lie in it."""
    if track.height is not None and track.width is not None:
        return track
    places = track.keypoints[track.seen][:, :2]
    right, bottom = (int(np.ceil(v)) + 1 for v in places.max(axis=0)) if len(places) else (1, 1)
    if right > width or bottom > height:
        scale = max(right / width, bottom / height)
        height, width = round(height * scale), round(width * scale)
    return dataclasses.replace(track, height=height, width=width)


def _fit(path: Path, picture: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Placement]:
    try:
        return fit_image(picture, height, width)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_image_joints(path: Path, height: int, width: int) -> np.ndarray:
    """Read the pose of a photo of `height` x `width` as (18, 3): x, y in its pixels, visibility.

    Args:
        path: a JSON file with "keypoints" [18][3] or, of a clip, [F][18][3], whose first is taken, and
            optionally the "height" and "width" they are meant for; or a skeleton picture.
        height: of the photo.
        width: of the photo.

    Raises:
        UserError: the file is something else; the message names it.
    """
    if path.suffix.lower() != ".json":
        picture = read_image(path)
        return _scaled(read_joints(picture), width / picture.shape[1], height / picture.shape[0])
    document = read_json(path)
    if not isinstance(document, dict) or "keypoints" not in document:
        track = read_pose_json(path)
        size = track.height or height, track.width or width
        return _scaled(track.keypoints[0], width / size[1], height / size[0])
    try:
        keypoints = np.array(document["keypoints"], np.float32)
        keypoints = keypoints[0] if keypoints.ndim == 3 else keypoints
        scales = width / document.get("width", width), height / document.get("height", height)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError) as error:
        raise UserError(f"{path} does not hold the photo's joints; give {JOINTS_HELP}") from error
    if keypoints.shape != (18, 3):
        raise UserError(f"{path} has keypoints of shape {keypoints.shape}; give {JOINTS_HELP}")
    if not np.isfinite(keypoints).all():
        raise UserError(f"{path} has keypoints that are no numbers; give visibility 0 to a missing joint")
    return _scaled(keypoints, *scales)


def _scaled(joints: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """Joints of a picture in pixels of a resized one; an integer coordinate is the middle of its pixel."""
    scaled = joints.astype(np.float32)
    scaled[:, :2] = (scaled[:, :2] + 0.5) * np.array([scale_x, scale_y], np.float32) - 0.5
    return scaled
