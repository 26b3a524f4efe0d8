"""How a hair mesh is cut and dressed: length, waves, volume, hair out of the eyes, buns.

Points are (V, 3) in dm in the rest pose.
"""

import dataclasses

import numpy as np

from data.synthetic import assets
from data.synthetic.rig import BONE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """Where a head is.

    Attributes:
        eyes: (3,) between the eyes.
        eye: how far each is from there, in dm.
        crown: height of the highest vertex.
    """

    eyes: np.ndarray
    eye: float
    crown: float

    @classmethod
    def of(cls, vertices: np.ndarray) -> "Head":
        """The head of the (N, 3) rest vertices of a base mesh."""
        left, right = (vertices[assets.base().heads[BONE[f"eye.{side}"]]].mean(0) for side in "LR")
        return cls(
            eyes=(left + right) / 2, eye=float(left[0] - right[0]) / 2, crown=float(vertices[:13380, 1].max())
        )


def smooth(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the other way round), smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def shorten(points: np.ndarray, head: Head, length: float) -> np.ndarray:
    """Hair that hangs below the ears is `length` times as long, and stays at the neck instead of the back."""
    points = points.copy()
    ear = head.eyes[1] - 0.3
    below = np.minimum(points[:, 1] - ear, 0)
    points[:, 1] += below * (length - 1)
    points[:, 2] += 0.85 * (1 - length) * smooth(0, -2.5, below)
    return points


def wave(points: np.ndarray, head: Head, depth: float, length: float, phase: float) -> np.ndarray:
    """Waves of `length` dm, from the eyes downward; strands beside each other wave nearly together."""
    x, y, z = points.T - np.append(head.eyes[:2], head.eyes[2] - 0.9)[:, None]
    angle = np.arctan2(x, z)
    turn = 2 * np.pi * y / length + phase + 2.1 * np.sin(2 * angle) + 1.3 * np.cos(3 * angle)
    size = depth * smooth(0.3, -1.2, y)
    out = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], 1)
    aside = np.stack([np.cos(angle), np.zeros_like(angle), -np.sin(angle)], 1)
    return (
        points
        + out * (size * (0.5 + 0.5 * np.sin(turn)))[:, None]
        + aside * (0.8 * size * np.cos(turn))[:, None]
    )


def fluff(points: np.ndarray, head: Head, amount: float) -> np.ndarray:
    """More (or less) volume: all is moved away from the middle of the head by a share of its distance."""
    middle = head.eyes + np.array((0, 0.35, -0.75), np.float32)
    return points + (points - middle) * amount * np.array((1, 0.7, 1))


def off_back(points: np.ndarray, head: Head, body: np.ndarray, gap: float) -> np.ndarray:
    """Hair hangs at least `gap` dm behind the back, where clothes will be.

    Args:
        points: of the hair.
        head: where the neck begins.
        body: (N, 3) rest vertices of the base mesh.
        gap: in dm.
    """
    neck = head.eyes[1] - 1.3
    trunk = body[:13380]
    trunk = trunk[(trunk[:, 1] < neck + 0.3) & (trunk[:, 1] > neck - 6) & (np.abs(trunk[:, 0]) < 2.2)]
    hanging = np.flatnonzero((points[:, 1] < neck) & (points[:, 2] < head.eyes[2] - 0.8))
    if not len(hanging):
        return points
    near = np.abs(points[hanging, None, :2] - trunk[None, :, :2]).max(2) < 0.22
    back = np.where(near, trunk[None, :, 2], np.inf).min(1)
    points = points.copy()
    wanted = np.minimum(points[hanging, 2], back - gap)
    points[hanging, 2] += (wanted - points[hanging, 2]) * smooth(neck, neck - 0.5, points[hanging, 1])
    return points


def sweep(points: np.ndarray, head: Head, parting: float) -> np.ndarray:
    """Hair before the eyes is combed to the sides of the face.

    Args:
        points: of the hair.
        head: where the face is.
        parting: what is left of x = `parting` eye distances goes to the left, the rest to the right.
    """
    points = points.copy()
    x, y, z = (points - head.eyes).T / head.eye
    front = smooth(-1.0, -0.2, z) * smooth(2.7, 1.2, y)
    side = np.where(x > parting, 1, -1)
    wide = 2.25 - 0.25 * smooth(-2, -4, y)
    aside = side * (wide + 0.18 * np.abs(x))
    moved = front * (np.abs(x) < wide)
    points[:, 0] += moved * (aside - x) * head.eye
    points[:, 2] -= moved * smooth(2.25, 0.5, np.abs(x)) * 1.4 * head.eye
    return points


def whole(before: np.ndarray, after: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(T,) bool: triangles that combing from `before` to `after` has not torn apart."""
    sides = [(0, 1), (1, 2), (2, 0)]
    lengths = (
        np.stack(
            [np.linalg.norm(points[triangles[:, a]] - points[triangles[:, b]], axis=1) for a, b in sides]
        )
        for points in (before, after)
    )
    old, new = lengths
    return np.asarray((new < 2.5 * old + 0.25).all(0))


def lift(points: np.ndarray, head: Head) -> np.ndarray:
    """A fringe ends at the brows."""
    points = points.copy()
    x, y, z = (points - head.eyes).T / head.eye
    brow = 1.05
    low = np.clip(brow - y, 0, None)
    front = smooth(-1.4, -0.3, z) * smooth(2.7, 2.0, np.abs(x))
    points[:, 1] += front * low * 0.88 * head.eye
    points[:, 2] += front * smooth(0, 1, low) * 0.12 * head.eye
    return points


def pieces(triangles: np.ndarray, num_vertices: int) -> np.ndarray:
    """(V,) which piece each vertex of a mesh hangs together with."""
    label = np.arange(num_vertices)
    while True:
        lowest, merged = label[triangles].min(1), label.copy()
        for corner in range(3):
            np.minimum.at(merged, triangles[:, corner], lowest)
        merged = merged[merged]
        if (merged == label).all():
            return label
        label = merged


def without_tail(proxy: assets.Proxy, points: np.ndarray, head: Head) -> np.ndarray:
    """(T,) bool: triangles of a ponytail's mesh that lie on the head."""
    label = pieces(proxy.triangles, len(points))
    ahead = np.full(len(points), -np.inf)
    np.maximum.at(ahead, label, points[:, 2])
    return (ahead[label] > head.eyes[2] - 1.0)[proxy.triangles[:, 0]]


def bun(center: np.ndarray, radii: np.ndarray, twist: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bun: a ball of strands wound around its axis, which points backward.

    Args:
        center: (3,) in dm.
        radii: (3,) in dm.
        twist: turns of the strands from its middle to its edge.

    Returns:
        Points, (T, 3) triangles and (T, 3, 2) uv; u runs around, along the strands' texture's width.
    """
    around, along = 25, 13
    u, v = np.meshgrid(np.arange(around) / (around - 1), np.linspace(0.02, 0.98, along))
    ring, turn = np.sin(np.pi * v), 2 * np.pi * u
    bumps = 1 + 0.07 * np.sin(3 * turn + 2 * np.pi * twist * v * 2) * ring
    x, y, z = ring * np.cos(turn) * bumps, ring * np.sin(turn) * bumps, -np.cos(np.pi * v)
    points = center + np.stack([x, y, -z], -1).reshape(-1, 3) * radii
    mapped = np.stack([u * 2 + twist * v, v], -1).reshape(-1, 2)
    number = np.arange(around * along).reshape(along, around)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    return points.astype(np.float32), triangles.astype(np.int32), mapped[triangles].astype(np.float32)
