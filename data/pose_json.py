"""Poses as JSON: OpenPose's and DWPose's files, and our own."""

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.pose_track import Person, PoseTrack, follow_person
from utils.errors import UserError
from utils.files import atomic_folder, read_json, write_json
from utils.pose_drawing import NUM_JOINTS

BODY_25_JOINTS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Where BODY_25 has each of the 18."""
FORMS = (
    'give OpenPose\'s {"people": [{"pose_keypoints_2d": [x, y, confidence, ...]}]} with 18 or 25 joints, '
    'a file a frame or a list of frames, or {"height": .., "width": .., "keypoints": [frames][18][3]}'
)
MAX_FRAMES = 20_000
SMALLEST_CANVAS = 16
"""Pixels; files that give 1 x 1 say that their coordinates are relative."""
_NUMBERED = re.compile(r"(\d+)(?!.*\d)", re.ASCII)


def read_pose_json(
    path: str | Path, near: np.ndarray | None = None, canvas: tuple[int, int] | None = None
) -> PoseTrack:
    """Read the poses in a JSON file, or in a folder that holds one file a frame.

    Read are: OpenPose's and DWPose's objects with people of 18 or 25 joints, flat or nested, alone, in a
    list, under "frames" or by frame numbers; coordinates in pixels, or relative where all lie in [0, 1];
    lists [frames][18 or 25][2 or 3] and [18 or 25][3]; and our own "keypoints".

    Args:
        path: path of the file or the folder.
        near: (18, 3) the photo's pose, where known: of several people the nearest is taken, else the largest.
        canvas: height and width in pixels for relative coordinates of files that say no size.

    Raises:
        UserError: no such file, not JSON, an impossible size, or nothing that can be read as poses; the
            message names it.
    """
    path = Path(path)
    files = _frame_files(path) if path.is_dir() else [path]
    people: list[list[Person]] = []
    sources: list[str] = []
    sizes: list[tuple[float, float] | None] = []
    fps = None
    for file in files:
        document = read_json(file)
        entries = _entries(file, document)
        fps = fps or read_rate(document)
        for number, entry in enumerate(entries):
            place = str(file) if len(entries) == 1 else f"{file}, frame {number}"
            people.append(_people(place, entry))
            sources.append(place)
            sizes.append(_canvas(place, entry) or _canvas(str(file), document))
        if len(people) > MAX_FRAMES:
            raise UserError(f"{path} holds more than {MAX_FRAMES} frames; cut it")
    if not people:
        raise UserError(f"{path} holds no frames; {FORMS}")
    size = next((each for each in sizes if each), None)
    if _is_relative(people):
        size = canvas if size is None or min(size) < SMALLEST_CANVAS else size
        if size is None:
            raise UserError(
                f'{path} has relative coordinates (0 to 1) and no canvas size; add "canvas_height" and '
                '"canvas_width" in pixels'
            )
        people = _in_pixels(people, size)
    elif size is not None and min(size) < SMALLEST_CANVAS:
        raise UserError(
            f"{path} says that its pictures are {size[1]:g} x {size[0]:g} pixels; give their size as "
            '"canvas_width" and "canvas_height"'
        )
    keypoints, confidences = follow_person(people, near)
    return PoseTrack(
        keypoints=keypoints,
        confidences=confidences,
        height=None if size is None else round(size[0]),
        width=None if size is None else round(size[1]),
        fps=fps,
        times=None if fps is None else np.arange(len(people)) / fps,
        people=np.array([len(each) for each in people]),
        sources=tuple(sources),
    )


def write_openpose_folder(
    folder: str | Path, name: str, keypoints: np.ndarray, height: int, width: int, fps: float | None = None
) -> None:
    """Write poses as OpenPose does: FOLDER/NAME_000000000000_keypoints.json and so on, all or none.

    Args:
        folder: to make or to replace.
        name: of the clip.
        keypoints: (F, 18, 3) x px, y px, visibility; COCO's 18 joints, a missing one becomes three zeros.
        height: of the canvas in pixels.
        width: of the canvas in pixels.
        fps: frames a second, which OpenPose does not say and `read_pose_json` reads.
    """
    rate = {} if fps is None else {"fps": fps}
    with atomic_folder(folder) as new:
        for number, frame in enumerate(openpose_frames(keypoints, height, width)):
            write_json(new / f"{name}_{number:012d}_keypoints.json", {"version": 1.3, **frame, **rate})


def openpose_frames(keypoints: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    """The frames of poses (F, 18, 3) as OpenPose and the nodes of DWPose write them."""
    joints = np.array(keypoints, np.float64)
    seen = joints[..., 2] > 0
    joints[..., 2] = np.clip(joints[..., 2], 0, 1)
    joints[..., 2] = np.where(seen, np.maximum(joints[..., 2], 0.001), 0)
    joints[~seen] = 0
    hidden = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
    return [
        {
            "people": [
                {"pose_keypoints_2d": frame.ravel().round(3).tolist(), **dict.fromkeys(hidden)},
            ],
            "canvas_height": int(height),
            "canvas_width": int(width),
        }
        for frame in joints
    ]


def number_in_name(path: Path) -> int | None:
    """The last number in a file's name: 12 for clip_000000000012_keypoints.json."""
    match = _NUMBERED.search(path.stem)
    return int(match[1]) if match else None


