"""From what is seen at each pixel to colour: cloth, skin, hair and face, light, soft shadows, background."""

import dataclasses
import math

import cv2
import numpy as np

from data.synthetic.body import Body
from data.synthetic.figure import SURFACE
from data.synthetic.garments import Cloth, Outfit
from data.synthetic.raster import GBuffer

PARTS = {
    "background": 0, "hair": 1, "head": 2, "arms": 3, "legs": 4, "top": 5, "lower": 6, "dress": 7, "shoes": 8,
    "belt": 9,
}  # fmt: skip
"""Part name -> number in the masks. "head" has face, neck and the skin that a neckline leaves bare."""

PART_COLORS = (
    (0, 0, 0), (120, 70, 30), (250, 200, 170), (240, 150, 110), (200, 120, 160),
    (220, 60, 60), (60, 90, 220), (60, 180, 90), (250, 220, 60), (150, 150, 150),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Studio:
    """Light and background of a clip."""

    top: tuple[float, float, float]
    """Colours of the wall above and the floor below, 0..255."""
    bottom: tuple[float, float, float]
    vignette: float
    light: tuple[float, float, float]
    """Direction toward the key light in pixels' axes (y downward)."""

    def background(self, height: int, width: int) -> np.ndarray:
        """(height, width, 3) float32, 0..255."""
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        floor = 1 / (1 + np.exp(-(y - 0.86) * 40))
        top, bottom = np.array(self.top, np.float32), np.array(self.bottom, np.float32)
        picture = top * (1 - 0.03 * y) + floor * (bottom - top)
        return picture * (1 - self.vignette * (0.6 * x * x + 0.8 * (y - 0.45) ** 2))


def sample_studio(rng: np.random.Generator) -> Studio:
    """Draw a nearly white, grey or beige studio."""
    tone = np.array(
        ((240, 240, 240), (226, 227, 230), (236, 230, 221), (230, 234, 238))[rng.integers(4)], float
    )
    tone = tone + rng.uniform(-6, 6)
    floor = tone * rng.uniform(0.95, 1.0)
    side = rng.choice([-1.0, 1.0])
    light = np.array([side * rng.uniform(0.25, 0.5), -rng.uniform(0.45, 0.65), 0.8])
    light /= np.linalg.norm(light)
    return Studio(
        tuple(tone.tolist()), tuple(floor.tolist()), float(rng.uniform(0.02, 0.07)), tuple(light.tolist())
    )


class Painter:
    """Gives each surface its colours, for one person and outfit."""

    def __init__(self, body: Body, outfit: Outfit, studio: Studio):
        self.body, self.outfit, self.studio = body, outfit, studio
        self.skin = np.array(body.skin, np.float32)
        self.hair = np.array(body.hair, np.float32)

    def albedo(self, buffer: GBuffer, iy: np.ndarray, ix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colour in white light (n, 3) and part number (n,) of the given pixels."""
        surface, u, v = buffer.surface[iy, ix], buffer.u[iy, ix], buffer.v[iy, ix]
        color = np.empty((len(iy), 3), np.float32)
        part = np.empty(len(iy), np.uint8)
        for number in np.unique(surface).tolist():
            own = np.flatnonzero(surface == number)
            color[own], part[own] = self._paint(number, u[own], v[own])
        return color, part

    def _paint(self, surface: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray | int]:
        outfit = self.outfit
        if surface == SURFACE["trunk"]:
            return self._paint_trunk(u, v)
        if surface == SURFACE["head"]:
            return self._paint_face(u, v), PARTS["head"]
        if surface == SURFACE["hair"]:
            strands = 1 + 0.10 * np.sin(23 * u + 2.5 * np.sin(3 * v)) * np.clip(1.4 - v, 0.3, 1)
            return self.hair * strands[:, None].astype(np.float32), PARTS["hair"]
        if surface == SURFACE["shoe"]:
            return np.broadcast_to(np.array(outfit.shoes, np.float32), (len(u), 3)), PARTS["shoes"]
        if surface in (SURFACE["left_sleeve"], SURFACE["right_sleeve"]):
            part = PARTS["dress"] if outfit.lower is None else PARTS["top"]
            return self._cloth(outfit.top, u, v, outfit.top.around(2 * math.pi * 0.03)), part
        if surface in (SURFACE["left_trouser"], SURFACE["right_trouser"]):
            assert outfit.lower is not None
            # Measured from the hip, so that the pattern goes on from the trunk.
            return self._cloth(
                outfit.lower, u, v + self.body.hip_height, outfit.lower.around(2 * math.pi * 0.042)
            ), PARTS["lower"]
        number = {SURFACE["arm"]: PARTS["arms"], SURFACE["leg"]: PARTS["legs"]}.get(surface, PARTS["head"])
        return np.broadcast_to(self.skin, (len(u), 3)), number

    @staticmethod
    def _cloth(cloth: Cloth, u: np.ndarray, v: np.ndarray, around: int) -> np.ndarray:
        ground = np.array(cloth.color, np.float32)
        if cloth.pattern == "plain":
            return np.broadcast_to(ground, (len(u), 3))
        return ground + cloth.mix(u, v, around)[:, None] * (
            np.array(cloth.pattern_color, np.float32) - ground
        )

    def _paint_trunk(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        body, outfit = self.body, self.outfit
        cloth_part = PARTS["dress"] if outfit.lower is None else PARTS["top"]
        color = np.array(self._cloth(outfit.top, u, v, outfit.top.around(0.50)))
        part = np.full(len(u), cloth_part, np.uint8)
        if outfit.lower is not None:
            low = v < outfit.top_end
            color[low] = self._cloth(outfit.lower, u[low], v[low], outfit.lower.around(0.54))
            part[low] = PARTS["lower"]
        if outfit.folds:
            deep = np.clip((body.hip_height + 0.03 - v) / 0.18, 0, 1)
            color *= (1 - deep * (0.10 + 0.10 * np.sin(outfit.folds * u + 1.0)))[:, None].astype(np.float32)
        if outfit.belt is not None:
            middle = body.waist_height if outfit.kind == "dress" else outfit.top_end - 0.004
            belt = np.abs(v - middle) < 0.0085
            color[belt], part[belt] = np.array(outfit.belt, np.float32), PARTS["belt"]
        across, front = np.sin(u), np.cos(u) > 0
        line = body.shoulder_height + 0.030 - 0.012 * np.abs(across)
        if outfit.neckline == "v":
            line = line - front * outfit.neck_depth * 1.5 * np.clip(1 - np.abs(across) / 0.42, 0, 1)
        elif outfit.neckline == "boat":
            line = line - 0.014
        elif outfit.neckline == "round":
            line = line - front * outfit.neck_depth * np.sqrt(np.clip(1 - (across / 0.52) ** 2, 0, 1))
        else:
            line = line + 0.016
        bare = v > line
        color[bare], part[bare] = self.skin, PARTS["head"]
        return color, part

    def _paint_face(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        color = np.tile(self.skin, (len(u), 1))
        across = np.sin(u)
        front = np.cos(u) > 0.05
        eye_x, eye_y, mouth_y = 0.40, 0.475, 0.19

        def blend(mask: np.ndarray, target: np.ndarray, strength: float = 1.0) -> None:
            weight = (strength * np.clip(mask, 0, 1) * front)[:, None].astype(np.float32)
            color[:] += weight * (target.astype(np.float32) - color)

        off = np.abs(across) - eye_x
        blend(
            1.2 - ((off - 0.12) / 0.28) ** 2 - ((v - 0.33) / 0.12) ** 2,
            self.skin * np.array([1.0, 0.86, 0.86]),
            0.35,
        )
        blend(1.6 - (off / 0.24) ** 2 - ((v - eye_y - 0.02) / 0.08) ** 2, self.skin * 0.86, 0.5)
        eye = (off / 0.17) ** 2 + ((v - eye_y) / 0.034) ** 2
        blend(2.5 * (1.15 - eye), np.array([226.0, 218, 212]), 0.85)
        iris = (off / 0.085) ** 2 + ((v - eye_y) / 0.042) ** 2
        blend(3 * (1.1 - iris), np.array(self.body.eyes) * 0.8)
        lash = np.abs(v - eye_y - 0.036 + 0.6 * off * off) / 0.013
        blend(np.where(np.abs(off) < 0.19, 1.6 - lash, 0), np.array([36.0, 28, 26]), 0.9)
        brow = np.abs(v - eye_y - 0.115 + 1.1 * (off - 0.02) ** 2) / 0.016
        blend(np.where(np.abs(off) < 0.20, 1.6 - brow, 0), 0.6 * self.hair + 12, 0.85)
        lips = (across / 0.26) ** 2 + ((v - mouth_y) / 0.040) ** 2
        blend(2.5 * (1.1 - lips), np.array(self.body.lips, float))
        blend(
            np.where(np.abs(across) < 0.24, 1.4 - np.abs(v - mouth_y) / 0.011, 0),
            np.array(self.body.lips) * 0.6,
            0.8,
        )
        return color


def shade(
    buffer: GBuffer, painter: Painter, scale: float, crotch: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Light what is in the buffer.

    Args:
        buffer: what is seen.
        painter: the colours.
        scale: pixels a body height in the buffer.
        crotch: where the legs meet the trunk in the buffer, (x, y).

    Returns:
        (H, W, 4) float32: colour times coverage 0..255 and coverage 0..1; (H, W) uint8: part numbers.
    """
    seen = buffer.surface > 0
    picture = np.zeros((buffer.height, buffer.width, 4), np.float32)
    parts = np.zeros((buffer.height, buffer.width), np.uint8)
    iy, ix = np.nonzero(seen)
    color, parts[iy, ix] = painter.albedo(buffer, iy, ix)
    if painter.outfit.kind == "trousers":
        _smooth_crotch(buffer, crotch, scale)
    nx, ny, nz = buffer.nx[iy, ix], buffer.ny[iy, ix], buffer.nz[iy, ix]
    lx, ly, lz = painter.studio.light
    key = np.clip((nx * lx + ny * ly + nz * lz + 0.3) / 1.3, 0, 1)
    sky = 0.5 - 0.5 * ny
    grazing = 1 - np.clip(nz, 0, 1)
    light = 0.40 + 0.16 * sky + 0.56 * key - 0.10 * grazing
    occluded = _occlusion(buffer, seen, scale)[iy, ix]
    light *= 1 - 0.42 * occluded
    rim = 20 * np.clip(grazing - 0.55, 0, 1) * np.clip(0.5 - nx * np.sign(lx), 0, 1)
    gloss = (buffer.surface[iy, ix] == SURFACE["hair"]) * np.clip(key - 0.72, 0, 1) * 90
    color = color * light[:, None] + (rim + gloss)[:, None]
    picture[iy, ix, :3] = np.clip(color, 0, 255)
    picture[iy, ix, 3] = 1
    return picture, parts


def _smooth_crotch(buffer: GBuffer, crotch: tuple[float, float], scale: float) -> None:
    """Blur the normals of trousers where three parts meet, so that the cloth looks like one piece."""
    x, y = crotch
    box = buffer.clip_box(x - 0.13 * scale, x + 0.13 * scale, y - 0.12 * scale, y + 0.09 * scale)
    if box is None:
        return
    cloth = np.isin(
        buffer.surface[box], (SURFACE["trunk"], SURFACE["left_trouser"], SURFACE["right_trouser"])
    )
    weight = cloth.astype(np.float32)
    size = max(3, int(round(0.045 * scale)) | 1)
    count = np.maximum(cv2.blur(weight, (size, size)), 1e-3)
    row = (np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None] - y) / scale
    share = np.clip(np.minimum(row + 0.12, 0.09 - row) / 0.03, 0, 1) * cloth
    for normal in (buffer.nx, buffer.ny, buffer.nz):
        own = normal[box]
        # What an earlier frame left where nothing is seen has weight 0.
        own += share * (cv2.blur(own * weight, (size, size)) / count - own)


def _occlusion(buffer: GBuffer, seen: np.ndarray, scale: float) -> np.ndarray:
    """How much each pixel lies behind its surroundings, 0..1: soft shadows where parts meet, from above."""
    size = max(3, int(round(scale * 0.055)) | 1)
    weight = seen.astype(np.float32)
    depth = np.where(seen, buffer.z, 0)
    anchor = (size // 2, min(size - 1, size // 2 + size // 4))
    total = cv2.blur(depth, (size, size), anchor=anchor, borderType=cv2.BORDER_CONSTANT)
    count = cv2.blur(weight, (size, size), anchor=anchor, borderType=cv2.BORDER_CONSTANT)
    behind = total / np.maximum(count, 1e-6) - depth
    return np.clip(behind / (0.05 * scale) - 0.06, 0, 1)


def floor_shadow(
    background: np.ndarray, feet: list[tuple[float, float]], middle: tuple[float, float], scale: float
) -> np.ndarray:
    """Darken the floor under the feet and, more softly, under the body.

    Args:
        background: (H, W, 3) float32.
        feet: (x, y) of each foot on the floor, pixels.
        middle: (x, y) of the floor under the body.
        scale: pixels a body height.
    """
    height, width = background.shape[:2]
    top = max(0, int(middle[1] - 0.16 * scale))
    y = np.arange(top, height, dtype=np.float32)[:, None] + 0.5
    x = np.arange(width, dtype=np.float32)[None, :] + 0.5
    dark = np.zeros((height - top, width), np.float32)
    for (cx, cy), rx, ry, strength in [(middle, 0.13, 0.030, 0.16), *((f, 0.048, 0.014, 0.34) for f in feet)]:
        shape = ((x - cx) / (rx * scale)) ** 2 + ((y - cy) / (ry * scale)) ** 2
        dark = 1 - (1 - dark) * (1 - strength * np.exp(-shape))
    picture = background.copy()
    picture[top:] *= (1 - dark)[:, :, None]
    return picture
