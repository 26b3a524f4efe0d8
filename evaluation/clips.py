"""What is measured: clips under a named protocol, with masks, joints and labels where there are any."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from data.annotations import Segment, load_annotations
from data.frames import count_frames, frame_paths, read_frames, read_pictures
from data.masks import read_mask
from utils.errors import UserError
from utils.files import read_json
from utils.image import Placement, fit_image
from utils.video import read_video
from warping.joints import joints_size, load_joints, scale_joints

FPS, RATE_TOLERANCE = 12, 0.02
"""Frames a second of clips and of the videos that are made, by which tracks of joints are smoothed as well;
and how much a given video's may differ, as a part, before it is compared by time."""
HUMANVID_FRAMES, HUMANVID_STRIDE = 24, 3
SKIN_PARTS = ("head", "face", "skin", "arms", "legs")
ASPECT_TOLERANCE = 0.03


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSource:
    """Where a clip is: frames `indices` of a video, and frame `photo_index` as the photo."""

    name: str
    segment: Segment
    indices: tuple[int, ...]
    photo_index: int
    motions: tuple[str, ...]
    """Labels of what is done, in order; () where nothing says so, or where the frames show only a part of
    it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredClip:
    """One clip in memory. `photo` (H, W, 3), `frames` and `poses` (F, H, W, 3), all uint8 RGB."""

    source: ClipSource
    photo: np.ndarray
    frames: np.ndarray
    poses: np.ndarray
    photo_pose: np.ndarray
    """(H, W, 3), the skeleton of the photo."""
    scored: np.ndarray
    """Positions of the frames that are not the photo itself; only they are compared with the truth."""
    joints: np.ndarray | None
    """(F, 18, 3) in pixels, and `photo_joints` (18, 3)."""
    photo_joints: np.ndarray | None
    masks: np.ndarray | None
    """(F, H, W) uint8 part indices."""
    garments: tuple[int, ...]
    """Part indices of cloth, of cloth with a pattern, of shoes and of skin."""
    patterned: tuple[int, ...]
    shoes: tuple[int, ...]
    skin: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the clip, unique in its split."""
        return self.source.name

    @property
    def photo_is_first(self) -> bool:
        """Whether the clip begins with its photo."""
        return self.source.photo_index == self.source.indices[0]


def list_clips(
    dataset_dir: Path, split: str, protocol: str, num_frames: int, max_clips: int | None = None
) -> list[ClipSource]:
    """Choose frames and photo of each segment.

    Protocol "x2fashion": the first frame is the photo, and `num_frames` consecutive frames follow from it
    (all of a shorter segment). Protocol "humanvid24": the segment's middle frame is the photo, and 24 frames
    at stride 3 are made from its first one on; shorter segments are left out.

    Args:
        dataset_dir: the dataset's folder.
        split: "train" or "test".
        protocol: "x2fashion" or "humanvid24".
        num_frames: number of frames of a clip by protocol x2fashion, at least 3.
        max_clips: take only the first so many.

    Raises:
        UserError: a dataset that cannot be read, or no segment that is long enough.
    """
    segments = load_annotations(dataset_dir, split)
    counts = collections.Counter(segment.name for segment in segments)
    needed = 3 if protocol == "x2fashion" else (HUMANVID_FRAMES - 1) * HUMANVID_STRIDE + 1
    sources = []
    for segment in segments:
        length = segment.end - segment.start
        if length < needed:
            continue
        if protocol == "x2fashion":
            indices, photo = range(segment.start, segment.start + min(num_frames, length)), segment.start
        else:
            indices = range(segment.start, segment.start + needed, HUMANVID_STRIDE)
            photo = segment.start + length // 2
        motions: tuple[str, ...] = ()
        total = count_frames(dataset_dir / "fashion_crop" / segment.name)
        if indices[0] == 0 and indices[-1] >= total - indices.step:
            motions = _motions(_description(dataset_dir, segment.name))
        name = segment.name if counts[segment.name] == 1 else f"{segment.name}_{segment.start:03d}"
        sources.append(
            ClipSource(name=name, segment=segment, indices=tuple(indices), photo_index=photo, motions=motions)
        )
    if not sources:
        longest = max(segment.end - segment.start for segment in segments)
        raise UserError(
            f"--protocol {protocol} needs segments of {needed} frames, and the longest in "
            f"{dataset_dir / split} has {longest}; choose another --protocol or dataset"
        )
    return sources[:max_clips]


def load_clip(dataset_dir: Path, source: ClipSource, size: tuple[int, int] | None = None) -> MeasuredClip:
    """Read a clip, fitted into `size` (height, width) without distortion; None keeps the frames' own size.

    Raises:
        UserError: pictures, joints or masks that cannot be read or do not fit together; the message names
            them.
    """
    name, indices = source.segment.name, list(source.indices)
    pictures = read_frames(dataset_dir / "fashion_crop" / name, [source.photo_index, *indices])
    height, width = size or pictures.shape[1:3]
    fitted = [fit_image(picture, height, width) for picture in pictures]
    frames, placement = np.stack([picture for picture, _ in fitted]), fitted[0][1]
    poses_dir = dataset_dir / "fashion_poses" / name
    poses = read_frames(poses_dir, [source.photo_index, *indices])
    joints = load_joints(poses_dir, count_frames(poses_dir))
    pose_placement = fit_image(poses[0], height, width)[1]
    joints = None if joints is None else pose_placement.to_fitted(joints)
    masks = _read_masks(
        dataset_dir / "fashion_masks" / name, indices, pictures.shape[1:3], placement, (height, width)
    )
    fitted_poses = np.stack([fit_image(pose, height, width)[0] for pose in poses])
    return MeasuredClip(
        source=source,
        photo=frames[0],
        frames=frames[1:],
        poses=fitted_poses[1:],
        photo_pose=fitted_poses[0],
        scored=np.array([i for i, index in enumerate(indices) if index != source.photo_index]),
        joints=None if joints is None else joints[indices],
        photo_joints=None if joints is None else joints[source.photo_index],
        masks=masks,
        **_parts(_description(dataset_dir, name)),
    )


