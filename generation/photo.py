"""A photo looked at: who is in it and where, and the part of it that the video shows."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from generation.findings import Finding, Severity
from generation.framing import ANKLES, frame_person, measure_person
from generation.image_joints import look_at_image_joints, read_image_joints
from generation.mending import body_height
from generation.plausibility import LYING, trunk_angle
from models.pose_finder import Pose, PoseFinder
from utils.errors import UserError
from utils.image import MIN_SIDE, Placement, fit_size, image_size, place_image, read_image
from utils.pose_drawing import FACE, HIPS, joint_indices
from warping.joints import scale_joints

LOWEST_PERSON = 100
"""Pixels high that a person in a photo should have; what is found in fewer is no ground to fit poses on."""
SURE_SCORE = 0.999
"""From which on the finder's word is enough to frame and fit by. It gives whole people 0.9998 and more; half
ones, and what only looks like one, 0.5 to 0.997."""
LEAST_TILE, MOST_TILES, MOST_TRIED = 128, 80, 4
AROUND = 2.0  # sizes of the person around her, in which she is looked at again
TILE_SHARES = (1.0, 0.6, 0.36)
"""Of the photo's shorter side: squares in which she is looked for where the finder is not sure."""
LEAST_DETAIL = 0.45
"""Pixels of the photo that a pixel of the video should have, along a side."""
NOT_LOOKED = "not_looked", "nobody was looked for in the photo: there is no pose finder", 0.0
GIVE_JOINTS = "give a photo of one whole person from the front, or her joints with --image_joints"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo, and where it lies in the video's frame.

    Attributes:
        path: of the file.
        pixels: (H, W, 3) uint8 RGB, the whole photo.
        placement: where it lies in the frame.
        framed: (height, width, 3) uint8 RGB, what the frame shows of it.
        joints: (18, 3) x px, y px, visibility in the frame, as --image_joints says; None where not given.
        found: (18, 3) in the frame, what the pose finder says; None where it was not asked or found nobody.
        score: in 0..1, how sure the finder is; 0 where it was not asked.
        sure: that is enough to frame and fit by.
        mask: (H, W) float32 in 0..1, where the person is in the whole photo; None where not known.
        findings: what there is to say about her.
    """

    path: Path
    pixels: np.ndarray
    placement: Placement
    framed: np.ndarray
    joints: np.ndarray | None = None
    found: np.ndarray | None = None
    score: float = 0.0
    sure: bool = False
    mask: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def pose(self) -> np.ndarray | None:
        """(18, 3) the photo's pose in the frame, given or found."""
        return self.found if self.joints is None else self.joints

    @property
    def sure_pose(self) -> np.ndarray | None:
        """(18, 3) the same, None where the finder is in doubt."""
        return self.pose if self.sure or self.joints is not None else None


def read_photo(path: Path, height: int, width: int, image_joints: Path | None = None) -> Photo:
    """Read a photo and fit all of it into the frame, without a look at who is in it.

    Raises:
        UserError: photo or joints cannot be read.
    """
    pixels = read_image(path)
    joints = None if image_joints is None else _given_joints(image_joints, path, pixels.shape[:2])
    return _framed(path, pixels, _fit(path, pixels, height, width), height, width, joints)


