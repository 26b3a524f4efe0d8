"""Joints as numbers: from a JSON beside a clip's skeleton pictures, or read back from their colours."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.errors import UserError
from utils.files import read_json
from utils.image import image_size, read_image
from utils.pose_drawing import COLORS, FACE, HIPS, JOINT, LIMB_DIMMING, LIMBS, NUM_JOINTS, joint_indices

COLOR_TOLERANCE = 75.0  # RGB distance; video compression and resizing move a small dot's colour by this much
SMALLEST_BLOB = 0.1  # a blob counts from this share of a dot's area on
LARGEST_BLOB = 5.0  # dots' areas: above, it is a limb drawn in full colour rather than a joint

_JOINT_COLORS = np.array(COLORS, np.float32)
_LIMB_COLORS = (np.array(COLORS[: len(LIMBS)]) * LIMB_DIMMING).astype(np.uint8).astype(np.float32)


NECK, HIP_INDICES, HEAD = JOINT["neck"], joint_indices(HIPS), joint_indices(FACE)


def read_joints(picture: np.ndarray) -> np.ndarray:
    """Read 18 joints back from a skeleton picture.

    Pictures by `utils.pose_drawing.draw_pose` are read to within a pixel, dots half covered by others too.
    Others (resized, from a video, with hands and a face) are read by nearest colour, preferring the dot that
    its own limbs touch.

    Args:
        picture: (H, W, 3) uint8 RGB, one skeleton on black.

    Returns:
        (18, 3) float32: x and y in pixels, visibility 1, or zeros where the joint is not found.

    Raises:
        UserError: not uint8 RGB.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(
            f"the skeleton is {picture.dtype} of shape {picture.shape}; give uint8 RGB (height, width, 3)"
        )
    radius = max(1, round(picture.shape[0] / 128))
    rows, columns = np.nonzero(picture.max(axis=2) > 0)
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    if not len(rows):
        return joints
    colors = picture[rows, columns].astype(np.float32)
    palette = np.concatenate([_JOINT_COLORS, _LIMB_COLORS])
    distance = np.stack([np.square(colors - color).sum(axis=1) for color in palette])
    nearest = distance.argmin(axis=0)
    if not distance.min(axis=0).any():  # nothing but our own colours
        labels = np.full(picture.shape[:2], -1, np.int32)
        labels[rows, columns] = nearest
        for joint in range(NUM_JOINTS):
            place = _fit_dot(labels, joint, radius)
            if place is not None:
                joints[joint] = (*place, 1)
        return joints
    nearest[distance.min(axis=0) > COLOR_TOLERANCE**2] = -1
    labels = np.full(picture.shape[:2], -1, np.int32)
    labels[rows, columns] = nearest
    limbs = [largest_blobs(labels == NUM_JOINTS + limb, 2 * radius**2) for limb in range(len(LIMBS))]
    for joint in range(NUM_JOINTS):
        place = _find_dot(
            labels == joint, [limbs[i] for i, limb in enumerate(LIMBS) if joint in limb], radius
        )
        if place is not None:
            joints[joint] = (*place, 1)
    for (start, end), limb in zip(LIMBS[:13], limbs, strict=False):
        if joints[start, 2] > 0 and joints[end, 2] == 0:
            place = far_end(limb, joints[start, :2], radius)
            if place is not None:
                joints[end] = (*place, 1)
    return without_far_heads(joints)


def without_far_heads(joints: np.ndarray) -> np.ndarray:
    """Leave out nose, eyes and ears that lie farther from the neck than the hips do.

    Estimators that draw hands as well colour some fingers like a head's joint.
    """
    neck, hips = joints[NECK], joints[HIP_INDICES][joints[HIP_INDICES][:, 2] > 0]
    if neck[2] > 0 and len(hips):
        torso = np.linalg.norm(hips[:, :2] - neck[:2], axis=1).max()
        far = np.linalg.norm(joints[HEAD][:, :2] - neck[:2], axis=1) > torso
        joints[np.array(HEAD)[far]] = 0
    return joints


