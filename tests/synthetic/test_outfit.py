"""What is worn: cut, cloth, shoes and skirts on drawn people."""

import numpy as np
import pytest

from data.synthetic.accessories import necklace, placket
from data.synthetic.fabrics import FABRICS, Cloth, sample_cloth
from data.synthetic.garments import (
    SHOULDER_TIP,
    SLEEVES,
    Fit,
    Neckline,
    clear_of,
    cut_top,
    top_shape,
    trousers_shape,
)
from data.synthetic.mesh import PARTS
from data.synthetic.outfit import Outfit, sample_outfit
from data.synthetic.patterns import PATTERNS
from data.synthetic.person import Person, sample_person
from data.synthetic.render import render_clip, sample_clip
from data.synthetic.rig import BONES, bone_transforms, skin
from data.synthetic.seams import distances, top_seams, trouser_seams
from data.synthetic.shoes import cut_shoes
from data.synthetic.stock import STOCK, hidden_vertices, stock_mesh, worn_parts
from data.synthetic.tights import head_of, on_skin, tights, vertex_normals
from data.synthetic.wardrobe import Wardrobe


def _still(person: Person, height: float = 8.3) -> np.ndarray:
    rotations = np.tile(np.eye(3), (len(BONES), 1, 1))
    return bone_transforms(person.heads, rotations, np.array([0.0, height, 0.0]))


def _turned(person: Person, yaw: float) -> np.ndarray:
    rotations = np.tile(np.eye(3), (len(BONES), 1, 1))
    c, s = np.cos(yaw), np.sin(yaw)
    rotations[0] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    return bone_transforms(person.heads, rotations, np.array([0.0, 8.3, 0.0]))


@pytest.fixture(scope="module")
def dressed() -> list[tuple[Person, Outfit]]:
    people = [sample_person(np.random.default_rng(seed)) for seed in range(8)]
    return [
        (person, sample_outfit(np.random.default_rng(seed), person)) for seed, person in enumerate(people)
    ]


@pytest.fixture(scope="module")
def skirted(dressed: list[tuple[Person, Outfit]]) -> tuple[Person, Outfit]:
    return next(pair for pair in dressed if pair[1].skirts)


def test_everything_drawn_is_sound(dressed: list[tuple[Person, Outfit]]) -> None:
    for person, outfit in dressed:
        names = [mesh.name for mesh in (*outfit.meshes, *(skirt.mesh for skirt in outfit.skirts))]
        assert len(set(names)) == len(names)
        for mesh in outfit.meshes:
            assert np.isfinite(mesh.rest).all() and np.isfinite(mesh.uv).all()
            assert mesh.triangles.max() < len(mesh.rest) == len(mesh.bones) == len(mesh.weights)
            assert mesh.cut is None or len(mesh.cut) == len(mesh.rest)
            assert np.allclose(mesh.weights.sum(1), 1, atol=1e-4)
            assert len(mesh.uv) == len(mesh.parts) == len(mesh.triangles)
        body = person.meshes[0]
        assert outfit.hidden.shape == outfit.covered.shape == (len(body.triangles),)
        assert outfit.body_rest.shape == body.rest.shape


def test_heads_and_hands_stay_bare(dressed: list[tuple[Person, Outfit]]) -> None:
    for person, outfit in dressed:
        body = person.meshes[0]
        middle = body.rest[body.triangles].mean(1)
        head = middle[:, 1] > head_of("head", person.heads)[1]
        hands = np.abs(middle[:, 0]) > head_of("finger3-1.L", person.heads)[0]
        assert not outfit.hidden[head | hands].any()


def test_description_names_parts_and_colors(dressed: list[tuple[Person, Outfit]]) -> None:
    for _, outfit in dressed:
        description = outfit.description()
        assert set(description) <= set(PARTS)
        assert "shoes" in description and ("dress" in description or {"top", "lower"} <= set(description))
        for part in description.values():
            assert len(part["color"]) == 3 and all(0 <= value <= 255 for value in part["color"])
            assert part["pattern"] in PATTERNS
            assert (part["pattern_color"] is None) == (part["pattern"] == "plain")