def _description(dataset_dir: Path, name: str) -> dict[str, Any]:
    path = dataset_dir / "fashion_poses" / f"{name}.json"
    description = read_json(path) if path.is_file() else {}
    if not isinstance(description, dict):
        raise UserError(f"{path} holds no object; see the dataset's layout")
    return description


def _motions(description: dict[str, Any]) -> tuple[str, ...]:
    motions = description.get("motions") or [description.get("motion")]
    return tuple(str(motion) for motion in motions if motion)


def _parts(description: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    parts, garments = description.get("parts", {}), description.get("garments", {})
    cloth = [name for name in garments if name in parts and name != "shoes"]
    return {
        "garments": tuple(parts[name] for name in cloth),
        "patterned": tuple(
            parts[name] for name in cloth if garments[name].get("pattern", "plain") != "plain"
        ),
        "shoes": tuple(parts[name] for name in garments if name == "shoes" and name in parts),
        "skin": tuple(parts[name] for name in SKIN_PARTS if name in parts),
    }


def _read_masks(
    folder: Path, indices: list[int], shape: tuple[int, int], placement: Placement, size: tuple[int, int]
) -> np.ndarray | None:
    if not folder.is_dir():
        return None
    paths = frame_paths(folder)
    if max(indices) >= len(paths):
        raise UserError(
            f"{folder} has {len(paths)} masks, frame {max(indices)} needs one; remove the folder or fill it"
        )
    masks = np.zeros((len(indices), *size), np.uint8)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    for mask, index in zip(masks, indices, strict=True):
        mask[rows, columns] = cv2.resize(
            read_mask(paths[index], shape),
            (placement.width, placement.height),
            interpolation=cv2.INTER_NEAREST,
        )
    return masks


def read_generated(videos_dir: Path, clip: MeasuredClip) -> np.ndarray:
    """Read the video that was made for a clip, at the clip's size.

    An mp4 of another frame rate than `FPS` that is long enough is sampled by time.

    Args:
        videos_dir: holds NAME.mp4 or NAME/000.png, 001.png ...
        clip: what it was made for.

    Returns:
        (F, H, W, 3) uint8; frames beyond the clip's are left out.

    Raises:
        UserError: there is none, it has fewer frames than the clip, or other proportions.
    """
    count, (height, width) = len(clip.frames), clip.frames.shape[1:3]
    path = videos_dir / clip.name
    if path.is_dir():
        video = read_pictures(frame_paths(path)[:count])
    elif (path := videos_dir / f"{clip.name}.mp4").is_file():
        video = _at_rate(path, count)
    else:
        raise UserError(
            f"{videos_dir} holds no video for clip {clip.name}; name it {clip.name}.mp4 "
            f"or {clip.name}/000.png"
        )
    if len(video) < count:
        raise UserError(
            f"{path} has {len(video)} frames, the clip has {count}; make it longer or lower --num_frames"
        )
    if abs(video.shape[2] / video.shape[1] / (width / height) - 1) > ASPECT_TOLERANCE:
        raise UserError(
            f"{path} is {video.shape[2]} x {video.shape[1]} pixels, the clip {width} x {height}; "
            "make it of the same shape"
        )
    if video.shape[1:3] == (height, width):
        return video
    interpolation = cv2.INTER_AREA if video.shape[1] > height else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in video])


def _at_rate(path: Path, count: int) -> np.ndarray:
    """A video's first `count` frames: by number, or by time where it has another rate and frames for it."""
    frames, fps = read_video(path, num_frames=count)
    step = fps / FPS
    if abs(step - 1) <= RATE_TOLERANCE:
        return frames
    needed = round((count - 1) * step) + 1
    if step > 1:
        whole = read_video(path, num_frames=needed)[0]
        if len(whole) == needed > count:
            tqdm.write(f"note: {path} has {fps:g} frames a second; it is compared by time, at {FPS}")
            return whole[[round(i * step) for i in range(count)]]
    elif len(frames) >= needed and len(frames) < count:
        tqdm.write(f"note: {path} has {fps:g} frames a second; it is compared by time, at {FPS}")
        return frames[[round(i * step) for i in range(count)]]
    tqdm.write(f"note: {path} has {fps:g} frames a second; it is compared frame by frame")
    return frames


def read_estimated(folder: Path, clip: MeasuredClip) -> np.ndarray:
    """Joints of a clip's video by an estimator of the user's, (F, 18, 3) in the clip's pixels.

    Args:
        folder: holds NAME.json or skeleton pictures NAME/000.png, as fashion_poses does.
        clip: what the video was made for.

    Raises:
        UserError: there are no such joints; the message names them.
    """
    path = folder / clip.name
    joints = load_joints(path, len(clip.frames))
    if joints is None:
        raise UserError(f"no joint is found in {path}; give skeleton pictures or a {clip.name}.json")
    return scale_joints(joints, joints_size(path), clip.frames.shape[1:3])
