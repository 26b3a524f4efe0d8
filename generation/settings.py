"""The settings that inference.py, evaluate.py and others which sample a model share: their flags."""

import dataclasses
from pathlib import Path
from typing import Literal

SHIPPED_MODEL = Path("pretrained_model/x2fashion-small")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model, and how it samples."""

    pretrained_model: Path = SHIPPED_MODEL
    """A model's folder (model_index.json), a denoiser's folder from train.py, or a published .pth file."""
    vae: Path | None = None
    """VAE's folder; a published .pth needs it, others bring their own."""
    text_encoder: Path | None = None
    """CLIP text encoder's folder; a published .pth needs it, others bring their own."""
    tokenizer: Path | None = None
    """Tokenizer's folder, where it is not in the text encoder's."""
    tiny_decoder: Path | None = None
    """Folder of a small decoder for the VAE's latents (diffusers' AutoencoderTiny, such as taesd for
    sd-vae-ft-mse): much faster where the VAE is large, and a little softer."""

    quality: Literal["fast", "balanced", "best"] | None = None
    """Level of quality: a scheduler and a number of steps. 1, 4 or 50 steps for a model that predicts clean
    latents, such as the shipped one; 6, 12 or 50 for others. --scheduler and --num_inference_steps win over
    it."""
    scheduler: Literal["default", "ddpm", "ddim", "dpmsolver++", "unipc", "euler"] = "default"
    """Sampler; by default the model folder's own, and dpmsolver++ for a published .pth or a denoiser's
    folder."""
    num_inference_steps: int | None = None
    """Denoising steps; by default 2 for a model that predicts clean latents, as the shipped one, else 25."""

    seed: int = 0
    """Same command, same seed, same video; each clip's noise depends on the seed and its name alone."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks' products; auto takes bfloat16 where the machine has units for it."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoSettings(ModelSettings):
    """What a video is like, besides its inputs."""

    image_guidance_scale: float = 1.0
    """Above 1 follows the photo more; 1 is neutral and costs nothing."""
    pose_guidance_scale: float = 1.0
    """Above 1 follows the poses more."""
    text_guidance_scale: float = 1.0
    """Above 1 follows the sentence more. --text_guidance_scale alone costs one more prediction a step; the
    photo's or the poses' costs two."""
    height: int | None = None
    """Of the video in pixels; by default what the model was made for (shipped 256, published 512)."""
    width: int | None = None
    """Of the video in pixels; by default what the model was made for (shipped 128, published 256)."""
    window_frames: int = 24
    """Frames that are sampled together. Longer videos are made in such windows, which overlap, in memory that
    does not grow with them; stopped, the same command goes on with the window it was at."""
    window_overlap: int = 8
    """Frames that two windows share."""

    text_to_poses: Path | None = None
    """Folder of the model that makes skeletons from a sentence, from recipe.train_text_to_poses with the same
    text encoder; by default the one in the model's folder."""
    pose_finder: Path | None = None
    """Folder of the weights that find the pose of a photo, and with which evaluate.py reads the poses of
    videos; by default those that ship."""
