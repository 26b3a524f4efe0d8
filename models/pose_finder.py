"""Find the 18 joints of one person in photos and videos: BlazePose "full", run by LiteRT.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. The weights ship in
pretrained_model/pose_finder; the package `ai-edge-litert` is imported when a finder is made.
"""

import contextlib
import dataclasses
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from transformers import ImageProcessingMixin

from models.pose_tracking import PoseTrack, make_track, seen_joints
from utils.errors import UserError
from utils.files import atomic_path
from utils.pose_drawing import NUM_JOINTS

SHIPPED_FINDER = Path(__file__).resolve().parents[1] / "pretrained_model/pose_finder"
WEIGHTS_NAME = "pose_landmark_full.tflite"
WEIGHTS_SHA256 = "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
PACKAGE = "ai-edge-litert==2.3.0"

SIZE = 256
"""Side of the crops that the network sees."""
NUM_LANDMARKS, NUM_BODY = 39, 33
# Its points that are our joints, in our order; the neck is the middle of both shoulders.
LANDMARKS = (
    (0,), (11, 12),
    (12,), (14,), (16,),
    (11,), (13,), (15,),
    (24,), (26,), (28,),
    (23,), (25,), (27,),
    (5,), (2,), (8,), (7,),
)  # fmt: skip
DEPTH_SCALE = 0.25
"""Its depths in pixels of the crop: a shoulder girdle in profile is as deep as it is wide from the front."""

LEAST_SCORE = 0.5
CROP_SCALE = 1.25
"""Side of the crop, in extents of the points that were found in the one before."""
CROP_SETTLED, MOST_CROPS = 0.85, 4
"""Crops are refined until two overlap so far, or so many were tried."""
SEARCH_SIDES, LEAST_SEARCH_SIDE = (1.0, 0.6, 0.36), 48
"""Crops that are searched where the whole picture shows nobody, in shorter sides of the picture, and how many
pixels a side they have at least."""
LEAST_PRESENCE = 0.5
SEARCH_EVERY = 10
"""Frames between two thorough searches for somebody who is gone from a video."""


@dataclasses.dataclass(frozen=True)
class Pose:
    """One person in one picture."""

    keypoints: np.ndarray
    """(18, 3) float32: x, y in pixels and visibility 0 or 1, by the rule of `seen_joints`; all 0 if not
    found."""
    confidence: np.ndarray
    """(18,) in [0, 1]: how sure the network is to see each joint."""
    depth: np.ndarray
    """(18,) in pixels from the middle of the hips, growing away from the viewer; about right."""
    score: float
    """In [0, 1]: whether there is a person."""
    mask: np.ndarray | None
    """(H, W) float32 in [0, 1], where the person is; hems and heels may lack."""

    @property
    def found(self) -> bool:
        """Whether there is a person."""
        return self.score >= LEAST_SCORE


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A square of a picture, in whole pixels; it may reach over the edges."""

    left: int
    top: int
    side: int

    def overlap(self, other: "_Crop") -> float:
        """Intersection over union."""
        width, height = (
            max(0, min(a + self.side, b + other.side) - max(a, b))
            for a, b in ((self.left, other.left), (self.top, other.top))
        )
        return width * height / (self.side**2 + other.side**2 - width * height)


@dataclasses.dataclass(frozen=True)
class _Sight:
    """What the network says of one crop, in pixels of the picture."""

    landmarks: np.ndarray
    """(33, 5): x, y, depth, visibility and presence."""
    score: float
    mask_logits: np.ndarray
    crop: _Crop

    def next_crop(self) -> _Crop:
        """Around the points that were found."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        side = max(round(float((high - low).max()) * CROP_SCALE), 16)
        left, top = np.round((low + high) / 2 - (side - 1) / 2).astype(int)
        return _Crop(int(left), int(top), side)


