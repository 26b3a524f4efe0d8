"""From a point of a surface to its colour: textures, relief, folds, light on skin, cloth and hair."""

import dataclasses
import math

import numpy as np

from data.synthetic.compiled import njit
from data.synthetic.mesh import KINDS, Material

SKIN, EYE, CLOTH, LEATHER, STRANDS = (KINDS[kind] for kind in ("skin", "eye", "cloth", "leather", "strands"))
CHANNELS = 5
"""Of a texture: red, green, blue, opacity, height."""
LEVELS = 8
"""Sizes at which a texture is kept, each half of the one before."""


@dataclasses.dataclass(frozen=True, eq=False)
class Materials:
    """The materials of a scene as arrays.

    Attributes:
        texels: (N, 5) float32, all textures at all sizes, row by row.
        places: (M, `LEVELS`, 3) int32: first texel, height, width.
        values: (M, 14) float32: kind, tiled, scale, relief, roughness, specular, sheen, glitter, wrinkles,
            folds a decimetre across and along, texels a unit of uv, hem, topstitch.
        means: (M, 3) float32, mean colour.
    """

    texels: np.ndarray
    places: np.ndarray
    values: np.ndarray
    means: np.ndarray


def pack_materials(materials: list[Material]) -> Materials:
    """Put textures and their smaller copies into one array."""
    texels, means = [], []
    places = np.zeros((len(materials), LEVELS, 3), np.int32)
    values = np.zeros((len(materials), 14), np.float32)
    start = 0
    for number, material in enumerate(materials):
        texture = np.asarray(material.texture, np.float32)
        means.append(texture[..., :3].reshape(-1, 3).mean(0))
        values[number] = (
            KINDS[material.kind], material.tiled, material.scale, material.relief, material.roughness,
            material.specular, material.sheen, material.glitter, material.wrinkles, *material.wrinkle_scale,
            material.scale * math.sqrt(texture.shape[0] * texture.shape[1]), material.hem, material.topstitch,
        )  # fmt: skip
        for level in range(LEVELS):
            height, width = texture.shape[:2]
            places[number, level] = start, height, width
            texels.append(texture.reshape(-1, CHANNELS))
            start += height * width
            if min(height, width) > 1 and level < LEVELS - 1:
                texture = _halve(texture)
    return Materials(np.concatenate(texels), places, values, np.array(means, np.float32))


