"""Part masks of a dataset: where the person is, on the grid of the latents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from utils.errors import UserError


def read_person(paths: Sequence[Path], height: int, width: int) -> torch.Tensor:
    """Which latents have the person in their square of pixels, or in one beside it.

    Args:
        paths: a mask a frame, part indices of which 0 is the background.
        height: of the grid of latents.
        width: of the grid of latents.

    Returns:
        (f, height, width) bool.

    Raises:
        UserError: a mask is missing, damaged, or not of one channel.
    """
    grids = [_pool(_read_mask(path), height, width) for path in paths]
    return functional.max_pool2d(torch.stack(grids), 3, stride=1, padding=1) > 0


def _pool(mask: np.ndarray, height: int, width: int) -> torch.Tensor:
    return functional.adaptive_max_pool2d(torch.from_numpy(mask).float()[None], (height, width))[0]


def _read_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            mask = np.asarray(image) > 0
    except OSError as error:
        raise UserError(f"{path} is no mask that can be read ({error}); save or copy it again") from error
    if mask.ndim != 2:
        raise UserError(f"{path} has {mask.shape[2]} channels; a mask is a palette or grey PNG")
    return mask