def test_sections_rise_and_are_as_wide_as_a_person(dressed: list[tuple[Person, Outfit]]) -> None:
    for _, outfit in dressed:
        assert (np.diff(outfit.sections[:, 0]) > 0).all()
        assert (outfit.sections[:, 1:] > 0.3).all() and (outfit.sections[:, 1:] < 7).all()


def test_patterns_keep_their_scale(dressed: list[tuple[Person, Outfit]]) -> None:
    for _, outfit in dressed:
        for mesh in outfit.meshes:
            if mesh.name not in ("top", "dress", "lower"):
                continue
            corners, uv = mesh.rest[mesh.triangles].astype(float), mesh.uv.astype(float)
            length = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).sum(1)
            drawn = np.linalg.norm(uv - np.roll(uv, 1, axis=1), axis=2).sum(1)
            assert 0.8 < np.median(drawn / length) < 1.2


def test_a_skirt_hangs_still_and_is_the_same_again(skirted: tuple[Person, Outfit]) -> None:
    person, outfit = skirted
    skirt, transforms = outfit.skirts[0], _still(person)
    first = skirt.settle(transforms)
    for _ in range(6):
        last = skirt.step(transforms, 1 / 12)
    assert np.isfinite(last).all() and np.abs(last - first).max() < 1.5
    assert np.array_equal(skirt.settle(transforms), first)


def test_a_skirt_neither_flies_nor_tears_in_a_fast_turn(skirted: tuple[Person, Outfit]) -> None:
    person, outfit = skirted
    skirt = outfit.skirts[0]
    first = skirt.settle(_still(person))
    edges = skirt.mesh.triangles[:, :2]

    def longest(places: np.ndarray) -> float:
        return float(np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1).max())

    for frame in range(1, 13):
        places = skirt.step(_turned(person, frame * np.pi / 6), 1 / 12)
        assert places[:, 1].min() < first[:, 1].min() + 1.5
        assert longest(places) < 2 * longest(first)


def test_legs_stay_inside_a_skirt(skirted: tuple[Person, Outfit]) -> None:
    person, outfit = skirted
    skirt, transforms = outfit.skirts[0], _still(person)
    places = skirt.settle(transforms)
    body = person.meshes[0]
    skinned = skin(body.rest, body.bones, body.weights, transforms)
    hem, top = places[:, 1].min() + 0.5, places[:, 1].max() - 1.5
    legs = skinned[(skinned[:, 1] > hem) & (skinned[:, 1] < top) & (np.abs(skinned[:, 0]) < 2.2)]
    for point in legs[::50]:
        ring = places[np.abs(places[:, 1] - point[1]) < 0.4]
        assert ring[:, 2].max() > point[2] - 0.1 and ring[:, 2].min() < point[2] + 0.1


@pytest.mark.parametrize("fabric", FABRICS)
def test_fabrics_show_their_color(fabric: str) -> None:
    material = Cloth(fabric=fabric, color=(120, 60, 90)).material()
    assert material.tiled and material.texture.shape[2] == 5
    assert np.isfinite(material.texture).all()
    mean = material.texture[..., :3].mean((0, 1))
    assert mean[0] > mean[2] > mean[1]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_repeat(pattern: str) -> None:
    cloth = sample_cloth(np.random.default_rng(3), {"cotton": 1}, plain=0, patterns={pattern: 1})
    cover = cloth.material().texture[..., 0].astype(float)
    across = np.abs(cover[:, 0] - cover[:, -1]).mean()
    assert across <= 1.2 * np.abs(np.diff(cover, axis=1)).mean(0).max() + 0.05


