"""The inputs of one video: photo, skeletons and joints, read and fitted into the model's size."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.annotations import load_annotations
from data.frames import frame_paths, iter_poses
from data.pose_cache import PackedPictures, pack_if_many
from utils.errors import UserError
from utils.files import read_json
from utils.image import Placement, fit_image, read_image
from utils.pose_drawing import draw_pose
from warping.joints import load_joints, read_joints

JOINTS_HELP = 'a JSON file with {"keypoints": 18 x [x, y, visibility]} in pixels, or a skeleton picture'
NUM_JOINTS_TO_REDRAW = 8


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

    The poses (F, H, W, 3) of a long video are kept compressed.

    Without `poses` the video model's own attention to the sentence moves the person.
    """

    photo: np.ndarray
    poses: np.ndarray | PackedPictures | None
    joints: np.ndarray | None
    image_joints: np.ndarray | None

    def with_joints(self, joints: np.ndarray) -> "Inputs":
        """The same with other joints (F, 18, 3), and skeletons drawn of them."""
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


def read_inputs(clip: Clip, num_frames: int | None, height: int, width: int) -> Inputs:
    """Read a clip's pictures and joints, and fit them into `height` x `width` without distortion.

    Skeletons of another size are drawn anew where their joints can be read in every frame, else resized.

    Args:
        clip: where they are.
        num_frames: take the first so many poses; None for all.
        height: in pixels.
        width: in pixels.

    Raises:
        UserError: a picture or video that cannot be read, or fewer poses than frames; the message names it.
    """
    available = None if clip.end is None else clip.end - clip.start
    if available is not None and num_frames is not None and num_frames > available:
        raise UserError(f"clip {clip.name} has {available} poses; --num_frames {num_frames} asks for more")
    count = available if num_frames is None else num_frames
    original = read_image(clip.image)
    photo, photo_placement = _fit(clip.image, original, height, width)
    poses = joints = None
    if clip.poses is not None:
        poses, joints = _read_poses(clip.poses, clip.start, count, height, width)
    image_joints = None
    if clip.image_joints is not None:
        image_joints = photo_placement.to_fitted(read_image_joints(clip.image_joints, *original.shape[:2]))
    return Inputs(photo=photo, poses=poses, joints=joints, image_joints=image_joints)


def _read_poses(
    path: Path, start: int, count: int | None, height: int, width: int
) -> tuple[np.ndarray | PackedPictures, np.ndarray | None]:
    placements: list[Placement] = []
    read: list[np.ndarray] = []
    is_folder, original = path.is_dir(), (height, width)

    def fitted() -> Iterator[np.ndarray]:
        nonlocal original
        pictures = iter_poses(path, None if count is None else start + count)
        for picture in itertools.islice(pictures, start, None):
            original = picture.shape[:2]
            if not is_folder:
                read.append(read_joints(picture))
            pose, placement = _fit(path, picture, height, width)
            placements.append(placement)
            yield pose

    poses = pack_if_many(fitted())
    joints = load_joints(path, start + len(poses)) if is_folder else np.stack(read)
    if joints is not None:
        joints = joints[start:] if is_folder else joints
        if original != (height, width):
            joints = placements[0].to_fitted(joints)
            if ((joints[..., 2] > 0).sum(axis=1) >= NUM_JOINTS_TO_REDRAW).all():
                # Resizing blurs thin lines, and an estimator may have drawn hands and face as well.
                poses = pack_if_many(draw_pose(frame, height, width) for frame in joints)
    return poses, joints


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
