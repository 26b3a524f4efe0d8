"""Which precision --dtype auto takes on a processor."""

from pathlib import Path

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
    flags: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    if flags:  # the file is not there on other systems
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n", encoding="utf-8")
    assert precision.resolve_dtype("auto", "cpu") == dtype
    assert precision.resolve_dtype("float32", "cpu") == torch.float32
    with precision.autocast("auto", "cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == dtype
