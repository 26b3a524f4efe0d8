"""What a caller may hand to the pipeline, brought into one form."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch

from utils.errors import UserError
from utils.image import to_signed

Pictures = PIL.Image.Image | np.ndarray | torch.Tensor | Sequence[Any]


def photo_tensor(image: Pictures) -> torch.Tensor:
    """Bring one photo or a batch of them into the pipeline's form.

    Args:
        image: a Pillow picture, a uint8 array (H, W, 3) or (b, H, W, 3), a list of pictures, or a float
            tensor (3, H, W) or (b, 3, H, W) in [-1, 1].

    Returns:
        (b, 3, H, W) float32 in [-1, 1].

    Raises:
        UserError: another kind or shape, or pictures of different sizes.
    """
    if isinstance(image, torch.Tensor):
        return _checked(image[None] if image.ndim == 3 else image, "image", "(b, 3, H, W)", 4)
    pixels = _uint8_array(image, "image")
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4:
        raise UserError(f"image has shape {pixels.shape}; give one picture (H, W, 3) or a batch (b, H, W, 3)")
    return to_signed(pixels)


def clip_tensor(poses: Pictures) -> torch.Tensor:
    """Bring the pose pictures of one clip or of a batch of clips into the pipeline's form.

    Args:
        poses: a list of Pillow pictures, a uint8 array (F, H, W, 3) or (b, F, H, W, 3), a list of such clips,
            or a float tensor (3, F, H, W) or (b, 3, F, H, W) in [-1, 1].

    Returns:
        (b, 3, F, H, W) float32 in [-1, 1].

    Raises:
        UserError: another kind or shape, or pictures of different sizes.
    """
    if isinstance(poses, torch.Tensor):
        return _checked(poses[None] if poses.ndim == 4 else poses, "poses", "(b, 3, F, H, W)", 5)
    pixels = _uint8_array(poses, "poses")
    pixels = pixels[None] if pixels.ndim == 4 else pixels
    if pixels.ndim != 5:
        raise UserError(
            f"poses have shape {pixels.shape}; give a clip (F, H, W, 3) or a batch (b, F, H, W, 3)"
        )
    return to_signed(pixels).transpose(1, 2)


def joints_array(joints: np.ndarray | None, leading: tuple[int, ...], name: str) -> np.ndarray | None:
    """Bring joints to (*leading, 18, 3) float32: a missing batch axis is added, extra frames are cut off."""
    if joints is None:
        return None
    joints = np.asarray(joints, np.float32)
    joints = joints[None] if joints.ndim == len(leading) + 1 else joints
    if len(leading) == 2 and joints.ndim == 4:
        joints = joints[:, : leading[1]]
    if (
        joints.ndim != len(leading) + 2
        or len(joints) not in (1, leading[0])
        or joints.shape[1:] != (*leading[1:], 18, 3)
    ):
        raise UserError(
            f"{name} have shape {joints.shape}; give {(*leading, 18, 3)}: x, y in pixels, visibility"
        )
    return np.broadcast_to(joints, (*leading, 18, 3))


def check_multiple(what: str, number: int, multiple: int) -> None:
    """Refuse a size that the model cannot take, and name the nearest ones that it can.

    Args:
        what: the thing that is counted, as the message begins: "16 frames" has `what` "frames".
        number: the size given.
        multiple: it must divide by this, and be positive.

    Raises:
        UserError: it does not.
    """
    if number >= 1 and number % multiple == 0:
        return
    above = max(math.ceil(number / multiple), 1) * multiple
    nearest = f"{above}" if above == multiple else f"{above - multiple} or {above}"
    raise UserError(
        f"{number} {what} cannot be made: this model needs a multiple of {multiple}; take {nearest}"
    )


def _checked(pixels: torch.Tensor, name: str, shape: str, num_dimensions: int) -> torch.Tensor:
    if pixels.ndim != num_dimensions or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise UserError(
            f"{name} is a {pixels.dtype} tensor {tuple(pixels.shape)}; give floats in [-1, 1], shape {shape}"
        )
    return pixels.float()


def _uint8_array(pictures: Any, name: str) -> np.ndarray:
    if isinstance(pictures, PIL.Image.Image):
        return np.asarray(pictures.convert("RGB"))
    if isinstance(pictures, np.ndarray):
        if pictures.dtype != np.uint8 or pictures.shape[-1] != 3:
            raise UserError(
                f"{name} is a {pictures.dtype} array {pictures.shape}; give uint8 RGB with the channels last"
            )
        return pictures
    if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes) and len(pictures) > 0:
        arrays = [_uint8_array(picture, name) for picture in pictures]
        if len({array.shape for array in arrays}) > 1:
            shapes = ", ".join(sorted({str(array.shape) for array in arrays}))
            raise UserError(f"{name} has pictures of different sizes: {shapes}; fit them to one size first")
        return np.stack(arrays)
    raise UserError(
        f"{name} is {type(pictures).__name__}; give Pillow pictures, a uint8 array or a float tensor"
    )
