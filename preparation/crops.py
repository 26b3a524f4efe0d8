"""One crop a clip, around the person wherever she is in it, so that the camera does not shake."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from generation.framing import BELOW_SHARE, PERSON_SHARE, SIDE_MARGIN, Extent, measure_person, place_frame
from utils.image import Placement


def extent_of_clip(
    keypoints: np.ndarray, masks: Sequence[np.ndarray | None], size: tuple[int, int]
) -> Extent:
    """The box that holds a person in all frames of a clip.

    Args:
        keypoints: (F, 18, 3) x px, y px, visibility; two joints or more are seen in at least one frame.
        masks: of each frame (H, W) in 0..1, or None.
        size: height and width of the pictures.
    """
    extents = [measure_person(joints, mask, size) for joints, mask in zip(keypoints, masks, strict=True)]
    known = [extent for extent in extents if extent is not None]
    assert known, "a clip without joints"
    left, right = min(e.left for e in known), max(e.right for e in known)
    return Extent(
        left=left,
        top=min(e.top for e in known),
        right=right,
        bottom=max(e.bottom for e in known),
        middle=(left + right) / 2,
        cut_above=False,
        cut_below=False,
    )


def crop_around(person: Extent, size: tuple[int, int], height: int, width: int) -> Placement:
    """Lay a frame around a box so that it takes 86 % of the frame's height, or less where it is wide.

    The frame stays inside the picture where that is possible; a box that is too large for that is given a
    border.

    Args:
        person: in the picture.
        size: height and width of the picture.
        height: of the frame in its own pixels.
        width: of the frame in its own pixels.

    Returns:
        Where the picture lies in the frame.
    """
    for_width = (person.right - person.left) / (1 - 2 * SIDE_MARGIN) * height / width
    wanted = max(person.height / PERSON_SHARE, for_width)
    largest = min(size[0], size[1] * height / width)  # that lies inside the picture
    frame_height = min(wanted, max(largest, person.height, for_width))
    frame_width = frame_height * width / height
    top = person.bottom + BELOW_SHARE * frame_height - frame_height
    top = _inside(top, frame_height, size[0], person.top, person.bottom)
    left = _inside(person.middle - frame_width / 2, frame_width, size[1], person.left, person.right)
    return place_frame(size, left, top, frame_height, height)


def _inside(start: float, length: float, whole: float, first: float, last: float) -> float:
    """The start of a part, moved to cover `first` to `last`, and into the whole where it is shorter."""
    start = min(max(start, last - length), first)
    return min(max(start, 0.0), whole - length) if length <= whole else (whole - length) / 2


def for_picture(place: Placement, size: tuple[int, int]) -> Placement:
    """The same crop of the same video's pictures in another size (height and width)."""
    return dataclasses.replace(
        place, scale=place.height / size[0], source_height=size[0], source_width=size[1]
    )


def needed_side(place: Placement) -> int:
    """Longest side in pixels from which on a picture has a pixel for each of the frame's."""
    return max(place.height, place.width)
