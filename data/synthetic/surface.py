"""Which point of which surface each pixel of a clip shows, and where that point is in every other frame.

A clip's file is a compressed npz without pickles. It has F frames of H x W pixels, T triangles that are seen
in at least one frame, V vertices that these use, and N pixels that show the person, in all frames together:

    version     ()        1
    size        (2,)      H, W
    names       (M,)      the surfaces' names
    blended     (M,)      bool, hair, lashes and lace: drawn by opacity
    owner       (T,)      which surface a triangle belongs to
    number      (T,)      its number among that surface's triangles
    corners     (T, 3)    its vertices, in 0..V-1
    person      (F, B)    bits, row by row, of the pixels that show the person (`numpy.packbits`)
    shown       (2, N)    low and high byte of the triangle that each of these pixels shows (three bytes if
                          T is above 65,536)
    weights     (2, N)    barycentric weights of its second and third corner, in 1/63 from -0.5 on
    vertices    (2, 3, V, F) low and high byte of x, y and depth of each vertex, as int16; each frame as the
                          difference from the frame before, which wraps around
    steps       (3,)      what 1 in `vertices` is: pixels, pixels, decimetres
    origin      (3,)      what 0 in `vertices` is

Hair and lace are what a pixel shows where their opacity, added up from the front, exceeds one half. Of a
pixel's samples those count that have its part in the masks. About 0.1 MB a frame of 512 x 256.
"""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np

from data.synthetic.mesh import Mesh
from data.synthetic.raster import Picture
from data.synthetic.studio import Camera
from utils.errors import UserError
from utils.files import atomic_path

VERSION = 1
LEVELS = 63
"""Steps of a barycentric weight from 0 to 1."""
NEAR = 0.15
"""A point is seen where the surface shown there is its own and at most this much nearer, decimetres,"""
SLOPE = 1.5
"""plus this many times what depth changes between two neighbouring pixels at most."""
NEAR_BLENDED = 0.25
"""The same as `NEAR` for hair and lace, which lie in layers."""
EVERY_PIXEL = (slice(None), slice(None))
"""All rows and columns."""
GRAZING = 0.1
"""Share of its area that a triangle keeps at least where it still counts as seen."""


class SurfaceWriter:
    """Takes down a clip frame by frame, then writes its file."""

    def __init__(self) -> None:
        self._meshes: list[Mesh] = []
        self._counts: list[int] = []
        self._size = (0, 0)
        self._seen: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []
        self._points: list[np.ndarray] = []

    def add(self, meshes: list[Mesh], vertices: list[np.ndarray], camera: Camera, picture: Picture) -> None:
        """Take down the next frame.

        Args:
            meshes: what was drawn, the same in every frame.
            vertices: (V, 3) of each, decimetres.
            camera: that it was drawn with.
            picture: what was drawn.
        """
        self._meshes = meshes
        self._counts = [len(v) for v in vertices]
        self._size = (camera.height, camera.width)
        mask = picture.surface.mesh >= 0
        first = np.cumsum([0] + [len(mesh.triangles) for mesh in meshes])
        self._masks.append(mask)
        self._seen.append(first[picture.surface.mesh[mask]] + picture.surface.triangle[mask])
        self._weights.append(np.round((picture.surface.weights[mask] + 0.5) * LEVELS).astype(np.uint8))
        self._points.append(np.concatenate([camera.project(v) for v in vertices]))

    def save(self, path: str | Path) -> None:
        """Write the frames taken down so far, at least one, and forget them.

        Raises:
            UserError: the file cannot be written.
        """
        counts = [len(m.triangles) for m in self._meshes]
        owner = np.repeat(np.arange(len(self._meshes)), counts)
        number = np.concatenate([np.arange(c) for c in counts])
        offsets = np.cumsum([0, *self._counts])
        corners = np.concatenate([m.triangles + offsets[i] for i, m in enumerate(self._meshes)])
        kept, shown = np.unique(np.concatenate(self._seen), return_inverse=True)
        used, compact = np.unique(corners[kept], return_inverse=True)
        compact = compact.reshape(-1, 3)
        points = np.stack(self._points)[:, used].astype(np.float64)
        height, width = self._size
        steps = np.array((max(width, height) / 16384, max(width, height) / 16384, 0.01))
        origin = np.array((width / 2, height / 2, float(np.median(points[..., 2]))))
        quantised = np.clip(np.round((points - origin) / steps), -32767, 32767).astype(np.int16)
        moves = np.diff(quantised, axis=0, prepend=np.zeros_like(quantised[:1]))  # wraps around, as intended
        narrow = np.uint16 if len(used) < 65536 else np.uint32
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                version=np.int32(VERSION),
                size=np.array(self._size, np.int32),
                names=np.array([m.name for m in self._meshes]),
                blended=np.array([m.blended for m in self._meshes]),
                owner=owner[kept].astype(np.uint8),
                number=number[kept].astype(np.uint32),
                corners=compact.astype(narrow),
                person=np.packbits(np.stack(self._masks).reshape(len(self._masks), -1), axis=1),
                shown=_split_bytes(shown.ravel(), 2 if len(kept) <= 65536 else 3),
                weights=np.ascontiguousarray(np.concatenate(self._weights).T),
                vertices=_split_bytes(moves.transpose(2, 1, 0).view(np.uint16), 2),
                steps=steps,
                origin=origin,
            )
        self._seen, self._weights, self._masks, self._points = [], [], [], []


