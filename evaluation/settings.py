"""The settings of whatever makes videos, or takes them as they are, and measures them."""

import dataclasses
from pathlib import Path
from typing import Literal

from generation.settings import VideoSettings
from utils.errors import UserError
from utils.paths import SHIPPED_DATASET

FOLDERS = {
    "poses": "videos",
    "text": "videos_text_only",
    "conflict": "videos_conflict",
}
"""Condition -> where its videos go."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(VideoSettings):
    """What is measured, and with what."""

    dataset: Path = SHIPPED_DATASET
    """Dataset with the true frames; masks, joints and labels are used where it has them."""
    split: Literal["train", "test"] = "test"
    """Split of the dataset whose clips are measured."""
    num_frames: int = 24
    """Frames of a clip in protocol x2fashion, at least 3. Shorter segments are taken whole."""
    output_dir: Path = Path("evaluation_result")
    """Folder for the tables, contact sheets and videos."""

    videos: Path | None = None
    """Folder of videos to measure: NAME.mp4 or NAME/000.png. By default --pretrained_model makes them."""
    videos_text_only: Path | None = None
    """Folder of videos that were made from the photo and the sentence, without poses."""
    videos_conflict: Path | None = None
    """Folder of videos that were made with another clip's sentence (wrong_clip in metrics.json)."""
    conditions: tuple[Literal["poses", "text", "conflict"], ...] = ("poses", "text", "conflict")
    """What to make videos from: the poses and the sentence (poses), the sentence alone (text), or the poses
    and another clip's sentence (conflict)."""
    back_photo: bool = False
    """Give the frame that shows most of her back as a second photo, in clips that have one. It is left out
    where frames are compared with the truth."""

    estimated_joints: Path | None = None
    """Folder of joints that your own estimator found in the videos: NAME.json, or skeletons NAME/000.png, in
    the form of fashion_poses."""
    lpips_weights: Path | None = None
    """TorchScript file for LPIPS: takes two pictures (n, 3, H, W) in [-1, 1], gives n distances."""
    inception_weights: Path | None = None
    """TorchScript file for FID: takes uint8 pictures (n, 3, H, W), gives features."""
    i3d_weights: Path | None = None
    """TorchScript file for FVD: takes videos (n, 3, F, 224, 224) in [-1, 1], gives features."""
    clip_model: Path | None = None
    """Folder of a CLIP model with its tokenizer, for the CLIP score."""


def check_evaluation_settings(settings: EvaluationSettings) -> None:
    """Refuse settings that cannot be right, before anything is loaded.

    Raises:
        UserError: a number out of its range.
    """
    if settings.num_frames < 3:
        raise UserError(
            f"--num_frames {settings.num_frames} is too few; flicker takes 3 frames, a clip usually has 24"
        )
    if (settings.height is None) != (settings.width is None):
        raise UserError("--height and --width go together; give both or none")
