"""One video: its inputs prepared, its frames made one after the other."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from data.pose_cache import pack_if_many
from diffusion.denoising import StepCallback
from diffusion.motion import poses_from_text
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.sampling import Sampling
from generation.inputs import Clip, Inputs, read_inputs
from generation.loading import MotionTools
from generation.mending import FIRST_POSE_REACH, distance_from
from generation.photo import GIVE_JOINTS, SURE_SCORE, Photo
from generation.settings import ModelSettings, VideoSettings
from generation.streaming import stream_frames
from generation.timeline import poses_from_timeline
from generation.windows import WindowStore
from models.text_to_poses import TextToPoses
from utils.errors import UserError
from utils.pose_drawing import draw_pose
from utils.precision import autocast

DEFAULT_NUM_FRAMES = 24
"""Of a video without poses."""


def choose_sampling(settings: ModelSettings, pipeline: X2FashionPipeline) -> Sampling:
    """Steps and guidance scales as the flags say; --num_inference_steps wins over --quality."""
    if settings.num_inference_steps is not None:
        steps = settings.num_inference_steps
    elif settings.quality is not None:
        steps = QUALITIES[pipeline.denoiser.config.prediction_type][settings.quality].num_inference_steps
    else:
        steps = pipeline.default_num_inference_steps
    names = [field.name for field in dataclasses.fields(Sampling) if hasattr(settings, field.name)]
    scales = {name: getattr(settings, name) for name in names}
    return Sampling(**scales | {"num_inference_steps": steps})


def prepare_inputs(
    pipeline: X2FashionPipeline,
    tools: MotionTools,
    clip: Clip,
    *,
    num_frames: int | None,
    height: int,
    width: int,
    seed: int,
    photo: Photo | None = None,
) -> Inputs:
    """Read a clip's inputs; where it has no poses, make them from its sentence.

    Args:
        pipeline: encodes the sentence.
        tools: from `generation.loading.load_motion_tools`.
        clip: where the inputs are.
        num_frames: of the video; by default all poses, or `DEFAULT_NUM_FRAMES` without poses.
        height: in pixels.
        width: in pixels.
        seed: of the run; another one moves her in another way.
        photo: that was looked at; by default it is read and fitted in whole.

    Raises:
        UserError: see `read_inputs`; or a photo in which nobody is found, or not the whole person.
    """
    finder = None if photo is None else tools.finder
    inputs = read_inputs(clip, num_frames, height, width, photo=photo, finder=finder)
    if clip.poses is not None:
        return inputs
    pose = None if photo is None else photo.pose
    if pose is None:
        raise UserError(f"no person was found in {clip.image}; {GIVE_JOINTS}")
    if photo is not None and photo.joints is None and photo.score < SURE_SCORE:
        raise UserError(
            f"it is doubtful whether {clip.image} shows a whole person (score {photo.score:.4f}, "
            f"{SURE_SCORE} is needed), and a sentence moves no other; {GIVE_JOINTS}"
        )
    assert tools.text_to_poses is not None
    return move_by_sentence(
        pipeline, tools.text_to_poses, clip, inputs, pose, num_frames or DEFAULT_NUM_FRAMES, seed
    )


def move_by_sentence(
    pipeline: X2FashionPipeline,
    model: TextToPoses,
    clip: Clip,
    inputs: Inputs,
    pose: np.ndarray,
    num_frames: int,
    seed: int,
) -> Inputs:
    """Give a clip `num_frames` skeletons that do what its sentence says, from the photo's pose (18, 3) on.

    With a timeline, they do what its sentences say, and are as many as it has frames.
    """
    height, width = inputs.photo.shape[:2]
    generator = torch.Generator().manual_seed(clip_seed(seed, f"{clip.name}/motion"))
    if clip.timeline is not None:
        encode, timeline = pipeline.encode_prompt, clip.timeline
        joints = poses_from_timeline(model, encode, timeline, pose, height, width, generator)
    else:
        embeds = pipeline.encode_prompt([clip.prompt])
        joints = poses_from_text(model, embeds, pose, height, width, num_frames, generator)
    return inputs.with_joints(joints)


def clip_seed(seed: int, name: str) -> int:
    """Seed of a clip's noise, so that it does not depend on which other clips are made."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def make_video(
    settings: VideoSettings,
    pipeline: X2FashionPipeline,
    clip: Clip,
    inputs: Inputs,
    num_frames: int,
    store: WindowStore | None = None,
    callback: StepCallback | None = None,
) -> Iterator[np.ndarray]:
    """Sample one clip, a long one in windows of frames; yields (H, W, 3) uint8 RGB.

    The model's first frame is always the photo. Where the first of the poses is not the photo's, the photo's
    own goes before it, and its frame is left out.

    Args:
        settings: of the run.
        pipeline: the model.
        clip: its name and sentence.
        inputs: photo, poses, joints.
        num_frames: of the video.
        store: keeps the windows that are done.
        callback: called after each step of each window.
    """
    is_long = inputs.poses is not None and num_frames > settings.window_frames
    sentences = clip.prompt if clip.timeline is None else clip.timeline.sentences
    sampled, window_frames = frames_to_sample(settings, pipeline, inputs, num_frames)
    lead = int(begins_elsewhere(inputs))
    if lead:
        inputs = from_photo_pose(inputs, sampled)
        if not isinstance(sentences, str):
            sentences = [sentences[0], *sentences, *sentences[-1:] * (sampled - 1 - len(sentences))]
    pipeline.set_progress_bar_config(
        desc=clip.name, unit="step", leave=False, dynamic_ncols=True, disable=is_long
    )
    chunks = stream_frames(
        pipeline,
        [[inputs.photo, *inputs.views]],
        inputs.poses,
        sentences,
        choose_sampling(settings, pipeline),
        seed=clip_seed(settings.seed, clip.name),
        joints=inputs.joints,
        image_joints=inputs.image_joints,
        num_frames=sampled,
        window_frames=window_frames,
        overlap=settings.window_overlap,
        store=store,
        callback=callback,
    )
    done = 0
    with tqdm(
        total=num_frames, desc=clip.name, unit="frame", leave=False, dynamic_ncols=True, disable=not is_long
    ) as progress:
        while True:
            with autocast(settings.dtype, pipeline.device):  # not while the caller works on a frame
                frames = next(chunks, None)
            if frames is None:
                return
            wanted = frames[lead : lead + num_frames - done]
            lead, done = max(0, lead - len(frames)), done + len(wanted)
            progress.update(len(wanted))
            yield from wanted


