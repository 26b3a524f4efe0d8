"""Command lines: flags, errors, interrupts, the distributed launcher's extra argument."""

import ast
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tyro

from utils.config import _with_value, as_flags, run_script, save_config
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_steps: int = 3
    """How many steps."""
    fast: bool = False
    """Whether to hurry."""
    folder: Path = Path("here")


def run(monkeypatch: pytest.MonkeyPatch, main, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    run_script(main, Config, "What the script does.")


@pytest.mark.parametrize("spelling", ["--num_steps", "--num-steps"])
def test_flags_have_underscores_or_hyphens(monkeypatch, spelling) -> None:
    seen = []
    run(monkeypatch, seen.append, spelling, "7", "--fast", "--local-rank=1", "--local_rank=0")
    assert seen == [Config(num_steps=7, fast=True)]


def test_a_users_mistake_is_one_line_and_status_2(monkeypatch, capsys) -> None:
    def main(config: Config) -> None:
        raise UserError("no such thing; give another")

    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, main)
    assert capsys.readouterr().err == "error: no such thing; give another\n"


def test_our_own_mistake_keeps_its_traceback(monkeypatch) -> None:
    def main(config: Config) -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        run(monkeypatch, main)


def test_an_interrupt_is_status_130(monkeypatch) -> None:
    def main(config: Config) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        run(monkeypatch, main)


def test_ctrl_c_during_the_imports_is_one_line() -> None:
    scripts = [path for path in ROOT.glob("*.py") if "run_script(" in path.read_text(encoding="utf-8")]
    assert len(scripts) >= 5
    for script in scripts:
        tree = ast.parse(script.read_text(encoding="utf-8"))
        first = next(each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom))
        assert ast.unparse(first) == "import utils.interrupts", script
    program = "import utils.interrupts; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode and done.stderr == "interrupted\n"
    program = "import utils.interrupts; raise ValueError('ours')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" in done.stderr and "ours" in done.stderr


def test_a_name_that_begins_with_a_dash_is_told(monkeypatch, capsys, tmp_path: Path) -> None:
    (tmp_path / "-dash.png").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, print, "--folder", "-dash.png")
    assert (
        capsys.readouterr().err == "error: the name -dash.png would be taken for a flag; write ./-dash.png\n"
    )
    seen = []
    run(monkeypatch, seen.append, "--folder", "./-dash.png", "--num_steps", "-1")
    assert seen == [Config(folder=Path("-dash.png"), num_steps=-1)]


HALF_WRITTEN = """
import dataclasses, multiprocessing, pathlib, sys, time
from utils.config import run_script
from utils.files import atomic_path
@dataclasses.dataclass
class Config:
    pass
def main(config):
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(20,))
    worker.start()
    try:
        with atomic_path("x.mp4") as path:
            path.write_text("half")
            pathlib.Path("begun").touch()
            time.sleep(600)
    finally:
        worker.join()
if __name__ == "__main__":
    run_script(main, Config)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("world_size", "status"), [("1", 143), ("2", -15)])
def test_sigterm_leaves_no_half_written_file(tmp_path: Path, world_size: str, status: int) -> None:
    """Of a process alone: one of several may wait for the others where no handler runs, and ends at once."""
    (tmp_path / "script.py").write_text(HALF_WRITTEN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "WORLD_SIZE": world_size}
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(30) == status
    left = [path.name for path in tmp_path.iterdir() if path.suffix == ".mp4"]
    assert len(left) == (status != 143)


def test_sigterm_has_its_old_action_after_a_script_and_runs_in_any_thread(monkeypatch) -> None:
    handlers = []
    run(monkeypatch, lambda config: handlers.append(signal.getsignal(signal.SIGTERM)))
    assert callable(handlers[0]) and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    thread = threading.Thread(target=run, args=(monkeypatch, handlers.append))
    thread.start()
    thread.join()
    assert handlers[1] == Config()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
@pytest.mark.parametrize("flags", [["--help"], []])
def test_a_reader_that_leaves_ends_a_script_in_silence(tmp_path: Path, flags: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import dataclasses\nfrom utils.config import run_script\n"
        "@dataclasses.dataclass\nclass Config:\n    num_steps: int = 3\n"
        "run_script(lambda config: print('x' * 10), Config, 'words ' * 50_000)\n"
    )
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, str(script), *flags],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_shows_flags_their_help_and_defaults(monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, print, "--help")
    shown = capsys.readouterr().out
    for text in ("What the script does.", "--num_steps", "How many steps.", "3"):
        assert text in shown


def test_settings_are_saved_as_json(tmp_path) -> None:
    save_config(Config(), tmp_path / "config.json")
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "num_steps": 3,
        "fast": False,
        "folder": "here",
    }


@pytest.mark.parametrize(
    ("arguments", "filled"),
    [
        ([], []),
        (["--fit_poses"], ["--fit_poses", "on"]),
        (["--fit-poses", "--seed", "1"], ["--fit-poses", "on", "--seed", "1"]),
        (["--fit_poses", "off"], ["--fit_poses", "off"]),
    ],
)
def test_a_bare_flag_gets_its_value(arguments: list[str], filled: list[str]) -> None:
    assert _with_value(arguments, "--fit_poses", "on") == filled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Many:
    """Settings of all kinds."""

    folder: Path
    number: int | None = None
    share: float = 0.1
    text: str = ""
    loud: bool = False
    quiet: bool = True
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "settings",
    [
        Many(folder=Path("a b")),
        Many(
            folder=Path("s3://bucket/x"),
            number=-3,
            text="two words",
            loud=True,
            quiet=False,
            names=("a=1", "b"),
        ),
    ],
)
def test_settings_come_back_from_their_command_line(settings: Many) -> None:
    assert tyro.cli(Many, args=as_flags(settings), use_underscores=True) == settings
    changed = tyro.cli(Many, args=as_flags(settings, number=7), use_underscores=True)
    assert changed == dataclasses.replace(settings, number=7)
