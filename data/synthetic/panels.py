"""The panels that garments are sewn from: coordinates along the cloth, and the seams between them."""

import numpy as np

from data.synthetic.person import Person
from data.synthetic.tights import Trunk, head_of, tights


def arm_axis(person: Person, side: str, along: np.ndarray) -> np.ndarray:
    """(n, 3) points on the axis of the arm of a side, "L" or "R"; `along` is as in `Tights`."""
    shoulder, elbow, wrist = (
        head_of(f"{bone}.{side}", person.heads) for bone in ("upperarm01", "lowerarm01", "wrist")
    )
    first, second = np.clip(along, -0.2, 1)[:, None], np.clip(along - 1, 0, 1.2)[:, None]
    return shoulder + (elbow - shoulder) * first + (wrist - elbow) * second


def leg_axis(hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(n, 3) points on the axis of a leg at rest heights, from its joints."""
    order = [ankle[1], knee[1], hip[1]]
    columns = [np.interp(heights, order, [ankle[k], knee[k], hip[k]]) for k in range(3)]
    columns[1] = heights
    return np.stack(columns, axis=1)


def fabric_coordinates(shape: np.ndarray, person: Person, trunk: Trunk) -> np.ndarray:
    """Decimetres along the cloth for the corners of the tights' triangles.

    The trunk has a front and a back panel, measured from their middles; a sleeve is one piece with its seam
    below the arm; a trouser leg has a front and a back panel.

    Args:
        shape: (V, 3) rest vertices of the garment.
        person: who wears it.
        trunk: her outline.

    Returns:
        (T, 3, 2) float32.
    """
    shell = tights()
    corners = shape[shell.triangles]
    uv = _trunk_coordinates(corners, trunk)
    arm = shell.arm[shell.triangles].mean(1) > 0.5
    left = shell.side[shell.triangles].mean(1) > 0
    crotch = head_of("upperleg01.L", person.heads)[1] - 0.9
    leg = (shell.leg[shell.triangles].mean(1) > 0.5) & (corners[..., 1].mean(1) < crotch)
    for side, mine in (("L", left), ("R", ~left)):
        uv[arm & mine] = _sleeve_coordinates(shape, person, side, arm & mine)
        uv[leg & mine] = _leg_coordinates(corners[leg & mine], person, side)
    return uv.astype(np.float32)


def _unwrapped(angles: np.ndarray) -> np.ndarray:
    """(n, 3) angles of triangles' corners without jumps, and near the first's half turn."""
    first = angles[:, :1]
    return first + (angles - first + np.pi) % (2 * np.pi) - np.pi


def _trunk_coordinates(corners: np.ndarray, trunk: Trunk) -> np.ndarray:
    step = 2 * np.pi / trunk.radius.shape[1]
    arc = 0.5 * (trunk.radius + np.roll(trunk.radius, -1, axis=1)) * step
    front = np.concatenate([np.zeros((len(arc), 1)), np.cumsum(arc, axis=1)], axis=1)
    around, half = front[:, -1:], arc.shape[1] // 2
    middle = front[:, half : half + 1]
    flat = corners.reshape(-1, 3)
    angles, distance = trunk.polar(flat)
    angles = _unwrapped(angles.reshape(-1, 3))
    behind = np.abs((angles.mean(1) + np.pi) % (2 * np.pi) - np.pi) > np.pi / 2
    turn = np.where(behind, np.pi, 0)[:, None]
    local = (angles - turn + np.pi) % (2 * np.pi) - np.pi
    grids = [np.concatenate([front - around, front[:, 1:]], axis=1)]
    shifted = front - middle
    grids.append(
        np.concatenate([shifted[:, half:-1] - around, shifted, shifted[:, 1 : half + 1] + around], axis=1)
    )
    # Both grids begin a full turn (front) or a half turn and a half (back) before their middles.
    place = [(local + 2 * np.pi) / step, (local + 2 * np.pi) / step]
    rows = np.interp(flat[:, 1], trunk.heights, np.arange(len(trunk.heights))).reshape(-1, 3)
    u = np.where(behind[:, None], _read(grids[1], rows, place[1]), _read(grids[0], rows, place[0]))
    near = trunk.at(flat[:, 1], angles.reshape(-1)).reshape(-1, 3)
    u = u * np.maximum(distance.reshape(-1, 3) / np.maximum(near, 0.1), 0.2) ** 0.5
    return np.stack([u, corners[..., 1]], axis=-1)


def _read(grid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    r0 = np.clip(rows.astype(int), 0, grid.shape[0] - 2)
    c0 = np.clip(columns.astype(int), 0, grid.shape[1] - 2)
    fr, fc = rows - r0, columns - c0
    upper = grid[r0, c0] * (1 - fc) + grid[r0, c0 + 1] * fc
    lower = grid[r0 + 1, c0] * (1 - fc) + grid[r0 + 1, c0 + 1] * fc
    return upper * (1 - fr) + lower * fr


def _sleeve_coordinates(shape: np.ndarray, person: Person, side: str, mine: np.ndarray) -> np.ndarray:
    shell = tights()
    triangles = shell.triangles[mine]
    used = np.unique(triangles)
    along = shell.along[used]
    shoulder, elbow, wrist = (
        head_of(f"{bone}.{side}", person.heads) for bone in ("upperarm01", "lowerarm01", "wrist")
    )
    axis = (wrist - shoulder) / np.linalg.norm(wrist - shoulder)
    up = np.array([0, 1, 0]) - axis * axis[1]
    up /= np.linalg.norm(up)
    across = np.cross(axis, up)
    away = shape[used] - arm_axis(person, side, along)
    angle = np.arctan2(away @ across, away @ up)
    radius = np.hypot(away @ across, away @ up)
    bins = np.clip(((along + 0.4) * 8).astype(int), 0, 23)
    mean = np.bincount(bins, radius, 24) / np.maximum(np.bincount(bins, minlength=24), 1)
    known = np.flatnonzero(mean > 0)
    width = np.interp((along + 0.4) * 8 - 0.5, known, mean[known])
    upper, lower = np.linalg.norm(elbow - shoulder), np.linalg.norm(wrist - elbow)
    length = upper * np.minimum(along, 1) + lower * np.maximum(along - 1, 0)
    place = np.zeros((len(shape), 3))
    place[used] = np.stack([angle, width, shoulder[1] - length], axis=1)
    corners = place[triangles]
    return np.stack([_unwrapped(corners[..., 0]) * corners[..., 1], corners[..., 2]], axis=-1)


def _leg_coordinates(corners: np.ndarray, person: Person, side: str) -> np.ndarray:
    hip, knee, ankle = (head_of(f"{b}.{side}", person.heads) for b in ("upperleg01", "lowerleg01", "foot"))
    flat = corners.reshape(-1, 3)
    axis = leg_axis(hip, knee, ankle, flat[:, 1])
    away = flat - axis
    angles = _unwrapped(np.arctan2(away[:, 0], away[:, 2]).reshape(-1, 3))
    behind = np.abs((angles.mean(1) + np.pi) % (2 * np.pi) - np.pi) > np.pi / 2
    turn = np.where(behind, np.pi, 0)[:, None]
    local = (angles - turn + np.pi) % (2 * np.pi) - np.pi
    radius = np.hypot(away[:, 0], away[:, 2])
    rows = np.clip(((flat[:, 1] - ankle[1]) / 0.3).astype(int), 0, 40)
    mean = np.bincount(rows, radius, 41) / np.maximum(np.bincount(rows, minlength=41), 1)
    known = np.flatnonzero(mean > 0)
    width = np.interp((flat[:, 1] - ankle[1]) / 0.3 - 0.5, known, mean[known]).reshape(-1, 3)
    u = np.where(behind, -hip[0], hip[0])[:, None] + local * width
    return np.stack([u, corners[..., 1]], axis=-1)
