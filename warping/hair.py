"""Hair that hangs down behind: measured in a photo from the front, laid into frames that show the back."""

import dataclasses

import cv2
import numpy as np

from warping.body import FRONT_WIDTH, Body, direction_of
from warping.chains import Chain, locate

SHORTEST_END = -0.22  # torso lengths below the neck: hair that ends above leaves the nape free
HIDDEN_END = -0.05  # the same, where hair ends that vanishes behind the shoulders
LONGEST_END = 0.75
ASIDE = 0.4  # torso lengths beside the middle of the head, within which hair is looked for
NECK_WIDTH = 0.11  # torso lengths from the neck's middle to its outline
HALF_WIDTHS = (0.12, 0.28)  # torso lengths from the middle of the head, at least and at most
OTHER_COLOR = 20.0  # distance in CIE Lab, lightness weighed less, of colours that are not the same
LAB_WEIGHTS = np.array([0.4, 1, 1], np.float32)  # a strand's lightness changes along it
CLOTH_SHARE = 0.3  # of chest or shoulders in the colour of the hair, from which clothes have that colour
DEPTH = 0.7  # depth over width
WIDER = 1.3  # at its end than at the head
PROFILE = 0.3  # cosine of the head's turn below which what hangs down behind is seen


@dataclasses.dataclass(frozen=True)
class Hair:
    """Long hair.

    Attributes:
        color: (3,) float32 RGB.
        half_width: from the middle of the head to the hair's outline, in torso lengths.
        end: how far below the neck it ends, in torso lengths.
    """

    color: np.ndarray
    half_width: float
    end: float


def measure_hair(image: np.ndarray, person: np.ndarray, head: np.ndarray, body: Body) -> Hair | None:
    """Follow the colour above the forehead down to where it ends.

    Args:
        image: (H, W, 3) uint8 RGB.
        person: (H, W) in 0..1, without the arms.
        head: (H, W) in 0..1, from the crown to the chin.
        body: the photo's pose.

    Returns:
        None for short hair, and where the photo does not tell: not from the front, clothes in the same
        colour.
    """
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    neck, length = body.point("neck"), body.length
    below, aside = (y - neck[1]) / length, np.abs(x - neck[0]) / length
    mouth = body.head + 0.12 * (neck - body.head)
    face = np.hypot(x - mouth[0], y - mouth[1]) < 0.07 * length
    on_head = head > 0.9
    if body.width < 0.5 * FRONT_WIDTH or not (face & on_head).any():
        return None

    # What is nearer to the colour above the forehead than to the face's, and reaches the head.
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) * LAB_WEIGHTS
    from_skin = np.linalg.norm(lab - np.median(lab[face & on_head], axis=0), axis=2)
    top = on_head & (y < body.head[1]) & (from_skin > OTHER_COLOR)
    if top.sum() < 0.002 * length**2:
        return None
    from_top = np.linalg.norm(lab - np.median(lab[top], axis=0), axis=2)
    alike = (from_top < np.minimum(0.8 * from_skin, 1.5 * OTHER_COLOR)) & (person > 0.5)
    alike &= (below < LONGEST_END + 0.1) & (np.abs(x - body.head[0]) < ASIDE * length)
    closed = cv2.morphologyEx(alike.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(closed, connectivity=8)
    hair = np.isin(labels, np.unique(labels[on_head & (closed > 0) & ~face]))

    # Where it ends beside the neck, and how wide it is beside the face.
    lower = hair & (aside > NECK_WIDTH)
    beside = hair & (np.abs(y - body.head[1]) < 0.15 * length)
    cloth = (person > 0.9) & (below > 0.15) & (below < 0.4)
    chest, shoulders = cloth & (aside < NECK_WIDTH), cloth & (aside > 2 * NECK_WIDTH)
    if not (lower.any() and beside.any() and chest.any() and shoulders.any()):
        return None
    end = float(np.quantile(below[lower], 0.98))
    if end < SHORTEST_END or hair[chest].mean() > CLOTH_SHARE or hair[shoulders].mean() > CLOTH_SHARE:
        return None
    half_width = float(np.quantile(np.abs(x - body.head[0])[beside], 0.95)) / length
    return Hair(
        np.median(image[hair], axis=0).astype(np.float32),
        float(np.clip(half_width, *HALF_WIDTHS)),
        float(np.clip(end, HIDDEN_END, LONGEST_END)),
    )


def hair_behind(hair: Hair, body: Body, yaw: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the hair covers each pixel of a frame: nothing where the head is seen from the front.

    Args:
        hair: from `measure_hair`.
        body: the frame's pose.
        yaw: of the head, in radians.
        x: pixels' places, any shape.
        y: the same.

    Returns:
        0..1, of the shape of x.
    """
    shown = np.clip((PROFILE - np.cos(yaw)) / 0.1, 0, 1)
    if shown == 0:
        return np.zeros_like(x)
    half_width = hair.half_width * body.length
    neck, down = body.point("neck"), direction_of(body.middle_hip - body.point("neck"))
    across = np.array([down[1], -down[0]])
    aside = -np.sin(yaw) * (1 - DEPTH) * half_width * across
    end = neck + hair.end * body.length * down
    start = body.head if (end - body.head) @ down > 0 else end - down
    chain = Chain.through(np.stack([start, end]) + aside, body.length)
    place = locate(chain, x, y)
    share = np.clip(place.along[0] / chain.lengths[0], 0, 1)
    here = half_width * (1 + (WIDER - 1) * share) * (1 - (1 - DEPTH) * np.sin(yaw) ** 2)
    # Its end is round.
    beyond = np.maximum(place.along[0] - chain.lengths[0] + 0.3 * half_width, 0) / (0.3 * half_width)
    here = here * np.sqrt(np.clip(1 - beyond**4, 0, 1))
    inside = np.clip(here - np.abs(place.across[0]), 0, 1)
    return shown * inside * np.clip(place.along[0] + 0.5, 0, 1)
