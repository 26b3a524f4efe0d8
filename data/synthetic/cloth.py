"""Cloth in motion: a grid of points held at its first two rows, over the legs and around the hips.

Extended position-based dynamics with many small steps (Macklin et al., "Small Steps in
Physics Simulation", 2019).
"""

import numpy as np

from data.synthetic.compiled import njit

THICKNESS = 0.06
"""How far cloth stays from what it lies on, in dm."""
GRAVITY = 98.0
STRIDE = 0.15
"""How far a point of the cloth moves in one small step at most, in dm."""
MAX_RISE = 0.12
"""How far cloth rises at most, dm a dm that it hangs below the waist."""


@njit()
def simulate(
    x, v, pins0, pins1, legs0, legs1, floor0, floor1, weft, warp, shear, hang, stiffness, lag,
    drag, steps, dt,
):  # fmt: skip
    """Move the cloth on by `steps` small steps of `dt` seconds.

    `x` and `v` (R, C, 3) are its points' places and velocities, dm and dm a second, and are overwritten.
    Each of the pairs is interpolated from before to after: `pins` (R, C, 3), where the points would be if the
    cloth were stiff; `legs` (L, 8), capsules to stay out of, two ends and two radii; `floor` (r, C, 3), the
    hips' outline at the first rows. `weft`, `warp` and `shear` are the lengths of the threads around, down
    and across, `hang` (R, C) that of the cloth above each point. `stiffness` is against bending, 0 to 1;
    `lag` is how far it twists at most, dm a dm that it hangs; `drag` how fast it takes on the air's velocity,
    1/s.
    """
    rows, columns = x.shape[0], x.shape[1]
    before = np.empty_like(x)
    legs, floor = legs0.copy(), floor0.copy()
    keep = np.exp(-drag * dt)
    for step in range(steps):
        share = (step + 1) / steps
        for i in range(legs.shape[0]):
            for k in range(8):
                legs[i, k] = legs0[i, k] * (1 - share) + legs1[i, k] * share
        for i in range(floor.shape[0]):
            for j in range(columns):
                for k in range(3):
                    floor[i, j, k] = floor0[i, j, k] * (1 - share) + floor1[i, j, k] * share
        for i in range(rows):
            for j in range(columns):
                for k in range(3):
                    before[i, j, k] = x[i, j, k]
                if i < 2:
                    for k in range(3):
                        x[i, j, k] = pins0[i, j, k] * (1 - share) + pins1[i, j, k] * share
                else:
                    v[i, j, 1] -= GRAVITY * dt
                    for k in range(3):
                        # The air around moves half as fast as the body.
                        air = 0.5 * (pins1[i, j, k] - pins0[i, j, k]) / (steps * dt)
                        v[i, j, k] = air + (v[i, j, k] - air) * keep
                        x[i, j, k] += v[i, j, k] * dt
        _threads(x, weft, warp, shear, stiffness)
        _restrain(x, pins0, pins1, share, hang, lag)
        # No thread pulls a point through a leg in one go.
        for i in range(2, rows):
            for j in range(columns):
                dx, dy, dz = (
                    x[i, j, 0] - before[i, j, 0],
                    x[i, j, 1] - before[i, j, 1],
                    x[i, j, 2] - before[i, j, 2],
                )
                f = STRIDE / (np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9)
                if f < 1:
                    x[i, j, 0] = before[i, j, 0] + dx * f
                    x[i, j, 1] = before[i, j, 1] + dy * f
                    x[i, j, 2] = before[i, j, 2] + dz * f
        _keep_off(x, legs, floor)
        for i in range(2, rows):
            for j in range(columns):
                # Never farther from the waist than the cloth is long.
                dx, dy, dz = x[i, j, 0] - x[1, j, 0], x[i, j, 1] - x[1, j, 1], x[i, j, 2] - x[1, j, 2]
                reach = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
                longest = 1.03 * (hang[i, j] - hang[1, j])
                if reach > longest:
                    f = longest / reach
                    x[i, j, 0], x[i, j, 1], x[i, j, 2] = (
                        x[1, j, 0] + dx * f,
                        x[1, j, 1] + dy * f,
                        x[1, j, 2] + dz * f,
                    )
                for k in range(3):
                    v[i, j, k] = min(25.0, max(-25.0, (x[i, j, k] - before[i, j, k]) / dt))


@njit()
def _pull(x, i, j, m, n, rest, strength, push):
    dx, dy, dz = x[i, j, 0] - x[m, n, 0], x[i, j, 1] - x[m, n, 1], x[i, j, 2] - x[m, n, 2]
    length = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    if length < rest:
        strength *= push
    wi, wm = (0.0 if i < 2 else 1.0), (0.0 if m < 2 else 1.0)
    if wi + wm == 0:
        return
    f = strength * (length - rest) / (length * (wi + wm))
    x[i, j, 0] -= wi * f * dx
    x[i, j, 1] -= wi * f * dy
    x[i, j, 2] -= wi * f * dz
    x[m, n, 0] += wm * f * dx
    x[m, n, 1] += wm * f * dy
    x[m, n, 2] += wm * f * dz


