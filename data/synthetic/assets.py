"""What people are made of: a body with rig and targets, hair, brows, lashes, clothes, shoes, and textures.

All are CC0 works of the MakeHuman project; `assets/SOURCES.tsv` names each.
`python -m data.synthetic.pack_assets` packs the file anew.
"""

import dataclasses
import functools
import hashlib
import io
import pathlib
import zipfile

import numpy as np
from PIL import Image

from utils.errors import UserError

FOLDER = pathlib.Path(__file__).parent / "assets"
PACK, CHECKSUM = FOLDER / "people.zip", FOLDER / "people.zip.sha256"
NUM_INFLUENCES = 6
"""How many bones move a vertex at most."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """MakeHuman's base mesh: skin, eyes and teeth, and helpers to fit clothes to.

    Attributes:
        vertices: (N, 3) float32 rest pose in dm.
        bones: (N, K) int32, the bones that move each vertex, and
        weights: (N, K) float32, how much.
        heads: (B, 8) int32, the vertices whose mean is the head of each bone, and
        tails: (B, 8) int32, its tail.
        triangles: name of a group -> (T, 3) int32.
        uv: name of a group -> (T, 3, 2) float32 in 0..1, v upward.
    """

    vertices: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    triangles: dict[str, np.ndarray]
    uv: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Proxy:
    """Something worn on the base mesh: hair, brows, lashes, clothes, shoes.

    Attributes:
        name: in the pack; its texture has the same name.
        triangles: (T, 3) int32.
        uv: (T, 3, 2) float32 in 0..1, v upward.
        anchors: (V, 3) int32, base vertices that carry each vertex, and
        shares: (V, 3) float32, how much each does.
        offsets: (V, 3) float32 in dm from there, on the body that it was made on.
        spans: (3, 2) int32, two base vertices whose distance along each axis scales the offsets, or -1.
        lengths: (3,) float32, their distance on the body that it was made on.
        delete_verts: (n,) int32, base vertices that it hides.
        bones: (V, K) int32, the bones that move each vertex, and
        weights: (V, K) float32, how much.
    """

    name: str
    triangles: np.ndarray
    uv: np.ndarray
    anchors: np.ndarray
    shares: np.ndarray
    offsets: np.ndarray
    spans: np.ndarray
    lengths: np.ndarray
    delete_verts: np.ndarray
    bones: np.ndarray
    weights: np.ndarray

    def fit(self, vertices: np.ndarray) -> np.ndarray:
        """Put it on a body.

        Args:
            vertices: (N, 3) the rest vertices of the morphed base mesh, in dm.

        Returns:
            (V, 3) float32, the rest vertices of what is worn.
        """
        scale = np.ones(3, np.float32)
        for axis, (a, b) in enumerate(self.spans):
            if a >= 0:
                scale[axis] = abs(vertices[a, axis] - vertices[b, axis]) / self.lengths[axis]
        carried = sum(self.shares[:, k, None] * vertices[self.anchors[:, k]] for k in range(3))
        return (carried + self.offsets * scale).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _archive() -> zipfile.ZipFile:
    again = "get it again with: git checkout -- data/synthetic/assets"
    try:
        data, stated = PACK.read_bytes(), CHECKSUM.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename}, which synthetic people are made from ({error.strerror}); {again}"
        ) from error
    if stated[:1] != [hashlib.sha256(data).hexdigest()]:
        raise UserError(f"{PACK} is damaged: its SHA-256 is not the one in {CHECKSUM.name}; {again}")
    return zipfile.ZipFile(io.BytesIO(data))


def _arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(_archive().read(f"{name}.npz"))) as arrays:
        return dict(arrays)


def names(folder: str) -> list[str]:
    """What the pack has.

    Args:
        folder: "proxies" or "textures".
    """
    members = (pathlib.PurePosixPath(name) for name in _archive().namelist())
    return sorted(member.stem for member in members if member.parts[0] == folder)


@functools.lru_cache(maxsize=1)
def base() -> Base:
    """The base mesh.

    Raises:
        UserError: the packed file is missing or damaged.
    """
    arrays = _arrays("base")
    groups = [str(name) for name in arrays["groups"]]
    return Base(
        vertices=arrays["vertices"].astype(np.float32) * arrays["unit"],
        bones=arrays["bones"].astype(np.int32),
        weights=_normalized(arrays["weights"]),
        heads=arrays["heads"].astype(np.int32),
        tails=arrays["tails"].astype(np.int32),
        triangles={name: arrays[f"{name}_triangles"].astype(np.int32) for name in groups},
        uv={name: arrays[f"{name}_uv"].astype(np.float32) / 65535 for name in groups},
    )


def _normalized(weights: np.ndarray) -> np.ndarray:
    weights = weights.astype(np.float32)
    return weights / weights.sum(1, keepdims=True)


@functools.lru_cache(maxsize=1)
def _targets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    arrays = _arrays("targets")
    ends = np.cumsum(arrays["counts"])
    return {
        str(name): (
            np.cumsum(arrays["steps"][end - count : end], dtype=np.int64),
            arrays["deltas"][end - count : end].astype(np.float32) * unit,
        )
        for name, end, count, unit in zip(
            arrays["names"], ends, arrays["counts"], arrays["units"], strict=True
        )
    }


def morph(targets: dict[str, float]) -> np.ndarray:
    """The base mesh with targets added.

    Args:
        targets: name of a target, as in `morphs.target_names`, -> its weight.

    Returns:
        (N, 3) float32 rest vertices in dm.
    """
    vertices = base().vertices.copy()
    for name, weight in sorted(targets.items()):
        indices, deltas = _targets()[name]
        vertices[indices] += np.float32(weight) * deltas
    return vertices


@functools.cache
def proxy(name: str) -> Proxy:
    """Something worn, as it was made.

    Args:
        name: of `names("proxies")`, such as "long01", "eyebrow001", "shoes01" or "female_casualsuit01".
    """
    arrays = _arrays(f"proxies/{name}")
    anchors = arrays["anchors"].astype(np.int32)
    bones, weights = _carried_weights(anchors, arrays["shares"])
    return Proxy(
        name=name,
        triangles=arrays["triangles"].astype(np.int32),
        uv=arrays["uv"].astype(np.float32) / 65535,
        anchors=anchors,
        shares=arrays["shares"],
        offsets=arrays["offsets"].astype(np.float32) * arrays["unit"],
        spans=arrays["spans"],
        lengths=arrays["lengths"],
        delete_verts=arrays["delete_verts"].astype(np.int32),
        bones=bones,
        weights=weights,
    )


def _carried_weights(anchors: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bones that move what base vertices carry, as (V, K) numbers and weights."""
    body = base()
    dense = np.zeros((len(anchors), len(body.heads)), np.float32)
    rows = np.arange(len(anchors))
    for k in range(3):
        for influence in range(body.bones.shape[1]):
            weight = body.weights[anchors[:, k], influence] * np.maximum(shares[:, k], 0)
            np.add.at(dense, (rows, body.bones[anchors[:, k], influence]), weight)
    return heaviest(dense)


def heaviest(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the strongest bones of each vertex.

    Args:
        dense: (V, B) weights of all bones.

    Returns:
        (V, `NUM_INFLUENCES`) int32 bones and float32 weights that sum to 1.
    """
    bones = np.argsort(-dense, axis=1, kind="stable")[:, :NUM_INFLUENCES].astype(np.int32)
    return bones, _normalized(np.take_along_axis(dense, bones, axis=1))


@functools.cache
def texture(name: str) -> np.ndarray:
    """A texture as it was painted.

    Args:
        name: of `names("textures")`: that of a proxy, or of a skin such as "young_lightskinned_female1".

    Returns:
        (512, 512, 3) uint8 sRGB, or (512, 512, 4) with opacity; do not write into it.
    """
    with Image.open(io.BytesIO(_archive().read(f"textures/{name}.webp"))) as picture:
        pixels = np.asarray(picture)
    pixels.setflags(write=False)
    return pixels
