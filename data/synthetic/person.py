"""A person: a body, its skin, eyes, brows, lashes and hair, and where its joints are."""

import dataclasses
import functools
from typing import Any

import numpy as np

from data.synthetic import assets
from data.synthetic.complexion import (
    Complexion,
    paint_eye,
    paint_skin,
    paint_strands,
    sample_complexion,
    srgb_ints,
)
from data.synthetic.hair import Hair, sample_hair
from data.synthetic.mesh import PARTS, Material, SkinnedMesh
from data.synthetic.morphs import GENDERS, Figure, height_targets, sample_figure
from data.synthetic.rig import BONE, BONES
from utils.pose_drawing import JOINT_NAMES

NUM_SKIN_VERTICES = 13380
NOSE, LEFT_EAR = 297, 12038
JOINT_BONES = {
    "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "hip": "upperleg01",
    "knee": "lowerleg01",    "ankle": "foot", "eye": "eye",
}  # fmt: skip
SURFACE_OFFSETS = {"shoulder": (-0.15, 0.24, 0.0), "ear": (-0.15, 0.0, 0.0)}
"""Where estimators trained on people put a joint against the rig's: outward, up, forward, in dm.

Measured as the difference between what BlazePose finds on renders and what it finds on a real clip whose
joints are known from DWPose; the other joints agree within 1 % of the height.
"""
ARMS = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
LEGS = ("pelvis", "upperleg", "lowerleg", "foot", "toe")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """Somebody, without clothes.

    Attributes:
        figure: the numbers that the body is made from.
        complexion: tone and make-up.
        hair: style and colour.
        vertices: (N, 3) float32 all rest vertices of the morphed base mesh, helpers too, in dm.
        heads: (B, 3) float32 heads of the bones in the rest pose, and
        tails: (B, 3) float32 their tails.
        bones: (N, K) int32, the bones that move each base vertex, and
        weights: (N, K) float32, how much.
        meshes: "body" (the group of that name, on the first `NUM_SKIN_VERTICES` vertices), "eyes", "brows",
            and where there are any "lashes", "hair" and "bun".
    """

    figure: Figure
    complexion: Complexion
    hair: Hair
    vertices: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    meshes: list[SkinnedMesh]

    @property
    def gender(self) -> str:
        """Woman or man."""
        return self.figure.gender

    def fit(self, proxy: assets.Proxy) -> np.ndarray:
        """Put on what is worn: its (V, 3) float32 rest vertices; `proxy` has the bones and weights."""
        return proxy.fit(self.vertices)

    def joints(self, transforms: np.ndarray) -> np.ndarray:
        """OpenPose's joints.

        Args:
            transforms: (B, 3, 4) from `rig.bone_transforms`.

        Returns:
            (18, 3) float32 in the world, in the order of `JOINT_NAMES`.
        """
        return np.stack([self._joint(name, transforms) for name in JOINT_NAMES]).astype(np.float32)

    def _joint(self, name: str, transforms: np.ndarray) -> np.ndarray:
        if name == "neck":
            return (self._joint("left_shoulder", transforms) + self._joint("right_shoulder", transforms)) / 2
        side, _, kind = name.rpartition("_")
        if kind in JOINT_BONES:
            bone = BONE[f"{JOINT_BONES[kind]}.{side[0].upper()}"]
            point = self.heads[bone]
            if kind == "shoulder":  # on top of the shoulder girdle, which an arm that turns does not turn
                bone = BONE[f"clavicle.{side[0].upper()}"]
        else:
            bone = BONE["head"]
            point = self.vertices[{"": NOSE, "left": LEFT_EAR, "right": _right_ear()}[side]]
        if kind in SURFACE_OFFSETS:
            point = point + np.array(SURFACE_OFFSETS[kind]) * (np.sign(point[0]), 1, 1)
        transform = transforms[bone].astype(np.float64)
        return (transform[:, :3] * point).sum(1) + transform[:, 3]

    def description(self) -> dict[str, Any]:
        """What the person looks like, as JSON knows it; colours are sRGB."""
        figure = self.figure
        words = ("very slim", "slim", "average", "sturdy", "heavy")
        return {
            "gender": figure.gender,
            "age": round(figure.age),
            "height_cm": round(figure.height_cm),
            "build": words[int(np.searchsorted((-0.7, -0.3, 0.1, 0.35), figure.weight))],
            "ancestry": {name: round(share, 2) for name, share in figure.ancestry.items()},
            "skin": srgb_ints(self.complexion.color),
            "hair": {
                "style": self.hair.style,
                "color": srgb_ints(self.hair.color),
                "color_name": self.hair.color_name,
            },
            "eyes": self.complexion.eyes,
        }


