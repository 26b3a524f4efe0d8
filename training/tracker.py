"""What the main process writes down while a run goes on: a progress bar, a log of losses, tensorboardX."""

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary
from tqdm import tqdm

from training.settings import RunSettings
from utils.distributed import World
from utils.files import write_text
from utils.peak_memory import peak_main_memory

LOG_NAME = "losses.jsonl"


@dataclasses.dataclass(frozen=True)
class StepLog:
    """Figures of one optimisation step, over all processes."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    loss_by_timestep: tuple[float, ...]
    """Mean loss of each equal range of timesteps, from clean to noisy; NaN where none was drawn."""
    num_frames: int
    """Of all clips together."""


class SilentTracker:
    """Takes what a `Tracker` takes and tells nobody: for all processes but the main one."""

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for data."""
        yield

    def add_step(self, figures: StepLog) -> None:
        """Note a step."""

    def add_validation(self, step: int, loss: float) -> None:
        """Note the loss on held-out clips."""

    def add_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Show a picture (H, W, 3) uint8 RGB."""

    def add_gif(self, tag: str, gif: bytes, size: tuple[int, int], step: int) -> None:
        """Show a moving picture of `size` (height, width)."""

    def resume_clock(self) -> None:
        """Leave out of the rates what was not training."""

    def sync(self) -> None:
        """Bring the log to the disk: a checkpoint must not be ahead of it."""

    def close(self) -> None:
        """End the bar and the files."""


class Tracker(SilentTracker):
    """Tells how a run goes.

    `losses.jsonl` has a line for every step. A run that goes on from a checkpoint drops the lines after it
    first, so the file is that of a run which was never stopped. Times and rates go to tensorboardX alone.

    Args:
        output_dir: gets losses.jsonl and video_progress/.
        step: where the run begins or goes on.
        max_steps: number of steps of the run.
        log_steps: steps between two points of a curve.
        device: whose memory to watch.
    """

    def __init__(
        self,
        output_dir: Path,
        step: int,
        max_steps: int,
        log_steps: int,
        device: torch.device,
    ) -> None:
        self.log_steps, self.device = log_steps, device
        _drop_lines_after(output_dir / LOG_NAME, step)
        self.log = (output_dir / LOG_NAME).open("a", encoding="utf-8")
        self.writer = SummaryWriter(str(output_dir / "video_progress"), purge_step=step + 1 if step else None)
        self.bar = tqdm(total=max_steps, initial=step, desc="train", unit="step", dynamic_ncols=True)
        self.window: list[StepLog] = []
        self.started, self.waited = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for data: its share of the time is told."""
        started = time.perf_counter()
        yield
        self.waited += time.perf_counter() - started

    def add_step(self, figures: StepLog) -> None:
        """Note a step: a line in the log, now and then a point of the curves."""
        line = {
            "step": figures.step,
            "loss": figures.loss,
            "grad_norm": figures.grad_norm,
            "learning_rate": figures.learning_rate,
        }
        self.log.write(json.dumps(line) + "\n")
        self.window.append(figures)
        self.bar.update()
        if figures.step % self.log_steps == 0:
            self._add_point(figures.step)

    def _add_point(self, step: int) -> None:
        seconds = time.perf_counter() - self.started
        loss = float(np.mean([figures.loss for figures in self.window]))
        rate = sum(figures.num_frames for figures in self.window) / seconds
        scalars = {
            "loss": loss,
            "grad_norm": self.window[-1].grad_norm,
            "learning_rate": self.window[-1].learning_rate,
            "throughput/frames_per_s": rate,
            "throughput/share_of_time_waiting_for_data": self.waited / seconds,
            "memory/peak_gib": peak_memory(self.device) / 2**30,
        }
        by_timestep = np.array([figures.loss_by_timestep for figures in self.window])
        for i, losses in enumerate(by_timestep.T):
            if not np.isnan(losses).all():
                scalars[f"loss_by_timestep/{i + 1}_of_{by_timestep.shape[1]}"] = float(np.nanmean(losses))
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)
        self.bar.set_postfix(loss=f"{loss:.4f}", frames_per_s=f"{rate:.1f}")
        self.sync()
        self.resume_clock()

    def add_validation(self, step: int, loss: float) -> None:
        """Note the loss on held-out clips."""
        self.log.write(json.dumps({"step": step, "validation_loss": loss}) + "\n")
        self.writer.add_scalar("validation_loss", loss, step)
        self.bar.write(f"step {step}: validation loss {loss:.5f}", file=sys.stderr)

    def add_picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Show a picture (H, W, 3) uint8 RGB."""
        self.writer.add_image(tag, picture, step, dataformats="HWC")

    def add_gif(self, tag: str, gif: bytes, size: tuple[int, int], step: int) -> None:
        """Show a moving picture of `size` (height, width): TensorBoard plays GIFs among its images."""
        image = Summary.Image(height=size[0], width=size[1], colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        self.writer.file_writer.add_summary(summary, step)

    def resume_clock(self) -> None:
        """Leave out of the rates what was not training."""
        self.window, self.started, self.waited = [], time.perf_counter(), 0.0

    def sync(self) -> None:
        """Bring the log to the disk: a checkpoint must not be ahead of it."""
        self.log.flush()
        os.fsync(self.log.fileno())
        self.writer.flush()

    def close(self) -> None:
        """End the bar and the files."""
        self.bar.close()
        self.writer.close()
        self.log.close()


@contextlib.contextmanager
def open_tracker(config: RunSettings, step: int, world: World) -> Iterator[SilentTracker]:
    """A run's tracker from a step on, closed at the end; outside the main process it is silent."""
    if not world.is_main:
        yield SilentTracker()
        return
    tracker = Tracker(config.output_dir, step, config.max_train_steps, config.log_steps, world.device)
    try:
        yield tracker
    finally:
        tracker.close()


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held: on the GPU, or else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_main_memory()


def _drop_lines_after(path: Path, step: int) -> None:
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):  # the last line of a killed run may be half a line
            continue
    write_text(path, "".join(line + "\n" for line in kept))