def _halve(texture: np.ndarray) -> np.ndarray:
    """Half the size; colours are weighted by opacity, so that hair keeps its colour at the edges."""
    height, width = texture.shape[0] // 2 * 2, texture.shape[1] // 2 * 2
    quads = texture[:height, :width].reshape(height // 2, 2, width // 2, 2, CHANNELS)
    weight = quads[..., 3:4] + np.float32(1e-3)
    half = quads.mean((1, 3))
    half[..., :3] = (quads[..., :3] * weight).sum((1, 3)) / weight.sum((1, 3))
    return half


@njit
def texel(texels, places, number, level, tiled, u, v, first_channel, last_channel, out):
    """Bilinear sample of one size of a texture, some channels of it; v grows upward."""
    first, height, width = places[number, level, 0], places[number, level, 1], places[number, level, 2]
    x = u * width - 0.5
    y = (1.0 - v) * height - 0.5
    floor_x, floor_y = math.floor(x), math.floor(y)
    fx, fy = x - floor_x, y - floor_y
    x0, y0 = int(floor_x), int(floor_y)
    x1, y1 = x0 + 1, y0 + 1
    if tiled:
        x0, x1, y0, y1 = x0 % width, x1 % width, y0 % height, y1 % height
    else:
        x0, x1 = min(max(x0, 0), width - 1), min(max(x1, 0), width - 1)
        y0, y1 = min(max(y0, 0), height - 1), min(max(y1, 0), height - 1)
    a, b = first + y0 * width + x0, first + y0 * width + x1
    c, d = first + y1 * width + x0, first + y1 * width + x1
    for k in range(first_channel, last_channel):
        top = texels[a, k] * (1.0 - fx) + texels[b, k] * fx
        bottom = texels[c, k] * (1.0 - fx) + texels[d, k] * fx
        out[k] = top * (1.0 - fy) + bottom * fy


@njit
def sample_color(texels, places, values, number, size, u, v, out, spare):
    """Red, green and blue of a texture at the size that suits `size`, uv units a pixel, into `out`."""
    tiled = values[number, 1] > 0.5
    scale = values[number, 2]
    detail = math.log2(max(size * values[number, 11], 1e-6))
    detail = min(max(detail, 0.0), LEVELS - 1.001)
    level = int(detail)
    part = detail - level
    texel(texels, places, number, level, tiled, u * scale, v * scale, 0, 3, out)
    if part > 0.1:
        texel(texels, places, number, level + 1, tiled, u * scale, v * scale, 0, 3, spare)
        for k in range(3):
            out[k] += part * (spare[k] - out[k])


@njit
def relief(texels, places, values, number, size, u, v, spare):
    """How much the height of a texture changes along u and v, over about a pixel."""
    tiled = values[number, 1] > 0.5
    scale = values[number, 2]
    detail = math.log2(max(size * values[number, 11], 1e-6))
    if detail > 3.0:  # finer than what is seen
        return 0.0, 0.0
    level = max(0, int(detail + 0.5))
    step = 0.5 * size + 0.5 / values[number, 11]
    texel(texels, places, number, level, tiled, u * scale, v * scale, 4, 5, spare)
    here = spare[4]
    texel(texels, places, number, level, tiled, (u + step) * scale, v * scale, 4, 5, spare)
    du = spare[4] - here
    texel(texels, places, number, level, tiled, u * scale, (v + step) * scale, 4, 5, spare)
    return du, spare[4] - here


@njit
def hash_cell(i, j, seed):
    """A number in 0..1 for a cell of a grid."""
    h = (i * 374761393 + j * 668265263 + seed * 974634777) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@njit
def value_noise(x, y):
    """Smooth noise in 0..1 that changes over a length of 1."""
    floor_x, floor_y = math.floor(x), math.floor(y)
    fx, fy = x - floor_x, y - floor_y
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    i, j = int(floor_x), int(floor_y)
    top = hash_cell(i, j, 0) * (1.0 - fx) + hash_cell(i + 1, j, 0) * fx
    bottom = hash_cell(i, j + 1, 0) * (1.0 - fx) + hash_cell(i + 1, j + 1, 0) * fx
    return top * (1.0 - fy) + bottom * fy


@njit
def fold_height(u, v, across, along):
    """Height of the cloth's fine folds at (u, v) decimetres, in 0..1: long, branching, of two sizes."""
    bend = value_noise(0.35 * u, 0.35 * v)
    x, y = u * across + 1.3 * bend + 0.12 * v, v * along + 0.4 * bend
    ridge = 1.0 - abs(2.0 * value_noise(x, y) - 1.0)
    return 0.7 * ridge + 0.3 * value_noise(2.1 * x + 0.9 * y, 1.5 * y - 0.3 * x)


@njit
def bend_normal(normal, frame, du, dv):
    """Tilt `normal` (3,) by the slopes of a relief along the surface's u and v directions, `frame` (2, 3)."""
    for k in range(3):
        normal[k] -= du * frame[0, k] + dv * frame[1, k]
    length = 1.0 / math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + 1e-12)
    for k in range(3):
        normal[k] *= length


@njit
def surface_frame(points, a, b, c, uv, t, frame):
    """Unit directions in which u and v grow on triangle `t` with corners a, b, c into `frame` (2, 3)."""
    du1, dv1 = uv[t, 1, 0] - uv[t, 0, 0], uv[t, 1, 1] - uv[t, 0, 1]
    du2, dv2 = uv[t, 2, 0] - uv[t, 0, 0], uv[t, 2, 1] - uv[t, 0, 1]
    det = du1 * dv2 - du2 * dv1
    if abs(det) < 1e-12:
        frame[0, 0], frame[0, 1], frame[0, 2] = 1.0, 0.0, 0.0
        frame[1, 0], frame[1, 1], frame[1, 2] = 0.0, 1.0, 0.0
        return
    sign = 1.0 if det > 0.0 else -1.0
    for row in range(2):
        length = 1e-20
        for k in range(3):
            e1, e2 = points[b, k] - points[a, k], points[c, k] - points[a, k]
            along = sign * ((dv2 * e1 - dv1 * e2) if row == 0 else (du1 * e2 - du2 * e1))
            frame[row, k] = along
            length += along * along
        length = 1.0 / math.sqrt(length)
        for k in range(3):
            frame[row, k] *= length


