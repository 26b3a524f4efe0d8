"""Belts and collars: bands around the trunk and the neck."""

import dataclasses

import numpy as np

from data.synthetic.assets import heaviest
from data.synthetic.fabrics import Rgb, linear
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.person import Person
from data.synthetic.rig import BONE, BONES
from data.synthetic.tights import Trunk, measure_trunk, on_skin, tights, vertex_normals

NUM_COLUMNS = 72
LEGS = tuple(number for name, number in BONE.items() if name.startswith(("upperleg", "lowerleg")))


def ring_weights(person: Person, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bones of the trunk that carry rings at rest heights, without the legs.

    Returns:
        (R, K) int32 bones and float32 weights.
    """
    shell = tights()
    trunk = shell.arm < 0.05
    points = shell.place(person.vertices)
    dense = np.zeros((len(heights), len(BONES)), np.float32)
    for row, height in enumerate(heights):
        ring = trunk & (np.abs(points[:, 1] - height) < 0.2)
        np.add.at(dense[row], shell.bones[ring].ravel(), shell.weights[ring].ravel())
    dense[:, BONE["root"]] += dense[:, LEGS].sum(1) + 1e-3
    dense[:, LEGS] = 0
    return heaviest(dense)


def belt(person: Person, trunk: Trunk, height: float, width: float, color: Rgb, offset: float) -> SkinnedMesh:
    """A belt.

    Args:
        person: who wears it.
        trunk: outline of what it lies on.
        height: rest height of its middle in dm.
        width: in dm.
        color: sRGB.
        offset: from the outline, in dm.
    """
    heights = height + width * np.array([0.5, 0.42, 0, -0.42, -0.5])
    bulge = offset + np.array([-0.05, 0.0, 0.01, 0.0, -0.05])
    angles = np.arange(NUM_COLUMNS) * (2 * np.pi / NUM_COLUMNS)
    radius = np.stack([trunk.at(np.full(NUM_COLUMNS, y), angles) for y in heights]) + bulge[:, None]
    depth = np.interp(heights, trunk.heights, trunk.depth)[:, None]
    rows = np.stack(
        [
            radius * np.sin(angles),
            np.repeat(heights[:, None], NUM_COLUMNS, 1),
            depth + radius * np.cos(angles),
        ],
        axis=-1,
    )
    bones, weights = (np.repeat(a, NUM_COLUMNS, axis=0) for a in ring_weights(person, heights))
    return _band("belt", "belt", rows, True, bones, weights, _plain(color))


def collar(person: Person, material: Material, part: str) -> SkinnedMesh:
    """A shirt's collar, folded down around the neck and open in front."""
    shell = tights()
    points = shell.place(person.vertices)
    near = (shell.arm < 0.05) & (shell.base[:, 1] > 5.35) & (np.abs(shell.base[:, 0]) < 0.85)
    base = float(points[near & (np.abs(shell.base[:, 1] - 5.6) < 0.1)][:, 1].mean())
    neck = measure_trunk(points[near], base - 0.1, base + 0.45)
    gap = 0.36
    angles = np.linspace(gap, 2 * np.pi - gap, NUM_COLUMNS)
    front = np.cos(angles)
    # The neck leans forward: its base is lower in front.
    stand = base + 0.24 - 0.3 * front
    edge = stand - 0.38 - 0.16 * np.clip(front - 0.6, 0, 1) * 2.5
    behind = np.clip(-front, 0, 1)
    rows = []
    for share, out in ((0.0, 0.03), (0.5, 0.05), (1.0, 0.07)):
        height = stand - (0.3 + 0.45 * behind) * (1 - share)
        rows.append(_around(neck, height, angles, out))
    for share, out in ((0.1, 0.12), (0.5, 0.2), (1.0, 0.3)):
        rows.append(_around(neck, stand + (edge - stand) * share, angles, out * (1 - 0.4 * behind)))
    grid = np.stack(rows)
    flat = grid.reshape(-1, 3)
    candidates = np.flatnonzero(near)
    nearest = candidates[((flat[:, None] - points[candidates][None]) ** 2).sum(2).argmin(1)]
    return _band("collar", part, grid, False, shell.bones[nearest], shell.weights[nearest], material)


def _around(neck: Trunk, heights: np.ndarray, angles: np.ndarray, out: float | np.ndarray) -> np.ndarray:
    inside = np.clip(heights, neck.heights[0], neck.heights[-1])
    radius = (
        np.minimum(neck.at(inside, angles), neck.at(np.full_like(heights, neck.heights[2]), angles)) + out
    )
    depth = np.interp(inside, neck.heights, neck.depth)
    return np.stack([radius * np.sin(angles), heights, depth + radius * np.cos(angles)], axis=-1)


def _plain(color: Rgb) -> Material:
    texture = np.ones((2, 2, 5), np.float32)
    texture[..., :3] = linear(color)
    return Material(kind="leather", texture=texture, roughness=0.45, specular=0.04)


def _band(
    name: str,
    part: str,
    rows: np.ndarray,
    closed: bool,
    bones: np.ndarray,
    weights: np.ndarray,
    material: Material,
) -> SkinnedMesh:
    """A grid of (R, C, 3) points, from the top down, her left (+x) first."""
    count, columns = rows.shape[:2]
    index = np.arange(count * columns).reshape(count, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    flat = rows.reshape(-1, 3).astype(np.float32)
    place = np.stack([np.arctan2(flat[:, 0], flat[:, 2]) * 0.6, flat[:, 1]], axis=1)
    return SkinnedMesh(
        name=name,
        triangles=triangles.astype(np.int32),
        uv=place[triangles].astype(np.float32),
        material=material,
        parts=np.full(len(triangles), PARTS[part], np.uint8),
        rest=flat,
        bones=bones.astype(np.int32),
        weights=weights.astype(np.float32),
    )


def necklace(person: Person, drop: float, color: Rgb) -> SkinnedMesh:
    """A thin chain around the neck, with a pendant.

    Args:
        person: who wears it.
        drop: of the pendant below the pit of the neck, in dm.
        color: sRGB of the metal.
    """
    body = person.meshes[0]
    base, skin = on_skin().base, body.rest
    normals = vertex_normals(np.ascontiguousarray(skin), body.triangles)
    near = np.flatnonzero((base[:, 1] > 2.5) & (base[:, 1] < 6.4) & (np.abs(base[:, 0]) < 1.2))
    angles = np.arange(NUM_COLUMNS) * (2 * np.pi / NUM_COLUMNS)
    across, front = np.sin(angles), np.cos(angles)
    # On the base mesh: over the sides of the neck, down to the drop in front.
    height = 5.75 - (0.55 + drop) * np.clip(front, 0, 1) ** 1.4 - 0.05 * np.clip(-front, 0, 1)
    wanted = np.stack([0.62 * across, height, 0.15 + 0.75 * front], axis=1)
    nearest = near[((wanted[:, None] - base[near][None]) ** 2).sum(2).argmin(1)]
    line = skin[nearest] + (wanted - base[nearest])
    # Back onto the skin along its normals.
    line -= ((line - skin[nearest]) * normals[nearest]).sum(1, keepdims=True) * normals[nearest]
    line += 0.035 * normals[nearest]
    for _ in range(4):
        line = 0.5 * line + 0.25 * (np.roll(line, 1, axis=0) + np.roll(line, -1, axis=0))
    out = np.array([0.0, 0.012, 0.012, 0.0])[:, None, None] * normals[nearest]
    up = np.array([0.012, 0.012, -0.012, -0.012])[:, None, None] * np.array([0.0, 1.0, 0.0])
    chain = line + out + up
    chain[:, [0, 1, -1]] += up[:, :1] * np.array([5.0, 2.0, 2.0])[None, :, None] * 0.6
    bones, weights = (np.tile(a[nearest], (4, 1)) for a in (body.bones, body.weights))
    mesh = _band("necklace", "accessory", chain, True, bones, weights, _plain(color))
    return dataclasses.replace(mesh, material=dataclasses.replace(mesh.material, roughness=0.3, specular=0.1))


def placket(shape: np.ndarray, top: float, bottom: float, color: Rgb) -> SkinnedMesh:
    """The buttoned strip down the front of a shirt.

    Args:
        shape: (V, 3) the shirt's rest vertices, those of the tights.
        top: height on the base mesh where it begins, and
        bottom: where it ends.
        color: sRGB of the cloth.
    """
    shell = tights()
    middle = np.flatnonzero(
        (np.abs(shell.base[:, 0]) < 0.3)
        & (shell.base[:, 2] > 0.2)
        & (shell.arm < 0.3)
        & (shell.base[:, 1] < 5.3)
    )
    heights = np.arange(top, bottom, -0.15)
    across = np.array([0.15, 0.0, -0.15])
    wanted = np.stack(np.meshgrid(across, heights, indexing="xy"), axis=-1)
    flat = wanted.reshape(-1, 2)
    apart = ((flat[:, None] - shell.base[middle][None, :, :2]) ** 2).sum(2)
    nearest = middle[np.argsort(apart, axis=1, kind="stable")[:, :4]]
    share = 1 / (0.02 + ((flat[:, None] - shell.base[nearest][..., :2]) ** 2).sum(2))
    share /= share.sum(1, keepdims=True)
    moved = shape - shell.base
    place = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    place[:, :2] += (share[..., None] * moved[nearest][..., :2]).sum(1)
    depth = (share[..., None] * shape[nearest]).sum(1)[:, 2]
    grid = depth.reshape(len(heights), 3)
    grid = np.maximum(grid, grid.max(1, keepdims=True) - 0.01)
    place[:, 2] = grid.reshape(-1) + 0.03
    rows = place.reshape(len(heights), 3, 3)
    rows[:, :, 2] -= np.array([0.02, 0.0, 0.02])
    one = nearest[:, 0]
    mesh = _band("placket", "top", rows, False, shell.bones[one], shell.weights[one], _buttons(color))
    uv = np.stack([(0.15 - flat[:, 0]) / 0.3, flat[:, 1] / BUTTON_STEP], axis=1)
    return dataclasses.replace(mesh, uv=uv[mesh.triangles].astype(np.float32))


BUTTON_STEP = 0.8
"""Between the buttons of a shirt, in dm."""


def _buttons(color: Rgb) -> Material:
    """A strip of cloth with a button, stitches at its sides."""
    y, x = np.mgrid[:128, :48]
    across, along = (x / 47 - 0.5) * 0.3, (y / 127 - 0.5) * BUTTON_STEP
    button = np.clip((0.055 - np.hypot(across, along)) / 0.012, 0, 1)[..., None]
    seam = np.exp(-(((np.abs(across) - 0.125) / 0.012) ** 2))[..., None]
    cloth = linear(color) * (1 - 0.3 * seam)
    metal = np.full(3, 0.75 if linear(color).mean() < 0.4 else 0.45)
    rim = np.clip(1 - np.abs(np.hypot(across, along) - 0.055) / 0.015, 0, 1)[..., None]
    texture = np.ones((128, 48, 5), np.float32)
    texture[..., :3] = (cloth * (1 - button) + metal * button) * (1 - 0.35 * rim)
    return Material(kind="cloth", texture=texture, tiled=True, roughness=0.65, specular=0.025)
