"""Pictures to latents and back, through a frozen VAE."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from models.autoencoder import ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from models.folder import load_part

VAE_CLASSES = {
    cls.__name__: cls for cls in (AutoencoderKL, SpaceToDepthAutoencoderKL, ReferenceAutoencoderKL)
}
MAX_FRAMES_AT_ONCE = 8


def load_vae(path: str | Path) -> AutoencoderKL:
    """Load a VAE from a folder in diffusers' layout, in float32 and in eval mode.

    Args:
        path: see `models.folder.load_part`; the class is one of `VAE_CLASSES`.

    Raises:
        UserError: no such folder, another class, or weights that are damaged, missing, unknown or of another
            shape; the message names the folder.
    """
    return load_part(Path(path), "VAE", VAE_CLASSES)


def load_tiny_decoder(path: str | Path) -> AutoencoderTiny:
    """Load a small decoder of normalised latents, such as TAESD for those of Stable Diffusion's VAE.

    Args:
        path: a folder of an `AutoencoderTiny`, in diffusers' layout; only its decoder is used.

    Raises:
        UserError: see `load_vae`.
    """
    return load_part(Path(path), "tiny decoder", {"AutoencoderTiny": AutoencoderTiny})


def spatial_factor(vae: AutoencoderKL | AutoencoderTiny) -> int:
    """Pixels a latent position stands for, along each side."""
    if isinstance(vae, AutoencoderTiny):
        return 2 ** (len(vae.config.decoder_block_out_channels) - 1)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return factor * vae.stem_factor if isinstance(vae, SpaceToDepthAutoencoderKL) else factor


def latent_statistics(
    vae: AutoencoderKL | AutoencoderTiny, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation that normalise the VAE's latents, each (c, 1, 1) float32.

    Those of an `AutoencoderTiny` are normalised already, its scaling factor is 1.

    Args:
        vae: whose latents.
        device: where to put them; the VAE's if None.
    """
    device = device or vae.device
    channels = vae.config.latent_channels
    means, deviations = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if means is not None and deviations is not None:
        mean, std = torch.tensor(means), torch.tensor(deviations)
    else:
        mean, std = torch.zeros(channels), torch.full((channels,), 1 / vae.config.scaling_factor)
    return mean.float().view(-1, 1, 1).to(device), std.float().view(-1, 1, 1).to(device)


@torch.no_grad()
def encode_images(
    vae: AutoencoderKL, images: torch.Tensor, chunk_size: int = 16, device: torch.device | None = None
) -> torch.Tensor:
    """Encode pictures as normalised latents: the posterior's mean, (z - mean) / std.

    Args:
        vae: what `load_vae` returned.
        images: (n, 3, H, W) in [-1, 1]; H and W divide by `spatial_factor(vae)`.
        chunk_size: pictures encoded at once.
        device: where the VAE computes; where it is if None. An offloaded VAE is elsewhere until it does.

    Returns:
        (n, c, h, w) float32 on that device.
    """
    device = device or vae.device
    mean, std = latent_statistics(vae, device)
    chunks = [
        (vae.encode(chunk.to(device, vae.dtype)).latent_dist.mode().float() - mean) / std
        for chunk in images.split(chunk_size)
    ]
    return torch.cat(chunks)


def mix_noise(independent: torch.Tensor, common: torch.Tensor, share: float) -> torch.Tensor:
    """Noise whose frames are alike: mixed noise of Ge et al., "Preserve Your Own Correlation", 2023, eq. 3.

    Args:
        independent: (..., c, f, h, w) standard normal.
        common: (..., c, 1, h, w) the same, for all frames.
        share: share of the variance that is common, from 0 to 1.

    Returns:
        (..., c, f, h, w) standard normal.
    """
    return (1 - share) ** 0.5 * independent + share**0.5 * common


def frame_noise(
    seed: int, frames: Iterable[int], shape: tuple[int, int, int], share: float = 0.0
) -> torch.Tensor:
    """Noise that each frame of a video has whatever else is sampled with it: a function of (seed, frame).

    Args:
        seed: seed of the video.
        frames: numbers of frames in the video.
        shape: (c, h, w) of a latent.
        share: what the frames have in common, see `mix_noise`.

    Returns:
        (c, f, h, w) float32 standard normal, drawn on the CPU.
    """

    def draw(*place: int) -> torch.Tensor:
        state = np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0]
        return torch.randn(shape, generator=torch.Generator().manual_seed(int(state >> np.uint64(1))))

    independent = torch.stack([draw(1, frame) for frame in frames], dim=1)
    return mix_noise(independent, draw(0)[:, None], share)


def frames_at_once(
    vae: AutoencoderKL | AutoencoderTiny, height: int, width: int, device: torch.device | None = None
) -> int:
    """Frames to decode together, up to 8: as many as fit into an eighth of a GPU's memory.

    On a CPU, into 256 MiB: more at once is slower there. The same machine gives the same number.

    Args:
        vae: the decoder.
        height: height of a frame in pixels.
        width: width of a frame in pixels.
        device: where the decoder computes; where it is if None.
    """
    device = device or vae.device
    # Input, normalised input, output and shortcut of a block on the finest grid, where maps are largest.
    config, stem = vae.config, getattr(vae, "stem_factor", 1)
    channels = max(
        config.decoder_block_out_channels
        if isinstance(vae, AutoencoderTiny)
        else config.block_out_channels[:2]
    )
    bytes_per_frame = 4 * channels * (height // stem) * (width // stem) * vae.dtype.itemsize
    if device.type == "cuda":
        budget = torch.cuda.get_device_properties(device).total_memory // 8
    else:
        budget = 256 * 2**20
    return max(1, min(MAX_FRAMES_AT_ONCE, budget // bytes_per_frame))


@torch.no_grad()
def decode_latents(
    vae: AutoencoderKL | AutoencoderTiny,
    latents: torch.Tensor,
    chunk_size: int | None = None,
    warped: torch.Tensor | None = None,
    validity: torch.Tensor | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Decode normalised latents.

    Args:
        vae: what `load_vae` returned, or a small decoder from `load_tiny_decoder`.
        latents: (n, c, h, w).
        chunk_size: latents decoded at once; `frames_at_once` if None.
        warped: (n, 3, H, W) in [-1, 1], the photo warped to each frame's pose; only a
            `ReferenceAutoencoderKL` looks at it.
        validity: (n, 1, H, W) in 0..1, how far it is right.
        device: where the VAE computes; where it is if None.

    Returns:
        (n, 3, H, W) float32 in [-1, 1].
    """
    device = device or vae.device
    mean, std = latent_statistics(vae, device)
    if chunk_size is None:
        factor = spatial_factor(vae)
        chunk_size = frames_at_once(vae, latents.shape[-2] * factor, latents.shape[-1] * factor, device)
    chunks = []
    for start in range(0, len(latents), chunk_size):
        chunk = slice(start, start + chunk_size)
        z = (latents[chunk].to(device).float() * std + mean).to(vae.dtype)
        photo = {}
        if isinstance(vae, ReferenceAutoencoderKL) and warped is not None and validity is not None:
            photo = {"warped": warped[chunk].to(device), "validity": validity[chunk].to(device)}
        decoded = vae.decode(z.contiguous(memory_format=torch.channels_last), **photo).sample
        chunks.append(decoded.float().clamp(-1, 1))
    return torch.cat(chunks)
