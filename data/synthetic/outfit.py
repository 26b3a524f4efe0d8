"""What is worn: a dress, or a top with trousers or a skirt, and shoes; in a fashion shop's proportions."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data.synthetic import fabrics
from data.synthetic.accessories import belt, collar, necklace, placket
from data.synthetic.fabrics import Cloth, choose, sample_cloth, sample_color
from data.synthetic.garments import (
    NECK_FRONT,
    SHOULDER_TIP,
    SLEEVES,
    Fit,
    Neckline,
    cut_mesh,
    cut_top,
    cut_trousers,
    fabric_coordinates,
    hung_trunk,
    person_height,
    top_shape,
    trousers_shape,
)
from data.synthetic.mesh import SkinnedMesh
from data.synthetic.person import Person
from data.synthetic.rig import BONE
from data.synthetic.shoes import Shoes, sample_shoes
from data.synthetic.skirt import Skirt
from data.synthetic.stock import STOCK, hidden_vertices, stock_mesh
from data.synthetic.tights import Places, Tights, measure_trunk, on_skin, tights, vertex_normals

KINDS = {
    "woman": {"dress": 5.5, "top_skirt": 1.5, "top_trousers": 3.0},
    "man": {"top_trousers": 1.0},
}
STOCK_SHARE = {"woman": 0.08, "man": 0.25}
"""How often an outfit of the pack is worn."""
EDGE, PRESS = 0.12, 0.09
"""How far the skin reaches under the edges of cloth, and how deep cloth presses into it, in dm."""
DRESS_CUTS = {
    "sheath": {"flare": 0.0, "fullness": 1.02, "taper": 0.06},
    "shift": {"flare": 0.05, "fullness": 1.02, "taper": 0.0},
    "a_line": {"flare": 0.22, "fullness": 1.06, "taper": 0.0},
    "flared": {"flare": 0.42, "fullness": 1.25, "taper": 0.0},
    "gathered": {"flare": 0.12, "fullness": 1.5, "taper": 0.0},
}
"""Cut of a skirt -> how it is cut, as `Skirt` takes it."""
LENGTHS = {"mini": -2.2, "above_knee": -3.0, "knee": -3.8, "midi": -5.3, "maxi": -7.2}
"""Length of a skirt -> height of its hem on the base mesh, in dm."""


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
        covered: (T,) bool, triangles of the body that must not be seen.
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


class _Wardrobe:
    """Collects what one person puts on."""

    def __init__(self, rng: np.random.Generator, person: Person):
        self.rng, self.person = rng, person
        shell = tights()
        points = shell.place(person.vertices)[shell.arm < 0.1]
        self.hips = float(person.heads[BONE["upperleg01.L"]][1])
        self.trunk = measure_trunk(points, self.hips - 1.2, float(person.heads[BONE["neck01"]][1]) - 0.4)
        self.woman = person.gender == "woman"
        self.parts: dict[str, dict] = {}
        self.meshes: list[SkinnedMesh] = []
        self.skirts: list[Skirt] = []
        self.under = np.full(len(person.meshes[0].rest), -9.0, np.float32)
        self.shoes: Shoes

    def shell(
        self, part: str, shape: np.ndarray, cut: Callable[[Tights | Places], np.ndarray], cloth: Cloth
    ) -> None:
        """Put on a garment with the shape of the tights, cut as `cut` says."""
        uv = fabric_coordinates(shape, self.person, self.trunk)
        mesh = cut_mesh(part, part, shape, cut(tights()), uv, cloth.material())
        self.meshes.append(mesh)
        if not mesh.blended:
            self.under = np.maximum(self.under, cut(on_skin()))

    def dress(self) -> None:
        rng = self.rng
        cut = choose(rng, {"sheath": 3, "shift": 2, "a_line": 3, "flared": 2, "gathered": 1.5})
        cloth = sample_cloth(rng, DRESS_FABRICS, plain=0.62)
        length = choose(rng, {"mini": 1, "above_knee": 3.5, "knee": 3, "midi": 1.5, "maxi": 1})
        waist = float(rng.uniform(2.2, 2.7))
        neckline, back, sleeve, strap = self._neck()
        fit = Fit(
            offset=0.02, hang=0.9 if cut == "shift" else 0.0, sleeve_ease=float(rng.uniform(0.02, 0.25))
        )

        def cut_bodice(on: Tights | Places) -> np.ndarray:
            return cut_top(on, neckline, back, SLEEVES[sleeve], strap, waist - 0.25)

        self.shell("dress", top_shape(self.person, self.trunk, fit), cut_bodice, cloth)
        self._skirt("dress", "dress_skirt", cloth, cut, waist, LENGTHS[length], fit)
        self.parts["dress"] = {
            "kind": "dress", **cloth.description(), "cut": cut, "length": length, "neckline": neckline.shape,
            "back": back.shape if back.depth > 1 else "closed", "sleeve": sleeve,
        }  # fmt: skip
        self._necklace(neckline)
        if cut != "shift" and rng.random() < 0.3:
            self._belt(waist, fit, cloth.color)
        self.shoes = sample_shoes(rng, self.person, dressy=True)

    def top_skirt(self) -> None:
        rng = self.rng
        cut = choose(rng, {"sheath": 3, "a_line": 3, "flared": 2, "gathered": 1.5})
        cloth = sample_cloth(rng, SKIRT_FABRICS, plain=0.6)
        length = choose(rng, {"mini": 1.5, "above_knee": 3, "knee": 3, "midi": 2, "maxi": 1})
        waist = float(rng.uniform(1.9, 2.5))
        self._top(hem=waist - 0.4, fit=Fit(), lower=cloth)
        if rng.random() < 0.3:
            self._belt(waist - 0.1, Fit(offset=0.02), cloth.color)
        self._skirt("lower", "skirt", cloth, cut, waist, LENGTHS[length], Fit(offset=0.02))
        self.parts["lower"] = {"kind": "skirt", **cloth.description(), "cut": cut, "length": length}
        self.shoes = sample_shoes(rng, self.person, dressy=True)

    def top_trousers(self) -> None:
        rng = self.rng
        cuts = {"skinny": 3, "slim": 2, "straight": 2, "bootcut": 1, "wide": 1.5} if self.woman else {
            "slim": 3, "straight": 3, "skinny": 0.7}  # fmt: skip
        cut = choose(rng, cuts)
        waist = float(rng.uniform(1.2, 2.2) if self.woman else rng.uniform(1.0, 1.5))
        cuff = float(rng.uniform(-7.2, -6.9) if cut in ("skinny", "slim") else rng.uniform(-7.45, -7.3))
        if rng.random() < 0.06:
            cuff = float(rng.uniform(-3.4, -2.6))
        tucked = rng.random() < 0.35
        cloth = self._trousers(cut, waist, cuff)
        jacket = rng.random() < 0.3
        if jacket:
            self._jacket()
        if tucked:
            self._top(hem=waist - 0.3, fit=Fit(), lower=cloth, under=jacket)
            if rng.random() < 0.5:
                self._belt(waist - 0.14, Fit(offset=0.03), cloth.color)
        else:
            hang = float(rng.uniform(0.3, 0.5 if jacket else 1.0))
            fit = Fit(offset=0.04, hang=hang, sleeve_ease=float(rng.uniform(0.03, 0.25)), widen=0.03 * hang)
            self._top(hem=float(rng.uniform(-0.3, 0.8)), fit=fit, lower=cloth, under=jacket)
        self.shoes = sample_shoes(rng, self.person, dressy=False)

    def _trousers(self, cut: str, waist: float, cuff: float) -> Cloth:
        cloth = sample_trouser_cloth(self.rng, self.woman)
        legs = trousers_shape(self.person, self.trunk, cut, -0.02)
        self.shell("lower", legs, lambda on: cut_trousers(on, waist, cuff), cloth)
        self.parts["lower"] = {"kind": "trousers", **cloth.description(), "cut": cut}
        return cloth

    def stock(self, name: str) -> None:
        """Put on an outfit of the pack, dyed."""
        rng, kind = self.rng, STOCK[name]
        described = {"top": kind.top, "lower": kind.lower, "jacket": kind.jacket}
        suit = sample_color(rng, SUIT_COLORS)
        for part, words in described.items():
            if words is None:
                continue
            dye = sample_color(rng, TROUSER_COLORS if part == "lower" else None)
            if kind.jacket and part != "top":
                dye = suit
            elif kind.jacket:
                dye = sample_color(rng, ("white", "white", "sky", "ivory"))
            light = float(rng.uniform(0.35, 1.5))
            mesh, color = stock_mesh(self.person, name, part, None if part in kind.denim else dye, light)
            self.meshes.append(mesh)
            striped = part in kind.striped
            pattern = "vertical_stripes" if striped else "plain"
            lines = [int(value) for value in 0.5 * np.array(color) + 128] if striped else None
            self.parts[part] = {"color": list(color), "pattern": pattern, "pattern_color": lines, **words}
        hidden = hidden_vertices(name, len(self.under))
        near, triangles = hidden.copy(), self.person.meshes[0].triangles
        for _ in range(3):  # skin under the sleeves' edges keeps off the cloth, too
            near[triangles[near[triangles].any(1)]] = True
        self.under = np.where(hidden, 1.0, np.where(near, 0.0, self.under)).astype(np.float32)
        self.shoes = sample_shoes(rng, self.person, dressy=kind.jacket is not None)

    def _top(self, hem: float, fit: Fit, lower: Cloth, under: bool = False) -> None:
        cloth = sample_cloth(
            self.rng,
            TOP_FABRICS if self.woman else {"cotton": 4, "jersey": 3, "knit": 1.5, "linen": 0.6},
            plain=0.97 if lower.pattern != "plain" else 0.5,
            patterns=None if self.woman else MEN_PATTERNS,
        )
        neckline, back, sleeve, strap = self._neck()
        shirt = (
            not under and cloth.fabric in ("cotton", "linen", "crepe", "chiffon") and self.rng.random() < 0.4
        )
        if shirt:
            neckline = Neckline(shape="v", depth=float(self.rng.uniform(0.0, 0.9)), width=0.62)
            back = Neckline(shape="round", depth=-0.45, width=0.62)
            sleeve = choose(self.rng, {"short": 1, "three_quarter": 1, "long": 3})
        if under:
            sleeve, fit = "cap", dataclasses.replace(fit, sleeve_ease=0.0)

        def cut(on: Tights | Places) -> np.ndarray:
            return cut_top(on, neckline, back, SLEEVES[sleeve], strap, hem)

        shape = top_shape(self.person, self.trunk, fit)
        self.shell("top", shape, cut, cloth)
        if shirt:
            if cloth.fabric != "chiffon":
                end = hem + (0.5 if fit.hang == 0 else 0.03)  # tucked in, or just above the hem
                self.meshes.append(placket(shape, NECK_FRONT - neckline.depth, end, cloth.color))
            self.meshes.append(collar(self.person, cloth.material(), "top"))
        elif not under:
            self._necklace(neckline)
        self.parts["top"] = {
            "kind": "shirt" if shirt else "top", **cloth.description(), "neckline": neckline.shape,
            "back": back.shape if back.depth > 1 else "closed", "sleeve": sleeve,
        }  # fmt: skip

    def _jacket(self) -> None:
        rng = self.rng
        cloth = sample_cloth(
            rng, JACKET_FABRICS, plain=0.8, patterns={"plaid": 2, "vertical_stripes": 1, "check": 1}
        )
        sleeve = choose(rng, {"three_quarter": 1, "long": 3})
        gap, hem = float(rng.uniform(0.3, 0.65)), float(rng.uniform(-0.2, 1.2))
        neckline = Neckline(shape="v", depth=float(rng.uniform(1.0, 2.2)), width=0.85)

        def cut(on: Tights | Places) -> np.ndarray:
            field = cut_top(
                on, neckline, Neckline(shape="round", depth=-0.3, width=0.8), SLEEVES[sleeve], 1.3, hem
            )
            in_front = (on.base[:, 2] > 0.2) & (on.arm < 0.3)
            return np.where(in_front, np.minimum(field, np.abs(on.base[:, 0]) - gap), field)

        fit = Fit(offset=0.13, hang=0.6, sleeve_ease=0.25, widen=0.03)
        self.shell("jacket", top_shape(self.person, self.trunk, fit), cut, cloth)
        self.parts["jacket"] = {"kind": "jacket", **cloth.description(), "sleeve": sleeve}

    def _belt(self, height: float, fit: Fit, near: fabrics.Rgb) -> None:
        color = fabrics.contrasting(self.rng, near, 0.15)
        if self.rng.random() < 0.6:
            color = fabrics.sample_color(self.rng, ("black", "brown", "camel", "navy"))
        width = float(self.rng.uniform(0.18, 0.4))
        rest = person_height(height, self.person)
        self.meshes.append(belt(self.person, self.trunk, rest, width, color, max(fit.offset, 0) + 0.07))
        self.parts["belt"] = {"kind": "belt", "color": list(color), "pattern": "plain", "pattern_color": None}

    def _necklace(self, neckline: Neckline) -> None:
        """Some women wear one where the neckline leaves room."""
        rng = self.rng
        depth = 1.0 if neckline.shape == "strapless" else neckline.depth
        if not self.woman or depth < 0.35 or neckline.shape in ("boat", "high") or rng.random() > 0.35:
            return
        color = ((212, 175, 90), (200, 200, 205), (205, 150, 125))[rng.choice(3, p=(0.5, 0.4, 0.1))]
        drop = float(rng.uniform(0.1, min(depth, 0.95) - 0.12))
        self.meshes.append(necklace(self.person, drop, color))
        self.parts["accessory"] = {
            "kind": "necklace", "color": list(color), "pattern": "plain", "pattern_color": None,
        }  # fmt: skip

    def _neck(self) -> tuple[Neckline, Neckline, str, float]:
        """Necklines in front and behind, sleeve, half width at the shoulder."""
        rng = self.rng
        if not self.woman:
            front = Neckline(
                shape=choose(rng, {"round": 3, "v": 1}), depth=float(rng.uniform(0.1, 0.5)), width=0.8
            )
            return (
                front,
                Neckline(shape="round", depth=-0.2, width=0.85),
                choose(rng, {"short": 3, "long": 3}),
                1.3,
            )
        shape = choose(rng, {"round": 4, "v": 3, "square": 1, "boat": 1.5, "high": 1, "strapless": 0.5})
        sleeve = choose(
            rng, {"none": 5, "cap": 1.5, "short": 2, "elbow": 0.7, "three_quarter": 1, "long": 1.5}
        )
        depth, width = float(rng.uniform(0.2, 1.1)), float(rng.uniform(0.65, 1.0))
        if shape == "v":
            depth = float(rng.uniform(0.8, 1.7))
        if shape == "boat":
            depth, width = 0.05, 1.12
        if shape == "strapless":
            return (
                Neckline(shape=shape, depth=0, width=0),
                Neckline(shape=shape, depth=0, width=0),
                "none",
                1.2,
            )
        strap = float(rng.uniform(max(width + 0.14, 0.95), SHOULDER_TIP)) if width < 1.1 else SHOULDER_TIP
        behind = Neckline(shape="round", depth=-0.25, width=min(width, 0.85))
        if shape in ("boat", "high"):
            behind = dataclasses.replace(behind, width=width)
        if rng.random() < 0.22:
            behind = Neckline(
                shape=choose(rng, {"round": 2, "v": 2}), depth=float(rng.uniform(1, 2.3)), width=width
            )
        if shape == "high":
            behind = Neckline(shape="high", depth=0, width=0)
        return Neckline(shape=shape, depth=depth, width=width), behind, sleeve, strap

    def _skirt(
        self, part: str, name: str, cloth: Cloth, cut: str, waist: float, hem: float, fit: Fit
    ) -> None:
        rng = self.rng
        shape = DRESS_CUTS[cut]
        soft = {"satin": 0.1, "chiffon": 0.05, "jersey": 0.15, "wool": 0.7, "tweed": 0.8, "denim": 0.8}
        lower = person_height(hem + float(rng.uniform(-0.2, 0.2)), self.person)
        skirt = Skirt(
            self.person,
            hung_trunk(self.trunk, self.person, fit.hang),
            name=name,
            part=part,
            material=cloth.material(),
            waist=person_height(waist, self.person),
            hem=lower,
            flare=shape["flare"] * float(rng.uniform(0.8, 1.2)),
            fullness=shape["fullness"],
            taper=shape["taper"],
            stiffness=soft.get(cloth.fabric, 0.35),
            offset=max(fit.offset, 0) + 0.03,
            rng=rng,
        )
        self.skirts.append(skirt)

    def finish(self) -> Outfit:
        body = self.person.meshes[0]
        under = np.maximum(self.under, self._skirts_cover())
        self.parts["shoes"] = self.shoes.description()
        inside = (under[body.triangles] > EDGE).all(1)
        return Outfit(
            parts=self.parts,
            heel=self.shoes.heel,
            sole=self.shoes.sole,
            meshes=[*self.meshes, *self.shoes.meshes],
            skirts=self.skirts,
            hidden=inside | self.shoes.covered,
            covered=inside | self.shoes.covered,
            body_rest=self._pressed(under),
            sections=self._sections(),
        )

    def _pressed(self, under: np.ndarray) -> np.ndarray:
        body = self.person.meshes[0]
        normals = vertex_normals(np.ascontiguousarray(body.rest), body.triangles)
        depth = PRESS * np.clip(under / 0.25 + 0.7, 0, 1)
        return (body.rest - depth[:, None] * normals).astype(np.float32)

    def _skirts_cover(self) -> np.ndarray:
        """(V,) how far inside skirts the skin's vertices are."""
        y = self.person.meshes[0].rest[:, 1]
        depth = np.full(len(y), -9.0, np.float32)
        for skirt in self.skirts:
            if not skirt.mesh.blended:
                inside = np.minimum(float(skirt.rest[0, 0, 1]) - y, y - skirt.hem - 1.0)
                depth = np.maximum(depth, np.where(on_skin().arm < 0.1, inside, -9))
        return depth

    def _sections(self) -> np.ndarray:
        """Half width and depth of the trunk and what hangs around it."""
        trunk, quarter = self.trunk, self.trunk.radius.shape[1] // 4
        depth = 0.5 * (trunk.radius[:, 0] + trunk.radius[:, 2 * quarter])
        rows = np.stack([trunk.heights, trunk.radius[:, quarter], depth], axis=1)
        rows[:, 1:] += 0.06
        for skirt in self.skirts:
            rest = skirt.rest[::-1]
            extent = np.stack(
                [rest[:, 0, 1], np.abs(rest[..., 0]).max(1), np.ptp(rest[..., 2], axis=1) / 2], axis=1
            )
            below, above = extent[extent[:, 0] < rows[0, 0]], rows
            for column in (1, 2):
                wide = np.interp(above[:, 0], extent[:, 0], extent[:, column])
                inside = above[:, 0] <= extent[-1, 0]
                above[inside, column] = np.maximum(above[inside, column], wide[inside])
            rows = np.concatenate([below, above])
        return rows


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


def sample_outfit(rng: np.random.Generator, person: Person) -> Outfit:
    """Draw an outfit that suits a person."""
    wardrobe = _Wardrobe(rng, person)
    if rng.random() < STOCK_SHARE[person.gender]:
        names = [name for name, stock in STOCK.items() if stock.gender == person.gender]
        wardrobe.stock(names[rng.integers(len(names))])
    else:
        getattr(wardrobe, choose(rng, KINDS[person.gender]))()
    return wardrobe.finish()
