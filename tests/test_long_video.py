"""The benchmark of long videos, through its command line, on a tiny model."""

import subprocess
import sys
from pathlib import Path

from tests.train_toys import ENVIRONMENT, ROOT, make_folders


def test_it_measures_each_length(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    dataset, _ = make_folders(tmp_path)
    (dataset / "test" / "c.txt").write_text("0 6 She steps back.\n")
    flags = {"lengths": ("8", "60"), "pretrained_model": (tiny_pipeline_dir,), "dataset": (dataset,)}
    flags |= {"window_frames": ("8",), "window_overlap": ("2",), "num_threads": ("1",)}
    command = [sys.executable, "-m", "benchmarks.long_video"]
    command += [str(x) for name, values in flags.items() for x in (f"--{name}", *values)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["frames", "8", "60"]
    assert rows[1][3] == "nan"  # one window has no seam
    assert all(float(cell.split()[0]) >= 0 for cell in rows[2])
