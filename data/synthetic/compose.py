"""What lies over what: hair and lace by opacity, light on all that is opaque, the picture's pixels."""

import math

import numpy as np

from data.synthetic.compiled import njit
from data.synthetic.passes import NEAR, OPAQUE, openness
from data.synthetic.shading import (
    CHANNELS,
    LEVELS,
    STRANDS,
    paint,
    shadow_at,
    surface_frame,
    texel,
)
from data.synthetic.stitches import sew
from data.synthetic.studio import TONE_RANGE, WHITE


@njit
def uv_size(seen, uv, t, a, b, c):
    """How much uv changes from sample to sample on a triangle."""
    x1, y1 = seen[b, 0] - seen[a, 0], seen[b, 1] - seen[a, 1]
    x2, y2 = seen[c, 0] - seen[a, 0], seen[c, 1] - seen[a, 1]
    area = abs(x1 * y2 - x2 * y1)
    u1, v1 = uv[t, 1, 0] - uv[t, 0, 0], uv[t, 1, 1] - uv[t, 0, 1]
    u2, v2 = uv[t, 2, 0] - uv[t, 0, 0], uv[t, 2, 1] - uv[t, 0, 1]
    return math.sqrt(abs(u1 * v2 - u2 * v1) / max(area, 0.05))


