"""Skeleton pictures beside the latents: lossless WebP, one after the other in one tensor of bytes.

It is the smallest of the lossless forms that were tried, and among the fastest.
"""

import itertools
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional

MANY_PICTURES = 64  # more of them are kept compressed
POSE_SCALE = 8  # pose pictures are this many times the size of the latents
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]  # OpenCV's quality above 100


def encode_picture(picture: np.ndarray) -> bytes:
    """Lossless WebP of an (H, W, 3) uint8 RGB picture."""
    encoded, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), LOSSLESS)
    assert encoded
    return data.tobytes()


def decode_picture(data: np.ndarray) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB picture of the bytes (n,) of a file; None where they are no picture."""
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None


def pack_pictures(encoded: Sequence[bytes]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay encoded pictures one after the other.

    Returns:
        Bytes (n,) uint8, and offsets (f + 1,) int64: picture i has bytes offsets[i] up to offsets[i + 1].
    """
    data = torch.from_numpy(np.frombuffer(b"".join(encoded), np.uint8).copy())
    return data, torch.tensor(np.cumsum([0, *map(len, encoded)]))


class PackedPictures:
    """Pictures of one size, compressed in memory; indexed like an array (F, H, W, 3) uint8.

    Args:
        pictures: (H, W, 3) uint8 RGB each, read one by one.
    """

    def __init__(self, pictures: Iterable[np.ndarray]) -> None:
        self._encoded = [np.frombuffer(encode_picture(picture), np.uint8) for picture in pictures]

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int | slice | Sequence[int]) -> np.ndarray:
        if isinstance(index, int | np.integer):
            picture = decode_picture(self._encoded[index])
            assert picture is not None
            return picture
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        return np.stack([self[int(i)] for i in chosen])


def pack_if_many(pictures: Iterable[np.ndarray]) -> np.ndarray | PackedPictures:
    """Pictures (H, W, 3) uint8 as one array (F, H, W, 3), or compressed where they are many.

    Raises:
        ValueError: there are none.
    """
    pictures = iter(pictures)
    few = list(itertools.islice(pictures, MANY_PICTURES + 1))
    return np.stack(few) if len(few) <= MANY_PICTURES else PackedPictures(itertools.chain(few, pictures))


def resize_pictures(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures (n, H, W, 3) uint8 at another size, antialiased and rounded; unchanged where they have it."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return resized.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def to_tensor(pictures: np.ndarray | Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures (H, W, 3) uint8 as (n, 3, H, W) float32 in [-1, 1]."""
    # Without `out`, stacking keeps the channels last, and later the four times larger floats are reordered.
    planes = np.empty((len(pictures), 3, *pictures[0].shape[:2]), np.uint8)
    np.stack([picture.transpose(2, 0, 1) for picture in pictures], out=planes)
    return torch.from_numpy(planes).float().div_(127.5).sub_(1)