def test_sleeveless_tops_leave_the_arms_bare() -> None:
    round_neck = Neckline(shape="round", depth=0.5, width=0.8)
    shell = tights()
    for strap in (0.95, SHOULDER_TIP):
        cut = cut_top(shell, round_neck, round_neck, SLEEVES["none"], strap, -0.3)
        assert (cut[(shell.arm > 0.5) & (shell.along > 0.4)] <= 0).all()
        assert (cut > 0).any()


@pytest.mark.parametrize("name", STOCK)
def test_stock_outfits_take_their_dye(name: str) -> None:
    person = sample_person(np.random.default_rng(5), STOCK[name].gender)
    mesh, color = stock_mesh(person, name, "top", (40, 60, 160), 1.0)
    assert np.isfinite(mesh.rest).all() and mesh.triangles.max() < len(mesh.rest)
    assert (mesh.parts == PARTS["top"]).all()
    assert color[2] > color[0]
    assert hidden_vertices(name, len(person.meshes[0].rest)).any()
    parts = set(worn_parts(name).tolist())
    assert parts == {PARTS["top"], PARTS["lower"]} | ({PARTS["jacket"]} if STOCK[name].jacket else set())


def test_buttons_and_necklaces_lie_on_the_front() -> None:
    person = sample_person(np.random.default_rng(2), "woman")
    chain = necklace(person, 0.5, (212, 175, 90))
    strip = placket(tights().place(person.vertices), 5.0, 1.0, (200, 200, 220))
    for mesh in (chain, strip):
        assert np.isfinite(mesh.rest).all()
        assert np.allclose(mesh.weights.sum(1), 1, atol=1e-4)
    assert np.ptp(strip.rest[:, 0]) < 0.6
    assert chain.rest[:, 1].min() > strip.rest[:, 1].min()


def test_seams_run_along_the_sides_and_around_the_armholes() -> None:
    person = sample_person(np.random.default_rng(4), "woman")
    wardrobe = Wardrobe(np.random.default_rng(4), person)
    shell = tights()
    shape = top_shape(person, wardrobe.trunk, Fit())
    seam = top_seams(shape, wardrobe.trunk, sleeved=True, shirt=False, darts=False)
    middle = shell.base[shell.triangles].mean(1)
    sewn = np.abs(seam).min(1) < 0.1
    waist = (np.abs(middle[:, 1] - 2.2) < 0.1) & (shell.arm[shell.triangles].mean(1) < 0.1)
    assert 2 < (sewn & waist).sum() < 0.2 * waist.sum()
    assert (np.abs(middle[sewn & waist][:, 0]) > 0.8).all()
    upper_arm = (shell.arm[shell.triangles].mean(1) > 0.9) & (middle[:, 1] > 3.6)
    assert not (sewn & upper_arm).any()
    legs = trousers_shape(person, wardrobe.trunk, "straight", -0.02)
    plain = trouser_seams(legs, person, wardrobe.trunk, 1.5, jeans=False)
    jeans = trouser_seams(legs, person, wardrobe.trunk, 1.5, jeans=True)
    assert (np.abs(jeans) < 0.1).sum() > 1.05 * (np.abs(plain) < 0.1).sum()


def test_distances_are_those_from_the_zero_line() -> None:
    corners = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    field = 3 * (corners[..., 0] - 0.25)
    assert np.allclose(distances(field, corners), corners[..., 0] - 0.25)


