"""Surfaces are drawn where they are, lit by the studio, and masks and true correspondence agree with them."""

import dataclasses

import numpy as np
import pytest

from data.synthetic.mesh import PARTS, Material, Mesh
from data.synthetic.raster import Picture, draw, in_front
from data.synthetic.stitches import sew
from data.synthetic.studio import BACKDROPS, Camera, Studio, fit_camera, sample_studio, tone_curve
from data.synthetic.surface import SurfaceWriter, read_surface
from utils.errors import UserError

HEIGHT, WIDTH = 128, 64


def plain(color: tuple[float, float, float], opacity: float = 1.0, kind: str = "cloth") -> Material:
    texture = np.empty((8, 8, 5), np.float32)
    texture[...] = (*color, opacity, 0.0)
    return Material(kind=kind, texture=texture)


def board(name: str, material: Material, part: str, **more) -> Mesh:
    """A square of 8 x 8 squares; its vertices come from `at`."""
    grid = np.arange(81).reshape(9, 9)
    a, b, c, d = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, 1:].ravel(), grid[1:, :-1].ravel()
    triangles = np.concatenate([np.stack((a, b, c), 1), np.stack((a, c, d), 1)]).astype(np.int32)
    uv = (np.stack((triangles % 9, triangles // 9), -1) / 8).astype(np.float32)
    parts = np.full(len(triangles), PARTS[part], np.uint8)
    return Mesh(name=name, triangles=triangles, uv=uv, material=material, parts=parts, **more)


def at(x: float, y: float, z: float, width: float = 2.0, height: float = 2.0) -> np.ndarray:
    """(81, 3): a board around a place, facing the viewer, row 0 at the bottom."""
    across, up = np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(-0.5, 0.5, 9))
    places = np.stack((x + width * across, y + height * up, np.full_like(up, z)), -1)
    return places.reshape(-1, 3).astype(np.float32)


@pytest.fixture
def camera() -> Camera:
    # A decimetre is 6 pixels at z = 0; the floor's middle is near the lower border.
    return Camera(
        height=HEIGHT, width=WIDTH, focal=360.0, position=(0.0, 10.0, 60.0), center=(WIDTH / 2, HEIGHT / 2)
    )


@pytest.fixture
def studio() -> Studio:
    return dataclasses.replace(sample_studio(np.random.default_rng(1)), blur=0.0)


def test_nearest_surface_is_seen(camera: Camera, studio: Studio) -> None:
    far, near = board("far", plain((0.5, 0.1, 0.1)), "dress"), board("near", plain((0.1, 0.1, 0.5)), "arms")
    drawn = draw([far, near], [at(0, 10, 0, 4, 4), at(0, 10, 1)], camera, studio)
    row, column = HEIGHT // 2, WIDTH // 2
    assert drawn.parts[row, column] == PARTS["arms"]
    assert drawn.parts[row, column + 9] == PARTS["dress"]
    assert drawn.parts[0, 0] == PARTS["background"]
    assert drawn.depth[row, column] == pytest.approx(59, abs=1e-3)
    assert np.isinf(drawn.depth[0, 0])
    assert drawn.picture[row, column, 2] > drawn.picture[row, column, 0]
    np.testing.assert_array_equal(drawn.surface.mesh >= 0, drawn.parts > 0)
    np.testing.assert_array_equal(drawn.surface.mesh == 0, drawn.parts == PARTS["dress"])


def test_cut_is_where_the_value_is_zero(camera: Camera, studio: Studio) -> None:
    places = at(0, 10, 0, 6, 6)
    slanted = (places[:, 1] - 10 + 0.4 * places[:, 0] + 0.13).astype(np.float32)
    drawn = draw([board("cloth", plain((0.4, 0.4, 0.4)), "dress", cut=slanted)], [places], camera, studio)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    x, y = (columns - WIDTH / 2) / 6, 10 - (rows - HEIGHT / 2) / 6
    value = y - 10 + 0.4 * x + 0.13
    clear = (np.abs(x) < 2.8) & (np.abs(y - 10) < 2.8) & (np.abs(value) > 0.15)
    np.testing.assert_array_equal((drawn.parts > 0)[clear], (value > 0)[clear])


def test_backs_are_left_out_of_one_sided_surfaces(camera: Camera, studio: Studio) -> None:
    turned = at(0, 10, 0) * np.float32((-1, 1, 1))
    for two_sided in (True, False):
        mesh = board("skin", plain((0.4, 0.3, 0.2)), "legs", two_sided=two_sided)
        assert draw([mesh], [turned], camera, studio).parts.any() == two_sided


@pytest.mark.parametrize(("opacity", "part"), [(0.3, "head"), (0.45, "hair")])
def test_hair_is_shown_where_it_hides_more_than_half(
    camera: Camera, studio: Studio, opacity: float, part: str
) -> None:
    skin = board("skin", plain((0.5, 0.3, 0.2), kind="skin"), "head")
    hair = board("hair", plain((0.02, 0.02, 0.02), opacity, kind="strands"), "hair", blended=True)
    drawn = draw([skin, hair], [at(0, 10, 0), at(0, 10, 1)], camera, studio)
    bare = draw([skin], [at(0, 10, 0)], camera, studio)
    row, column = HEIGHT // 2, WIDTH // 2
    assert drawn.parts[row, column] == PARTS[part]
    assert 0 < drawn.picture[row, column, 0] < bare.picture[row, column, 0]


def test_a_shadow_falls_on_what_is_behind(camera: Camera, studio: Studio) -> None:
    wall, hand = board("wall", plain((0.5, 0.5, 0.5)), "dress"), board("hand", plain((0.3, 0.2, 0.2)), "arms")
    toward = studio.lights[0].direction
    # The hand is on the way of the key light to the wall's middle, which the camera still sees.
    place = 2.5 * np.array(toward) + (0, 10, 0)
    lit = draw([wall], [at(0, 10, 0, 8, 8)], camera, studio)
    dark = draw([wall, hand], [at(0, 10, 0, 8, 8), at(*place, 1.2, 1.2)], camera, studio)
    row, column = HEIGHT // 2, WIDTH // 2
    assert dark.parts[row, column] == PARTS["dress"]
    assert dark.picture[row, column, 1] < lit.picture[row, column, 1] - 8


def test_white_cloth_on_white_keeps_an_edge() -> None:
    camera = Camera(height=HEIGHT, width=WIDTH, focal=360.0, position=(0, 10, 60), center=(32, 64))
    cloth = board("dress", plain((0.8, 0.8, 0.8)), "dress")
    seen = 0
    for seed in range(40):
        studio = sample_studio(np.random.default_rng(seed))
        if studio.backdrop != "white":
            continue
        seen += 1
        picture = draw([cloth], [at(0, 10, 0, 6, 6)], camera, studio).picture.astype(int)
        assert picture[64, 32].max() < 254
        assert picture[5, 5].min() - picture[64, 32].min() >= 3
    assert seen > 10


def test_two_drawings_are_equal(camera: Camera, studio: Studio) -> None:
    def once() -> Picture:
        return draw([board("dress", plain((0.4, 0.2, 0.6)), "dress")], [at(0, 3, 0, 4, 5.9)], camera, studio)

    np.testing.assert_array_equal(once().picture, once().picture)


def test_the_floor_is_darker_under_a_person(camera: Camera, studio: Studio) -> None:
    shoe = board("shoe", plain((0.1, 0.1, 0.1)), "shoes")
    # Flat, just above the floor, so that the floor beside it shows its shadow.
    places = at(0, 0, 0, 3, 3)[:, [0, 2, 1]] + np.float32((0, 0.1, 0))
    grey = dataclasses.replace(studio, wall=(0.4, 0.4, 0.4), floor=(0.4, 0.4, 0.4), shadow=0.9)
    drawn = draw([shoe], [places], camera, grey)
    bare = dataclasses.replace(grey, shadow=0.0)
    change = draw([shoe], [places], camera, bare).picture.astype(int) - drawn.picture
    assert change[drawn.parts == 0].max() > 8
    assert change[0].max() == 0


@pytest.mark.parametrize("size", [(64, 32), (256, 128)])
def test_any_even_size(size: tuple[int, int], studio: Studio) -> None:
    height, width = size
    camera = Camera(
        height=height, width=width, focal=2.8 * height, position=(0, 10, 60), center=(width / 2, height / 2)
    )
    drawn = draw([board("dress", plain((0.4, 0.2, 0.6)), "dress")], [at(0, 10, 0, 4, 8)], camera, studio)
    assert drawn.picture.shape == (height, width, 3)
    share = np.count_nonzero(drawn.parts) / (height * width)
    assert share == pytest.approx(32 * (2.8 / 60) ** 2 * height / width, rel=0.1)


class TestStudio:
    def test_most_are_white(self) -> None:
        drawn = [sample_studio(np.random.default_rng(seed)).backdrop for seed in range(200)]
        assert drawn.count("white") > 100
        assert set(drawn) == set(BACKDROPS)

    def test_tone_curve_rises(self) -> None:
        for seed in range(20):
            curve = tone_curve(sample_studio(np.random.default_rng(seed))).astype(int)
            assert (np.diff(curve, axis=1) >= 0).all()
            assert (curve[:, 0] == 0).all()

    def test_person_fills_the_picture(self) -> None:
        rng = np.random.default_rng(3)
        points = rng.uniform((-2.5, 0, -1), (2.5, 17, 1), (4, 300, 3))
        points[:, 0], points[:, 1] = (0, 0, 0), (0, 17, 0)
        fills = []
        for seed in range(100):
            camera = fit_camera(np.random.default_rng(seed), points, 512, 256)
            y = camera.project(points)[..., 1]
            fills.append((np.clip(y.max(), 0, 512) - np.clip(y.min(), 0, 512)) / 512)
            assert 6 < camera.position[1] < 15
        assert np.quantile(fills, 0.15) > 0.6
        assert np.mean([0.74 <= fill <= 1 for fill in fills]) > 0.7


class TestSurface:
    @pytest.fixture
    def written(self, camera: Camera, studio: Studio, tmp_path):
        """Two frames: a board moves to the right and, in the second, half behind another one."""
        meshes = [
            board("dress", plain((0.5, 0.1, 0.1)), "dress"),
            board("arm", plain((0.3, 0.2, 0.1)), "arms"),
        ]
        frames = [[at(-2, 10, 0), at(4, 10, 1)], [at(3, 10, 0), at(4, 10, 1)]]
        writer = SurfaceWriter()
        for places in frames:
            writer.add(meshes, places, camera, draw(meshes, places, camera, studio))
        path = tmp_path / "surface" / "clip.npz"
        writer.save(path)
        return path

    def test_points_are_found(self, written) -> None:
        surface = read_surface(written)
        flow, seen, person = surface.correspondence(0, 1)
        dress = surface.surface(0) == 0
        rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        np.testing.assert_allclose((flow[..., 0] - columns)[dress], 30, atol=0.25)
        np.testing.assert_allclose((flow[..., 1] - rows)[dress], 0, atol=0.25)
        # The arm hides what comes to lie behind it: x above 3 dm.
        behind = flow[..., 0] > WIDTH / 2 + 3 * 6
        assert not seen[dress & behind & (np.abs(flow[..., 0] - WIDTH / 2 - 18) > 1.5)].any()
        assert seen[dress & (flow[..., 0] < WIDTH / 2 + 16.5)].all()
        np.testing.assert_array_equal(person, surface.triangle[0] >= 0)

    def test_a_frame_corresponds_to_itself(self, written) -> None:
        surface = read_surface(written)
        for frame in range(surface.num_frames):
            flow, seen, person = surface.correspondence(frame, frame)
            rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
            np.testing.assert_allclose(flow[person], np.stack((columns, rows), -1)[person], atol=0.5)
            assert seen[person].mean() > 0.99
            assert not seen[~person].any()

    def test_mistakes_are_named(self, written, tmp_path) -> None:
        with pytest.raises(UserError, match="no such file"):
            read_surface(tmp_path / "none.npz")
        data = written.read_bytes()
        written.write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match="damaged"):
            read_surface(written)


def _sewn(edge: float, seam: float, topstitch: float = 0.0) -> np.ndarray:
    color, out = np.full(5, 0.05, np.float32), np.ones(3, np.float32)
    sew(edge, seam, 0.02, 0.3, topstitch, color, out)
    return out


def test_hems_and_seams_are_darker_than_the_cloth() -> None:
    at_stitches, beside, far = (_sewn(distance, 9)[0] for distance in (0.13, 0.2, 0.29))
    assert 0.6 < at_stitches < beside <= far <= 1.0
    for side in (1, -1):
        assert _sewn(9, side * 0.001)[0] < 0.8 < _sewn(9, side * 0.19)[0]
    red, _, blue = _sewn(9, 0.055, topstitch=0.5)
    assert red > blue > 1


def test_a_seam_is_drawn_where_it_runs(camera: Camera, studio: Studio) -> None:
    sewn = dataclasses.replace(plain((0.5, 0.5, 0.5)), hem=0.3)
    whole = board("whole", sewn, "dress")
    across = (whole.triangles % 9 - 4).astype(np.float32) * 0.25 - 1 / 12  # dm, 0 in the middle of a pixel
    pictures = [
        draw([mesh], [at(0, 10, 0)], camera, studio).picture.astype(int)
        for mesh in (whole, dataclasses.replace(whole, seam=across))
    ]
    darker = (pictures[0] - pictures[1]).sum(2)
    row, column = HEIGHT // 2, WIDTH // 2
    assert darker[row, column] > 10
    assert darker[row, column + 4] == 0


def test_what_was_left_out_is_found_where_it_lies_in_front(camera: Camera, studio: Studio) -> None:
    cloth = board("cloth", plain((0.5, 0.1, 0.1)), "dress")
    drawn = draw([cloth], [at(0, 10, 0, 4, 4)], camera, studio)
    before, behind = (in_front(drawn, at(0, 10, z), cloth.triangles, camera) for z in (0.5, -0.5))
    assert 100 < before.sum() < 200 and not behind.any()
    assert not in_front(drawn, at(0, 10, 0.5), cloth.triangles[:, ::-1].copy(), camera).any()
