"""What one person puts on, piece by piece: the draws behind an outfit."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data.synthetic.accessories import belt, collar, necklace, placket
from data.synthetic.fabrics import (
    DRESS_FABRICS,
    JACKET_FABRICS,
    MEN_FABRICS,
    MEN_PATTERNS,
    SKIRT_FABRICS,
    SUIT_COLORS,
    TOP_FABRICS,
    TROUSER_COLORS,
    Cloth,
    Rgb,
    choose,
    contrasting,
    sample_cloth,
    sample_color,
    sample_trouser_cloth,
)
from data.synthetic.garments import (
    NECK_FRONT,
    NO_STRAPS,
    SHOULDER_TIP,
    SLEEVES,
    STRAPLESS,
    Fit,
    Neckline,
    clear_of,
    cut_lapels,
    cut_lining,
    cut_mesh,
    cut_top,
    cut_trousers,
    hung_trunk,
    laid_down,
    person_height,
    raised,
    top_shape,
    trousers_shape,
)
from data.synthetic.mesh import SkinnedMesh
from data.synthetic.panels import fabric_coordinates
from data.synthetic.person import Person
from data.synthetic.rig import BONE
from data.synthetic.seams import lapel_seams, top_seams, trouser_seams
from data.synthetic.shoes import Shoes, sample_shoes
from data.synthetic.skirt import Skirt
from data.synthetic.stock import STOCK, hidden_vertices, stock_mesh
from data.synthetic.tights import Places, Tights, measure_trunk, on_skin, tights

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

SKIRT_TUCK = 0.24
"""How far a top reaches into a skirt, in dm: hardly farther than the skirt is held, or it comes through."""
BEHIND, SHOULDER_BLADES = -0.3, 3.5
"""Where the back begins, and to which height a top is left out there under a jacket, on the base mesh."""
LAPEL_THICKNESS = 0.06
"""How far lapels lie above the jacket, in dm."""
LINING_OVERLAP = 0.05
"""How far the sheer part of a lace garment reaches over the lining, in dm."""


class Wardrobe:
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
        self.trousers: tuple[np.ndarray, np.ndarray] | None = None
        self.jacket: tuple[np.ndarray, np.ndarray] | None = None
        self.jacket_hem = np.inf
        self.shoes: Shoes

    def shell(
        self,
        part: str,
        shape: np.ndarray,
        cut: Callable[[Tights | Places], np.ndarray],
        cloth: Cloth,
        seam: np.ndarray,
    ) -> None:
        """Put on a garment with the shape of the tights, cut as `cut` says; lace is lined up to the bust."""
        uv = fabric_coordinates(shape, self.person, self.trunk)
        whole, lined = cut(tights()), cut
        if cloth.fabric == "lace":

            def lined(on: Tights | Places) -> np.ndarray:
                return np.minimum(cut(on), cut_lining(on))

            sheer = np.minimum(whole, LINING_OVERLAP - cut_lining(tights()))
            material = cloth.material(lined=False)
            self.meshes.append(cut_mesh(f"{part}_sheer", part, shape, sheer, uv, material))
        self.meshes.append(cut_mesh(part, part, shape, lined(tights()), uv, cloth.material(), seam))
        self.under = np.maximum(self.under, lined(on_skin()))

    def _laid(
        self, shape: np.ndarray, neckline: Neckline, back: Neckline, sleeve: str, strap: float
    ) -> np.ndarray:
        """A top whose neckline and armholes lie on the skin."""
        along = SLEEVES[sleeve] if sleeve == "none" else 9
        return laid_down(shape, self.person, cut_top(tights(), neckline, back, along, strap, -9))

    def dress(self) -> None:
        """Put on a dress."""
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
            return cut_top(on, neckline, back, SLEEVES[sleeve], strap, waist - 0.45)

        shape = self._laid(top_shape(self.person, self.trunk, fit), neckline, back, sleeve, strap)
        darts = cut in ("sheath", "a_line") and cloth.fabric not in ("jersey", "sequins", "lace")
        seam = top_seams(shape, self.trunk, sleeved=sleeve != "none", shirt=False, darts=darts)
        self.shell("dress", shape, cut_bodice, cloth, seam)
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
        """Put on a skirt, and a top tucked into it."""
        rng = self.rng
        cut = choose(rng, {"sheath": 3, "a_line": 3, "flared": 2, "gathered": 1.5})
        cloth = sample_cloth(rng, SKIRT_FABRICS, plain=0.6)
        length = choose(rng, {"mini": 1.5, "above_knee": 3, "knee": 3, "midi": 2, "maxi": 1})
        waist = float(rng.uniform(1.9, 2.5))
        self._top(hem=waist - SKIRT_TUCK, fit=Fit(), lower=cloth, waist=waist)
        if rng.random() < 0.3:
            self._belt(waist - 0.1, Fit(offset=0.02), cloth.color)
        self._skirt("lower", "skirt", cloth, cut, waist, LENGTHS[length], Fit(offset=0.02))
        self.parts["lower"] = {"kind": "skirt", **cloth.description(), "cut": cut, "length": length}
        self.shoes = sample_shoes(rng, self.person, dressy=True)

    def top_trousers(self) -> None:
        """Put on trousers and a top, and sometimes a jacket over it."""
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
            self._top(hem=waist - 0.3, fit=Fit(), lower=cloth, under=jacket, waist=waist)
            if rng.random() < 0.5:
                self._belt(waist - 0.14, Fit(offset=0.03), cloth.color)
        else:
            hang = float(rng.uniform(0.3, 0.5 if jacket else 1.0))
            fit = Fit(offset=0.04, hang=hang, sleeve_ease=float(rng.uniform(0.03, 0.25)), widen=0.03 * hang)
            self._top(hem=float(rng.uniform(-0.3, 0.8)), fit=fit, lower=cloth, under=jacket)
        self.shoes = sample_shoes(rng, self.person, dressy=False, cuff=person_height(cuff, self.person))

    def _trousers(self, cut: str, waist: float, cuff: float) -> Cloth:
        cloth = sample_trouser_cloth(self.rng, self.woman)
        legs = trousers_shape(self.person, self.trunk, cut, -0.02)
        seam = trouser_seams(legs, self.person, self.trunk, waist, jeans=cloth.fabric == "denim")
        self.shell("lower", legs, lambda on: cut_trousers(on, waist, cuff), cloth, seam)
        self.trousers = (legs, cut_trousers(tights(), waist, cuff) > -0.1)
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

    def _top(
        self, hem: float, fit: Fit, lower: Cloth, under: bool = False, waist: float | None = None
    ) -> None:
        """Put on a top: under a jacket, or tucked in at a waist."""
        cloth = sample_cloth(
            self.rng,
            TOP_FABRICS if self.woman else MEN_FABRICS,
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
            sleeve, strap = "none", 0.95

        def cut(on: Tights | Places) -> np.ndarray:
            field = cut_top(on, neckline, back, SLEEVES[sleeve], strap, hem)
            if under and hem > self.jacket_hem:  # nothing of it is seen behind, and so nothing comes through
                field = np.where(
                    on.base[:, 2] < BEHIND, np.minimum(field, on.base[:, 1] - SHOULDER_BLADES), field
                )
            return field

        shape = self._laid(top_shape(self.person, self.trunk, fit), neckline, back, sleeve, strap)
        if self.trousers is not None and fit.hang > 0:
            shape = clear_of(shape, *self.trousers, gap=0.05)
        if self.jacket is not None:
            shape = clear_of(shape, *self.jacket, gap=-0.05)
        seam = top_seams(shape, self.trunk, sleeved=sleeve != "none", shirt=shirt, darts=False)
        self.shell("top", shape, cut, cloth, seam)
        if shirt:
            if cloth.fabric != "chiffon":
                end = hem + 0.03 if waist is None else waist + 0.2
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
        self.jacket_hem = hem
        neckline = Neckline(shape="v", depth=float(rng.uniform(1.0, 2.2)), width=0.85)
        behind = Neckline(shape="round", depth=-0.3, width=0.8)
        lapels = cloth.fabric not in ("knit", "leather", "denim")
        if lapels:  # they close nearer to the middle, and lower
            gap = 0.6 * gap - 0.1
            neckline = Neckline(shape="v", depth=neckline.depth + 0.6, width=0.66)
            behind = Neckline(shape="round", depth=-0.4, width=0.66)

        def cut(on: Tights | Places) -> np.ndarray:
            field = cut_top(on, neckline, behind, SLEEVES[sleeve], 1.3, hem)
            in_front = (on.base[:, 2] > 0.2) & (on.arm < 0.3)
            return np.where(in_front, np.minimum(field, np.abs(on.base[:, 0]) - gap), field)

        fit = Fit(offset=0.12, hang=0.6, sleeve_ease=0.12, widen=0.03)
        shape = top_shape(self.person, self.trunk, fit)
        if self.trousers is not None:
            shape = clear_of(shape, *self.trousers, gap=0.12)
        self.jacket = (shape, cut(tights()) > -0.1)
        seam = top_seams(shape, self.trunk, sleeved=True, shirt=False, darts=lapels)
        self.shell("jacket", shape, cut, cloth, seam)
        if lapels:
            self._lapels(shape, np.minimum(cut(tights()), cut_lapels(tights(), neckline, behind, gap)), cloth)
        self.parts["jacket"] = {
            "kind": "jacket", **cloth.description(), "sleeve": sleeve,
            "collar": "lapels" if lapels else "none",
        }  # fmt: skip

    def _lapels(self, shape: np.ndarray, cut: np.ndarray, cloth: Cloth) -> None:
        """Fold the front edges of a jacket back onto it."""
        folded = raised(shape, LAPEL_THICKNESS)
        uv = fabric_coordinates(folded, self.person, self.trunk)[..., ::-1]
        seam = lapel_seams(folded)
        self.meshes.append(cut_mesh("lapels", "jacket", folded, cut, uv, cloth.material(), seam))

    def _belt(self, height: float, fit: Fit, near: Rgb) -> None:
        color = contrasting(self.rng, near, 0.15)
        if self.rng.random() < 0.6:
            color = sample_color(self.rng, ("black", "brown", "camel", "navy"))
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
            return STRAPLESS, STRAPLESS, "none", NO_STRAPS
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
