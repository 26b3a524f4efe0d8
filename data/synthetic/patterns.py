"""Prints and woven patterns as tiles that repeat."""

import numpy as np

PATTERNS = (
    "plain", "horizontal_stripes", "vertical_stripes", "plaid", "check", "dots", "floral", "abstract", "leopard",
    "chevron",
)  # fmt: skip
PIXELS = 384
"""Edge of a tile; it is painted at twice that."""


def periodic_noise(
    size: int, cells: int, octaves: int, rng: np.random.Generator, squeeze: int = 1
) -> np.ndarray:
    """(size, size) smooth noise that repeats, mean 0 and deviation 1.

    Args:
        size: edge in pixels.
        cells: of the coarsest octave along x.
        octaves: each with twice the cells and half the strength.
        rng: draws.
        squeeze: how much longer the cells are along y.
    """
    total = np.zeros((size, size))
    for octave in range(octaves):
        across = max(2, cells * 2**octave)
        values = rng.standard_normal((max(2, across // squeeze), across))
        total += _enlarge(_enlarge(values, size, 0), size, 1) / 2**octave
    total -= total.mean()
    return total / (total.std() + 1e-9)


def _enlarge(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Interpolate smoothly along an axis that repeats."""
    count = values.shape[axis]
    place = np.arange(size) * (count / size)
    first = place.astype(int)
    share = place - first
    share = share * share * (3 - 2 * share)
    shape = [1, 1]
    shape[axis] = size
    share = share.reshape(shape)
    return (
        np.take(values, first % count, axis) * (1 - share)
        + np.take(values, (first + 1) % count, axis) * share
    )


def paint_pattern(name: str, size: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Paint one tile.

    Args:
        name: of `PATTERNS`, or "lace".
        size: period of stripes, checks and dots, width of a flower; in dm.
        rng: draws.

    Returns:
        (PIXELS, PIXELS) share of the pattern's colour, the same of the details' colour, and the tile's edge in dm.
    """
    edge = {"floral": size * 5.5, "abstract": size * 2, "leopard": size * 6, "lace": size * 4}.get(
        name, size * max(1, round(2.2 / size))
    )
    if name == "plain":
        return np.zeros((PIXELS, PIXELS)), np.zeros((PIXELS, PIXELS)), 2.0
    y, x = np.mgrid[: 2 * PIXELS, : 2 * PIXELS] * (edge / (2 * PIXELS))
    cover, detail = _PAINTERS[name](x, y, edge, size, rng)
    return _halved(cover), _halved(detail), edge


def _halved(picture: np.ndarray) -> np.ndarray:
    return picture.reshape(PIXELS, 2, PIXELS, 2).mean((1, 3))


def _stripes(place: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    phase = place / size % 1
    width = rng.uniform(0.2, 0.55)
    cover = phase < width
    if rng.random() < 0.25:
        cover |= (phase > width + 0.12) & (phase < width + 0.2)
    return cover.astype(float)


def _horizontal(x, y, edge, size, rng):
    return _stripes(y, size, rng), np.zeros_like(x)


def _vertical(x, y, edge, size, rng):
    return _stripes(x, size, rng), np.zeros_like(x)


def _plaid(x, y, edge, size, rng):
    width = rng.uniform(0.25, 0.5)
    bands = 0.5 * ((x / size % 1 < width) + 0.0) + 0.5 * ((y / size % 1 < width) + 0.0)
    line = rng.uniform(0.6, 0.85)
    lines = (np.abs(x / size % 1 - line) < 0.03) | (np.abs(y / size % 1 - line) < 0.03)
    return bands, 0.7 * lines


def _check(x, y, edge, size, rng):
    bands = 0.5 * (x / size % 1 < 0.5) + 0.5 * (y / size % 1 < 0.5)
    return bands, np.zeros_like(x)


def _dots(x, y, edge, size, rng):
    rows = max(2, 2 * round(edge / size / 2))
    period = edge / rows
    row = np.floor(y / period)
    dx, dy = (x / period + 0.5 * (row % 2)) % 1 - 0.5, y / period % 1 - 0.5
    return (np.hypot(dx, dy) < rng.uniform(0.2, 0.34)).astype(float), np.zeros_like(x)


def _chevron(x, y, edge, size, rng):
    zigzag = np.abs(x / size % 1 - 0.5) * 1.2
    return ((y / size * 2 + zigzag) % 1 < 0.5).astype(float), np.zeros_like(x)


def _stamp(x, edge, reach, rng):
    """Where a small thing is painted at a random place: its rows and columns, and offsets from its middle in dm."""
    size = len(x)
    cx, cy = rng.uniform(0, size, 2)
    half = int(reach * size / edge) + 2
    columns, rows = np.arange(int(cx) - half, int(cx) + half), np.arange(int(cy) - half, int(cy) + half)
    dx, dy = np.meshgrid((columns - cx) * (edge / size), (rows - cy) * (edge / size))
    return np.ix_(rows % size, columns % size), dx, dy


def _floral(x, y, edge, size, rng):
    cover, detail = np.zeros_like(x), np.zeros_like(x)
    for index in range(60):
        flower = index < 22
        radius = size / 2 * rng.uniform(0.7, 1.25) if flower else size * rng.uniform(0.2, 0.42)
        where, dx, dy = _stamp(x, edge, radius, rng)
        angle, distance = np.arctan2(dy, dx), np.hypot(dx, dy)
        if flower:
            if cover[where].any():
                continue
            petals = rng.integers(5, 8)
            inside = distance < radius * (0.72 + 0.28 * np.cos(petals * angle + rng.uniform(0, 6.28)))
            cover[where] = np.where(inside, 0.75 + 0.25 * np.clip(distance / radius, 0, 1), cover[where])
            detail[where] = np.where(inside, distance < 0.25 * radius, detail[where])
        else:
            turn = rng.uniform(0, 6.28)
            along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
            leaf = (np.abs(across) < 0.28 * radius * (1 - (along / radius) ** 2)) & (cover[where] == 0)
            detail[where] = np.where(leaf, np.maximum(detail[where], 0.55), detail[where])
    return cover, detail


def _abstract(x, y, edge, size, rng):
    first = periodic_noise(len(x), 3, 3, rng)
    second = periodic_noise(len(x), 3, 3, rng)
    sharp = rng.uniform(2, 12)
    cover = np.clip((first - 0.1) * sharp + 0.5, 0, 1)
    detail = np.clip((second - 0.8) * sharp + 0.5, 0, 1)
    return cover, detail


def _leopard(x, y, edge, size, rng):
    cover, detail = np.zeros_like(x), np.zeros_like(x)
    for _ in range(60):
        where, dx, dy = _stamp(x, edge, size * 0.75, rng)
        angle, phases = np.arctan2(dy, dx), rng.uniform(0, 6.28, 3)
        radius = size * 0.42 * rng.uniform(0.6, 1.2)
        wobble = 1 + 0.2 * np.sin(3 * angle + phases[0]) + 0.12 * np.sin(5 * angle + phases[1])
        distance = np.hypot(dx, dy * rng.uniform(0.8, 1.3)) / wobble
        if ((cover[where] > 0) & (distance < radius)).any():
            continue
        gap = np.cos(angle * rng.integers(1, 3) + phases[2]) > 0.75
        ring = (distance < radius) & (distance > 0.5 * radius) & ~gap
        cover[where] = np.maximum(cover[where], ring)
        detail[where] = np.where(distance <= 0.5 * radius, 0.6, detail[where])
    return cover, detail


def _lace(x, y, edge, size, rng):
    net = periodic_noise(len(x), 14, 1, rng)
    flowers, hearts = _floral(x, y, edge, size, rng)
    period = edge / np.round(edge / 0.16)
    mesh = np.minimum(np.abs((x + y) / period % 1 - 0.5), np.abs((x - y) / period % 1 - 0.5))
    threads = (mesh < 0.14) * 0.55
    body = (flowers > 0) * (0.78 + 0.22 * (np.abs(net) > 0.4)) * (1 - 0.4 * (hearts > 0.9))
    return np.maximum(threads, np.maximum(body, (hearts > 0.4) * 0.85)), np.zeros_like(x)


_PAINTERS = {
    "horizontal_stripes": _horizontal, "vertical_stripes": _vertical, "plaid": _plaid, "check": _check, "dots": _dots,
    "floral": _floral, "abstract": _abstract, "leopard": _leopard, "chevron": _chevron, "lace": _lace,
}  # fmt: skip
