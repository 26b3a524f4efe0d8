"""The compiled loops of `raster.draw`, in the order in which a frame takes them."""

import collections
import math

import numpy as np

from data.synthetic.compiled import njit
from data.synthetic.shading import surface_frame

Light = collections.namedtuple("Light", "lamps ambient matrix shadow radius camera")
"""Tables of the lamps and the ambient light, the key light's (3, 4) view, map and softness, the camera."""

NEAR = 0.02
"""How far hair, brows and lace may lie behind an opaque surface and still be seen, decimetres."""
OPAQUE = 0.985
"""Opacity behind which nothing is looked for."""
TAPS = 10
"""Places that are looked at for the occlusion of one."""


@njit
def transform(points, matrix):
    """(N, 3) points by a (3, 4) matrix."""
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for k in range(3):
            out[i, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]
    return out


@njit
def vertex_normals(points, triangles):
    """(N, 3) unit normals, weighted by the triangles' areas."""
    out = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x1, y1, z1 = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        x2, y2, z2 = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        for corner in (a, b, c):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for i in range(out.shape[0]):
        length = 1.0 / math.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2 + 1e-20)
        for k in range(3):
            out[i, k] *= length
    return out


@njit
def strand_tangents(points, triangles, uv):
    """(N, 3) unit directions in which v grows, means over the triangles of each vertex."""
    out = np.zeros_like(points)
    frame = np.zeros((2, 3), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        surface_frame(points, a, b, c, uv, t, frame)
        for corner in (a, b, c):
            for k in range(3):
                out[corner, k] += frame[1, k]
    for i in range(out.shape[0]):
        length = 1.0 / math.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2 + 1e-20)
        for k in range(3):
            out[i, k] *= length
    return out


@njit
def rasterize(points, triangles, first, cut, has_cut, cull, depth, ids, weights):
    """Put triangles into the depth buffer.

    `points` (N, 3) are x and y in samples and the depth; `triangles` (T, 3) are numbered from `first` on.
    With `has_cut` the surface is where the interpolated `cut` (N,) is above 0; with `cull` triangles
    seen from behind are left out. `depth`, `ids` (H, W) and `weights` (H, W, 2) are overwritten.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = float(points[a, 0]), float(points[a, 1])
        x1, y1 = float(points[b, 0]), float(points[b, 1])
        x2, y2 = float(points[c, 0]), float(points[c, 1])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0 or (cull and area > 0.0):
            continue
        if has_cut and cut[a] <= 0.0 and cut[b] <= 0.0 and cut[c] <= 0.0:
            continue
        left = max(0, math.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.5))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        inverse = 1.0 / area
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                u = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                v = ((x0 - px) * (y1 - py) - (x1 - px) * (y0 - py)) * inverse
                w = 1.0 - u - v
                if u < -1e-7 or v < -1e-7 or w < -1e-7:
                    continue
                z = w * z0 + u * z1 + v * z2
                if z >= depth[y, x]:
                    continue
                if has_cut and w * cut[a] + u * cut[b] + v * cut[c] <= 0.0:
                    continue
                depth[y, x] = z
                ids[y, x] = first + t
                weights[y, x, 0] = u
                weights[y, x, 1] = v


@njit
def mark_in_front(points, triangles, depth, marked):
    """Mark in `marked` (H, W) the pixels at whose middle a triangle seen from in front lies before `depth`.

    `points` (N, 3) are x and y in pixels and the depth.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = float(points[a, 0]), float(points[a, 1])
        x1, y1 = float(points[b, 0]), float(points[b, 1])
        x2, y2 = float(points[c, 0]), float(points[c, 1])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0.0:
            continue
        left = max(0, math.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.5))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                u = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                v = ((x0 - px) * (y1 - py) - (x1 - px) * (y0 - py)) * inverse
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                if w * points[a, 2] + u * points[b, 2] + v * points[c, 2] < depth[y, x]:
                    marked[y, x] = True


