"""Poses of one body carried over to another: to the limb lengths and the place that a photo shows.

The place and the travel follow the pose normalization of Chan et al. (2019, "Everybody Dance Now", section on
global pose normalization: the feet are put on the photo's floor, the size is changed to the photo's). Other
than there, each limb gets its own scale, as is common when motion is retargeted between characters, so that
broader shoulders or longer legs become the photo's as well.
"""

import numpy as np

from utils.errors import UserError
from utils.pose_drawing import FACE, JOINT, NUM_JOINTS
from warping.body import SIDES, Body, read_body

LIMBS = {
    "shoulders": ("neck", "shoulder"),
    "upper_arms": ("shoulder", "elbow"),
    "forearms": ("elbow", "wrist"),
    "hips": ("middle_hip", "hip"),
    "thighs": ("hip", "knee"),
    "shins": ("knee", "ankle"),
}
PROPORTIONS = (0.7, 1.4)  # between which one body's limbs are taken to differ from another's of the same size
FORESHORTENED = 0.5  # of a limb's longest length: seen shorter than that, it tells nothing about its length
MISSING_DISTANCE = 0.2  # body sizes: how unlike two poses are in a joint that only one of them shows


def retarget(joints: np.ndarray, image_joints: np.ndarray) -> np.ndarray:
    """Carry a pose sequence over to the body and the place of a photo.

    Limb lengths are compared, relative to the body's size, between the photo and the frame whose pose is the
    most like the photo's, so that foreshortening cancels; both sides count together. A limb that this frame
    shows strongly foreshortened, or that one of the two does not show, keeps its proportion to the body.
    Every frame's limbs are then changed by these constant factors in their own direction: the depth of a 2D
    limb is not known, so it is taken to be as foreshortened on the photo's body as on the sequence's.

    The first frame's body is put, in the photo's size, where the photo's stands; later frames travel from
    there by their own path times the ratio of the sizes, with the lower foot kept on that path's floor.

    Args:
        joints: (F, 18, 3) x px, y px, visibility (0 or less: missing).
        image_joints: (18, 3) the photo's joints, in the photo's pixels.

    Returns:
        (F, 18, 3) float32 in the photo's pixels; joints that were missing are as they were. A sequence of
        the photo's own body that begins in the photo's pose comes back unchanged.

    Raises:
        UserError: the shapes are wrong, or the photo or all frames show no body.
    """
    _check(joints, image_joints)
    photo = read_body(np.asarray(image_joints, np.float64))
    bodies = [read_body(np.asarray(frame, np.float64)) for frame in joints]
    shown = [body for body in bodies if body is not None]
    if photo is None or not shown:
        whose = "the photo's joints" if photo is None else "the poses"
        raise UserError(
            f"{whose} show no body to fit poses to; give joints with at least a neck or shoulders"
        )
    first = shown[0]
    scale = body_size(photo, photo, first) / body_size(first, photo, first)
    factors = {limb: scale * share for limb, share in compare_proportions(photo, shown).items()}

    result = np.array(joints, np.float32)
    drops = np.full(len(bodies), np.nan)
    for frame, body in enumerate(bodies):
        if body is not None:
            root = photo.middle_hip + scale * (body.middle_hip - first.middle_hip)
            points = _rebuild(body, root, factors)
            visible = body.seen
            result[frame, visible, :2] = points[visible]
            drops[frame] = _drop_to_floor(photo, first, body, points, scale)
    known = np.flatnonzero(np.isfinite(drops))
    if len(known):  # between frames that show both feet, the body is put down by what they say
        drops = np.interp(np.arange(len(bodies)), known, drops[known])
        moved = np.array([body is not None for body in bodies])[:, None] & (result[..., 2] > 0)
        result[..., 1] += np.where(moved, drops[:, None], 0)
    return result


def body_size(body: Body, *comparable: Body) -> float:
    """Pixels from the neck over the hips down to the lower foot; to the hips where one body shows no leg."""
    legs = [
        side
        for side in SIDES
        if all(other.seen[JOINT[f"{side}_{joint}"]] for other in comparable for joint in ("knee", "ankle"))
    ]
    lengths = [_limb_length(body, side, "thighs") + _limb_length(body, side, "shins") for side in legs]
    return body.length + max(lengths, default=0.0)