@njit
def shadow_at(shadow, x, y, depth, bias, radius):
    """How much of the key light arrives: share of 16 places of the shadow map that are not nearer to it."""
    height, width = shadow.shape
    lit = 0.0
    inverse, start = 1.0 / bias, 1.5 - depth / bias
    for j in range(4):
        for i in range(4):
            column = int(x + (i - 1.5) * radius)
            row = int(y + (j - 1.5) * radius)
            if column < 0 or row < 0 or column >= width or row >= height:
                lit += 1.0
            else:
                # Soft in depth too, so that no band shows where a surface turns away.
                lit += min(max(shadow[row, column] * inverse + start, 0.0), 1.0)
    return lit / 16.0


@njit
def mirror_light(rx, ry, rz, rough, lights, ambient):
    """What a shiny surface mirrors in the studio: a bright room, softboxes left and right, a dark gap."""
    up = 0.5 + 0.5 * ry
    room = (0.55 + 0.6 * up) * (ambient[1] + ambient[6])
    strip = math.exp(-(((abs(rx) - 0.72) / (0.16 + 0.3 * rough)) ** 2)) * (0.5 + 0.5 * rz)
    dark = math.exp(-(((abs(rx) - 0.35) / 0.22) ** 2)) * (1.0 - rough)
    return room * (1.0 - 0.45 * dark) + 0.9 * strip * lights[0, 4]


@njit
def light_surface(kind, color, normal, view, values, number, shade, occlusion, lights, ambient, glint, out):
    """Light one point.

    `kind` is a number of `KINDS`, `color` the texture's there; `normal` and `view` (3,) are unit vectors, the
    normal toward the viewer; `values[number]` belongs to the material. `shade` says how much of the key light
    arrives, `occlusion` how open the surroundings are, `glint` scales highlights. `out` (3,) receives the
    linear colour.
    """
    nx, ny, nz = normal[0], normal[1], normal[2]
    facing = max(nx * view[0] + ny * view[1] + nz * view[2], 0.0)
    rough, specular = values[number, 4], values[number, 5]
    wrap0, wrap1, wrap2 = 0.06, 0.06, 0.06
    if kind == SKIN:
        wrap0, wrap1, wrap2 = 0.34, 0.17, 0.12
    elif kind == STRANDS:
        wrap0, wrap1, wrap2 = 0.3, 0.3, 0.3
    up = 0.5 + 0.5 * ny
    grazing = 1.0 - facing
    edge = ambient[7] * grazing * grazing * (0.35 + 0.65 * up)
    direct = ambient[6] * facing + edge
    open0, open1, open2 = occlusion, occlusion, occlusion
    if kind == SKIN:  # light that went through skin fills its creases with red
        open0 = occlusion * (1.3 - 0.3 * occlusion)
        open2 = occlusion * (0.95 + 0.05 * occlusion)
    red = (ambient[0] * up + ambient[3] * (1.0 - up) + direct) * open0
    green = (ambient[1] * up + ambient[4] * (1.0 - up) + direct) * open1
    blue = (ambient[2] * up + ambient[5] * (1.0 - up) + direct) * open2
    high = 0.0
    alpha2 = max(rough, 0.06) ** 4
    if kind == CLOTH:
        alpha2 = min(3.0 * alpha2 + 0.01, 1.0)
    for q in range(lights.shape[0]):
        lx, ly, lz = lights[q, 0], lights[q, 1], lights[q, 2]
        cosine = nx * lx + ny * ly + nz * lz
        arrives = shade if q == 0 else 0.4 + 0.6 * occlusion
        soft = 0.35 * lights[q, 6]  # a large lamp reaches round the form
        g = max(0.0, (cosine + wrap1 + soft) / (1.0 + wrap1 + soft))
        r, b = g, g
        if kind == SKIN:
            r = max(0.0, (cosine + wrap0 + soft) / (1.0 + wrap0 + soft))
            b = max(0.0, (cosine + wrap2 + soft) / (1.0 + wrap2 + soft))
        shade_red = arrives if kind != SKIN else arrives * (1.22 - 0.22 * arrives)
        red += lights[q, 3] * r * shade_red
        green += lights[q, 4] * g * arrives
        blue += lights[q, 5] * b * arrives
        if cosine > 0.0:
            hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
            length = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
            middle = max(0.0, (nx * hx + ny * hy + nz * hz) * length)
            meets = (hx * view[0] + hy * view[1] + hz * view[2]) * length
            wide = min(alpha2 + 0.02 * lights[q, 6], 1.0)
            spread = middle * middle * (wide - 1.0) + 1.0
            peak = wide / (math.pi * spread * spread + 1e-6)
            fresnel = specular + (1.0 - specular) * (1.0 - meets) ** 5
            visible = 0.25 / max(max(cosine, facing), 0.25)
            high += lights[q, 4] * arrives * cosine * peak * fresnel * visible * 3.0
    fresnel = specular + (1.0 - specular) * (1.0 - rough) * 0.6 * grazing**5
    twice = 2.0 * (nx * view[0] + ny * view[1] + nz * view[2])
    rx, ry, rz = twice * nx - view[0], twice * ny - view[1], twice * nz - view[2]
    gloss = 1.0 - rough
    if kind == SKIN:
        gloss = 0.25
    elif kind == CLOTH:  # threads scatter what a smooth surface would mirror
        gloss *= 0.32
    high += fresnel * gloss * 1.6 * mirror_light(rx, ry, rz, rough, lights, ambient) * (0.3 + 0.7 * occlusion)
    high *= glint
    sheen = values[number, 6] * grazing**3 * occlusion * 0.9
    out[0] = color[0] * (red + sheen) + high + 0.15 * sheen * red
    out[1] = color[1] * (green + sheen) + high + 0.15 * sheen * green
    out[2] = color[2] * (blue + sheen) + high + 0.15 * sheen * blue