@njit
def light_point(t, u, v, size, seen, world, normals, triangles, uv, edge, seam, number, texels, places,
                values, light, open_, normal, view, frame, color, spare, out):  # fmt: skip
    """Light one point of triangle `t`."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    w = 1.0 - u - v
    px = w * world[a, 0] + u * world[b, 0] + v * world[c, 0]
    py = w * world[a, 1] + u * world[b, 1] + v * world[c, 1]
    pz = w * world[a, 2] + u * world[b, 2] + v * world[c, 2]
    view[0], view[1], view[2] = light.camera[0] - px, light.camera[1] - py, light.camera[2] - pz
    near = 1.0 / math.sqrt(view[0] ** 2 + view[1] ** 2 + view[2] ** 2)
    facing, length = 0.0, 1e-12
    for k in range(3):
        view[k] *= near
        normal[k] = w * normals[a, k] + u * normals[b, k] + v * normals[c, k]
        facing += normal[k] * view[k]
        length += normal[k] ** 2
    x1, y1 = seen[b, 0] - seen[a, 0], seen[b, 1] - seen[a, 1]
    x2, y2 = seen[c, 0] - seen[a, 0], seen[c, 1] - seen[a, 1]
    # The triangle says which side is seen; at an outline the smooth normal may point away from the viewer.
    front = x1 * y2 - x2 * y1 <= 0.0
    length = (1.0 if front else -1.0) / math.sqrt(length)
    facing = facing if front else -facing
    cosine = 0.0
    for k in range(3):
        normal[k] *= length
        if facing < 0.0:
            normal[k] -= facing * abs(length) * view[k]
        cosine += normal[k] * light.lamps[0, k]
    matrix = light.matrix
    x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
    y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
    z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
    shade = shadow_at(light.shadow, x, y, z, 0.12 + 0.25 * (1.0 - max(cosine, 0.0)), light.radius)
    tu = w * uv[t, 0, 0] + u * uv[t, 1, 0] + v * uv[t, 2, 0]
    tv = w * uv[t, 0, 1] + u * uv[t, 1, 1] + v * uv[t, 2, 1]
    if values[number, 3] > 0.0 or values[number, 8] > 0.0:
        surface_frame(world, a, b, c, uv, t, frame)
    paint(texels, places, values, number, tu, tv, size, normal, view, frame, shade, open_, light.lamps,
                 light.ambient, color, spare, out)  # fmt: skip
    if values[number, 12] > 0.0:
        sew(w * edge[a] + u * edge[b] + v * edge[c], w * seam[t, 0] + u * seam[t, 1] + v * seam[t, 2], size,
            values[number, 12], values[number, 13], color, out)  # fmt: skip


@njit
def veil(order, seen, triangles, uv, owner, cut, texels, places, values, vertex_light, depth, over, through):
    """Lay hair, lashes and lace over what is opaque, nearest first.

    `order` has the triangles to lay, nearest first; `seen` (N, 3) the vertices in samples, with their depth;
    `vertex_light` (N, 5) comes from `shading.light_vertices`; `depth` (H, W) is that of what is opaque.
    `over` (H, W, 3) receives the light of what is laid and `through` (H, W) how much of what is behind is
    seen. The other arguments are the scene's and its materials'.

    Returns:
        Depth, triangle (-1 for none) and barycentric weights, at each sample, of the surface at which the
        opacity so far exceeds one half.
    """
    height, width = depth.shape
    color, spare = np.empty(CHANNELS, np.float32), np.empty(3, np.float32)
    hit_depth = np.zeros((height, width), np.float32)
    hit_ids = np.full((height, width), -1, np.int32)
    hit_weights = np.zeros((height, width, 2), np.float32)
    for o in range(order.shape[0]):
        t = order[o]
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = float(seen[a, 0]), float(seen[a, 1])
        x1, y1 = float(seen[b, 0]), float(seen[b, 1])
        x2, y2 = float(seen[c, 0]), float(seen[c, 1])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        left = max(0, math.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.5))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        if area == 0.0 or left > right or top > bottom:
            continue
        inverse = 1.0 / area
        number = owner[t]
        gain = 1.25 if int(values[number, 0]) == STRANDS else 1.0
        scale, tiled = values[number, 2], values[number, 1] > 0.5
        size = uv_size(seen, uv, t, a, b, c)
        level = min(max(int(math.log2(max(size * values[number, 11], 1e-6)) + 0.4), 0), LEVELS - 1)
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                u = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                v = ((x0 - px) * (y1 - py) - (x1 - px) * (y0 - py)) * inverse
                w = 1.0 - u - v
                if u < -1e-7 or v < -1e-7 or w < -1e-7 or through[y, x] < 1.0 - OPAQUE:
                    continue
                z = w * seen[a, 2] + u * seen[b, 2] + v * seen[c, 2]
                if z - NEAR > depth[y, x] or w * cut[a] + u * cut[b] + v * cut[c] <= 0.0:
                    continue
                tu = (w * uv[t, 0, 0] + u * uv[t, 1, 0] + v * uv[t, 2, 0]) * scale
                tv = (w * uv[t, 0, 1] + u * uv[t, 1, 1] + v * uv[t, 2, 1]) * scale
                texel(texels, places, number, level, tiled, tu, tv, 0, 4, color)
                alpha = min(1.0, gain * color[3])
                if alpha < 0.02:
                    continue
                sharp = w * vertex_light[a, 3] + u * vertex_light[b, 3] + v * vertex_light[c, 3]
                broad = w * vertex_light[a, 4] + u * vertex_light[b, 4] + v * vertex_light[c, 4]
                grain = 0.4 + 0.6 * min(color[1] * 6.0, 1.6)
                for k in range(3):
                    lit = w * vertex_light[a, k] + u * vertex_light[b, k] + v * vertex_light[c, k]
                    spare[k] = color[k] * (lit + 1.1 * broad) + 0.045 * sharp * grain
                share = through[y, x] * alpha
                for k in range(3):
                    over[y, x, k] += share * spare[k]
                if through[y, x] > 0.5 and through[y, x] - share <= 0.5:
                    hit_depth[y, x] = z
                    hit_ids[y, x] = t
                    hit_weights[y, x, 0] = u
                    hit_weights[y, x, 1] = v
                through[y, x] -= share
    return hit_depth, hit_ids, hit_weights


@njit
def resolve(box, seen, world, normals, triangles, uv, edge, seam, owner, texels, places, values, light,
            occlusion, step, depth, ids, weights, over, through, background, picture):  # fmt: skip
    """Light what is opaque and reduce the samples to the picture.

    The four samples of a pixel that show the same surface at about the same depth are lit once.

    `box` has the rows and columns, in samples, that may show the person; `background` and `picture` (H, W, 3)
    are linear, and `picture` is overwritten. The other arguments are the scene's, the light's and what `veil`
    and the earlier passes left.
    """
    normal, view, frame = np.empty(3, np.float32), np.empty(3, np.float32), np.zeros((2, 3), np.float32)
    color, spare = np.empty(CHANNELS, np.float32), np.empty(CHANNELS, np.float32)
    lit = np.empty(3, np.float32)
    total = np.empty(3)
    height, width = picture.shape[0], picture.shape[1]
    for row in range(height):
        inside = box[0] <= 2 * row < box[1]
        for column in range(width):
            if not (inside and box[2] <= 2 * column < box[3]):
                for k in range(3):
                    picture[row, column, k] = background[row, column, k]
                continue
            total[:] = 0.0
            done = 0  # bits of the samples that are lit
            for first in range(4):
                y, x = 2 * row + first // 2, 2 * column + first % 2
                if done & (1 << first):
                    continue
                t, clear, z = ids[y, x], 0.0, depth[y, x]
                u, v, alike = 0.0, 0.0, 0
                for other in range(first, 4):
                    yy, xx = 2 * row + other // 2, 2 * column + other % 2
                    tt = ids[yy, xx]
                    if (t < 0) != (tt < 0) or done & (1 << other):
                        continue
                    if t >= 0 and (owner[tt] != owner[t] or abs(depth[yy, xx] - z) > 0.25):
                        continue
                    done |= 1 << other
                    clear += through[yy, xx]
                    for k in range(3):
                        total[k] += over[yy, xx, k]
                    if tt == t:
                        u += weights[yy, xx, 0]
                        v += weights[yy, xx, 1]
                        alike += 1
                if clear < 4.0 * (1.0 - OPAQUE):
                    continue
                if t < 0:
                    for k in range(3):
                        total[k] += clear * min(background[row, column, k], 1.6)
                    continue
                size = 2.0 * uv_size(seen, uv, t, triangles[t, 0], triangles[t, 1], triangles[t, 2])
                open_ = openness(occlusion, depth, step, y, x, z)
                light_point(t, u / alike, v / alike, size, seen, world, normals, triangles, uv, edge, seam,
                            owner[t], texels, places, values, light, open_, normal, view, frame, color, spare,
                            lit)  # fmt: skip
                for k in range(3):
                    total[k] += clear * min(lit[k], 1.6)
            for k in range(3):
                picture[row, column, k] = 0.25 * total[k]


@njit
def develop(light, blur, saturation, curve, picture):
    """From linear light to the film's picture.

    Args:
        light: (H, W, 3) float32.
        blur: share of a pixel's light that the lens spreads to each of its four neighbours.
        saturation: of colours, 1 as they are.
        curve: (3, `WHITE`) uint8, the film's values of the light 0 to `TONE_RANGE`.
        picture: (H, W, 3) uint8, overwritten.
    """
    height, width = light.shape[0], light.shape[1]
    color = np.empty(3)
    for row in range(height):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            for k in range(3):
                around = light[above, column, k] + light[below, column, k]
                around += light[row, left, k] + light[row, right, k]
                color[k] = (1.0 - 4.0 * blur) * light[row, column, k] + blur * around
            grey = 0.25 * color[0] + 0.65 * color[1] + 0.10 * color[2]
            for k in range(3):
                value = grey + saturation * (color[k] - grey)
                value = min(value, TONE_RANGE) if value > 0.0 else 0.0  # what is not a number, too
                picture[row, column, k] = curve[k, int(value * ((WHITE - 1) / TONE_RANGE) + 0.5)]


@njit
def vote(
    box,
    seen,
    triangles,
    depth,
    ids,
    weights,
    parts,
    hit_depth,
    hit_ids,
    hit_weights,
    part,
    out_depth,
    out_ids,
    out_weights,
):
    """What each pixel shows: the most common part of its samples; the person wins over the background.

    `box` has the rows and columns, in samples, that may show the person; `seen` the vertices in samples;
    `depth`, `ids` and `weights` belong to what is opaque, those with `hit_` to hair and lace (ids are -1
    where there is none); `parts` (T,) are the triangles'. `part` and those with `out_` are overwritten.
    """
    shown = np.empty(4, np.int32)
    for row in range(box[0] // 2, box[1] // 2):
        for column in range(box[2] // 2, box[3] // 2):
            best, votes = -1, 0
            for s in range(4):
                y, x = 2 * row + s // 2, 2 * column + s % 2
                shown[s] = hit_ids[y, x] if hit_ids[y, x] >= 0 else ids[y, x]
            for s in range(4):
                if shown[s] < 0:
                    continue
                count = 0
                for r in range(4):
                    if shown[r] >= 0 and parts[shown[r]] == parts[shown[s]]:
                        count += 1
                if count > votes:
                    best, votes = s, count
            empty = 0
            for s in range(4):
                empty += shown[s] < 0
            if best < 0 or empty > votes:
                continue
            y, x = 2 * row + best // 2, 2 * column + best % 2
            hair = hit_ids[y, x] >= 0
            part[row, column] = parts[shown[best]]
            out_depth[row, column] = hit_depth[y, x] if hair else depth[y, x]
            out_ids[row, column] = shown[best]
            u, v, alike = 0.0, 0.0, 0
            for s in range(4):
                if shown[s] == shown[best]:
                    y, x = 2 * row + s // 2, 2 * column + s % 2
                    u += hit_weights[y, x, 0] if hair else weights[y, x, 0]
                    v += hit_weights[y, x, 1] if hair else weights[y, x, 1]
                    alike += 1
            u, v = u / alike, v / alike
            # The pixel's middle, where it lies near enough to the triangle, else the middle of the samples.
            a, b, c = triangles[shown[best], 0], triangles[shown[best], 1], triangles[shown[best], 2]
            px, py = 2.0 * column + 1.0, 2.0 * row + 1.0
            x1, y1 = seen[b, 0] - seen[a, 0], seen[b, 1] - seen[a, 1]
            x2, y2 = seen[c, 0] - seen[a, 0], seen[c, 1] - seen[a, 1]
            area = x1 * y2 - x2 * y1
            if abs(area) > 1e-6:
                dx, dy = px - seen[a, 0], py - seen[a, 1]
                uu, vv = (dx * y2 - x2 * dy) / area, (x1 * dy - dx * y1) / area
                if abs(uu - 0.5) <= 1.0 and abs(vv - 0.5) <= 1.0:
                    u, v = uu, vv
            out_weights[row, column, 0] = u
            out_weights[row, column, 1] = v
