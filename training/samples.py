"""Videos of fixed held-out clips, sampled while a run goes on."""

from pathlib import Path

import numpy as np
import torch

from data.annotations import Segment
from data.frames import read_frames
from diffusion.pipeline import X2FashionPipeline
from training.tracker import SilentTracker
from utils.contact_sheet import contact_sheet
from utils.image import write_png
from utils.video import write_gif, write_video
from warping.joints import load_joints

FPS = 12


def write_samples(
    pipeline: X2FashionPipeline,
    dataset_dir: Path,
    segments: list[Segment],
    num_frames: int,
    seed: int,
    folder: Path,
    tracker: SilentTracker,
    step: int,
) -> None:
    """Sample clips into `folder`: an mp4 and a GIF each, and a contact sheet. TensorBoard gets both."""
    rows = []
    for segment in segments:
        indices = range(segment.start, min(segment.end, segment.start + num_frames))
        poses_dir = dataset_dir / "fashion_poses" / segment.name
        truth = read_frames(dataset_dir / "fashion_crop" / segment.name, indices)
        poses = read_frames(poses_dir, indices)
        joints = load_joints(poses_dir, segment.end)
        (videos,) = pipeline(
            truth[0],
            poses,
            segment.text,
            joints=None if joints is None else joints[list(indices)],
            generator=torch.Generator().manual_seed(seed),
            return_dict=False,
        )
        frames = (np.asarray(videos[0]) * 255).round().astype(np.uint8)
        path = folder / f"step_{step:08d}_{segment.name}.mp4"
        write_video(path, frames, fps=FPS)
        beside = np.concatenate([frames, truth], axis=2)
        write_gif(path.with_suffix(".gif"), list(beside), fps=FPS)
        gif = path.with_suffix(".gif").read_bytes()
        tracker.add_gif(f"samples/{segment.name}_beside_the_truth", gif, beside.shape[1:3], step)
        shown = np.linspace(0, len(frames) - 1, 8).astype(int)
        rows += [
            (segment.text, list(frames[shown])),
            ("true frames", list(truth[shown])),
            ("poses", list(poses[shown])),
        ]
    if rows:
        sheet = contact_sheet(rows)
        write_png(folder / f"step_{step:08d}.png", sheet)
        tracker.add_picture("samples/sheet", sheet, step)
