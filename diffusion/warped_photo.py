"""The photo moved to every frame's pose: for the denoiser as latents, for the decoder as pictures."""

import dataclasses

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from diffusion.latents import encode_images, spatial_factor
from utils.image import to_signed, to_uint8
from warping.joints import read_joints
from warping.warp import warp_to_poses


@dataclasses.dataclass(frozen=True)
class WarpedPhoto:
    """The photos of some clips, warped to the clips' poses.

    Attributes:
        pictures: (b, f, 3, H, W) float32 in [-1, 1].
        validity: (b, f, 1, H, W) float32 in 0..1, how far each pixel is right.
    """

    pictures: torch.Tensor
    validity: torch.Tensor

    def frames(self, chosen: slice) -> "WarpedPhoto":
        """Those of some frames."""
        return WarpedPhoto(self.pictures[:, chosen], self.validity[:, chosen])


def warp_photo(
    photo: torch.Tensor,
    poses: torch.Tensor,
    joints: np.ndarray | None = None,
    image_joints: np.ndarray | None = None,
) -> WarpedPhoto:
    """Move the photo's pixels to each frame's pose.

    Args:
        photo: (b, 3, H, W) in [-1, 1].
        poses: (b, 3, f, H, W) in [-1, 1].
        joints: (b, f, 18, 3) x, y in pixels and visibility; read back from the pose pictures if None.
        image_joints: (b, 18, 3) of the photo; those of pose 0 if None, since a clip begins at its photo.
    """
    if joints is None:
        pictures = to_uint8(poses.transpose(1, 2))
        joints = np.stack([np.stack([read_joints(picture) for picture in clip]) for clip in pictures])
    if image_joints is None:
        image_joints = joints[:, 0]
    clips = zip(to_uint8(photo), image_joints, joints, strict=True)
    warped, validity = zip(*(warp_to_poses(*clip) for clip in clips), strict=True)
    return WarpedPhoto(
        torch.stack([to_signed(pictures) for pictures in warped]),
        torch.from_numpy(np.stack(validity)).unsqueeze(2),
    )


def encode_warped_photo(
    vae: AutoencoderKL, warped: WarpedPhoto, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode warped photos as a denoiser with `warp_input` takes them.

    Args:
        vae: VAE of the model.
        warped: what `warp_photo` returned.
        device: where the VAE computes, and the results are; where it is if None.

    Returns:
        Latents (b, c, f, h, w), and their validity (b, 1, f, h, w): averaged over each latent's square.
    """
    sizes = warped.pictures.shape[:2]
    latents = encode_images(vae, warped.pictures.flatten(0, 1), device=device).unflatten(0, sizes)
    validity = functional.avg_pool2d(warped.validity.flatten(0, 1), spatial_factor(vae)).unflatten(0, sizes)
    return latents.transpose(1, 2), validity.transpose(1, 2).to(latents.device)
