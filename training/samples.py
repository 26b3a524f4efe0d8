"""Videos of fixed held-out clips, sampled while a run goes on."""

from pathlib import Path

import numpy as np
import torch

from data.annotations import Segment
from data.frames import read_frames
from diffusion.pipeline import X2FashionPipeline
from training.tracker import SilentTracker
from utils.contact_sheet import contact_sheet
from utils.image import fit_image, write_png
from utils.video import write_gif, write_video
from warping.joints import load_joints

FPS = 12


def write_samples(
    pipeline: X2FashionPipeline,
    dataset_dir: Path,
    segments: list[Segment],
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    folder: Path,
    tracker: SilentTracker,
    step: int,
) -> None:
    """Sample clips into `folder`: an mp4 and a GIF each, and a contact sheet. TensorBoard gets both.

    Args:
        pipeline: samples with the averaged model.
        dataset_dir: the dataset's folder.
        segments: what to sample; one with fewer frames than the model can make is left out.
        num_frames: frames of a clip; shorter segments have as many as the model can make of them.
        size: height and width in pixels that the model is trained on; frames of another size are fitted.
        seed: of the noise.
        folder: where the files go.
        tracker: gets the GIFs and the sheet.
        step: of the run, for the files' names.
    """
    rows = []
    for segment in segments:
        count = min(segment.end - segment.start, num_frames)
        count -= count % pipeline.denoiser.frame_multiple
        if not count:
            continue
        indices = range(segment.start, segment.start + count)
        poses_dir = dataset_dir / "fashion_poses" / segment.name
        truth = read_frames(dataset_dir / "fashion_crop" / segment.name, indices)
        poses = read_frames(poses_dir, indices)
        joints = load_joints(poses_dir, segment.end)
        height, width = size
        (videos,) = pipeline(
            truth[0],
            poses,
            segment.text,
            joints=None if joints is None else joints[list(indices)],
            generator=torch.Generator().manual_seed(seed),
            height=height,
            width=width,
            return_dict=False,
        )
        frames = (np.asarray(videos[0]) * 255).round().astype(np.uint8)
        path = folder / f"step_{step:08d}_{segment.name}.mp4"
        write_video(path, frames, fps=FPS)
        truth, poses = (np.stack([fit_image(p, *size)[0] for p in pictures]) for pictures in (truth, poses))
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
