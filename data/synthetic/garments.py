"""Garments cut from the tights: bodices, tops, sleeves, trousers."""

import dataclasses
import itertools

import numpy as np

from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.panels import arm_axis, leg_axis
from data.synthetic.person import Person
from data.synthetic.tights import (
    Places,
    Tights,
    Trunk,
    base_heads,
    head_of,
    nearest_skin,
    tights,
    vertex_normals,
)

SLEEVES = {"none": -0.05, "cap": 0.22, "short": 0.5, "elbow": 0.95, "three_quarter": 1.45, "long": 1.93}
"""Sleeve -> where it ends along the arm."""
SHOULDER_TIP = 1.32
"""Half width of a sleeveless garment at the shoulder on the base mesh, in dm."""
NO_STRAPS = 1.7
"""The same of one without straps, below the arms."""
NOTCH, LAPEL, COLLAR = 4.7, 0.75, 0.42
"""Height on the base mesh of the notch between lapel and collar, and their widths there, in dm."""
CLEARANCE, LAID = 0.05, 0.03
"""How far cloth stays from the skin at least, in dm, and at edges that lie on it."""
NECK_FRONT, NECK_SIDE = 5.15, 5.75
"""Heights on the base mesh where the neck begins, in front and at its sides."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neckline:
    """The opening for the neck on one side.

    Attributes:
        shape: "round", "v", "square", "boat", "high" or "strapless".
        depth: below the pit of the neck, in dm.
        width: half of it, in dm.
    """

    shape: str
    depth: float
    width: float


STRAPLESS = Neckline(shape="strapless", depth=0, width=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """How a garment sits.

    Attributes:
        offset: from the tights, in dm, where it lies close.
        hang: 0 for cloth that follows the body, 1 for cloth that hangs straight from the bust.
        sleeve_ease: how much wider than the arm sleeves are, as a share.
        widen: how much wider, dm a dm, the cloth gets below the bust.
    """

    offset: float = -0.03
    hang: float = 0.0
    sleeve_ease: float = 0.06
    widen: float = 0.0


def cut_top(
    on: Tights | Places, front: Neckline, back: Neckline, sleeve: float, strap: float, hem: float
) -> np.ndarray:
    """Where a top is: above 0 on the tights' vertices, or the skin's.

    Args:
        on: the vertices.
        front: neckline in front.
        back: and behind.
        sleeve: where sleeves end along the arm, of `SLEEVES`.
        strap: half width at the shoulder where there are no sleeves, in dm.
        hem: height on the base mesh.

    Returns:
        (V,) float32, about the distance in dm from the nearest edge.
    """
    x, y, z = np.abs(on.base[:, 0]), on.base[:, 1], on.base[:, 2]
    field = np.minimum(y - hem, 9)
    if sleeve < 0.1:
        edge = np.where((y < 2.6) & (on.arm < 0.5), 9, armhole(on, strap))
    else:
        edge = np.where(on.arm > 0.3, (sleeve - on.along) * 2.3, 9)
    field = np.minimum(field, edge)
    forward = np.clip((z + 0.3) / 0.35, 0, 1)
    neck = _opening(front, x, y) * forward + _opening(back, x, y) * (1 - forward)
    return np.minimum(np.minimum(field, neck), 6.12 - y).astype(np.float32)


def armhole(on: Tights | Places, strap: float) -> np.ndarray:
    """(V,) about the distance in dm inside an armhole that leaves `strap` dm, half width, at the shoulder."""
    x, y = np.abs(on.base[:, 0]), on.base[:, 1]
    line = strap + 1.6 * np.clip(4.05 - y, 0, None) - 0.12 * np.clip(1 - np.abs(y - 4.5) / 0.5, 0, 1)
    return line - x - 4 * on.arm * np.clip(on.along - 0.15, 0, 1)


def _outline(neckline: Neckline) -> np.ndarray:
    """(n, 2) half width and height along a neckline, from its middle up to the side of the neck."""
    bottom, top, width = NECK_FRONT - neckline.depth, NECK_SIDE, neckline.width
    turn = np.linspace(0, np.pi / 2, 24)
    if neckline.shape == "high":
        return np.array([[0.0, 6.0], [3.0, 6.0]])
    if neckline.shape == "strapless":
        across = np.linspace(0, 2.2, 24)
        return np.stack(
            [across, 4.0 + 0.15 * np.cos(3 * np.clip(across - 0.65, -0.65, 0.65)) - 0.1 * across], 1
        )
    if neckline.shape == "v":
        return np.array([[0.0, bottom], [width, top]])
    if neckline.shape == "square":
        return np.array([[0.0, bottom], [0.9 * width, bottom], [width, top]])
    return np.stack([width * np.sin(turn), top - (top - bottom) * np.cos(turn)], axis=1)


def _opening(neckline: Neckline, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance outward from a neckline, at half widths and heights of the base mesh."""
    line = _outline(neckline)
    points = np.stack([x, y], axis=1)
    nearest = np.full(len(x), np.inf)
    for a, b in itertools.pairwise(line):
        along = np.clip(((points - a) @ (b - a)) / max(((b - a) ** 2).sum(), 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1))
    across, height = line[:, 0], line[:, 1]
    inside = np.where(
        x < across[-1], y > np.interp(x, across + 1e-6 * np.arange(len(across)), height), y > height[-1] + 9
    )
    return np.where(inside, -nearest, nearest)


