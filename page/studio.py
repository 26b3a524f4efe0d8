"""What the page does: a model that is loaded once, and each visitor's photo, motion and videos."""

import dataclasses
import queue
import shlex
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffusion.denoising import StepCallback
from diffusion.guidance import guidance_branches
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import make_scheduler
from generation.backdrop import Backdrop
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
from generation.track_editing import EditedTrack, TrackEditor, save_track
from generation.video import choose_sampling, make_video
from generation.windows import plan_windows
from utils.config import settings_as_json
from utils.contact_sheet import thumbnail
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import write_json
from utils.image import to_uint8
from utils.video import write_gif, write_video

GIF_HEIGHT, GIF_FRAMES, GIF_FPS = 384, 240, 50
DECODING_STEPS = 2
"""Denoising steps that take as long as the rest of a frame's way, about."""
FIRST_PACE = 0.06
"""Seconds a frame and step, before anything was measured."""


class StoppedError(Exception):
    """The visitor stopped the video."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a video is: from 0 to 1, the seconds that are left, and a picture of how it looks by now."""

    share: float
    seconds_left: float
    picture: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A video that was made.

    Attributes:
        video: the mp4.
        gif: the same as a GIF.
        command: what makes the same bytes in a terminal.
        num_frames: that it has.
        is_whole: it was not stopped.
        seconds: that it took.
        first_frame_seconds: until its first frame.
        title: to tell it from others.
    """

    video: Path
    gif: Path
    command: str
    num_frames: int
    is_whole: bool
    seconds: float
    first_frame_seconds: float
    title: str


class Visit:
    """What one visitor has on the page.

    Attributes:
        folder: gets uploads and videos.
        photo: that was looked at.
        further: a second photo of her, such as of her back.
        settings: of the motion that is shown.
        inputs: photo and poses of it.
        editor: of its track.
        results: videos that were made, the oldest first.
        stop: set to stop the video in the making.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photo: Photo | None = None
        self.further: Path | None = None
        self.settings: ClipSettings | None = None
        self.inputs: Inputs | None = None
        self.editor: TrackEditor | None = None
        self.results: list[Result] = []
        self.stop = threading.Event()

    def keep(self, upload: str | Path, prefix: str = "") -> Path:
        """Copy an upload to where the command line finds it later."""
        source = Path(upload)
        path = self.folder / f"{prefix}{source.name}"
        if source.resolve() != path.resolve():
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
        return path

    @property
    def track(self) -> EditedTrack:
        """The motion as it is shown.

        Raises:
            UserError: there is none yet.
        """
        if self.editor is None:
            raise UserError("there is no motion yet; say what she does, or give poses")
        return self.editor.track


