"""Which device a --device names, and what is moved there."""

import dataclasses
from typing import Self

import torch

from utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Tensors:
    """Base of dataclasses whose fields are all tensors, or again such dataclasses."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(*(getattr(self, f.name).to(device) for f in dataclasses.fields(self)))


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1" and so on.
        local_rank: number of this process on its machine; "auto" and "cuda" then mean the GPU of this number.

    Raises:
        UserError: there is no such device here.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if chosen == "cuda":
        chosen = f"cuda:{local_rank}"
    try:
        return torch.empty(0, device=chosen).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"--device {name} cannot be used here; give cpu, or cuda on a machine with a GPU"
        ) from error
