"""Where the panels of a garment are sewn together.

A seam is given by the signed distance from it at the corners of each triangle, so that it runs through
triangles as a straight, even line, whatever the mesh.
"""

import numpy as np

from data.synthetic.garments import NOTCH, SHOULDER_TIP, armhole
from data.synthetic.panels import leg_axis
from data.synthetic.person import Person
from data.synthetic.tights import Trunk, head_of, tights

FAR = 9.0
"""Distance in dm that stands for no seam nearby."""
UNDERARM = 4.1
"""Height on the base mesh, in dm, of the armpit."""
SHOULDER_LINE = -0.12
"""Depth on the base mesh, in dm, of the line that joins front and back at the shoulder."""


def nearest_seam(fields: list[np.ndarray]) -> np.ndarray:
    """(T, 3) float32: of several (T, 3) signed distances those of the seam nearest to each triangle."""
    every = np.stack(fields)
    crosses = (every.min(2) < 0) & (every.max(2) > 0)
    apart = np.where(crosses, 0, np.abs(every).min(2))
    return every[apart.argmin(0), np.arange(every.shape[1])].astype(np.float32)


def distances(field: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(T, 3) signed distances in dm from the zero line of a field that is linear on each triangle.

    Args:
        field: (T, 3) at the corners.
        corners: (T, 3, 3) places of the corners in dm.
    """
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    first, second = field[:, 1] - field[:, 0], field[:, 2] - field[:, 0]
    aa, ab, bb = (along**2).sum(1), (along * across).sum(1), (across**2).sum(1)
    steepness = first**2 * bb - 2 * first * second * ab + second**2 * aa
    gradient = np.sqrt(np.maximum(steepness, 0) / np.maximum(aa * bb - ab**2, 1e-9))
    return np.clip(field / np.maximum(gradient, 0.05)[:, None], -FAR, FAR)


class _Sewing:
    """Collects the seams of one garment on the tights."""

    def __init__(self, shape: np.ndarray):
        shell = tights()
        self.corners = shape[shell.triangles].astype(np.float64)
        self.base = shell.base[shell.triangles].astype(np.float64)
        self.height = self.base[..., 1].mean(1)
        self.forward = self.base[..., 2].mean(1) > 0.1
        self.arm = shell.arm[shell.triangles].mean(1)
        self.fields = [np.full(self.corners.shape[:2], FAR)]

    def sew(self, field: np.ndarray, where: np.ndarray) -> None:
        """Add the zero line of `field`, (T, 3), on the triangles where (T,) `where` holds."""
        self.fields.append(np.where(where[:, None], distances(field, self.corners), FAR))

    def sides(self, trunk: Trunk, where: np.ndarray) -> None:
        """Sew front and back of the trunk together at its sides."""
        angles, distance = trunk.polar(self.corners.reshape(-1, 3))
        self.sew(((np.abs(angles) - np.pi / 2) * distance).reshape(-1, 3), where)

    def all(self) -> np.ndarray:
        """(T, 3) float32 signed distance from the nearest seam."""
        return nearest_seam(self.fields)


def top_seams(shape: np.ndarray, trunk: Trunk, *, sleeved: bool, shirt: bool, darts: bool) -> np.ndarray:
    """The seams of a top, a bodice or a jacket.

    Args:
        shape: (V, 3) its rest vertices on the tights.
        trunk: outline of who wears it.
        sleeved: whether sleeves are set into it.
        shirt: whether it has a yoke across the back.
        darts: whether it is shaped by darts from the bust down to the waist, and behind.

    Returns:
        (T, 3) float32 for the corners of the tights' triangles, signed distance from the nearest seam in dm.
    """
    shell, sewing = tights(), _Sewing(shape)
    hole = armhole(shell, SHOULDER_TIP + 0.12)[shell.triangles]
    inside = hole.mean(1) > 0
    sewing.sides(trunk, (sewing.height < UNDERARM) & (sewing.arm < 0.3))
    sewing.sew(sewing.base[..., 2] - SHOULDER_LINE, (sewing.height > 4.9) & inside)
    if sleeved:
        sewing.sew(hole, (np.abs(hole).min(1) < 1) & (sewing.height > 2.6))
    if shirt:
        sewing.sew(sewing.base[..., 1] - 4.85, ~sewing.forward & inside & (sewing.height > 4))
    if darts:
        sewing.sew(np.abs(sewing.base[..., 0]) - 0.72, (sewing.height < 3.5) & (sewing.arm < 0.3))
    return sewing.all()


def lapel_seams(shape: np.ndarray) -> np.ndarray:
    """(T, 3) float32 distances from the seams between lapels and collar, as in `top_seams`."""
    sewing = _Sewing(shape)
    sewing.sew(sewing.base[..., 1] - NOTCH - 0.06, sewing.forward & (sewing.height > 4))
    return sewing.all()


def trouser_seams(shape: np.ndarray, person: Person, trunk: Trunk, waist: float, jeans: bool) -> np.ndarray:
    """The seams of trousers: inside and outside of the legs, front and back, waistband, pockets.

    Args:
        shape: (V, 3) their rest vertices on the tights.
        person: who wears them.
        trunk: her outline.
        waist: height on the base mesh, in dm.
        jeans: whether they have patch pockets, a yoke behind and a stitched fly.

    Returns:
        (T, 3) float32 for the corners of the tights' triangles, signed distance from the nearest seam in dm.
    """
    shell, sewing = tights(), _Sewing(shape)
    hip, knee, ankle = (head_of(f"{b}.L", person.heads) for b in ("upperleg01", "lowerleg01", "foot"))
    crotch = hip[1] - 0.9
    flat = sewing.corners.reshape(-1, 3)
    low = sewing.corners[..., 1].mean(1) < crotch
    side = shell.side[shell.triangles].mean(1)
    axis = leg_axis(hip, knee, ankle, flat[:, 1])
    axis[:, 0] *= np.repeat(np.sign(side + 1e-6), 3)
    away = flat - axis
    around = np.abs(np.arctan2(away[:, 0], away[:, 2])) - np.pi / 2
    sewing.sew((around * np.hypot(away[:, 0], away[:, 2])).reshape(-1, 3), low & (sewing.arm < 0.3))
    sewing.sides(trunk, ~low & (sewing.arm < 0.3))
    x, y = sewing.base[..., 0], sewing.base[..., 1]
    below = waist - 0.36 - y
    sewing.sew(below, sewing.height > waist - 0.8)
    skirted = ~low & (below.mean(1) > -0.05)
    sewing.sew(x, skirted & (np.abs(sewing.base[..., 0]).max(1) < 0.4))
    pocket = np.abs(x) - (0.78 + 0.28 * np.clip(below, 0, 1) ** 2 if jeans else 0.9 + 0.45 * below)
    sewing.sew(pocket, skirted & sewing.forward & (below.mean(1) < (0.75 if jeans else 0.85)))
    if jeans:
        fly = x - 0.2 + 0.2 * np.clip(below - 0.55, 0, 1) ** 2 * 8
        sewing.sew(fly, skirted & sewing.forward & (below.mean(1) < 0.85) & (x.mean(1) > 0.02))
        behind = skirted & ~sewing.forward
        sewing.sew(below - 0.3 - 0.12 * np.abs(x).clip(0, 0.5), behind & (below.mean(1) < 0.7))
        patch = np.maximum(np.abs(np.abs(x) - 0.78) - 0.36, np.abs(below - 1.05) - 0.4)
        sewing.sew(patch, behind & (np.abs(below.mean(1) - 1.05) < 0.7))
    return sewing.all()
