"""Poses found in a video, or in numbered pictures, of a person."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.pose_formats import find_series
from data.pose_track import PoseTrack
from models.pose_finder import PoseFinder
from utils.image import read_image
from utils.video import iter_video, video_length

SURE_SCORE, LEAST_FOUND = 0.99, 0.5
"""A person is shown where more than this share of the frames gets this score. Real and synthetic people get
it in at least 0.75 of their frames, pictures of body parts in false colours in 0.25."""
FPS = 30.0
"""Of numbered pictures, which say nothing of it."""


def find_pose_track(
    path: str | Path, finder: PoseFinder, num_frames: int | None = None
) -> tuple[PoseTrack | None, np.ndarray]:
    """Find the poses of one person in a video or a folder of numbered pictures, with a progress bar.

    Args:
        path: of the video or the folder.
        finder: of poses.
        num_frames: look at the first so many; None looks at all.

    Returns:
        The track, zeros where nobody was found; None where most of the frames show nobody. And (F,) how sure
        the finder is, 0 to 1, that each frame shows a person.

    Raises:
        UserError: a picture or video that cannot be read.
    """
    path = Path(path)
    size, times, rate = (0, 0), [], None

    def pictures() -> Iterator[np.ndarray]:
        nonlocal size, rate
        for picture, seconds, fps in itertools.islice(_iter_pictures(path), num_frames):
            size, rate = picture.shape[:2], fps
            times.append(seconds)
            yield picture

    total = len(find_series(path)) if path.is_dir() else video_length(path)
    if num_frames is not None:
        total = num_frames if total is None else min(total, num_frames)
    fps = FPS if path.is_dir() else next(iter_video(path))[2]
    with tqdm(
        total=total, desc="find poses", unit="frame", leave=False, dynamic_ncols=True, delay=0.5
    ) as progress:
        found = finder.find_track(pictures(), fps=fps, progress=progress.update)
    there = np.setdiff1d(np.arange(len(times)), found.missing)
    if (found.score > SURE_SCORE).sum() <= LEAST_FOUND * len(times):
        return None, found.score
    keypoints = found.keypoints.copy()
    keypoints[keypoints[..., 2] <= 0] = 0
    seconds = None if rate is None else np.array(times, np.float64) - times[0]
    if seconds is not None and len(seconds) > 1 and seconds[-1] > 0:
        rate = (len(seconds) - 1) / float(seconds[-1])
    track = PoseTrack(
        keypoints=keypoints,
        confidences=np.clip(found.confidence, 0, 1).astype(np.float32),
        height=size[0],
        width=size[1],
        fps=rate,
        times=seconds,
        found=True,
        people=np.isin(np.arange(len(times)), there).astype(int),
        sources=tuple(f"{path}, frame {number}" for number in range(len(times))),
    )
    return track, found.score


def _iter_pictures(path: Path) -> Iterator[tuple[np.ndarray, float, float | None]]:
    if path.is_dir():
        yield from ((read_image(file), 0.0, None) for file in find_series(path))
    else:
        yield from iter_video(path)