@njit
def eye_glint(normal, view, lights, out):
    """The key light mirrored in a wet eye, added to `out` (3,)."""
    hx, hy, hz = lights[0, 0] + view[0], lights[0, 1] + view[1], lights[0, 2] + view[2]
    length = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
    middle = max(0.0, (normal[0] * hx + normal[1] * hy + normal[2] * hz) * length)
    strength = min(1.0, max(0.0, (middle - 0.972) / 0.012)) * 0.75
    for k in range(3):
        out[k] += strength * (1.0 - min(out[k], 1.0))


@njit
def flake_glint(u, v, size, normal, view, lights, amount):
    """How bright the sequins at (u, v) decimetres flash: each is a small mirror with a tilt of its own."""
    total = 0.0
    step = max(0.035, 0.9 * size)
    i, j = int(math.floor(u / step)), int(math.floor(v / step))
    tilt_x = (hash_cell(i, j, 1) - 0.5) * 0.9
    tilt_y = (hash_cell(i, j, 2) - 0.5) * 0.9
    nx, ny, nz = normal[0] + tilt_x, normal[1] + tilt_y, normal[2] + 0.3 * (tilt_x - tilt_y)
    length = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    for q in range(lights.shape[0]):
        hx, hy, hz = lights[q, 0] + view[0], lights[q, 1] + view[1], lights[q, 2] + view[2]
        half = length / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
        middle = max(0.0, (nx * hx + ny * hy + nz * hz) * half)
        total += lights[q, 4] * middle ** (14.0 + 50.0 * (1.0 - lights[q, 6]))
    return amount * total * (0.15 + 4.0 * hash_cell(i, j, 3) ** 4)


