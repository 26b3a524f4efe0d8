"""The page in a real browser: every request stays on this machine."""

from pathlib import Path

import pytest

from evaluation.motion_rules import MOTIONS
from tests.app.browsing import (
    PHOTO,
    POSES,
    WRIST,
    download,
    load_track,
    make_video,
    move_by_sentence,
    run_command,
    take_photo,
    timeline,
    wait_for,
)
from utils.errors import UserError

pytest.importorskip("gradio", reason="Gradio is not installed (requirements-app.txt)")
from page.sections import SUGGESTIONS
from page.studio import Studio

# On a busy machine a browser may be too late; what is wrong fails three times.
pytestmark = pytest.mark.flaky(reruns=2)


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
    timeline(page, "0-1: She stands; 2-3: She turns around")
    assert "leaves a gap after 1 s" in wait_for(page, "#motion_findings", "error:")
    timeline(page, "0-1: She stands\n1-3: She turns around")
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
    page.wait_for_function("!document.querySelector('#progress').innerText.includes('error:')")
    make_video(page)


def test_an_error_below_the_video_goes_with_the_next_motion(visitor, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UserError("the disk is full")

    page = visitor()
    take_photo(page)
    move_by_sentence(page)
    monkeypatch.setattr(Studio, "make", fail)
    page.click("#make")
    wait_for(page, "#progress", "the disk is full")
    page.wait_for_selector("#make:not([disabled])")
    estimate = page.inner_text("#estimate")
    page.click("#mirror")
    page.wait_for_function("!document.querySelector('#progress').innerText.includes('error:')")
    assert page.inner_text("#estimate") == estimate  # as long as before


def test_the_second_of_two_visitors_waits_and_is_told(visitor) -> None:
    first, second = visitor(), visitor()
    for page in (first, second):
        take_photo(page)
    timeline(first, "0-20: She stands")
    wait_for(first, "#edit_note", "240 frames")
    move_by_sentence(second)
    first.click("#quality label >> text=Best")
    first.click("#make")
    first.wait_for_selector("#progress progress")
    second.click("#make")
    wait_for(second, "#progress", "Yours waits")
    first.click("#stop")
    wait_for(first, "#progress", "topped")
    second.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
    wait_for(second, "#progress", "24 frames in")


def test_stop_keeps_what_is_done_and_the_same_video_goes_on_from_there(visitor) -> None:
    page = visitor()
    take_photo(page)
    timeline(page, "0-10: She stands")
    wait_for(page, "#edit_note", "120 frames")
    page.click("#quality label >> text=Best")
    assert page.is_enabled("#make") and page.is_disabled("#stop")
    page.click("#make")
    page.wait_for_function("document.querySelector('#progress progress')?.value > 0.3")
    assert page.is_disabled("#make") and page.is_enabled("#stop")
    page.click("#stop")
    assert "goes on from there" in wait_for(page, "#progress", "Stopped: the first")
    page.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
    assert page.evaluate("document.querySelector('#video video').duration") < 9.5
    page.wait_for_selector("#make:not([disabled])")
    assert page.is_disabled("#stop")
    make_video(page)
    wait_for(page, "#progress", "120 frames in")


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
    for _ in range(20):  # the track that is loaded may come after the first keys, and takes what they did
        page.focus("#stage canvas")
        for _ in range(3):
            page.keyboard.press(".")
        page.keyboard.press("Shift+ArrowUp")
        page.wait_for_timeout(1500)
        if "Edited." in page.inner_text("#edit_note"):
            break
    wait_for(page, "#edit_note", "Edited.")
    page.focus("#make")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