def test_lace_is_lined_up_to_the_bust() -> None:
    lace = Cloth(fabric="lace", color=(120, 60, 90), seed=1)
    assert (lace.material().texture[..., 3] == 1).all()
    assert lace.material(lined=False).texture[..., 3].min() < 0.5
    person = sample_person(np.random.default_rng(4), "woman")
    wardrobe = Wardrobe(np.random.default_rng(4), person)
    neck = Neckline(shape="round", depth=0.2, width=0.8)
    shape = top_shape(person, wardrobe.trunk, Fit())
    seam = top_seams(shape, wardrobe.trunk, sleeved=True, shirt=False, darts=False)
    wardrobe.shell("dress", shape, lambda on: cut_top(on, neck, neck, SLEEVES["long"], 1.3, 2.0), lace, seam)
    sheer, lined = wardrobe.meshes
    assert sheer.blended and not lined.blended
    assert lined.rest[lined.cut > 0][:, 1].max() < sheer.rest[sheer.cut > 0][:, 1].max() - 0.5
    assert (wardrobe.under[np.abs(on_skin().base[:, 1] - 3) < 0.3] > 0).any()


def test_one_garment_keeps_off_another() -> None:
    person = sample_person(np.random.default_rng(4), "woman")
    legs = trousers_shape(person, Wardrobe(np.random.default_rng(4), person).trunk, "wide", -0.02)
    shell = tights()
    where, normals = shell.base[:, 1] < 1, vertex_normals(legs, shell.triangles)
    for gap in (0.05, -0.05):
        moved = clear_of(legs - 0.02 * np.sign(gap) * normals, legs, where, gap)
        out = ((moved - legs) * normals).sum(1)
        assert np.allclose(out[where], gap, atol=1e-3)
        assert np.allclose(out[~where], -0.02 * np.sign(gap), atol=1e-3)


def test_a_jacket_has_lapels_that_a_cardigan_has_not() -> None:
    person = sample_person(np.random.default_rng(4), "woman")
    found = {}
    for seed in range(40):
        wardrobe = Wardrobe(np.random.default_rng(seed), person)
        wardrobe._jacket()
        names = {mesh.name for mesh in wardrobe.meshes}
        found[wardrobe.parts["jacket"]["fabric"]] = "lapels" in names
        assert ("lapels" in names) == (wardrobe.parts["jacket"]["collar"] == "lapels")
    assert found["wool"] and not found["knit"]


@pytest.mark.parametrize("below", [True, False])
def test_a_top_under_a_jacket_is_there_behind_only_where_it_is_longer(below: bool) -> None:
    person = sample_person(np.random.default_rng(4), "woman")
    wardrobe = Wardrobe(np.random.default_rng(4), person)
    wardrobe._jacket()
    hem = wardrobe.jacket_hem + (-0.2 if below else 0.2)
    wardrobe._top(hem=hem, fit=Fit(), lower=Cloth(fabric="cotton", color=(120, 60, 90)), under=True)
    top = next(mesh for mesh in wardrobe.meshes if mesh.name == "top")
    assert top.cut is not None
    _, y, z = top.rest[top.cut > 0].T
    low = y < head_of("spine01", person.heads)[1]
    assert (low & (z > 0.5)).any()
    assert (low & (z < -0.6)).any() == below


def test_a_tucked_top_does_not_come_through_its_skirt() -> None:
    clip = sample_clip(9100, "train", 240, 4, 512)
    mask = next(render_clip(clip)).mask
    assert {"top", "lower"} <= set(clip.outfit.description()) and clip.outfit.skirts
    under_skirt = np.zeros(mask.shape, bool)
    for rows in range(2, 14):
        under_skirt[rows:] |= mask[:-rows] == PARTS["lower"]
    assert not (under_skirt & (mask == PARTS["top"])).any()


def test_boots_end_inside_the_trousers() -> None:
    person = sample_person(np.random.default_rng(4), "woman")
    ankle = float(head_of("foot.L", person.heads)[1])
    for cuff, top in ((np.inf, 3.2), (ankle + 1, 1.2), (ankle - 1, 0.3)):
        boots = cut_shoes(person, "tall_boots", (20, 20, 20), 0.0, False, pointed=0.0, cuff=cuff)
        upper = boots.meshes[0]
        assert upper.cut is not None
        assert -0.03 < ankle + top - upper.rest[upper.cut > 0][:, 1].max() < 0.2
