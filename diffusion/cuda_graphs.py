"""The denoiser's steps as CUDA graphs: a GPU repeats them without waiting for Python's launches."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models import Conditions, DeepFeatures, Denoiser
from utils.errors import UserError

Replay = Callable[[], None]
WARMUP_RUNS = 3


@dataclasses.dataclass(kw_only=True)
class Recording:
    """A step at fixed addresses: write its inputs, replay, read its output."""

    noisy_latents: Tensor
    timestep: Tensor
    conditions: Conditions
    loaded: Conditions
    """Whose values `conditions` holds."""
    output: Tensor
    features: Tensor | None
    """Of the `DeepFeatures` that the step fills or uses."""
    replay: Replay


class GraphedDenoiser:
    """Calls a denoiser's step by way of recordings, one for each kind of step and size of its inputs.

    A recording holds its own inputs, intermediate results and output on the GPU. The first step of a kind is
    slow, as it is run a few times and recorded.

    Args:
        denoiser: on a GPU; its weights must stay where they are.
        record: replaces CUDA's recording, for tests.

    Raises:
        UserError: the denoiser is not on a GPU.
    """

    def __init__(
        self, denoiser: Denoiser, record: Callable[[Callable[[], None]], Replay] | None = None
    ) -> None:
        if record is None and denoiser.device.type != "cuda":
            raise UserError(
                f"CUDA graphs need a GPU, and the model is on {denoiser.device.type}; leave them out"
            )
        self.denoiser, self.record = denoiser, record or record_graph
        self._recordings: dict[Any, Recording] = {}

    @torch.no_grad()
    def __call__(
        self,
        noisy_latents: Tensor,
        timestep: Tensor,
        *,
        conditions: Conditions,
        deep: DeepFeatures | None = None,
    ) -> Tensor:
        """As `Denoiser.forward`, with as many of its arguments as a denoising loop needs."""
        uses = deep is not None and deep.features is not None
        key = deep is not None, uses, noisy_latents.shape, noisy_latents.dtype, _shapes(conditions)
        recording = self._recordings.get(key)
        if recording is not None and uses and recording.features is not deep.features:  # type: ignore[union-attr]
            recording = None  # of features that are no longer filled
        if recording is None:
            recording = self._recordings[key] = self._make(noisy_latents, timestep, conditions, deep)
        recording.noisy_latents.copy_(noisy_latents)
        recording.timestep.copy_(timestep)
        if recording.loaded is not conditions:
            pairs = zip(recording.conditions.named_tensors(), conditions.named_tensors(), strict=True)
            for (_, own), (_, given) in pairs:
                own.copy_(given)
            recording.loaded = conditions
        recording.replay()
        if deep is not None:
            deep.features = recording.features
        return recording.output.clone()  # the next replay writes it anew

    def _make(
        self, noisy_latents: Tensor, timestep: Tensor, conditions: Conditions, deep: DeepFeatures | None
    ) -> Recording:
        own = Recording(
            noisy_latents=noisy_latents.clone(),
            timestep=timestep.clone(),
            conditions=conditions.map(torch.clone),
            loaded=conditions,
            output=noisy_latents,
            features=None if deep is None else deep.features,
            replay=lambda: None,
        )
        given = own.features

        def run() -> None:
            features = None if deep is None else DeepFeatures(given)
            own.output = self.denoiser(
                own.noisy_latents, own.timestep, conditions=own.conditions, deep=features
            )
            own.features = None if features is None else features.features

        own.replay = self.record(run)
        return own


def record_graph(run: Callable[[], None]) -> Replay:
    """Record what `run` launches; it always reads and writes the same tensors."""
    # As torch's notes on CUDA graphs want it: first on another stream, so that libraries set themselves up.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP_RUNS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _shapes(conditions: Conditions) -> tuple[Any, ...]:
    return tuple((name, tuple(x.shape), x.dtype) for name, x in conditions.named_tensors())
