"""The C library's allocator."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from utils.allocator import keep_freed_memory
if {keep}:
    keep_freed_memory()
for round in range(12):
    if round == 8:  # until here it may grow
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)], text=True))
        for keep in (False, True)
    ]
    assert faults[1] < 100 and faults[0] > 100 * max(1, faults[1])
