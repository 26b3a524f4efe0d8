"""The photo moved to every frame's pose, as latents: the condition of a denoiser with `warp_input`."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from diffusion.inputs import to_signed, to_uint8
from diffusion.latents import encode_images, spatial_factor
from warping.joints import read_joints
from warping.warp import warp_to_poses


def encode_warped_photo(
    vae: AutoencoderKL,
    photo: torch.Tensor,
    poses: torch.Tensor,
    joints: np.ndarray | None = None,
    image_joints: np.ndarray | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the photo's pixels to each frame's pose, and encode the pictures that result.

    Args:
        vae: encodes the warped pictures.
        photo: (b, 3, H, W) in [-1, 1].
        poses: (b, 3, f, H, W) in [-1, 1].
        joints: (b, f, 18, 3) x, y in pixels and visibility; read back from the pose pictures if None.
        image_joints: (b, 18, 3) of the photo; those of pose 0 if None, since a clip begins at its photo.

    Returns:
        Latents (b, c, f, h, w), and their validity (b, 1, f, h, w) in 0..1, on the VAE's device.
    """
    if joints is None:
        pictures = to_uint8(poses.transpose(1, 2))
        joints = np.stack([np.stack([read_joints(picture) for picture in clip]) for clip in pictures])
    if image_joints is None:
        image_joints = joints[:, 0]
    latents, validities = [], []
    for picture, source, targets in zip(to_uint8(photo), image_joints, joints, strict=True):
        warped, validity = warp_to_poses(picture, source, targets)
        latents.append(encode_images(vae, to_signed(warped)).transpose(0, 1))
        validities.append(functional.avg_pool2d(torch.from_numpy(validity)[None], spatial_factor(vae)))
    return torch.stack(latents), torch.stack(validities).to(vae.device)