def load_joints(poses_dir: str | Path, num_frames: int) -> np.ndarray | None:
    """Joints of a clip's frames.

    Args:
        poses_dir: folder of skeleton pictures 000.png, 001.png ... (or .jpg); where a `poses_dir`.json
            exists, its "keypoints" (frames, 18, 3) are taken, scaled from its "height" and "width" to the
            pictures' size.
        num_frames: frames wanted, from the first on.

    Returns:
        (num_frames, 18, 3) float32 in the pictures' pixels, or None where no joint is found in any frame.

    Raises:
        UserError: the JSON is damaged, or a picture is missing; the message names the file.
    """
    poses_dir = Path(poses_dir)
    json_path = poses_dir.with_name(poses_dir.name + ".json")
    pictures = _numbered_pictures(poses_dir)
    if json_path.is_file():
        joints, height, width = _read_keypoints(json_path)
        if len(joints) < num_frames:
            raise UserError(
                f"{json_path} has keypoints of {len(joints)} frames, {num_frames} are wanted; write it again"
            )
        if pictures:
            shape = read_image(pictures[0]).shape
            joints = scale_joints(joints, (height, width), (shape[0], shape[1]))
        joints = joints[:num_frames]
    else:
        if len(pictures) < num_frames:
            raise UserError(
                f"{poses_dir} has {len(pictures)} skeleton pictures, {num_frames} are wanted; add the others"
            )
        joints = np.stack([read_joints(read_image(path)) for path in pictures[:num_frames]])
    return joints if (joints[..., 2] > 0).any() else None


def joints_size(poses_dir: str | Path) -> tuple[float, float]:
    """Height and width in pixels of what the joints of `load_joints` are placed in: a picture, or the JSON's.

    Raises:
        UserError: the picture or the JSON is damaged; the message names it.
    """
    poses_dir = Path(poses_dir)
    if pictures := _numbered_pictures(poses_dir):
        return image_size(pictures[0])
    _, height, width = _read_keypoints(poses_dir.with_name(poses_dir.name + ".json"))
    return height, width


