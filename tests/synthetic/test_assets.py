"""The packed file that people are made from."""

import pathlib

import numpy as np
import pytest

from data.synthetic import assets
from data.synthetic.complexion import MENS_BROWS, WOMENS_BROWS
from data.synthetic.hair import STYLES
from data.synthetic.morphs import target_names
from data.synthetic.rig import BONES
from utils.errors import UserError


def test_the_pack_is_small_and_its_sources_are_named():
    assert assets.PACK.stat().st_size <= 8_000_000
    rows = (assets.FOLDER / "SOURCES.tsv").read_text(encoding="utf-8").splitlines()[1:]
    named = {row.split("\t")[0].split()[0] for row in rows}
    for folder, ending in (("proxies", "npz"), ("textures", "webp")):
        assert {f"{folder}/{name}.{ending}" for name in assets.names(folder)} <= named
    assert {f"targets.npz {name}" for name in target_names()} <= {row.split("\t")[0] for row in rows}
    assert "CC0" in (assets.FOLDER / "LICENSE-CC0.txt").read_text(encoding="utf-8")


def test_the_base_mesh_hangs_on_its_bones():
    base = assets.base()
    assert base.vertices.shape == (19158, 3)
    assert base.heads.shape == base.tails.shape == (len(BONES), 8)
    assert base.weights.shape == base.bones.shape == (19158, assets.NUM_INFLUENCES)
    assert base.weights.sum(1) == pytest.approx(1, abs=1e-4)
    for name, triangles in base.triangles.items():
        assert triangles.max() < len(base.vertices)
        assert base.uv[name].shape == (*triangles.shape, 2)


def test_targets_move_what_they_name():
    moved = np.abs(assets.morph({"nose/nose-volume-incr": 1.0}) - assets.base().vertices).max(1)
    assert 0.01 < moved.max() < 1
    assert assets.base().vertices[moved > 1e-3, 1].min() > 6


def test_what_is_worn_fits_and_has_a_texture():
    body = assets.base().vertices
    textures = assets.names("textures")
    for name in assets.names("proxies"):
        proxy = assets.proxy(name)
        points = proxy.fit(body)
        assert np.isfinite(points).all() and np.abs(points).max() < 12
        assert proxy.triangles.max() < len(points)
        assert proxy.weights.sum(1) == pytest.approx(1, abs=1e-4)
        assert name in textures and assets.texture(name).dtype == np.uint8
    worn = {style.proxy for style in STYLES.values() if style.proxy} | {*WOMENS_BROWS, *MENS_BROWS}
    assert worn <= set(assets.names("proxies"))


@pytest.fixture
def copied_pack(tmp_path, monkeypatch):
    for name, path in (("PACK", assets.PACK), ("CHECKSUM", assets.CHECKSUM)):
        copy = pathlib.Path(tmp_path / path.name)
        copy.write_bytes(path.read_bytes())
        monkeypatch.setattr(assets, name, copy)
    assets._archive.cache_clear()
    yield assets.PACK
    assets._archive.cache_clear()


def test_a_damaged_pack_is_named_in_one_line(copied_pack):
    data = bytearray(copied_pack.read_bytes())
    data[1000] ^= 1
    copied_pack.write_bytes(data)
    with pytest.raises(UserError, match=r"people\.zip is damaged.*git checkout") as caught:
        assets.names("proxies")
    assert "\n" not in str(caught.value)


def test_a_missing_pack_is_named_in_one_line(copied_pack):
    copied_pack.unlink()
    with pytest.raises(UserError, match=r"cannot read .*people\.zip.*git checkout") as caught:
        assets.names("proxies")
    assert "\n" not in str(caught.value)
