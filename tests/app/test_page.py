"""The page in a real browser: every request stays on this machine."""

import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import inference
from evaluation.motion_rules import MOTIONS
from utils.config import run_script
from utils.paths import SHIPPED_DATASET

pytest.importorskip("gradio", reason="Gradio is not installed (requirements-app.txt)")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("there is no chromium to drive the page with", allow_module_level=True)

import app  # noqa: E402
from page.layout import SUGGESTIONS  # noqa: E402

# On a busy machine a browser may be too late; what is wrong fails three times.
pytestmark = pytest.mark.flaky(reruns=2)
PHOTO = SHIPPED_DATASET / "fashion_crop" / "test_00001" / "000.jpg"
POSES = SHIPPED_DATASET / "fashion_poses" / "test_00000.json"
WRIST = 7
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
TIMEOUT_MS = 180_000


@pytest.fixture(scope="module")
def address(tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the page with the tiny model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("page")
    blocks = app.open_page(app.Config(port=port, model=tiny_pipeline_dir, output_dir=folder, device="cpu"))
    yield f"http://127.0.0.1:{port}"
    blocks.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(address: str, browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens the page as somebody new; at the end no request has left this machine."""
    requests: list[str] = []
    contexts = []

    def come(width: int = 1280, height: int = 800) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_function("Boolean(document.querySelector('#stage canvas')?.pointOf)")
        return page

    yield come
    for context in contexts:
        context.close()
    assert requests and not [url for url in requests if not url.startswith((f"{address}/", "data:", "blob:"))]


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


def test_every_motion_that_the_model_knows_is_suggested() -> None:
    assert tuple(SUGGESTIONS) == MOTIONS


def test_three_clicks_make_a_video_and_the_command_makes_the_same_bytes(
    visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    take_photo(page)
    move_by_sentence(page)
    command = make_video(page)
    wait_for(page, "#progress", "24 frames in")
    assert page.evaluate("document.querySelector('#video video').duration") == pytest.approx(2, abs=0.1)
    mp4 = download(page, "#mp4")
    assert mp4[4:8] == b"ftyp" and download(page, "#gif")[:6] == b"GIF89a"
    assert run_command(command, tmp_path / "again", monkeypatch) == mp4


def test_a_timeline_moves_her_and_a_wrong_one_is_told_in_a_line(visitor) -> None:
    page = visitor()
    take_photo(page)
    page.click("#timeline_tab-button, button[role=tab] >> text=Timeline")
    page.fill("#timeline textarea", "0-1: She stands; 2-3: She turns around")
    page.click("#by_timeline")
    assert "leaves a gap after 1 s" in wait_for(page, "#motion_findings", "error:")
    page.fill("#timeline textarea", "0-1: She stands\n1-3: She turns around")
    page.click("#by_timeline")
    wait_for(page, "#edit_note", "36 frames")
    assert "error:" not in page.inner_text("#motion_findings")
    assert "--timeline" in make_video(page)


def test_dragging_a_joint_changes_the_video_and_undo_takes_it_back(
    visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    take_photo(page)
    load_track(page, POSES, 24)
    make_video(page)
    plain = download(page, "#mp4")
    page.locator("#stage .frame").fill("3")
    page.evaluate("document.querySelector('#stage canvas').scrollIntoView({block: 'center'})")
    x, y = page.evaluate(f"document.querySelector('#stage canvas').pointOf({WRIST})")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 60, steps=4)
    page.mouse.up()
    wait_for(page, "#edit_note", "Edited.")
    wait_for(page, "#stage .where", "frame 3, edited")
    moved = page.evaluate(f"document.querySelector('#stage canvas').pointOf({WRIST})")
    assert moved[1] < y - 5
    command = make_video(page)
    edited = download(page, "#mp4")
    assert edited != plain and "--poses" in command
    assert run_command(command, tmp_path / "again", monkeypatch) == edited
    page.click("#undo")
    page.wait_for_function("!document.querySelector('#edit_note').innerText.includes('Edited.')")
    make_video(page)
    assert download(page, "#mp4") == plain


def test_the_track_is_mirrored_slowed_looped_saved_and_loaded(visitor, tmp_path: Path) -> None:
    page = visitor()
    take_photo(page)
    move_by_sentence(page)
    for button, count in (("#mirror", 24), ("#slower", 30), ("#faster", 24), ("#loop", 46)):
        page.click(button)
        wait_for(page, "#edit_note", f"{count} frames")
    (tmp_path / "track.json").write_bytes(download(page, "#save"))
    page.click("#undo")
    wait_for(page, "#edit_note", "24 frames")
    load_track(page, tmp_path / "track.json", 46)


def test_a_corrupt_upload_is_told_in_a_line_and_the_rest_goes_on(visitor, tmp_path: Path) -> None:
    page = visitor()
    (tmp_path / "broken.png").write_bytes(PHOTO.read_bytes()[:300])
    page.set_input_files("#photo input[type=file]", tmp_path / "broken.png")
    message = wait_for(page, "#photo_findings", "error:")
    assert "broken.png is damaged" in message and "/" not in message.split("broken.png")[0]
    page.click("#make")
    assert "no motion yet" in wait_for(page, "#progress", "error:")
    take_photo(page)
    move_by_sentence(page)
    make_video(page)


def test_the_second_of_two_visitors_waits_and_is_told(visitor) -> None:
    first, second = visitor(), visitor()
    for page in (first, second):
        take_photo(page)
        move_by_sentence(page)
    first.click("#quality label >> text=Best")
    first.locator("#image_scale input[type=number]").fill("2")
    first.click("#make")
    first.wait_for_selector("#progress progress")
    second.click("#make")
    wait_for(second, "#progress", "Yours waits")
    first.click("#stop")
    wait_for(first, "#progress", "topped")
    second.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
    wait_for(second, "#progress", "24 frames in")


def test_stop_keeps_what_is_done(visitor) -> None:
    page = visitor()
    take_photo(page)
    page.click("button[role=tab] >> text=Timeline")
    page.fill("#timeline textarea", "0-60: She stands")
    page.click("#by_timeline")
    wait_for(page, "#edit_note", "720 frames")
    page.click("#make")
    page.wait_for_function("document.querySelector('#progress progress')?.value > 0.05")
    page.click("#stop")
    wait_for(page, "#progress", "Stopped: the first")
    page.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
    assert page.evaluate("document.querySelector('#video video').duration") < 60


def test_a_reload_in_the_middle_keeps_photo_and_motion_and_frees_the_machine(visitor) -> None:
    page = visitor()
    take_photo(page)
    move_by_sentence(page)
    page.click("#quality label >> text=Best")
    page.click("#make")
    page.wait_for_selector("#progress progress")
    page.reload()
    wait_for(page, "#edit_note", "24 frames")
    assert "A person was found" in page.inner_text("#photo_findings")
    make_video(page)


def test_a_phone_and_a_keyboard_will_do(visitor) -> None:
    page = visitor(390, 844)
    take_photo(page)
    page.fill("#prompt textarea", "She turns to her left.")
    page.press("#prompt textarea", "Enter")
    wait_for(page, "#edit_note", "24 frames")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    load_track(page, POSES, 24)
    page.focus("#stage canvas")
    for _ in range(3):
        page.keyboard.press(".")
    page.keyboard.press("Shift+ArrowUp")
    wait_for(page, "#edit_note", "Edited.")
    page.focus("#make")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
