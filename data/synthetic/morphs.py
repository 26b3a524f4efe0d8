"""How people differ: age, build, ancestry, proportions and faces, as weights of MakeHuman's targets."""

import dataclasses
import itertools

import numpy as np

GENDERS = {"woman": "female", "man": "male"}
ANCESTRIES = ("caucasian", "asian", "african")
LEVELS = ("min", "average", "max")

MODIFIERS: dict[str, tuple[str, str, float]] = {
    # Folder/stem of a pair of targets: its ends, and the standard deviation between them. "*": both sides.
    "head/head-scale-horiz": ("decr", "incr", 0.25),
    "head/head-scale-vert": ("decr", "incr", 0.25),
    "head/head-scale-depth": ("decr", "incr", 0.2),
    "head/head-back-scale-depth": ("decr", "incr", 0.2),
    "head/head-fat": ("decr", "incr", 0.22),
    "head/head-angle": ("in", "out", 0.12),
    "forehead/forehead-scale-vert": ("decr", "incr", 0.25),
    "forehead/forehead-temple": ("decr", "incr", 0.3),
    "forehead/forehead-nubian": ("decr", "incr", 0.2),
    "forehead/forehead-trans": ("backward", "forward", 0.2),
    "eyebrows/eyebrows-angle": ("down", "up", 0.25),
    "eyebrows/eyebrows-trans": ("down", "up", 0.25),
    "eyes/*-eye-scale": ("decr", "incr", 0.25),
    "eyes/*-eye-corner1": ("down", "up", 0.25),
    "eyes/*-eye-corner2": ("down", "up", 0.3),
    "eyes/*-eye-epicanthus": ("in", "out", 0.25),
    "eyes/*-eye-eyefold": ("down", "up", 0.25),
    "eyes/*-eye-eyefold-angle": ("down", "up", 0.25),
    "eyes/*-eye-height2": ("decr", "incr", 0.25),
    "eyes/*-eye-trans": ("in", "out", 0.25),
    "nose/nose-scale-vert": ("decr", "incr", 0.17),
    "nose/nose-scale-horiz": ("decr", "incr", 0.17),
    "nose/nose-scale-depth": ("decr", "incr", 0.17),
    "nose/nose-width1": ("decr", "incr", 0.21),
    "nose/nose-width2": ("decr", "incr", 0.21),
    "nose/nose-width3": ("decr", "incr", 0.21),
    "nose/nose-point": ("down", "up", 0.17),
    "nose/nose-point-width": ("decr", "incr", 0.17),
    "nose/nose-base": ("down", "up", 0.17),
    "nose/nose-curve": ("concave", "convex", 0.17),
    "nose/nose-hump": ("decr", "incr", 0.14),
    "nose/nose-flaring": ("decr", "incr", 0.17),
    "nose/nose-volume": ("decr", "incr", 0.14),
    "nose/nose-greek": ("decr", "incr", 0.14),
    "mouth/mouth-scale-horiz": ("decr", "incr", 0.25),
    "mouth/mouth-scale-vert": ("decr", "incr", 0.2),
    "mouth/mouth-trans": ("down", "up", 0.2),
    "mouth/mouth-upperlip-volume": ("decr", "incr", 0.3),
    "mouth/mouth-lowerlip-volume": ("decr", "incr", 0.3),
    "mouth/mouth-upperlip-height": ("decr", "incr", 0.25),
    "mouth/mouth-lowerlip-height": ("decr", "incr", 0.25),
    "mouth/mouth-cupidsbow": ("decr", "incr", 0.3),
    "mouth/mouth-philtrum-volume": ("decr", "incr", 0.25),
    "mouth/mouth-dimples": ("in", "out", 0.2),
    "cheek/*-cheek-bones": ("decr", "incr", 0.3),
    "cheek/*-cheek-volume": ("decr", "incr", 0.25),
    "cheek/*-cheek-inner": ("decr", "incr", 0.2),
    "chin/chin-width": ("decr", "incr", 0.25),
    "chin/chin-height": ("decr", "incr", 0.2),
    "chin/chin-bones": ("decr", "incr", 0.25),
    "chin/chin-prominent": ("decr", "incr", 0.2),
    "chin/chin-jaw-drop": ("decr", "incr", 0.2),
    "chin/chin-cleft": ("decr", "incr", 0.2),
    "ears/*-ear-scale": ("decr", "incr", 0.25),
    "ears/*-ear-wing": ("decr", "incr", 0.2),
    "ears/*-ear-lobe": ("decr", "incr", 0.25),
    "neck/neck-scale-vert": ("decr", "incr", 0.2),
    "neck/neck-scale-horiz": ("decr", "incr", 0.2),
    "torso/torso-scale-depth": ("decr", "incr", 0.15),
    "torso/torso-vshape": ("decr", "incr", 0.2),
    "torso/torso-scale-vert": ("decr", "incr", 0.15),
    "torso/measure-shoulder-dist": ("decr", "incr", 0.2),
    "torso/measure-waist-circ": ("decr", "incr", 0.15),
    "torso/measure-hips-circ": ("decr", "incr", 0.15),
    "hip/hip-scale-horiz": ("decr", "incr", 0.15),
    "hip/hip-waist": ("down", "up", 0.2),
    "stomach/stomach-tone": ("decr", "incr", 0.25),
    "buttocks/buttocks-volume": ("decr", "incr", 0.25),
    "legs/upperlegs-height": ("decr", "incr", 0.12),
    "legs/lowerlegs-height": ("decr", "incr", 0.12),
    "legs/*-upperleg-fat": ("decr", "incr", 0.2),
    "legs/*-lowerleg-muscle": ("decr", "incr", 0.25),
    "arms/*-upperarm-fat": ("decr", "incr", 0.2),
    "arms/*-upperarm-muscle": ("decr", "incr", 0.2),
    "arms/*-upperarm-shoulder-muscle": ("decr", "incr", 0.2),
    "arms/*-lowerarm-muscle": ("decr", "incr", 0.2),
    "breast/breast-trans": ("down", "up", 0.2),
    "breast/breast-dist": ("decr", "incr", 0.2),
    "mouth/mouth-angles": ("down", "up", 0.1),
    "mouth/mouth-laugh-lines": ("in", "out", 0.15),
}

