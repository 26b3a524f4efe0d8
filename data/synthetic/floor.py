"""What the person does to the floor: a shadow, firm under the shoes and soft farther off, a mirror image."""

import math

import numpy as np

from data.synthetic.compiled import njit


@njit
def _blur(grid, reach, spare):
    """Mean over a square of 2 `reach` + 1 cells, in place."""
    rows, columns = grid.shape
    scale = 1.0 / (2 * reach + 1)
    for row in range(rows):
        for column in range(columns):
            total = 0.0
            for i in range(max(0, column - reach), min(columns, column + reach + 1)):
                total += grid[row, i]
            spare[row, column] = total * scale
    for row in range(rows):
        for column in range(columns):
            total = 0.0
            for j in range(max(0, row - reach), min(rows, row + reach + 1)):
                total += spare[j, column]
            grid[row, column] = total * scale


@njit
def floor_darkness(world, triangles, corner, cell, rows, columns, layers, toward, softness, strength):
    """How much light the floor lacks.

    What is above the floor is gathered in layers by its height; each falls on the floor straight down (light
    from everywhere, which it keeps off less the higher it is) and along the key light, blurred the more the
    higher it is.

    Args:
        world: (N, 3) vertices.
        triangles: (T, 3).
        corner: x and z of the first cell.
        cell: decimetres a side.
        rows: cells in depth, and
        columns: across.
        layers: (L,) upper heights.
        toward: (3,) the key light's direction.
        softness: of the key light.
        strength: of it all.

    Returns:
        (rows, columns) float32, factor on the floor's light.
    """
    count = layers.shape[0]
    below = np.zeros((count, rows, columns), np.float32)
    aside = np.zeros((count, rows, columns), np.float32)
    lean_x, lean_z = toward[0] / max(toward[1], 0.2), toward[2] / max(toward[1], 0.2)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        y = (world[a, 1] + world[b, 1] + world[c, 1]) / 3.0
        layer = 0
        while layer < count and y > layers[layer]:
            layer += 1
        if layer == count:
            continue
        x = (world[a, 0] + world[b, 0] + world[c, 0]) / 3.0
        z = (world[a, 2] + world[b, 2] + world[c, 2]) / 3.0
        e1x, e1y, e1z = world[b, 0] - world[a, 0], world[b, 1] - world[a, 1], world[b, 2] - world[a, 2]
        e2x, e2y, e2z = world[c, 0] - world[a, 0], world[c, 1] - world[a, 1], world[c, 2] - world[a, 2]
        flat = abs(e1z * e2x - e1x * e2z)
        tall = abs(
            lean_x * (e1y * e2z - e1z * e2y) + (e1z * e2x - e1x * e2z) + lean_z * (e1x * e2y - e1y * e2x)
        )
        # A closed surface lies above each place twice.
        for side in range(2):
            grid = below if side == 0 else aside
            gx = (x - side * lean_x * y - corner[0]) / cell - 0.5
            gz = (z - side * lean_z * y - corner[1]) / cell - 0.5
            i, j = int(math.floor(gx)), int(math.floor(gz))
            if i < 0 or j < 0 or i >= columns - 1 or j >= rows - 1:
                continue
            fx, fz = gx - i, gz - j
            amount = (flat if side == 0 else tall) * 0.25 / (cell * cell)
            grid[layer, j, i] += amount * (1.0 - fx) * (1.0 - fz)
            grid[layer, j, i + 1] += amount * fx * (1.0 - fz)
            grid[layer, j + 1, i] += amount * (1.0 - fx) * fz
            grid[layer, j + 1, i + 1] += amount * fx * fz
    spare = np.empty((rows, columns), np.float32)
    out = np.ones((rows, columns), np.float32)
    for layer in range(count):
        height = layers[layer] if layer < count - 1 else 0.6 * layers[layer]
        for side in range(2):
            grid = below[layer] if side == 0 else aside[layer]
            spread = 0.35 * height + 0.1 if side == 0 else (0.05 + 0.32 * softness) * height + 0.1
            reach = max(1, int(spread / cell + 0.5))
            for _ in range(2):
                _blur(grid, reach, spare)
            # Light from everywhere is kept off less by what is high up.
            share = strength * (0.62 / (1.0 + 0.9 * height) if side == 0 else 0.30)
            for j in range(rows):
                for i in range(columns):
                    out[j, i] *= 1.0 - share * (1.0 - math.exp(-1.6 * grid[j, i]))
    # The grid ends where nothing is dark any more.
    for j in range(rows):
        for i in range(columns):
            edge = min(min(j, rows - 1 - j) / (0.25 * rows), min(i, columns - 1 - i) / (0.25 * columns))
            out[j, i] = 1.0 - (1.0 - out[j, i]) * min(edge, 1.0)
    return out


