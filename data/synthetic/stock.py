"""MakeHuman's own outfits, in other colours: a shirt or top with trousers or a skirt, worn as they are."""

import dataclasses
import functools

import numpy as np

from data.synthetic import assets
from data.synthetic.fabrics import Rgb, linear
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.person import Person


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stock:
    """One outfit of the pack.

    Attributes:
        gender: who wears it.
        top: what describes its upper half.
        lower: what describes its lower half.
        jacket: what describes the jacket over the top, if there is one.
        trousers_of: the outfit whose trousers are worn with it, in place of its skirt.
        shading: how much of the texture's light and shade is kept, as an exponent.
        striped: parts whose texture has stripes.
        denim: parts whose texture has denim; they stay blue, grey or black.
    """

    gender: str
    top: dict[str, str]
    lower: dict[str, str]
    jacket: dict[str, str] | None = None
    trousers_of: str | None = None
    shading: float = 0.8
    striped: tuple[str, ...] = ()
    denim: tuple[str, ...] = ()


_JEANS = {"kind": "trousers", "fabric": "denim", "cut": "straight"}
_TEE = {"kind": "top", "fabric": "cotton", "neckline": "round", "back": "closed", "sleeve": "short"}
_SHIRT = {"kind": "shirt", "fabric": "cotton", "neckline": "v", "back": "closed", "sleeve": "long"}
STOCK = {
    "female_casualsuit01": Stock(gender="woman", top=_TEE, lower=_JEANS, denim=("lower",)),
    "female_casualsuit02": Stock(
        gender="woman",
        top=_TEE,
        lower={"kind": "shorts", "fabric": "denim", "cut": "straight"},
        denim=("lower",),
    ),
    "female_elegantsuit01": Stock(
        gender="woman",
        top=_SHIRT,
        lower=_JEANS,
        trousers_of="female_casualsuit01",
        striped=("top",),
        denim=("lower",),
    ),
    "female_sportsuit01": Stock(
        gender="woman", top=_TEE, lower={"kind": "trousers", "fabric": "jersey", "cut": "straight"}
    ),
    "male_casualsuit02": Stock(gender="man", top=_TEE | {"sleeve": "long"}, lower=_JEANS, denim=("lower",)),
    "male_casualsuit03": Stock(gender="man", top=_SHIRT, lower=_JEANS, striped=("top",), denim=("lower",)),
    "male_casualsuit04": Stock(gender="man", top=_TEE, lower=_JEANS, denim=("lower",)),
    "male_casualsuit05": Stock(
        gender="man",
        top=_SHIRT,
        lower=_JEANS,
        jacket={"kind": "jacket", "fabric": "cotton", "sleeve": "long"},
        striped=("top",),
        denim=("lower",),
    ),
    "male_casualsuit06": Stock(gender="man", top=_TEE, lower=_JEANS, denim=("lower",)),
    "male_elegantsuit01": Stock(
        gender="man",
        top=_SHIRT,
        lower={"kind": "trousers", "fabric": "wool", "cut": "straight"},
        jacket={"kind": "jacket", "fabric": "wool", "sleeve": "long"},
        shading=0.3,
    ),
}
"""Outfit of the pack -> what it is."""
ABOVE_WAIST = 2.2
"""Height on the base mesh, in dm, that only pieces of the upper half reach."""
OVERLAP = 0.3
"""How far skin reaches under halves of outfits that are not worn with their other half, in dm."""
NUM_JACKET = 2000
"""Triangles that a jacket has more of than the shirt below."""


@functools.cache
def worn_parts(name: str) -> np.ndarray:
    """(T,) uint8: the number in `PARTS` of each triangle of an outfit of `STOCK`."""
    proxy = assets.proxy(name)
    points = proxy.fit(assets.base().vertices)
    piece = _pieces(proxy.triangles, points)
    middle = points[proxy.triangles].mean(1)[:, 1]
    parts = np.zeros(len(middle), np.uint8)
    jacket = STOCK[name].jacket is not None
    for number in np.unique(piece):
        mine = piece == number
        parts[mine] = PARTS["top" if middle[mine].max() > ABOVE_WAIST else "lower"]
        if jacket and parts[mine][0] == PARTS["top"] and mine.sum() > NUM_JACKET:
            parts[mine] = PARTS["jacket"]
    if name == "male_elegantsuit01":  # its shirt, the white part of the texture, is sewn to the jacket
        _, worn = _worn_light(name, np.ones(len(parts), bool))
        white = worn.reshape(len(parts), -1).mean(1) > 0.2
        parts[white & (parts == PARTS["jacket"])] = PARTS["top"]
    return parts


