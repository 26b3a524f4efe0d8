"""Measure the forms that skeleton pictures can be kept in beside the latents: bytes, and time to read a clip.

Try it, on the sample, then on a dataset:

    python -m benchmarks.pose_cache
    python -m benchmarks.pose_cache --dataset DATA --max_videos 64

Prints a markdown table. Each form is written to a temporary folder, and a clip of each video is read back,
from the opening of its file to a float32 tensor in [-1, 1]; the forms take turns, so that what else the
machine does slows all of them. Files are in the page cache, and one thread decodes. Lossless forms give back
all frames equal.
"""

import dataclasses
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from data.frames import count_frames, frame_paths, read_frames, read_pictures
from data.pose_cache import decode_picture, encode_picture, pack_pictures, to_tensor
from utils.config import run_script
from utils.errors import UserError
from utils.pose_drawing import NUM_JOINTS, draw_pose
from warping.joints import load_joints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    dataset: Path = Path("fashion_dataset")
    """Dataset folder: fashion_poses is read."""
    max_videos: int = 16
    """Measure the first so many videos."""
    num_frames: int = 24
    """Consecutive frames of a clip; shorter videos are left out."""
    repeats: int = 7
    """How often each clip is read in each form; the median counts."""


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of pictures one after the other in a tensor of bytes."""

    encode: Callable[[np.ndarray, np.ndarray], bytes]
    """A picture (H, W, 3) uint8 and its joints (18, 3) to bytes."""
    decode: Callable[[np.ndarray, tuple[int, ...]], np.ndarray | None]
    """Bytes (n,) uint8 and the picture's shape to the picture."""


def zlib_form(level: int) -> Form:
    """Each picture's raw bytes, deflated."""
    return Form(
        lambda picture, _: zlib.compress(picture.tobytes(), level),
        lambda data, shape: np.frombuffer(zlib.decompress(data.data), np.uint8).reshape(shape),
    )


def encode_png(picture: np.ndarray, _: np.ndarray) -> bytes:
    """PNG at the highest compression."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert encoded
    return data.tobytes()


def encode_sparse(picture: np.ndarray, _: np.ndarray) -> bytes:
    """How many pixels are not black, where they are, and their colours."""
    colors = picture.reshape(-1, 3)
    places = np.flatnonzero(colors.any(axis=1)).astype(np.uint32)
    return struct.pack("I", len(places)) + places.tobytes() + colors[places].tobytes()


def decode_sparse(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo `encode_sparse`."""
    raw = data.tobytes()
    (number,) = struct.unpack_from("I", raw)
    picture = np.zeros((shape[0] * shape[1], 3), np.uint8)
    places = np.frombuffer(raw, np.uint32, number, 4)
    picture[places] = np.frombuffer(raw, np.uint8, 3 * number, 4 + 4 * number).reshape(-1, 3)
    return picture.reshape(shape)


def redraw(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a skeleton anew from the bytes of its joints."""
    joints = np.frombuffer(data.tobytes(), np.float32).reshape(NUM_JOINTS, 3)
    return draw_pose(joints, shape[0], shape[1])


FORMS = {
    "raw uint8": Form(lambda picture, _: picture.tobytes(), lambda data, shape: data.reshape(shape)),
    "zlib level 1": zlib_form(1),
    "zlib level 6": zlib_form(6),
    "PNG in one tensor": Form(encode_png, lambda data, _: decode_picture(data)),
    "lossless WebP in one tensor": Form(
        lambda picture, _: encode_picture(picture), lambda data, _: decode_picture(data)
    ),
    "pixels that are not black": Form(encode_sparse, decode_sparse),
    "redrawn from the joints": Form(lambda _, joints: joints.tobytes(), redraw),
}
FILES = "PNG files"


def write_form(path: Path, form: Form, pictures: np.ndarray, joints: np.ndarray) -> None:
    """Write a video's poses (f, H, W, 3), joints (f, 18, 3), as safetensors."""
    data, offsets = pack_pictures([form.encode(*frame) for frame in zip(pictures, joints, strict=True)])
    save_file({"pose_bytes": data, "pose_offsets": offsets}, path)


def read_form(path: Path, form: Form, shape: tuple[int, ...], num_frames: int) -> torch.Tensor:
    """The first `num_frames` poses (n, 3, H, W) float32 in [-1, 1] of a file of `write_form`."""
    with safe_open(path, "pt") as file:
        offsets = file.get_slice("pose_offsets")[: num_frames + 1].tolist()
        data = file.get_slice("pose_bytes")[: offsets[-1]].numpy()
        pictures = [form.decode(data[offsets[i] : offsets[i + 1]], shape) for i in range(num_frames)]
    return to_tensor([picture for picture in pictures if picture is not None])


@dataclasses.dataclass
class Measured:
    """What one form takes, over all videos."""

    num_bytes: int = 0
    equal: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)


