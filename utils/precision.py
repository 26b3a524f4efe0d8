"""Which precision is fast on this machine."""

import contextlib
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
"""What Linux says of the processor."""


def has_fast_bfloat16(device: torch.device | str) -> bool:
    """Whether bfloat16 products run on dedicated units: a GPU's tensor cores, a CPU's AMX or AVX-512 BF16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not _cpu_flags().isdisjoint({"amx_bf16", "avx512_bf16"})


def resolve_dtype(name: str, device: torch.device | str) -> torch.dtype:
    """What --dtype means on a device: "float32", "bfloat16", or "auto" for bfloat16 where it is fast."""
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def autocast(name: str, device: torch.device | str) -> torch.autocast:
    """The autocast context for a --dtype; does nothing for float32."""
    dtype = resolve_dtype(name, device)
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def _cpu_flags() -> set[str]:
    with contextlib.suppress(OSError), CPU_INFO.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split())
    return set()
