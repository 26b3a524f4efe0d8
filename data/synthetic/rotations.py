"""Rotations as matrices, over any leading axes."""

import numpy as np


def rotation(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) in radians -> matrices (..., 3, 3)."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape((*x.shape, 3, 3))
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * np.einsum("...ij,...jk->...ik", cross, cross)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length 1."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def frame(along: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Axes (..., 3, 3) in columns: `along`, `toward` made square to it, and their cross product."""
    first = unit(along)
    second = unit(toward - first * np.sum(first * toward, -1, keepdims=True))
    return np.stack([first, second, np.cross(first, second)], -1)


def compose(*factors: np.ndarray) -> np.ndarray:
    """Product of matrices (..., 3, 3)."""
    product = factors[0]
    for factor in factors[1:]:
        product = np.einsum("...ij,...jk->...ik", product, factor)
    return product


def inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverse of rotations (..., 3, 3)."""
    return np.swapaxes(matrices, -1, -2)


def apply(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Rotate vectors (..., 3)."""
    return np.einsum("...ij,...j->...i", matrices, vectors)


def shortest(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The shortest rotation (..., 3, 3) from one unit vector to another."""
    axis = np.cross(start, end)
    sin = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sin, np.sum(start * end, -1, keepdims=True))
    return rotation(axis / (sin + 1e-12) * angle)


def twist_angle(turned: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The angle of rotations (F, 3, 3) about the axis that they leave in place; continuous over time."""
    aside = unit(np.cross(axis, np.array([0.3, 0.5, 0.8])))
    moved = apply(turned, aside)
    angle = np.arctan2(moved @ np.cross(axis, aside), moved @ aside)
    return np.unwrap(angle)