@njit
def darken_floor(background, dark, corner, cell, focal, position, center):
    """Put the floor's shadow into the empty studio (H, W, 3), seen by a camera; see `studio.Camera`."""
    height, width = background.shape[0], background.shape[1]
    rows, columns = dark.shape
    for row in range(height):
        drop = (row + 0.5 - center[1]) / focal
        if drop <= 1e-6:
            continue
        depth = position[1] / drop
        gz = (position[2] - depth - corner[1]) / cell - 0.5
        j = int(math.floor(gz))
        if j < 0 or j >= rows - 1:
            continue
        fz = gz - j
        for column in range(width):
            gx = (position[0] + (column + 0.5 - center[0]) * depth / focal - corner[0]) / cell - 0.5
            i = int(math.floor(gx))
            if i < 0 or i >= columns - 1:
                continue
            fx = gx - i
            top = dark[j, i] * (1.0 - fx) + dark[j, i + 1] * fx
            bottom = dark[j + 1, i] * (1.0 - fx) + dark[j + 1, i + 1] * fx
            factor = top * (1.0 - fz) + bottom * fz
            for k in range(3):
                background[row, column, k] *= factor


@njit
def mirror_feet(background, world, triangles, owner, colors, focal, position, center, strength):
    """Mix the mirror image of what is lowest into the floor of the empty studio (H, W, 3).

    `colors` (M, 3) has a colour for each mesh, `owner` the mesh of each triangle; `focal`, `position` and
    `center` are the camera's. `strength`, 0 to 0.1, is that at the floor; it fades with the height above it.
    """
    height, width = background.shape[0], background.shape[1]
    reach = 3.0
    near = np.full((height, width), np.inf, np.float32)
    share = np.zeros((height, width), np.float32)
    shown = np.zeros((height, width), np.int32)
    x, y, z = np.empty(3), np.empty(3), np.empty(3)
    top_row, bottom_row = height, 0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        level = (world[a, 1] + world[b, 1] + world[c, 1]) / 3.0
        if level > reach:
            continue
        for k in range(3):
            corner = triangles[t, k]
            z[k] = position[2] - world[corner, 2]
            x[k] = center[0] + focal / z[k] * (world[corner, 0] - position[0])
            y[k] = center[1] + focal / z[k] * (world[corner, 1] + position[1])
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if area == 0.0:
            continue
        left, right = max(0, math.ceil(x.min() - 0.5)), min(width - 1, math.floor(x.max() - 0.5))
        top, bottom = max(0, math.ceil(y.min() - 0.5)), min(height - 1, math.floor(y.max() - 0.5))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                px, py = column + 0.5, row + 0.5
                u = ((x[2] - px) * (y[0] - py) - (x[0] - px) * (y[2] - py)) / area
                v = ((x[0] - px) * (y[1] - py) - (x[1] - px) * (y[0] - py)) / area
                if u < 0.0 or v < 0.0 or u + v > 1.0:
                    continue
                depth = (1.0 - u - v) * z[0] + u * z[1] + v * z[2]
                if depth < near[row, column]:
                    near[row, column] = depth
                    share[row, column] = strength * math.exp(-1.3 * level)
                    shown[row, column] = owner[t]
                    top_row, bottom_row = min(top_row, row), max(bottom_row, row)
    soft = np.zeros_like(share)
    for row in range(max(0, top_row - 2), min(height, bottom_row + 3)):
        for column in range(width):
            total = 0.0
            for j in range(-1, 2):
                for i in range(-1, 2):
                    total += share[min(max(row + j, 0), height - 1), min(max(column + i, 0), width - 1)]
            soft[row, column] = total / 9.0
            if soft[row, column] > 0.0:
                for k in range(3):
                    light = min(background[row, column, k], 1.0)
                    mixed = light + soft[row, column] * (colors[shown[row, column], k] - light)
                    background[row, column, k] *= mixed / max(light, 1e-3)