def frames_to_sample(
    settings: VideoSettings, pipeline: X2FashionPipeline, inputs: Inputs, num_frames: int
) -> tuple[int, int]:
    """Frames that are sampled for a video of `num_frames`, and frames of a window.

    They are more by one where the photo's pose goes before the poses, up to a number that the model can make.
    """
    if not begins_elsewhere(inputs):
        return num_frames, settings.window_frames
    multiple = pipeline.denoiser.frame_multiple
    sampled = math.ceil((num_frames + 1) / multiple) * multiple
    is_long = num_frames > settings.window_frames
    return sampled, settings.window_frames if is_long else max(settings.window_frames, sampled)


def begins_elsewhere(inputs: Inputs) -> bool:
    """Whether the first of the poses is not the photo's own."""
    if inputs.poses is None or inputs.joints is None or inputs.image_joints is None:
        return False
    return bool(distance_from(inputs.joints[0], inputs.image_joints).max() > FIRST_POSE_REACH)


def from_photo_pose(inputs: Inputs, num_frames: int) -> Inputs:
    """Inputs of `num_frames` poses that begin with the photo's own; the last of all is held at the end."""
    assert inputs.poses is not None and inputs.joints is not None and inputs.image_joints is not None
    order = np.minimum(np.arange(num_frames - 1), len(inputs.joints) - 1)
    first = draw_pose(inputs.image_joints, *inputs.photo.shape[:2])
    poses = pack_if_many(itertools.chain([first], (inputs.poses[index] for index in order)))
    joints = np.concatenate([inputs.image_joints[None], inputs.joints[order]]).astype(np.float32)
    return dataclasses.replace(inputs, poses=poses, joints=joints)
