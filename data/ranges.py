"""A safetensors file read by ranges of its bytes, from wherever they come.

The format is eight bytes with the length of a JSON header, the header with name, type, shape and place of
each tensor, and the tensors' bytes.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from utils.errors import UserError

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32,
}  # fmt: skip
FIRST_BYTES = 8192
"""Enough for the header of a projected video."""


class RangedTensors:
    """The tensors of a file, with the calls of `safetensors.safe_open` that `data.latents` needs.

    Args:
        place: of the file, for messages.
        size: its bytes.
        read: returns its bytes [start, stop).

    Raises:
        UserError: it is no safetensors file.
    """

    def __init__(self, place: str, size: int, read: Callable[[int, int], bytes]) -> None:
        self._read, self._place = read, place
        try:
            first = read(0, min(size, FIRST_BYTES))
            end = 8 + int.from_bytes(first[:8], "little")
            if not 8 < end <= size:
                raise ValueError(f"a header of {end - 8} bytes in a file of {size}")
            header = json.loads((first + read(len(first), max(len(first), end)))[8:end])
            self._metadata: dict[str, str] = header.pop("__metadata__", {})
            self._tensors: dict[str, RangedTensor] = {}
            for name, entry in header.items():
                start, stop = entry["data_offsets"]
                tensor = RangedTensor(read, DTYPES[entry["dtype"]], tuple(entry["shape"]), end + start)
                if stop - start != tensor.num_bytes or end + stop > size:
                    raise ValueError(f"{name} has {stop - start} bytes")
                self._tensors[name] = tensor
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{place} is no projected video ({error}); write its shard anew") from error

    def keys(self) -> list[str]:
        """Names of the tensors."""
        return list(self._tensors)

    def metadata(self) -> dict[str, str]:
        """What the file was made from."""
        return self._metadata

    def get_slice(self, name: str) -> "RangedTensor":
        """A tensor of which parts can be read."""
        return self._tensors[name]

    def get_tensor(self, name: str) -> torch.Tensor:
        """A whole tensor."""
        return self._tensors[name][:]


class RangedTensor:
    """A tensor, of which any rows are read by themselves."""

    def __init__(
        self, read: Callable[[int, int], bytes], dtype: torch.dtype, shape: tuple[int, ...], start: int
    ) -> None:
        self._read, self._dtype, self._shape, self._start = read, dtype, shape, start
        self.num_bytes = math.prod(shape) * dtype.itemsize

    def get_shape(self) -> list[int]:
        """The tensor's shape."""
        return list(self._shape)

    def __getitem__(self, index: Any) -> torch.Tensor:
        """Rows of the tensor: some numbers, then a slice without steps or a list of numbers."""
        *outer, rows = index if isinstance(index, tuple) else (index,)
        inner = self._shape[len(outer) + 1 :]
        size = math.prod(inner) * self._dtype.itemsize
        first = 0
        for number, length in zip(outer, self._shape, strict=False):
            first = first * length + number
        first *= self._shape[len(outer)]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self._shape[len(outer)])
            assert step == 1
            data = self._rows(first + start, max(first + start, first + stop), size)
            return _as_tensor(data, self._dtype, (max(0, stop - start), *inner))
        parts = [self._rows(first + row, first + row + 1, size) for row in _numbers(rows)]
        return _as_tensor(b"".join(parts), self._dtype, (len(parts), *inner))

    def _rows(self, start: int, stop: int, size: int) -> bytes:
        return self._read(self._start + start * size, self._start + stop * size)


def _numbers(rows: Sequence[int]) -> list[int]:
    return [int(row) for row in rows]


def _as_tensor(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