def _numbered_pictures(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    pictures = [p for p in paths if p.stem.isdecimal() and p.suffix.lower() in (".png", ".jpg", ".jpeg")]
    return sorted(pictures, key=lambda path: int(path.stem))


def scale_joints(joints: np.ndarray, size: tuple[float, float], new_size: tuple[float, float]) -> np.ndarray:
    """Joints (..., 3) of a picture of `size` (height, width) in pixels of the same picture at `new_size`.

    Pixel centres are kept: the middle of the first pixel is 0, so a picture's edge lies at -0.5.
    """
    scaled = np.array(joints, np.float32)
    if tuple(size) == tuple(new_size):
        return scaled  # to the last bit
    factor = np.array([new_size[1] / size[1], new_size[0] / size[0]])
    scaled[..., :2] = np.where(scaled[..., 2:] > 0, (scaled[..., :2] + 0.5) * factor - 0.5, scaled[..., :2])
    return scaled


def _read_keypoints(path: Path) -> tuple[np.ndarray, float, float]:
    content: Any = read_json(path)
    if not isinstance(content, dict):
        raise UserError(
            f'{path} holds no object; it needs {{"height": .., "width": .., "keypoints": [frames][18][3]}}'
        )
    sizes = []
    for key in ("height", "width"):
        value = content.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            raise UserError(f'{path}: "{key}" is {value!r}; give the pictures\' {key} in pixels')
        sizes.append(float(value))
    try:
        joints = np.array(content.get("keypoints"), np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(
            f'{path}: "keypoints" is not a regular list of numbers; give [frames][18][3]'
        ) from error
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3):
        raise UserError(
            f'{path}: "keypoints" has shape {joints.shape}; give (frames, {NUM_JOINTS}, 3): x, y, visibility'
        )
    if not np.isfinite(joints).all():
        raise UserError(
            f'{path}: "keypoints" holds NaN or infinite numbers; give visibility 0 to a missing joint'
        )
    return joints, sizes[0], sizes[1]


def _disc(radius: int) -> np.ndarray:
    """(n, 2) row and column offsets of the dot that cv2.circle draws."""
    canvas = np.zeros((2 * radius + 3, 2 * radius + 3), np.uint8)
    cv2.circle(canvas, (radius + 1, radius + 1), radius, 1, thickness=-1)
    return np.argwhere(canvas) - (radius + 1)


def _fit_dot(labels: np.ndarray, joint: int, radius: int) -> tuple[float, float] | None:
    """Centre of a joint's dot in an exact drawing: it covers all its pixels, and only later dots cover it."""
    own = np.argwhere(labels == joint)
    if not len(own):
        return None
    disc = _disc(radius)
    middle = (own.min(axis=0) + own.max(axis=0)) / 2
    fitting = []
    for row in range(own[:, 0].max() - radius, own[:, 0].min() + radius + 1):
        for column in range(own[:, 1].max() - radius, own[:, 1].min() + radius + 1):
            pixels = np.add(disc, (row, column))
            inside = ((pixels >= 0) & (pixels < labels.shape)).all(axis=1)
            found = labels[tuple(pixels[inside].T)]
            if (found == joint).sum() == len(own) and ((found >= joint) & (found < NUM_JOINTS)).all():
                fitting.append((row, column))
    row, column = np.mean(fitting, axis=0) if fitting else middle
    return float(column), float(row)


def largest_blobs(mask: np.ndarray, smallest: float) -> np.ndarray:
    """The part of a mask in blobs of at least `smallest` pixels that are not much smaller than the largest.

    What crosses a limb may cut it; specks are the fringes of other colours.
    """
    _, blobs, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    return (areas >= max(smallest, 0.25 * areas.max()))[blobs] & mask


def far_end(limb: np.ndarray, start: np.ndarray, radius: float) -> tuple[float, float] | None:
    """Where a limb ends whose last joint is covered (a wrist by a hand, a nose by a face)."""
    rows, columns = np.nonzero(limb)
    distance = np.hypot(columns - start[0], rows - start[1])
    if not len(rows) or distance.min() > 3 * radius or distance.max() < 3 * radius:
        return None
    end = distance >= distance.max() - 1.5
    return float(columns[end].mean()), float(rows[end].mean())


def _find_dot(mask: np.ndarray, limbs: list[np.ndarray], radius: int) -> tuple[float, float] | None:
    """Centre of the blob of a joint's colour that is most like its dot: of its size, touched by its limbs.

    A blob that no limb touches counts only where the joint has no limbs and no other blobs: hands are drawn
    with many dots and lines in the joints' colours.

    Args:
        mask: (H, W) bool, where the joint's colour is.
        limbs: (H, W) bool for each limb that ends in the joint, where its colour is.
        radius: of a dot in pixels.
    """
    count, _, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = len(_disc(radius))
    best, best_score = None, 0.0
    for blob in range(1, count):
        size = stats[blob, cv2.CC_STAT_AREA]
        if not SMALLEST_BLOB * area <= size <= LARGEST_BLOB * area:
            continue
        x, y = centres[blob]
        reach = radius + 2
        rows = slice(max(0, round(y) - reach), round(y) + reach + 1)
        columns = slice(max(0, round(x) - reach), round(x) + reach + 1)
        touching = sum(bool(limb[rows, columns].sum() > radius) for limb in limbs) / len(limbs)
        if touching == 0 and (count > 2 or any(limb.any() for limb in limbs)):
            continue
        score = min(1.0, size / area) + 3 * touching
        if score > best_score:
            best, best_score = (float(x), float(y)), score
    return best
