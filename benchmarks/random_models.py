"""The frozen parts of a model at a preset's sizes, with random weights: time does not depend on them."""

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.autoencoder import SMALL_VAE_CONFIG, TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL

PUBLISHED_VAE_CONFIG: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}


def make_text_encoder(preset: str, tokenizer_dir: Path, width: int) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """A random text encoder of `width` channels for a preset, and a tokenizer whose sentences it takes."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_dir, local_files_only=True)
    published = preset == "published"
    tokenizer.model_max_length = 77 if published else 32
    text_config = CLIPTextConfig(
        vocab_size=max(len(tokenizer), 49408 if published else 0),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12 if published else 3,
        num_attention_heads=12 if published else 4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, CLIPTextModel(text_config).eval().requires_grad_(False)


def make_vae(preset: str, latent_channels: int) -> AutoencoderKL:
    """A random VAE for a preset that makes a latent of each square of 8 x 8 pixels."""
    if preset == "published":
        vae = AutoencoderKL(**PUBLISHED_VAE_CONFIG, latent_channels=latent_channels)
    else:
        small = TINY_VAE_CONFIG if preset == "tiny" else SMALL_VAE_CONFIG
        vae = SpaceToDepthAutoencoderKL(**small | {"latent_channels": latent_channels})
    return vae.eval().requires_grad_(False)
