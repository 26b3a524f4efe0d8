"""The skeleton: MakeHuman's default bones, how rotations move them, and how they move the skin.

A blend of matrices lets bent and twisted limbs collapse, one of dual quaternions (Kavan et al., "Geometric
Skinning with Approximate Dual Quaternion Blending", 2008) lets shoulders bulge; the skin is between the two.
"""

import itertools
import math

import numpy as np

from data.synthetic.compiled import njit

DUAL = 0.3
"""Share of the dual quaternions' blend; the rest is the matrices'."""

# Each line hangs a chain on a bone that is already there; "*" is the left side, then the right.
_CHAINS = """
root spine05 spine04 spine03 spine02 spine01 neck01 neck02 neck03 head jaw special04 oris02 oris01
spine02 breast.*
spine01 clavicle.* shoulder01.* upperarm01.* upperarm02.* lowerarm01.* lowerarm02.* wrist.*
wrist.* finger1-1.* finger1-2.* finger1-3.*
wrist.* metacarpal1.* finger2-1.* finger2-2.* finger2-3.*
wrist.* metacarpal2.* finger3-1.* finger3-2.* finger3-3.*
wrist.* metacarpal3.* finger4-1.* finger4-2.* finger4-3.*
wrist.* metacarpal4.* finger5-1.* finger5-2.* finger5-3.*
root pelvis.* upperleg01.* upperleg02.* lowerleg01.* lowerleg02.* foot.* toe1-1.* toe1-2.*
foot.* toe2-1.* toe2-2.* toe2-3.*
foot.* toe3-1.* toe3-2.* toe3-3.*
foot.* toe4-1.* toe4-2.* toe4-3.*
foot.* toe5-1.* toe5-2.* toe5-3.*
head levator02.* levator03.* levator04.* levator05.*
head special01 oris06 oris05
special01 oris04.* oris03.*
special04 oris06.* oris07.*
head special03 levator06.*
head special06.* special05.* eye.*
special05.* orbicularis03.*
special05.* orbicularis04.*
head temporalis01.* oculi02.* oculi01.*
head temporalis02.* risorius02.* risorius03.*
jaw tongue00 tongue01 tongue02 tongue03 tongue04
tongue01 tongue05.*
tongue02 tongue06.*
tongue03 tongue07.*
"""


def _tree() -> dict[str, str | None]:
    parents: dict[str, str | None] = {"root": None}
    for line in _CHAINS.split("\n"):
        for side in "LR" if "*" in line else "L":
            names = line.replace("*", side).split()
            parents |= {child: parent for parent, child in itertools.pairwise(names)}
    return parents


_TREE = _tree()

BONES: tuple[str, ...] = tuple(_TREE)
"""The bones' names, parents before children."""

BONE: dict[str, int] = {name: index for index, name in enumerate(BONES)}
"""A bone's name -> its number."""

PARENTS: np.ndarray = np.array(
    [-1 if parent is None else BONE[parent] for parent in _TREE.values()], np.int32
)
"""(B,) the number of each bone's parent; -1 for the root."""