class PoseFinder(ImageProcessingMixin):  # so that a pipeline can save it and load it
    """Finds one person's joints; make it by `from_pretrained`.

    It is not to be shared by threads.
    """

    def __init__(self, weights: bytes, num_threads: int = 1) -> None:
        """Start the interpreter.

        Args:
            weights: content of the .tflite file.
            num_threads: that compute one picture.

        Raises:
            UserError: the package `ai-edge-litert` is missing.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(
                f"finding poses in pictures needs the package ai-edge-litert ({error}); "
                f"type: pip install {PACKAGE}"
            ) from error
        self._weights = weights
        with _stderr_closed():  # it greets there
            self._interpreter = Interpreter(model_content=weights, num_threads=num_threads)
            self._interpreter.allocate_tensors()
        self._lock = threading.Lock()  # the interpreter has one set of tensors
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        outputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}
        self._outputs = tuple(outputs[name] for name in ("Identity", "Identity_1", "Identity_2"))

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: str | Path = SHIPPED_FINDER, num_threads: int = 1
    ) -> "PoseFinder":
        """Read the weights that ship.

        Args:
            folder: that holds pose_landmark_full.tflite.
            num_threads: that compute one picture; two make it 1.5 times as fast.

        Raises:
            UserError: the file is missing or is not the one that was published, or ai-edge-litert is missing.
        """
        path = Path(folder) / WEIGHTS_NAME
        try:
            weights = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"the pose finder's weights {path} cannot be read ({error.strerror}); "
                f"pretrained_model/pose_finder/README.md says how to get them"
            ) from error
        if hashlib.sha256(weights).hexdigest() != WEIGHTS_SHA256:
            raise UserError(
                f"{path} is damaged ({len(weights)} bytes, SHA-256 not {WEIGHTS_SHA256[:12]}...); "
                "pretrained_model/pose_finder/README.md says how to get it again"
            )
        return cls(weights, num_threads)

    def __repr__(self) -> str:  # the base class would copy the interpreter
        return f"{type(self).__name__}()"

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the weights into a folder, for `from_pretrained`."""
        with atomic_path(Path(save_directory) / WEIGHTS_NAME) as temporary:
            temporary.write_bytes(self._weights)

    def find(self, picture: np.ndarray, with_mask: bool = True, thorough: bool = True) -> Pose:
        """Find the one person in a picture; of several, one.

        Args:
            picture: (H, W, 3) uint8 RGB of any size; the person may be small in it.
            with_mask: also say where the person is.
            thorough: also look at parts of the picture, where all of it shows nobody.
        """
        sight = self._search(picture, thorough)
        points, confidence = _joints(sight)
        keypoints = np.zeros((NUM_JOINTS, 3), np.float32)
        if sight.score >= LEAST_SCORE:
            keypoints[:, :2] = points[:, :2]
            keypoints[:, 2] = seen_joints(points[None], confidence[None], picture.shape[:2])[0]
        mask = _mask(sight, picture.shape[:2]) if with_mask and sight.score >= LEAST_SCORE else None
        return Pose(keypoints, confidence, points[:, 2], sight.score, mask)

    def find_track(
        self,
        frames: Iterable[np.ndarray],
        fps: float = 30.0,
        with_masks: bool = False,
        progress: Callable[[int], object] | None = None,
        start: tuple[int, int, int] | None = None,
    ) -> PoseTrack:
        """Find one person in all frames of a video.

        The crop follows her from frame to frame; where she is lost the whole picture is searched again.

        Args:
            frames: (H, W, 3) uint8 RGB pictures of one size; read one by one.
            fps: frames per second, by which the track is smoothed.
            with_masks: also say where the person is in each frame; takes 4 bytes of memory a pixel.
            progress: is called with 1 after each frame, such as the `update` of a tqdm bar.
            start: left, top and side in pixels of a square around her in the first frame; without it the
                whole picture is searched.

        Returns:
            The track, without frames if there were none.
        """
        sight: _Sight | None = None
        points, confidence = [], []
        scores: list[float] = []
        masks: list[np.ndarray | None] = []
        size, lost = (0, 0), 0
        for picture in frames:
            size = picture.shape[:2]
            if start is not None and not scores:
                sight = self._close_in(picture, _Crop(*start))
            else:
                sight = self._follow(picture, sight, thorough=lost % SEARCH_EVERY == 0)
            place, sure = _joints(sight)
            found = sight.score >= LEAST_SCORE
            points.append(place)
            confidence.append(sure)
            scores.append(sight.score)
            masks.append(_mask(sight, size) if with_masks and found else None)
            sight, lost = (sight, 0) if found else (None, lost + 1)
            if progress is not None:
                progress(1)
        shape, score = (len(scores), NUM_JOINTS, 3), np.array(scores)
        return make_track(
            np.reshape(points, shape),
            np.reshape(confidence, shape[:2]),
            score,
            score >= LEAST_SCORE,
            masks,
            size,
            fps,
        )

    def _follow(self, picture: np.ndarray, last: _Sight | None, thorough: bool) -> _Sight:
        """Look where she was; search if she is gone from there."""
        if last is not None:
            crop = last.next_crop()
            sight = self._look(picture, crop)
            if sight.score >= LEAST_SCORE and sight.next_crop().overlap(crop) > 0.3:
                return sight
        return self._search(picture, thorough)

    def _search(self, picture: np.ndarray, thorough: bool = True) -> _Sight:
        """Look at the whole picture, then (if thorough) at parts of it, and close in on who was found."""
        height, width = picture.shape[:2]
        side = max(height, width)
        best = self._close_in(picture, _Crop((width - side) // 2, (height - side) // 2, side))
        for share in SEARCH_SIDES if thorough else ():
            if best.score >= LEAST_SCORE or min(height, width) * share < LEAST_SEARCH_SIDE:
                break
            sights = [self._look(picture, crop) for crop in _tiles(height, width, share)]
            for sight in sorted(sights, key=lambda sight: -sight.score)[:2]:
                closer = self._close_in(picture, sight.next_crop())
                best = max(best, sight, closer, key=lambda sight: sight.score)
        return best

    def _close_in(self, picture: np.ndarray, crop: _Crop) -> _Sight:
        sight = self._look(picture, crop)
        for _ in range(MOST_CROPS - 1):
            crop = sight.next_crop()
            if crop.side > 4 * max(picture.shape[:2]):
                break
            closer = self._look(picture, crop)
            if closer.score < min(LEAST_SCORE, sight.score):
                break
            settled = closer.next_crop().overlap(crop) >= CROP_SETTLED
            sight = closer
            if settled:
                break
        return sight

    def _look(self, picture: np.ndarray, crop: _Crop) -> _Sight:
        """Run the network on one crop."""
        pixels = _cut(picture, crop).astype(np.float32) / 255
        with self._lock:
            self._interpreter.set_tensor(self._input, pixels[None])
            self._interpreter.invoke()
            values, score, mask = (self._interpreter.get_tensor(index) for index in self._outputs)
        landmarks = values.reshape(NUM_LANDMARKS, 5)[:NUM_BODY].astype(np.float64)
        scale = crop.side / SIZE
        landmarks[:, :2] = landmarks[:, :2] * scale - 0.5 + [crop.left, crop.top]
        landmarks[:, 2] *= DEPTH_SCALE * scale
        landmarks[:, 3:] = _sigmoid(landmarks[:, 3:])
        return _Sight(landmarks, float(score.item()), mask[0, :, :, 0], crop)


def _joints(sight: _Sight) -> tuple[np.ndarray, np.ndarray]:
    """Our joints among its points: (18, 3) x, y and depth, and (18,) confidence."""
    points = np.stack([sight.landmarks[list(indices), :3].mean(axis=0) for indices in LANDMARKS])
    sure = sight.landmarks[:, 3] * (sight.landmarks[:, 4] >= LEAST_PRESENCE)
    return points, np.array([sure[list(indices)].min() for indices in LANDMARKS])


def _mask(sight: _Sight, size: tuple[int, int]) -> np.ndarray:
    """The crop's mask in the whole picture, (H, W) float32; 0 outside the crop."""
    crop, (height, width) = sight.crop, size
    scale = crop.side / SIZE
    to_picture = np.array([[scale, 0, (scale - 1) / 2 + crop.left], [0, scale, (scale - 1) / 2 + crop.top]])
    probability = _sigmoid(sight.mask_logits).astype(np.float32)
    return cv2.warpAffine(probability, to_picture, (width, height), flags=cv2.INTER_LINEAR)


def _cut(picture: np.ndarray, crop: _Crop) -> np.ndarray:
    """The crop as (256, 256, 3) uint8, black where it reaches over the picture."""
    height, width = picture.shape[:2]
    top, left = max(crop.top, 0), max(crop.left, 0)
    bottom, right = min(crop.top + crop.side, height), min(crop.left + crop.side, width)
    if bottom <= top or right <= left:
        return np.zeros((SIZE, SIZE, 3), np.uint8)
    inside = cv2.copyMakeBorder(
        picture[top:bottom, left:right],
        top - crop.top,
        crop.top + crop.side - bottom,
        left - crop.left,
        crop.left + crop.side - right,
        cv2.BORDER_CONSTANT,
    )
    interpolation = cv2.INTER_AREA if crop.side > SIZE else cv2.INTER_LINEAR
    return cv2.resize(inside, (SIZE, SIZE), interpolation=interpolation)


def _tiles(height: int, width: int, share: float) -> Iterator[_Crop]:
    """Squares that cover the picture, half a side apart."""
    side = round(min(height, width) * share)
    rows, columns = (
        np.linspace(0, length - side, max(1, round(2 * (length - side) / side) + 1)).round().astype(int)
        for length in (height, width)
    )
    for top in rows:
        for left in columns:
            yield _Crop(int(left), int(top), side)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -50, 50)))


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
    """Let nothing that libraries write to file descriptor 2 appear."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