def look_at_photo(
    path: Path, height: int, width: int, finder: PoseFinder | None, image_joints: Path | None = None
) -> Photo:
    """Read a photo, find the person in it, and lay the frame around her.

    Args:
        path: of the photo, of any size and shape.
        height: of the frame in pixels.
        width: of the frame in pixels.
        finder: of poses; without it the frame goes by `image_joints`, and without those shows all.
        image_joints: of the photo's own pose, see `read_image_joints`.

    Raises:
        UserError: photo or joints cannot be read.
    """
    pixels = read_image(path)
    size = pixels.shape[:2]
    placement = _fit(path, pixels, height, width)
    pose = None if finder is None else find_person(finder, pixels)
    found = pose.keypoints if pose is not None and pose.found else None
    sure = (
        pose is not None and pose.score >= SURE_SCORE and body_height(pose.keypoints[None]) >= LOWEST_PERSON
    )
    joints = None
    findings = [_finding("note", *NOT_LOOKED)] if pose is None else look_at_person(pose)
    if pose is not None and pose.score >= SURE_SCORE and not sure and image_joints is None:
        tall = body_height(pose.keypoints[None])
        text = f"the person is {tall:.0f} pixels high, too few to lay the frame around her; it shows all"
        remedy = f"crop the photo to her, or give one in which she has {LOWEST_PERSON} pixels or more"
        findings.append(_finding("warning", "small_person", text, tall, remedy))
    if image_joints is not None:
        joints = _given_joints(image_joints, path, size, found if sure else None)
        findings = []
        if finder is not None and found is not None and sure:
            findings = look_at_image_joints(joints, found, _find_at(finder, pixels, joints))
    mask = pose.mask if pose is not None and sure else None
    if finder is not None and mask is not None and is_accompanied(finder, pixels, mask):
        text = "there is another person in the photo; one is moved"
        findings.append(_finding("warning", "another_person", text, 2, "crop the photo to the one you mean"))
    keypoints = (found if sure else None) if joints is None else joints
    person = None if keypoints is None else measure_person(keypoints, mask, size)
    if person is not None:
        placement = frame_person(person, size, height, width)
        if placement.scale > 1 / LEAST_DETAIL:
            shown = person.height * placement.scale
            text = f"the person is {person.height:.0f} pixels high in the photo, {shown:.0f} in the video"
            findings.append(
                _finding("warning", "small_person", text, person.height, "give a larger photo of her")
            )
    photo = _framed(path, pixels, placement, height, width, joints)
    found = None if found is None else placement.to_fitted(found)
    score = 0.0 if pose is None else pose.score
    return dataclasses.replace(
        photo, found=found, score=score, sure=sure, mask=mask, findings=tuple(findings)
    )


def find_person(finder: PoseFinder, pixels: np.ndarray) -> Pose:
    """Find the person in a photo (H, W, 3); where the finder is in doubt, its parts are looked at as well."""
    pose = finder.find(pixels)
    height, width = pixels.shape[:2]
    if pose.score >= SURE_SCORE:
        sure = _seen_whole(finder, pixels, pose)
        if sure is not None:
            return sure
    for share in TILE_SHARES:
        side = min(max(round(share * min(height, width)), LEAST_TILE), min(height, width))
        starts = list(itertools.product(_starts(height, side), _starts(width, side)))
        if len(starts) > MOST_TILES:
            break
        tiles = [_find_in(finder, pixels, (top, left, top + side, left + side)) for top, left in starts]
        for tile in sorted(tiles, key=lambda tile: -tile.score)[:MOST_TRIED]:
            if tile.score >= SURE_SCORE and (whole := _seen_whole(finder, pixels, tile)) is not None:
                return whole
    return pose


def _find_in(finder: PoseFinder, pixels: np.ndarray, box: tuple[int, int, int, int]) -> Pose:
    """Who is found in a part of a photo, from top and left to bottom and right, in the photo's pixels."""
    top, left, bottom, right = box
    pose = finder.find(pixels[top:bottom, left:right], thorough=False)
    keypoints = pose.keypoints.copy()
    keypoints[keypoints[:, 2] > 0, :2] += (left, top)
    mask = None
    if pose.mask is not None:
        mask = np.zeros(pixels.shape[:2], np.float32)
        mask[top:bottom, left:right] = pose.mask
    return dataclasses.replace(pose, keypoints=keypoints, mask=mask)


def _find_at(finder: PoseFinder, pixels: np.ndarray, joints: np.ndarray) -> np.ndarray | None:
    """(18, 3) the pose found in the part of a photo around joints (18, 3); None where that is in doubt."""
    places = joints[joints[:, 2] > 0, :2]
    margin = 0.2 * np.ptp(places, axis=0).max()
    left, top = np.maximum(0, places.min(axis=0) - margin).astype(int)
    right, bottom = np.minimum(pixels.shape[1::-1], places.max(axis=0) + margin + 1).astype(int)
    if min(right - left, bottom - top) < MIN_SIDE:
        return None
    pose = _find_in(finder, pixels, (int(top), int(left), int(bottom), int(right)))
    return pose.keypoints if pose.score >= SURE_SCORE else None


def _seen_whole(finder: PoseFinder, pixels: np.ndarray, pose: Pose) -> Pose | None:
    """The same person in a part of the photo around her, None where that shows nobody.

    Legs alone may be taken for a whole person, in a part that cuts her off or in a large photo.
    """
    for _ in range(MOST_TRIED):
        seen = pose.keypoints[pose.keypoints[:, 2] > 0, :2]
        if len(seen) < 2:
            return None
        size = AROUND * np.ptp(seen, axis=0).max()
        if 2 * size >= max(pixels.shape[:2]):
            return pose
        left, top = np.maximum(0, seen.min(axis=0) - size).astype(int)
        right, bottom = np.minimum(pixels.shape[1::-1], seen.max(axis=0) + size + 1).astype(int)
        wider = _find_in(finder, pixels, (int(top), int(left), int(bottom), int(right)))
        if wider.score < SURE_SCORE:
            return None
        grown = body_height(wider.keypoints[None]) / body_height(pose.keypoints[None])
        pose = wider
        if grown < 1.2:
            return pose
    return None


