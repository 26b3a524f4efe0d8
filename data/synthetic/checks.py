"""What is looked at while a clip is rendered; a clip that fails is drawn again."""

import numpy as np

from data.synthetic.mesh import PARTS, Mesh
from utils.pose_drawing import JOINT

MAX_THROUGH = 0.005
"""Share of the person's pixels that may show skin where cloth lies over it."""
NEAR_BODY = 0.03
"""How far outside the mask a limb's joint may be, in picture heights: loose sleeves hang beside the arm."""
BODY_JOINTS = [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in
               ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
LONGEST_EDGE = 4.0
"""An edge of cloth may be this many times as long as at the first frame (the longest edges of a mesh)."""


class RejectedError(Exception):
    """A clip that must not go out, and why."""


def check_vertices(mesh: Mesh, vertices: np.ndarray, frame: int) -> None:
    """Refuse a surface that exploded or fell.

    Args:
        mesh: the surface.
        vertices: (V, 3) of it in this frame, in dm.
        frame: number, for the message.

    Raises:
        RejectedError: a vertex is not finite, below the floor or farther than 15 dm from the others.
    """
    if not np.isfinite(vertices).all():
        raise RejectedError(f"{mesh.name} is not finite in frame {frame}")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    if low[1] < -0.6:
        raise RejectedError(f"{mesh.name} is {-low[1]:.1f} dm below the floor in frame {frame}")
    if (high - low).max() > 25:
        raise RejectedError(f"{mesh.name} is {(high - low).max():.0f} dm large in frame {frame}")


def longest_edge(mesh: Mesh, vertices: np.ndarray) -> float:
    """The length that 99.9 % of a surface's edges stay under, in dm."""
    corners = vertices[mesh.triangles]
    return float(np.quantile(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2), 0.999))


def check_cloth(mesh: Mesh, vertices: np.ndarray, first_edge: float, frame: int) -> None:
    """Refuse cloth whose edges were torn apart since the first frame.

    Raises:
        RejectedError: its edges are more than `LONGEST_EDGE` times as long as `first_edge`.
    """
    edge = longest_edge(mesh, vertices)
    if edge > LONGEST_EDGE * first_edge:
        raise RejectedError(f"{mesh.name} is torn in frame {frame}: edges of {edge:.1f} dm")


def check_joints(keypoints: np.ndarray, mask: np.ndarray, frame: int) -> None:
    """Refuse a frame whose joints are not on the body.

    Args:
        keypoints: (18, 3) x, y, visibility in the mask's pixels.
        mask: (H, W) part indices.
        frame: number, for the message.

    Raises:
        RejectedError: a visible joint of a limb that lies inside the picture is farther from the person than
            `NEAR_BODY` picture heights.
    """
    height, width = mask.shape
    reach = max(1, round(NEAR_BODY * height))
    for joint in BODY_JOINTS:
        x, y, visible = keypoints[joint]
        if visible <= 0 or not (0 <= x < width and 0 <= y < height):
            continue
        row, column = int(y), int(x)
        around = mask[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        if not around.any():
            raise RejectedError(f"joint {joint} lies beside the body in frame {frame}")


def share_through(skin: np.ndarray, mask: np.ndarray) -> float:
    """Share of the person's pixels where skin comes through the cloth over it.

    Args:
        skin: (H, W) bool, where it does.
        mask: (H, W) part indices.
    """
    return int(np.count_nonzero(skin)) / max(int(np.count_nonzero(mask != PARTS["background"])), 1)


def check_through(share: float, frame: int) -> None:
    """Refuse a frame with the body through its cloth.

    Raises:
        RejectedError: `share` is above `MAX_THROUGH`.
    """
    if share > MAX_THROUGH:
        raise RejectedError(f"body through cloth over {share:.1%} of the person in frame {frame}")
