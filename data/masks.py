"""Part masks of a dataset: where the person is, on the grid of the latents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from utils.errors import UserError
from utils.image import Placement


def read_person(
    paths: Sequence[Path], height: int, width: int, place: Placement | None = None, factor: int = 1
) -> torch.Tensor:
    """Which latents have the person in their square of pixels, or in one beside it.

    Args:
        paths: a mask a frame, part indices of which 0 is the background.
        height: height of the grid of latents.
        width: width of the grid of latents.
        place: where frames of another shape lie in the picture that was encoded; None where they fill it.
        factor: pixels of that picture a latent stands for, along each side.

    Returns:
        (f, height, width) bool.

    Raises:
        UserError: a mask is missing, damaged, or not of one channel.
    """
    masks = (torch.from_numpy(read_mask(path) > 0).float()[None] for path in paths)
    if place is not None:
        right, bottom = factor * width - place.left - place.width, factor * height - place.top - place.height
        padding = place.left, right, place.top, bottom
        size = place.height, place.width
        masks = (functional.pad(functional.adaptive_max_pool2d(mask, size), padding) for mask in masks)
    grids = [functional.adaptive_max_pool2d(mask, (height, width))[0] for mask in masks]
    return functional.max_pool2d(torch.stack(grids), 3, stride=1, padding=1) > 0


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a palette or grey PNG of part indices as (H, W) uint8.

    Raises:
        UserError: it is damaged, of another kind, or its size is not `shape`.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("P", "L"):
                channels = len(image.getbands())
                raise UserError(f"{path} has {channels} channels; a mask is a palette PNG of part indices")
            if shape is not None and (image.height, image.width) != tuple(shape):
                raise UserError(
                    f"{path} is {image.width} x {image.height} pixels, its frame {shape[1]} x {shape[0]}"
                )
            return np.array(image)
    except OSError as error:
        raise UserError(f"{path} is no mask that can be read ({error}); save or copy it again") from error
