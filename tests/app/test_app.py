"""app.py through its command line: where it serves, what it refuses, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from tests.app.browsing import take_photo, timeline, wait_for
from tests.app.conftest import free_port
from utils.config import run_script

ROOT = Path(__file__).resolve().parents[2]


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    """The line in which the command line refuses."""
    monkeypatch.setattr(sys, "argv", ["app.py", *map(str, flags)])
    with pytest.raises(SystemExit) as ended:
        run_script(app.main, app.Config, app.__doc__)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_an_address_that_cannot_be_served_on_is_refused_in_a_line(
    monkeypatch, capsys, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert "give another --port" in refusal(monkeypatch, capsys, "--port", port)
    assert "from 1 to 65535" in refusal(monkeypatch, capsys, "--port", 70000)
    assert "--host 127.0.0.1 serves" in refusal(monkeypatch, capsys, "--host", "192.0.2.1", "--port", port)


def test_a_model_that_is_not_there_is_refused_in_a_line(monkeypatch, capsys, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed (requirements-app.txt)")
    flags = ("--port", free_port(), "--model", tmp_path / "none", "--output_dir", tmp_path)
    assert "none" in refusal(monkeypatch, capsys, *flags)


def test_it_says_who_can_open_the_page() -> None:
    assert app.where("127.0.0.1", 7860) == "the page is at http://127.0.0.1:7860; Ctrl-C ends it"
    assert "password" not in app.where("localhost", 1) + app.where("::1", 1)
    for host in ("0.0.0.0", "::", "192.168.1.5", "studio.example"):
        assert "other machines can open it" in app.where(host, 7860)
    assert "http://127.0.0.1:7860" in app.where("0.0.0.0", 7860)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_page_in_the_middle_of_a_video_and_leaves_no_half_files(
    browser: Any, tiny_pipeline_dir: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed (requirements-app.txt)")
    temporary, out, port = tmp_path / "temporary", tmp_path / "out", free_port()
    temporary.mkdir()
    flags = ("--port", port, "--model", tiny_pipeline_dir, "--output_dir", out)
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "app.py", *map(str, flags)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None and "the page is at" in process.stdout.readline()
        page = browser.new_page()
        page.set_default_timeout(180_000)
        page.goto(f"http://127.0.0.1:{port}")
        take_photo(page)
        timeline(page, "0-20: She stands")
        wait_for(page, "#edit_note", "240 frames")
        page.click("#make")
        page.wait_for_function("document.querySelector('#progress progress')?.value > 0.1")
        assert list(out.rglob(".*.mp4"))
        process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler then tells where every thread is
            pytest.fail(process.communicate()[1])
        page.close()
    finally:
        process.kill()
    assert process.returncode == status and "Traceback" not in errors
    assert not list(out.rglob(".*.mp4")) and not list(temporary.iterdir())
