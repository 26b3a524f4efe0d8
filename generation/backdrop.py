"""Frames of a video laid back into the photo that it was made of, at the photo's own size."""

import dataclasses

import cv2
import numpy as np

from generation.findings import Finding, Report
from generation.photo import GIVE_JOINTS, Photo
from utils.image import Placement, place_image
from warping.body import Body, read_body
from warping.outline import REACH, empty_background, fill_holes, find_person, fit_background
from warping.photo import Distances, measure_distances

MAX_SIDE = 4096
"""Of a laid-back video in pixels, which is what H.264 players take."""
WORKING_SIDE = 1024
"""Longest side at which the person is looked for in the photo."""
LEAST_DIFFERENCE = 8.0
"""Of 255: from which on a pixel of a frame, its colours matched to the photo's, is not background."""
GROWTH = 0.012
"""Of the frame's height: by how much more than the person's outline is filled in the photo."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """The part of the photo that the frame shows, in whole pixels."""

    rows: slice
    columns: slice


def look_for_backdrop(photo: Photo) -> list[Finding]:
    """Refuse a photo that no video can be laid back into."""
    if _body_of(photo) is not None:
        return []
    text = f"no person was found in {photo.path} to lay the video back to"
    return [
        Finding(severity="refusal", code="no_backdrop", message=text, figure=photo.score, remedy=GIVE_JOINTS)
    ]


def _body_of(photo: Photo) -> Body | None:
    return None if photo.pose is None else read_body(np.asarray(photo.pose, np.float64))


class Backdrop:
    """The photo without its person.

    Attributes:
        plate: (H, W, 3) uint8 RGB with even sides: the photo, and background where the person was.
        covered: (H, W) bool, where it differs from the photo.
    """

    def __init__(self, photo: Photo) -> None:
        """Take the person out of a photo.

        On plain grounds each row is bridged behind her, with the photo's grain; elsewhere her place is filled
        from its rim (Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004).

        Raises:
            UserError: the photo's pose is not known.
        """
        Report(tuple(look_for_backdrop(photo))).check()
        body = _body_of(photo)
        assert body is not None
        photo = _of_video_size(photo)
        height, width = (side - side % 2 for side in photo.pixels.shape[:2])
        self._frame_size = photo.framed.shape[:2]
        self._placement = photo.placement
        self._part = _part_of(photo.placement, self._frame_size, (height, width))
        part = self._part.rows, self._part.columns
        person, plain = _find_person(photo, body, self._part)
        self.covered = np.zeros((height, width), bool)
        self.covered[part] = person
        self.plate = np.ascontiguousarray(photo.pixels[:height, :width]).copy()
        self.plate[part] = _without_person(self.plate[part], person, plain)
        whole = photo.pixels.copy()
        whole[:height, :width] = self.plate
        self._framed_plate = place_image(whole, photo.placement, *self._frame_size).astype(np.float32)

    def lay(self, frame: np.ndarray, joints: np.ndarray | None = None) -> np.ndarray:
        """Lay a frame of the video into the photo: the person and her shadow, and nothing else.

        Args:
            frame: (height, width, 3) uint8 RGB, of the model.
            joints: (18, 3) its pose in its pixels, where known.

        Returns:
            (H, W, 3) uint8 RGB; the plate's own pixels wherever she is not.
        """
        pixels, alpha = self._cut_out(frame.astype(np.float32), joints)
        place, (rows, columns) = self._placement, (self._part.rows, self._part.columns)
        steps = np.array([place.width / place.source_width, place.height / place.source_height])
        start = np.array([columns.start, rows.start])
        shift = (start + 0.5) * steps - 0.5 + (place.left, place.top)
        to_frame = np.hstack([np.diag(steps), shift[:, None]])
        size = columns.stop - columns.start, rows.stop - rows.start
        flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_CUBIC if place.scale < 1 else cv2.INTER_LINEAR)
        own = cv2.warpAffine(pixels, to_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        share = cv2.warpAffine(alpha, to_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        laid = self.plate.copy()
        behind = laid[rows, columns]
        mixed = behind + share[..., None] * (np.clip(own, 0, 255) - behind)
        laid[rows, columns] = np.where(share[..., None] > 0, np.rint(mixed), behind).astype(np.uint8)
        return laid

    def to_photo(self, joints: np.ndarray) -> np.ndarray:
        """Joints (..., 3) of the frame in pixels of the photo; missing ones stay so."""
        return np.where(joints[..., 2:] > 0, self._placement.to_source(joints), joints)

    def _cut_out(self, frame: np.ndarray, joints: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """A frame with its ground in the plate's colours, and how far each pixel is the person's, 0 to 1."""
        body = None if joints is None else read_body(np.asarray(joints, np.float64))
        plate = self._framed_plate
        weight = np.ones(frame.shape[:2], np.float32)
        if body is None:
            far, core, length = weight > 0, 0 * weight, frame.shape[0] / 4
        else:
            near, length = measure_distances(frame.shape[:2], body), body.length
            far = near.skeleton > REACH * length
            weight = np.clip(5.0 - near.skeleton / (REACH * length) * 4, 0, 1)
            core = near.core.astype(np.float32)
        shift, noise, _ = fit_background(frame - plate, far)
        pixels = frame - shift
        difference = np.abs(pixels - plate).max(axis=-1)
        threshold = max(LEAST_DIFFERENCE, 3 * noise)
        person = np.clip(difference / threshold - 1, 0, 1) * weight
        person = fill_holes(np.maximum(person, core).astype(np.float32), length)
        person = _one_piece(cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)))
        person = cv2.dilate(person, np.ones((3, 3), np.uint8))
        alpha = cv2.GaussianBlur(person, (0, 0), 0.8)
        return pixels, np.where(alpha > 0.02, alpha, 0).astype(np.float32)


def _one_piece(person: np.ndarray) -> np.ndarray:
    """The largest connected piece of an (H, W) mask in 0..1."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((person > 0.05).astype(np.uint8))
    if len(stats) < 2:
        return person
    return np.where(pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()), person, 0).astype(np.float32)


