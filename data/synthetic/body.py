"""Who is seen: proportions, skin, hair and face of one person, drawn at random."""

import dataclasses

import numpy as np

SKIN_TONES = (
    (244, 214, 192), (236, 199, 172), (226, 184, 152), (208, 160, 126),
    (184, 134, 98), (150, 104, 74), (116, 78, 54), (88, 58, 42),
)  # fmt: skip
HAIR_TONES = (
    (28, 24, 24), (52, 36, 28), (84, 56, 38), (122, 82, 50), (168, 124, 72), (214, 178, 118),
    (132, 58, 34), (128, 122, 118),
)  # fmt: skip
WOMEN_HAIR = ("pixie", "bob", "shoulder", "long", "long", "bun", "ponytail")
MEN_HAIR = ("crop", "crop", "pixie", "crop", "pixie", "shoulder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Body:
    """One person. Lengths are fractions of the body's height; heights are measured from the floor."""

    gender: str
    """"woman" or "man"."""
    ankle_height: float
    shin: float
    thigh: float
    hip_half: float
    """From the middle to a hip joint."""
    shoulder_height: float
    shoulder_half: float
    upper_arm: float
    forearm: float
    head_length: float
    head_half_width: float
    waist: float
    """Half-widths of the trunk at the waist, the hips and the chest."""
    hips: float
    chest: float
    bust: float
    """How far the chest comes forward."""
    arm_thickness: float
    leg_thickness: float
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    hair_style: str
    eyes: tuple[int, int, int]
    lips: tuple[int, int, int]

    @property
    def hip_height(self) -> float:
        """Height of the hip joints with the legs straight."""
        return self.ankle_height + (self.shin + self.thigh) * 0.999

    @property
    def waist_height(self) -> float:
        """Height of the narrowest part of the trunk."""
        return self.hip_height + 0.36 * (self.shoulder_height - self.hip_height)

    def trunk_profile(self) -> np.ndarray:
        """Sections of the bare trunk from the crotch to the neck.

        Returns:
            (n, 4): height, half-width, half-depth, how far the centre is forward; heights rise.
        """
        hip, waist, shoulder = self.hip_height, self.waist_height, self.shoulder_height
        man = self.gender == "man"
        knots = np.array(
            [
                (hip - 0.070, 0.30 * self.hips, 0.030, 0.000),
                (hip - 0.045, 0.80 * self.hips, 0.055, -0.004),
                (hip - 0.005, self.hips, 0.068, -0.007),
                (hip + 0.035, 0.93 * self.hips, 0.062, -0.004),
                (waist, self.waist, 0.050 if not man else 0.056, 0.000),
                (waist + 0.055, 0.5 * (self.waist + self.chest), 0.053, 0.003),
                (shoulder - 0.080, self.chest, 0.054 + self.bust, 0.003 + 0.7 * self.bust),
                (shoulder - 0.030, self.shoulder_half + 0.004, 0.051, 0.000),
                (shoulder - 0.004, self.shoulder_half + 0.000, 0.044, -0.005),
                (shoulder + 0.014, 0.76 * self.shoulder_half, 0.036, -0.008),
                (shoulder + 0.026, 0.50 * self.shoulder_half, 0.031, -0.009),
                (shoulder + 0.040, 0.034, 0.029, -0.007),
                (shoulder + 0.060, 0.027, 0.027, -0.003),
            ]
        )
        heights = np.linspace(knots[0, 0], knots[-1, 0], 128)
        columns = [np.interp(heights, knots[:, 0], knots[:, i]) for i in range(1, 4)]
        narrow, wide = (
            np.array([smoothed(c, 4) for c in columns]),
            np.array([smoothed(c, 10) for c in columns]),
        )
        shoulders = np.clip((heights - shoulder + 0.07) / 0.04, 0, 1)
        return np.concatenate([heights[None], wide + shoulders * (narrow - wide)]).T


def smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """Blur a curve with a bell that ends `reach` samples to either side."""
    kernel = np.exp(-(np.linspace(-1.8, 1.8, 2 * reach + 1) ** 2))
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _tinted(rng: np.random.Generator, color: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
    values = np.clip(np.array(color) + rng.integers(-spread, spread + 1, 3), 5, 250)
    return (int(values[0]), int(values[1]), int(values[2]))


def sample_body(rng: np.random.Generator) -> Body:
    """Draw a person: seven in ten are women."""
    woman = rng.random() < 0.7
    slim = _between(rng, -1, 1)
    leg = _between(rng, -0.012, 0.012)
    skin = _tinted(rng, SKIN_TONES[rng.integers(len(SKIN_TONES))], 6)
    hair = _tinted(rng, HAIR_TONES[rng.integers(len(HAIR_TONES))], 8)
    red = 0.25 if woman else 0.1
    lips = tuple(
        int(v)
        for v in np.array(skin) * (1 - red) * np.array([0.95, 0.74, 0.74]) + red * np.array([190, 40, 60])
    )
    styles = WOMEN_HAIR if woman else MEN_HAIR
    shoulder = _between(rng, 0.090, 0.097) if woman else _between(rng, 0.104, 0.112)
    return Body(
        gender="woman" if woman else "man",
        ankle_height=0.042,
        shin=0.242 + leg / 2,
        thigh=0.243 + leg / 2,
        hip_half=0.043 if woman else 0.044,
        shoulder_height=_between(rng, 0.806, 0.816),
        shoulder_half=shoulder,
        upper_arm=_between(rng, 0.158, 0.168),
        forearm=_between(rng, 0.132, 0.142),
        head_length=_between(rng, 0.132, 0.140),
        head_half_width=_between(rng, 0.044, 0.048) if woman else _between(rng, 0.047, 0.050),
        waist=(0.070 if woman else 0.080) + 0.006 * slim,
        hips=(0.094 if woman else 0.089) + 0.006 * slim,
        chest=shoulder * (0.90 if woman else 0.95) + 0.003 * slim,
        bust=_between(rng, 0.008, 0.016) if woman else 0.003,
        arm_thickness=(1.0 if woman else 1.2) * (1 + 0.08 * slim),
        leg_thickness=(1.0 if woman else 1.06) * (1 + 0.08 * slim),
        skin=skin,
        hair=hair,
        hair_style=styles[rng.integers(len(styles))],
        eyes=((70, 50, 40), (60, 80, 60), (60, 90, 120))[rng.integers(3)],
        lips=(lips[0], lips[1], lips[2]),
    )
