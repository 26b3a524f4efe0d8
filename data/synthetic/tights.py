"""The shell that garments are cut from: MakeHuman's "helper-tights", subdivided once.

Positions on it that do not depend on the person are those of the unmorphed base mesh, so that a neckline or a
cuff lies at the same place on everybody.
"""

import dataclasses
import functools

import numpy as np

from data.synthetic import assets
from data.synthetic.compiled import njit
from data.synthetic.rig import BONE, BONES

ARM_BONES = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
LEG_BONES = ("upperleg", "lowerleg", "foot", "toe")
NUM_ANGLES = 64
"""Directions around the trunk in `Trunk`."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tights:
    """The subdivided shell.

    Attributes:
        sources: (n,) int32, base vertices of the helper, and
        pairs: (E, 2) int32, numbers in `sources` whose midpoints follow them.
        triangles: (T, 3) int32.
        edges: (e, 2) int32, neighbours.
        base: (V, 3) float32 places on the unmorphed base mesh.
        bones: (V, K) int32 and
        weights: (V, K) float32, what moves each vertex.
        arm: (V,) float32, how much of that is the arms, and
        leg: (V,) float32, the legs.
        along: (V,) float32, place along the arm: 0 at the shoulder, 1 at the elbow, 2 at the wrist.
        side: (V,) float32, 1 on her left (x > 0), -1 on her right.
    """

    sources: np.ndarray
    pairs: np.ndarray
    triangles: np.ndarray
    edges: np.ndarray
    base: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    along: np.ndarray
    side: np.ndarray

    def place(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) float32 places on a body, from the (N, 3) vertices of its base mesh."""
        return _with_midpoints(vertices[self.sources], self.pairs).astype(np.float32)

    def smooth(self, values: np.ndarray, rounds: int, strength: float = 0.5) -> np.ndarray:
        """Average (V, C) values with their neighbours'."""
        return _smooth(np.array(values, np.float64), self.edges, rounds, strength).astype(np.float32)


def _with_midpoints(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.concatenate([values, 0.5 * (values[pairs[:, 0]] + values[pairs[:, 1]])])


@njit()
def _smooth(values, edges, rounds, strength):
    count = np.zeros(len(values))
    for a, b in edges:
        count[a] += 1
        count[b] += 1
    for _ in range(rounds):
        total = np.zeros_like(values)
        for a, b in edges:
            for c in range(values.shape[1]):
                total[a, c] += values[b, c]
                total[b, c] += values[a, c]
        for v in range(len(values)):
            for c in range(values.shape[1]):
                values[v, c] += strength * (total[v, c] / count[v] - values[v, c])
    return values


@njit()
def vertex_normals(vertices, triangles):
    """(V, 3) unit normals of a surface, weighted by the triangles' areas."""
    normals = np.zeros_like(vertices)
    for a, b, c in triangles:
        e, f = vertices[b] - vertices[a], vertices[c] - vertices[a]
        x, y, z = e[1] * f[2] - e[2] * f[1], e[2] * f[0] - e[0] * f[2], e[0] * f[1] - e[1] * f[0]
        for v in (a, b, c):
            normals[v, 0] += x
            normals[v, 1] += y
            normals[v, 2] += z
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v] /= length
    return normals


def head_of(name: str, heads: np.ndarray) -> np.ndarray:
    """(3,) the head of a bone."""
    return heads[BONE[name]]


@functools.lru_cache(maxsize=1)
def base_heads() -> np.ndarray:
    """(B, 3) the bones' heads in the unmorphed base mesh."""
    body = assets.base()
    return body.vertices[body.heads].mean(1)


