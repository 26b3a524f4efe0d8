"""What the page's events call: widgets' values in, widgets' values out."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from generation.findings import Finding
from generation.own_clip import DEFAULT_FPS
from generation.timeline import EXAMPLE
from generation.track_editing import SPEED_STEP, change_speed, loop, mirror, move_joint
from page.studio import NO_PHOTO, Studio
from page.views import (
    ERROR_CLASS,
    error_html,
    findings_html,
    format_seconds,
    note_html,
    progress_html,
    result_html,
    stage_value,
    video_url,
)
from page.visit import Result, Visit, write_track
from utils.errors import UserError

SECONDS, FPS, SCALES = (0.5, 20.0), (4.0, 30.0), (0.0, 4.0)
"""Least and most of the page's numbers."""
TIMELINE = "0-1: She stands and sways\n1-3: She turns around\n3-5: She raises her left arm"
FIRST_FIELDS: Any = ("", TIMELINE, "auto", 2, DEFAULT_FPS, 0)
"""What the motion's fields show at first: sentence, timeline, fit, seconds, frames a second, seed."""
EDITS: dict[str, Callable[[Visit], Any]] = {
    "Undo": lambda visit: visit.editable.undo(),
    "Mirror": lambda visit: visit.editable.apply(mirror),
    "Slower": lambda visit: visit.editable.apply(change_speed, 1 / SPEED_STEP),
    "Faster": lambda visit: visit.editable.apply(change_speed, SPEED_STEP),
    "Loop": lambda visit: visit.editable.apply(loop),
}
SHOWN, MADE = 5, 7
"""How many values `_shown` and `_result_values` give."""


def served(path: Path) -> str:
    """A copy of a file where Gradio may serve it from."""
    return str(shutil.copy(path, _folder() / path.name))


