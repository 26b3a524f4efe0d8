"""What garments are made of: colours, weaves and prints, at the scale that shops sell.

A fabric is a tile of texture that repeats; its coordinates are decimetres along the cloth.
"""

import colorsys
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data.synthetic.mesh import Material
from data.synthetic.patterns import paint_pattern, periodic_noise

Rgb = tuple[int, int, int]


class Finish(NamedTuple):
    """How a fabric is lit and creased, as in `Material`."""

    roughness: float
    specular: float
    sheen: float
    wrinkles: float
    wrinkle_scale: tuple[float, float]


FABRICS = {
    "cotton": Finish(0.65, 0.025, 0.06, 0.22, (0.8, 0.3)),
    "crepe": Finish(0.72, 0.02, 0.08, 0.17, (0.7, 0.22)),
    "jersey": Finish(0.7, 0.02, 0.1, 0.18, (0.75, 0.3)),
    "linen": Finish(0.75, 0.02, 0.04, 0.32, (0.9, 0.45)),
    "chiffon": Finish(0.6, 0.025, 0.15, 0.25, (1.3, 0.2)),
    "satin": Finish(0.42, 0.04, 0.05, 0.3, (0.7, 0.22)),
    "velvet": Finish(0.85, 0.02, 0.55, 0.16, (0.6, 0.25)),
    "wool": Finish(0.85, 0.02, 0.2, 0.12, (0.6, 0.25)),
    "tweed": Finish(0.85, 0.02, 0.15, 0.08, (0.5, 0.25)),
    "knit": Finish(0.85, 0.02, 0.2, 0.14, (0.6, 0.3)),
    "denim": Finish(0.75, 0.025, 0.08, 0.26, (0.8, 0.5)),
    "leather": Finish(0.45, 0.045, 0.0, 0.25, (0.8, 0.5)),
    "sequins": Finish(0.3, 0.08, 0.0, 0.1, (0.5, 0.5)),
    "lace": Finish(0.7, 0.02, 0.05, 0.05, (0.5, 0.5)),
}
"""Fabric -> how it is lit."""

