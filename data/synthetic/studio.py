"""Where a clip is filmed: the camera, the lights, the seamless backdrop, and how it is exposed."""

import dataclasses
import functools
import math

import numpy as np

BACKDROPS = ("white", "near_white", "grey", "warm")
BACKDROP_CHANCES = (0.6, 0.16, 0.14, 0.10)

WHITE = 16384
"""Entries of the tone curve; they span the linear values 0 to `TONE_RANGE`."""
TONE_RANGE = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera that looks along -z, with upright lines kept upright (a shift lens).

    Attributes:
        height, width: of the picture in pixels.
        focal: pixels that 1 dm covers at a depth of 1 dm.
        position: (x, y, z) in the world, decimetres.
        center: (x, y) pixels where the optical axis meets the picture.
    """

    height: int
    width: int
    focal: float
    position: tuple[float, float, float]
    center: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Put points into the picture.

        Args:
            points: (..., 3) world coordinates, decimetres.

        Returns:
            (..., 3) float32: x and y in pixels (the middle of the first pixel is 0.5, 0.5; y down) and the
            depth in decimetres.
        """
        points = np.asarray(points, np.float32)
        out = np.empty(points.shape, np.float32)
        depth = np.float32(self.position[2]) - points[..., 2]
        scale = np.float32(self.focal) / depth
        out[..., 0] = np.float32(self.center[0]) + scale * (points[..., 0] - np.float32(self.position[0]))
        out[..., 1] = np.float32(self.center[1]) - scale * (points[..., 1] - np.float32(self.position[1]))
        out[..., 2] = depth
        return out

    def scaled(self, factor: int) -> "Camera":
        """The same camera with `factor` times as many pixels a side."""
        return dataclasses.replace(
            self,
            height=self.height * factor,
            width=self.width * factor,
            focal=self.focal * factor,
            center=(self.center[0] * factor, self.center[1] * factor),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Light:
    """A lamp far away.

    Attributes:
        direction: unit vector toward it.
        color: linear red, green and blue of its light on a white card that faces it.
        softness: 0 for a bare flash to 1 for a large softbox.
    """

    direction: tuple[float, float, float]
    color: tuple[float, float, float]
    softness: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Studio:
    """Light and background of a clip. Colours are linear; 1 is what the film shows as nearly white.

    Attributes:
        backdrop: of `BACKDROPS`.
        wall, floor: colours of the seamless paper behind and under the person.
        vignette: how much darker the corners are, 0 to 0.15.
        slope: how much brighter the right side of the wall is than the left one, -0.15 to 0.15.
        lights: the key light, which casts shadows, then fill and rim lights.
        sky, ground: light from above and from the floor.
        front: light from around the camera.
        glow: light from the bright wall, seen on what is turned away from the camera.
        shadow: strength of the shadow on the floor, 0 to 1.
        reflection: strength of the mirror image in the floor, 0 to 0.1.
        exposure: factor on all light.
        balance: red, green and blue gains.
        contrast: slope of the tone curve around middle grey, near 1.
        saturation: of colours, near 1.
        blur: share of a pixel's light that the lens spreads to each of its four neighbours.
    """

    backdrop: str
    wall: tuple[float, float, float]
    floor: tuple[float, float, float]
    vignette: float
    slope: float
    lights: tuple[Light, ...]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    front: float
    glow: float
    shadow: float
    reflection: float
    exposure: float
    balance: tuple[float, float, float]
    contrast: float
    saturation: float
    blur: float

    def light_table(self) -> np.ndarray:
        """(L, 7) float32: direction, colour, softness of each lamp."""
        return np.array([(*lamp.direction, *lamp.color, lamp.softness) for lamp in self.lights], np.float32)

    def ambient_table(self) -> np.ndarray:
        """(8,) float32: sky, ground, front, glow."""
        return np.array((*self.sky, *self.ground, self.front, self.glow), np.float32)


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector; azimuth 0 is the camera's side, positive to the right of the picture; degrees."""
    azimuth, elevation = math.radians(azimuth), math.radians(elevation)
    return (
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
        math.cos(elevation) * math.cos(azimuth),
    )


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    """(3,) gains with mean 1 between cool and warm, with a little green or magenta."""
    warmth, green = rng.normal(0, spread), rng.normal(0, 0.3 * spread)
    gains = np.array([1 + warmth, 1 + green, 1 - warmth])
    return gains / gains.mean()


def _sample_lights(rng: np.random.Generator) -> tuple[tuple[Light, ...], float, float, float]:
    """The lamps, and how strong ambient light, frontal light and the wall's glow are."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    softness = float(rng.beta(2.2, 1.6))
    # Hard light comes with less light from elsewhere, as outdoors or with a bare flash.
    key = rng.uniform(0.50, 0.72) + 0.16 * (1 - softness)
    flat = rng.random() < 0.35  # two equal lamps, the shop's way
    color = key * _tint(rng, 0.015)
    lights = [
        Light(
            direction=_direction(side * rng.uniform(12, 62), rng.uniform(18, 52)),
            color=tuple(color.tolist()),
            softness=softness,
        )
    ]
    ratio = rng.uniform(0.6, 0.9) if flat else rng.uniform(0.12, 0.45)
    fill = key * ratio * 0.55 * _tint(rng, 0.02)
    lights.append(
        Light(
            direction=_direction(-side * rng.uniform(35, 65), rng.uniform(5, 30)),
            color=tuple(fill.tolist()),
            softness=1.0,
        )
    )
    for rim in (-1.0, 1.0):
        if rng.random() < 0.55:
            strength = rng.uniform(0.1, 0.55) * _tint(rng, 0.03)
            lights.append(
                Light(
                    direction=_direction(rim * rng.uniform(110, 150), rng.uniform(5, 40)),
                    color=tuple(strength.tolist()),
                    softness=0.5,
                )
            )
    ambient = rng.uniform(0.26, 0.40) + 0.08 * softness
    return tuple(lights), ambient, float(rng.uniform(0.05, 0.16)), side


def sample_studio(rng: np.random.Generator) -> Studio:
    """Draw a studio; most are white, as in fashion shops."""
    backdrop = BACKDROPS[int(rng.choice(len(BACKDROPS), p=BACKDROP_CHANCES))]
    lights, ambient, front, side = _sample_lights(rng)
    level, spread = {
        "white": (rng.uniform(1.25, 1.7), 0.0),
        "near_white": (rng.uniform(0.72, 0.95), 0.012),
        "grey": (rng.uniform(0.16, 0.62), 0.012),
        "warm": (rng.uniform(0.45, 0.80), 0.012),
    }[backdrop]
    wall = level * _tint(rng, spread)
    if backdrop == "warm":
        wall = wall * np.array([1.05, rng.uniform(0.93, 1.0), rng.uniform(0.76, 0.92)])
    floor = wall * (rng.uniform(0.94, 1.0) if backdrop == "white" else rng.uniform(0.82, 1.05))
    bright = min(level, 1.1)
    sky = ambient * rng.uniform(0.95, 1.15) * _tint(rng, 0.015)
    ground = ambient * (0.55 + 0.4 * bright) * (0.6 + 0.4 * wall / wall.max())
    return Studio(
        backdrop=backdrop,
        wall=tuple(wall.tolist()),
        floor=tuple(floor.tolist()),
        vignette=float(rng.uniform(0.0, 0.02) if backdrop == "white" else rng.uniform(0.02, 0.14)),
        slope=float(side * rng.uniform(-0.02, 0.12)) * (backdrop != "white"),
        lights=lights,
        sky=tuple(sky.tolist()),
        ground=tuple(ground.tolist()),
        front=front,
        glow=float(bright * rng.uniform(0.10, 0.30)),
        shadow=float(rng.uniform(0.35, 0.9)),
        reflection=float(rng.uniform(0.01, 0.07)) if rng.random() < 0.6 else 0.0,
        # White walls are made by light that reaches the person too.
        exposure=float(np.exp(rng.normal(0.13 if backdrop == "white" else 0.03, 0.08))),
        balance=tuple(_tint(rng, 0.018).tolist()),
        contrast=float(rng.uniform(0.96, 1.16)),
        saturation=float(rng.uniform(0.98, 1.2)),
        blur=float(rng.uniform(0.02, 0.10)),
    )


def _visible_span(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float, float]:
    """Which heights the picture shows: (height at the bottom margin, at the top margin, two margins 0..1)."""
    length = high - low
    draw = rng.random()
    if draw < 0.06:  # cut at the feet
        return low + length * rng.uniform(0.04, 0.22), high, 0.0, float(rng.uniform(0.02, 0.08))
    if draw < 0.09:  # cut at the head
        return low, high - length * rng.uniform(0.02, 0.07), float(rng.uniform(0.02, 0.08)), 0.0
    fill = rng.uniform(0.75, 0.95) if draw < 0.88 else rng.uniform(0.55, 0.75)
    bottom = (1 - fill) * rng.uniform(0.35, 0.65)
    return low, high, float(bottom), float(1 - fill - bottom)


def fit_camera(rng: np.random.Generator, points: np.ndarray, height: int, width: int) -> Camera:
    """Place a camera so that a person fills the picture over a whole clip.

    The camera stands 5 to 9 m away at about chest height. The person fills 75 to 95 % of the height, in one
    clip of eight 55 to 75 %, and in one of eleven feet or head are cut. Motions that reach far aside make
    her smaller, down to 60 % of what was drawn; beyond that, hands leave the picture.

    Args:
        rng: what is drawn.
        points: (F, N, 3) points of the person in all frames (vertices, or joints with the top of the head
            and the soles), decimetres.
        height: of the picture in pixels, and
        width: of it.
    """
    points = np.asarray(points, np.float32)
    low, high = float(points[..., 1].min()), float(points[..., 1].max())
    middle_z = float(points[..., 2].mean())
    distance = rng.uniform(50, 90)
    # Raised hands do not lift the camera: people's own height is that of the first frame.
    chest = low + (min(high, float(points[0, :, 1].max())) - low) * rng.uniform(0.62, 0.80)
    middle_x = 0.5 * float(points[..., 0].min() + points[..., 0].max())
    probe = Camera(
        height=height, width=width, focal=1.0, position=(middle_x, chest, middle_z + distance), center=(0, 0)
    )
    seen = probe.project(points)
    bottom_height, top_height, bottom_margin, top_margin = _visible_span(rng, low, high)
    # Depth moves a point in the picture, so that the span is measured on the projected points.
    y_low, y_high = float(seen[..., 1].max()), float(seen[..., 1].min())
    share = (y_low - y_high) / max(high - low, 1e-6)
    y_low -= (bottom_height - low) * share
    y_high += (high - top_height) * share
    focal = height * (1 - bottom_margin - top_margin) / (y_low - y_high)
    reach = float(seen[..., 0].max() - seen[..., 0].min()) * focal / (width * 0.95)
    if reach > 1:
        smaller = max(1 / reach, 0.6)
        spare = (1 - smaller) * (1 - bottom_margin - top_margin)
        bottom_margin += 0.5 * spare
        focal *= smaller
    x_middle = 0.5 * float(seen[..., 0].max() + seen[..., 0].min())
    aside = rng.normal(0, 0.012) * width
    center = (0.5 * width - focal * x_middle + aside, height * (1 - bottom_margin) - focal * y_low)
    return dataclasses.replace(probe, focal=float(focal), center=(float(center[0]), float(center[1])))


@functools.lru_cache(maxsize=4)
def backdrop(studio: Studio, camera: Camera) -> np.ndarray:
    """The empty studio: (height, width, 3) float32, linear, read-only."""
    height, width = camera.height, camera.width
    y = (np.arange(height, dtype=np.float32)[:, None, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None, :, None] + 0.5) / width
    # The paper bends from wall to floor some way behind the person.
    bend = floor_row(camera, depth=camera.position[2] + 8.0) / height
    share = 1 / (1 + np.exp(-(y - bend) * 30))
    picture = np.array(studio.wall, np.float32) * (1 - share) + np.array(studio.floor, np.float32) * share
    picture = picture * (1 + studio.slope * (2 * x - 1))
    picture = picture * (1 - studio.vignette * ((2 * x - 1) ** 2 + (1.6 * y - 0.8) ** 2))
    picture = picture.astype(np.float32)
    picture.setflags(write=False)
    return picture


def floor_row(camera: Camera, depth: float) -> float:
    """The row of the picture, in pixels, where the floor at some depth is seen."""
    return camera.center[1] + camera.focal * camera.position[1] / depth


@functools.lru_cache(maxsize=4)
def tone_curve(studio: Studio) -> np.ndarray:
    """(3, `WHITE`) uint8: what the film makes of linear light 0 to `TONE_RANGE`, read-only.

    Linear to 0.55, then a shoulder, so that white cloth keeps its folds and only a blown-out wall is white;
    then sRGB with some contrast.
    """
    light = np.arange(WHITE) * (TONE_RANGE / (WHITE - 1))
    curves = []
    for gain in studio.balance:
        value = light * gain * studio.exposure
        knee, room = 0.55, 0.45
        value = np.where(value > knee, knee + room * (1 - np.exp(-(value - knee) / room)), value)
        # The shoulder reaches 1 at 1.6, where walls are.
        value = np.minimum(value / (knee + room * (1 - math.exp(-(1.6 - knee) / room))), 1.0)
        coded = np.where(
            value > 0.0031308, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * value
        )
        bent = coded + (studio.contrast - 1) * 2.6 * (coded - 0.5) * coded * (1 - coded)
        curves.append(np.floor(np.clip(bent, 0, 1) * 255 + 0.5))
    curve = np.array(curves).astype(np.uint8)
    curve.setflags(write=False)
    return curve
