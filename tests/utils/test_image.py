import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from utils.errors import UserError
from utils.image import Placement, border_color, fit_image, image_size, place_image, read_image, write_png


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


def test_a_colour_profile_becomes_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    other = other.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")
    for mode, name in (("RGB", "red.png"), ("RGBA", "alpha.png"), ("RGB", "red.jpg")):
        picture = Image.new(mode, (32, 32), (250, 10, 10))
        picture.save(tmp_path / name, icc_profile=other)
        read = read_image(tmp_path / name).astype(int)
        assert np.abs(read - (10, 250, 10)).max() <= 4, name
        picture.save(tmp_path / name, icc_profile=srgb)
        assert np.abs(read_image(tmp_path / name).astype(int) - (250, 10, 10)).max() <= 4, name
        picture.save(tmp_path / name, icc_profile=b"damaged")
        assert np.abs(read_image(tmp_path / name).astype(int) - (250, 10, 10)).max() <= 4, name


def test_a_jpeg_of_many_megapixels_is_decoded_smaller(tmp_path):
    picture = Image.new("RGB", (5464, 8192), (250, 250, 250))
    picture.paste((200, 0, 0), (0, 0, 5464, 4096))
    exif = Image.Exif()
    exif[0x112] = 6
    picture.save(tmp_path / "camera.jpg", exif=exif)
    read = read_image(tmp_path / "camera.jpg")
    assert read.shape == (2732, 4096, 3) and image_size(tmp_path / "camera.jpg") == (5464, 8192)
    assert read[100, 4000, 1] < 20 and read[100, 100, 1] > 240


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_is_read(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "photo.avif", quality=95)
    assert np.abs(read_image(tmp_path / "photo.avif").astype(int) - gradient()).mean() < 3


def test_heic_is_named(tmp_path):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + b"\0" * 4096)
    with pytest.raises(UserError, match="HEIC picture"):
        read_image(tmp_path / "photo.heic")


def test_a_frame_is_a_part_of_a_picture(tmp_path):
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (20, 30, 3), np.uint8), (300, 200))
    for scale, left, top in ((0.5, -20, -10), (1.0, -100, -60), (4.0, -500, -300), (0.5, -100, 20)):
        place = Placement(scale, left, top, round(200 * scale), round(300 * scale), 200, 300)
        framed = place_image(picture, place, 120, 60)
        for x, y in ((10, 30), (40, 80)):
            column, row = place.to_source(np.array([x, y]))
            if 0 <= row < 199 and 0 <= column < 299:
                wanted = picture[round(float(row)), round(float(column))].astype(int)
                assert np.abs(framed[y, x] - wanted).max() < 25, scale
    padding = place_image(picture, place, 120, 60)[:20].astype(int)
    assert np.abs(padding - border_color(picture)).max() <= 4


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["png", "jpg", "webp", "gif", "tif", "bmp"]),
    cut=st.floats(0, 1),
    noise=st.binary(max_size=40),
    shorter=st.integers(0, 200),
)
def test_a_damaged_picture_is_read_or_refused_in_a_line(tmp_path, suffix, cut, noise, shorter):
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(gradient()).save(path)
    content = path.read_bytes()
    place = int(cut * len(content))
    path.write_bytes(content[:place] + noise + content[place + len(noise) + shorter :])
    try:
        picture = read_image(path)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
