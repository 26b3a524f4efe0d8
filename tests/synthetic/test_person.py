"""People: their bodies, heads and hair."""

import json

import numpy as np
import pytest

from data.synthetic import haircut
from data.synthetic.hair import STYLES, Hair
from data.synthetic.mesh import PARTS
from data.synthetic.person import body_parts, sample_person
from data.synthetic.rig import BONE, BONES, bone_transforms, skin
from utils.pose_drawing import JOINT

AT_REST = np.tile(np.eye(3), (len(BONES), 1, 1))


def test_the_same_seed_is_the_same_person():
    one, other = (sample_person(np.random.default_rng(5)) for _ in range(2))
    assert one.description() == other.description()
    assert (one.vertices == other.vertices).all()
    for a, b in zip(one.meshes, other.meshes, strict=True):
        assert (a.rest == b.rest).all() and (a.material.texture == b.material.texture).all()


@pytest.mark.parametrize("seed", range(8))
def test_people_are_whole(seed):
    person = sample_person(np.random.default_rng(seed))
    assert json.loads(json.dumps(person.description())) == person.description()
    assert 150 < person.description()["height_cm"] < 200
    names = [mesh.name for mesh in person.meshes]
    assert names[:3] == ["body", "eyes", "brows"] and len(set(names)) == len(names)
    for mesh in person.meshes:
        assert np.isfinite(mesh.rest).all() and mesh.rest.dtype == np.float32
        assert mesh.triangles.min() >= 0 and mesh.triangles.max() < len(mesh.rest)
        assert mesh.triangles.dtype == np.int32 and mesh.uv.shape == (*mesh.triangles.shape, 2)
        assert mesh.parts.shape == (len(mesh.triangles),)
        assert mesh.bones.shape == mesh.weights.shape == (len(mesh.rest), mesh.bones.shape[1])
        assert mesh.weights.sum(1) == pytest.approx(1, abs=1e-4)
        texture = mesh.material.texture
        assert texture.dtype == np.float32 and texture.shape[2] == 5
        assert texture[..., :4].min() >= 0 and texture[..., :4].max() <= 1


def test_people_differ_and_gender_can_be_asked_for():
    people = [sample_person(np.random.default_rng(seed), "man") for seed in range(6)]
    assert {person.gender for person in people} == {"man"}
    assert len({str(person.description()) for person in people}) == 6


def test_joints_are_where_an_estimator_sees_them():
    person = sample_person(np.random.default_rng(3))
    joints = person.joints(bone_transforms(person.heads, AT_REST, np.zeros(3)))
    at = lambda name: joints[JOINT[name]]  # noqa: E731
    assert at("left_shoulder")[0] > 0 > at("right_shoulder")[0]  # she faces the viewer
    assert at("nose")[2] > at("left_eye")[2] - 0.5 and at("nose")[1] < at("left_eye")[1]
    assert at("left_ear") == pytest.approx(at("right_ear") * (-1, 1, 1), abs=0.05)
    assert at("neck") == pytest.approx((at("left_shoulder") + at("right_shoulder")) / 2, abs=1e-4)
    assert at("left_hip")[1] > at("left_knee")[1] > at("left_ankle")[1]


def test_parts_of_the_skin():
    person = sample_person(np.random.default_rng(3))
    middle = person.meshes[0].rest[person.meshes[0].triangles].mean(1)
    parts = body_parts()
    assert (parts[middle[:, 1] > person.heads[BONE["neck01"], 1]] == PARTS["head"]).all()
    assert (parts[middle[:, 1] < -3] == PARTS["legs"]).all()
    hands = np.abs(middle[:, 0]) > abs(person.heads[BONE["wrist.L"], 0])
    assert (parts[hands] == PARTS["arms"]).all()


def test_raised_arms_keep_their_thickness():
    person = sample_person(np.random.default_rng(3))
    body = person.meshes[0]
    arm = [BONE[name] for name in ("upperarm01.L", "upperarm02.L")]
    of_arm = (np.isin(body.bones, arm) * body.weights).sum(1) > 0.6
    turned = AT_REST.copy()
    turned[BONE["clavicle.L"]] = _about_z(28)
    turned[BONE["upperarm01.L"]] = _about_z(90)
    placed = skin(body.rest, body.bones, body.weights, bone_transforms(person.heads, turned, np.zeros(3)))
    edges = np.concatenate([body.triangles[:, [0, 1]], body.triangles[:, [1, 2]]])
    edges = edges[of_arm[edges].all(1)]
    before, after = (np.linalg.norm(p[edges[:, 0]] - p[edges[:, 1]], axis=1) for p in (body.rest, placed))
    assert 0.85 < np.median(after / before) < 1.15
    assert np.percentile(after / before, 2) > 0.4


def _about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize("style", STYLES)
def test_hair_leaves_the_eyes_free(style):
    person = sample_person(np.random.default_rng(1), "woman")
    given = STYLES[style]
    middle = {name: sum(getattr(given, name)) / 2 for name in ("coverage", "length", "waves", "fluff")}
    bun = sum(given.bun) / 2 if given.bun else 0.0
    color = np.full(3, 0.1)
    hair = Hair(style=style, color=color, color_name="brown", cap=color, bun=bun, phase=1.0, **middle)
    head = haircut.Head.of(person.vertices)
    for mesh in hair.meshes(person.vertices):
        assert (mesh.parts == PARTS["hair"]).all()
        x, y, z = ((mesh.rest[mesh.triangles].mean(1) - head.eyes) / head.eye).T
        over_an_eye = (np.abs(np.abs(x) - 1) < 0.4) & (np.abs(y) < 0.3) & (z > 0.2)
        assert over_an_eye.sum() == 0