FACE_SHAPES = ("oval", "round", "diamond", "triangular", "invertedtriangular", "square", "rectangular")
SMILE = {"mouth-corner-puller": 1.0, "eyebrows-left-inner-up": 0.8, "eyebrows-right-inner-up": 0.8}
"""What a friendly look moves in the face, and how much."""
FASHIONABLE = {"arms/*-upperarm-shoulder-muscle": -0.35, "torso/measure-shoulder-dist": -0.1}
"""Slim shoulders, for all."""
WOMANLY = {
    "mouth/mouth-upperlip-volume": 0.12, "mouth/mouth-lowerlip-volume": 0.12, "chin/chin-width": -0.12,
    "cheek/*-cheek-bones": 0.15, "nose/nose-scale-horiz": -0.1, "eyes/*-eye-scale": 0.12,
}  # fmt: skip
"""What most models' faces have, beyond the average."""


def _sides(stem: str) -> tuple[str, ...]:
    return tuple(stem.replace("*", side) for side in "lr") if "*" in stem else (stem,)


def _universal(gender: str, age: str, muscle: str, weight: str) -> str:
    return f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight"


def _height(gender: str, age: str, end: str) -> str:
    return f"macrodetails/height/{gender}-{age}-averagemuscle-averageweight-{end}height"


def _proportions(gender: str, age: str, end: str) -> str:
    return f"macrodetails/proportions/{gender}-{age}-averagemuscle-averageweight-{end}proportions"


def _smile(ancestry: str, unit: str) -> str:
    return f"expression/units/{ancestry}/{unit}"


def _breast(age: str, end: str) -> str:
    return f"breast/female-{age}-averagemuscle-averageweight-{end}cup-averagefirmness"