@functools.lru_cache(maxsize=1)
def tights() -> Tights:
    """The shell, made from the packed base mesh."""
    body = assets.base()
    sources, coarse = np.unique(body.triangles["helper-tights"], return_inverse=True)
    coarse = coarse.reshape(-1, 3)
    corners = np.sort(coarse[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    pairs, middle = np.unique(corners, axis=0, return_inverse=True)
    middle = middle.reshape(-1, 3) + len(sources)
    a, b, c = coarse.T
    ab, bc, ca = middle.T
    triangles = np.concatenate(
        [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    edges = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    base = _with_midpoints(body.vertices[sources], pairs).astype(np.float32)
    # Cloth moves as the skin below it does.
    dense = _smooth(_dense_weights()[_nearest(base, _base_skin())], edges.astype(np.int32), 3, 0.5)
    bones, weights = assets.heaviest(dense)
    side = np.where(base[:, 0] < 0, -1, 1).astype(np.float32)
    return Tights(
        sources=sources.astype(np.int32),
        pairs=pairs.astype(np.int32),
        triangles=triangles.astype(np.int32),
        edges=edges.astype(np.int32),
        base=base,
        bones=bones,
        weights=weights,
        arm=_share(dense, ARM_BONES),
        leg=_share(dense, LEG_BONES),
        along=along_arm(base),
        side=side,
    )


@njit()
def _nearest(points, others):
    found = np.empty(len(points), np.int32)
    for i in range(len(points)):
        best = np.inf
        for j in range(len(others)):
            x, y, z = points[i, 0] - others[j, 0], points[i, 1] - others[j, 1], points[i, 2] - others[j, 2]
            distance = x * x + y * y + z * z
            if distance < best:
                best, found[i] = distance, j
    return found


@functools.lru_cache(maxsize=1)
def nearest_skin() -> np.ndarray:
    """(V,) int32 the skin's vertex nearest to each vertex of the tights, on the base mesh."""
    return _nearest(tights().base, _base_skin())


def _base_skin() -> np.ndarray:
    body = assets.base()
    return body.vertices[: int(body.triangles["body"].max()) + 1]


def _dense_weights() -> np.ndarray:
    """(n, B) float64 how much each bone moves each vertex of the skin."""
    body = assets.base()
    count = len(_base_skin())
    dense = np.zeros((count, len(BONES)))
    for k in range(body.bones.shape[1]):
        np.add.at(dense, (np.arange(count), body.bones[:count, k]), body.weights[:count, k])
    return dense


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Points on the base mesh that garments are cut on: the tights' vertices, or the skin's.

    Attributes:
        base: (n, 3) places on the unmorphed base mesh.
        arm: (n,) how much the arms move each.
        along: (n,) place along the arm: 0 at the shoulder, 1 at the elbow, 2 at the wrist.
    """

    base: np.ndarray
    arm: np.ndarray
    along: np.ndarray


@functools.lru_cache(maxsize=1)
def on_skin() -> Places:
    """The skin's vertices."""
    base = _base_skin()
    return Places(base=base, arm=_share(_dense_weights(), ARM_BONES), along=along_arm(base))


def _share(dense: np.ndarray, parts: tuple[str, ...]) -> np.ndarray:
    columns = [bone for name, bone in BONE.items() if name.startswith(parts)]
    return dense[:, columns].sum(1).astype(np.float32)


def along_arm(base: np.ndarray) -> np.ndarray:
    """(n,) place of (n, 3) points on the base mesh along the arm: shoulder 0, elbow 1, wrist 2."""
    points, heads = np.abs(base) * np.array([1, 0, 0]) + base * np.array([0, 1, 1]), base_heads()
    shoulder, elbow, wrist = (head_of(f"{name}.L", heads) for name in ("upperarm01", "lowerarm01", "wrist"))
    upper, lower = elbow - shoulder, wrist - elbow
    first = ((points - shoulder) * upper).sum(1) / (upper**2).sum()
    second = ((points - elbow) * lower).sum(1) / (lower**2).sum()
    return np.where(first < 1, first, 1 + np.clip(second, 0, 2)).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """The trunk's outline as cloth drawn around it has it: convex at every height.

    Attributes:
        heights: (R,) rest heights in dm, rising.
        depth: (R,) z of the axis.
        radius: (R, NUM_ANGLES) from the axis; angle 0 is in front (+z), a quarter on is her left (+x).
    """

    heights: np.ndarray
    depth: np.ndarray
    radius: np.ndarray

    def polar(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Angle and distance from the axis of (n, 3) points."""
        z = points[:, 2] - np.interp(points[:, 1], self.heights, self.depth)
        return np.arctan2(points[:, 0], z), np.hypot(points[:, 0], z)

    def at(self, heights: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """The radius at heights and angles of one shape."""
        return interpolate(self.radius, self.heights, heights, angles)

    def draped(self, top: float, bottom: float) -> "Trunk":
        """The outline of cloth that hangs from what juts out between two heights, down to the lower end."""
        inside = (self.heights >= bottom) & (self.heights <= top)
        radius = self.radius.copy()
        radius[inside] = np.maximum.accumulate(radius[inside][::-1], axis=0)[::-1]
        lowest = radius[inside][0]
        below = self.heights < bottom
        radius[below] = np.maximum(radius[below], lowest)
        return dataclasses.replace(self, radius=radius)


def interpolate(grid: np.ndarray, rows: np.ndarray, heights: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Read a (R, A) grid over rising rows and a full turn of angles, bilinearly."""
    row = np.interp(heights, rows, np.arange(len(rows)))
    column = np.mod(angles / (2 * np.pi), 1) * grid.shape[1]
    r0, c0 = np.minimum(row.astype(int), len(rows) - 2), column.astype(int)
    fr, fc = row - r0, column - c0
    c0, c1 = c0 % grid.shape[1], (c0 + 1) % grid.shape[1]
    upper, lower = (grid[r, c0] * (1 - fc) + grid[r, c1] * fc for r in (r0, r0 + 1))
    return upper * (1 - fr) + lower * fr


def measure_trunk(points: np.ndarray, lowest: float, highest: float) -> Trunk:
    """The convex outline of (n, 3) points of the trunk between two heights."""
    heights = np.arange(lowest, highest, 0.12)
    angles = np.arange(NUM_ANGLES) * (2 * np.pi / NUM_ANGLES)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    support = np.empty((len(heights), NUM_ANGLES))
    depth = np.empty(len(heights))
    for row, height in enumerate(heights):
        slab = points[np.abs(points[:, 1] - height) < 0.16][:, [0, 2]]
        depth[row] = (slab[:, 1].min() + slab[:, 1].max()) / 2
        support[row] = (slab @ directions).max(0)
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    depth = np.convolve(np.pad(depth, 2, mode="edge"), kernel, "valid")
    support = np.stack([np.convolve(np.pad(s, 2, mode="edge"), kernel, "valid") for s in support.T], axis=1)
    support -= depth[:, None] * directions[1]
    facing = np.cos(angles[:, None] - angles[None])
    reach = np.where(facing[None] > 0.1, support[:, None, :] / np.maximum(facing[None], 0.1), np.inf)
    return Trunk(heights=heights, depth=depth, radius=reach.min(2))
