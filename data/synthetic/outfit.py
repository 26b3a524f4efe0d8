"""What is worn: a dress, or a top with trousers or a skirt, and shoes; in a fashion shop's proportions."""

import dataclasses

import numpy as np

from data.synthetic.fabrics import choose
from data.synthetic.mesh import SkinnedMesh
from data.synthetic.person import Person
from data.synthetic.skirt import Skirt
from data.synthetic.stock import STOCK
from data.synthetic.tights import Trunk, on_skin, vertex_normals
from data.synthetic.wardrobe import Wardrobe

KINDS = {
    "woman": {"dress": 5.5, "top_skirt": 1.5, "top_trousers": 3.0},
    "man": {"top_trousers": 1.0},
}
STOCK_SHARE = {"woman": 0.08, "man": 0.25}
"""How often an outfit of the pack is worn."""
EDGE, PRESS = 0.22, 0.09
"""How far the skin reaches under the edges of cloth, and how deep cloth presses into it, in dm."""

FOLDED = 0.4
"""How much of the height of a skirt's folds hands keep out of."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outfit:
    """Everything one person wears.

    Attributes:
        parts: name in `PARTS` -> description.
        heel: dm that the shoe's heel is above the ball of the foot.
        sole: dm under the ball of the foot.
        meshes: what follows the bones.
        skirts: what is simulated.
        hidden: (T,) bool, triangles of the body that need not be drawn.
        covered: (T,) bool, triangles of the body that must not be seen: those, and legs just inside a hem.
        body_rest: (V, 3) float32 rest vertices of the body: a little slimmer under cloth, so that skin never
            comes through it.
        sections: (n, 3) rest height, half width and half depth of the dressed trunk, heights rising, in dm.
    """

    parts: dict[str, dict]
    heel: float
    sole: float
    meshes: list[SkinnedMesh]
    skirts: list[Skirt]
    hidden: np.ndarray
    covered: np.ndarray
    body_rest: np.ndarray
    sections: np.ndarray

    def description(self) -> dict[str, dict]:
        """Part name -> kind, colours and pattern, for the clip's JSON."""
        return self.parts


def sample_outfit(rng: np.random.Generator, person: Person) -> Outfit:
    """Draw an outfit that suits a person."""
    wardrobe = Wardrobe(rng, person)
    if rng.random() < STOCK_SHARE[person.gender]:
        names = [name for name, stock in STOCK.items() if stock.gender == person.gender]
        wardrobe.stock(names[rng.integers(len(names))])
    else:
        getattr(wardrobe, choose(rng, KINDS[person.gender]))()
    return _worn(wardrobe)


def _worn(wardrobe: Wardrobe) -> Outfit:
    """The outfit of a person who is dressed."""
    body, shoes = wardrobe.person.meshes[0], wardrobe.shoes
    hidden_below, covered_below = (_inside_skirts(wardrobe, margin) for margin in (1.0, 0.4))
    under = np.maximum(wardrobe.under, hidden_below)

    def inside(depth: np.ndarray) -> np.ndarray:
        return (depth[body.triangles] > EDGE).all(1) | shoes.covered

    return Outfit(
        parts=wardrobe.parts | {"shoes": shoes.description()},
        heel=shoes.heel,
        sole=shoes.sole,
        meshes=[*wardrobe.meshes, *shoes.meshes],
        skirts=wardrobe.skirts,
        hidden=inside(under),
        covered=inside(np.maximum(under, covered_below)),
        body_rest=_pressed(body, np.maximum(under, _in_shoes(body, shoes.covered))),
        sections=_sections(wardrobe.trunk, wardrobe.skirts),
    )


def _pressed(body: SkinnedMesh, under: np.ndarray) -> np.ndarray:
    normals = vertex_normals(np.ascontiguousarray(body.rest), body.triangles)
    depth = PRESS * np.clip(under / 0.25 + 0.3, 0, 1)
    return (body.rest - depth[:, None] * normals).astype(np.float32)


def _in_shoes(body: SkinnedMesh, covered: np.ndarray) -> np.ndarray:
    """(V,) 1 for the skin's vertices inside the shoes, -9 elsewhere."""
    depth = np.full(len(body.rest), -9.0, np.float32)
    depth[body.triangles[covered]] = 1
    return depth


def _inside_skirts(wardrobe: Wardrobe, margin: float) -> np.ndarray:
    """(V,) how far inside skirts the skin's vertices are, counted from `margin` dm above the hem."""
    y = wardrobe.person.meshes[0].rest[:, 1]
    depth = np.full(len(y), -9.0, np.float32)
    for skirt in wardrobe.skirts:
        if not skirt.mesh.blended:
            inside = np.minimum(float(skirt.rest[0, 0, 1]) - y, y - skirt.hem - margin)
            depth = np.maximum(depth, np.where(on_skin().arm < 0.1, inside, -9))
    return depth


def _sections(trunk: Trunk, skirts: list[Skirt]) -> np.ndarray:
    """Half width and depth of the trunk and what hangs around it."""
    quarter = trunk.radius.shape[1] // 4
    depth = 0.5 * (trunk.radius[:, 0] + trunk.radius[:, 2 * quarter])
    rows = np.stack([trunk.heights, trunk.radius[:, quarter], depth], axis=1)
    rows[:, 1:] += 0.06
    for skirt in skirts:
        rest = skirt.rest[::-1]
        # Folds make it wider, and hands press them in.
        wide = 1 + FOLDED * skirt.folds[::-1].max(1)
        extent = np.stack(
            [rest[:, 0, 1], np.abs(rest[..., 0]).max(1) * wide, np.ptp(rest[..., 2], axis=1) / 2 * wide],
            axis=1,
        )
        below, above = extent[extent[:, 0] < rows[0, 0]], rows
        for column in (1, 2):
            cloth = np.interp(above[:, 0], extent[:, 0], extent[:, column])
            inside = above[:, 0] <= extent[-1, 0]
            above[inside, column] = np.maximum(above[inside, column], cloth[inside])
        rows = np.concatenate([below, above])
    return rows