def compare_proportions(photo: Body, bodies: list[Body]) -> dict[str, float]:
    """The photo's limb lengths over those of the frame most like it, both in sizes of their bodies."""
    like = bodies[int(np.argmin([_pose_distance(photo, body) for body in bodies]))]
    sizes = [body_size(body, photo, like) for body in (photo, like)]
    proportions = {"trunk": (photo.length / sizes[0]) / (like.length / sizes[1])}
    for limb, ends in LIMBS.items():
        sides = [side for side in SIDES if _shows(photo, side, ends) and _shows(like, side, ends)]
        lengths = [sum(_limb_length(body, side, limb) for side in sides) for body in (photo, like)]
        shares = [
            sum(_limb_length(body, side, limb) for side in sides) / body.length
            for body in bodies
            if all(_shows(body, side, ends) for side in sides)
        ]
        longest = max(shares, default=0.0)
        if sides and lengths[1] > FORESHORTENED * longest * like.length and lengths[1] > 0:
            proportions[limb] = (lengths[0] / sizes[0]) / (lengths[1] / sizes[1])
    face = [JOINT[name] for name in FACE if photo.seen[JOINT[name]] and like.seen[JOINT[name]]]
    if face:
        heights = [
            float(np.hypot(*(body.points[face] - body.point("neck")).T).sum()) / size
            for body, size in zip((photo, like), sizes, strict=True)
        ]
        proportions["head"] = heights[0] / max(heights[1], 1e-6)
    names = ("trunk", "head", *LIMBS)
    return {name: float(np.clip(proportions.get(name, 1.0), *PROPORTIONS)) for name in names}


def _rebuild(body: Body, root: np.ndarray, factors: dict[str, float]) -> np.ndarray:
    """(18, 2): the body's joints with each limb's length times its factor, middle of the hips at `root`."""
    points = body.points.copy()
    neck = root + factors["trunk"] * (body.point("neck") - body.middle_hip)
    points[JOINT["neck"]] = neck
    for name in FACE:
        points[JOINT[name]] = neck + factors["head"] * (body.point(name) - body.point("neck"))
    for side in SIDES:
        for limb, (start, end) in LIMBS.items():
            vector = body.point(f"{side}_{end}") - _place(body, side, start)
            begin = {"neck": neck, "middle_hip": root}.get(start)
            if begin is None:
                begin = points[JOINT[f"{side}_{start}"]]
            points[JOINT[f"{side}_{end}"]] = begin + factors[limb] * vector
    return points


def _drop_to_floor(photo: Body, first: Body, body: Body, points: np.ndarray, scale: float) -> float:
    """Pixels to move a rebuilt body down for its lower foot to be on its path's floor; NaN if unseen."""
    ankles = [JOINT[f"{side}_ankle"] for side in SIDES]
    if not all(other.seen[ankles].all() for other in (photo, first, body)):
        return float("nan")
    floor, start, now = (other.points[ankles, 1].max() for other in (photo, first, body))
    return float(floor + scale * (now - start) - points[ankles, 1].max())


def _pose_distance(photo: Body, body: Body) -> float:
    """Mean distance of the joints from the hips in body sizes, after both are made equally large."""
    sizes = [body_size(other, photo, body) for other in (photo, body)]
    first, second = (
        (other.points - other.middle_hip) / size for other, size in zip((photo, body), sizes, strict=True)
    )
    both = photo.seen & body.seen
    distance = np.where(both, np.hypot(*(first - second).T), MISSING_DISTANCE)
    return float(distance[photo.seen | body.seen].mean())


def _place(body: Body, side: str, end: str) -> np.ndarray:
    if end == "middle_hip":
        return body.middle_hip
    return body.point(end if end == "neck" else f"{side}_{end}")


def _shows(body: Body, side: str, ends: tuple[str, str]) -> bool:
    names = [name for end in ends for name in _joints_of(side, end)]
    return all(body.seen[JOINT[name]] for name in names)


def _joints_of(side: str, end: str) -> tuple[str, ...]:
    if end == "middle_hip":
        return "right_hip", "left_hip"
    return ("neck",) if end == "neck" else (f"{side}_{end}",)


def _limb_length(body: Body, side: str, limb: str) -> float:
    start, end = LIMBS[limb]
    return float(np.hypot(*(body.point(f"{side}_{end}") - _place(body, side, start))))


def _check(joints: np.ndarray, image_joints: np.ndarray) -> None:
    if np.ndim(joints) != 3 or np.shape(joints)[1:] != (NUM_JOINTS, 3):
        raise UserError(
            f"the poses have shape {np.shape(joints)}; give (frames, {NUM_JOINTS}, 3): x, y, seen"
        )
    if np.shape(image_joints) != (NUM_JOINTS, 3):
        raise UserError(
            f"the photo's joints have shape {np.shape(image_joints)}; "
            f"give ({NUM_JOINTS}, 3): x, y, visibility"
        )