def is_accompanied(finder: PoseFinder, pixels: np.ndarray, mask: np.ndarray) -> bool:
    """Whether somebody is found in a photo (H, W, 3) to the left or right of the person of a mask (H, W)."""
    columns = np.flatnonzero((mask > 0.5).sum(axis=0) >= 3)
    if not len(columns):
        return False
    return bool(people_beside(finder, pixels, int(columns[0]), int(columns[-1]) + 1))


def people_beside(finder: PoseFinder, picture: np.ndarray, left: int, right: int) -> list[Pose]:
    """Find people to the left and to the right of somebody; at most one on either side.

    Args:
        finder: of poses.
        picture: (H, W, 3) uint8 RGB.
        left: her first column.
        right: past her last column.

    Returns:
        Those that the finder is sure of, in pixels of the picture, without masks.
    """
    beside = []
    for first, last in ((0, left), (right, picture.shape[1])):
        if last - first < LEAST_TILE / 4:
            continue
        pose = finder.find(picture[:, first:last], with_mask=False, thorough=False)
        if pose.score >= SURE_SCORE:
            keypoints = pose.keypoints.copy()
            keypoints[:, 0] += first
            beside.append(dataclasses.replace(pose, keypoints=keypoints))
    return beside


def _starts(length: int, side: int) -> list[int]:
    """Where squares of a side begin that cover a length, half of one apart."""
    count = max(1, round(2 * (length - side) / side) + 1)
    return np.linspace(0, max(0, length - side), count).round().astype(int).tolist()


def _framed(
    path: Path,
    pixels: np.ndarray,
    placement: Placement,
    height: int,
    width: int,
    joints: np.ndarray | None,
) -> Photo:
    return Photo(
        path=path,
        pixels=pixels,
        placement=placement,
        framed=place_image(pixels, placement, height, width),
        joints=None if joints is None else placement.to_fitted(joints),
    )


def _fit(path: Path, pixels: np.ndarray, height: int, width: int) -> Placement:
    try:
        return fit_size(pixels.shape[0], pixels.shape[1], height, width)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def look_at_person(pose: Pose) -> list[Finding]:
    """What is worth saying about the person that was looked for in a photo."""
    if not pose.found:
        text = f"no person was found in the photo (score {pose.score:.2f})"
        return [_finding("warning", "no_person", text, pose.score, GIVE_JOINTS)]
    findings = []
    if pose.score < SURE_SCORE:
        text = f"it is doubtful whether the photo shows a whole person (score {pose.score:.3f})"
        findings.append(_finding("warning", "doubtful_person", text, pose.score, GIVE_JOINTS))
    seen = pose.keypoints[:, 2] > 0
    pixels = body_height(pose.keypoints[None])
    text = f"a person was found, {pixels:.0f} pixels high, {seen.sum()} of 18 joints"
    findings.append(_finding("note", "person", text, pixels))
    parts = {"feet": ANKLES, "hips": joint_indices(HIPS)}
    lost = [name for name, joints in parts.items() if not seen[joints].any()]
    if lost:
        text = f"the photo shows no {' and no '.join(lost)} of the person"
        findings.append(_finding("warning", "cut_person", text, len(lost), GIVE_JOINTS))
    angle = trunk_angle(pose.keypoints)
    if angle is not None and angle > LYING:
        text = f"the person in the photo is not upright (her trunk is turned by {angle:.0f} degrees)"
        findings.append(_finding("warning", "turned_photo", text, angle, "turn the photo upright"))
    if not seen[joint_indices(FACE)[:3]].any():
        text = "the person in the photo shows no face, as from the back"
        findings.append(_finding("warning", "back_view", text, 1, GIVE_JOINTS))
    return findings


def _given_joints(
    path: Path, image: Path, size: tuple[int, int], near: np.ndarray | None = None
) -> np.ndarray:
    """The photo's joints in its pixels as they were decoded, which a large photo has fewer of."""
    stored = image_size(image)
    near = None if near is None else scale_joints(near, size, stored)
    return scale_joints(read_image_joints(path, *stored, near), stored, size)


def _finding(severity: Severity, code: str, message: str, figure: float, remedy: str = "") -> Finding:
    return Finding(severity=severity, code=code, message=message, figure=float(figure), remedy=remedy)
