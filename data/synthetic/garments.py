"""What is worn: dress, top and skirt, or top and trousers; lengths, colours and patterns drawn at random."""

import colorsys
import dataclasses
import math

import numpy as np

from data.synthetic.body import Body, smoothed

PATTERNS = ("plain", "horizontal_stripes", "vertical_stripes", "dots", "plaid")
PATTERN_CHANCES = (0.36, 0.18, 0.14, 0.17, 0.15)

Rgb = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cloth:
    """Colour and pattern of one garment."""

    kind: str
    color: Rgb
    """Of the ground, as sRGB in white light; shading darkens and lightens it."""
    pattern: str
    pattern_color: Rgb
    period: float
    """Of the pattern, in body heights."""
    duty: float
    """The part of a period that has the pattern's colour."""

    def mix(self, u: np.ndarray, v: np.ndarray, around: int) -> np.ndarray:
        """How much of the pattern's colour is at surface coordinates (u in radians, v in body heights), 0..1.

        `around` is the whole number of periods that go once around the body part, so that the pattern has no
        seam.
        """
        across, along = u * (around / (2 * math.pi)) + 0.25, v / self.period
        if self.pattern == "horizontal_stripes":
            return (along % 1 < self.duty).astype(np.float32)
        if self.pattern == "vertical_stripes":
            return (across % 1 < self.duty).astype(np.float32)
        if self.pattern == "dots":
            row = np.floor(along)
            du, dv = (across + 0.5 * (row % 2)) % 1 - 0.5, along % 1 - 0.5
            return (du * du + dv * dv < 0.33**2).astype(np.float32)
        if self.pattern == "plaid":
            return 0.5 * ((along % 1 < 0.5).astype(np.float32) + (across % 1 < 0.5))
        return np.zeros_like(u)

    def around(self, circumference: float) -> int:
        """How many periods go around a part of this circumference (body heights)."""
        return max(2, round(circumference / self.period))

    def description(self) -> dict:
        """What the clip's JSON says of it."""
        return {
            "kind": self.kind,
            "color": list(self.color),
            "pattern": self.pattern,
            "pattern_color": None if self.pattern == "plain" else list(self.pattern_color),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outfit:
    """What one person wears, in body heights; ease is how far the cloth stands off the skin."""

    kind: str
    """"dress", "skirt" or "trousers"."""
    top: Cloth
    """The whole of a dress."""
    lower: Cloth | None
    """None for a dress."""
    sleeve: float
    """How much of the arm is covered, 0 for none to 2 (1 at the elbow)."""
    sleeve_ease: float
    top_end: float
    """Height at which the top ends and the lower garment begins."""
    top_ease: float
    hem: float
    """Height of the hem of a dress, a skirt or trousers."""
    flare: float
    """How much wider than the hips a skirt is at its hem; or how much wider than the leg trousers are."""
    folds: int
    """Folds around a skirt."""
    neckline: str
    """"round", "v", "boat" or "collar"."""
    neck_depth: float
    belt: Rgb | None
    shoes: Rgb
    heel: float

    def description(self) -> dict:
        """Part name -> colours and pattern, for the clip's JSON."""
        parts = {
            "shoes": {"kind": "shoes", "color": list(self.shoes), "pattern": "plain", "pattern_color": None}
        }
        if self.lower is None:
            return {"dress": self.top.description(), **parts}
        return {"top": self.top.description(), "lower": self.lower.description(), **parts}


def _luminance(color: Rgb) -> float:
    return (0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]) / 255


def sample_color(rng: np.random.Generator) -> Rgb:
    """Draw a colour of cloth: saturated, muted, pastel, dark or nearly grey."""
    hue, style = rng.random(), rng.random()
    if style < 0.38:
        saturation, value = rng.uniform(0.62, 0.92), rng.uniform(0.55, 0.92)
    elif style < 0.62:
        saturation, value = rng.uniform(0.25, 0.5), rng.uniform(0.45, 0.78)
    elif style < 0.74:
        saturation, value = rng.uniform(0.2, 0.38), rng.uniform(0.82, 0.93)
    elif style < 0.88:
        saturation, value = rng.uniform(0.3, 0.75), rng.uniform(0.16, 0.38)
    else:
        saturation, value = rng.uniform(0.0, 0.08), rng.choice([0.13, 0.3, 0.55, 0.9])
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(r * 255), round(g * 255), round(b * 255))


def _contrasting(rng: np.random.Generator, color: Rgb, gap: float) -> Rgb:
    for _ in range(20):
        other = (244, 241, 234) if rng.random() < 0.35 else sample_color(rng)
        if abs(_luminance(other) - _luminance(color)) > gap:
            return other
    return (240, 238, 232) if _luminance(color) < 0.5 else (38, 38, 48)


def sample_cloth(rng: np.random.Generator, kind: str, plain_chance: float = 0.0) -> Cloth:
    """Draw one garment's colours and pattern; `plain_chance` makes plain cloth more likely."""
    color = sample_color(rng)
    pattern = str(rng.choice(PATTERNS, p=PATTERN_CHANCES))
    if rng.random() < plain_chance:
        pattern = "plain"
    return Cloth(
        kind=kind,
        color=color,
        pattern=pattern,
        pattern_color=_contrasting(rng, color, 0.28),
        period=float(rng.uniform(0.058, 0.092)),
        duty=float(rng.uniform(0.35, 0.55)),
    )