def measure_video(poses_dir: Path, folder: Path, config: Config, measured: dict[str, Measured]) -> int:
    """Add one video to `measured`; how many frames it has."""
    paths = frame_paths(poses_dir)
    pictures, joints = read_pictures(paths), load_joints(poses_dir, len(paths))
    if joints is None:
        joints = np.zeros((len(paths), NUM_JOINTS, 3), np.float32)
    readers: dict[str, Callable[[int], torch.Tensor]] = {
        FILES: lambda number: to_tensor(read_frames(poses_dir, range(number)))
    }
    measured[FILES].num_bytes += sum(path.stat().st_size for path in paths)
    for name, form in FORMS.items():
        path = folder / f"{name}.safetensors"
        write_form(path, form, pictures, joints)
        measured[name].num_bytes += path.stat().st_size
        readers[name] = (
            lambda number, path=path, form=form: read_form(  # type: ignore[misc]
                path, form, pictures.shape[1:], number
            )
        )
    truth = to_tensor(pictures)
    for name, read in readers.items():
        measured[name].equal += sum(map(torch.equal, read(len(paths)), truth))
    for _ in range(config.repeats):
        for name, read in readers.items():
            started = time.perf_counter()
            read(config.num_frames)
            measured[name].seconds.append(time.perf_counter() - started)
    return len(paths)


def list_videos(config: Config) -> list[Path]:
    """The folders of poses to measure; UserError if there are none."""
    folder = config.dataset / "fashion_poses"
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    long_enough = [path for path in folders if count_frames(path) >= config.num_frames]
    if not long_enough:
        raise UserError(
            f"{folder} holds no video of {config.num_frames} poses; give a --dataset that has such, or a "
            "smaller --num_frames"
        )
    return long_enough[: config.max_videos]


def table(measured: dict[str, Measured], num_total: int, num_frames: int) -> Sequence[str]:
    """Lines of a markdown table, a form each."""
    lines = [f"| form | bytes a frame | ms for {num_frames} frames | frames equal |", "|---|--:|--:|--:|"]
    for name, form in measured.items():
        milliseconds = 1000 * statistics.median(form.seconds)
        num_bytes, equal = form.num_bytes / num_total, form.equal / num_total
        lines.append(f"| {name} | {num_bytes:.0f} | {milliseconds:.1f} | {equal:.1%} |")
    return lines


def main(config: Config) -> None:
    """Print the table of one dataset."""
    if min(config.max_videos, config.num_frames, config.repeats) < 1:
        raise UserError("--max_videos, --num_frames and --repeats must be at least 1")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measured = {name: Measured() for name in (FILES, *FORMS)}
    num_total = 0
    videos = list_videos(config)
    with tempfile.TemporaryDirectory() as folder:
        for poses_dir in videos:
            num_total += measure_video(poses_dir, Path(folder), config, measured)
    print(f"{len(videos)} videos, {num_total} frames\n")
    print("\n".join(table(measured, num_total, config.num_frames)))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
