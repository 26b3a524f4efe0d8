"""Hair: styles, cuts and colours."""

import dataclasses

import numpy as np

from data.synthetic import assets
from data.synthetic.complexion import Complexion, paint_strands
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.morphs import Figure

COLORS = {
    "black": (0.016, 0.013, 0.012), "dark brown": (0.040, 0.024, 0.016), "brown": (0.095, 0.052, 0.030),
    "light brown": (0.19, 0.115, 0.065), "auburn": (0.17, 0.058, 0.024), "dark blond": (0.29, 0.195, 0.105),
    "blond": (0.46, 0.335, 0.19), "light blond": (0.60, 0.48, 0.32), "grey": (0.36, 0.35, 0.34),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hair:
    """A style in a colour.

    Attributes:
        style: its name.
        color: (3,) linear mean of the strands.
        color_name: of `COLORS`.
        cap: (3,) linear colour of the scalp below, and
        coverage: how much of it shows no skin, 0 to 1.
        proxy: name of the packed mesh, or None for a shaved head.
    """

    style: str
    color: np.ndarray
    color_name: str
    cap: np.ndarray
    coverage: float
    proxy: str | None

    def meshes(self, vertices: np.ndarray) -> list[SkinnedMesh]:
        """The hair on a head, given the (N, 3) rest vertices of the base mesh."""
        if self.proxy is None:
            return []
        proxy = assets.proxy(self.proxy)
        texture = paint_strands(self.proxy, self.color, 0.8, 1.1)
        return [
            SkinnedMesh(
                name="hair",
                triangles=proxy.triangles,
                uv=proxy.uv,
                material=Material(kind="strands", texture=texture, roughness=0.35, specular=0.05),
                parts=np.full(len(proxy.triangles), PARTS["hair"], np.uint8),
                rest=proxy.fit(vertices),
                bones=proxy.bones,
                weights=proxy.weights,
                blended=True,
            )
        ]


def sample_hair(rng: np.random.Generator, figure: Figure, complexion: Complexion) -> Hair:
    """Draw a style and a colour that suit a person."""
    names = (
        "long01",
        "bob01",
        "bob02",
        "ponytail01",
        "braid01",
        "short01",
        "short02",
        "short03",
        "short04",
        "afro01",
    )
    proxy = names[rng.integers(len(names))] if figure.gender == "woman" else names[5 + rng.integers(4)]
    color_name = list(COLORS)[rng.integers(len(COLORS))]
    color = np.array(COLORS[color_name])
    return Hair(style=proxy, color=color, color_name=color_name, cap=color * 0.5, coverage=1.0, proxy=proxy)
