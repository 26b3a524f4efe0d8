"""One video, made by its settings."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion.pipeline import X2FashionPipeline
from generation.inputs import Clip, Inputs
from generation.settings import VideoSettings
from generation.video import begins_elsewhere, make_video
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


@pytest.mark.parametrize("window_frames", [24, 4])
def test_a_first_pose_that_is_not_the_photos_is_made_like_any_other(
    make_tiny_pipeline: Callable[..., X2FashionPipeline], window_frames: int
) -> None:
    """The photo's own pose goes before it, and is left out: frame 0 is then no copy of the photo."""
    clip = Clip(name="figure", image=Path("photo.png"), poses=None, prompt=SENTENCES[0])
    settings = VideoSettings(
        num_inference_steps=1, window_frames=window_frames, window_overlap=1, dtype="float32"
    )
    pipeline = make_tiny_pipeline()
    _, poses, joints = figure_clip(6)
    moved = joints[:, :, :] + np.array((6, 0, 0), np.float32)
    inputs = Inputs(photo=FRAMES[0], poses=poses, joints=moved, image_joints=joints[0])
    frames = np.stack(list(make_video(settings, pipeline, clip, inputs, 6)))
    assert frames.shape == (6, *FRAMES[0].shape)
    whole = Inputs(
        photo=FRAMES[0],
        poses=np.concatenate([poses[:1], poses]),
        joints=np.concatenate([joints[:1], moved]),
        image_joints=joints[0],
    )
    expected = np.stack(list(make_video(settings, pipeline, clip, whole, 7)))
    assert np.array_equal(frames, expected[1:])
    near = dataclasses.replace(inputs, joints=joints + np.array((1, 1, 0), np.float32))
    assert begins_elsewhere(inputs) and not begins_elsewhere(near)
    assert len(list(make_video(settings, pipeline, clip, near, 6))) == 6


def test_frames_are_as_many_as_asked_for_where_the_model_makes_even_numbers(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
) -> None:
    clip = Clip(name="figure", image=Path("photo.png"), poses=None, prompt=SENTENCES[0])
    moved = JOINTS + np.array((6, 0, 0), np.float32)
    inputs = Inputs(photo=FRAMES[0], poses=POSES, joints=moved, image_joints=JOINTS[0])
    pipeline = make_tiny_pipeline(temporal_downsample=(False, True))
    settings = VideoSettings(num_inference_steps=1, dtype="float32")
    assert len(list(make_video(settings, pipeline, clip, inputs, 4))) == 4
