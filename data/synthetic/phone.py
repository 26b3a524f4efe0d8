"""Rendered clips as a phone would have filmed them: larger, noisy, turned, at an uneven rate, compressed.

python -m data.synthetic.phone --dataset fashion_dataset --output_dir my_videos
"""

import dataclasses
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from data.annotations import load_annotations
from data.frames import read_frames
from utils.config import run_script
from utils.image import Placement, place_image
from utils.paths import SHIPPED_DATASET

NOISE = 2.5
"""Standard deviation in 8-bit steps."""
UNEVEN_S = 0.006
"""How far the times of frames lie from an even rate, at most."""
CLOCK = 90_000
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Degrees clockwise by which a player turns the picture -> a, b, c, d of the track's display matrix."""


@dataclasses.dataclass(frozen=True)
class Phone:
    """A way to film.

    Attributes:
        height: of the upright video in pixels.
        width: of the upright video in pixels.
        share: of the height, that a rendered clip takes.
        left: of the width that is left over, what lies to the left of the clip.
        top: of the height that is left over, what lies above it.
        repeats: how many frames the video has for one of the clip.
        rotation: degrees clockwise by which a player has to turn the stored picture.
        crf: of H.264, above 18 for visible losses.
    """

    height: int
    width: int
    share: float = 0.9
    left: float = 0.5
    top: float = 0.5
    repeats: int = 3
    rotation: int = 0
    crf: int = 26


PHONES = (
    Phone(1280, 720, repeats=3, rotation=90),
    Phone(720, 1280, share=0.85, left=0.35),
    Phone(960, 540, share=0.95, repeats=2, crf=30),
    Phone(640, 480, share=0.95, left=0.6, repeats=1),
    Phone(1024, 768, share=0.7, left=0.7, top=0.9, rotation=270),
)


def film(path: Path, frames: Sequence[np.ndarray], fps: float, phone: Phone, seed: int = 0) -> Placement:
    """Write a clip as an H.264 video.

    Args:
        path: ends in .mp4 or .mov.
        frames: (H, W, 3) uint8 RGB.
        fps: frames per second of the clip.
        phone: that films.
        seed: of noise and times.

    Returns:
        Where the clip lies in the upright video.
    """
    rng = np.random.default_rng(seed)
    source = frames[0].shape[:2]
    height = round(phone.share * phone.height)
    width = round(height * source[1] / source[0])
    left, top = round((phone.width - width) * phone.left), round((phone.height - height) * phone.top)
    place = Placement(height / source[0], left, top, height, width, *source)
    stored = (phone.height, phone.width)[:: -1 if phone.rotation in (90, 270) else 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps * phone.repeats).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = *stored, "yuv420p"
        stream.options = {"crf": str(phone.crf), "preset": "veryfast", "x264-params": "cpu-independent=1"}
        stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(p for p in frames for _ in range(phone.repeats)):
            upright = place_image(picture, place, phone.height, phone.width)
            noisy = upright + rng.normal(0, NOISE, upright.shape[:2])[..., None]
            turned = np.rot90(np.clip(noisy, 0, 255).astype(np.uint8), phone.rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), format="rgb24")
            seconds = number / (fps * phone.repeats) + rng.uniform(0, UNEVEN_S)
            frame.pts, frame.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    _turn(path, phone.rotation)
    return place


def _turn(path: Path, rotation: int) -> None:
    """Write the display matrix into the track's header (ISO 14496-12, `tkhd`)."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    start = header + (52 if content[header] else 40)
    a, b, c, d = (value << 16 for value in MATRICES[rotation])
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is filmed."""

    dataset: Path = SHIPPED_DATASET
    """Of rendered clips."""
    split: Literal["train", "test"] = "test"
    """Whose clips."""
    output_dir: Path
    """Where the videos go; each is filmed in one of five ways in turn."""
    fps: float = 10.0
    """Frames per second of the clips."""


def main(config: Config) -> None:
    """Film all clips of a split."""
    names = sorted({segment.name for segment in load_annotations(config.dataset, config.split)})
    for number, name in enumerate(names):
        frames = read_frames(config.dataset / "fashion_crop" / name)
        phone = PHONES[number % len(PHONES)]
        film(config.output_dir / f"{name}.mp4", list(frames), config.fps, phone, number)
    print(f"{len(names)} videos in {config.output_dir}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
