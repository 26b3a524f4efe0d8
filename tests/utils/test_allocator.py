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
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    faults = [
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)], text=True))
        for keep in (False, True)
    ]
    assert faults[1] < faults[0] / 4  # the heap may grow a few times before it serves all