def cut_lining(on: Tights | Places) -> np.ndarray:
    """Where lace is lined: (V,) float32, above 0 below a straight edge over the bust, without the arms."""
    return cut_top(on, STRAPLESS, STRAPLESS, SLEEVES["none"], NO_STRAPS, -9)


def cut_lapels(on: Tights | Places, front: Neckline, back: Neckline, gap: float) -> np.ndarray:
    """Where a jacket's collar and lapels are.

    Args:
        on: the vertices.
        front: the jacket's neckline, a V, and
        back: behind.
        gap: half width of its opening below the neckline, in dm.

    Returns:
        (V,) float32, above 0 on them: a band along the neckline that narrows down to where the V ends.
    """
    x, y = np.abs(on.base[:, 0]), on.base[:, 1]
    forward = np.clip((on.base[:, 2] + 0.3) / 0.35, 0, 1)
    inward = _opening(front, x, y) * forward + _opening(back, x, y) * (1 - forward)
    inward = np.where((forward > 0) & (y < NOTCH), np.minimum(inward, x - gap), inward)
    low = NECK_FRONT - front.depth
    width = LAPEL * np.clip((y - low) / (NOTCH - low), 0, 1)
    width += (COLLAR - width) * np.clip((y - NOTCH) / 0.12, 0, 1)
    return np.where(on.arm > 0.3, -1, width - inward).astype(np.float32)


def cut_trousers(on: Tights | Places, waist: float, cuff: float) -> np.ndarray:
    """Where trousers are: (V,) float32, above 0 between two heights on the base mesh."""
    y = on.base[:, 1]
    return np.where(on.arm > 0.3, -1, np.minimum(waist - y, y - cuff)).astype(np.float32)


def top_shape(person: Person, trunk: Trunk, fit: Fit) -> np.ndarray:
    """(V, 3) float32 rest vertices of a top on the whole of the tights."""
    shell = tights()
    placed = shell.place(person.vertices)
    normals = vertex_normals(placed, shell.triangles)
    # Shoulders and upper arms lie close, or they look padded.
    close = (
        np.clip(1.1 - shell.along, 0, 1)
        * np.clip((shell.along + 0.6) / 0.5, 0, 1)
        * np.clip((shell.base[:, 1] - 3.4) / 0.6, 0, 1)
    )
    offset = fit.offset + (np.minimum(fit.offset, -0.04) - fit.offset) * close
    shape = placed + offset[:, None] * normals
    shape = _widen_sleeves(shape, person, fit.sleeve_ease)
    shape = _hang(shape, person, trunk, fit)
    smooth = _smoothed(shape, normals, 3 if fit.hang < 0.3 else 6)
    out = ((smooth - placed) * normals).sum(1)
    smooth += np.maximum(offset - 0.01 - out, 0)[:, None] * normals
    return clear_of_skin(smooth, person, max(CLEARANCE, fit.offset))


def raised(shape: np.ndarray, distance: float) -> np.ndarray:
    """(V, 3) float32 vertices on the tights, moved out along their normals, in dm."""
    return (shape + distance * vertex_normals(shape, tights().triangles)).astype(np.float32)


