"""The person's shadow on the floor: taken off the photo's floor and put under the feet of another pose."""

import dataclasses

import cv2
import numpy as np

from utils.pose_drawing import JOINT
from warping.body import Body

REACH = 0.8  # torso lengths to the left and right of the feet within which their shadow lies
HEIGHT = (0.25, 0.5)  # torso lengths above and below the lower ankle within which it lies
DARKEST = 0.3  # brightness of the darkest shadow over that of the floor
TINT = 8.0  # of 255: what differs more from a darker floor is no shadow
CLOSEST = 0.1  # torso lengths: feet that are closer share a shadow as if they were so far apart


@dataclasses.dataclass(frozen=True)
class Shadow:
    """A shadow and the feet it belongs to.

    Attributes:
        share: (H, W) float32, brightness of the floor with the shadow over that without; 1 elsewhere.
        feet: (2,) x of both ankles in pixels, the one to the viewer's left first.
        floor: y of the lower ankle in pixels.
    """

    share: np.ndarray
    feet: np.ndarray
    floor: float


def lift_shadow(background: np.ndarray, body: Body) -> tuple[np.ndarray, Shadow]:
    """Part a photo's floor from the shadow on it: each row is bridged from the left to the right of it.

    Args:
        background: (H, W, 3) uint8, the photo without the person.
        body: the photo's pose.

    Returns:
        The background without the shadow (H, W, 3) uint8, and the shadow.
    """
    height, width = background.shape[:2]
    feet, floor = _stand(body)
    shadow = np.ones((height, width), np.float32)
    left, right = (int(edge) for edge in (feet[0] - REACH * body.length, feet[1] + REACH * body.length))
    top, bottom = (int(floor + step * body.length) for step in (-HEIGHT[0], HEIGHT[1]))
    top, bottom = max(0, top), min(height, bottom)
    left_in, right_in = max(0, left), min(width, right)
    if bottom - top < 3 or right_in - left_in < 3 or (left < 0 and right > width):
        return background, Shadow(shadow, feet, floor)
    window = background[top:bottom, left_in:right_in].astype(np.float32)
    margin = max(1, (right_in - left_in) // 16)
    ends = window[:, :margin].mean(axis=1), window[:, -margin:].mean(axis=1)
    if left < 0:  # the shadow goes on beyond the picture on this side
        ends = ends[1], ends[1]
    elif right > width:
        ends = ends[0], ends[0]
    across = np.linspace(0, 1, right_in - left_in, dtype=np.float32)[:, None]
    empty = ends[0][:, None] * (1 - across) + ends[1][:, None] * across
    share = window.sum(axis=-1) / np.maximum(empty.sum(axis=-1), 1)
    tint = np.abs(window - share[..., None] * empty).max(axis=-1)
    share = np.where((tint < TINT) & (share > DARKEST), np.minimum(share, 1), 1).astype(np.float32)
    share = cv2.GaussianBlur(share, (0, 0), max(0.6, height / 256), borderType=cv2.BORDER_REPLICATE)
    shadow[top:bottom, left_in:right_in] = share
    bare = background.copy()
    bare[top:bottom, left_in:right_in] = np.clip(window / share[..., None], 0, 255).round()
    return bare, Shadow(shadow, feet, floor)


def drop_shadow(picture: np.ndarray, shadow: Shadow, body: Body, scale: float) -> None:
    """Darken a floor in place where a pose's feet stand; each foot takes its part of the shadow along.

    Args:
        picture: (H, W, 3) float32.
        shadow: of the photo.
        body: the pose.
        scale: size of the person in the photo over the size here.
    """
    height, width = picture.shape[:2]
    feet, floor = _stand(body)
    top = max(0, int(floor - HEIGHT[0] * body.length))
    bottom = min(height, int(np.ceil(floor + HEIGHT[1] * body.length)))
    if bottom <= top:
        return
    middle, apart = feet.mean(), max(CLOSEST * body.length, feet[1] - feet[0])
    apart_there = max(CLOSEST * body.length * scale, shadow.feet[1] - shadow.feet[0])
    x = np.arange(width, dtype=np.float32) - np.float32(middle)
    inside = np.clip(x, -apart / 2, apart / 2)
    map_x = shadow.feet.mean() + inside * (apart_there / apart) + (x - inside) * scale
    map_y = shadow.floor + (np.arange(top, bottom) - floor) * scale
    maps = np.broadcast_arrays(map_x.astype(np.float32), map_y.astype(np.float32)[:, None])
    share = cv2.remap(shadow.share, *map(np.ascontiguousarray, maps), cv2.INTER_LINEAR, borderValue=1)
    picture[top:bottom] *= share[..., None]


def _stand(body: Body) -> tuple[np.ndarray, float]:
    ankles = body.points[[JOINT["right_ankle"], JOINT["left_ankle"]]]
    return np.sort(ankles[:, 0]), float(ankles[:, 1].max())
