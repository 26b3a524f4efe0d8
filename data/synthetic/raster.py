"""A small deferred renderer: tapered capsules and lofts of ellipses, ray-cast into buffers with a depth test.

Coordinates are pixels: x to the right, y downward, z toward the viewer. Rays run along z (an orthographic
camera).
"""

import dataclasses
import math

import numpy as np

FAR = np.float32(-1e9)


class GBuffer:
    """What is seen at each pixel: depth, surface number (0 = nothing), normal, surface coordinates u and v.

    The normal's y points down like the picture's. u is an angle around the body part in radians, 0 in front
    and growing toward the person's left; v runs along the part in body heights.
    `top` and `left` cut a window out of a larger picture.
    """

    def __init__(self, height: int, width: int, top: int = 0, left: int = 0):
        self.height, self.width = height, width
        self.top, self.left = top, left
        self.x = np.arange(left, left + width, dtype=np.float32) + 0.5
        self.y = np.arange(top, top + height, dtype=np.float32) + 0.5
        self.z = np.empty((height, width), np.float32)
        self.surface = np.empty((height, width), np.uint8)
        self.nx, self.ny, self.nz, self.u, self.v = np.zeros((5, height, width), np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget everything drawn."""
        self.z.fill(FAR)
        self.surface.fill(0)

    def clip_box(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice] | None:
        """The pixels with centres inside a rectangle, as slices of rows and columns; None without any."""
        left = max(0, math.ceil(x0 - 0.5) - self.left)
        right = min(self.width, math.floor(x1 - 0.5) + 1 - self.left)
        top = max(0, math.ceil(y0 - 0.5) - self.top)
        bottom = min(self.height, math.floor(y1 - 0.5) + 1 - self.top)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)


@dataclasses.dataclass
class Cone:
    """A tapered capsule from `a` to `b`, the hull of two balls; see `draw_cone`."""

    a: np.ndarray
    b: np.ndarray
    radius_a: float
    radius_b: float
    surface: int
    v_a: float = 0.0
    v_b: float = 0.0
    front: np.ndarray | None = None
    cut_a: bool = False
    cut_b: bool = False


def draw_cone(buffer: GBuffer, cone: Cone) -> None:
    """Ray-cast one tapered capsule (the round cone of Inigo Quilez, "Intersectors", with rays along z).

    `cut_a` and `cut_b` leave out the ball at that end, as a sleeve ends at the wrist. `front` is the
    direction in which u is 0; without it u is 0 everywhere.
    """
    (ax, ay, az), (bx, by, bz) = cone.a.tolist(), cone.b.tolist()
    ra, rb = cone.radius_a, cone.radius_b
    box = buffer.clip_box(
        min(ax - ra, bx - rb), max(ax + ra, bx + rb), min(ay - ra, by - rb), max(ay + ra, by + rb)
    )
    if box is None:
        return
    rows, columns = box
    dx, dy, dz = bx - ax, by - ay, bz - az
    length2 = dx * dx + dy * dy + dz * dz
    rr = ra - rb
    d2 = length2 - rr * rr
    ox = (buffer.x[columns] - ax)[None, :]
    oy = (buffer.y[rows] - ay)[:, None]
    oo = ox * ox + oy * oy  # rays start in the plane z = az, so that the offset from `a` has no z
    z = np.full(oo.shape, FAR, np.float32)
    along = np.zeros(oo.shape, np.float32)
    if d2 > 1e-6:
        m1 = dx * ox + dy * oy
        k2 = max(d2 - dz * dz, 1e-3)
        k1 = rr * ra * dz - m1 * dz
        k0 = d2 * oo - m1 * m1 + (2 * rr * ra) * m1 - length2 * ra * ra
        h = k1 * k1 - k0 * k2
        hit = h > 0
        t = (np.sqrt(np.maximum(h, 0)) - k1) / k2  # the root nearer to the viewer
        y = m1 + (t * dz - ra * rr)
        hit &= (y > 0) & (y < d2)
        np.copyto(z, t, where=hit)
        np.copyto(along, y, where=hit)
    if not cone.cut_a:
        h = ra * ra - oo
        t = np.sqrt(np.maximum(h, 0))
        ball = (h > 0) & (t > z)
        np.copyto(z, t, where=ball)
        np.copyto(along, 0, where=ball)
    if not cone.cut_b:
        h = rb * rb - (ox - dx) ** 2 - (oy - dy) ** 2
        t = np.sqrt(np.maximum(h, 0)) + dz
        ball = (h > 0) & (t > z)
        np.copyto(z, t, where=ball)
        np.copyto(along, max(d2, 0.0), where=ball)
    z += az
    seen = z > np.maximum(buffer.z[rows, columns], FAR / 2)
    iy, ix = np.nonzero(seen)
    if len(iy) == 0:
        return
    z, s = z[iy, ix], along[iy, ix] / max(d2, 1e-6)
    radius = ra + (rb - ra) * s
    nx = (ox[0, ix] - dx * s) / radius
    ny = (oy[iy, 0] - dy * s) / radius
    nz = (z - az - dz * s) / radius
    norm = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
    iy += rows.start
    ix += columns.start
    buffer.z[iy, ix] = z
    buffer.surface[iy, ix] = cone.surface
    buffer.nx[iy, ix], buffer.ny[iy, ix], buffer.nz[iy, ix] = nx * norm, ny * norm, nz * norm
    # Not clamped as `s` is: the pattern goes on over the balls.
    drawn = ((nx * radius + dx * s) * dx + (ny * radius + dy * s) * dy + (z - az) * dz) / max(length2, 1e-6)
    buffer.v[iy, ix] = cone.v_a + (cone.v_b - cone.v_a) * drawn
    if cone.front is None:
        buffer.u[iy, ix] = 0
        return
    axis = np.array([dx, dy, dz]) / math.sqrt(length2)
    e1 = cone.front - axis * (cone.front @ axis)
    e1 /= np.linalg.norm(e1) + 1e-9
    e2 = np.cross(axis, e1)
    e1, e2 = e1.astype(np.float32), e2.astype(np.float32)
    buffer.u[iy, ix] = np.arctan2(nx * e2[0] + ny * e2[1] + nz * e2[2], nx * e1[0] + ny * e1[1] + nz * e1[2])


@dataclasses.dataclass
class Loft:
    """A stack of horizontal ellipses, sampled from top to bottom: one row an ellipse.

    Attributes:
        y: (n,) rising, pixels.
        x, z: (n,) centres.
        half_width, half_depth: (n,) semi-axes along the person's left and forward.
        yaw: (n,) radians; 0 faces the viewer, positive toward the person's left (the right of the picture).
        v: (n,) the coordinate that is stored.
        surface: its number.
        open_front: None, or (n,) radians: where |u| is below it there is no wall, and the inside of the back
            is seen.
    """

    y: np.ndarray
    x: np.ndarray
    z: np.ndarray
    half_width: np.ndarray
    half_depth: np.ndarray
    yaw: np.ndarray
    v: np.ndarray
    surface: int
    open_front: np.ndarray | None = None


def draw_loft(buffer: GBuffer, loft: Loft) -> None:
    """Ray-cast one loft: in each row of pixels the rays meet one ellipse."""
    reach = np.maximum(loft.half_width, loft.half_depth)
    box = buffer.clip_box((loft.x - reach).min(), (loft.x + reach).max(), loft.y[0], loft.y[-1])
    if box is None:
        return
    rows, columns = box
    row_y = buffer.y[rows]

    def per_row(values: np.ndarray) -> np.ndarray:
        return np.interp(row_y, loft.y, values).astype(np.float32)[:, None]

    cx, cz, a, b, yaw, v = (
        per_row(c) for c in (loft.x, loft.z, loft.half_width, loft.half_depth, loft.yaw, loft.v)
    )
    a, b = np.maximum(a, 0.3), np.maximum(b, 0.3)
    slope_a, slope_b = (
        per_row(np.gradient(loft.half_width, loft.y)),
        per_row(np.gradient(loft.half_depth, loft.y)),
    )
    slope_x, slope_z = per_row(np.gradient(loft.x, loft.y)), per_row(np.gradient(loft.z, loft.y))
    cos, sin = np.cos(yaw), np.sin(yaw)
    ia2, ib2 = 1 / (a * a), 1 / (b * b)
    dx = buffer.x[columns][None, :] - cx
    quadratic = sin * sin * ia2 + cos * cos * ib2
    linear = dx * (sin * cos * (ib2 - ia2))
    constant = dx * dx * (cos * cos * ia2 + sin * sin * ib2) - 1
    h = linear * linear - quadratic * constant
    hit = h > 0
    root = np.sqrt(np.maximum(h, 0))
    dz = (root - linear) / quadratic
    if loft.open_front is None:
        hit &= dz + cz > buffer.z[rows, columns]
        inside = None
    else:
        limit = per_row(loft.open_front)
        u = np.arctan2((dx * cos - dz * sin) / a, (dx * sin + dz * cos) / b)
        back = (np.abs(u) < limit) & hit
        dz_back = -(root + linear) / quadratic
        u_back = np.arctan2((dx * cos - dz_back * sin) / a, (dx * sin + dz_back * cos) / b)
        hit &= ~back | (np.abs(u_back) >= limit)
        dz = np.where(back, dz_back, dz)
        hit &= dz + cz > buffer.z[rows, columns]
        inside = back
    iy, ix = np.nonzero(hit)
    if len(iy) == 0:
        return
    dx, dz = dx[iy, ix], dz[iy, ix]
    a, b, cos, sin = a[iy, 0], b[iy, 0], cos[iy, 0], sin[iy, 0]
    across, forward = (dx * cos - dz * sin) / a, (dx * sin + dz * cos) / b
    across_a, forward_b = across / a, forward / b
    nx, nz = across_a * cos + forward_b * sin, forward_b * cos - across_a * sin
    ny = -(across * across_a * slope_a[iy, 0] + forward * forward_b * slope_b[iy, 0])
    ny -= nx * slope_x[iy, 0] + nz * slope_z[iy, 0]
    norm = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    if inside is not None:
        norm = np.where(inside[iy, ix], -norm, norm)
    z = dz + cz[iy, 0]
    v = v[iy, 0]
    iy += rows.start
    ix += columns.start
    buffer.z[iy, ix] = z
    buffer.surface[iy, ix] = loft.surface
    buffer.nx[iy, ix], buffer.ny[iy, ix], buffer.nz[iy, ix] = nx * norm, ny * norm, nz * norm
    buffer.u[iy, ix] = np.arctan2(across, forward)
    buffer.v[iy, ix] = v
