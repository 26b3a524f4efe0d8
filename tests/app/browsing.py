"""What somebody at the page does, in a real browser."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import inference
from utils.config import run_script
from utils.paths import SHIPPED_DATASET

PHOTO = SHIPPED_DATASET / "fashion_crop" / "test_00001" / "000.jpg"
TURNED = SHIPPED_DATASET / "fashion_crop" / "test_00000" / "012.jpg"
POSES = SHIPPED_DATASET / "fashion_poses" / "test_00000.json"
WRIST = 7


def wait_for(page: Any, selector: str, text: str) -> str:
    """Wait until an element shows a text; returns all of it."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
    )
    return page.inner_text(selector)


def take_photo(page: Any) -> None:
    page.click("#examples button >> nth=0")
    wait_for(page, "#photo_findings", "A person was found")


def move_by_sentence(page: Any, number: int = 7) -> None:
    page.click(f"#suggestions button >> nth={number}")
    wait_for(page, "#edit_note", "24 frames")


def load_track(page: Any, path: Path, count: int) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#load")
    chooser.value.set_files(path)
    wait_for(page, "#edit_note", f"{count} frames")


def make_video(page: Any) -> str:
    """Make a video and wait until it plays; returns the command of the same bytes."""
    before = page.evaluate("document.querySelector('#video video')?.src")
    page.click("#make")
    page.wait_for_function(
        "before => { const video = document.querySelector('#video video');"
        " return video && video.src !== before && video.readyState >= 2 && !video.error; }",
        arg=before,
    )
    return page.input_value("#command textarea")


def download(page: Any, selector: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(selector)
    return Path(waiting.value.path()).read_bytes()


def run_command(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    words = shlex.split(command)
    assert words[:2] == ["python", "inference.py"]
    monkeypatch.setattr(sys, "argv", [*words[1:], "--output_dir", str(folder)])
    run_script(inference.main, inference.Config, inference.__doc__)
    (video,) = folder.glob("*.mp4")
    return video.read_bytes()


def give_back(page: Any, path: Path) -> None:
    """Give a second photo."""
    if not page.is_visible("#back input[type=file], #back button"):
        page.click("#back_box > button")
    page.set_input_files("#back input[type=file]", path)


def timeline(page: Any, text: str) -> None:
    """Show the motion of a timeline."""
    page.click("button[role=tab] >> text=Timeline")
    for _ in range(20):  # a tab that is first shown puts its example over what was written at once
        page.fill("#timeline textarea", text)
        page.wait_for_timeout(500)
        if page.input_value("#timeline textarea") == text:
            break
    page.click("#by_timeline")
