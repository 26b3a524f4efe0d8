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
from data.synthetic.tights import tights, vertex_normals

MODELS = {
    "oxfords": ("shoes01", "shoes03", "shoes04"), "boots": ("shoes02",), "trainers": ("shoes05", "shoes06"),
    "pumps": (), "flats": (), "sandals": (), "ankle_boots": (), "tall_boots": (),
}  # fmt: skip
"""Kind -> what it is made from; the others are cut from the tights' feet."""
KINDS = {
    "woman": {
        "pumps": 4.0,
        "flats": 2.0,
        "sandals": 3.0,
        "ankle_boots": 1.0,
        "tall_boots": 0.5,
        "trainers": 1.0,
    },
    "man": {"oxfords": 3.0, "boots": 1.5, "trainers": 2.0},
}
COLORS = ("black", "black", "ivory", "beige", "camel", "brown", "red", "navy", "blush", "white", "grey")
CUFF_OVERLAP, LOWEST_SHAFT = 0.2, 0.3
"""How far boots reach into trousers, and above the ankle at least, in dm."""
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


def sample_shoes(rng: np.random.Generator, person: Person, dressy: bool, cuff: float = np.inf) -> Shoes:
    """Draw shoes.

    Args:
        rng: draws.
        person: who wears them.
        dressy: whether they go with a dress or a skirt.
        cuff: rest height of the trousers' lower edge in dm; boots end just above it, inside the trousers.
    """
    shares = dict(KINDS[person.gender])
    if dressy and "trainers" in shares:
        shares["trainers"] *= 0.3
    kind = choose(rng, shares)
    color = sample_color(rng, COLORS)
    heel = 0.0
    if kind in ("pumps", "sandals"):
        heel = float(rng.uniform(0.45, 0.95)) if kind == "pumps" or rng.random() < 0.7 else 0.0
    if kind in ("ankle_boots", "tall_boots"):
        heel = float(rng.choice([0.0, 0.35, 0.6]))
    thin = kind in ("pumps", "sandals") and bool(rng.random() < 0.7)
    if not MODELS[kind]:
        return cut_shoes(person, kind, color, heel, thin, pointed=float(rng.uniform(0.0, 0.3)), cuff=cuff)
    return make_shoes(person, kind, str(rng.choice(MODELS[kind])), color, cuff)


def make_shoes(person: Person, kind: str, model: str, color: Rgb, cuff: float) -> Shoes:
    """Put on one of MakeHuman's shoes.

    Args:
        person: who wears them.
        kind: of `MODELS`.
        model: the mesh they are made from.
        color: sRGB of the upper.
        cuff: as for `sample_shoes`.
    """
    proxy = assets.proxy(model)
    rest = person.fit(proxy)
    floor, ground = float(person.meshes[0].rest[:, 1].min()), float(rest[:, 1].min())
    material = Material(
        kind="leather",
        texture=_painted(assets.texture(model), color, keep=kind == "trainers" and luminance(color) > 0.3),
        roughness=0.5,
        specular=0.04,
    )
    upper = SkinnedMesh(
        name="shoes",
        triangles=proxy.triangles,
        uv=proxy.uv,
        material=material,
        parts=np.full(len(proxy.triangles), PARTS["shoes"], np.uint8),
        cut=(_top_line(kind, rest, person, cuff) - rest[:, 1]).astype(np.float32),
        rest=rest,
        bones=proxy.bones,
        weights=proxy.weights,
    )
    body = person.meshes[0]
    inside = body.rest[:, 1] < _top_line(kind, body.rest, person, cuff) - 0.12
    return Shoes(
        kind=kind,
        color=color,
        heel=0.0,
        sole=max(floor - ground, 0.02),
        meshes=[upper],
        covered=inside[body.triangles].all(1),
    )


