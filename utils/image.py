"""Pictures: read whatever a user gives, fit it into the model's frame without distortion, write PNG."""

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageCms, ImageFile, ImageOps

from utils.errors import UserError
from utils.files import atomic_path

MAX_PIXELS = 40_000_000
MIN_SIDE = 16
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
ORIENTATION = 0x112  # of EXIF
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")

# Pillow warns from 89 megapixels on; `read_image` refuses such a picture by itself, in one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture of any common kind as sRGB.

    Grey, palette and 16-bit pictures are converted, transparency is laid on white, the EXIF orientation and
    the colour profile are applied. The size is checked from the header, before anything is decoded; a JPEG of
    more than 40 megapixels is decoded at a half, a quarter or an eighth of its size.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UserError: no such file, not a picture, damaged, more than 40 megapixels, or a side under 16 pixels.
    """
    path = Path(path)
    with _opened(path) as image:
        if image.width * image.height > MAX_PIXELS:
            _shrink_jpeg(image)
        _check_size(path, image.width, image.height)
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def pillow_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow picture as (H, W, 3) uint8 sRGB, upright, as `read_image` says.

    Raises:
        UserError: its pixels are floating-point numbers.
    """
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except ValueError as error:
        raise UserError(f"the picture's {error}; give 8-bit or 16-bit pictures") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture as it is stored, upright, which `read_image` may have made smaller.

    Raises:
        UserError: no such file, or not a picture.
    """
    with _opened(Path(path)) as image:
        is_turned = image.getexif().get(ORIENTATION, 1) >= 5
        return (image.width, image.height) if is_turned else (image.height, image.width)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture that is open; whatever goes wrong with it is a `UserError` of one line."""
    if not path.is_file():
        raise UserError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a PNG or JPEG file"
        )
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Image.UnidentifiedImageError as error:
        if _is_heic(path):
            raise UserError(
                f"{path} is a HEIC picture, as phones take them, which is not read; save it as JPEG or PNG, "
                "or let the phone take JPEG (Settings, Camera, Most Compatible)"
            ) from error
        raise UserError(f"{path} is not a picture that can be read; give a PNG, JPEG or WebP file") from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path} has far more than {MAX_PIXELS // 10**6} megapixels; make it smaller"
        ) from error
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        raise UserError(
            f"{path} is damaged ({' '.join(str(error).split())}); save or copy it again"
        ) from error


