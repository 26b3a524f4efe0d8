"""Whether the parts of a model belong together."""

from diffusers import AutoencoderKL, AutoencoderTiny
from transformers import CLIPTextModel

from diffusion.latents import spatial_factor
from models import Denoiser
from utils.errors import UserError


def check_parts_fit(
    denoiser: Denoiser,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel | None,
    tiny_decoder: AutoencoderTiny | None = None,
) -> None:
    """Compare the widths that the frozen models give with those that the denoiser takes.

    Raises:
        UserError: they differ; the message has both numbers.
    """
    channels = vae.config.latent_channels
    if channels != denoiser.config.latent_channels:
        raise UserError(
            f"the VAE makes latents of {channels} channels, the denoiser takes "
            f"{denoiser.config.latent_channels}; give the VAE it was trained with"
        )
    if text_encoder is not None and text_encoder.config.hidden_size != denoiser.config.cross_attention_dim:
        raise UserError(
            f"the text encoder's states are {text_encoder.config.hidden_size} wide, the denoiser takes "
            f"{denoiser.config.cross_attention_dim}; give the text encoder it was trained with"
        )
    if tiny_decoder is None:
        return
    expected = vae.config.latent_channels, spatial_factor(vae)
    given = tiny_decoder.config.latent_channels, spatial_factor(tiny_decoder)
    if given != expected:
        raise UserError(
            f"the tiny decoder takes latents of {given[0]} channels, {given[1]} times smaller than pictures; "
            f"the VAE's have {expected[0]} and are {expected[1]} times smaller: give one made for this VAE"
        )