def cut_shoes(
    person: Person, kind: str, color: Rgb, heel: float, thin: bool, pointed: float, cuff: float
) -> Shoes:
    """Cut shoes from the tights' feet, and put them on heels.

    Args:
        person: who wears them.
        kind: of `MODELS`.
        color: sRGB.
        heel: height above the ball of the foot in dm.
        thin: a thin heel rather than a block.
        pointed: how far the tip is drawn out, in dm.
        cuff: as for `sample_shoes`.
    """
    shell = tights()
    placed = shell.place(person.vertices)
    normals = vertex_normals(placed, shell.triangles)
    rest = placed + 0.02 * normals
    body = person.meshes[0]
    floor = float(body.rest[:, 1].min())
    sole = 0.12 if heel == 0 else 0.08
    tip, ball = float(rest[rest[:, 1] < floor + 1][:, 2].max()), float(person.heads[BONE["toe1-1.L"]][2])
    forward = np.clip((rest[:, 2] - ball) / (tip - ball), 0, 1) * (rest[:, 1] < floor + 1.0)
    middle = float(person.heads[BONE["toe3-1.L"]][0]) * shell.side
    if kind != "sandals":
        rest[:, 2] += pointed * forward**2
        rest[:, 0] += (middle - rest[:, 0]) * (0.25 + pointed) * forward**2
    under = np.clip((floor + 0.12 - rest[:, 1]) / 0.1, 0, 1) * (normals[:, 1] < -0.3)
    rest[:, 1] -= under * (rest[:, 1] - (floor - sole)) * 0.98
    top = _top_line(kind, placed, person, cuff)
    cut = np.where(shell.arm > 0.1, -1, top - placed[:, 1])
    if kind == "sandals":
        cut = np.maximum(cut, _straps(placed, person, floor))
    texture = np.ones((2, 2, 5), np.float32)
    texture[..., :3] = linear(color)
    kept = (cut[shell.triangles] > 0).any(1)
    used, triangles = np.unique(shell.triangles[kept], return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int32)
    upper = SkinnedMesh(
        name="shoes",
        triangles=triangles,
        uv=np.full((len(triangles), 3, 2), 0.5, np.float32),
        material=Material(kind="leather", texture=texture, roughness=0.38, specular=0.05),
        parts=np.full(len(triangles), PARTS["shoes"], np.uint8),
        cut=cut[used].astype(np.float32),
        rest=rest[used].astype(np.float32),
        bones=shell.bones[used],
        weights=shell.weights[used],
    )
    meshes = [upper]
    if heel > 0:
        meshes.append(_heels(person, rest[used], heel, sole, color, thin))
    inside = body.rest[:, 1] < _top_line(kind, body.rest, person, cuff) - 0.1
    if kind == "sandals":
        inside[:] = False
    return Shoes(
        kind=kind, color=color, heel=heel, sole=sole, meshes=meshes, covered=inside[body.triangles].all(1)
    )


def _straps(points: np.ndarray, person: Person, floor: float) -> np.ndarray:
    """(n,) above 0 on a strap over the toes and one around the ankle."""
    ankle, toes = person.heads[BONE["foot.L"]], person.heads[BONE["toe3-1.L"]]
    over = 0.13 - np.abs(points[:, 2] - (toes[2] - 0.05))
    around = 0.07 - np.abs(points[:, 1] - (ankle[1] + 0.05) - 0.25 * (points[:, 2] - ankle[2]))
    return np.maximum(np.where(points[:, 1] < floor + 0.9, over, -1), around)


def _top_line(kind: str, points: np.ndarray, person: Person, cuff: float) -> np.ndarray:
    """(n,) rest height where the shoe ends, at points of the foot."""
    ankle = float(person.heads[BONE["foot.L"]][1])
    floor = float(person.meshes[0].rest[:, 1].min())
    behind = points[:, 2] - person.heads[BONE["foot.L"]][2]
    if kind in ("pumps", "flats"):
        places = [-0.6, -0.35, 0.1, 0.7, 1.0, 1.2, 1.4]
        return floor + np.interp(behind, places, [0.62, 0.58, 0.38, 0.3, 0.36, 0.6, 2.0])
    if kind == "sandals":
        return np.full(len(points), floor + 0.07)
    above = {"boots": 1.2, "ankle_boots": 0.9, "tall_boots": 3.2, "oxfords": 0.15, "trainers": 0.1}
    return np.full(len(points), min(ankle + above[kind], max(cuff + CUFF_OVERLAP, ankle + LOWEST_SHAFT)))


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
