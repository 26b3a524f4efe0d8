"""The poses of one person over time, whatever they were read from."""

import dataclasses
from typing import Literal

import numpy as np

from utils.pose_drawing import NUM_JOINTS

Medium = Literal["exact", "lossless", "lossy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoseTrack:
    """A person's joints in each frame.

    Attributes:
        keypoints: (F, 18, 3) float32 x px, y px, visibility: 1 seen, 0 missing.
        confidences: (F, 18) float32, 0 to 1, how sure the estimator or the reading is.
        height: height of the canvas in pixels, None where the file does not say.
        width: width of the canvas in pixels, None where the file does not say.
        fps: frames a second, None where nothing says.
        times: (F,) float64 seconds from the first frame, None where nothing says.
        medium: "exact" are numbers, "lossless" pictures whose colours are as drawn, "lossy" compressed ones.
        palette: the colours that pictures are drawn in, None for numbers.
        swapped: red and blue of the pictures are exchanged.
        ground: "black", or what the skeletons were drawn on instead.
        resampled: its frames were not evenly spaced in time, and were made so.
        found: an estimator found the joints in pictures of a person.
        people: (F,) int, how many persons each frame holds.
        sources: a frame's file, or file and number.
        sight: what an estimator saw in pictures that hold no skeletons, besides one whole person's poses.
        ignored: a JSON file beside the pictures that is not theirs, None where there is none.
    """

    keypoints: np.ndarray
    confidences: np.ndarray
    height: int | None
    width: int | None
    fps: float | None = None
    times: np.ndarray | None = None
    medium: Medium = "exact"
    palette: str | None = None
    swapped: bool = False
    ground: str = "black"
    resampled: bool = False
    found: bool = False
    people: np.ndarray
    sources: tuple[str, ...]
    sight: str = ""
    ignored: str | None = None

    def __post_init__(self) -> None:
        assert self.keypoints.shape == (len(self), NUM_JOINTS, 3), self.keypoints.shape
        assert self.confidences.shape == (len(self), NUM_JOINTS), self.confidences.shape
        assert len(self.people) == len(self.sources) == len(self)

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def seen(self) -> np.ndarray:
        """(F, 18) bool."""
        return self.keypoints[..., 2] > 0

    def with_keypoints(self, keypoints: np.ndarray) -> "PoseTrack":
        """This track with other joints (F, 18, 3) of the same frames."""
        return dataclasses.replace(self, keypoints=np.asarray(keypoints, np.float32))


Person = tuple[np.ndarray, np.ndarray]
"""Joints (18, 3) and confidences (18,)."""


def follow_person(frames: list[list[Person]], near: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Choose one person out of those in each frame: the one who goes on where the last one was.

    Args:
        frames: everybody in each frame.
        near: (18, 3) the photo's pose in the same pixels; the first person chosen is the nearest to it, or
            without it the largest.

    Returns:
        (F, 18, 3) joints and (F, 18) confidences; zeros where a frame has nobody.
    """
    keypoints = np.zeros((len(frames), NUM_JOINTS, 3), np.float32)
    confidences = np.zeros((len(frames), NUM_JOINTS), np.float32)
    last = near
    for frame, people in enumerate(frames):
        if not people:
            continue
        if last is None or not (last[:, 2] > 0).any():
            joints, sure = max(people, key=lambda person: (_size(person[0]), float(person[1].sum())))
        else:
            reference = last
            joints, sure = min(people, key=lambda person: _distance(person[0], reference))
        keypoints[frame], confidences[frame], last = joints, sure, joints
    return keypoints, confidences


def _size(joints: np.ndarray) -> float:
    seen = joints[joints[:, 2] > 0, :2]
    return float(np.ptp(seen, axis=0).max()) if len(seen) > 1 else 0.0


def _distance(joints: np.ndarray, reference: np.ndarray) -> float:
    """Mean distance of the joints both have; of their middles where they have none in common."""
    both = (joints[:, 2] > 0) & (reference[:, 2] > 0)
    if both.any():
        return float(np.hypot(*(joints - reference)[both, :2].T).mean())
    if not (joints[:, 2] > 0).any():
        return float("inf")
    middles = (each[each[:, 2] > 0, :2].mean(axis=0) for each in (joints, reference))
    return 2 * float(np.hypot(*np.subtract(*middles)))
