"""Draw surfaces: a depth buffer at twice the picture's size, a shadow map, occlusion, hair, light, masks."""

import dataclasses
import functools
import math

import numpy as np

from data.synthetic import compose, floor, passes
from data.synthetic.mesh import Mesh
from data.synthetic.shading import Materials, light_vertices, pack_materials
from data.synthetic.studio import Camera, Studio, backdrop, tone_curve

OVERSAMPLING = 2
"""Samples a pixel, each way."""
SHADOW_SIZE = 512
SHADOW_SPAN = 24.0
"""Pixels a side of the shadow map, and decimetres that it spans around the person."""
OCCLUSION_ROWS = 256
"""About how many rows the grid has on which ambient occlusion is worked out."""
OCCLUSION_REACH = 1.1
"""How far away something still occludes, decimetres."""
FLOOR_CELL = 0.3
FLOOR_SHAPE = (96, 128)
"""Cells of the floor's shadow: decimetres a side; rows (toward the viewer) and columns."""
FLOOR_LAYERS = (0.5, 2.5, 6.0, 24.0)
"""Heights in decimetres below which each layer of the floor's shadow gathers what is above the floor."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Which point of which surface each pixel shows.

    Attributes:
        mesh: (H, W) int16, index into the meshes, -1 where there is only background.
        triangle: (H, W) int32, index into that mesh's triangles.
        weights: (H, W, 2) float32, barycentric weights of the triangle's second and third corner at the
            pixel's middle, which may lie a little outside the triangle: -0.5 to 1.5.
    """

    mesh: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """What `draw` makes.

    Attributes:
        picture: (H, W, 3) uint8, sRGB.
        parts: (H, W) uint8, numbers of `mesh.PARTS`.
        depth: (H, W) float32, decimetres from the camera, infinite where there is only background.
        surface: what each pixel shows.
    """

    picture: np.ndarray
    parts: np.ndarray
    depth: np.ndarray
    surface: Seen


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Surfaces as arrays: what stays the same over a clip. See `Mesh` for the fields."""

    starts: tuple[int, ...]
    """First vertex and
    """
    firsts: np.ndarray
    """first triangle of each mesh, with the total at the end."""
    triangles: np.ndarray
    uv: np.ndarray
    parts: np.ndarray
    owner: np.ndarray
    cut: np.ndarray
    edge: np.ndarray
    seam: np.ndarray
    materials: Materials
    blended: np.ndarray
    """Triangles that are drawn by opacity."""
    strands: tuple[int, ...]
    """Meshes of hair."""


@functools.lru_cache(maxsize=2)
def prepare(meshes: tuple[Mesh, ...]) -> Scene:
    """Join surfaces into one set of arrays."""
    firsts = np.cumsum([0] + [len(mesh.triangles) for mesh in meshes])
    counts = [0]
    for mesh in meshes:
        used = int(mesh.triangles.max(initial=-1)) + 1
        counts.append(max(used, len(mesh.cut) if mesh.cut is not None else 0, len(getattr(mesh, "rest", ()))))
    begin = np.cumsum(counts)
    triangles = [mesh.triangles + begin[i] for i, mesh in enumerate(meshes)]
    cut, edge = np.ones(begin[-1], np.float32), np.full(begin[-1], 9, np.float32)
    for i, mesh in enumerate(meshes):
        if mesh.cut is not None:
            cut[begin[i] : begin[i] + len(mesh.cut)] = mesh.cut
        distance = mesh.cut if mesh.edge is None else mesh.edge
        if distance is not None:
            edge[begin[i] : begin[i] + len(distance)] = distance
    blended = [np.arange(firsts[i], firsts[i + 1]) for i, mesh in enumerate(meshes) if mesh.blended]
    return Scene(
        starts=tuple(begin.tolist()),
        firsts=firsts.astype(np.int32),
        triangles=np.concatenate(triangles).astype(np.int32),
        uv=np.concatenate([mesh.uv for mesh in meshes]).astype(np.float32),
        parts=np.concatenate([mesh.parts for mesh in meshes]).astype(np.uint8),
        owner=np.repeat(np.arange(len(meshes)), np.diff(firsts)).astype(np.int16),
        cut=cut,
        edge=edge,
        seam=np.concatenate([_seam(mesh) for mesh in meshes]),
        materials=pack_materials([mesh.material for mesh in meshes]),
        blended=np.concatenate([np.zeros(0, np.int64), *blended]).astype(np.int32),
        strands=tuple(i for i, m in enumerate(meshes) if m.blended and m.material.kind == "strands"),
    )


def _seam(mesh: Mesh) -> np.ndarray:
    """(T, 3) float32 distances from seams, far away where there are none."""
    return np.full(mesh.triangles.shape, 9, np.float32) if mesh.seam is None else mesh.seam


class Buffers:
    """What is known of each sample while a frame is drawn."""

    def __init__(self, height: int, width: int):
        self.depth = np.full((height, width), np.inf, np.float32)
        self.ids = np.full((height, width), -1, np.int32)
        self.weights = np.zeros((height, width, 2), np.float32)
        # Hair and lace in front of the rest: light so far, how much passes through, what is seen of it.
        self.veil = np.zeros((height, width, 3), np.float32)
        self.through = np.ones((height, width), np.float32)


def in_front(picture: Picture, vertices: np.ndarray, triangles: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) bool: pixels where a surface that was not drawn lies nearer than what was.

    Args:
        picture: what was drawn.
        vertices: (V, 3) of the surface in the world, decimetres.
        triangles: (T, 3) of it, counter-clockwise seen from outside; their inside does not count.
        camera: that the picture was taken with.
    """
    marked = np.zeros(picture.parts.shape, bool)
    passes.mark_in_front(camera.project(vertices), triangles, picture.depth, marked)
    return marked