def _is_heic(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS


def _shrink_jpeg(image: Image.Image) -> None:
    """Let a JPEG be decoded at the largest share of its size that is within the limit."""
    width, height = image.size
    for share in (2, 4, 8):
        if isinstance(image, ImageFile.ImageFile) and width * height > MAX_PIXELS * (share // 2) ** 2:
            image.draft(image.mode, (width // share, height // share))


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path} is {width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels are read: "
            "make it smaller"
        )
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{path} is {width} x {height} pixels; each side needs at least {MIN_SIDE}")


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in SIXTEEN_BIT_MODES:  # Pillow's own conversion clips these at 255 instead of scaling them
        grey = np.rint(np.clip(np.asarray(image, np.float32), 0, 65535) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range")
    profile = image.info.get("icc_profile")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if profile and image.mode != "L":
        image = _to_srgb(image if image.mode == "CMYK" else image.convert("RGB"), profile)
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An RGB or CMYK picture in sRGB; as it is where its profile is damaged, of another mode, or sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a picture of `source_height` x `source_width` lies inside the frame that it was fitted into."""

    scale: float
    """Fitted pixels for a source pixel, the same in both directions."""
    left: int
    top: int
    height: int
    """Height of the fitted picture without its padding, in pixels."""
    width: int
    """Width of the fitted picture without its padding, in pixels."""
    source_height: int
    source_width: int

    def to_fitted(self, keypoints: np.ndarray) -> np.ndarray:
        """Map keypoints (..., 2 or 3), x and y first in source pixels, to pixels of the fitted picture.

        An integer coordinate is the middle of its pixel. Further columns (visibility) are kept.
        """
        fitted = np.array(keypoints, np.float32)
        fitted[..., 0] = (fitted[..., 0] + 0.5) * (self.width / self.source_width) - 0.5 + self.left
        fitted[..., 1] = (fitted[..., 1] + 0.5) * (self.height / self.source_height) - 0.5 + self.top
        return fitted

    def to_source(self, keypoints: np.ndarray) -> np.ndarray:
        """Map keypoints back to source pixels: the inverse of `to_fitted`."""
        source = np.array(keypoints, np.float32)
        source[..., 0] = (source[..., 0] + 0.5 - self.left) * (self.source_width / self.width) - 0.5
        source[..., 1] = (source[..., 1] + 0.5 - self.top) * (self.source_height / self.height) - 0.5
        return source


def fit_size(source_height: int, source_width: int, height: int, width: int) -> Placement:
    """Where a picture of a size lies in `height` x `width` when it is scaled without distortion and centred.

    Raises:
        UserError: the picture is so long or so wide that a side would have under 16 pixels.
    """
    scale = min(height / source_height, width / source_width)
    fitted_height = min(height, round(source_height * scale))
    fitted_width = min(width, round(source_width * scale))
    if min(fitted_height, fitted_width) < MIN_SIDE:
        raise UserError(
            f"a picture of {source_width} x {source_height} pixels shrinks to {fitted_width} x "
            f"{fitted_height} inside {width} x {height}; each side needs at least {MIN_SIDE}: "
            "crop it closer to the person"
        )
    top, left = (height - fitted_height) // 2, (width - fitted_width) // 2
    return Placement(scale, left, top, fitted_height, fitted_width, source_height, source_width)


def fit_image(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, Placement]:
    """Scale a picture to fit into `height` x `width` without distortion, centred, and pad what is left.

    The padding has the median colour of the picture's border, which continues a plain background.

    Args:
        image: (H, W, 3) uint8 RGB.
        height: height of the frame to fill, in pixels.
        width: width of the frame to fill, in pixels.

    Returns:
        The (height, width, 3) uint8 picture, and where the source lies in it.

    Raises:
        UserError: the picture is so long or so wide that a side would have under 16 pixels.
    """
    place = fit_size(image.shape[0], image.shape[1], height, width)
    return place_image(image, place, height, width), place


def place_image(image: np.ndarray, place: Placement, height: int, width: int) -> np.ndarray:
    """Scale a picture and lay it into a frame of `height` x `width`, over whose edges it may reach.

    What it leaves free has the median colour of its border.

    Args:
        image: (H, W, 3) uint8 RGB, of the size that `place` is of.
        place: where it lies; `left` and `top` may be below 0.
        height: of the frame in pixels.
        width: of the frame in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    size = place.height, place.width
    if size == image.shape[:2]:
        scaled = image
    elif place.scale < 1 or max(size) <= 2 * max(height, width):
        interpolation = cv2.INTER_AREA if place.scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(image, size[::-1], interpolation=interpolation)
    else:  # a small part of it alone is seen
        left, top = max(0, -place.left), max(0, -place.top)
        right, bottom = min(place.width, width - place.left), min(place.height, height - place.top)
        steps = np.array([place.source_width / place.width, place.source_height / place.height])
        to_source = np.hstack([np.diag(steps), ((np.array([left, top]) + 0.5) * steps - 0.5)[:, None]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        scaled = cv2.warpAffine(
            image, to_source, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        place = dataclasses.replace(place, left=max(0, place.left), top=max(0, place.top))
    framed = np.empty((height, width, 3), np.uint8)
    framed[:] = border_color(scaled if size == scaled.shape[:2] else image)
    top, left = max(0, place.top), max(0, place.left)
    part = scaled[top - place.top :, left - place.left :][: height - top, : width - left]
    framed[top : top + part.shape[0], left : left + part.shape[1]] = part
    return framed


def border_color(image: np.ndarray) -> np.ndarray:
    """Median colour (3,) uint8 of the outermost pixels of an (H, W, 3) picture."""
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    return np.median(border, axis=0).astype(np.uint8)


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """Turn (..., 3, H, W) in [-1, 1] into (..., H, W, 3) uint8."""
    pixels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.movedim(-3, -1).cpu().numpy()


def to_signed(pixels: np.ndarray) -> torch.Tensor:
    """Turn (..., H, W, 3) uint8 into (..., 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(pixels / np.float32(127.5) - 1).movedim(-1, -3)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB picture as PNG, whole or not at all."""
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (image.dtype, image.shape)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert encoded
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
