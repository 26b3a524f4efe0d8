"""The skeleton and its skinning."""

import numpy as np
import pytest

from data.synthetic.rig import BONE, BONES, PARENTS, bone_transforms, skin


def rotation(axis, degrees):
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def random_pose(seed):
    rng = np.random.default_rng(seed)
    heads = rng.normal(size=(len(BONES), 3))
    turns = np.stack([rotation(rng.normal(size=3), rng.uniform(-60, 60)) for _ in BONES])
    return heads, turns, rng.normal(size=3)


def test_bones_are_makehumans():
    assert len(BONES) == len(set(BONES)) == 163
    assert BONES[0] == "root" and PARENTS[0] == -1
    assert all(0 <= PARENTS[bone] < bone for bone in range(1, 163))
    assert BONES[PARENTS[BONE["finger2-1.R"]]] == "metacarpal1.R"
    assert sum(name.endswith(".L") for name in BONES) == sum(name.endswith(".R") for name in BONES) == 70


def test_heads_follow_their_parents():
    heads, turns, root = random_pose(1)
    transforms = bone_transforms(heads, turns, root).astype(float)
    place = lambda bone, point: transforms[bone, :, :3] @ point + transforms[bone, :, 3]  # noqa: E731
    assert place(0, heads[0]) == pytest.approx(heads[0] + root, abs=1e-5)
    for bone in range(1, len(BONES)):
        parent = PARENTS[bone]
        assert place(bone, heads[bone]) == pytest.approx(place(parent, heads[bone]), abs=2e-4)
        expected = transforms[parent, :, :3] @ turns[bone]
        assert transforms[bone, :, :3] == pytest.approx(expected, abs=1e-4)


def test_one_bone_moves_rigidly():
    heads, turns, root = random_pose(2)
    transforms = bone_transforms(heads, turns, root)
    rest = np.random.default_rng(0).normal(size=(163, 3)).astype(np.float32)
    bones = np.stack([np.arange(163), np.zeros(163, int)], 1)
    weights = np.tile([1.0, 0.0], (163, 1))
    expected = np.einsum("bij,bj->bi", transforms[:, :, :3], rest) + transforms[:, :, 3]
    assert skin(rest, bones, weights, transforms) == pytest.approx(expected, abs=1e-3)


def test_a_bent_joint_keeps_its_thickness():
    # A tube along x, twisted by 120 degrees in its middle: a blend of matrices would halve it there.
    heads = np.zeros((len(BONES), 3))
    turns = np.tile(np.eye(3), (len(BONES), 1, 1))
    turns[BONE["lowerarm01.L"]] = rotation((1, 0, 0), 120)
    transforms = bone_transforms(heads, turns, np.zeros(3))
    ring = np.array([[0, np.cos(a), np.sin(a)] for a in np.linspace(0, 6, 9)], np.float32)
    bones = np.tile([BONE["upperarm02.L"], BONE["lowerarm01.L"]], (9, 1))
    placed = skin(ring, bones, np.full((9, 2), 0.5), transforms)
    thickness = np.linalg.norm(placed, axis=1)
    assert thickness == pytest.approx(0.3 + 0.7 * 0.5, abs=1e-5)
