"""Jobs each do their part of a script's work, and one that is ended is named."""

import dataclasses
import sys
from pathlib import Path

import pytest

from utils.cluster import ClusterSettings, part_of, run_jobs
from utils.errors import UserError

SCRIPT = """
import sys
from pathlib import Path
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
Path(flags["--folder"], flags["--part"].replace("/", "_of_")).write_text(flags["--jobs"])
sys.exit({"1/3": 0, "2/3": 2, "3/3": 1, "1/2": 0, "2/2": 2}[flags["--part"]])
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ClusterSettings):
    """Settings of the script."""

    folder: Path


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    pytest.importorskip("submitit", reason="pip install -r requirements-dev.txt")
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "done").mkdir()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "script.py"), "--jobs", "2"])
    return Config(folder=tmp_path / "done", jobs=2, cluster="local", job_dir=tmp_path / "jobs")


def test_each_job_does_its_part(settings: Config) -> None:
    run_jobs(settings)  # status 2 says that the script did what it could
    assert {path.name: path.read_text() for path in settings.folder.iterdir()} == {
        "1_of_2": "0",
        "2_of_2": "0",
    }


def test_a_job_that_is_ended_is_named(settings: Config) -> None:
    with pytest.raises(
        UserError, match=r"1 of 3 jobs were ended: \d+ \(see .*\.err\); the same command goes on"
    ):
        run_jobs(dataclasses.replace(settings, jobs=3))
    assert len(list(settings.folder.iterdir())) == 3


def test_wrong_settings_are_named(settings: Config) -> None:
    for given, message in (
        ("colour=red", "submitit cannot start the jobs on local"),
        ("colour", "is no NAME=VALUE"),
    ):
        with pytest.raises(UserError, match=message):
            run_jobs(dataclasses.replace(settings, job_parameters=(given,)))
    with pytest.raises(UserError, match="submitit cannot start the jobs on slurm"):
        run_jobs(dataclasses.replace(settings, cluster="slurm"))


def test_parts_are_counted_from_one() -> None:
    assert part_of(ClusterSettings()) == (0, 1)
    assert part_of(ClusterSettings(part="2/8")) == (1, 8)
    for part in ("0/2", "3/2", "1", "x/y"):
        with pytest.raises(UserError, match="give K/N with K from 1 to N"):
            part_of(ClusterSettings(part=part))
