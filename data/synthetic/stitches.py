"""What sewing leaves on cloth: hems along its edges, seams between its panels, topstitching beside them."""

import math

from data.synthetic.compiled import njit

HEM = 0.13
"""Distance in dm of a hem's stitches from the edge."""
ROWS = 0.055
"""Distance in dm of topstitching from its seam."""
THREAD = (0.42, 0.25, 0.1)
"""Linear colour of the thread of topstitching."""


@njit
def _line(distance, wide):
    """Share of a pixel that a thin line covers, `distance` dm away, if it is drawn `wide` dm wide."""
    return math.exp(-((distance / wide) ** 2)) * min(1.0, 0.032 / wide)


@njit
def sew(edge, seam, size, strength, topstitch, color, out):
    """Draw a hem and a seam onto the light of a point of cloth.

    `edge` and `seam` are the distances from the nearest edge and seam and `size` that between pixels, all in
    dm; `strength` says how dark stitches are and `topstitch` how much of their thread shows; `color` is the
    cloth's linear colour. `out` (3,) is changed.
    """
    apart = abs(seam)
    if edge > 0.3 and apart > 0.2:
        return
    wide = max(0.02, 0.55 * size)
    thread, left = 0.0, 1.0
    if edge < 0.3:
        hem = _line(edge - HEM, wide)
        rim = math.exp(-max(edge, 0.0) / max(0.02, 0.5 * size))
        thread = hem
        left -= strength * ((hem if topstitch == 0.0 else 0.0) + 0.6 * rim)
    if apart < 0.2 and edge > 0.0:
        # The seam is a groove between two edges that are turned in, and lie a little higher.
        left *= 1.0 - strength * (1.25 * _line(apart, wide) - 0.35 * _line(apart - 2.2 * wide, 1.2 * wide))
        thread = max(thread, _line(seam - ROWS, wide))
    for k in range(3):
        shown = topstitch * thread * (THREAD[k] / max(color[k], 0.03) - 1.0)
        out[k] *= max(left, 0.0) * (1.0 + shown)
