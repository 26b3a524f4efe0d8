"""One video in the making: how far it is, and what is kept when it is stopped."""

import dataclasses
import queue
import shlex
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from diffusion.denoising import StepCallback
from diffusion.guidance import guidance_branches
from diffusion.pipeline import X2FashionPipeline
from generation.backdrop import Backdrop
from generation.inputs import Clip, Inputs
from generation.own_clip import ClipSettings, fps_of
from generation.resuming import window_store
from generation.video import choose_sampling, frames_to_sample, make_video
from generation.windows import plan_windows
from page.visit import Result, Visit
from utils.config import settings_as_json
from utils.contact_sheet import thumbnail
from utils.errors import UserError
from utils.files import write_json
from utils.image import to_uint8
from utils.video import write_gif, write_video

GIF_HEIGHT, GIF_FRAMES, GIF_FPS = 384, 240, 50
DECODING_UNITS = 2
"""Predictions that take as long as the rest of a frame's way, about."""


class StoppedError(Exception):
    """The visitor stopped the video."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a video is: from 0 to 1, the seconds that are left, and a picture of how it looks by now."""

    share: float
    seconds_left: float
    picture: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What a video takes, in units of one prediction of one frame.

    Attributes:
        step: units of a denoising step of a window.
        num_steps: steps of all windows.
        num_frames: of the video.
    """

    step: int
    num_steps: int
    num_frames: int

    @classmethod
    def of(
        cls,
        settings: ClipSettings,
        pipeline: X2FashionPipeline,
        num_frames: int,
        inputs: Inputs | None = None,
    ) -> "Work":
        """The work of a video of which nothing is done yet."""
        sampling = choose_sampling(settings, pipeline)
        sampled, window_frames = num_frames, settings.window_frames
        if inputs is not None:
            sampled, window_frames = frames_to_sample(settings, pipeline, inputs, num_frames)
        windows = plan_windows(sampled, window_frames, settings.window_overlap)
        predictions = len(guidance_branches(*sampling.guidance_scales))
        return cls(
            step=len(windows[0].frames) * predictions,
            num_steps=len(windows) * sampling.num_inference_steps,
            num_frames=num_frames,
        )

    @property
    def units(self) -> int:
        """All of it."""
        return self.step * self.num_steps + DECODING_UNITS * self.num_frames


class Making:
    """One video in the making, in a thread of its own.

    Args:
        pipeline: samples as the settings say.
        settings: of the video.
        clip: its name and sentences.
        inputs: photos, poses, joints.
        visit: whose video it is.
        news: gets what is to be told: progress, and at last the result or an error.
        seconds_between_news: at least, between two that tell of progress.

    Attributes:
        done: units of work that are done.
    """

    def __init__(
        self,
        pipeline: X2FashionPipeline,
        settings: ClipSettings,
        clip: Clip,
        inputs: Inputs,
        visit: Visit,
        news: "queue.Queue[Progress | Result | BaseException]",
        seconds_between_news: float,
    ) -> None:
        assert inputs.poses is not None
        self.pipeline, self.settings, self.clip, self.inputs = pipeline, settings, clip, inputs
        self.visit, self.news, self.seconds_between_news = visit, news, seconds_between_news
        self.count = len(inputs.poses)
        store = visit.folder / ".windows"
        self.store = window_store(store, settings, pipeline, clip, inputs, self.count)
        self.work = Work.of(settings, pipeline, self.count, inputs)
        if self.store is not None:
            steps = self.store.num_done * choose_sampling(settings, pipeline).num_inference_steps
            self.work = dataclasses.replace(self.work, num_steps=self.work.num_steps - steps)
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
        path = self.visit.folder / f"{number:03d}" / f"{self.clip.name}.mp4"
        fps = fps_of(self.settings, self.inputs)
        try:
            write_video(path, self._frames(), fps)
        except UserError as error:
            if self.visit.stop.is_set() and not self.small:
                kept = "what was done is kept for the next time" if self._goes_on else "nothing was kept"
                raise UserError(f"stopped before the first frame was done; {kept}") from error
            raise
        gif = path.with_suffix(".gif")
        write_gif(gif, self.small[:GIF_FRAMES], min(fps, GIF_FPS))
        made = {"frames_made": len(self.small)}
        write_json(path.with_suffix(".json"), settings_as_json(self.settings) | made)
        result = Result(
            video=path,
            gif=gif,
            command=command_line(self.settings),
            num_frames=len(self.small),
            is_whole=len(self.small) == self.count,
            goes_on=self._goes_on,
            seconds=time.monotonic() - self.begin,
            first_frame_seconds=self.first - self.begin,
            title=f"{number}: {self.clip.prompt or 'poses'} (seed {self.settings.seed})",
        )
        if result.is_whole and self.store is not None:
            self.store.remove()
        self.visit.results.append(result)
        return result

    @property
    def _goes_on(self) -> bool:
        """Whether the same video, asked for again, goes on from windows that are kept."""
        return len(self.small) < self.count and self.store is not None and self.store.num_done > 0

    def _frames(self) -> Iterator[np.ndarray]:
        """Frames until the video ends or is stopped."""
        original, joints = self.inputs.original, self.inputs.joints
        backdrop = Backdrop(original) if self.settings.frame == "photo" and original is not None else None
        callback = StepCallback(self._after_step, ("latents", "prediction"))
        frames = make_video(
            self.settings, self.pipeline, self.clip, self.inputs, self.count, self.store, callback
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
                self._tell(DECODING_UNITS, self.small[-1])
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
        self._tell(self.work.step, to_uint8(pipeline.decode(middle, None, 1)[0, :, 0]))
        return {}

    def _tell(self, units: int, picture: np.ndarray) -> None:
        self.done += units
        share = min(1.0, self.done / self.work.units)
        now = time.monotonic()
        if share < 1 and now - self.told < self.seconds_between_news:
            return
        self.told = now
        passed = now - self.begin
        self.news.put(Progress(share=share, seconds_left=passed / share - passed, picture=picture))


def command_line(settings: ClipSettings) -> str:
    """What to type to make the same video: every setting that is not the command line's own default."""
    words = ["python", "inference.py"]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            for each in value if isinstance(value, tuple) else [value]:
                words += [f"--{field.name}", str(each)]
    return shlex.join(words)