@njit
def cast(points, triangles, cut, has_cut, shadow):
    """Put triangles into the shadow map."""
    height, width = shadow.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = float(points[a, 0]), float(points[a, 1])
        x1, y1 = float(points[b, 0]), float(points[b, 1])
        x2, y2 = float(points[c, 0]), float(points[c, 1])
        left = max(0, math.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.5))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0 or left > right or top > bottom:
            continue
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                u = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                v = ((x0 - px) * (y1 - py) - (x1 - px) * (y0 - py)) * inverse
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                z = w * points[a, 2] + u * points[b, 2] + v * points[c, 2]
                if z < shadow[y, x]:
                    if has_cut and w * cut[a] + u * cut[b] + v * cut[c] <= 0.0:
                        continue
                    shadow[y, x] = z


@njit
def occlude(depth, box, step, focal, reach):
    """How open the surroundings of each visible place are, 0..1, every `step` samples: (H/step, W/step)."""
    height, width = depth.shape
    rows, columns = (height + step - 1) // step, (width + step - 1) // step
    raw = np.ones((rows, columns), np.float32)
    out = np.ones((rows, columns), np.float32)
    first_row, last_row = box[0] // step, min(rows, box[1] // step + 1)
    first_column, last_column = box[2] // step, min(columns, box[3] // step + 1)
    radii = np.empty(TAPS)
    for k in range(TAPS):
        radii[k] = reach * math.sqrt((k + 0.5) / TAPS)
    for row in range(first_row, last_row):
        for column in range(first_column, last_column):
            y, x = row * step, column * step
            z = depth[y, x]
            if z == np.inf:
                continue
            scale = focal / z
            slope_x, slope_y = 0.0, 0.0
            if 2 <= x < width - 2:
                ahead, behind = depth[y, x + 2] - z, z - depth[y, x - 2]
                slope_x = (ahead if abs(ahead) < abs(behind) else behind) * 0.5
                if abs(slope_x) * scale > 4.0:
                    slope_x = 0.0
            if 2 <= y < height - 2:
                ahead, behind = depth[y + 2, x] - z, z - depth[y - 2, x]
                slope_y = (ahead if abs(ahead) < abs(behind) else behind) * 0.5
                if abs(slope_y) * scale > 4.0:
                    slope_y = 0.0
            turn = ((row * 7 + column * 3) % 16) / 16.0  # another ring at each place of a 4 x 4 tile
            hidden = 0.0
            for k in range(TAPS):
                angle = (k + turn) * 2.399963
                dx, dy = math.cos(angle) * radii[k] * scale, math.sin(angle) * radii[k] * scale
                xx, yy = int(x + dx), int(y + dy)
                if xx < 0 or yy < 0 or xx >= width or yy >= height:
                    continue
                other = depth[yy, xx]
                if other == np.inf:
                    continue
                front = z + slope_x * dx + slope_y * dy - other
                if front > 0.015:
                    fall = front / (1.6 * reach)
                    hidden += front / math.sqrt(front * front + radii[k] ** 2) / (1.0 + fall * fall)
            raw[row, column] = max(0.0, 1.0 - 1.35 * hidden / TAPS)
    for row in range(first_row, last_row):
        for column in range(first_column, last_column):
            z = depth[row * step, column * step]
            if z == np.inf:
                continue
            total, count = 0.0, 0.0
            for j in range(-2, 2):
                for i in range(-2, 2):
                    r, c = row + j, column + i
                    if r < 0 or c < 0 or r >= rows or c >= columns:
                        continue
                    if abs(depth[r * step, c * step] - z) < 0.35:
                        total += raw[r, c]
                        count += 1.0
            out[row, column] = total / max(count, 1.0)
    return out


@njit
def openness(occlusion, depth, step, y, x, z):
    """The occlusion at a sample, between the grid's places that lie at about its depth."""
    if z == np.inf:
        return 1.0
    rows, columns = occlusion.shape
    row, column = y / step, x / step
    r0, c0 = int(row), int(column)
    fy, fx = row - r0, column - c0
    total, weight = 0.0, 1e-9
    for j in range(2):
        for i in range(2):
            r, c = min(r0 + j, rows - 1), min(c0 + i, columns - 1)
            apart = abs(depth[min(r * step, depth.shape[0] - 1), min(c * step, depth.shape[1] - 1)] - z)
            share = (fy if j else 1.0 - fy) * (fx if i else 1.0 - fx) + 1e-4
            share = share if apart < 0.3 else 1e-6
            total += share * occlusion[r, c]
            weight += share
    return total / weight
