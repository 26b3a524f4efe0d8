"""Shoes: MakeHuman's, recoloured, cut low for pumps and flats, on heels."""

import dataclasses
import math

import numpy as np

from data.synthetic import assets
from data.synthetic.fabrics import Rgb, choose, linear, luminance, sample_color
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.person import Person
from data.synthetic.posing import foot_pitch, measure
from data.synthetic.rig import BONE

MODELS = {
    "oxfords": ("shoes01", "shoes03", "shoes04"), "boots": ("shoes02",), "trainers": ("shoes05", "shoes06"),
    "pumps": ("shoes03",), "flats": ("shoes03",), "ankle_boots": ("shoes03",),
}  # fmt: skip
"""Kind -> what it is made from."""
KINDS = {
    "woman": {"pumps": 5.0, "flats": 2.5, "ankle_boots": 1.0, "trainers": 1.0},
    "man": {"oxfords": 3.0, "boots": 1.5, "trainers": 2.0},
}
COLORS = ("black", "black", "ivory", "beige", "camel", "brown", "red", "navy", "blush", "white", "grey")
NUM_HEEL_SIDES = 12


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shoes:
    """A pair of shoes on a person.

    Attributes:
        kind: of `MODELS`.
        color: sRGB, the mean of the upper.
        heel: dm that the heel is above the ball of the foot.
        sole: dm under the ball of the foot.
        meshes: what is drawn.
        covered: (T,) bool, triangles of the body inside the shoes.
    """

    kind: str
    color: Rgb
    heel: float
    sole: float
    meshes: list[SkinnedMesh]
    covered: np.ndarray

    def description(self) -> dict:
        """What the clip's JSON says of it."""
        return {
            "kind": self.kind,
            "color": list(self.color),
            "pattern": "plain",
            "pattern_color": None,
            "heel_cm": round(10 * self.heel, 1),
        }


def sample_shoes(rng: np.random.Generator, person: Person, dressy: bool) -> Shoes:
    """Draw shoes.

    Args:
        rng: draws.
        person: who wears them.
        dressy: whether they go with a dress or a skirt.
    """
    shares = dict(KINDS[person.gender])
    if dressy and "trainers" in shares:
        shares["trainers"] *= 0.3
    kind = choose(rng, shares)
    color = sample_color(rng, COLORS)
    heel = float(rng.uniform(0.45, 0.95)) if kind == "pumps" else 0.0
    if kind == "ankle_boots":
        heel = float(rng.choice([0.0, 0.35, 0.6]))
    return make_shoes(
        person, kind, str(rng.choice(MODELS[kind])), color, heel, thin=bool(rng.random() < 0.65)
    )


def make_shoes(person: Person, kind: str, model: str, color: Rgb, heel: float, thin: bool) -> Shoes:
    """Put shoes on.

    Args:
        person: who wears them.
        kind: of `MODELS`.
        model: the mesh they are made from.
        color: sRGB of the upper.
        heel: height above the ball of the foot in dm.
        thin: a thin heel rather than a block.
    """
    proxy = assets.proxy(model)
    rest = person.fit(proxy)
    floor, ground = float(person.meshes[0].rest[:, 1].min()), float(rest[:, 1].min())
    top = _top_line(kind, rest, person)
    material = Material(
        kind="leather",
        texture=_painted(assets.texture(model), color, keep=kind == "trainers" and luminance(color) > 0.3),
        roughness=0.3 if kind in ("pumps", "flats", "oxfords") else 0.5,
        specular=0.05,
    )
    upper = SkinnedMesh(
        name="shoes",
        triangles=proxy.triangles,
        uv=proxy.uv,
        material=material,
        parts=np.full(len(proxy.triangles), PARTS["shoes"], np.uint8),
        cut=(top - rest[:, 1]).astype(np.float32),
        rest=rest,
        bones=proxy.bones,
        weights=proxy.weights,
    )
    sole = max(floor - ground, 0.02)
    meshes = [upper]
    if heel > 0:
        meshes.append(_heels(person, rest, heel, sole, color, thin))
    body = person.meshes[0]
    feet = body.rest[body.triangles].mean(1)
    inside = feet[:, 1] < _top_line(kind, feet, person) - 0.12
    return Shoes(kind=kind, color=color, heel=heel, sole=sole, meshes=meshes, covered=inside)


