"""What is painted on a person: skin of any tone, lips, lids, the scalp under hair, eyes, brows, lashes.

Colours are linear red, green and blue in 0..1 unless called sRGB.
"""

import dataclasses
import functools

import numpy as np
from PIL import Image, ImageDraw

from data.synthetic import assets
from data.synthetic.morphs import GENDERS, Figure

# Reflectance of skin from the lightest to the darkest.
TONES = np.array(
    [
        (0.70, 0.47, 0.37),
        (0.60, 0.37, 0.27),
        (0.42, 0.232, 0.152),
        (0.215, 0.108, 0.066),
        (0.092, 0.046, 0.030),
    ]
)
ANCESTRAL_TONES = {"caucasian": 0.17, "asian": 0.27, "african": 0.80}
HAIRLINE = (
    (386, 265), (388, 247), (393, 236), (402, 228), (412, 220), (417, 200), (425, 178), (450, 167),
    (459, 150), (460, 86), (437, 88), (386, 100), (350, 128), (322, 168), (320, 200), (334, 232), (360, 265),
)  # fmt: skip
"""Outline of one half of the scalp in the skins' textures, in pixels."""
IRISES = {
    "brown": (0.09, 0.045, 0.022), "dark brown": (0.035, 0.02, 0.013), "hazel": (0.16, 0.10, 0.035),
    "green": (0.13, 0.17, 0.08), "blue": (0.12, 0.22, 0.34), "grey": (0.20, 0.24, 0.27),
}  # fmt: skip
SHADES = np.array((0.85, 1.0, 1.1), np.float32)
"""Contrast of red, green and blue in hair: its shades are warmer than its lights."""
WOMENS_BROWS = ("eyebrow001", "eyebrow001", "eyebrow006", "eyebrow008", "eyebrow010")
MENS_BROWS = ("eyebrow001", "eyebrow009", "eyebrow009", "eyebrow010")
"""Those that look friendly."""
LIPSTICKS = {
    "rose": (0.42, 0.10, 0.13), "red": (0.45, 0.025, 0.03), "berry": (0.21, 0.025, 0.06),
    "nude": (0.42, 0.20, 0.15),
    "coral": (0.55, 0.13, 0.09),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complexion:
    """Tone and make-up.

    Attributes:
        tone: 0 (lightest) to 1 (darkest).
        color: (3,) reflectance of the skin.
        skins: names of the light and the dark texture that are mixed.
        eyes: of `IRISES`.
        lips: (3,) colour that the lips are tinted with, and
        lip_strength: how much, 0 to 1.
        shadow: how dark the lids are painted, 0 to 1.
        brow: of the packed eyebrows.
        lashes: of the packed eyelashes, or None.
    """

    tone: float
    color: np.ndarray
    skins: tuple[str, str]
    eyes: str
    lips: np.ndarray
    lip_strength: float
    shadow: float
    brow: str
    lashes: str | None


def sample_complexion(rng: np.random.Generator, figure: Figure) -> Complexion:
    """Draw a tone that suits the ancestry, eyes and make-up."""
    mean = sum((share * ANCESTRAL_TONES[name] for name, share in figure.ancestry.items()), 0.0)
    tone = float(np.clip(rng.normal(mean, 0.09), 0, 1))
    at = tone * (len(TONES) - 1)
    color = np.array([np.interp(at, range(len(TONES)), TONES[:, channel]) for channel in range(3)])
    color = color * (1.0, rng.uniform(0.95, 1.04), rng.uniform(0.92, 1.08))
    fair = max(0.0, 1 - tone / 0.45) * figure.ancestry["caucasian"]
    odds = np.array([0.45 + tone, 0.25 + 2 * tone, 0.35 * fair + 0.05, 0.3 * fair, 0.6 * fair, 0.2 * fair])
    eyes = list(IRISES)[rng.choice(len(IRISES), p=odds / odds.sum())]
    female = figure.gender == "woman"
    lipstick = list(LIPSTICKS)[rng.choice(len(LIPSTICKS), p=(0.34, 0.12, 0.1, 0.28, 0.16))]
    strength = float(rng.uniform(0.1, 0.75)) if female else 0.0
    return Complexion(
        tone=tone,
        color=color,
        skins=(_skin_name(rng, figure, "light"), _skin_name(rng, figure, "dark")),
        eyes=eyes,
        lips=np.array(LIPSTICKS[lipstick]) * (1 - 0.45 * tone),
        lip_strength=strength,
        shadow=float(rng.uniform(0, 0.5)) if female else 0.0,
        brow=str(rng.choice(WOMENS_BROWS if female else MENS_BROWS)),
        lashes=f"eyelashes{rng.integers(1, 5):02}" if female or rng.random() < 0.3 else None,
    )


def _skin_name(rng: np.random.Generator, figure: Figure, kind: str) -> str:
    age = "young" if figure.age < 40 else "middleage" if figure.age < 60 else "old"
    start = f"{age}_{kind}skinned_{GENDERS[figure.gender]}"
    names = [name for name in assets.names("textures") if name.rstrip("0123456789") == start]
    return names[rng.integers(len(names))]


def linear(srgb: np.ndarray) -> np.ndarray:
    """Colours in sRGB, 0..255, as linear float32 in 0..1."""
    values = np.asarray(srgb, np.float32) / np.float32(255)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb_ints(color: np.ndarray) -> list[int]:
    """A linear colour as sRGB whole numbers."""
    values = np.clip(np.asarray(color, float), 0, 1)
    encoded = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
    return [int(round(255 * value)) for value in encoded]


def blurred(values: np.ndarray, radius: int) -> np.ndarray:
    """Averaged over squares of 2 `radius` + 1 pixels, twice."""
    for axis in (0, 1, 0, 1):
        steps = range(-radius, radius + 1)
        values = np.sum([np.roll(values, step, axis) for step in steps], axis=0) / np.float32(len(steps))
    return values


@functools.cache
def scalp() -> np.ndarray:
    """(512, 512) float32: where hair grows on the skin's texture, 0 to 1."""
    picture = Image.new("L", (512, 512))
    for mirrored in (False, True):
        outline = [(x, 528 - y if mirrored else y) for x, y in HAIRLINE]
        ImageDraw.Draw(picture).polygon(outline, fill=255)
    base, body = assets.base(), Image.new("L", (512, 512))
    below_neck = base.vertices[base.triangles["body"], 1].max(1) < 6.2
    for corners in base.uv["body"][below_neck] * (512, -512) + (0, 512):
        ImageDraw.Draw(body).polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    grows = np.clip(1.5 * blurred(np.asarray(picture, np.float32) / 255, 3), 0, 1)
    return grows * (blurred(np.asarray(body, np.float32), 1) == 0)


@functools.cache
def _contrast(name: str) -> np.ndarray:
    """(512, 512, 3) float32: a skin against its own chest's colour, without the hair of its head."""
    skin = linear(assets.texture(name)[..., :3])
    ratio = skin / np.median(skin[60:200, 80:230].reshape(-1, 3), axis=0)
    return np.clip(ratio, 0.15, 2.2).astype(np.float32)


def paint_skin(
    complexion: Complexion, cap: np.ndarray, coverage: float, rng: np.random.Generator
) -> np.ndarray:
    """Paint a person's skin.

    Args:
        complexion: tone and make-up.
        cap: (3,) colour of the scalp, that nothing shines through the hair.
        coverage: how much of the scalp has it; below 1 it is stubble.
        rng: for the stubble.

    Returns:
        (512, 512, 5) float32, as `Material.texture`.
    """
    light, dark = (_contrast(name) for name in complexion.skins)
    share = np.float32(np.clip((complexion.tone - 0.4) / 0.3, 0, 1))
    grows = scalp()[..., None]
    # Dark skins are painted with black hair, light ones with short stubble, which is taken away.
    around = np.clip(2.5 * blurred(scalp(), 4), 0, 1)[..., None]
    bare = np.maximum(light, 0.92) * around + light * (1 - around)
    ratio = bare * (1 - share) + (dark * (1 - around) + bare * around) * share
    skin = complexion.color.astype(np.float32) * ratio ** np.float32(0.85 - 0.2 * complexion.tone)

    natural = complexion.color * (0.90, 0.50, 0.52)
    lips = (natural * (1 - complexion.lip_strength) + complexion.lips * complexion.lip_strength).astype(
        np.float32
    )
    lip_mask = 0.9 * _mask("mask_lips")
    skin = skin * (1 - lip_mask) + lips * (0.45 + 0.55 * ratio.mean(2, keepdims=True)) * lip_mask
    skin = skin * (1 - np.float32(0.7 * complexion.shadow) * _mask("mask_eyelids"))

    stubble = np.float32(coverage)
    if coverage < 1:
        stubble = np.clip(coverage + 0.07 * rng.standard_normal((512, 512, 1)).astype(np.float32), 0, 1)
    skin = skin * (1 - grows * stubble) + np.asarray(cap, np.float32) * grows * stubble
    return np.concatenate([skin, np.ones_like(grows), np.zeros_like(grows)], 2).astype(np.float32)


@functools.cache
def _mask(name: str) -> np.ndarray:
    mask = assets.texture(name)[..., :1].astype(np.float32) / 255
    return blurred(np.where(mask > 0.25, mask, 0), 1)


def paint_eye(color: str, rng: np.random.Generator) -> np.ndarray:
    """The eyeball seen from in front: iris and pupil in the middle, as `Material.texture` of 128 pixels."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, 128, dtype=np.float32)] * 2)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = np.array((0.60, 0.55, 0.52), np.float32)
    eye = white * (1 - 0.25 * np.clip(radius - 0.5, 0, 1))[..., None]
    fibres = sum(np.cos(count * angle + rng.uniform(0, 6.28)) for count in (17, 29, 41)) / 3
    iris = np.array(IRISES[color], np.float32) * (0.75 + 0.9 * radius + 0.18 * fibres)[..., None]
    iris *= 1 - 0.6 * np.clip((radius - 0.42) / 0.08, 0, 1)[..., None]  # the dark ring around it
    for edge, softness, layer in ((0.5, 0.04, iris), (0.19, 0.03, np.full(3, 0.004, np.float32))):
        inside = np.clip((edge - radius) / softness, 0, 1)[..., None]
        eye = eye * (1 - inside) + layer * inside
    return np.concatenate([eye, np.ones_like(eye[..., :1]), np.zeros_like(eye[..., :1])], 2).astype(
        np.float32
    )


def paint_strands(name: str, color: np.ndarray, contrast: float, opacity: float) -> np.ndarray:
    """Hair, brows or lashes in a colour.

    Args:
        name: of the packed texture, whose light and shade is kept.
        color: (3,) mean of what is opaque.
        contrast: of light and shade; 1 is as painted.
        opacity: factor of the painted one.

    Returns:
        (h, w, 5) float32, as `Material.texture`.
    """
    painted = assets.texture(name)
    alpha = (
        (painted[..., 3:].astype(np.float32) / 255)
        if painted.shape[2] == 4
        else np.ones((512, 512, 1), np.float32)
    )
    red, green, blue = np.moveaxis(linear(painted[..., :3]), 2, 0)
    light = 0.3 * red + 0.6 * green + 0.1 * blue
    opaque = alpha[..., 0] > 0.3
    light = np.clip(light / max(float(light[opaque].mean()), 1e-4), 0.4, 1.8)
    light = np.where(opaque, light, 1)[..., None] ** (np.float32(contrast) * SHADES)
    rgb = np.clip(light * np.asarray(color, np.float32), 0, 1)
    return np.concatenate([rgb, np.clip(alpha * opacity, 0, 1), np.zeros_like(alpha)], 2).astype(np.float32)