def _smoothed(shape: np.ndarray, normals: np.ndarray, rounds: int) -> np.ndarray:
    """Even out a shape along its normals alone: sideways, edges would lose their line."""
    moved = ((tights().smooth(shape, rounds) - shape) * normals).sum(1)
    return shape + moved[:, None] * normals


def clear_of_skin(shape: np.ndarray, person: Person, clearance: float) -> np.ndarray:
    """(V, 3) float32 vertices on the tights, moved out to a distance from the skin in dm."""
    body = person.meshes[0]
    near = nearest_skin()
    normals = vertex_normals(np.ascontiguousarray(body.rest), body.triangles)[near]
    out = ((shape - body.rest[near]) * normals).sum(1)
    return (shape + np.maximum(clearance - out, 0)[:, None] * normals).astype(np.float32)


def clear_of(shape: np.ndarray, other: np.ndarray, where: np.ndarray, gap: float) -> np.ndarray:
    """Keep one garment off another.

    Args:
        shape: (V, 3) vertices on the tights, which are moved.
        other: (V, 3) of the other garment.
        where: (V,) bool, where that one is.
        gap: dm that `shape` lies at least outside `other`, or below 0 inside it.

    Returns:
        (V, 3) float32.
    """
    normals = vertex_normals(other, tights().triangles)
    out = ((shape - other) * normals).sum(1)
    push = np.maximum(gap - out, 0) if gap > 0 else np.minimum(gap - out, 0)
    return (shape + np.where(where, push, 0)[:, None] * normals).astype(np.float32)


def laid_down(shape: np.ndarray, person: Person, field: np.ndarray) -> np.ndarray:
    """(V, 3) float32 vertices on the tights, laid on the skin near edges, (V,) `field` dm away."""
    body, near = person.meshes[0], nearest_skin()
    normals = vertex_normals(np.ascontiguousarray(body.rest), body.triangles)[near]
    out = ((shape - body.rest[near]) * normals).sum(1)
    share = np.clip(1.7 - np.abs(field) / 0.3, 0, 1)
    return (shape - (share * np.maximum(out - LAID, 0))[:, None] * normals).astype(np.float32)


def _bust(person: Person) -> float:
    return float(head_of("spine02", person.heads)[1]) + 1.1


def hung_trunk(trunk: Trunk, person: Person, hang: float) -> Trunk:
    """The outline of cloth that follows the trunk (`hang` 0) or falls straight from bust to hips (1)."""
    hips = float(head_of("upperleg01.L", person.heads)[1])
    loose = trunk.draped(_bust(person), hips - 0.8)
    return dataclasses.replace(trunk, radius=trunk.radius * (1 - hang) + loose.radius * hang)


def _hang(shape: np.ndarray, person: Person, trunk: Trunk, fit: Fit, around_legs: bool = False) -> np.ndarray:
    """Draw the trunk's cloth straight across hollows, and let it hang from what juts out."""
    shell = tights()
    bust = _bust(person)
    hips = float(head_of("upperleg01.L", person.heads)[1])
    angles, distance = trunk.polar(shape)
    y = shape[:, 1]
    target = hung_trunk(trunk, person, fit.hang).at(y, angles) + fit.offset
    target += fit.widen * np.clip(bust - y, 0, None)
    on_trunk = np.clip((0.25 - shell.arm) / 0.2, 0, 1) * np.clip((bust + 0.35 - y) / 0.5, 0, 1)
    if around_legs:
        on_trunk *= np.clip((y - hips + 0.85) / 0.6, 0, 1)
    factor = 1 + on_trunk * np.clip(target / np.maximum(distance, 0.1) - 1, 0, 1.5 if around_legs else 9)
    depth = np.interp(y, trunk.heights, trunk.depth)
    hung = shape.copy()
    hung[:, 0] *= factor
    hung[:, 2] = depth + (shape[:, 2] - depth) * factor
    return hung


def _widen_sleeves(shape: np.ndarray, person: Person, ease: float) -> np.ndarray:
    shell = tights()
    wide = shape.copy()
    for side, sign in (("L", 1), ("R", -1)):
        arm = (shell.side == sign) & (shell.arm > 0.3)
        points, along = shape[arm], shell.along[arm]
        axis = arm_axis(person, side, along)
        grow = 1 + ease * np.clip(along * 1.8, 0, 1)
        wide[arm] = axis + (points - axis) * grow[:, None]
    return wide