def _pieces(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(T,) a number for each connected piece; vertices at one place are one."""
    _, same = np.unique(np.round(points, 3), axis=0, return_inverse=True)
    corners = same.reshape(-1)[triangles]
    label = np.arange(int(corners.max()) + 1)
    while True:
        least = label[corners].min(1)
        before = label.copy()
        for k in range(3):
            np.minimum.at(label, corners[:, k], least)
        label = label[label]
        if (label == before).all():
            return label[corners[:, 0]]


def _worn_light(name: str, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear texture (h, w, 3) of an outfit, and the light (n, 3) of its texels under some triangles."""
    picture = (assets.texture(name)[..., :3].astype(np.float64) / 255) ** 2.2
    size = np.array(picture.shape[1::-1])
    uv = assets.proxy(name).uv[mine]
    shares = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    place = np.einsum("sc,tcd->tsd", shares, uv).reshape(-1, 2)
    column, row = (
        np.clip(np.stack([place[:, 0], 1 - place[:, 1]]) * size[:, None], 0, size[:, None] - 1)
    ).astype(int)
    return picture, picture[row, column]


def stock_mesh(
    person: Person, name: str, part: str, color: Rgb | None, lightness: float
) -> tuple[SkinnedMesh, Rgb]:
    """One part of an outfit.

    Args:
        person: who wears it.
        name: of `STOCK`.
        part: "top", "lower" or "jacket".
        color: sRGB that it is dyed; None keeps the texture's.
        lightness: factor of the light where it keeps it.

    Returns:
        The surface, and its mean colour in sRGB.
    """
    stock = STOCK[name]
    if part == "lower" and stock.trousers_of:
        name = stock.trousers_of
    proxy = assets.proxy(name)
    mine = worn_parts(name) == PARTS[part]
    picture, worn = _worn_light(name, mine)
    weights = np.array([0.3, 0.6, 0.1])
    if color is None:
        dyed, seen = picture * lightness, worn * lightness
    else:
        usual = max(float(np.median(worn @ weights)), 0.004)

        def dye(light: np.ndarray) -> np.ndarray:
            shade = np.clip((light @ weights) / usual, 0.15, 6)
            trim = np.clip((shade - 1.6) / 2, 0, 1)[..., None]
            if part in stock.striped:
                trim = np.clip((shade - 1) / (worn @ weights).max() * usual, 0, 1)[..., None]
            plain = linear(color) * np.minimum(shade, 1.4)[..., None] ** stock.shading
            return plain * (1 - trim) + 0.85 * trim

        dyed, seen = dye(picture), dye(worn)
    texture = np.ones((*picture.shape[:2], 5), np.float32)
    texture[..., :3] = np.clip(dyed, 0, 1)
    texture[..., 4] = picture @ weights
    used, triangles = np.unique(proxy.triangles[mine], return_inverse=True)
    mean = np.clip(seen, 0, 1).mean(0)
    red, green, blue = (round(float(v)) for v in 255 * np.clip(mean, 0, 1) ** (1 / 2.2))
    mesh = SkinnedMesh(
        name=part,
        triangles=triangles.reshape(-1, 3).astype(np.int32),
        uv=proxy.uv[mine],
        material=Material(
            kind="cloth", texture=texture, roughness=0.75, specular=0.02, sheen=0.06, relief=0.4
        ),
        parts=np.full(int(mine.sum()), PARTS[part], np.uint8),
        rest=person.fit(proxy)[used],
        bones=proxy.bones[used],
        weights=proxy.weights[used],
    )
    return mesh, (red, green, blue)


def hidden_vertices(name: str, count: int) -> np.ndarray:
    """(count,) bool: vertices of the skin that an outfit hides."""
    hidden = np.zeros(count, bool)
    deleted = assets.proxy(name).delete_verts
    hidden[deleted[deleted < count]] = True
    below = STOCK[name].trousers_of
    if below:  # of each of the two outfits a half is worn
        heights = assets.base().vertices[:count, 1]
        hidden &= heights > _worn_heights(name, "top").min() + OVERLAP
        deleted = assets.proxy(below).delete_verts
        deleted = deleted[deleted < count]
        hidden[deleted[heights[deleted] < _worn_heights(below, "lower").max() - OVERLAP]] = True
    return hidden


def _worn_heights(name: str, part: str) -> np.ndarray:
    """Heights on the base mesh of one part of an outfit, in dm."""
    proxy = assets.proxy(name)
    return proxy.fit(assets.base().vertices)[proxy.triangles[worn_parts(name) == PARTS[part]]][..., 1]
