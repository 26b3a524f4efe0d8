"""Methods that run a network without its `forward`, and still find its weights where they are needed."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from diffusers.hooks import HookRegistry
from diffusers.utils.accelerate_utils import apply_forward_hook

Method = TypeVar("Method", bound=Callable[..., Any])


def fires_hooks(method: Method) -> Method:
    """Let a method of a module load the module's weights, as a call of its `forward` does.

    A pipeline's `enable_model_cpu_offload` and diffusers' group offloading of blocks hook `forward` only.
    """
    hooked = apply_forward_hook(method)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        registry: HookRegistry | None = getattr(self, "_diffusers_hook", None)
        group = None if registry is None else registry.get_hook("group_offloading")
        if group is None:
            return hooked(self, *args, **kwargs)
        group.pre_forward(self)
        try:
            return hooked(self, *args, **kwargs)
        finally:
            group.post_forward(self, None)

    return call  # type: ignore[return-value]
