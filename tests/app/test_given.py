"""What is given to the page by mistake or on purpose, in a real browser."""

from pathlib import Path

import numpy as np
import pytest

from tests.app.browsing import (
    PHOTO,
    POSES,
    TURNED,
    download,
    give_back,
    load_track,
    make_video,
    move_by_sentence,
    run_command,
    take_photo,
    timeline,
    wait_for,
)
from utils.image import write_png

# On a busy machine a browser may be too late; what is wrong fails three times.
pytestmark = pytest.mark.flaky(reruns=2)


def test_a_second_photo_gives_another_video_and_can_be_taken_away(
    visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    give_back(page, TURNED)
    wait_for(page, "#back_findings", "no photo yet")
    take_photo(page)
    load_track(page, POSES, 24)
    make_video(page)
    one = download(page, "#mp4")

    give_back(page, TURNED)
    wait_for(page, "#back_findings", "is taken from it")
    command = make_video(page)
    both = download(page, "#mp4")
    assert both != one and command.count("--image ") == 2
    assert run_command(command, tmp_path / "again", monkeypatch) == both

    write_png(tmp_path / "wall.png", np.full((200, 100, 3), 200, np.uint8))
    give_back(page, tmp_path / "wall.png")
    assert "found in wall.png" in wait_for(page, "#back_findings", "error: no whole person")
    assert make_video(page) == command  # the one before stays

    page.click("#back button[aria-label='Remove Image']")
    page.wait_for_function("!document.querySelector('#back_findings').innerText.trim()")
    page.wait_for_function("document.querySelector('#estimate').innerText.includes('about')")
    assert "--image" in make_video(page) and download(page, "#mp4") == one


def test_a_photo_that_is_removed_is_not_used_and_one_of_its_name_does_not_replace_it(
    visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    commands, videos = [], []
    for folder, source in (("a", PHOTO), ("b", TURNED.with_name("000.jpg"))):
        path = tmp_path / folder / "image.jpg"
        path.parent.mkdir()
        path.write_bytes(source.read_bytes())
        page.set_input_files("#photo input[type=file]", path)
        wait_for(page, "#photo_findings", "A person was found")
        load_track(page, POSES, 24)
        commands.append(make_video(page))
        videos.append(download(page, "#mp4"))
        page.click("#photo button[aria-label='Remove Image']")
        page.wait_for_function("!document.querySelector('#edit_note').innerText.trim()")
        page.click("#make")
        wait_for(page, "#progress", "no motion yet")
    assert videos[0] != videos[1]
    assert run_command(commands[0], tmp_path / "again", monkeypatch) == videos[0]


def test_wrong_numbers_and_texts_are_told_in_a_line(visitor, tmp_path: Path) -> None:
    page = visitor()
    page.click("#by_sentence")
    wait_for(page, "#motion_findings", "there is no photo yet")
    take_photo(page)
    page.click("#by_sentence")
    wait_for(page, "#motion_findings", "there is no sentence")
    move_by_sentence(page)
    for value, message in (("0", "Seconds: 0 was given"), ("10000", "10000 was given"), ("3", "")):
        page.fill("#seconds input[type=number]", value)
        page.press("#seconds input[type=number]", "Tab")
        wait_for(page, "#motion_findings", message)
    wait_for(page, "#edit_note", "36 frames")
    for value, message in (("-5", "--seed -5 must be"), ("99999999999999999999", "below 2^63"), ("7", "")):
        page.fill("#seed input", value)
        wait_for(page, "#motion_findings", message)

    secret = tmp_path / "secret.txt"
    secret.write_text("0-2: She stands and tells a secret")
    for text in ("", "hello", str(secret)):
        timeline(page, text)
        wait_for(page, "#motion_findings", "the timeline has no segment")
    timeline(page, "0-2: She stands; 1-3: She turns around")
    wait_for(page, "#motion_findings", "overlaps the one before it")
    (tmp_path / "text.mp4").write_text("no video\n" * 40)
    page.click("button[role=tab] >> text=Poses")
    page.set_input_files("#poses input[type=file]", tmp_path / "text.mp4")
    wait_for(page, "#motion_findings", "error: text.mp4 cannot be read as mp4 video")
    assert not page.evaluate("[...document.querySelectorAll('.toast-body')].length")
    assert "36 frames" in page.inner_text("#edit_note")


def test_a_tab_that_is_closed_frees_the_machine_and_another_tab_does_not_stop_it(visitor) -> None:
    first = visitor()
    take_photo(first)
    timeline(first, "0-20: She stands")
    wait_for(first, "#edit_note", "240 frames")
    first.click("#quality label >> text=Best")  # so that it takes longer than what follows
    first.click("#make")
    first.wait_for_selector("#progress progress")
    beside = first.context.new_page()
    beside.goto(first.url)
    beside.wait_for_function("Boolean(document.querySelector('#stage canvas')?.pointOf)")
    take_photo(beside)
    move_by_sentence(beside)
    before = first.evaluate("document.querySelector('#progress progress').value")
    first.wait_for_function(
        "before => document.querySelector('#progress progress').value > before", arg=before
    )
    beside.click("#make")
    wait_for(beside, "#progress", "Yours waits")
    first.close()
    wait_for(beside, "#progress", "24 frames in")


def test_a_page_that_is_loaded_again_shows_what_was_asked_for(visitor) -> None:
    page = visitor()
    take_photo(page)
    page.fill("#seconds input[type=number]", "3")
    page.press("#seconds input[type=number]", "Tab")
    page.fill("#prompt textarea", "She turns to her right.")
    page.press("#prompt textarea", "Enter")
    wait_for(page, "#edit_note", "36 frames")
    page.reload()
    wait_for(page, "#edit_note", "36 frames")
    assert page.input_value("#prompt textarea") == "She turns to her right."
    assert page.input_value("#seconds input[type=number]") == "3"
    page.wait_for_selector("#photo img")
    page.goto("about:blank")
    page.go_back()
    wait_for(page, "#edit_note", "36 frames")