@njit()
def _threads(x, weft, warp, shear, stiffness):
    rows, columns = x.shape[0], x.shape[1]
    for i in range(1, rows):
        for j in range(columns):
            _pull(x, i - 1, j, i, j, warp[i - 1, j], 1.0, 1.0)
        for j in range(columns):
            n = (j + 1) % columns
            if i > 1:
                _pull(x, i, j, i, n, weft[i, j], 0.9, 0.8)
            _pull(x, i - 1, j, i, n, shear[i - 1, j], 0.25, 1.0)
            _pull(x, i - 1, n, i, j, shear[i - 1, j], 0.25, 1.0)
        if i > 2:
            for j in range(columns):
                _pull(x, i - 2, j, i, j, warp[i - 1, j] + warp[i - 2, j], 0.25 + 0.35 * stiffness, 1.0)
                n = (j + 3) % columns
                three = weft[i, j] + weft[i, (j + 1) % columns] + weft[i, (j + 2) % columns]
                _pull(x, i, j, i, n, three, 0.02 + 0.15 * stiffness, 1.0)


@njit()
def _restrain(x, pins0, pins1, share, hang, lag):
    """Let cloth lag a turn and rise only so far, for every decimetre that it hangs from the waist."""
    rows, columns = x.shape[0], x.shape[1]
    for i in range(2, rows):
        cx, cz = 0.0, 0.0
        for j in range(columns):
            cx += pins0[i, j, 0] * (1 - share) + pins1[i, j, 0] * share
            cz += pins0[i, j, 2] * (1 - share) + pins1[i, j, 2] * share
        cx, cz = cx / columns, cz / columns
        for j in range(columns):
            px = pins0[i, j, 0] * (1 - share) + pins1[i, j, 0] * share
            py = pins0[i, j, 1] * (1 - share) + pins1[i, j, 1] * share
            pz = pins0[i, j, 2] * (1 - share) + pins1[i, j, 2] * share
            tx, tz = pz - cz, cx - px
            length = np.sqrt(tx * tx + tz * tz) + 1e-9
            tx, tz = tx / length, tz / length
            behind = (x[i, j, 0] - px) * tx + (x[i, j, 2] - pz) * tz
            most = lag * hang[i, j]
            spare = min(max(behind, -most), most) - behind
            x[i, j, 0] += spare * tx
            x[i, j, 2] += spare * tz
            x[i, j, 1] = min(x[i, j, 1], py + MAX_RISE * hang[i, j])


@njit()
def _keep_off(x, legs, floor):
    rows, columns = x.shape[0], x.shape[1]
    for i in range(2, rows):
        for j in range(columns):
            for c in range(legs.shape[0]):
                ax, ay, az = legs[c, 3] - legs[c, 0], legs[c, 4] - legs[c, 1], legs[c, 5] - legs[c, 2]
                qx, qy, qz = x[i, j, 0] - legs[c, 0], x[i, j, 1] - legs[c, 1], x[i, j, 2] - legs[c, 2]
                t = min(1.0, max(0.0, (qx * ax + qy * ay + qz * az) / (ax * ax + ay * ay + az * az)))
                qx, qy, qz = qx - t * ax, qy - t * ay, qz - t * az
                length = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-9
                needed = legs[c, 6] + (legs[c, 7] - legs[c, 6]) * t + THICKNESS
                if length < needed:
                    f = (needed - length) / length
                    x[i, j, 0] += qx * f
                    x[i, j, 1] += qy * f
                    x[i, j, 2] += qz * f
    # Around the hips no point comes nearer to the axis than the trunk's outline.
    for i in range(2, floor.shape[0]):
        cx, cy, cz = 0.0, 0.0, 0.0
        for j in range(columns):
            cx, cy, cz = cx + floor[i, j, 0], cy + floor[i, j, 1], cz + floor[i, j, 2]
        cx, cy, cz = cx / columns, cy / columns, cz / columns
        for j in range(columns):
            nx, ny, nz = floor[i, j, 0] - cx, floor[i, j, 1] - cy, floor[i, j, 2] - cz
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            gap = length - ((x[i, j, 0] - cx) * nx + (x[i, j, 1] - cy) * ny + (x[i, j, 2] - cz) * nz)
            if gap > 0:
                x[i, j, 0] += nx * gap
                x[i, j, 1] += ny * gap
                x[i, j, 2] += nz * gap
