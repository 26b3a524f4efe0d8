"""What the page does behind its widgets: motion, edits, videos, and stopping; without Gradio."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import inference
from generation.own_clip import ClipSettings
from generation.track_editing import mirror, move_joint
from page.making import Progress
from page.studio import Studio
from page.visit import Result, Visit
from utils.config import run_script
from utils.errors import UserError
from utils.paths import SHIPPED_DATASET
from utils.pose_drawing import JOINT
from utils.video import read_video

POSES = SHIPPED_DATASET / "fashion_poses" / "test_00000.json"
PHOTO = SHIPPED_DATASET / "fashion_crop" / "test_00000" / "000.jpg"
WRIST = JOINT["left_wrist"]


@pytest.fixture(scope="module")
def studio(tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    settings = ClipSettings(pretrained_model=tiny_pipeline_dir, device="cpu")
    studio = Studio(settings, tmp_path_factory.mktemp("page"))
    studio.seconds_between_news = 0
    return studio


@pytest.fixture
def visit(studio: Studio) -> Visit:
    """A visitor whose photo was looked at, and who moves by a sentence."""
    visit = studio.visit(studio.welcome())
    studio.look_at(visit, PHOTO)
    studio.move(visit, prompt="She raises her left arm.", num_frames=12, fps=12.0)
    return visit


def result_of(news: Iterator[Progress | Result]) -> tuple[list[Progress], Result]:
    *progress, result = news
    assert isinstance(result, Result) and all(isinstance(each, Progress) for each in progress)
    return progress, result


def bytes_of_command(result: Result, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What the command that the page shows writes."""
    words = shlex.split(result.command)
    assert words[:2] == ["python", "inference.py"]
    monkeypatch.setattr(sys, "argv", [*words[1:], "--output_dir", str(folder)])
    run_script(inference.main, inference.Config, inference.__doc__)
    return (folder / result.video.name).read_bytes()


def test_a_video_comes_with_its_progress_and_the_command_of_the_same_bytes(
    studio: Studio, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, result = result_of(studio.make(visit, quality="balanced", frame="photo"))
    shares = [each.share for each in progress]
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) == 4 + 12
    assert all(each.picture is not None and each.picture.dtype == np.uint8 for each in progress)
    assert result.is_whole and result.num_frames == 12 == len(read_video(result.video)[0])
    assert result.gif.read_bytes()[:6] == b"GIF89a" and len(read_video(result.gif)[0]) > 0
    assert bytes_of_command(result, tmp_path / "again", monkeypatch) == result.video.read_bytes()


def test_an_edited_track_gives_another_video_and_its_own_command(
    studio: Studio, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.move(visit, poses=POSES, num_frames=12)
    _, plain = result_of(studio.make(visit))
    x, y = visit.track.joints[6, WRIST, :2]
    visit.editor.apply(move_joint, 6, WRIST, (float(x) + 6, float(y) - 6))
    _, edited = result_of(studio.make(visit))
    assert edited.video.read_bytes() != plain.video.read_bytes()
    assert "--poses" in edited.command and "--fit_poses off" in edited.command
    assert bytes_of_command(edited, tmp_path / "again", monkeypatch) == edited.video.read_bytes()
    visit.editor.undo()
    _, undone = result_of(studio.make(visit))
    assert undone.video.read_bytes() == plain.video.read_bytes()


def test_the_edited_track_is_the_one_that_moves_her(studio: Studio, visit: Visit) -> None:
    studio.move(visit, poses=POSES, prompt="She turns.", num_frames=12)
    track = visit.editor.apply(mirror)
    settings = studio.settings_of(visit)
    clip, inputs = studio._prepare(visit, settings)
    seen = track.joints[..., 2] > 0
    assert np.allclose(inputs.joints[seen], track.joints[seen], atol=0.01)
    assert clip.prompt == "She turns."


def test_stopping_keeps_the_frames_that_are_done_and_the_same_video_goes_on_from_there(
    studio: Studio, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.move(visit, timeline="0-8: She raises her left arm", fps=12.0)
    news = studio.make(visit)
    for _ in range(6):  # the first window is done
        next(news)
    visit.stop.set()
    *_, said = news
    assert isinstance(said, Result) and not said.is_whole and 0 < said.num_frames < 96
    assert len(read_video(said.video)[0]) == said.num_frames
    assert said.goes_on
    kept = len(list((visit.folder / ".windows").glob("*.safetensors")))
    progress, whole = result_of(studio.make(visit))
    num_windows, num_steps = 6, 2
    assert 0 < kept < num_windows and len(progress) == (num_windows - kept) * num_steps + 96
    assert whole.is_whole and not whole.goes_on and not (visit.folder / ".windows").exists()
    assert bytes_of_command(whole, tmp_path / "again", monkeypatch) == whole.video.read_bytes()


def test_a_video_that_is_stopped_at_once_says_so_and_the_next_one_is_made(
    studio: Studio, visit: Visit
) -> None:
    visit.stop.set()
    with pytest.raises(UserError, match="stopped before it began"):
        list(studio.make(visit))
    visit.stop.clear()
    news = studio.make(visit, quality="best")
    next(news)
    visit.stop.set()
    with pytest.raises(UserError, match="stopped before the first frame"):
        list(news)
    assert result_of(studio.make(visit))[1].is_whole and not studio.busy.locked()


def test_a_visitor_who_leaves_frees_the_machine(studio: Studio, visit: Visit) -> None:
    news = studio.make(visit, quality="best")
    next(news)
    assert studio.busy.locked()
    news.close()
    assert not studio.busy.locked() and not visit.results


def test_what_is_missing_is_said(studio: Studio) -> None:
    visit = studio.visit(studio.welcome())
    with pytest.raises(UserError, match="no photo yet"):
        studio.move(visit, prompt="She turns.")
    with pytest.raises(UserError, match="no motion yet"):
        list(studio.make(visit))
    with pytest.raises(UserError, match="no motion yet"):
        _ = visit.track


def test_more_steps_and_more_guidance_are_said_to_take_longer(studio: Studio, visit: Visit) -> None:
    usual = studio.seconds_for(visit)
    assert studio.seconds_for(visit, quality="best") > 5 * usual
    assert studio.seconds_for(visit, text_guidance_scale=2.0) > usual
