"""What is drawn: surfaces, what they are made of, and how they follow the bones.

Lengths are decimetres. In the world x points to the right of the picture, y up from the floor (y = 0), z
toward the viewer; a person at yaw 0 faces the viewer, so that her left is +x. In the rest pose coordinates
are MakeHuman's own: the same axes, with the origin in the hips and the arms held out.
"""

import dataclasses

import numpy as np

PARTS = {
    "background": 0, "hair": 1, "head": 2, "arms": 3, "legs": 4, "top": 5, "lower": 6, "dress": 7, "shoes": 8,
    "belt": 9, "jacket": 10, "accessory": 11,
}  # fmt: skip
"""Part name -> number in the masks. "head" has face, neck and the skin that a neckline leaves bare."""

PART_COLORS = (
    (0, 0, 0), (120, 70, 30), (250, 200, 170), (240, 150, 110), (200, 120, 160), (220, 60, 60),
    (60, 90, 220), (60, 180, 90), (250, 220, 60), (150, 150, 150), (120, 200, 220), (230, 140, 30),
)  # fmt: skip
"""What each part looks like in the masks' palette."""

KINDS = {"skin": 0, "eye": 1, "cloth": 2, "leather": 3, "strands": 4}
"""How a surface is lit: skin lets light through, cloth has sheen and folds, strands shine along them."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a surface is made of.

    Attributes:
        kind: of `KINDS`.
        texture: (h, w, 5) float32: linear red, green and blue in 0..1, opacity in 0..1, height of the relief.
        tiled: whether the texture repeats; else it is clamped at its borders.
        scale: texture widths a unit of uv. Mapped textures have uv in 0..1 and scale 1; cloth has uv in
            decimetres along the fabric and a scale in repeats a decimetre.
        relief: how strongly the texture's height bends the normals.
        roughness: of the highlight, 0 (mirror) to 1.
        specular: reflectance at normal incidence, 0.02 to 0.1 for what people wear.
        sheen: light scattered at grazing angles, 0 to 1 (velvet, wool).
        glitter: how many of the surface's flakes mirror the light, 0 to 1 (sequins).
        wrinkles: strength of fine folds that are drawn into the normals, 0 for none.
        wrinkle_scale: (across, along) folds a decimetre.
        hem: how dark the stitches along edges and seams of the cloth are, 0 for none.
        topstitch: how much of a pale thread shows there, 0 to 1 (denim).
    """

    kind: str
    texture: np.ndarray
    tiled: bool = False
    scale: float = 1.0
    relief: float = 0.0
    roughness: float = 0.6
    specular: float = 0.03
    sheen: float = 0.0
    glitter: float = 0.0
    wrinkles: float = 0.0
    wrinkle_scale: tuple[float, float] = (1.0, 1.0)
    hem: float = 0.0
    topstitch: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """One surface; its vertices come anew with every frame.

    Attributes:
        name: of the surface, unlike those of the other surfaces of the person.
        triangles: (T, 3) int32, vertices of this mesh, counter-clockwise seen from outside.
        uv: (T, 3, 2) float32, texture coordinates of the corners; v grows upward for mapped textures.
        material: what it is made of.
        parts: (T,) uint8, the number in `PARTS` that each triangle has in the masks.
        cut: (V,) float32 or None. The surface is where the interpolated value is above 0: necklines and hems
            are cut pixel by pixel, whatever the triangles.
        edge: (V,) float32 or None, distance from the nearest edge of the cloth in dm; `cut` where it is None.
        seam: (T, 3) float32 or None, signed distance of the corners from the nearest seam in dm.
        blended: drawn after the opaque surfaces, sorted by depth, by the texture's opacity (hair, lace).
        two_sided: whether triangles seen from behind are drawn.
    """

    name: str
    triangles: np.ndarray
    uv: np.ndarray
    material: Material
    parts: np.ndarray
    cut: np.ndarray | None = None
    edge: np.ndarray | None = None
    seam: np.ndarray | None = None
    blended: bool = False
    two_sided: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SkinnedMesh(Mesh):
    """A surface that follows the bones.

    Attributes:
        rest: (V, 3) float32, its vertices in the rest pose.
        bones: (V, K) int32, the bones that move each vertex, and
        weights: (V, K) float32, how much; each row sums to 1.
    """

    rest: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
