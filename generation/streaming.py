"""A video of any length, in memory that does not grow with it."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from diffusion.denoising import StepCallback
from diffusion.inputs import CallInputs, Pictures, clip_tensor
from diffusion.latents import frames_at_once
from diffusion.motion import find_view_joints
from diffusion.pipeline import X2FashionPipeline
from diffusion.sampling import Sampling
from generation.made_back import make_back
from generation.timeline import sentence_of_frames
from generation.windows import WindowStore, crossfade, plan_windows
from utils.errors import UserError
from utils.image import to_uint8


@torch.no_grad()
def stream_frames(
    pipeline: X2FashionPipeline,
    image: Pictures,
    poses: Any,
    prompt: str | Sequence[str] | None = None,
    sampling: Sampling | None = None,
    *,
    seed: int,
    joints: np.ndarray | None = None,
    image_joints: np.ndarray | None = None,
    num_frames: int | None = None,
    window_frames: int = 24,
    overlap: int = 8,
    decode_chunk_size: int | None = None,
    store: WindowStore | None = None,
    callback: StepCallback | None = None,
) -> Iterator[np.ndarray]:
    """Make a video of any length, in memory that does not grow with it.

    Windows of frames are sampled one after the other, each with the photo as its first frame. A frame's
    noise depends on its number alone, and over the frames that two windows share their latents are
    crossfaded. In the first window that shows her from nearly behind, the frame that shows most of her back
    becomes a further photo of the windows that follow. A video that fits into one window is the one that a
    call makes from `frame_noise`.

    Args:
        pipeline: the model.
        image: the photo, or ``[[photo, further photos]]`` of the same size.
        poses: skeleton pictures (H, W, 3) uint8 of the photo's size; indexed by a list of frames, it
            returns (n, H, W, 3), as arrays do and `data.pose_cache.PackedPictures`. None leaves the
            motion to the sentence, and all frames are one window.
        prompt: one sentence, one for each frame, or None. A window gets those of its frames.
        sampling: steps and guidance; if None, without guidance in the model's default number of steps.
        seed: seed of the noise.
        joints: (F, 18, 3) of the poses, as in `X2FashionPipeline.__call__`.
        image_joints: (18, 3) of the photo; those of pose 0 if None.
        num_frames: the first so many poses; all if None (`window_frames` without poses).
        window_frames: frames that are sampled together; divides by `denoiser.frame_multiple`.
        overlap: frames that neighbouring windows share.
        decode_chunk_size: frames that are decoded at once; as many as memory allows if None.
        store: keeps the latents of finished windows, and is asked for them first.
        callback: called after each step of each window.

    Yields:
        Frames (n, H, W, 3) uint8, a few at a time.

    Raises:
        UserError: what was given cannot be sampled.
    """
    if sampling is None:
        sampling = Sampling(num_inference_steps=pipeline.default_num_inference_steps)
    inputs = find_view_joints(pipeline, CallInputs.read(image, None, None))
    if poses is None:
        count = window_frames if num_frames is None else num_frames
        window_frames = max(window_frames, count)
    else:
        count = len(poses) if num_frames is None else num_frames
        if count > len(poses):
            raise UserError(
                f"{count} frames need as many poses, there are {len(poses)}; ask for fewer frames"
            )
    windows = plan_windows(count, window_frames, overlap)
    if decode_chunk_size is None:
        height, width = inputs.photo.shape[-2:]
        decode_chunk_size = frames_at_once(pipeline.decoder, height, width, pipeline._execution_device)
    if image_joints is None and joints is not None:
        image_joints = joints[0]
    tail: torch.Tensor | None = None
    encoded: dict[str | None, tuple[torch.Tensor, torch.Tensor | None]] = {}
    for index, window in enumerate(windows):
        frames = window.frames
        if prompt is None or isinstance(prompt, str):
            text = prompt
        else:
            text = sentence_of_frames(prompt[window.start : window.stop])
        own = dataclasses.replace(
            inputs,
            prompts=[text] if text else None,
            poses=None if poses is None else clip_tensor(poses[frames]),
            joints=None if joints is None else joints[frames],
            image_joints=image_joints,
            num_frames=len(frames),
        )
        own = own.expanded(*pipeline.check_inputs(own, sampling.num_inference_steps))
        warped = pipeline.warp_photo(own)
        latents = None if store is None else store.load(index)
        if latents is None:
            if text not in encoded:
                encoded[text] = pipeline.encode_inputs(own)
            latents = pipeline.generate_latents(
                *encoded[text],
                own.poses,
                warped,
                len(frames),
                sampling,
                torch.Generator().manual_seed(seed + index),
                pipeline.frame_noise(seed, frames, *own.photo.shape[-2:]),
                callback,
            )
            if store is not None:
                store.save(index, latents)
        latents = latents.to(pipeline._execution_device)
        new = slice(len(frames) - (window.stop - window.start), None)  # all but the photo
        latents = latents[:, :, new]
        if tail is not None:
            shared = tail.shape[2]
            latents = torch.cat([crossfade(tail, latents[:, :, :shared]), latents[:, :, shared:]], dim=2)
        finished = window.keep - window.start
        tail = latents[:, :, finished:]
        shown = None if warped is None else warped.frames(new)
        if window.keep < count:
            known = None if joints is None else joints[window.start : window.keep]
            back = make_back(pipeline, own, latents[:, :, :finished], shown, known)
            if back is not None:
                inputs = dataclasses.replace(inputs, views=((*sum(inputs.views, ()), back),))
        for start in range(0, finished, decode_chunk_size):
            chunk = slice(start, min(start + decode_chunk_size, finished))
            photos = None if shown is None else shown.frames(chunk)
            yield to_uint8(
                pipeline.decode(latents[:, :, chunk], photos, decode_chunk_size)[0].transpose(0, 1)
            )
    pipeline.maybe_free_model_hooks()