def _folder() -> Path:
    """A new folder that Gradio may serve from; app.py removes it at the end."""
    return Path(tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR")))


class Events:
    """What events call. Each is given the visitor's name first."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def _visit(self, name: str) -> Visit:
        try:
            return self.studio.visit(name)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def arrive(self, name: str) -> Sequence[Any]:
        """A new visitor, or one who loaded the page again: shows what there was, and stops what was made."""
        name = self.studio.welcome(name)
        visit = self._visit(name)
        visit.stop.set()
        found = self._found(visit) if visit.photo else gr.skip()
        results = self._result_values(visit) if visit.results else [gr.skip()] * MADE
        shown = self._shown(visit, "", play=True)
        return [gr.Column(visible=True), name, *self._fields(visit), found, *shown, *results]

    @staticmethod
    def _boxes(visit: Visit) -> list[str | None]:
        """Values of the photos' boxes: what is used, whatever was dropped there.

        Values, and no updates: for an update Gradio makes a new widget, which reads in its own way.
        """
        paths = (None if visit.photo is None else visit.photo.path, visit.further)
        return [None if path is None else served(path) for path in paths]

    def _fields(self, visit: Visit) -> list[Any]:
        """Values of the photos' boxes and the motion's fields, as the motion that is shown was asked for."""
        prompt, timeline, fit, seconds, fps, seed = FIRST_FIELDS
        settings = visit.settings
        if settings is not None:
            prompt, fit, fps, seed = settings.prompt, settings.fit_poses, settings.fps or fps, settings.seed
            timeline = settings.timeline.replace("; ", "\n") or timeline
            seconds = settings.num_frames / fps if settings.num_frames else seconds
        return [*self._boxes(visit), prompt, timeline, fit, seconds, fps, seed]

    @staticmethod
    def _found(visit: Visit) -> str:
        assert visit.photo is not None
        return findings_html(visit.photo.findings, visit, "Nothing is wrong with the photo.")

    def look(self, name: str, upload: str | None) -> Sequence[Any]:
        """Look at a photo, or put it away; gives both photos' boxes, findings, and what is shown."""
        visit = self._visit(name)
        if upload is None:
            visit.forget_photo()
            return [*self._boxes(visit), "", "", *self._shown(visit, "")]
        try:
            self.studio.look_at(visit, upload)
        except UserError as error:
            return [*self._boxes(visit), error_html(error, visit), gr.skip(), *[gr.skip()] * SHOWN]
        return [*self._boxes(visit), self._found(visit), "", *self._shown(visit, "")]

    def take_example(self, path: str, name: str) -> Sequence[Any]:
        """Look at a photo that ships."""
        copy = _folder() / f"{Path(path).parent.name}{Path(path).suffix}"
        shutil.copyfile(path, copy)
        return self.look(name, str(copy))

    def look_behind(self, name: str, upload: str | None) -> Sequence[Any]:
        """Take a second photo, or put it away; gives its box and what was found. The motion stays."""
        visit, found = self._visit(name), ""
        try:
            if upload is None:
                visit.further = None
            else:
                findings = self.studio.look_behind(visit, upload)
                found = findings_html(findings, visit, "What it shows better is taken from it.")
        except UserError as error:
            found = error_html(error, visit)
        return [self._boxes(visit)[1], found]

    def suggest(self, sentence: str, name: str, _prompt: str, *motion: Any) -> Sequence[Any]:
        """Take a suggested sentence."""
        return [sentence, *self.show("prompt", name, sentence, *motion)]

    def show(self, kind: str, name: str, *motion: Any) -> Sequence[Any]:
        """Give her the motion of a kind, "prompt", "timeline" or "poses"; "" is the one that is shown."""
        visit = self._visit(name)
        try:
            if visit.photo is None:
                raise UserError(NO_PHOTO)
            if not kind and visit.settings is None:
                return [gr.skip()] * SHOWN
            findings = self.studio.move(visit, **self._motion(kind, visit, *motion))
        except UserError as error:
            return [gr.skip(), error_html(error, visit), *[gr.skip()] * (SHOWN - 2)]
        return self._shown(visit, findings_html(self._new(visit, findings), visit), play=True)

    def _motion(
        self, kind: str, visit: Visit, prompt: str, timeline: str, poses: str | None, fit: str,
        seconds: float | None, fps: float | None, seed: float | None,
    ) -> dict[str, Any]:  # fmt: skip
        """The motion's fields as fields of `ClipSettings`."""
        shown = visit.settings
        if not kind and shown is not None:
            kind = next(each for each in ("timeline", "poses", "prompt") if getattr(shown, each))
            prompt, timeline, fit = shown.prompt, shown.timeline, shown.fit_poses
            poses = None if shown.poses is None else str(shown.poses)
        settings: dict[str, Any] = {"seed": int(seed or 0)}
        if kind == "poses":
            if poses is None:
                raise UserError("there are no poses; choose a file")
            return settings | {"poses": visit.keep(poses), "fit_poses": fit}
        settings |= {"fps": _between("Frames a second", fps, FPS)}
        if kind == "timeline":
            if not re.match(r"\s*\d.*:", timeline, re.DOTALL):  # a text, and no file of this machine
                raise UserError(f"the timeline has no segment; write segments such as {EXAMPLE}")
            return settings | {"timeline": "; ".join(filter(None, timeline.splitlines()))}
        if not prompt.strip():
            raise UserError("there is no sentence; say what she does, or click on a suggestion")
        multiple = self.studio.pipeline.denoiser.frame_multiple
        count = _between("Seconds", seconds, SECONDS) * settings["fps"]
        return settings | {"prompt": prompt, "num_frames": max(1, round(count / multiple)) * multiple}

    @staticmethod
    def _new(visit: Visit, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Findings that were not told about the photo already."""
        told = visit.photo.findings if visit.photo is not None else ()
        return tuple(each for each in findings if each not in told)

    def drag(self, name: str, reach: float | None, keep_lengths: bool, event: gr.EventData) -> Sequence[Any]:
        """Move a joint."""

        def change(visit: Visit) -> None:
            visit.editable.apply(
                move_joint, int(event.frame), int(event.joint), (float(event.x), float(event.y)),
                reach=int(reach or 0), keep_lengths=keep_lengths,
            )  # fmt: skip

        return self._edit(change, name)

    def edit(self, label: str, name: str) -> Sequence[Any]:
        """Change the track as one of `EDITS` does."""
        return self._edit(EDITS[label], name)

    def _edit(self, change: Callable[[Visit], Any], name: str) -> Sequence[Any]:
        visit = self._visit(name)
        try:
            change(visit)
            return self._shown(visit, gr.skip())
        except UserError as error:
            return [stage_value(visit), gr.skip(), error_html(error, visit), gr.skip(), gr.skip()]

    def load_track(self, name: str, upload: str) -> Sequence[Any]:
        """Show a track that was saved."""
        visit = self._visit(name)
        try:
            findings = self.studio.move(visit, poses=visit.keep(upload), fit_poses="off")
        except UserError as error:
            return [gr.skip(), gr.skip(), error_html(error, visit), gr.skip(), gr.skip()]
        return self._shown(visit, findings_html(self._new(visit, findings), visit), play=True)

    def _shown(self, visit: Visit, findings: Any, *, play: bool = False) -> list[Any]:
        """Values of stage, findings, note, saved track and estimate."""
        note, saved, estimate = "", None, ""
        if visit.editor is not None and visit.photo is not None:
            track = visit.track
            saved = _folder() / f"{visit.photo.path.stem}_track.json"
            write_track(saved, track, visit.photo)
            edited = " Edited." if visit.editor.is_edited else ""
            note = note_html(f"{len(track)} frames, {len(track) / track.fps:.1f} s.{edited}")
            estimate = self._estimate(visit)
        return [stage_value(visit, play=play), findings, note, str(saved) if saved else None, estimate]

    def _estimate(self, visit: Visit, **choices: Any) -> str:
        seconds = self.studio.seconds_for(visit, **choices)
        return note_html(f"This will take about {format_seconds(seconds)}.")

    def guess(self, name: str, *choices: Any) -> str:
        """Say how long the video will take."""
        visit = self._visit(name)
        try:
            return self._estimate(visit, **_choices(*choices)) if visit.settings else ""
        except UserError as error:
            return error_html(error, visit)

    def announce(self, name: str) -> Sequence[Any]:
        """Say that the video comes, or that another one is made first; there is something to stop."""
        self._visit(name).stop.clear()
        note = "It begins."
        if self.studio.busy.locked():
            note = "Another video is being made. Yours waits, and begins when that one is done."
        return [note_html(note), gr.Button(interactive=False), gr.Button(interactive=True)]

    def release(self) -> Sequence[Any]:
        """A video can be made, and there is nothing to stop any more."""
        return [gr.Button(interactive=True), gr.Button(interactive=False)]

    def forget_error(self, progress: str | None) -> Any:
        """Take away an error of the last video when another motion or another choice is shown."""
        return "" if progress and ERROR_CLASS in progress else gr.skip()

    def make_video(self, name: str, *choices: Any) -> Iterator[Sequence[Any]]:
        """Make the video."""
        visit = self._visit(name)
        try:
            for said in self.studio.make(visit, **_choices(*choices)):
                if isinstance(said, Result):
                    yield self._result_values(visit)
                else:
                    yield [progress_html(said), *[gr.skip()] * (MADE - 1)]
        except UserError as error:
            yield [error_html(error, visit), *[gr.skip()] * (MADE - 1)]

    def _result_values(self, visit: Visit) -> list[Any]:
        """Values of progress, player, downloads, command and the two boxes to compare."""
        result, titles = visit.results[-1], [each.title for each in visit.results]
        command = result.command if result.is_whole else f"{result.command}  # the whole video"
        boxes = [gr.Dropdown(choices=titles) for _ in range(2)]
        mp4, gif = served(result.video), served(result.gif)
        files = [gr.DownloadButton(value=path, interactive=True) for path in (mp4, gif)]
        return [result_html(result), mp4, *files, command, *boxes]

    def halt(self, name: str) -> None:
        """Stop the video in the making."""
        self._visit(name).stop.set()

    def compare(self, name: str, first: int | None, second: int | None) -> dict[str, str] | None:
        """Two videos side by side."""
        results = self._visit(name).results
        if first is None or second is None:
            return None
        return {"first": video_url(results[first].video), "second": video_url(results[second].video)}


def _between(what: str, value: float | None, ends: tuple[float, float]) -> float:
    """A number of the page's fields, which the browser does not check.

    Raises:
        UserError: it is missing, too small or too large.
    """
    least, most = ends
    if value is None or not least <= value <= most:
        raise UserError(
            f"{what}: {'nothing' if value is None else f'{value:g}'} was given; give {least:g} to {most:g}"
        )
    return float(value)


def _choices(
    quality: str, image: float | None, pose: float | None, text: float | None, whole_photo: bool
) -> dict[str, Any]:
    """The choices of a video as fields of `ClipSettings`."""
    return {
        "quality": quality or None,
        "image_guidance_scale": _between("Photo", image, SCALES),
        "pose_guidance_scale": _between("Poses", pose, SCALES),
        "text_guidance_scale": _between("Sentence", text, SCALES),
        "frame": "photo" if whole_photo else "model",
    }
