"""A long video that was stopped goes on with the windows that are done, where it is the same video."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from diffusion.pipeline import X2FashionPipeline
from generation.inputs import Clip, Inputs
from generation.settings import ModelSettings, VideoSettings
from generation.video import begins_elsewhere, choose_sampling, clip_seed
from generation.windows import WindowStore
from models.loading import model_sha256
from utils.precision import resolve_dtype
from utils.versions import package_versions


def window_store(
    folder: Path,
    settings: VideoSettings,
    pipeline: X2FashionPipeline,
    clip: Clip,
    inputs: Inputs,
    num_frames: int,
) -> WindowStore | None:
    """Where the windows of a long video are kept until it is whole; None for a video of one window.

    Args:
        folder: to keep them in; those of another video are removed.
        settings: of the video.
        pipeline: the model, with the scheduler that samples.
        clip: its name and sentences.
        inputs: photos, poses, joints.
        num_frames: of the video.
    """
    if inputs.poses is None or num_frames <= settings.window_frames:
        return None
    shared = {field.name: getattr(settings, field.name) for field in dataclasses.fields(ModelSettings)}
    shared = {name: None if value is None else str(value) for name, value in shared.items()}
    timeline = None if clip.timeline is None else clip.timeline.sentences
    poses = hashlib.sha256()
    for index in range(num_frames):
        poses.update(inputs.poses[index].tobytes())
    names = "denoiser", "vae", "warper", "text_encoder", "tiny_decoder"
    networks = {name: part for name in names if (part := getattr(pipeline, name)) is not None}
    depends_on = {
        **shared,
        **dataclasses.asdict(choose_sampling(settings, pipeline)),
        "scheduler": type(pipeline.scheduler).__name__,
        "clip_seed": clip_seed(settings.seed, clip.name),
        "sentences": clip.prompt if timeline is None else timeline,
        "num_frames": num_frames,
        "begins_elsewhere": begins_elsewhere(inputs),
        "window_frames": settings.window_frames,
        "window_overlap": settings.window_overlap,
        "poses": poses.hexdigest(),
        "joints": _sha256(None if inputs.joints is None else inputs.joints[:num_frames]),
        "image_joints": _sha256(inputs.image_joints),
        "photos": [_sha256(inputs.photo), *(_sha256(view.photo.numpy()) for view in inputs.views)],
        "view_joints": [_sha256(view.joints) for view in inputs.views],
        "networks": {name: model_sha256(part) for name, part in networks.items()},
        "dtype": str(resolve_dtype(settings.dtype, pipeline.device)),
        "device": str(pipeline.device),
        "versions": package_versions(),
    }
    return WindowStore(folder, depends_on)


def _sha256(values: np.ndarray | None) -> str | None:
    """By which equal arrays are known."""
    return None if values is None else hashlib.sha256(values.tobytes()).hexdigest()