def _split_bytes(numbers: np.ndarray, count: int) -> np.ndarray:
    """The lowest byte of all numbers, then the next one: (count, ...) uint8, which compresses better."""
    return np.stack([(numbers >> (8 * i)) & 255 for i in range(count)]).astype(np.uint8)


def _join_bytes(planes: np.ndarray) -> np.ndarray:
    """The numbers that `_split_bytes` took apart, int64."""
    return sum(plane.astype(np.int64) << (8 * i) for i, plane in enumerate(planes))  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """What a clip's pixels show.

    Attributes:
        height, width: pixels.
        names: of the surfaces.
        blended: (M,) bool, which of them are drawn by opacity.
        owner: (T,) int64, surface of each triangle that is seen in any frame, and
        number: (T,) int64, its number among that surface's triangles.
        corners: (T, 3) int64, its vertices.
        triangle: (F, H, W) int32, what each pixel shows, -1 where there is only background.
        weights: (F, H, W, 2) float32, barycentric weights of the second and third corner.
        vertices: (F, V, 3) float32, x and y in pixels (the middle of the first one is 0.5, 0.5), depth in dm.
    """

    height: int
    width: int
    names: tuple[str, ...]
    blended: np.ndarray
    owner: np.ndarray
    number: np.ndarray
    corners: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    vertices: np.ndarray

    @property
    def num_frames(self) -> int:
        """How many frames the clip has."""
        return len(self.triangle)

    def surface(self, frame: int) -> np.ndarray:
        """(H, W) int64, index into `names` of what each pixel shows, -1 where there is only background."""
        shown = self.triangle[frame]
        return np.where(shown >= 0, self.owner[shown], -1)

    def depth(self, frame: int) -> np.ndarray:
        """(H, W) float32, decimetres from the camera, infinite where there is only background."""
        return np.where(self.triangle[frame] >= 0, self._place(frame, frame)[..., 2], np.float32(np.inf))

    def _place(self, source: int, target: int, pixels: tuple[slice, slice] = EVERY_PIXEL) -> np.ndarray:
        """(H, W, 3) float32: x, y, depth in the target frame of what the source frame's pixels show."""
        shown, weights = self.triangle[source][pixels], self.weights[source][pixels]
        corners = self.vertices[target][self.corners[shown]]
        first = 1 - weights[..., :1] - weights[..., 1:]
        return (
            first * corners[..., 0, :]
            + weights[..., :1] * corners[..., 1, :]
            + weights[..., 1:] * corners[..., 2, :]
        )

    def _area(self, frame: int, shown: np.ndarray) -> np.ndarray:
        """(H, W) float32: twice the triangles' areas in pixels, above 0 where the outside is seen."""
        a, b, c = np.moveaxis(self.vertices[frame][self.corners[shown]][..., :2], -2, 0)
        return (c - a)[..., 0] * (b - a)[..., 1] - (b - a)[..., 0] * (c - a)[..., 1]

    def correspondence(
        self, source: int, target: int, pixels: tuple[slice, slice] = EVERY_PIXEL
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the points that one frame shows are in another, seen there or hidden.

        A point is seen in the target frame if the pixel that it lies in shows the same surface at its depth,
        at most `NEAR` (`NEAR_BLENDED` for hair and lace) plus `SLOPE` times the change of depth from pixel to
        pixel away; if its triangle turns the same side to the viewer in both frames (hair and lace may turn
        either side); and if it is not foreshortened to less than `GRAZING` of its area in the source frame.

        Args:
            source: frame whose pixels are asked about.
            target: frame in which they are looked for.
            pixels: rows and columns of the source frame that are asked about; H and W below are how many.

        Returns:
            (H, W, 2) float32, x and y in the target frame in pixels, whole numbers between pixels (a pixel's
            middle has .5), 0 where the source shows only background; (H, W) bool, seen in the target;
            (H, W) bool, the source shows the person.
        """
        shown = self.triangle[source][pixels]
        person = shown >= 0
        place = self._place(source, target, pixels)
        surface, theirs = self.owner[shown], self.surface(target)
        depth = self.depth(target)
        slope = _slope(depth)
        blended = self.blended[surface]
        near = np.where(blended, NEAR_BLENDED, NEAR)
        inside = (place[..., 0] >= 0) & (place[..., 0] < self.width) & (place[..., 1] >= 0)
        inside &= place[..., 1] < self.height
        x = np.clip(place[..., 0], 0, self.width - 1).astype(int)
        y = np.clip(place[..., 1], 0, self.height - 1).astype(int)
        with np.errstate(invalid="ignore"):
            close = np.abs(place[..., 2] - depth[y, x]) <= near + SLOPE * slope[y, x]
        found = inside & (theirs[y, x] == surface) & close
        before, after = self._area(source, shown), self._area(target, shown)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = after / before
        turned = np.where(blended, np.abs(kept), kept) >= GRAZING
        flow = np.where(person[..., None], place[..., :2], np.float32(0))
        return flow, found & turned & person, person


def _slope(depth: np.ndarray) -> np.ndarray:
    """(H, W): change of depth to the nearer-lying neighbour, along rows or columns, whichever is larger."""
    slope = np.zeros_like(depth)
    with np.errstate(invalid="ignore"):
        for axis in (0, 1):
            change = np.abs(np.diff(depth, axis=axis))
            change = np.where(np.isfinite(change), change, np.float32(np.inf))
            before = np.insert(change, 0, np.inf, axis=axis)
            after = np.append(change, np.full_like(np.take(change, [0], axis), np.inf), axis=axis)
            least = np.minimum(before, after)
            slope = np.maximum(slope, np.where(np.isfinite(least), least, 0))
    return np.minimum(slope, np.float32(0.15))


def read_surface(path: str | Path) -> Surface:
    """Read a clip's file.

    Raises:
        UserError: it is missing, damaged, or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        if int(stored["version"]) != VERSION:
            raise UserError(
                f"{path}: version {int(stored['version'])} of the surface file, this program reads "
                f"{VERSION}; render the clip again with python -m data.synthetic --surface"
            )
        height, width = map(int, stored["size"])
        frames = len(stored["person"])
        person = np.unpackbits(stored["person"], axis=1, count=height * width).astype(bool)
        person = person.reshape(frames, height, width)
        triangle = np.full(person.shape, -1, np.int32)
        triangle[person] = _join_bytes(stored["shown"])
        weights = np.zeros((*person.shape, 2), np.float32)
        weights[person] = stored["weights"].T / np.float32(LEVELS) - np.float32(0.5)
        moves = _join_bytes(stored["vertices"]).astype(np.uint16).view(np.int16)
        vertices = np.cumsum(moves, axis=2, dtype=np.int16).transpose(2, 1, 0)
        return Surface(
            height=height,
            width=width,
            names=tuple(map(str, stored["names"])),
            blended=stored["blended"],
            owner=stored["owner"].astype(np.int64),
            number=stored["number"].astype(np.int64),
            corners=stored["corners"].astype(np.int64),
            triangle=triangle,
            weights=weights,
            vertices=(vertices * stored["steps"] + stored["origin"]).astype(np.float32),
        )
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; render the clip with python -m data.synthetic --surface"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}: not a surface file, or damaged ({error}); render the clip again with "
            "python -m data.synthetic --surface"
        ) from error