LEG_CUTS = {
    "skinny": (0.0, 0.0), "slim": (0.05, 0.05), "straight": (0.12, 0.2), "bootcut": (0.02, 0.32),
    "wide": (0.3, 0.55),
}  # fmt: skip
"""Cut -> how far the cloth stands off at the knee and at the ankle, in dm."""


def trousers_shape(person: Person, trunk: Trunk, cut: str, offset: float) -> np.ndarray:
    """(V, 3) float32 rest vertices of trousers on the whole of the tights."""
    shell = tights()
    placed = shell.place(person.vertices)
    normals = vertex_normals(placed, shell.triangles)
    shape = placed + offset * normals
    shape = _hang(shape, person, trunk, Fit(offset=offset), around_legs=True)
    knee_ease, ankle_ease = LEG_CUTS[cut]
    for side, sign in (("L", 1), ("R", -1)):
        hip, knee, ankle = (
            head_of(f"{b}.{side}", person.heads) for b in ("upperleg01", "lowerleg01", "foot")
        )
        leg = (shell.side == sign) & (placed[:, 1] < hip[1] - 0.2) & (shell.arm < 0.3)
        points = shape[leg]
        axis = leg_axis(hip, knee, ankle, points[:, 1])
        away = points - axis
        away[:, 1] = 0
        radius = np.linalg.norm(away, axis=1)
        down = np.clip((hip[1] - 0.4 - points[:, 1]) / (hip[1] - 0.4 - knee[1]), 0, 1)
        low = np.clip((knee[1] - points[:, 1]) / (knee[1] - ankle[1]), 0, 1)
        ease = knee_ease * down + (ankle_ease - knee_ease) * low
        calf = _ring_radius(placed, shell.side == sign, knee[1], knee)
        wide = np.maximum(radius, (calf + ease) * np.minimum(1, down * 1.2))
        wide = np.maximum(wide, radius + 0.6 * ease * down)
        if ankle_ease == 0:
            wide = radius
        shape[leg] = points + away * (wide / np.maximum(radius, 1e-3) - 1)[:, None]
    smooth = _smoothed(shape, normals, 3)
    out = ((smooth - placed) * normals).sum(1)
    smooth += np.maximum(offset - out, 0)[:, None] * normals
    return clear_of_skin(smooth, person, CLEARANCE + 0.04)


def _ring_radius(points: np.ndarray, mask: np.ndarray, height: float, center: np.ndarray) -> float:
    ring = points[mask & (np.abs(points[:, 1] - height) < 0.15)]
    return float(np.percentile(np.hypot(ring[:, 0] - center[0], ring[:, 2] - center[2]), 70))


def cut_mesh(
    name: str,
    part: str,
    shape: np.ndarray,
    cut: np.ndarray,
    uv: np.ndarray,
    material: Material,
    seam: np.ndarray | None = None,
) -> SkinnedMesh:
    """The piece of the tights that a garment is, without what is cut off."""
    shell = tights()
    kept = (cut[shell.triangles] > 0).any(1)
    used, triangles = np.unique(shell.triangles[kept], return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int32)
    return SkinnedMesh(
        name=name,
        triangles=triangles,
        uv=uv[kept],
        material=material,
        parts=np.full(len(triangles), PARTS[part], np.uint8),
        cut=np.ascontiguousarray(cut[used], np.float32),
        seam=None if seam is None else seam[kept],
        blended=bool((material.texture[..., 3] < 0.99).any()),
        rest=np.ascontiguousarray(shape[used], np.float32),
        bones=shell.bones[used],
        weights=shell.weights[used],
    )


def person_height(base_height: float, person: Person) -> float:
    """The rest height on a person of a height on the base mesh's trunk or legs."""
    names = ("foot.L", "lowerleg01.L", "upperleg01.L", "spine03", "spine02", "spine01", "neck01")
    base = np.array([head_of(name, base_heads())[1] for name in names])
    mine = np.array([head_of(name, person.heads)[1] for name in names])
    return float(np.interp(base_height, base, mine)) + min(base_height - float(base[0]), 0)