def bone_transforms(heads: np.ndarray, rotations: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Where bones go when they turn.

    Args:
        heads: (B, 3) the bones' heads in the rest pose, in dm.
        rotations: (B, 3, 3) of each bone against its parent, about the world's axes at rest.
        root: (3,) how far the whole skeleton is moved, in dm.

    Returns:
        (B, 3, 4) float32: a point p of the rest pose that is fixed to a bone with transform M goes to
        M[:, :3] @ p + M[:, 3].
    """
    return _bone_transforms(
        np.ascontiguousarray(heads, np.float64),
        np.ascontiguousarray(rotations, np.float64),
        np.asarray(root, np.float64),
        PARENTS,
    )


@njit()
def _bone_transforms(heads, rotations, root, parents):
    world = np.zeros((len(heads), 3, 4))
    turn, place = np.zeros((3, 3)), np.zeros(3)
    for bone in range(len(heads)):
        parent = parents[bone]
        for i in range(3):
            if parent < 0:
                turn[i] = rotations[bone, i]
                place[i] = heads[bone, i] + root[i]
                continue
            place[i] = world[parent, i, 3]
            for j in range(3):
                place[i] += world[parent, i, j] * heads[bone, j]
                turn[i, j] = 0.0
                for k in range(3):
                    turn[i, j] += world[parent, i, k] * rotations[bone, k, j]
        for i in range(3):
            world[bone, i, 3] = place[i]
            for j in range(3):
                world[bone, i, j] = turn[i, j]
                world[bone, i, 3] -= turn[i, j] * heads[bone, j]
    return world.astype(np.float32)


def skin(rest: np.ndarray, bones: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Move a surface with its bones.

    Args:
        rest: (V, 3) vertices in the rest pose, in dm.
        bones: (V, K) the bones that move each vertex.
        weights: (V, K) how much each does; rows sum to 1.
        transforms: (B, 3, 4) from `bone_transforms`.

    Returns:
        (V, 3) float32 vertices in the world.
    """
    transforms = np.ascontiguousarray(transforms, np.float64)
    return _skin(
        np.ascontiguousarray(rest, np.float32),
        np.ascontiguousarray(bones, np.int32),
        np.ascontiguousarray(weights, np.float32),
        transforms,
        _dual_quaternions(transforms),
    )


@njit()
def _quaternion(m, q):
    """The rotation of m (3, 4) as w, x, y, z in q[:4]."""
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    largest = 0
    if trace < max(m[0, 0], m[1, 1], m[2, 2]):
        largest = 1
        if m[1, 1] > m[0, 0]:
            largest = 2
        if m[2, 2] > m[largest - 1, largest - 1]:
            largest = 3
    if largest == 0:
        s = 2 * math.sqrt(max(1 + trace, 1e-12))
        q[0] = s / 4
        q[1] = (m[2, 1] - m[1, 2]) / s
        q[2] = (m[0, 2] - m[2, 0]) / s
        q[3] = (m[1, 0] - m[0, 1]) / s
    else:
        i = largest - 1
        j, k = (i + 1) % 3, (i + 2) % 3
        s = 2 * math.sqrt(max(1 + m[i, i] - m[j, j] - m[k, k], 1e-12))
        q[0] = (m[k, j] - m[j, k]) / s
        q[1 + i] = s / 4
        q[1 + j] = (m[j, i] + m[i, j]) / s
        q[1 + k] = (m[k, i] + m[i, k]) / s


@njit()
def _dual_quaternions(transforms):
    """(B, 8): the rotation (w, x, y, z), then the dual part."""
    duals = np.zeros((len(transforms), 8))
    for bone in range(len(transforms)):
        m, q = transforms[bone], duals[bone]
        _quaternion(m, q)
        x, y, z = m[0, 3], m[1, 3], m[2, 3]
        q[4] = -0.5 * (x * q[1] + y * q[2] + z * q[3])
        q[5] = 0.5 * (x * q[0] + y * q[3] - z * q[2])
        q[6] = 0.5 * (y * q[0] + z * q[1] - x * q[3])
        q[7] = 0.5 * (z * q[0] + x * q[2] - y * q[1])
    return duals


@njit()
def _skin(rest, bones, weights, transforms, duals):
    placed = np.empty_like(rest)
    q, m = np.zeros(8), np.zeros((3, 4))
    for vertex in range(len(rest)):
        # The heaviest bone decides the sign of the others: q and -q are one rotation.
        heaviest = 0
        for k in range(1, bones.shape[1]):
            if weights[vertex, k] > weights[vertex, heaviest]:
                heaviest = k
        lead = duals[bones[vertex, heaviest]]
        q[:] = 0.0
        m[:] = 0.0
        for k in range(bones.shape[1]):
            weight = weights[vertex, k]
            if weight == 0:
                continue
            bone = bones[vertex, k]
            for i in range(3):
                for j in range(4):
                    m[i, j] += weight * transforms[bone, i, j]
            dual = duals[bone]
            if lead[0] * dual[0] + lead[1] * dual[1] + lead[2] * dual[2] + lead[3] * dual[3] < 0:
                weight = -weight
            for i in range(8):
                q[i] += weight * dual[i]
        length = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
        for i in range(8):
            q[i] /= length
        w, x, y, z = q[0], q[1], q[2], q[3]
        px, py, pz = rest[vertex, 0], rest[vertex, 1], rest[vertex, 2]
        # p + 2 r x (r x p + w p), then the translation 2 (dual part times the conjugate).
        tx = y * pz - z * py + w * px
        ty = z * px - x * pz + w * py
        tz = x * py - y * px + w * pz
        dx = px + 2 * (y * tz - z * ty + w * q[5] - x * q[4] + y * q[7] - z * q[6])
        dy = py + 2 * (z * tx - x * tz + w * q[6] - y * q[4] + z * q[5] - x * q[7])
        dz = pz + 2 * (x * ty - y * tx + w * q[7] - z * q[4] + x * q[6] - y * q[5])
        placed[vertex, 0] = dx * DUAL + (m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]) * (1 - DUAL)
        placed[vertex, 1] = dy * DUAL + (m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]) * (1 - DUAL)
        placed[vertex, 2] = dz * DUAL + (m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]) * (1 - DUAL)
    return placed
