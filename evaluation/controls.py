"""Videos that need no network: what any good model must beat, and what none can."""

from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL

from diffusion.latents import decode_latents, encode_images, spatial_factor
from diffusion.warped_photo import warp_photo
from evaluation.clips import ClipSource, MeasuredClip
from models.warper import Warper
from utils.image import to_signed, to_uint8
from warping.warp import warp_to_poses

CONTROLS = {
    "photo_copied": "the photo in every frame",
    "photo_warped": "the photo warped to the poses, no network",
    "wrong_clip": "the true frames of another clip",
    "vae_reconstruction": "the true frames through the VAE: the ceiling",
    "truth": "the true frames",
}


def photo_copied(clip: MeasuredClip) -> np.ndarray:
    """The photo, standing still; like all controls (F, H, W, 3) uint8."""
    return np.repeat(clip.photo[None], len(clip.frames), axis=0)


def photo_warped(clip: MeasuredClip) -> tuple[np.ndarray, np.ndarray] | None:
    """The photo's pixels moved to the poses, and their validity (F, H, W); None without joints."""
    if clip.joints is None or clip.photo_joints is None:
        return None
    return warp_to_poses(clip.photo, clip.photo_joints, clip.joints)


def choose_wrong(sources: list[ClipSource], index: int) -> ClipSource | None:
    """The next clip, in a circle, of another video and if possible another motion; None without one."""
    others = [
        s for s in sources[index + 1 :] + sources[:index] if s.segment.name != sources[index].segment.name
    ]
    different = [s for s in others if s.motions != sources[index].motions]
    return next(iter(different or others), None)


def match_shape(video: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Another clip's frames cut or held at their end, and resized, to (F, H, W, 3)."""
    count, height, width = shape[:3]
    frames = video[np.minimum(np.arange(count), len(video) - 1)]
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])


@torch.no_grad()
def vae_reconstruction(
    vae: AutoencoderKL, frames: np.ndarray, warped: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Frames (F, H, W, 3) uint8 encoded and decoded; padded to the VAE's grid by repeating the edge.

    A decoder that looks at the warped photo is given it, as it is when a video is made.
    """
    height, width = frames.shape[1:3]
    factor = spatial_factor(vae)
    padding = ((0, 0), (0, -height % factor), (0, -width % factor))

    def pad(pictures: np.ndarray) -> np.ndarray:
        return np.pad(pictures, (*padding, (0, 0))[: pictures.ndim], mode="edge")

    photo: dict[str, Any] = {}
    if warped is not None:
        photo = {"warped": to_signed(pad(warped[0])), "validity": torch.from_numpy(pad(warped[1]))[:, None]}
    decoded = decode_latents(vae, encode_images(vae, to_signed(pad(frames))), **photo)
    return to_uint8(decoded)[:, :height, :width]


def control_videos(
    vae: AutoencoderKL | None, clip: MeasuredClip, wrong: MeasuredClip | None, warper: Warper | None = None
) -> dict[str, np.ndarray | str]:
    """The video of each of `CONTROLS` for a clip, or why there is none.

    With a `warper`, the VAE's decoder is given the photo as the model's pipeline moves it.
    """
    warped = photo_warped(clip)
    own = warped
    if vae is not None and warper is not None and warped is not None:
        assert clip.joints is not None and clip.photo_joints is not None
        joints, photo_joints = clip.joints[None], clip.photo_joints[None]
        moved = warp_photo(to_signed(clip.photo[None]), None, joints, photo_joints, warper)
        own = to_uint8(moved.pictures[0]), moved.validity[0, :, 0].cpu().numpy()
    return {
        "photo_copied": photo_copied(clip),
        "photo_warped": "no joints (fashion_poses)" if warped is None else warped[0],
        "wrong_clip": "no other video" if wrong is None else match_shape(wrong.frames, clip.frames.shape),
        "vae_reconstruction": "no VAE; give --vae DIR"
        if vae is None
        else vae_reconstruction(vae, clip.frames, own),
        "truth": clip.frames,
    }
