"""What the page shows, as the browser takes it: pictures, the track on the stage, findings, progress."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from generation.findings import Finding
from page.making import Progress
from page.visit import Result, Visit
from utils.errors import UserError

ERROR_CLASS = 'class="error"'


def picture_url(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as a data URL."""
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]
    )
    assert encoded
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def video_url(path: Path) -> str:
    """A video as a data URL."""
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()


def stage_value(visit: Visit, *, play: bool = False) -> dict[str, Any] | None:
    """The photo, and the track or the found pose over it, for page/stage.js.

    Args:
        visit: whose.
        play: whether it plays from the start.
    """
    photo = visit.photo
    if photo is None:
        return None
    height, width = photo.framed.shape[:2]
    value: dict[str, Any] = {"photo": picture_url(photo.framed), "height": height, "width": width}
    if visit.editor is None:
        joints = [] if photo.pose is None else [photo.pose]
        fps, keys = 1.0, list[int]()
    else:
        track = visit.track
        joints, fps, keys = list(track.joints), track.fps, sorted(track.keys)
    rounded = [np.round(np.asarray(frame, float), 2).tolist() for frame in joints]
    return value | {"joints": rounded or [[]], "fps": fps, "keys": keys, "play": play}


def findings_html(findings: Sequence[Finding], visit: Visit, nothing: str = "") -> str:
    """Findings as a list, or what to say where there are none."""
    if not findings:
        return f"<p>{html.escape(nothing)}</p>"
    rows = [
        f'<li class="{each.severity}"><b>{each.severity}:</b> '
        f"{html.escape(without_folders(sentence_of(each), visit))}</li>"
        for each in findings
    ]
    return f'<ul class="findings">{"".join(rows)}</ul>'


def sentence_of(finding: Finding) -> str:
    """A finding in a sentence."""
    text = finding.message + (f"; {finding.remedy}" if finding.remedy else "")
    return text[0].upper() + text[1:] + "."


def without_folders(text: str, visit: Visit) -> str:
    """A text that names uploads as the visitor does, without this machine's folders."""
    folders = "|".join(re.escape(str(folder)) for folder in {visit.folder, visit.folder.resolve()})
    return re.sub(rf"({folders})/(uploads/\d+/)?", "", text)


def error_html(error: UserError, visit: Visit) -> str:
    """What was wrong, in the line that the command line gives."""
    text = html.escape(without_folders(str(error), visit))
    return f'<p {ERROR_CLASS} role="alert">error: {text}</p>'


def note_html(text: str) -> str:
    """A plain sentence."""
    return f'<p role="status">{html.escape(text)}</p>'


def progress_html(progress: Progress) -> str:
    """How far a video is, with the picture of now."""
    left = f", about {format_seconds(progress.seconds_left)} left" if progress.share < 1 else ""
    picture = ""
    if progress.picture is not None:
        picture = f'<img class="clearer" alt="The video by now" src="{picture_url(progress.picture)}">'
    return (
        f'<div class="making" role="status"><progress value="{progress.share:.3f}"></progress>'
        f"<span>{progress.share:.0%}{left}</span>{picture}</div>"
    )


def result_html(result: Result) -> str:
    """What was made, and how long it took."""
    text = f"{result.num_frames} frames in {format_seconds(result.seconds)}"
    if not result.is_whole:
        goes_on = " If you make the same video again, it goes on from there." if result.goes_on else ""
        return note_html(f"Stopped: the first {text} are kept.{goes_on}")
    return note_html(f"{text}. The first frame took {format_seconds(result.first_frame_seconds)}.")


def format_seconds(seconds: float) -> str:
    """12 s, or 3 min 20 s."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
