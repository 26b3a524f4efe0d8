"""The settings that inference.py, evaluate.py and others which sample a model share: their flags."""

import dataclasses
from pathlib import Path
from typing import Literal

from utils.paths import SHIPPED_MODEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model, and how it samples."""

    pretrained_model: Path = SHIPPED_MODEL
    """Model to use: the folder of a whole model (with model_index.json), the folder of a denoiser from
    train.py, or a published .pth file."""
    vae: Path | None = None
    """Folder of the VAE. Needed for a published .pth file; other models bring their own."""
    text_encoder: Path | None = None
    """Folder of the CLIP text encoder. Needed for a published .pth file; other models bring their own."""
    tokenizer: Path | None = None
    """Folder of the tokenizer, if it is not in the text encoder's folder."""
    tiny_decoder: Path | None = None
    """Folder of a small decoder (diffusers' AutoencoderTiny, such as taesd) that replaces the VAE's: much
    faster if the VAE is large, and a little softer."""

    warper: Path | None = None
    """Folder of the network that corrects how rules move the photo to the poses, from recipe.train_warper. By
    default the model's own, or for a denoiser alone the shipped one."""

    lora: Path | None = None
    """Adapter to add to the model, from train.py --lora_rank: the file or its folder."""
    lora_scale: float = 1.0
    """How much the adapter counts: 0 leaves the model as it is."""

    quality: Literal["fast", "balanced", "best"] | None = None
    """Scheduler and number of steps in one word: 1, 4 or 50 steps for a model that predicts clean latents,
    such as the shipped one; 6, 12 or 50 for others. --scheduler and --num_inference_steps override it."""
    scheduler: Literal["default", "ddpm", "ddim", "dpmsolver++", "unipc", "euler"] = "default"
    """Sampling method. By default the model's own; dpmsolver++ for a published .pth file or a denoiser's
    folder."""
    num_inference_steps: int | None = None
    """Denoising steps. By default 2 for a model that predicts clean latents, such as the shipped one, and 25
    for others."""

    seed: int = 0
    """Seed of the noise. The same command with the same seed gives the same video; another seed gives
    another."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks. auto takes bfloat16 if the machine has units for it."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:1. auto takes a GPU if there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoSettings(ModelSettings):
    """What a video is like, besides its inputs."""

    image_guidance_scale: float = 1.0
    """How closely to follow the photo. 1 is neutral; any other value costs two more predictions a step."""
    pose_guidance_scale: float = 1.0
    """How closely to follow the poses. 1 is neutral; any other value costs two more predictions a step."""
    text_guidance_scale: float = 1.0
    """How closely to follow the sentence. 1 is neutral; any other value costs one more prediction a step."""
    height: int | None = None
    """Height of the video in pixels. By default that which the model was made for: 512 for the shipped and
    the published one."""
    width: int | None = None
    """Width of the video in pixels. By default that which the model was made for: 256 for the shipped and
    the published one."""
    window_frames: int = 24
    """Frames that are sampled together. A longer video is made in windows of so many frames, which overlap.
    If you stop it, the same command continues with the next window."""
    window_overlap: int = 8
    """Frames that two neighbouring windows share."""

    text_to_poses: Path | None = None
    """Folder of the model that turns a sentence into skeletons (recipe.train_text_to_poses makes it for a
    text encoder). By default the one in the model's folder."""
    pose_finder: Path | None = None
    """Folder of the weights that find the pose of a photo, and with which evaluate.py reads the poses of
    videos. By default the shipped ones."""