@njit
def paint(texels, places, values, number, u, v, size, normal, view, frame, shade, occlusion, lights, ambient,
          color, spare, out):  # fmt: skip
    """Colour of one point of a surface that is not hair.

    `u`, `v` are the surface's coordinates, `size` how much they change from pixel to pixel; `frame` (2, 3)
    has the directions of u and v; `color` and `spare` (5,) are overwritten.
    """
    kind = int(values[number, 0])
    sample_color(texels, places, values, number, size, u, v, color, spare)
    if values[number, 3] > 0.0:
        du, dv = relief(texels, places, values, number, size, u, v, spare)
        bend_normal(normal, frame, values[number, 3] * du, values[number, 3] * dv)
    if values[number, 8] > 0.0:
        here = fold_height(u, v, values[number, 9], values[number, 10])
        du = fold_height(u + 0.04, v, values[number, 9], values[number, 10]) - here
        dv = fold_height(u, v + 0.04, values[number, 9], values[number, 10]) - here
        bend_normal(normal, frame, values[number, 8] * 2.2 * du, values[number, 8] * 2.2 * dv)
        occlusion *= 1.0 - 0.15 * values[number, 8] * (1.0 - here)
    glint = 1.0
    flash = 0.0
    if values[number, 7] > 0.0:
        flash = flake_glint(u, v, size, normal, view, lights, values[number, 7])
        for k in range(3):  # what does not flash mirrors the dark
            color[k] *= 1.0 - 0.45 * values[number, 7] * (1.0 - min(flash, 1.0))
    facing = normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2]
    if facing < 0.05:  # the relief does not turn what is seen away from the viewer
        for k in range(3):
            normal[k] += (0.05 - facing) * view[k]
    if kind == EYE:  # lids and lashes keep light off it
        shade, occlusion = 0.6 * shade, 0.6 * occlusion
    light_surface(kind, color, normal, view, values, number, shade, occlusion, lights, ambient, glint, out)
    if kind == EYE:
        eye_glint(normal, view, lights, out)
    if flash > 0.0:
        flash *= 0.35 + 0.65 * shade
        for k in range(3):
            out[k] += flash * (0.25 + 0.75 * color[k])


@njit
def light_vertices(vertices, normals, tangents, strands, light_points, shadow, radius, lights, ambient,
                   camera, out):  # fmt: skip
    """Light hair or lace at its vertices.

    `vertices`, `normals` and `tangents` (V, 3) are in the world, tangents along the strands; with `strands`
    it is hair, which shines along its length. `light_points` (V, 3) are places in the map `shadow`, `radius`
    that of its softness in its pixels; `camera` (3,) is the camera's position. `out` (V, 5) receives the
    factors of the colour and a white and a tinted highlight.
    """
    view = np.empty(3, np.float32)
    dim, wrap = (0.85, 0.3) if strands else (1.0, 0.12)
    for i in range(vertices.shape[0]):
        for k in range(3):
            view[k] = camera[k] - vertices[i, k]
        length = 1.0 / math.sqrt(view[0] ** 2 + view[1] ** 2 + view[2] ** 2)
        for k in range(3):
            view[k] *= length
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        inside = 1.0
        if nx * view[0] + ny * view[1] + nz * view[2] < 0:
            nx, ny, nz, inside = -nx, -ny, -nz, (0.7 if strands else 0.9)
        shade = shadow_at(shadow, light_points[i, 0], light_points[i, 1], light_points[i, 2], 0.25, radius)
        up = 0.5 + 0.5 * ny
        facing = max(nx * view[0] + ny * view[1] + nz * view[2], 0.0)
        around = ambient[6] * facing + ambient[7] * (1.0 - facing) ** 2
        for k in range(3):
            out[i, k] = (ambient[k] * up + ambient[3 + k] * (1.0 - up) + around) * inside * dim
        sharp, broad = 0.0, 0.0
        for q in range(lights.shape[0]):
            lx, ly, lz = lights[q, 0], lights[q, 1], lights[q, 2]
            cosine = nx * lx + ny * ly + nz * lz
            arrives = (shade if q == 0 else 0.8) * inside
            for k in range(3):
                out[i, k] += lights[q, 3 + k] * max(0.0, (cosine + wrap) / (1.0 + wrap)) * arrives * dim
            if not strands:
                continue
            hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
            length = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
            along = (tangents[i, 0] * hx + tangents[i, 1] * hy + tangents[i, 2] * hz) * length
            # The scales of a hair tilt its two highlights toward root and tip (Kajiya and Kay, Marschner).
            first, second = along + 0.10, along - 0.16
            gate = max(0.0, min(1.0, (cosine + 0.25) / 0.6)) * arrives * lights[q, 4]
            sharp += gate * math.sqrt(max(0.0, 1.0 - first * first)) ** 90
            broad += gate * math.sqrt(max(0.0, 1.0 - second * second)) ** 18
        out[i, 3], out[i, 4] = sharp, broad