def _light_view(studio: Studio, middle: np.ndarray) -> np.ndarray:
    """(3, 4) float32: from the world to the shadow map's column and row and the distance along the light."""
    toward = np.array(studio.lights[0].direction)
    across = np.cross((0.0, 1.0, 0.0), toward)
    across /= math.sqrt(float((across * across).sum()))
    upward = np.cross(toward, across)
    scale = SHADOW_SIZE / SHADOW_SPAN
    view = np.zeros((3, 4))
    view[0, :3], view[1, :3], view[2, :3] = across * scale, -upward * scale, -toward
    # Whole pixels, so that the shadow's edges do not crawl as the person moves.
    view[:2, 3] = SHADOW_SIZE / 2 - np.round((view[:2, :3] * middle).sum(1))
    return view.astype(np.float32)


def draw(meshes: list[Mesh], vertices: list[np.ndarray], camera: Camera, studio: Studio) -> Picture:
    """Draw one frame.

    Args:
        meshes: the person's surfaces, the body first; keep the same objects over a clip, for what is
            worked out from them is kept.
        vertices: (V, 3) world coordinates of each mesh's vertices, decimetres.
        camera: where the picture is taken from; its size is the picture's, both sides even.
        studio: light and background.
    """
    scene = prepare(tuple(meshes))
    world = np.zeros((scene.starts[-1], 3), np.float32)
    for i, points in enumerate(vertices):
        count = min(len(points), scene.starts[i + 1] - scene.starts[i])
        world[scene.starts[i] : scene.starts[i] + count] = points[:count]
    fine = camera.scaled(OVERSAMPLING)
    seen = fine.project(world)
    normals = passes.vertex_normals(world, scene.triangles)
    low, high = world.min(0), world.max(0)
    light_view = _light_view(studio, 0.5 * (low + high))
    in_light = passes.transform(world, light_view)

    buffers = Buffers(fine.height, fine.width)
    shadow = np.full((SHADOW_SIZE, SHADOW_SIZE), np.inf, np.float32)
    for i, mesh in enumerate(meshes):
        own = scene.triangles[scene.firsts[i] : scene.firsts[i + 1]]
        has_cut = mesh.cut is not None
        if not mesh.blended:
            passes.rasterize(seen, own, scene.firsts[i], scene.cut, has_cut, not mesh.two_sided,
                             buffers.depth, buffers.ids, buffers.weights)  # fmt: skip
        if not mesh.blended or i in scene.strands:
            passes.cast(in_light, own, scene.cut, has_cut, shadow)

    lights, ambient = studio.light_table(), studio.ambient_table()
    radius = (0.5 + 6.0 * studio.lights[0].softness) * SHADOW_SIZE / SHADOW_SPAN * 0.11
    position = np.array(camera.position, np.float32)
    box = _box(seen, fine)
    step = max(2, 2 * round(fine.height / OCCLUSION_ROWS / 2))
    occlusion = passes.occlude(buffers.depth, box, step, np.float32(fine.focal), OCCLUSION_REACH)
    light = passes.Light(lights, ambient, light_view, shadow, radius, position)
    materials = scene.materials
    vertex_light = np.zeros((len(world), 5), np.float32)
    for i, mesh in enumerate(meshes):
        if mesh.blended:
            span = slice(scene.starts[i], scene.starts[i + 1])
            tris = slice(scene.firsts[i], scene.firsts[i + 1])
            tangents = passes.strand_tangents(
                world[span], scene.triangles[tris] - np.int32(scene.starts[i]), scene.uv[tris]
            )
            light_vertices(world[span], normals[span], tangents, i in scene.strands, in_light[span], shadow,
                           radius, lights, ambient, position, vertex_light[span])  # fmt: skip
    order = scene.blended[np.argsort(seen[scene.triangles[scene.blended], 2].sum(1), kind="stable")]
    hit = compose.veil(order, seen, scene.triangles, scene.uv, scene.owner, scene.cut, materials.texels,
                       materials.places, materials.values, vertex_light, buffers.depth, buffers.veil,
                       buffers.through)  # fmt: skip
    background = np.array(backdrop(studio, camera))
    _shade_floor(background, scene, world, camera, studio)
    linear = np.empty((camera.height, camera.width, 3), np.float32)
    compose.resolve(box, seen, world, normals, scene.triangles, scene.uv, scene.edge, scene.seam, scene.owner,
                    materials.texels, materials.places, materials.values, light, occlusion, step,
                    buffers.depth, buffers.ids, buffers.weights, buffers.veil, buffers.through,
                    background, linear)  # fmt: skip
    picture = np.empty(linear.shape, np.uint8)
    compose.develop(linear, studio.blur, studio.saturation, tone_curve(studio), picture)
    return _reduce(scene, buffers, seen, hit, box, picture)


