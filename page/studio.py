"""What the page does: a model that is loaded once, and each visitor's photo, motion and videos."""

import dataclasses
import queue
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffusion.inputs import View
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import make_scheduler
from generation.findings import Finding, Report
from generation.inputs import Clip, Inputs
from generation.loading import load_motion_tools, load_pipeline
from generation.own_clip import (
    ClipSettings,
    check_num_frames,
    fps_of,
    frame_size,
    look_at_inputs,
    own_clip,
    prepare_own_clip,
)
from generation.photo import Photo, look_at_photo
from generation.timeline import sentence_of_frames
from generation.track_editing import EditedTrack, TrackEditor
from generation.video import DEFAULT_NUM_FRAMES
from generation.views import read_view
from page.making import Making, Progress, Work
from page.visit import Result, Visit, write_track
from utils.config import check_minimum
from utils.devices import choose_device
from utils.errors import UserError
from utils.image import to_signed

FIRST_PACE = 5e-7
"""Seconds that a pixel of a frame takes in one prediction, before anything was measured."""
SECONDS_TO_STOP = 60
NO_PHOTO = "there is no photo yet; drop one, or take an example"


class Studio:
    """A model, and what is made with it.

    Attributes:
        pipeline: the model.
        settings: what all videos share.
        busy: held while a video is made, so that one is made at a time.
        pace: seconds that a unit of work took in the last video, see `Work`.
        seconds_between_news: of a video in the making, so that the browser keeps up.
    """

    def __init__(self, settings: ClipSettings, output_dir: Path) -> None:
        """Load the model.

        Raises:
            UserError: it cannot be loaded.
        """
        self.settings, self.output_dir = settings, output_dir
        self.pipeline: X2FashionPipeline = load_pipeline(settings, choose_device(settings.device))
        self.tools = load_motion_tools(settings, self.pipeline, from_text=True, find_pose=True)
        self.size = frame_size(settings, self.pipeline)
        self.busy = threading.Lock()
        self.pace = FIRST_PACE * self.size[0] * self.size[1]
        self.seconds_between_news = 0.3
        self._scheduler = self.pipeline.scheduler
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def welcome(self, name: str = "") -> str:
        """The name of a visitor: the one given if it is known here, else a new one."""
        with self._lock:
            if name not in self._visits:
                name = secrets.token_hex(8)
                self._visits[name] = Visit(self.output_dir / name)
        return name

    def visit(self, name: str) -> Visit:
        """What the visitor of a name has on the page.

        Raises:
            UserError: nobody here has that name.
        """
        with self._lock:
            if name not in self._visits:
                raise UserError("the page was started anew; load it again")
            return self._visits[name]

    def look_at(self, visit: Visit, upload: str | Path) -> Photo:
        """Look at a photo; it takes the place of the one before, and what was made of that is put away.

        Raises:
            UserError: it cannot be read; everything stays as it was.
        """
        photo = look_at_photo(visit.keep(upload), *self.size, self.tools.finder)
        visit.forget_photo()
        visit.photo = photo
        return photo

    def look_behind(self, visit: Visit, upload: str | Path) -> tuple[Finding, ...]:
        """Look at a second photo of her, which goes with the first.

        Returns:
            What there is to say about it.

        Raises:
            UserError: there is no first one, or it cannot be read or shows no whole person; everything stays
                as it was.
        """
        if visit.photo is None:
            raise UserError(f"{NO_PHOTO}; the second one goes with it")
        path = visit.keep(upload)
        first = View(to_signed(visit.photo.framed[None])[0], visit.photo.pose)
        _, findings = read_view(path, *self.size, self.tools.finder, first)
        visit.further = path
        return tuple(findings)

    def move(self, visit: Visit, **motion: Any) -> tuple[Finding, ...]:
        """Give her a motion: poses made from a sentence or a timeline, or read from a file.

        Args:
            visit: has the photo.
            motion: fields of `ClipSettings`.

        Returns:
            What was found in photo, poses and sentences.

        Raises:
            UserError: there is no photo, or she cannot be moved so.
        """
        if visit.photo is None:
            raise UserError(NO_PHOTO)
        settings = dataclasses.replace(self.settings, image=visit.images, **motion)
        check_minimum(settings, 1, *(["num_frames"] if settings.num_frames is not None else []))
        clip, inputs = self._prepare(visit, settings)
        check_num_frames(settings, self.pipeline, clip, inputs)
        report = Report(look_at_inputs(settings, self.pipeline, clip, inputs))
        report.check()
        visit.settings, visit.editor = settings, None
        if inputs.joints is not None:
            height, width = self.size
            track = EditedTrack(
                joints=inputs.joints, height=height, width=width, fps=float(fps_of(settings, inputs))
            )
            visit.editor = TrackEditor(track)
        return report.findings

    def _prepare(self, visit: Visit, settings: ClipSettings) -> tuple[Clip, Inputs]:
        clip = own_clip(settings)
        return clip, prepare_own_clip(settings, self.pipeline, self.tools, clip, visit.photo)

    def settings_of(self, visit: Visit, **choices: Any) -> ClipSettings:
        """The settings of the video that a visitor asks for; an edited track is written, and given as poses.

        Raises:
            UserError: nothing says how she moves.
        """
        if visit.photo is None or visit.settings is None:
            raise UserError("there is no motion yet; give a photo, and say what she does")
        settings = dataclasses.replace(visit.settings, image=visit.images, **choices)
        if visit.editor is None or not visit.editor.is_edited:
            return settings
        path = visit.folder / f"track_{len(visit.results) + 1:03d}.json"
        write_track(path, visit.editor.track, visit.photo)
        timeline = own_clip(visit.settings).timeline
        prompt = settings.prompt if timeline is None else sentence_of_frames(timeline.sentences)
        return dataclasses.replace(
            settings, poses=path, prompt=prompt, timeline="", fit_poses="off", num_frames=None, fps=None
        )

    def seconds_for(self, visit: Visit, **choices: Any) -> float:
        """About how long a video will take, by what the last one took."""
        settings = dataclasses.replace(visit.settings or self.settings, **choices)
        count = settings.num_frames or DEFAULT_NUM_FRAMES if visit.editor is None else len(visit.track)
        return Work.of(settings, self.pipeline, count).units * self.pace

    def make(self, visit: Visit, **choices: Any) -> Iterator[Progress | Result]:
        """Make a video; yields how far it is, and at last the result.

        When it is stopped, the frames that are done are kept.

        Raises:
            UserError: it cannot be made, or was stopped before a frame was done.
        """
        settings = self.settings_of(visit, **choices)
        clip, inputs = self._prepare(visit, settings)
        Report(look_at_inputs(settings, self.pipeline, clip, inputs)).check()
        if visit.stop.is_set():
            raise UserError("stopped before it began; nothing was kept")
        news: queue.Queue[Progress | Result | BaseException] = queue.Queue()
        with self.busy:
            self.set_scheduler(settings)
            making = Making(self.pipeline, settings, clip, inputs, visit, news, self.seconds_between_news)
            worker = threading.Thread(target=making.run, daemon=True)
            worker.start()
            try:
                while True:
                    said = news.get()
                    if isinstance(said, BaseException):
                        raise said
                    if isinstance(said, Result) and said.is_whole:
                        self.pace = said.seconds / making.work.units
                    yield said
                    if isinstance(said, Result):
                        return
            finally:  # the visitor may have left
                visit.stop.set()
                worker.join()
                visit.stop.clear()

    def close(self) -> None:
        """Stop what is in the making, and wait until its files are closed."""
        with self._lock:
            for visit in self._visits.values():
                visit.stop.set()
        if self.busy.acquire(timeout=SECONDS_TO_STOP):
            self.busy.release()

    def set_scheduler(self, settings: ClipSettings) -> None:
        """Let the pipeline sample as the quality says."""
        prediction_type = self.pipeline.denoiser.config.prediction_type
        if settings.quality is None or settings.scheduler != "default":
            self.pipeline.scheduler = self._scheduler
        else:
            name = QUALITIES[prediction_type][settings.quality].scheduler
            self.pipeline.scheduler = make_scheduler(name, prediction_type, self._scheduler.betas.numpy())