LININGS = ((222, 190, 165), (205, 165, 140), (235, 215, 200), (40, 36, 40))
"""sRGB colours of what lace is lined with."""
PALETTE = (
    ("black", 0.0, 0.05, 0.10, 17), ("white", 0.1, 0.03, 0.95, 9), ("ivory", 0.12, 0.10, 0.93, 5),
    ("navy", 0.62, 0.55, 0.25, 9), ("grey", 0.6, 0.04, 0.5, 4), ("charcoal", 0.6, 0.06, 0.27, 3),
    ("red", 0.99, 0.83, 0.75, 7), ("burgundy", 0.97, 0.68, 0.38, 5), ("blush", 0.01, 0.20, 0.90, 5),
    ("pink", 0.93, 0.55, 0.88, 4), ("coral", 0.02, 0.58, 0.93, 3), ("cobalt", 0.62, 0.78, 0.70, 5),
    ("sky", 0.57, 0.35, 0.88, 4), ("mint", 0.46, 0.32, 0.86, 3), ("teal", 0.50, 0.70, 0.45, 4),
    ("emerald", 0.41, 0.72, 0.48, 3), ("olive", 0.19, 0.42, 0.40, 3), ("mustard", 0.12, 0.75, 0.80, 2),
    ("yellow", 0.145, 0.55, 0.93, 2), ("lavender", 0.73, 0.28, 0.82, 2), ("purple", 0.78, 0.55, 0.45, 3),
    ("beige", 0.09, 0.26, 0.78, 4), ("camel", 0.08, 0.50, 0.65, 3), ("brown", 0.06, 0.52, 0.36, 3),
)  # fmt: skip
"""Name, hue, saturation, value, and how often it is worn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cloth:
    """What one garment is made of.

    Attributes:
        fabric: of `FABRICS`.
        color: sRGB, the mean of the ground.
        pattern: of `patterns.PATTERNS`.
        pattern_color: sRGB of the print.
        accent: sRGB of its details.
        size: of the pattern, in dm: period of stripes, checks and dots, width of a flower.
        seed: of the drawing.
    """

    fabric: str
    color: Rgb
    pattern: str = "plain"
    pattern_color: Rgb = (255, 255, 255)
    accent: Rgb = (255, 255, 255)
    size: float = 0.3
    seed: int = 0

    def description(self) -> dict:
        """What the clip's JSON says of it."""
        return {
            "fabric": self.fabric,
            "color": list(self.color),
            "pattern": self.pattern,
            "pattern_color": None if self.pattern == "plain" else list(self.pattern_color),
        }

    def lining(self) -> Rgb:
        """Colour of the lining below lace: that of skin, or the lace's own."""
        if self.seed % 2:
            return LININGS[self.seed // 2 % len(LININGS)]
        red, green, blue = (round(0.8 * value) for value in self.color)
        return (red, green, blue)

    def material(self, lined: bool = True) -> Material:
        """The fabric as the renderer takes it; lace lies on an opaque lining, or is sheer without it."""
        rng = np.random.default_rng(self.seed)
        cover, detail, tile = paint_pattern(self.pattern, self.size, rng)
        color = _mixed(linear(self.color), linear(self.pattern_color), cover)
        color = _mixed(color, linear(self.accent), detail)
        shade, relief = _weave(self.fabric, len(cover), tile, rng)
        opacity = np.ones_like(cover)
        if self.fabric == "lace":
            threads, _, tile = paint_pattern("lace", 0.45, rng)
            relief = threads
            color = np.broadcast_to(linear(self.color), (*threads.shape, 3)) * (
                0.85 + 0.15 * threads[..., None]
            )
            if lined:
                color = _mixed(linear(self.lining()), color, 0.3 + 0.7 * threads)
            else:
                opacity = 0.25 + 0.72 * threads
            shade = np.ones_like(threads)
        texture = np.concatenate(
            [np.clip(color * shade[..., None], 0, 1), opacity[..., None], relief[..., None]], axis=-1
        )
        return Material(
            kind="leather" if self.fabric == "leather" else "cloth",
            texture=np.ascontiguousarray(texture, np.float32),
            tiled=True,
            scale=1 / tile,
            relief=_RELIEF.get(self.fabric, 0.12),
            glitter=0.6 if self.fabric == "sequins" else 0.0,
            hem=0.0 if self.fabric in ("sequins", "velvet") else 0.21,
            topstitch=min(0.45, 1.5 * luminance(self.color)) if self.fabric == "denim" else 0.0,
            **FABRICS[self.fabric]._asdict(),
        )


_RELIEF = {
    "knit": 0.6,
    "wool": 0.3,
    "tweed": 0.35,
    "satin": 0.03,
    "leather": 0.1,
    "sequins": 0.3,
    "lace": 0.3,
}


def linear(color: Rgb) -> np.ndarray:
    """(3,) linear light of an sRGB colour."""
    x = np.asarray(color, np.float64) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def luminance(color: Rgb) -> float:
    """Perceived lightness of an sRGB colour, 0 to 1."""
    return (0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]) / 255


