"""A trained denoiser to begin with."""

from pathlib import Path

from models import Denoiser, load_denoiser
from utils.errors import UserError


def load_fitting_denoiser(path: Path, latent_channels: int, cross_attention_dim: int) -> Denoiser:
    """Load a denoiser (a folder or a published .pth), in training mode.

    Raises:
        UserError: it was made for latents or a text encoder of other sizes than these.
    """
    given = {"latent_channels": latent_channels, "cross_attention_dim": cross_attention_dim}
    denoiser = load_denoiser(path).train()
    if any(denoiser.config[name] != value for name, value in given.items()):
        made_for = ", ".join(f"{name} {denoiser.config[name]}" for name in given)
        raise UserError(
            f"{path} was made for {made_for}; --latents and --text_encoder have "
            f"{latent_channels} and {cross_attention_dim}"
        )
    return denoiser