class Studio:
    """A model, and what is made with it.

    Attributes:
        pipeline: the model.
        settings: what all videos share.
        busy: held while a video is made, so that one is made at a time.
        pace: seconds that a frame and step took in the last video.
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
        self.pace = FIRST_PACE
        self.seconds_between_news = 0.3
        self._scheduler = self.pipeline.scheduler
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def visit(self, name: str) -> Visit:
        """What the visitor of a name has on the page."""
        with self._lock:
            return self._visits.setdefault(name, Visit(self.output_dir / name))

    def look_at(self, visit: Visit, upload: str | Path) -> Photo:
        """Look at a photo; it takes the place of the one before, and what was made of that is put away.

        Raises:
            UserError: it cannot be read.
        """
        photo = look_at_photo(visit.keep(upload), *self.size, self.tools.finder)
        visit.photo, visit.further, visit.settings = photo, None, None
        visit.inputs = visit.editor = None
        return photo

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
            raise UserError("there is no photo yet; drop one, or take an example")
        images = (visit.photo.path, *([visit.further] if visit.further else []))
        settings = dataclasses.replace(self.settings, image=images, **motion)
        clip, inputs = self._prepare(visit, settings)
        check_num_frames(settings, self.pipeline, clip, inputs)
        report = Report(look_at_inputs(settings, self.pipeline, clip, inputs))
        report.check()
        visit.settings, visit.inputs, visit.editor = settings, inputs, None
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
        settings = dataclasses.replace(visit.settings, **choices)
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
        count = len(visit.editor.track) if visit.editor is not None else settings.num_frames or 24
        return self._units(settings, count) * self.pace

    def _units(self, settings: ClipSettings, count: int) -> float:
        """Frames times steps of a video, with what else costs time counted as steps."""
        sampling = choose_sampling(settings, self.pipeline)
        predictions = len(guidance_branches(*sampling.guidance_scales))
        return count * (sampling.num_inference_steps * predictions + DECODING_STEPS)

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
        making = _Making(self, settings, clip, inputs, visit, news)
        worker = threading.Thread(target=making.run, daemon=True)
        with self.busy:
            worker.start()
            try:
                while True:
                    said = news.get()
                    if isinstance(said, BaseException):
                        raise said
                    yield said
                    if isinstance(said, Result):
                        return
            finally:  # the visitor may have left
                visit.stop.set()
                worker.join()
                visit.stop.clear()

    def set_scheduler(self, settings: ClipSettings) -> None:
        """Let the pipeline sample as the quality says."""
        prediction_type = self.pipeline.denoiser.config.prediction_type
        if settings.quality is None or settings.scheduler != "default":
            self.pipeline.scheduler = self._scheduler
        else:
            name = QUALITIES[prediction_type][settings.quality].scheduler
            self.pipeline.scheduler = make_scheduler(name, prediction_type, self._scheduler.betas.numpy())


class _Making:
    """One video in the making, in a thread of its own."""

    def __init__(
        self,
        studio: Studio,
        settings: ClipSettings,
        clip: Clip,
        inputs: Inputs,
        visit: Visit,
        news: "queue.Queue[Progress | Result | BaseException]",
    ) -> None:
        self.studio, self.settings, self.clip, self.inputs = studio, settings, clip, inputs
        self.visit, self.news = visit, news
        assert inputs.poses is not None
        self.count = len(inputs.poses)
        steps = choose_sampling(settings, studio.pipeline).num_inference_steps
        windows = plan_windows(self.count, settings.window_frames, settings.window_overlap)
        self.total = len(windows) * steps + self.count
        self.done = 0
        self.begin = self.first = time.monotonic()
        self.told = 0.0
        self.small: list[np.ndarray] = []

    def run(self) -> None:
        """Make it; whatever goes wrong is told to whoever waits."""
        try:
            self.news.put(self._make())
        except BaseException as error:
            self.news.put(error)

    def _make(self) -> Result:
        number = len(self.visit.results) + 1
        folder = self.visit.folder / f"{number:03d}"
        path = folder / f"{self.clip.name}.mp4"
        fps = fps_of(self.settings, self.inputs)
        self.studio.set_scheduler(self.settings)
        try:
            write_video(path, self._frames(), fps)
        except UserError as error:
            if self.visit.stop.is_set() and not self.small:
                raise UserError("stopped before the first frame was done; nothing was kept") from error
            raise
        gif = path.with_suffix(".gif")
        write_gif(gif, self.small[:GIF_FRAMES], min(fps, GIF_FPS))
        seconds = time.monotonic() - self.begin
        is_whole = len(self.small) == self.count
        if is_whole:
            self.studio.pace = seconds / self.studio._units(self.settings, self.count)
        write_json(
            path.with_suffix(".json"), settings_as_json(self.settings) | {"frames_made": len(self.small)}
        )
        result = Result(
            video=path,
            gif=gif,
            command=command_line(self.settings),
            num_frames=len(self.small),
            is_whole=is_whole,
            seconds=seconds,
            first_frame_seconds=self.first - self.begin,
            title=f"{number}: {self.clip.prompt or 'poses'} (seed {self.settings.seed})",
        )
        self.visit.results.append(result)
        return result

    def _frames(self) -> Iterator[np.ndarray]:
        """Frames until the video ends or is stopped."""
        original, joints = self.inputs.original, self.inputs.joints
        backdrop = Backdrop(original) if self.settings.frame == "photo" and original is not None else None
        callback = StepCallback(self._after_step, ("latents", "prediction"))
        frames = make_video(
            self.settings, self.studio.pipeline, self.clip, self.inputs, self.count, callback=callback
        )
        try:
            for index, frame in enumerate(frames):
                if self.visit.stop.is_set():
                    return
                if not index:
                    self.first = time.monotonic()
                if backdrop is not None:
                    frame = backdrop.lay(frame, None if joints is None else joints[index])
                self.small.append(thumbnail(frame, GIF_HEIGHT))
                self._tell(self.small[-1])
                yield frame
        except StoppedError:
            return

    def _after_step(
        self, pipeline: X2FashionPipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        if self.visit.stop.is_set():
            raise StoppedError
        clean = pipeline.denoiser.config.prediction_type == "sample"
        latents = tensors["prediction" if clean else "latents"]
        middle = latents[:, :, latents.shape[2] // 2, None]
        self._tell(to_uint8(pipeline.decode(middle, None, 1)[0, :, 0]))
        return {}

    def _tell(self, picture: np.ndarray) -> None:
        self.done += 1
        share = min(1.0, self.done / self.total)
        now = time.monotonic()
        if share < 1 and now - self.told < self.studio.seconds_between_news:
            return
        self.told = now
        passed = time.monotonic() - self.begin
        left = passed / share - passed
        self.news.put(Progress(share=share, seconds_left=left, picture=picture))


def write_track(path: Path, track: EditedTrack, photo: Photo) -> None:
    """Write a track in the photo's pixels, so that it is laid into the frame as the photo is."""
    joints = np.where(track.joints[..., 2:] > 0, photo.placement.to_source(track.joints), 0)
    height, width = photo.pixels.shape[:2]
    save_track(path, dataclasses.replace(track, joints=joints, height=height, width=width))


def command_line(settings: ClipSettings) -> str:
    """What to type to make the same video: every setting that is not the command line's own default."""
    words = ["python", "inference.py"]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            for each in value if isinstance(value, tuple) else [value]:
                words += [f"--{field.name}", str(each)]
    return shlex.join(words)
