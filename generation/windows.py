"""Long videos in windows of frames that overlap, so that memory does not grow with their length."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from utils.errors import UserError
from utils.files import atomic_path, read_json, write_json

SETTINGS = "settings.json"


@dataclasses.dataclass(frozen=True)
class Window:
    """Frames `start` up to, not including, `stop`; those from `keep` on come again in the next window."""

    start: int
    stop: int
    keep: int

    @property
    def frames(self) -> list[int]:
        """What is sampled together: every window but the first one begins with the photo, frame 0."""
        return [*([0] if self.start else []), *range(self.start, self.stop)]


def plan_windows(num_frames: int, window_frames: int, overlap: int) -> list[Window]:
    """Cut a video into windows of equal length; the last one lies further back, so that it is as long.

    Args:
        num_frames: number of frames of the video.
        window_frames: frames that are sampled together; the photo takes one of them in all but the first.
        overlap: frames that a window shares with the one before, at least.

    Raises:
        UserError: windows that would not advance.
    """
    if overlap < 0 or overlap > window_frames - 2:
        raise UserError(
            f"an overlap of {overlap} frames does not fit windows of {window_frames}, which hold the photo, "
            f"the overlap and new frames; give --window_overlap at most {window_frames - 2}"
            if window_frames >= 2
            else f"windows of {window_frames} frames are too short; give --window_frames 2 or more"
        )
    if num_frames <= window_frames:
        return [Window(0, num_frames, num_frames)]
    ends = [(0, window_frames)]
    while ends[-1][1] < num_frames:
        stop = min(num_frames, ends[-1][1] - overlap + window_frames - 1)
        ends.append((stop - (window_frames - 1), stop))
    starts = [start for start, _ in ends[1:]] + [num_frames]
    return [Window(start, stop, later) for (start, stop), later in zip(ends, starts, strict=True)]


def crossfade(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """Go over from one window's latents (b, c, f, h, w) to the next one's of the same frames."""
    num_frames = earlier.shape[2]
    share = torch.arange(1, num_frames + 1, device=earlier.device) / (num_frames + 1)
    return torch.lerp(earlier, later, share[:, None, None].to(earlier.dtype))


class WindowStore:
    """Latents of the windows that are done, on disk: a video that was stopped goes on with the next one.

    Args:
        folder: to keep them in; what another video left there is removed.
        settings: everything that the latents depend on; JSON can hold it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        settings = json.loads(json.dumps(settings))  # as read back: tuples are lists there
        try:
            known = read_json(folder / SETTINGS)
        except UserError:
            known = None
        if known != settings:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / SETTINGS, settings)

    @property
    def num_done(self) -> int:
        """Windows that are kept."""
        return len(list(self.folder.glob("window_*.safetensors")))

    def load(self, index: int) -> torch.Tensor | None:
        """Latents of a window, or None where it is not done (or its file is damaged)."""
        try:
            return load_file(self._path(index))["latents"]
        except (OSError, SafetensorError, KeyError):
            return None

    def save(self, index: int, latents: torch.Tensor) -> None:
        """Keep the latents of a window."""
        with atomic_path(self._path(index)) as temporary:
            save_file({"latents": latents.cpu().contiguous()}, temporary)

    def remove(self) -> None:
        """Forget everything: the video is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"window_{index:05d}.safetensors"