def _of_video_size(photo: Photo) -> Photo:
    """The photo, made smaller where a video cannot be so large."""
    scale = MAX_SIDE / max(photo.pixels.shape[:2])
    if scale >= 1:
        return photo
    height, width = (round(side * scale) for side in photo.pixels.shape[:2])
    place = dataclasses.replace(
        photo.placement, scale=photo.placement.scale / scale, source_height=height, source_width=width
    )
    pixels = cv2.resize(photo.pixels, (width, height), interpolation=cv2.INTER_AREA)
    mask = None if photo.mask is None else cv2.resize(photo.mask, (width, height))
    return dataclasses.replace(photo, pixels=pixels, placement=place, mask=mask)


def _part_of(place: Placement, frame_size: tuple[int, int], size: tuple[int, int]) -> _Part:
    corners = np.array([(-0.5, -0.5), (frame_size[1] - 0.5, frame_size[0] - 0.5)])
    (left, top), (right, bottom) = place.to_source(corners) + 0.5
    return _Part(
        slice(max(0, int(np.floor(top))), min(size[0], int(np.ceil(bottom)))),
        slice(max(0, int(np.floor(left))), min(size[1], int(np.ceil(right)))),
    )


def _find_person(photo: Photo, body: Body, part: _Part) -> tuple[np.ndarray, bool]:
    """Where person and shadow are in a part of the photo, (h, w) bool, and whether its ground is plain."""
    region = photo.pixels[part.rows, part.columns]
    scale = min(1.0, WORKING_SIDE / max(region.shape[:2]))
    size = max(1, round(region.shape[0] * scale)), max(1, round(region.shape[1] * scale))
    small = cv2.resize(region, size[::-1], interpolation=cv2.INTER_AREA)
    assert photo.pose is not None
    joints = photo.placement.to_source(photo.pose)
    joints[:, :2] = (joints[:, :2] + 0.5 - (part.columns.start, part.rows.start)) * scale - 0.5
    moved = read_body(np.asarray(joints, np.float64))
    body = body if moved is None else moved
    near: Distances = measure_distances(size, body)
    nothing = np.zeros(size, bool)
    person = find_person(small, near.skeleton, near.core, (nothing, nothing), body.length) > 0.05
    if photo.mask is not None:
        mask = photo.mask[part.rows, part.columns]
        person |= cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA) > 0.3
    plain = fit_background(small, (near.skeleton > REACH * body.length) & ~person)[2]
    reach = max(3, round(GROWTH * size[0]) | 1)
    grown = cv2.dilate(person.astype(np.uint8), np.ones((reach, reach), np.uint8))
    whole = cv2.resize(grown, region.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return whole > 0, plain


def _without_person(region: np.ndarray, person: np.ndarray, plain: bool) -> np.ndarray:
    """A part of the photo (h, w, 3) uint8 with background where the person is."""
    if not plain:
        scale = min(1.0, WORKING_SIDE / 2 / max(region.shape[:2]))
        size = round(region.shape[1] * scale), round(region.shape[0] * scale)
        hole = cv2.resize(person.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        small = cv2.inpaint(
            cv2.resize(region, size, interpolation=cv2.INTER_AREA), hole, 5, cv2.INPAINT_TELEA
        )
        filled = cv2.resize(small, region.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    else:
        filled = empty_background(region, person.astype(np.float32)).astype(np.float32)
    free = region[~person].astype(np.float32)
    grain = region.astype(np.float32) - cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1.5)
    spread = 1.48 * np.median(np.abs(grain[~person]), axis=0) if len(free) else np.zeros(3)
    noise = np.random.default_rng(0).normal(size=region.shape) * spread
    return np.where(person[..., None], np.clip(np.rint(filled + noise), 0, 255), region).astype(np.uint8)
