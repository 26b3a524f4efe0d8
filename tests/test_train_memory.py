"""The table of training memory, through its command line."""

import subprocess
import sys

from tests.train_toys import ENVIRONMENT, ROOT


def memory_table(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.train_memory", "--presets", "tiny", *flags]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


def test_a_larger_batch_takes_more() -> None:
    done = memory_table("--batch_sizes", "1", "4", "--num_frames", "8")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["`tiny`", "1"], ["`tiny`", "4"]]
    assert rows[0][2] == rows[1][2]  # the model's own
    small, large = (float(row[3].split()[0]) for row in rows)
    assert 3 < large / small < 4.5


def test_a_size_needs_both_sides() -> None:
    done = memory_table("--height", "64")
    assert done.returncode == 2 and "go together" in done.stderr
