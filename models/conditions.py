"""What the denoiser is told besides the noisy clip, encoded once for all steps of a denoising loop."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_DROPPED_WITH = {
    "text": ("text_keys", "text_values"),
    "poses": ("pose_features", "warped_latents", "warp_validity"),
    "image": (
        "skip_residuals",
        "mid_residual",
        "reference_latents",
        "given_frames",
        "warped_latents",
        "warp_validity",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """Encoded conditions of a batch; made by `Denoiser.encode_conditions`.

    None stands for a condition that is absent from the whole batch, zeros for one that is absent from a
    sample: to the network both are the same.
    """

    batch_size: int | None
    """Samples in the batch; None if no condition was given, and then any batch will do."""

    text_keys: tuple[Tensor, ...] | None = None
    """For each attention to the text, (b, n, width)."""

    text_values: tuple[Tensor, ...] | None = None
    """For each attention to the text, (b, n, width)."""

    pose_features: Tensor | None = None
    """(b, c, f, h, w)."""

    skip_residuals: tuple[Tensor, ...] | None = None
    """For each skip, (b, width, 1, h, w) of its level."""

    mid_residual: Tensor | None = None
    """(b, width, 1, h, w) of the middle."""

    reference_latents: Tensor | None = None
    """(b, latent channels, h, w)."""

    given_frames: Tensor | None = None
    """(b, 1), 1 where frame 0 is given clean, not to be denoised."""

    warped_latents: Tensor | None = None
    """(b, latent channels, f, h, w)."""

    warp_validity: Tensor | None = None
    """(b, 1, f, h, w) in 0..1."""

    def drop(
        self, *, image: Tensor | None = None, poses: Tensor | None = None, text: Tensor | None = None
    ) -> "Conditions":
        """Set conditions of some samples to their null.

        Args:
            image: (b,) bool, True where the picture is dropped: residuals, reference, given frames, warp.
            poses: (b,) bool, True where the poses are dropped: pose features, warp.
            text: (b,) bool, True where the sentence is dropped.
        """
        values = self._values()
        for mask, names in ((image, "image"), (poses, "poses"), (text, "text")):
            if mask is None:
                continue
            assert mask.dtype == torch.bool, "a mask of dropped samples is boolean"
            assert self.batch_size in (None, len(mask)), f"{len(mask)} masks for {self.batch_size} samples"
            for name in _DROPPED_WITH[names]:
                values[name] = _map_tensors(values[name], functools.partial(_scale_samples, factors=~mask))
        return Conditions(batch_size=self.batch_size, **values)

    @staticmethod
    def cat(parts: Sequence["Conditions"]) -> "Conditions":
        """Join along the batch; a condition that only some parts have is zero in the others."""
        sizes = [part.batch_size for part in parts if part.batch_size is not None]
        assert len(sizes) == len(parts), "conditions without any tensor have no batch size to join along"
        joined = {name: _cat([part._values()[name] for part in parts], sizes) for name in parts[0]._values()}
        return Conditions(batch_size=sum(sizes), **joined)

    def _values(self) -> dict[str, Any]:
        names = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if name != "batch_size"}


def _map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if value is None:
        return None
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def _scale_samples(x: Tensor, factors: Tensor) -> Tensor:
    return x * factors.to(x).view(-1, *[1] * (x.dim() - 1))


def _cat(values: list[Any], sizes: list[int]) -> Any:
    present = next((value for value in values if value is not None), None)
    if present is None:
        return None
    if isinstance(present, tuple):
        columns = zip(*(value or [None] * len(present) for value in values), strict=True)
        return tuple(_cat(list(column), sizes) for column in columns)
    values = [
        present.new_zeros(size, *present.shape[1:]) if value is None else value
        for value, size in zip(values, sizes, strict=True)
    ]
    return torch.cat(values)
