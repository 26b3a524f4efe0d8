"""Hair: styles, and colours that go with ancestry and age."""

import dataclasses
import functools

import numpy as np

from data.synthetic import assets, haircut
from data.synthetic.complexion import SHADES, Complexion, blurred, paint_strands
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.morphs import Figure
from data.synthetic.rig import BONE, BONES

COLORS = {
    "black": (0.016, 0.013, 0.012), "dark brown": (0.040, 0.024, 0.016), "brown": (0.095, 0.052, 0.030),
    "light brown": (0.19, 0.115, 0.065), "auburn": (0.15, 0.052, 0.024), "dark blond": (0.28, 0.175, 0.10),
    "blond": (0.38, 0.255, 0.15), "light blond": (0.48, 0.355, 0.235), "grey": (0.27, 0.262, 0.255),
}  # fmt: skip
COLOR_ODDS = {
    "caucasian": (0.05, 0.22, 0.21, 0.12, 0.09, 0.15, 0.15, 0.08, 0.0),
    "asian": (0.36, 0.36, 0.2, 0.05, 0.03, 0.0, 0.0, 0.0, 0.0),
    "african": (0.7, 0.22, 0.06, 0.01, 0.01, 0.0, 0.0, 0.0, 0.0),
}
TAIL = ("ponytail01", "braid01", "long01")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """A way to wear hair, made from a packed mesh.

    Attributes:
        proxy: the mesh; None for a shaved head.
        woman: how often women wear it, against the other styles, and
        man: how often men do.
        african: factor of both where the ancestry is African.
        length: range of `haircut.shorten`.
        waves: range of the depth of waves, in dm.
        fluff: range of `haircut.fluff`.
        parting: of `haircut.sweep`, for hair that would fall over an eye.
        lifted: whether a fringe is lifted to the brows.
        bun: heights of a bun against the eyes, in dm; it takes the ponytail's place.
        contrast: of the strands' light and shade.
        opacity: factor of the texture's.
        coverage: range of how much of the scalp is painted.
    """

    proxy: str | None
    woman: float = 0.0
    man: float = 0.0
    african: float = 1.0
    length: tuple[float, float] = (1.0, 1.0)
    waves: tuple[float, float] = (0.0, 0.0)
    fluff: tuple[float, float] = (0.0, 0.03)
    parting: float | None = None
    lifted: bool = False
    bun: tuple[float, float] | None = None
    contrast: float = 0.8
    opacity: float = 1.2
    coverage: tuple[float, float] = (1.0, 1.0)


