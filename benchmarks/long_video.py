"""Measure long videos: peak memory against length, seams between windows, drift from beginning to end.

Try it:

    python -m benchmarks.long_video --lengths 48 240
    python -m benchmarks.long_video                       # 48 and 2,400 frames, some minutes

A clip's poses are played forward and backward until there are enough, so that the same pose comes again in
every period. Each length is made by `generation.video.make_video` in a process of its own. Prints a markdown
table:

- seconds a frame, and the process's peak memory;
- seam: the mean change from a frame to the next (8-bit steps) where two windows meet, and inside the windows,
  of the same pairs of poses; equal numbers mean that no seam can be seen;
- drift: how far the mean colour of each frame of the last second is from that of a frame of the first period
  with the same pose (8-bit steps, mean over the channels), and the mean difference of their pixels.
"""

import dataclasses
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from data.pose_cache import pack_if_many
from generation.inputs import Clip, Inputs, dataset_clips, read_inputs
from generation.loading import load_pipeline
from generation.settings import VideoSettings
from generation.video import make_video
from generation.windows import WindowStore, plan_windows
from training.tracker import peak_memory
from utils.config import run_script
from utils.errors import UserError
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL
from utils.quiet import quiet_libraries
from utils.video import write_video

FPS = 12
"""Of the videos."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the benchmark."""

    lengths: tuple[int, ...] = (48, 2400)
    """Numbers of frames of the videos to make."""
    pretrained_model: Path = SHIPPED_MODEL
    """Folder of the model, or of a denoiser from train.py."""
    dataset: Path = SHIPPED_DATASET
    """Dataset whose first test clip gives the photo and the poses."""
    window_frames: int = 24
    """Frames that are sampled together."""
    window_overlap: int = 8
    """Frames that two neighbouring windows share."""
    num_threads: int | None = None
    """Threads that torch uses; by default its own choice."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What one length gave."""

    num_frames: int
    seconds: float
    peak_bytes: int
    seam: float
    inside: float
    colour_drift: float
    pixel_drift: float


def looped_inputs(config: Config, num_frames: int, height: int, width: int) -> tuple[Clip, Inputs, int]:
    """The first test clip with its poses played forward and backward: clip, inputs, frames of a period."""
    clip = dataset_clips(config.dataset, "test")[0]
    inputs = read_inputs(clip, None, height, width)
    assert inputs.poses is not None and inputs.joints is not None
    count = len(inputs.poses)
    order = np.concatenate([np.arange(count), np.arange(count - 2, 0, -1)])
    repeated = np.resize(order, num_frames)
    poses = pack_if_many(inputs.poses[i] for i in repeated)
    return clip, dataclasses.replace(inputs, poses=poses, joints=inputs.joints[repeated]), len(order)


def measure(config: Config, num_frames: int) -> Row:
    """Make one video; run in a process of its own, whose peak memory is then its own."""
    quiet_libraries()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    settings = VideoSettings(
        pretrained_model=config.pretrained_model,
        window_frames=config.window_frames,
        window_overlap=config.window_overlap,
    )
    pipeline = load_pipeline(settings, torch.device("cpu"))
    clip, inputs, period = looped_inputs(config, num_frames, pipeline.config.height, pipeline.config.width)
    windows = plan_windows(num_frames, config.window_frames, config.window_overlap)
    shared = {f for a, b in itertools.pairwise(windows) for f in range(b.start, a.stop + 1)}
    second = FPS
    changes: dict[tuple[int, bool], list[float]] = {}
    first: dict[int, np.ndarray] = {}
    drifts: list[tuple[float, float]] = []
    started = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        store = WindowStore(Path(folder) / "windows", {})

        def watched() -> Iterator[np.ndarray]:
            previous = None
            frames = make_video(settings, pipeline, clip, inputs, num_frames, store)
            for index, frame in enumerate(frames):
                pixels = frame.astype(np.int16)
                if previous is not None:
                    key = index % period, index in shared
                    changes.setdefault(key, []).append(float(np.abs(pixels - previous).mean()))
                if index < period:
                    first[index] = frame
                if index >= max(period, num_frames - second):
                    same = first[index % period].astype(np.int16)
                    drifts.append(
                        (
                            float(np.abs((pixels - same).mean((0, 1))).mean()),
                            float(np.abs(pixels - same).mean()),
                        )
                    )
                previous = pixels
                yield frame

        write_video(Path(folder) / "video.mp4", watched(), FPS)
    seconds = time.perf_counter() - started
    colour, pixel = np.mean(drifts, axis=0) if drifts else (float("nan"), float("nan"))
    both = [p for p in range(period) if (p, True) in changes and (p, False) in changes]
    means = [[np.mean(changes[place, is_seam]) for is_seam in (True, False)] for place in both]
    seam, inside = np.mean(means, axis=0) if means else (float("nan"), float("nan"))
    return Row(num_frames, seconds, peak_memory(torch.device("cpu")), seam, inside, colour, pixel)


def main(config: Config) -> None:
    """Print the table."""
    if any(length < 2 for length in config.lengths):
        raise UserError(f"--lengths {' '.join(map(str, config.lengths))}: each at least 2")
    titles = (
        "frames",
        "s a frame",
        "peak memory",
        "change where windows meet",
        "inside",
        "colour drift",
        "pixels",
    )
    print(f"| {' | '.join(titles)} |\n|{'--:|' * len(titles)}")
    for length in config.lengths:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (config, length))
        print(
            f"| {row.num_frames} | {row.seconds / row.num_frames:.3f} | {row.peak_bytes / 2**20:.0f} MiB | "
            f"{row.seam:.2f} | {row.inside:.2f} | {row.colour_drift:.2f} | {row.pixel_drift:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    run_script(main, Config, __doc__)
