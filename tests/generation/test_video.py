"""One video, made by its settings."""

from collections.abc import Callable
from pathlib import Path

import torch

from diffusion.pipeline import X2FashionPipeline
from generation.inputs import Clip, Inputs
from generation.settings import VideoSettings
from generation.video import make_video
from tests.toys import SENTENCES, figure_clip

FRAMES, POSES, JOINTS = figure_clip(4)


def test_the_caller_works_on_a_frame_in_its_own_precision(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
) -> None:
    clip = Clip(name="figure", image=Path("photo.png"), poses=None, prompt=SENTENCES[0])
    inputs = Inputs(photo=FRAMES[0], poses=POSES, joints=JOINTS, image_joints=None)
    settings = VideoSettings(dtype="bfloat16", num_inference_steps=1)
    frames = make_video(settings, make_tiny_pipeline(), clip, inputs, 4)
    for frame in frames:
        assert frame.shape == FRAMES[0].shape
        assert not torch.is_autocast_enabled("cpu")
