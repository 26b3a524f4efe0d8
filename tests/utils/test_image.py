import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.image import border_color, fit_image, read_image, write_png


def gradient(height=40, width=24):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256], axis=-1).astype(
        np.uint8
    )


def test_png_round_trip_is_exact_and_leaves_no_other_file(tmp_path):
    picture = gradient()
    write_png(tmp_path / "new" / "a.png", picture)
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), picture)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def test_grey_and_palette_and_one_bit_become_rgb(tmp_path):
    grey = gradient()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(gradient()).quantize(16).save(tmp_path / "palette.png")
    Image.fromarray(grey).convert("1").save(tmp_path / "bit.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    assert read_image(tmp_path / "palette.png").shape == (40, 24, 3)
    assert set(np.unique(read_image(tmp_path / "bit.png"))) == {0, 255}


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 40 * 24).reshape(40, 24)
    Image.fromarray(levels.astype(np.uint16)).save(tmp_path / "deep.png")
    read = read_image(tmp_path / "deep.png")
    assert np.abs(read[..., 0] - levels / 257).max() <= 0.51


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    picture = Image.new("RGBA", (20, 30), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 10, 30))
    picture.convert(mode).save(tmp_path / "alpha.png")
    read = read_image(tmp_path / "alpha.png")
    assert (read[:, :10] == 0).all() and (read[:, 10:] == 255).all()


def test_half_transparent_black_on_white_is_mid_grey(tmp_path):
    Image.new("RGBA", (20, 30), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert np.unique(read_image(tmp_path / "half.png")).tolist() == [127]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(gradient()).save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    read = read_image(tmp_path / "turned.jpg")
    assert read.shape == (24, 40, 3)
    assert np.abs(read.astype(int) - np.rot90(gradient(), -1)).mean() < 3


def test_cmyk_is_read(tmp_path):
    Image.new("CMYK", (20, 30), (0, 0, 0, 0)).save(tmp_path / "print.jpg")
    assert (read_image(tmp_path / "print.jpg") == 255).all()


def bad_file(tmp_path, kind):
    path = tmp_path / f"{kind}.png"
    write_png(tmp_path / "good.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    good = (tmp_path / "good.png").read_bytes()
    if kind == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif kind == "flipped":
        path.write_bytes(good[:200] + bytes(b ^ 0xFF for b in good[200:260]) + good[260:])
    elif kind == "text":
        path.write_text("not a picture\n")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "wide":
        Image.new("L", (30_000, 2_000)).save(path)
    elif kind == "enormous":
        header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)  # empty
        header = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        path.write_bytes(good[:8] + header + good[33:])
    elif kind == "one_pixel_wide":
        Image.new("RGB", (1, 500)).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "damaged"),
        ("flipped", "damaged"),
        ("text", "not a picture"),
        ("empty", "not a picture"),
        ("folder", "is a folder"),
        ("missing", "does not exist"),
        ("wide", "30000 x 2000 pixels; at most 40 megapixels"),
        ("enormous", "40 megapixels"),
        ("one_pixel_wide", "1 x 500 pixels; each side needs at least 16"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, kind, reason):
    path = bad_file(tmp_path, kind)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert str(path) in str(error.value) and reason in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "size", [(256, 128), (512, 256), (100, 400), (677, 451), (64, 32), (1000, 200), (33, 77)]
)
def test_fitting_does_not_distort_and_maps_keypoints(size):
    height, width = size
    picture = np.full((height, width, 3), 200, np.uint8)
    y, x, half = height // 2, width // 3, min(height, width) // 5
    picture[y - half : y + half + 1, x - half : x + half + 1] = 0  # a square stays a square
    fitted, placement = fit_image(picture, 256, 128)
    assert fitted.shape == (256, 128, 3)
    rows, columns = np.nonzero(fitted[..., 0] < 100)
    side = (2 * half + 1) * placement.scale
    assert np.ptp(rows) + 1 == pytest.approx(side, abs=1.6) and np.ptp(columns) + 1 == pytest.approx(
        side, abs=1.6
    )
    mapped = placement.to_fitted(np.array([[x, y, 1.0]]))
    assert mapped[0, 0] == pytest.approx(columns.mean(), abs=1) and mapped[0, 1] == pytest.approx(
        rows.mean(), abs=1
    )
    assert mapped[0, 2] == 1


def test_padding_continues_the_background_and_the_right_size_is_untouched():
    picture = np.full((100, 100, 3), (240, 230, 220), np.uint8)
    picture[60:, 40:60] = 10  # feet that touch the border do not colour it
    fitted, placement = fit_image(picture, 256, 128)
    assert (fitted[0] == (240, 230, 220)).all() and (fitted[-1] == (240, 230, 220)).all()
    assert (placement.top, placement.left, placement.height, placement.width) == (64, 0, 128, 128)
    assert border_color(picture).tolist() == [240, 230, 220]
    same = gradient(256, 128)
    assert np.array_equal(fit_image(same, 256, 128)[0], same)


@pytest.mark.parametrize("size", [(20, 1300), (8000, 200)])
def test_an_extreme_shape_is_refused(size):
    with pytest.raises(UserError, match="crop it closer"):
        fit_image(np.zeros((*size, 3), np.uint8), 256, 128)