def sample_person(rng: np.random.Generator, gender: str | None = None) -> Person:
    """Draw a person.

    Args:
        rng: where chance comes from.
        gender: "woman" or "man"; drawn if None, women four times out of five.
    """
    if gender is None:
        gender = list(GENDERS)[rng.choice(2, p=(0.8, 0.2))]
    figure = sample_figure(rng, gender)
    complexion = sample_complexion(rng, figure)
    hair = sample_hair(rng, figure, complexion)
    vertices, figure = _build(figure)
    base = assets.base()
    heads, tails = (vertices[anchors].mean(1) for anchors in (base.heads, base.tails))
    skin = paint_skin(complexion, hair.cap, hair.coverage, rng)
    meshes = [_body(vertices, skin), _eyes(vertices, paint_eye(complexion.eyes, rng))]
    brow_color = hair.color * 0.5 if hair.color_name != "grey" else hair.color * 0.8
    meshes.append(
        _worn("brows", complexion.brow, vertices, paint_strands(complexion.brow, brow_color, 0.3, 1.3))
    )
    if complexion.lashes:
        lashes = paint_strands(complexion.lashes, np.full(3, 0.012), 0.2, 1.0 if gender == "woman" else 0.5)
        meshes.append(_worn("lashes", complexion.lashes, vertices, lashes))
    meshes += hair.meshes(vertices)
    return Person(
        figure=figure,
        complexion=complexion,
        hair=hair,
        vertices=vertices,
        heads=heads,
        tails=tails,
        bones=base.bones,
        weights=base.weights,
        meshes=meshes,
    )


def _build(figure: Figure) -> tuple[np.ndarray, Figure]:
    """Vertices of a figure as tall as it says, and the figure, as tall as it could be made."""
    vertices = assets.morph(figure.targets)

    def tallness(body: np.ndarray) -> float:
        return float(np.ptp(body[:NUM_SKIN_VERTICES, 1])) * 10

    wanted = figure.height_cm - tallness(vertices)
    steps = assets.morph(height_targets(figure, "max" if wanted > 0 else "min")) - assets.base().vertices
    reach = tallness(vertices + steps) - tallness(vertices)
    vertices = vertices + np.float32(np.clip(wanted / reach, 0, 0.9)) * steps
    return vertices, dataclasses.replace(figure, height_cm=tallness(vertices))


@functools.cache
def _right_ear() -> int:
    """The vertex that mirrors the left ear's."""
    vertices = assets.base().vertices[:NUM_SKIN_VERTICES]
    return int(np.abs(vertices * (-1, 1, 1) - vertices[LEFT_EAR]).sum(1).argmin())


@functools.cache
def body_parts() -> np.ndarray:
    """(T,) uint8: head, arms or legs for each triangle of the body; bare skin of the trunk counts as head."""
    base = assets.base()
    dense = np.zeros((NUM_SKIN_VERTICES, len(BONES)), np.float32)
    for k in range(base.bones.shape[1]):
        rows = np.arange(NUM_SKIN_VERTICES)
        np.add.at(dense, (rows, base.bones[:NUM_SKIN_VERTICES, k]), base.weights[:NUM_SKIN_VERTICES, k])
    arms, legs = (
        dense[:, [i for i, name in enumerate(BONES) if name.startswith(starts)]]
        .sum(1)[base.triangles["body"]]
        .mean(1)
        for starts in (ARMS, LEGS)
    )
    parts = np.full(len(arms), PARTS["head"], np.uint8)
    parts[arms > 0.5] = PARTS["arms"]
    parts[legs > 0.5] = PARTS["legs"]
    return parts


def _body(vertices: np.ndarray, skin: np.ndarray) -> SkinnedMesh:
    base = assets.base()
    return SkinnedMesh(
        name="body",
        triangles=base.triangles["body"],
        uv=base.uv["body"],
        material=Material(kind="skin", texture=skin, roughness=0.5, specular=0.03),
        parts=body_parts(),
        rest=vertices[:NUM_SKIN_VERTICES],
        bones=base.bones[:NUM_SKIN_VERTICES],
        weights=base.weights[:NUM_SKIN_VERTICES],
        two_sided=False,
    )


@functools.cache
def _eye_surface() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base vertices, triangles and uv of both eyes: the texture is thrown onto them from in front."""
    base = assets.base()
    triangles = np.concatenate([base.triangles[f"helper-{side}-eye"] for side in "lr"])
    uv = []
    for side in "lr":
        points = base.vertices[base.triangles[f"helper-{side}-eye"]]
        flat = points.reshape(-1, 3)
        center = (flat.min(0) + flat.max(0)) / 2
        radius = np.ptp(flat[:, :2], axis=0).mean() / 2
        mapped = (points[..., :2] - center[:2]) / radius / 2 + 0.5
        uv.append(np.where(points[..., 2:] < center[2], np.float32(0.02), mapped))
    used, numbers = np.unique(triangles, return_inverse=True)
    return used, numbers.reshape(-1, 3).astype(np.int32), np.concatenate(uv).astype(np.float32)


def _eyes(vertices: np.ndarray, texture: np.ndarray) -> SkinnedMesh:
    base = assets.base()
    used, triangles, uv = _eye_surface()
    return SkinnedMesh(
        name="eyes",
        triangles=triangles,
        uv=uv,
        material=Material(kind="eye", texture=texture, roughness=0.12, specular=0.05),
        parts=np.full(len(triangles), PARTS["head"], np.uint8),
        rest=vertices[used],
        bones=base.bones[used],
        weights=base.weights[used],
        two_sided=False,
    )


def _worn(name: str, proxy_name: str, vertices: np.ndarray, texture: np.ndarray) -> SkinnedMesh:
    proxy = assets.proxy(proxy_name)
    return SkinnedMesh(
        name=name,
        triangles=proxy.triangles,
        uv=proxy.uv,
        material=Material(kind="strands", texture=texture, roughness=0.6, specular=0.01),
        parts=np.full(len(proxy.triangles), PARTS["head"], np.uint8),
        rest=proxy.fit(vertices),
        bones=proxy.bones,
        weights=proxy.weights,
        blended=True,
    )
