r"""Put trained parts together as one folder that inference.py loads.

Try it:

    python -m recipe.export_model --help
    python -m recipe.export_model --denoiser runs/small/checkpoint/denoiser --vae runs/vae/vae \
        --text_encoder runs/text/text_encoder --warper runs/warper/warper \
        --output_dir pretrained_model/my-model
"""

import dataclasses
from pathlib import Path
from typing import Literal

import torch

from diffusion.checks import check_parts_fit
from diffusion.latents import load_vae
from diffusion.motion import load_text_to_poses
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import DEFAULT_SAMPLER, SAMPLERS, make_scheduler
from diffusion.text import load_text_encoder
from diffusion.warped_photo import load_warper
from models import load_denoiser
from utils.config import run_script
from utils.errors import UserError
from utils.files import atomic_folder, read_json, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of an export."""

    denoiser: Path
    """Folder of the denoiser (train.py writes checkpoint/denoiser), or a published .pth file."""
    vae: Path
    """Folder of the VAE."""
    text_encoder: Path
    """Folder of the CLIP text encoder."""
    tokenizer: Path | None = None
    """Folder of the tokenizer. By default the text encoder's own, or `tokenizer` beside it."""
    text_to_poses: Path | None = None
    """Folder of the text-to-poses model that recipe.train_text_to_poses made with this text encoder."""
    warper: Path | None = None
    """Folder of the network that corrects how rules move the photo, from recipe.train_warper. It must be the
    one that the latents were projected with."""
    output_dir: Path
    """Folder of the new model. It must not exist."""
    scheduler: Literal[*SAMPLERS] = DEFAULT_SAMPLER  # type: ignore[valid-type]
    """Scheduler that the model uses by default."""
    height: int = 512
    """Height in pixels of the pictures that the model was trained on, and makes by default."""
    width: int = 256
    """Width in pixels of the pictures that the model was trained on, and makes by default."""
    dtype: Literal["float32", "float16"] = "float16"
    """Precision in which the weights are stored. They are loaded as float32."""


def main(config: Config) -> None:
    """Load every part, check that they fit, save them whole or not at all."""
    if config.output_dir.exists():
        raise UserError(f"{config.output_dir} exists; remove it or choose another --output_dir")
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    denoiser, vae = load_denoiser(config.denoiser), load_vae(config.vae)
    text_to_poses = None
    if config.text_to_poses is not None:
        text_to_poses = load_text_to_poses(config.text_to_poses, text_encoder.config.hidden_size)
    check_parts_fit(denoiser, vae, text_encoder, text_to_poses=text_to_poses)
    pipeline = X2FashionPipeline(
        denoiser=denoiser,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=make_scheduler(config.scheduler, denoiser.config.prediction_type),
        height=config.height,
        width=config.width,
        text_to_poses=text_to_poses,
        warper=None if config.warper is None else load_warper(config.warper),
    )
    with atomic_folder(config.output_dir) as folder:
        pipeline.to(dtype=getattr(torch, config.dtype)).save_pretrained(folder)
        # transformers would compute in the precision that it finds here, diffusers computes in float32.
        text_config = folder / "text_encoder" / "config.json"
        write_json(text_config, read_json(text_config) | {"dtype": "float32"})
        for path in folder.rglob("*.json"):
            forget_origin(path)
    size = sum(path.stat().st_size for path in config.output_dir.rglob("*") if path.is_file())
    print(f"{config.output_dir}: {size / 1e6:.1f} MB")


def forget_origin(path: Path) -> None:
    """Take out of a saved configuration the folder of this machine that its weights were read from."""
    settings = read_json(path)
    if settings.pop("_name_or_path", None) is not None:
        write_json(path, settings)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
