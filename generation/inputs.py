"""The inputs of one video: photo, skeletons and joints, read and fitted into the model's size."""

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.annotations import load_annotations
from data.frames import frame_paths
from data.pose_cache import PackedPictures, pack_if_many
from data.pose_track import PoseTrack
from diffusion.inputs import View
from generation.findings import Finding
from generation.photo import Photo, read_photo
from generation.timeline import Timeline
from generation.tracks import has_only_our_colors, is_readable, pose_pictures, read_track, with_canvas
from models.pose_finder import PoseFinder
from utils.errors import UserError
from utils.image import Placement, fit_image, fit_size
from utils.pose_drawing import draw_pose

SAME_SHAPE = 0.02
"""How much the proportions of poses and photo may differ, as a part, for both to be of one picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """Where the inputs of one video are.

    `poses` None: the sentence, or the timeline of sentences, moves the person. `end` None stands for the last
    pose.
    """

    name: str
    image: Path
    poses: Path | None
    prompt: str
    start: int = 0
    end: int | None = None
    image_joints: Path | None = None
    further_images: tuple[Path, ...] = ()
    """Further photos of the same person, such as of her back."""
    timeline: Timeline | None = None


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
    original: Photo | None = None
    """The whole photo, and where it lies in the frame."""
    views: tuple[View, ...] = ()
    """The further photos, in frames of their own."""

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
    clip: Clip,
    num_frames: int | None,
    height: int,
    width: int,
    *,
    photo: Photo | None = None,
    finder: PoseFinder | None = None,
) -> Inputs:
    """Read a clip's pictures and joints, and fit them into `height` x `width` without distortion.

    Skeletons are drawn anew from their joints; those in our own colours and of this size, and pictures that
    (nearly) no joint is read in, stay as they are. Poses of the photo's proportions are taken to be of the
    same picture, and lie in the frame as it does; others are fitted into the frame in whole.

    Args:
        clip: where they are.
        num_frames: take the first so many poses; None for all.
        height: in pixels.
        width: in pixels.
        photo: that was looked at; by default it is read and fitted in whole.
        finder: finds the poses in a video of a person.

    Raises:
        UserError: a picture or video that cannot be read, or fewer poses than frames; the message names it.
    """
    available = None if clip.end is None else clip.end - clip.start
    if available is not None and num_frames is not None and num_frames > available:
        raise UserError(f"clip {clip.name} has {available} poses; --num_frames {num_frames} asks for more")
    count = available if num_frames is None else num_frames
    photo = photo or read_photo(clip.image, height, width, clip.image_joints)
    if clip.poses is None:
        return Inputs(photo=photo.framed, poses=None, joints=None, image_joints=photo.joints, original=photo)
    size = photo.pixels.shape[:2]
    track = with_canvas(read_track(clip.poses, clip.start, count, None, finder), *size)
    assert track.height is not None and track.width is not None
    try:
        placement = _place_poses(photo, track.height, track.width, height, width)
    except UserError as error:
        raise UserError(f"{clip.poses}: {error}") from error
    near = photo.sure_pose
    if near is not None and (track.people > 1).any():
        again = read_track(clip.poses, clip.start, count, placement.to_source(near))
        track = dataclasses.replace(again, height=track.height, width=track.width)
    return _place_track(clip, track, placement, photo)


def _place_poses(photo: Photo, pose_height: int, pose_width: int, height: int, width: int) -> Placement:
    """Where poses of a canvas lie in the frame."""
    source_height, source_width = photo.pixels.shape[:2]
    same = abs(np.log(pose_height * source_width / (pose_width * source_height))) <= SAME_SHAPE
    if not same or photo.placement == fit_size(source_height, source_width, height, width):
        return fit_size(pose_height, pose_width, height, width)
    scale = photo.placement.scale * source_height / pose_height
    return dataclasses.replace(
        photo.placement, scale=scale, source_height=pose_height, source_width=pose_width
    )


def _place_track(clip: Clip, track: PoseTrack, placement: Placement, photo: Photo) -> Inputs:
    """The inputs with the track in the frame's pixels, and skeletons: as they are, or drawn of it."""
    path = clip.poses
    assert path is not None
    height, width = photo.framed.shape[:2]
    stays = placement == fit_size(height, width, height, width)
    pictures = None if track.found else pose_pictures(path, clip.start, len(track))
    joints = track.keypoints if stays else placement.to_fitted(track.keypoints)

    def drawn() -> Iterator[np.ndarray]:
        if pictures is not None and not is_readable(track):
            yield from (_fit(path, picture, height, width) for picture in pictures)
        elif pictures is not None and path.is_dir() and stays and not track.swapped:
            for picture, frame in zip(pictures, joints, strict=True):
                kept = clip.end is not None or (track.medium != "exact" and has_only_our_colors(picture))
                yield picture if kept else draw_pose(frame, height, width)
        else:
            yield from (draw_pose(frame, height, width) for frame in joints)

    poses = pack_if_many(drawn())
    track = dataclasses.replace(track.with_keypoints(joints), height=height, width=width)
    return Inputs(
        photo=photo.framed,
        poses=poses,
        joints=track.keypoints if track.seen.any() else None,
        image_joints=photo.joints,
        track=track,
        original=photo,
    )


def _fit(path: Path, picture: np.ndarray, height: int, width: int) -> np.ndarray:
    try:
        return fit_image(picture, height, width)[0]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