def sample_outfit(rng: np.random.Generator, body: Body) -> Outfit:
    """Draw an outfit that suits the body."""
    woman = body.gender == "woman"
    kind = str(rng.choice(["dress", "skirt", "trousers"], p=[0.42, 0.3, 0.28])) if woman else "trousers"
    knee = body.ankle_height + body.shin
    sleeve = float(
        rng.choice(
            [0.0, 0.45, 0.62, 1.35, 1.96],
            p=[0.25, 0.24, 0.14, 0.09, 0.28] if woman else [0, 0.3, 0.25, 0, 0.45],
        )
    )
    tucked = kind == "skirt" or rng.random() < 0.4
    top_end = body.waist_height - 0.012 if tucked else body.hip_height + float(rng.uniform(-0.02, 0.035))
    lower = None
    if kind != "dress":
        lower = sample_cloth(rng, kind, plain_chance=0.55)
        top = sample_cloth(rng, "top")
        if abs(_luminance(top.color) - _luminance(lower.color)) < 0.1:
            lower = dataclasses.replace(lower, color=_contrasting(rng, top.color, 0.15), pattern="plain")
    else:
        top = sample_cloth(rng, "dress")
    if kind == "trousers":
        hem = (
            0.05
            if rng.random() < 0.65
            else (float(rng.uniform(0.09, 0.13)) if rng.random() < 0.6 else knee + 0.05)
        )
        flare = float(rng.uniform(0.004, 0.016))
        folds = 0
    else:
        hem = float(
            rng.choice([knee + 0.09, knee + 0.02, knee - 0.05, 0.12, 0.07], p=[0.24, 0.3, 0.22, 0.14, 0.1])
        )
        flare = float(rng.choice([0.98, 1.25, 1.5, 1.75], p=[0.25, 0.35, 0.28, 0.12]))
        folds = int(rng.integers(7, 12)) if flare > 1.2 else 0
    belted = (kind == "dress" and rng.random() < 0.4) or (
        kind == "trousers" and tucked and rng.random() < 0.5
    )
    return Outfit(
        kind=kind,
        top=top,
        lower=lower,
        sleeve=sleeve,
        sleeve_ease=float(rng.uniform(0.004, 0.010)),
        top_end=top_end,
        top_ease=0.003 if tucked or kind == "dress" else 0.008,
        hem=hem,
        flare=flare,
        folds=folds,
        neckline=str(rng.choice(["round", "v", "boat", "collar"], p=[0.4, 0.25, 0.15, 0.2])),
        neck_depth=float(rng.uniform(0.03, 0.075)) if woman else float(rng.uniform(0.015, 0.035)),
        belt=_contrasting(rng, top.color, 0.2) if belted else None,
        shoes=((30, 28, 30), (235, 232, 226), (120, 76, 48), sample_color(rng))[rng.integers(4)],
        heel=float(rng.uniform(0.012, 0.02)) if woman and rng.random() < 0.6 else 0.004,
    )


def trunk_sections(body: Body, outfit: Outfit) -> np.ndarray:
    """Sections of the dressed trunk, and of the skirt below it with the legs at rest.

    Returns:
        (n, 4): height, half-width, half-depth, how far the centre is forward; heights rise.
    """
    sections = body.trunk_profile()
    heights = sections[:, 0]
    ease = np.where(heights > outfit.top_end, outfit.top_ease, 0.003)
    ease = ease * np.clip((body.shoulder_height + 0.02 - heights) / 0.02, 0, 1)
    sections[:, 1:3] += ease[:, None]
    if outfit.kind == "trousers":
        return sections
    hip = body.hip_height
    hip_width, hip_depth = (np.interp(hip, heights, sections[:, i]) for i in (1, 2))
    rows = np.linspace(outfit.hem, heights[-1], 200)
    dressed = np.stack([rows, *(np.interp(rows, heights, sections[:, i]) for i in (1, 2, 3))], axis=1)
    # A flared skirt widens steadily from the waist; a narrow one falls straight from the hips.
    start = body.waist_height if outfit.flare > 1.2 else hip + 0.01
    drop = np.clip((start - rows) / (start - outfit.hem), 0, 1)
    if outfit.flare > 1.2:
        widths = [np.interp(start, heights, sections[:, i]) for i in (1, 2)]
        ends = [hip_width * outfit.flare, hip_depth * (0.35 + 0.75 * outfit.flare)]
        for column, (width, end) in enumerate(zip(widths, ends, strict=True), start=1):
            swinging = width + (end - width) * drop**0.85
            dressed[:, column] = np.where(
                rows < start, np.maximum(dressed[:, column], swinging), dressed[:, column]
            )
            below = rows < hip
            dressed[below, column] = np.maximum(swinging[below], 0.97 * (hip_width, hip_depth)[column - 1])
    else:
        below = rows < start
        for column, width in ((1, hip_width), (2, hip_depth)):
            dressed[below, column] = width * (1 + (outfit.flare - 1) * drop[below])
    body_rows = rows < body.shoulder_height - 0.06
    for column in (1, 2, 3):
        smooth = smoothed(dressed[:, column], 7)
        dressed[body_rows, column] = smooth[body_rows]
    return dressed