def _top_line(kind: str, points: np.ndarray, person: Person) -> np.ndarray:
    """(n,) rest height where the shoe ends, at points of the foot."""
    ankle = float(person.heads[BONE["foot.L"]][1])
    floor = float(person.meshes[0].rest[:, 1].min())
    if kind in ("pumps", "flats"):
        heel = points[:, 2] - person.heads[BONE["foot.L"]][2]
        low = np.interp(
            heel, [-0.6, -0.35, 0.1, 0.7, 1.05, 1.3, 1.45], [0.62, 0.6, 0.42, 0.36, 0.4, 0.6, 2.0]
        )
        return floor + low
    return np.full(
        len(points), ankle + {"boots": 1.2, "ankle_boots": 1.25, "oxfords": 0.15, "trainers": 0.1}[kind]
    )


def _painted(texture: np.ndarray, color: Rgb, keep: bool) -> np.ndarray:
    """(h, w, 5) the texture in another colour; `keep` tints it instead."""
    picture = (texture[..., :3].astype(np.float64) / 255) ** 2.2
    shade = picture @ np.array([0.3, 0.6, 0.1])
    painted = np.median(shade[shade > 0.0008])
    if keep:
        light = 0.5 * picture + 0.5 * shade[..., None] * linear(color) / max(linear(color).mean(), 0.05)
    else:
        detail = np.clip(shade / painted, 0.1, 1.3) ** 0.4
        light = detail[..., None] * linear(color)
    result = np.ones((*texture.shape[:2], 5), np.float32)
    result[..., :3] = np.clip(light, 0, 1)
    result[..., 4] = shade
    return result


def _heels(person: Person, rest: np.ndarray, heel: float, sole: float, color: Rgb, thin: bool) -> SkinnedMesh:
    """Both heels, made where the pitched shoe has them and turned back to the flat foot."""
    measures = measure(person)
    pitch = foot_pitch(measures, heel)
    angle = np.arange(NUM_HEEL_SIDES) * (2 * np.pi / NUM_HEEL_SIDES)
    circle = np.stack([np.cos(angle), np.zeros(NUM_HEEL_SIDES), np.sin(angle)], axis=1)
    vertices, bones = [], []
    for side, letter, sign in (("left", "L", 1), ("right", "R", -1)):
        ball, ankle = measures.ball(side), measures.head(f"foot.{letter}")
        yaw = math.atan2(ball[0] - ankle[0], ball[2] - ankle[2])
        pitched = _rotation(yaw, pitch)
        mine = rest[rest[:, 0] * sign > 0]
        low = mine[mine[:, 1] < mine[:, 1].min() + 0.25]
        back = low[low[:, 2] < low[:, 2].min() + 0.55]
        seat = np.array([np.median(back[:, 0]), back[:, 1].min(), low[:, 2].min() + 0.27])
        seat = ball + pitched @ (seat - ball)
        floor = measures.floor - sole
        radii = (0.27, 0.11, 0.085, 0.075) if thin else (0.29, 0.25, 0.24, 0.25)
        for share, radius in zip((-0.12, 0.3, 0.7, 1.0), radii, strict=True):
            place = seat.copy()
            place[1] = seat[1] + (floor - seat[1]) * share
            place[2] += 0.03 * share
            ring = place + circle * radius
            vertices.append(ball + (ring - ball) @ pitched)
        bones.append(np.full((4 * NUM_HEEL_SIDES, 1), BONE[f"foot.{letter}"], np.int32))
    triangles = []
    i = np.arange(NUM_HEEL_SIDES)
    j = (i + 1) % NUM_HEEL_SIDES
    for foot in (0, 4 * NUM_HEEL_SIDES):
        for ring in range(3):
            a = foot + ring * NUM_HEEL_SIDES
            triangles += [np.stack([a + i, a + j, a + NUM_HEEL_SIDES + i], 1)]
            triangles += [np.stack([a + j, a + NUM_HEEL_SIDES + j, a + NUM_HEEL_SIDES + i], 1)]
    surface = np.concatenate(triangles).astype(np.int32)
    texture = np.ones((2, 2, 5), np.float32)
    texture[..., :3] = linear(color) * (0.9 if luminance(color) > 0.2 else 1.0)
    return SkinnedMesh(
        name="heels",
        triangles=surface,
        uv=np.full((len(surface), 3, 2), 0.5, np.float32),
        material=Material(kind="leather", texture=texture, roughness=0.3, specular=0.05),
        parts=np.full(len(surface), PARTS["shoes"], np.uint8),
        rest=np.concatenate(vertices).astype(np.float32),
        bones=np.concatenate(bones),
        weights=np.ones((len(vertices) * NUM_HEEL_SIDES, 1), np.float32),
    )


def _rotation(yaw: float, pitch: float) -> np.ndarray:
    """(3, 3): toes down by `pitch`, for a foot that points `yaw` to her left."""
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = math.cos(pitch), math.sin(pitch)
    down = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return turn @ down @ turn.T
