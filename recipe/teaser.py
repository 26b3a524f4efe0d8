"""Put videos of inference.py side by side as the moving picture at the top of the README.

Try it, after python inference.py:

    python -m recipe.teaser
    python -m recipe.teaser --results result --output docs/teaser.gif --num_clips 4
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from data.frames import read_poses
from utils.config import check_minimum, run_script
from utils.errors import UserError
from utils.files import read_json
from utils.image import fit_image, read_image
from utils.paths import refuse_overwrites
from utils.video import read_video, write_gif


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the teaser."""

    results: Path = Path("result")
    """Folder that inference.py wrote, with NAME.mp4 and NAME.json."""
    output: Path = Path("runs/teaser.gif")
    """Picture to write. An existing file is replaced."""
    num_clips: int = 5
    """Number of clips to show, the first ones by name."""
    height: int = 256
    """Height in pixels that each video is shown at."""
    fps: float = 10
    """Frames a second of the picture."""


def main(config: Config) -> None:
    """For each clip, the photo, the poses and the video side by side."""
    check_minimum(config, 16, "height")
    refuse_overwrites([config.output], [path for path in config.results.glob("*") if path.is_file()])
    columns = []
    for path in sorted(config.results.glob("*.mp4"))[: config.num_clips]:
        settings = read_json(path.with_suffix(".json"))
        if settings.get("poses") is None:
            raise UserError(f"{path} was made from a sentence; the teaser shows clips that have poses")
        video, _ = read_video(path)
        size = video.shape[1:3]
        photo = fit_image(read_image(settings["image"]), *size)[0]
        start = settings["start"]
        poses = read_poses(Path(settings["poses"]), start + len(video))[start:]
        poses = np.stack([fit_image(pose, *size)[0] for pose in poses])
        column = np.concatenate([np.broadcast_to(photo, video.shape), poses, video], axis=2)
        width = round(column.shape[2] * config.height / column.shape[1])
        size = width, config.height
        columns.append(np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in column]))
    if not columns:
        raise UserError(f"{config.results} has no videos; run python inference.py first")
    num_frames = min(len(column) for column in columns)
    write_gif(config.output, list(np.concatenate([c[:num_frames] for c in columns], axis=2)), config.fps)
    print(f"{config.output}: {config.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