def target_names() -> list[str]:
    """The targets that people are made of, which the packed file holds: folder/name, sorted."""
    names = {f"{name}-{end}" for stem, ends in MODIFIERS.items() for name in _sides(stem) for end in ends[:2]}
    names |= {f"head/head-{shape}" for shape in FACE_SHAPES}
    for gender, age in itertools.product(GENDERS.values(), ("young", "old")):
        names |= {f"macrodetails/{ancestry}-{gender}-{age}" for ancestry in ANCESTRIES}
        names |= {_universal(gender, age, *levels) for levels in itertools.product(LEVELS, LEVELS)}
        names |= {_height(gender, age, end) for end in ("min", "max")}
        names |= {_proportions(gender, age, end) for end in ("ideal", "uncommon")}
    names |= {_smile(ancestry, unit) for ancestry in ANCESTRIES for unit in SMILE}
    names |= {_breast(age, end) for age in ("young", "old") for end in ("min", "max")}
    return sorted(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A body and a face, as the numbers that they are made from.

    Attributes:
        gender: "woman" or "man".
        age: in years.
        height_cm: without shoes.
        weight: build, -1 (thin) to 1 (heavy), 0 is average.
        muscle: -1 to 1, 0 is average.
        ancestry: name in `ANCESTRIES` -> share; they sum to 1.
        targets: name of a target -> weight; without the height's.
    """

    gender: str
    age: float
    height_cm: float
    weight: float
    muscle: float
    ancestry: dict[str, float]
    targets: dict[str, float]


def _levels(value: float) -> dict[str, float]:
    """How much of min, average and max makes a value from -1 to 1."""
    return {"min": max(-value, 0.0), "average": 1 - abs(value), "max": max(value, 0.0)}


def _ages(years: float) -> dict[str, float]:
    old = float(np.clip((years - 25) / 65, 0, 1))
    return {"young": 1 - old, "old": old}


def sample_figure(rng: np.random.Generator, gender: str) -> Figure:
    """Draw a person from model to ordinary: mostly young, slim to average, of mixed ancestry.

    Args:
        rng: where chance comes from.
        gender: of `GENDERS`.
    """
    female = gender == "woman"
    low, high = ((19, 34), (34, 50), (50, 70))[rng.choice(3, p=(0.66, 0.26, 0.08))]
    age = float(rng.uniform(low, high))
    height = float(
        np.clip(rng.normal(*((171, 6) if female else (182, 6))), *((157, 184) if female else (168, 196)))
    )
    weight = float(np.clip(rng.normal(-0.52 if female else -0.25, 0.28) + (age - 30) * 0.006, -0.85, 0.6))
    muscle = float(np.clip(rng.normal(-0.02 if female else 0.15, 0.22), -0.5, 0.6))
    shares = dict(zip(ANCESTRIES, (float(x) for x in rng.dirichlet((0.42, 0.3, 0.34))), strict=True))

    targets: dict[str, float] = {}
    sex = GENDERS[gender]
    cup = float(rng.uniform(-0.9, 0.25))
    ideal = float(rng.uniform(0.2, 1.0))
    for group, share in _ages(age).items():
        for ancestry, part in shares.items():
            targets[f"macrodetails/{ancestry}-{sex}-{group}"] = share * part
        for (tone, a), (build, b) in itertools.product(_levels(muscle).items(), _levels(weight).items()):
            targets[_universal(sex, group, tone, build)] = share * a * b
        targets[_proportions(sex, group, "ideal")] = share * ideal
        if female:
            targets[_breast(group, "min" if cup < 0 else "max")] = share * abs(cup)
    smile = float(rng.uniform(0.05, 0.4))
    for ancestry, (unit, amount) in itertools.product(ANCESTRIES, SMILE.items()):
        targets[_smile(ancestry, unit)] = shares[ancestry] * smile * amount
    targets |= _details(rng, female)
    targets = {name: weight for name, weight in targets.items() if abs(weight) > 1e-3}
    return Figure(
        gender=gender,
        age=age,
        height_cm=height,
        weight=weight,
        muscle=muscle,
        ancestry=shares,
        targets=targets,
    )


def _details(rng: np.random.Generator, female: bool) -> dict[str, float]:
    values = {
        stem: float(np.clip(rng.normal(), -1.7, 1.7)) * sigma for stem, (_, _, sigma) in MODIFIERS.items()
    }
    values |= {stem: values[stem] + more for stem, more in FASHIONABLE.items()}
    values["mouth/mouth-angles"] = 0.1 + abs(values["mouth/mouth-angles"])  # a friendly look
    if female:
        values |= {stem: values[stem] + more for stem, more in WOMANLY.items()}
    else:
        values["breast/breast-trans"] = values["breast/breast-dist"] = 0.0
    targets: dict[str, float] = {}
    for stem, value in values.items():
        end = MODIFIERS[stem][0 if value < 0 else 1]
        targets |= {f"{name}-{end}": abs(value) for name in _sides(stem)}
    shape = FACE_SHAPES[rng.choice(len(FACE_SHAPES), p=(0.34, 0.16, 0.14, 0.12, 0.12, 0.06, 0.06))]
    targets[f"head/head-{shape}"] = float(rng.uniform(0.1, 0.5))
    return targets


def height_targets(figure: Figure, end: str) -> dict[str, float]:
    """The targets that make the figure as small ("min") or as tall ("max") as can be."""
    return {_height(GENDERS[figure.gender], group, end): share for group, share in _ages(figure.age).items()}
