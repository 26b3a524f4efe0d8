"""What one visitor has on the page: photo, motion and videos."""

import dataclasses
import filecmp
import itertools
import shutil
import threading
from pathlib import Path

import numpy as np

from generation.own_clip import ClipSettings
from generation.photo import Photo
from generation.track_editing import EditedTrack, TrackEditor, save_track
from utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A video that was made.

    Attributes:
        video: the mp4.
        gif: the same as a GIF.
        command: what makes the same bytes in a terminal.
        num_frames: that it has.
        is_whole: it was not stopped.
        goes_on: it was stopped, and goes on from there when the same video is made again.
        seconds: that it took.
        first_frame_seconds: until its first frame.
        title: to tell it from others.
    """

    video: Path
    gif: Path
    command: str
    num_frames: int
    is_whole: bool
    goes_on: bool
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
        editor: of its track.
        results: videos that were made, the oldest first.
        stop: set to stop the video in the making.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photo: Photo | None = None
        self.further: Path | None = None
        self.settings: ClipSettings | None = None
        self.editor: TrackEditor | None = None
        self.results: list[Result] = []
        self.stop = threading.Event()

    def keep(self, upload: str | Path) -> Path:
        """Copy an upload to where the command line finds it later; it replaces no other one of its name."""
        source = Path(upload)
        for number in itertools.count(1):
            path = self.folder / "uploads" / str(number) / source.name
            try:
                path.parent.mkdir(parents=True)
            except FileExistsError:
                if path.is_file() and filecmp.cmp(path, source, shallow=False):
                    return path
            else:
                shutil.copyfile(source, path)
                return path
        raise AssertionError

    def forget_photo(self) -> None:
        """Put the photos away, and the motion with them; the videos stay."""
        self.photo = self.further = self.settings = self.editor = None

    @property
    def images(self) -> tuple[Path, ...]:
        """The photos of her, the first one first."""
        photos = (None if self.photo is None else self.photo.path, self.further)
        return tuple(path for path in photos if path is not None)

    @property
    def track(self) -> EditedTrack:
        """The motion as it is shown.

        Raises:
            UserError: there is none yet.
        """
        return self.editable.track

    @property
    def editable(self) -> TrackEditor:
        """The motion, to change it.

        Raises:
            UserError: there is none yet.
        """
        if self.editor is None:
            raise UserError("there is no motion yet; say what she does, or give poses")
        return self.editor


def write_track(path: Path, track: EditedTrack, photo: Photo) -> None:
    """Write a track in the photo's pixels, so that it is laid into the frame as the photo is."""
    joints = np.where(track.joints[..., 2:] > 0, photo.placement.to_source(track.joints), 0)
    height, width = photo.pixels.shape[:2]
    save_track(path, dataclasses.replace(track, joints=joints, height=height, width=width))