def _mixed(ground: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return ground * (1 - share[..., None]) + other * share[..., None]


def _weave(fabric: str, size: int, tile: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How the threads shade the colour (mean near 1), and their relief in 0..1; both (size, size)."""
    y, x = np.mgrid[:size, :size] * (tile / size)
    fine, coarse = periodic_noise(size, size // 4, 2, rng), periodic_noise(size, 6, 3, rng)
    shade, relief = 1 + 0.02 * fine + 0.006 * coarse, 0.5 + 0.15 * fine
    if fabric in ("knit", "wool", "jersey"):
        wales = np.round(tile / (0.075 if fabric == "knit" else 0.04))
        rib = 0.5 + 0.5 * np.sin(2 * np.pi * wales / tile * x)
        if fabric == "knit":
            rows = np.round(tile / 0.06)
            stitch = np.abs(
                np.sin(np.pi * (rows / tile * y + 0.35 * np.abs(np.sin(np.pi * wales / tile * x))))
            )
            shade = shade * (0.88 + 0.14 * rib + 0.05 * stitch)
            relief = 0.7 * rib + 0.3 * stitch
        else:
            shade = shade + 0.02 * fine
    elif fabric == "denim":
        slub = periodic_noise(size, size // 3, 1, rng, squeeze=8)
        shade = 1 + 0.05 * fine + 0.05 * slub + 0.01 * coarse
        relief = 0.5 + 0.2 * slub
    elif fabric in ("linen", "tweed"):
        across = periodic_noise(size, size // 3, 1, rng, squeeze=10)
        down = periodic_noise(size, size // 3, 1, rng, squeeze=10).T
        strength = 0.12 if fabric == "tweed" else 0.05
        shade = 1 + strength * (across + down) + (0.1 * fine if fabric == "tweed" else 0)
        relief = 0.5 + 0.2 * (across + down)
    elif fabric == "velvet":
        shade = 1 + 0.03 * coarse
    elif fabric == "sequins":
        period = tile / np.round(tile / 0.09)
        row = np.floor(y / period)
        dx = (x / period + 0.5 * (row % 2)) % 1 - 0.5
        dy = (y / period) % 1 - 0.5
        disc = np.clip(1.2 - 2 * np.hypot(dx, dy), 0, 1)
        shade = 0.75 + 0.4 * disc + 0.1 * fine
        relief = disc
    elif fabric == "leather":
        relief = 0.5 + 0.4 * periodic_noise(size, size // 10, 2, rng)
    return np.clip(shade, 0.4, 1.6), np.clip(relief, 0, 1)


def sample_color(rng: np.random.Generator, names: tuple[str, ...] | None = None) -> Rgb:
    """Draw a colour as clothes have it.

    Args:
        rng: draws.
        names: of `PALETTE` to draw from; None for all.
    """
    palette = [row for row in PALETTE if names is None or row[0] in names]
    shares = np.array([row[4] for row in palette], float)
    _, hue, saturation, value, _ = palette[rng.choice(len(palette), p=shares / shares.sum())]
    hue = (hue + rng.normal(0, 0.015)) % 1
    saturation = np.clip(saturation * rng.uniform(0.8, 1.15), 0, 0.95)
    value = np.clip(value * rng.uniform(0.88, 1.1), 0.06, 0.97)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def contrasting(rng: np.random.Generator, color: Rgb, gap: float) -> Rgb:
    """Draw a colour whose lightness differs from another's by `gap` (0 to 1)."""
    for _ in range(20):
        other = (
            sample_color(rng, ("white", "ivory", "black", "navy"))
            if rng.random() < 0.5
            else sample_color(rng)
        )
        if abs(luminance(other) - luminance(color)) > gap:
            return other
    return (240, 238, 232) if luminance(color) < 0.5 else (30, 30, 36)


SIZES = {
    "plain": (0.3, 0.3), "horizontal_stripes": (0.2, 1.0), "vertical_stripes": (0.12, 0.6),
    "plaid": (0.5, 1.3), "check": (0.1, 0.5), "dots": (0.15, 0.6), "floral": (0.2, 0.65),
    "abstract": (0.8, 2.0),
    "leopard": (0.25, 0.45), "chevron": (0.4, 0.9),
}  # fmt: skip
"""Pattern -> smallest and largest size in dm."""


def sample_cloth(
    rng: np.random.Generator,
    fabrics: Mapping[str, float],
    plain: float,
    colors: tuple[str, ...] | None = None,
    patterns: Mapping[str, float] | None = None,
) -> Cloth:
    """Draw what a garment is made of.

    Args:
        rng: draws.
        fabrics: fabric -> how often.
        plain: chance of no pattern.
        colors: names of `PALETTE` for the ground; None for all.
        patterns: pattern -> how often, where there is one.
    """
    fabric = choose(rng, fabrics)
    color = sample_color(rng, colors)
    pattern = "plain"
    if rng.random() > plain and fabric not in ("lace", "sequins", "leather", "velvet", "denim"):
        pattern = choose(rng, patterns or PATTERN_SHARES)
    low, high = SIZES[pattern]
    return Cloth(
        fabric=fabric,
        color=color,
        pattern=pattern,
        pattern_color=contrasting(rng, color, 0.25),
        accent=sample_color(rng),
        size=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        seed=int(rng.integers(2**31)),
    )


PATTERN_SHARES = {
    "floral": 5.0, "horizontal_stripes": 2.5, "vertical_stripes": 1.5, "dots": 2.0, "plaid": 1.5,
    "check": 1.0, "abstract": 2.5, "leopard": 0.7, "chevron": 0.6,
}  # fmt: skip


def choose(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """Draw a name by its share; shares need not sum to 1."""
    values = np.array(list(shares.values()), float)
    return list(shares)[rng.choice(len(values), p=values / values.sum())]


DRESS_FABRICS = {
    "crepe": 4, "cotton": 3, "jersey": 3, "satin": 1.2, "chiffon": 1.5, "lace": 1, "sequins": 0.6,
    "velvet": 0.6, "linen": 0.7, "tweed": 0.5, "wool": 0.6, "denim": 0.4,
}  # fmt: skip
TOP_FABRICS = {
    "cotton": 4,
    "jersey": 4,
    "crepe": 2,
    "chiffon": 1,
    "satin": 1,
    "knit": 2,
    "linen": 0.6,
    "lace": 0.4,
}
SKIRT_FABRICS = {"cotton": 3, "crepe": 3, "denim": 1.2, "wool": 1, "tweed": 0.7, "satin": 0.8, "leather": 0.6}
JACKET_FABRICS = {"wool": 3, "crepe": 2, "denim": 1.5, "tweed": 1, "leather": 1.2, "cotton": 1, "knit": 1}
TROUSER_COLORS = (
    "black", "white", "ivory", "navy", "grey", "charcoal", "burgundy", "olive", "cobalt", "red", "mustard",
    "teal",
)  # fmt: skip
"""Of `fabrics.PALETTE`; none that looks like skin."""
SUIT_COLORS = ("black", "navy", "grey", "charcoal", "olive", "beige", "brown", "burgundy")
"""Of `fabrics.PALETTE`."""
MEN_FABRICS = {"cotton": 4, "jersey": 3, "knit": 1.5, "linen": 0.6}
MEN_PATTERNS = {"horizontal_stripes": 3, "vertical_stripes": 1, "plaid": 3, "check": 2}


def sample_trouser_cloth(rng: np.random.Generator, woman: bool) -> Cloth:
    """Draw the cloth of trousers: denim most of all, hardly ever printed."""
    if rng.random() < 0.45:
        colors = ("navy", "navy", "black", "charcoal", "sky", "white", "grey")
        cloth = sample_cloth(rng, {"denim": 1}, plain=1, colors=colors)
        if rng.random() < 0.6:
            red, green, blue = (int(v) for v in np.array([70, 95, 140]) * rng.uniform(0.5, 1.6))
            cloth = dataclasses.replace(cloth, color=(red, green, blue))
        return cloth
    shares = (
        {"cotton": 3, "crepe": 2, "wool": 1, "linen": 1, "leather": 0.4}
        if woman
        else {"cotton": 3, "wool": 1}
    )
    return sample_cloth(rng, shares, plain=0.88 if woman else 1.0, colors=TROUSER_COLORS)