def _frame_files(folder: Path) -> list[Path]:
    numbered = [(number_in_name(file), file) for file in folder.iterdir() if file.suffix.lower() == ".json"]
    files = sorted(
        ((number, file) for number, file in numbered if number is not None),
        key=lambda each: (each[0], each[1].name),
    )
    if not files and len(numbered) == 1:
        return [numbered[0][1]]
    for (first, one), (second, other) in itertools.pairwise(files):
        if first == second:
            raise UserError(
                f"{folder} has frame {first} twice ({one.name}, {other.name}); remove one of them"
            )
        if second > first + 1:
            raise UserError(
                f"{folder} has no frame {first + 1} ({other.name} follows {one.name}); add it, or renumber"
            )
    if not files:
        raise UserError(f"{folder} holds no frames: no numbered pictures, and no numbered .json files")
    return [file for _, file in files]


def _entries(path: Path, document: Any) -> list[Any]:
    """A document's frames."""
    if isinstance(document, dict):
        if "people" in document or "pose_keypoints_2d" in document:
            return [document]
        if "keypoints" in document:
            keypoints = document["keypoints"]
            return _frames_of(keypoints) or [keypoints]
        for key in ("frames", "poses", "annotations", "data"):
            if isinstance(document.get(key), list):
                return document[key]
        if document and all(isinstance(key, str) and re.search(r"\d", key) for key in document):
            return [
                document[key] for key in sorted(document, key=lambda key: int(re.findall(r"\d+", key)[-1]))
            ]
        raise UserError(f"{path} holds no poses; {FORMS}")
    if isinstance(document, list):
        return _frames_of(document) or document
    raise UserError(f"{path} holds no poses; {FORMS}")


def _frames_of(keypoints: Any) -> list[Any] | None:
    """[frames][joints][2 or 3] as its frames; one pose [joints][2 or 3] as one; None for what is neither."""
    if not isinstance(keypoints, list) or not keypoints:
        return None
    depth, inner = 0, keypoints
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    if isinstance(inner, dict):
        return None
    return [keypoints] if depth <= 2 and len(keypoints) in (18, 25) else keypoints


def _people(place: str, entry: Any) -> list[Person]:
    """Everybody in one frame."""
    if entry is None:
        return []
    if isinstance(entry, dict):
        people = entry.get("people", [entry])
        if not isinstance(people, list):
            raise UserError(f'{place}: "people" is no list; {FORMS}')
        lists = [_body(each) if isinstance(each, dict) else each for each in people]
    else:
        lists = [entry]
    everybody = [_person(place, each) for each in lists if each]
    return [person for person in everybody if person[0].any()]


def _body(person: dict[str, Any]) -> Any:
    for key in ("pose_keypoints_2d", "pose_keypoints", "keypoints", "body"):
        if person.get(key) is not None:
            return person[key]
    return None


def _person(place: str, values: Any) -> Person:
    try:
        numbers = np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{place}: the joints are no regular list of numbers; {FORMS}") from error
    if numbers.ndim == 1 and numbers.size in (54, 75):
        numbers = numbers.reshape(-1, 3)
    if numbers.ndim == 2 and numbers.shape[1] == 2:
        numbers = np.concatenate([numbers, (numbers > 0).any(axis=1, keepdims=True)], axis=1)
    if numbers.shape not in ((18, 3), (25, 3)):
        raise UserError(f"{place}: joints of shape {numbers.shape}; {FORMS}")
    if len(numbers) == 25:
        numbers = numbers[list(BODY_25_JOINTS)]
    usable = np.isfinite(numbers).all(axis=1) & (numbers[:, 2] > 0)
    usable &= (np.abs(numbers[:, :2]) < 1e6).all(axis=1) & (numbers[:, :2] != 0).any(axis=1)  # (0, 0): lost
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    joints[usable, :2], joints[usable, 2] = numbers[usable, :2], 1
    return joints, np.where(usable, np.clip(numbers[:, 2], 0, 1), 0).astype(np.float32)


def _is_relative(people: list[list[Person]]) -> bool:
    """Whether coordinates are parts of a picture's sides."""
    places = [joints[joints[:, 2] > 0, :2] for frame in people for joints, _ in frame]
    values = np.concatenate(places) if places else np.zeros((0, 2))
    return len(values) > 0 and bool(values.min() >= -0.5 and values.max() <= 1.5)


def _in_pixels(people: list[list[Person]], size: tuple[float, float]) -> list[list[Person]]:
    """Relative coordinates times the canvas."""
    scale = np.array([size[1], size[0]])
    for frame in people:
        for joints, _ in frame:
            joints[:, :2] = np.where(joints[:, 2:] > 0, joints[:, :2] * scale - 0.5, 0)
    return people


def _canvas(place: str, document: Any) -> tuple[float, float] | None:
    """Height and width in pixels, by whatever names.

    Raises:
        UserError: they are there, and are no sizes.
    """
    if not isinstance(document, dict):
        return None
    for high, wide in (
        ("canvas_height", "canvas_width"),
        ("height", "width"),
        ("image_height", "image_width"),
    ):
        given = [document.get(high), document.get(wide)]
        sizes = _numbers(given)
        if sizes:
            return sizes[0], sizes[1]
        if any(value is not None for value in given):
            raise UserError(f'{place}: "{high}" is {given[0]!r} and "{wide}" {given[1]!r}; give pixels')
    return None


def read_rate(document: Any) -> float | None:
    """Frames a second, None where a document does not say."""
    rate = _numbers([document.get("fps")]) if isinstance(document, dict) else None
    return rate[0] if rate and rate[0] <= 240 else None


def _numbers(values: Sequence[Any]) -> list[float] | None:
    good = [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    return good if len(good) == len(values) and all(0 < value < 1e6 for value in good) else None