def _box(seen: np.ndarray, camera: Camera) -> np.ndarray:
    """(4,) int64: first and last row and column, in whole pixels of the picture, that may show something."""
    x0, y0 = np.floor(seen[:, :2].min(0) / OVERSAMPLING) * OVERSAMPLING
    x1, y1 = np.ceil(seen[:, :2].max(0) / OVERSAMPLING) * OVERSAMPLING
    limits = np.array((camera.height, camera.height, camera.width, camera.width))
    return np.clip(np.array((y0, y1, x0, x1)), 0, limits).astype(np.int64)


def _reduce(
    scene: Scene,
    buffers: Buffers,
    seen: np.ndarray,
    hit: tuple[np.ndarray, np.ndarray, np.ndarray],
    box: np.ndarray,
    picture: np.ndarray,
) -> Picture:
    """Masks, depth and what is seen, at the picture's size."""
    height, width = picture.shape[:2]
    parts = np.zeros((height, width), np.uint8)
    depth = np.full((height, width), np.inf, np.float32)
    ids = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    compose.vote(box, seen, scene.triangles, buffers.depth, buffers.ids, buffers.weights, scene.parts, *hit,
                 parts, depth, ids, weights)  # fmt: skip
    mesh = np.where(ids >= 0, scene.owner[ids], np.int16(-1))
    triangle = np.where(ids >= 0, ids - scene.firsts[mesh], 0).astype(np.int32)
    return Picture(
        picture=picture, parts=parts, depth=depth, surface=Seen(mesh=mesh, triangle=triangle, weights=weights)
    )


def _shade_floor(
    background: np.ndarray, scene: Scene, world: np.ndarray, camera: Camera, studio: Studio
) -> None:
    """Darken the floor where the person keeps light off, and mirror her feet in it."""
    corner = (
        math.floor(float(np.median(world[:, 0])) / FLOOR_CELL - FLOOR_SHAPE[1] / 2) * FLOOR_CELL,
        math.floor(float(np.median(world[:, 2])) / FLOOR_CELL - FLOOR_SHAPE[0] / 2) * FLOOR_CELL,
    )
    key = studio.lights[0]
    dark = floor.floor_darkness(
        world, scene.triangles, np.array(corner), FLOOR_CELL, *FLOOR_SHAPE, np.array(FLOOR_LAYERS),
        np.array(key.direction), key.softness, studio.shadow,
    )  # fmt: skip
    floor.darken_floor(
        background, dark, np.array(corner), FLOOR_CELL, camera.focal, np.array(camera.position),
        np.array(camera.center),
    )  # fmt: skip
    if studio.reflection > 0:
        colors = scene.materials.means * np.float32(0.7)
        floor.mirror_feet(background, world, scene.triangles, scene.owner, colors, camera.focal,
                           np.array(camera.position), np.array(camera.center), studio.reflection)  # fmt: skip
