"""Where the frame of a video lies in a photo: around the person, as large as the model has seen people."""

import dataclasses

import numpy as np

from utils.image import Placement, fit_size
from utils.pose_drawing import FACE, HIPS, joint_indices

ANKLES = joint_indices(("left_ankle", "right_ankle"))
PERSON_SHARE, BELOW_SHARE = 0.86, 0.065
"""Of the frame's height, what the person takes and what is free below her feet."""
LEAST_SHARE = 0.75
"""Of the frame's height: a photo that shows her at least so high when it is fitted in whole stays so."""
HEAD_SHARE, FEET_SHARE, ARM_SHARE = 0.09, 0.105, 0.05
"""Of the height from the highest to the lowest joint: how far hair, shoes and hands go beyond the joints."""
SIDE_MARGIN = 0.03  # of the frame's width, free on either side of her
MASK_REACH = 0.3  # of the joints' height: what a mask holds farther away is not hers
FEWEST_PIXELS = 3  # of a mask in a row or column that counts


@dataclasses.dataclass(frozen=True)
class Extent:
    """The box around a person in a photo, in its pixels.

    Attributes:
        left: its first column; likewise `top`, and `right` and `bottom`, which are past the last one.
        middle: column of the hips, or of the box.
        cut_above: the photo's upper edge cuts her off; likewise `cut_below`.
    """

    left: float
    top: float
    right: float
    bottom: float
    middle: float
    cut_above: bool
    cut_below: bool

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top


def measure_person(keypoints: np.ndarray, mask: np.ndarray | None, size: tuple[int, int]) -> Extent | None:
    """Say how far a person reaches in a photo.

    Args:
        keypoints: (18, 3) x px, y px, visibility in the photo.
        mask: (H, W) in 0..1, where she is; None where that is not known.
        size: height and width of the photo.

    Returns:
        The box around her, or None where no two joints are seen.
    """
    seen = keypoints[:, 2] > 0
    if seen.sum() < 2:
        return None
    (left, top), (right, bottom) = keypoints[seen, :2].min(axis=0), keypoints[seen, :2].max(axis=0)
    span = max(float(bottom - top), float(right - left) / 2, 1.0)
    near = left - MASK_REACH * span, top - MASK_REACH * span, right + MASK_REACH * span
    left, right = left - ARM_SHARE * span, right + ARM_SHARE * span
    top -= HEAD_SHARE * span
    has_feet = bool(seen[ANKLES].any())
    bottom = bottom + FEET_SHARE * span if has_feet else size[0]
    if mask is not None:
        there = mask > 0.5
        there[:, : max(0, int(near[0]))] = False
        there[:, max(0, int(near[2])) + 1 :] = False
        there[: max(0, int(near[1]))] = False
        rows = np.flatnonzero(there.sum(axis=1) >= FEWEST_PIXELS)
        columns = np.flatnonzero(there.sum(axis=0) >= FEWEST_PIXELS)
        if len(rows) and len(columns):
            top, left, right = min(top, rows[0]), min(left, columns[0]), max(right, columns[-1] + 1)
            bottom = max(bottom, min(rows[-1] + 1, bottom + MASK_REACH * span))
    hips = seen[joint_indices(HIPS)]
    middle = keypoints[joint_indices(HIPS)][hips, 0].mean() if hips.any() else (left + right) / 2
    has_face = bool(seen[joint_indices(FACE)].any())
    return Extent(
        left=max(0.0, float(left)),
        top=max(0.0, float(top)),
        right=min(float(size[1]), float(right)),
        bottom=min(float(size[0]), float(bottom)),
        middle=float(middle),
        cut_above=not has_face and top <= 0,
        cut_below=not has_feet,
    )


def frame_person(person: Extent, size: tuple[int, int], height: int, width: int) -> Placement:
    """Lay a frame around a person.

    She then takes 86 % of its height, or less where her arms need its width. A photo that shows her at least
    75 % of the frame's height when it is fitted in whole stays so, as does a close-up that cuts off head
    and feet. A frame begins or ends at the edge of the photo that cuts her, and else stays inside the photo
    where that leaves her in it.

    Args:
        person: in the photo.
        size: height and width of the photo.
        height: of the frame in its own pixels.
        width: of the frame in its own pixels.

    Returns:
        Where the photo lies in the frame; `left` and `top` are below 0 where it reaches over its edges.
    """
    fitted = fit_size(*size, height, width)
    is_high = person.height * fitted.scale >= LEAST_SHARE * height
    if is_high or (person.cut_above and person.cut_below):
        return fitted
    share = PERSON_SHARE + BELOW_SHARE * (person.cut_above or person.cut_below)
    needed_width = (person.right - person.left) / (1 - 2 * SIDE_MARGIN)
    frame_height = max(person.height / share, needed_width * height / width)
    frame_width = frame_height * width / height
    if person.cut_below:
        top = size[0] - frame_height
    elif person.cut_above:
        top = 0.0
    else:
        top = person.bottom + BELOW_SHARE * frame_height - frame_height
        top = _moved_inside(top, frame_height, size[0], person.top, person.bottom)
    margin = SIDE_MARGIN * frame_width
    left = person.middle - frame_width / 2
    left = min(max(left, person.right + margin - frame_width), person.left - margin)
    left = _moved_inside(left, frame_width, size[1], person.left - margin, person.right + margin)
    return place_frame(size, left, top, frame_height, height)


def place_frame(
    size: tuple[int, int], left: float, top: float, frame_height: float, height: int
) -> Placement:
    """Where a picture lies in a frame of `height` pixels.

    Args:
        size: height and width of the picture.
        left: first column of the frame, in pixels of the picture.
        top: first row of the frame, in pixels of the picture.
        frame_height: height of the frame, in pixels of the picture.
        height: of the frame in its own pixels.
    """
    scale = height / frame_height
    return Placement(
        scale=scale,
        left=-round(left * scale),
        top=-round(top * scale),
        height=round(size[0] * scale),
        width=round(size[1] * scale),
        source_height=size[0],
        source_width=size[1],
    )


def _moved_inside(start: float, length: float, whole: float, first: float, last: float) -> float:
    """The start of a part, moved into a whole as far as it goes on covering `first` to `last`."""
    if length > whole:
        return start
    inside = min(max(start, 0.0), whole - length)
    return min(max(inside, min(start, last - length)), max(start, first))
