"""Which precision --dtype auto takes on a processor."""

import pytest
import torch

from utils import precision


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("avx2 avx512f", torch.float32),
        ("avx512f avx512_bf16", torch.bfloat16),
        ("avx512f amx_bf16 amx_tile", torch.bfloat16),
        ("", torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_multiplies_it(
    flags: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags.split()))
    assert precision.resolve_dtype("auto", "cpu") == dtype
    assert precision.resolve_dtype("float32", "cpu") == torch.float32
    with precision.autocast("auto", "cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == dtype
