"""Work that is shared out among jobs on many machines, by submitit: on SLURM, or as processes of this one.

A job runs the same command with `--part K/N`. The jobs read and write shared folders or object storage and
know nothing of each other, so one that was ended is made up for by the same command again.
"""

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from utils.config import as_flags, check_minimum
from utils.errors import UserError

PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)
SOME_DAMAGED = 2
"""Exit status of a script that did all it could; what it could not do is named when all parts are done."""
DEFAULT_MINUTES = 24 * 60
RUN = f"import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]) not in (0, {SOME_DAMAGED}))"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How the work is shared out."""

    jobs: int = 0
    """Share the work out among so many jobs, which submitit starts (see requirements-large.txt)."""
    cluster: Literal["slurm", "local"] = "slurm"
    """Where the jobs run: on SLURM's machines, which must see the same folders, or on this machine."""
    job_parameters: tuple[str, ...] = ()
    """What submitit asks for each job: timeout_min=120 cpus_per_task=4 mem_gb=8 slurm_partition=gpu. Without
    timeout_min a job may take a day."""
    job_dir: Path = Path("jobs")
    """Folder for the jobs' logs."""
    part: str = ""
    """K/N: do the K-th of N parts alone. The jobs are told so; without submitit, start the parts yourself,
    and then the command without --part."""


def part_of(config: ClusterSettings) -> tuple[int, int]:
    """Which part is to be done, from 0, and how many there are.

    Raises:
        UserError: --part is no K/N, or --jobs is below 0.
    """
    check_minimum(config, 0, "jobs")
    if not config.part:
        return 0, 1
    match = PART.fullmatch(config.part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--part {config.part} is none; give K/N with K from 1 to N, for example 2/8")
    return int(match[1]) - 1, int(match[2])


def run_jobs(config: Any) -> None:
    """Run the script once for each part, and wait for all.

    Args:
        config: the script's settings, which include `ClusterSettings`.

    Raises:
        UserError: submitit is missing, refuses a parameter or cannot reach SLURM; or a job was ended.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("--jobs starts its own processes; give it without torchrun")
    try:
        import submitit
        from submitit.helpers import CommandFunction
    except ImportError as error:
        raise UserError(
            "--jobs needs submitit; run: python -m pip install -r requirements-large.txt"
        ) from error
    parameters: dict[str, Any] = {"timeout_min": DEFAULT_MINUTES}
    for given in config.job_parameters:
        name, equals, value = given.partition("=")
        if not equals:
            raise UserError(f"--job_parameters {given} is no NAME=VALUE; for example timeout_min=120")
        parameters[name] = int(value) if value.isdigit() else value
    script = str(Path(sys.argv[0]).resolve())
    try:
        executor = submitit.AutoExecutor(folder=config.job_dir, cluster=config.cluster)
        executor.update_parameters(name=Path(script).stem, **parameters)
        with executor.batch():
            jobs = [
                executor.submit(CommandFunction([sys.executable, "-c", RUN, sys.executable, script, *flags]))
                for k in range(config.jobs)
                for flags in [as_flags(config, jobs=0, part=f"{k + 1}/{config.jobs}")]
            ]
    except (RuntimeError, NameError, TypeError, ValueError, OSError) as error:
        raise UserError(f"submitit cannot start the jobs on {config.cluster}: {error}") from error
    ended = []
    for job in tqdm(submitit.helpers.as_completed(jobs), total=len(jobs), unit="job", disable=None):
        if job.exception() is not None:
            ended.append(f"{job.job_id} (see {job.paths.stderr})")
    if ended:
        raise UserError(
            f"{len(ended)} of {len(jobs)} jobs were ended: {', '.join(ended)}; the same command goes on"
        )