STYLES = {
    "long straight": Style(proxy="long01", woman=1.6, african=0.5, length=(0.75, 1.0)),
    "shoulder-length straight": Style(proxy="long01", woman=1.5, african=0.6, length=(0.34, 0.6)),
    "long wavy": Style(proxy="long01", woman=1.5, length=(0.7, 0.95), waves=(0.12, 0.22), fluff=(0.02, 0.08)),
    "shoulder-length wavy": Style(
        proxy="long01", woman=1.4, length=(0.36, 0.6), waves=(0.12, 0.24), fluff=(0.03, 0.1)
    ),
    "long curly": Style(
        proxy="long01", woman=0.7, african=3, length=(0.45, 0.8), waves=(0.25, 0.36), fluff=(0.06, 0.14)
    ),
    "bob": Style(proxy="bob01", woman=1.0, parting=0.8, african=0.5),
    "wavy bob": Style(proxy="bob01", woman=0.7, parting=0.8, waves=(0.08, 0.15), african=0.6),
    "short bob": Style(proxy="bob02", woman=0.8, parting=0.8, african=0.5, contrast=0.6),
    "ponytail": Style(proxy="ponytail01", woman=1.6, man=0.1, length=(0.7, 1.0)),
    "short ponytail": Style(proxy="ponytail01", woman=0.7, man=0.1, length=(0.35, 0.6)),
    "wavy ponytail": Style(
        proxy="ponytail01", woman=0.7, african=1.5, length=(0.6, 0.95), waves=(0.08, 0.14)
    ),
    "bun": Style(proxy="ponytail01", woman=1.3, man=0.12, african=1.5, bun=(0.25, 0.6)),
    "low bun": Style(proxy="ponytail01", woman=1.0, bun=(-0.25, 0.05)),
    "top knot": Style(proxy="ponytail01", woman=0.5, man=0.1, african=1.5, bun=(0.85, 1.05)),
    "braid": Style(proxy="braid01", woman=0.8, parting=0.3, contrast=0.35),
    "afro": Style(proxy="afro01", woman=0.01, man=0.005, african=110, fluff=(-0.12, 0.06)),
    "pixie": Style(proxy="short04", woman=0.4, man=1.2, african=0.5),
    "crop": Style(proxy="short01", woman=0.1, man=1.6, african=0.7, contrast=0.6),
    "tousled": Style(proxy="short02", woman=0.15, man=1.5, african=0.5, lifted=True, contrast=0.6),
    "fringe": Style(proxy="short03", woman=0.4, man=0.7, african=0.3, lifted=True),
    "very short": Style(proxy=None, woman=0.03, man=0.7, african=4, coverage=(0.86, 0.94)),
    "shaved": Style(proxy=None, woman=0.005, man=0.25, african=3, coverage=(0.35, 0.6)),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hair:
    """A style in a colour.

    Attributes:
        style: of `STYLES`.
        color: (3,) linear mean of the strands.
        color_name: of `COLORS`.
        cap: (3,) linear colour of the scalp below, and
        coverage: how much of it is painted, 0 to 1.
        length, waves, fluff, bun, phase: drawn from the style's ranges.
    """

    style: str
    color: np.ndarray
    color_name: str
    cap: np.ndarray
    coverage: float
    length: float
    waves: float
    fluff: float
    bun: float
    phase: float

    def meshes(self, vertices: np.ndarray) -> list[SkinnedMesh]:
        """The hair on a head.

        Args:
            vertices: (N, 3) rest vertices of the base mesh.

        Returns:
            "hair" and, for buns, "bun"; nothing for a shaved head.
        """
        style = STYLES[self.style]
        if style.proxy is None:
            return []
        proxy, head = assets.proxy(style.proxy), haircut.Head.of(vertices)
        points = proxy.fit(vertices)
        kept = np.ones(len(proxy.triangles), bool)
        meshes = []
        if style.bun:
            kept = haircut.without_tail(proxy, points, head)
            points[:, 2] = np.maximum(points[:, 2], head.eyes[2] - 1.68)  # where the tail began
            meshes.append(self._bun(head))
        points = haircut.fluff(points, head, self.fluff)
        if style.parting is not None:
            combed = haircut.sweep(points, head, style.parting)
            kept &= haircut.whole(points, combed, proxy.triangles)
            points = combed
        if style.lifted:
            points = haircut.lift(points, head)
        points = haircut.shorten(points, head, self.length)
        if self.waves:
            points = haircut.wave(points, head, self.waves, 0.9 + 3 * self.waves, self.phase)
        if style.proxy in TAIL:
            points = haircut.off_back(points, head, vertices, 0.2)
        bones, weights = _hanging(style.proxy)
        texture = paint_strands(style.proxy, self.color, style.contrast, style.opacity)
        hair = SkinnedMesh(
            name="hair",
            triangles=proxy.triangles[kept],
            uv=proxy.uv[kept],
            material=Material(kind="strands", texture=texture, roughness=0.35, specular=0.035),
            parts=np.full(int(kept.sum()), PARTS["hair"], np.uint8),
            rest=points.astype(np.float32),
            bones=bones,
            weights=weights,
            blended=True,
        )
        return [hair, *meshes]

    def _bun(self, head: haircut.Head) -> SkinnedMesh:
        """A bun where the tail would begin, higher or lower on the back of the head."""
        height = self.bun
        back = 1.72 - 0.55 * max(0.0, height - 0.2) ** 1.5 - 0.4 * max(0.0, 0.1 - height)
        size = 0.36 + 0.1 * np.sin(self.phase)
        center = head.eyes + np.array((0, height, -back))
        points, triangles, uv = haircut.bun(center, np.array((1.08, 0.95, 0.72)) * size, 0.6)
        rgb = self.color * _streaks() ** (0.8 * SHADES)
        texture = np.concatenate([np.clip(rgb, 0, 1), np.ones((128, 128, 1)), np.zeros((128, 128, 1))], 2)
        return SkinnedMesh(
            name="bun",
            triangles=triangles,
            uv=uv,
            material=Material(kind="strands", texture=texture.astype(np.float32), tiled=True, roughness=0.35),
            parts=np.full(len(triangles), PARTS["hair"], np.uint8),
            rest=points,
            bones=np.full((len(points), 1), BONE["head"], np.int32),
            weights=np.ones((len(points), 1), np.float32),
            blended=True,
        )


@functools.cache
def _streaks() -> np.ndarray:
    """(128, 128, 1) light and shade of strands along v, with mean 1; it tiles."""
    noise = np.random.default_rng(0).standard_normal((128, 128))
    for axis, times in ((0, 24), (1, 1)):
        for _ in range(times):
            noise = blurred(noise, 1) if axis else (np.roll(noise, 1, 0) + noise + np.roll(noise, -1, 0)) / 3
    return np.clip(1 + 0.28 * noise / noise.std(), 0.4, 1.8)[..., None]


@functools.cache
def _hanging(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Bones and weights of a hair mesh that the arms do not move."""
    proxy = assets.proxy(name)
    names = np.array([bone.startswith(("clavicle", "shoulder", "upperarm", "breast")) for bone in BONES])
    bones = np.where(names[proxy.bones], BONE["spine01"], proxy.bones).astype(np.int32)
    return bones, proxy.weights


def sample_hair(rng: np.random.Generator, figure: Figure, complexion: Complexion) -> Hair:
    """Draw a style and a colour that suit a person."""
    odds = np.array(
        [
            (style.woman if figure.gender == "woman" else style.man)
            * style.african ** figure.ancestry["african"]
            for style in STYLES.values()
        ]
    )
    name = list(STYLES)[rng.choice(len(STYLES), p=odds / odds.sum())]
    style = STYLES[name]
    shades = np.zeros(len(COLORS))
    for ancestry, share in figure.ancestry.items():
        shades += share**2 * np.array(COLOR_ODDS[ancestry])
    shades[4:-1] *= np.clip(1.4 - 2.4 * complexion.tone, 0.05, 1)
    shades[-1] = shades.sum() * np.clip((figure.age - 44) / 22, 0, 3)
    color_name = list(COLORS)[rng.choice(len(COLORS), p=shades / shades.sum())]
    color = (
        np.array(COLORS[color_name])
        * rng.uniform(0.8, 1.2)
        * (1, rng.uniform(0.95, 1.04), rng.uniform(0.92, 1.06))
    )
    return Hair(
        style=name,
        color=np.minimum(color, 0.75),
        color_name=color_name,
        cap=np.minimum(color * 0.6, 0.25) if style.proxy else np.minimum(0.6 * color + 0.004, 0.1),
        coverage=float(rng.uniform(*style.coverage)),
        length=float(rng.uniform(*style.length)),
        waves=float(rng.uniform(*style.waves)),
        fluff=float(rng.uniform(*style.fluff)),
        bun=float(rng.uniform(*(style.bun or (0, 0)))),
        phase=float(rng.uniform(0, 6.28)),
    )
