"""Loading what makes a video: the pipeline, and what finds or makes the poses."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch

from diffusion.latents import load_tiny_decoder, load_vae
from diffusion.motion import load_text_to_poses
from diffusion.pipeline import X2FashionPipeline
from diffusion.quality import QUALITIES
from diffusion.schedule import DEFAULT_SAMPLER, make_scheduler
from diffusion.text import load_text_encoder
from diffusion.warped_photo import load_warper
from generation.settings import ModelSettings, VideoSettings
from models import load_denoiser
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from models.text_to_poses import TextToPoses
from utils.allocator import keep_freed_memory
from utils.errors import UserError
from utils.paths import SHIPPED_MODEL
from utils.precision import resolve_dtype


def load_pipeline(settings: ModelSettings, device: torch.device) -> X2FashionPipeline:
    """Load the model that --pretrained_model and its companions name, and set the scheduler.

    Raises:
        UserError: something is missing or does not fit; the message names it.
    """
    keep_freed_memory()
    path = settings.pretrained_model
    if path.suffix == ".pth":
        if settings.vae is None or settings.text_encoder is None:
            raise UserError(
                f"{path} holds the denoiser alone; add --vae DIR (such as sd-vae-ft-mse) and "
                "--text_encoder DIR (such as clip-vit-large-patch14)"
            )
        pipeline = X2FashionPipeline.from_published(
            path, settings.vae, settings.text_encoder, settings.tokenizer
        )
    else:
        pipeline = _load_folder(settings, path)
    if settings.lora is not None:
        add_lora(pipeline, settings.lora, settings.lora_scale)
    elif settings.lora_scale != 1:
        raise UserError(f"--lora_scale {settings.lora_scale} weighs an adapter; give --lora FILE as well")
    prediction_type = pipeline.denoiser.config.prediction_type
    scheduler: str = settings.scheduler
    if scheduler == "default" and settings.quality is not None:
        scheduler = QUALITIES[prediction_type][settings.quality].scheduler
    if scheduler != "default":
        pipeline.scheduler = make_scheduler(scheduler, prediction_type, pipeline.scheduler.betas.numpy())
    elif path.suffix == ".pth":
        pipeline.scheduler = make_scheduler(DEFAULT_SAMPLER, prediction_type)
    if settings.warper is not None:
        pipeline.register_modules(warper=load_warper(settings.warper).to(memory_format=torch.channels_last))
    if settings.tiny_decoder is not None:
        decoder = load_tiny_decoder(settings.tiny_decoder)
        pipeline.register_modules(tiny_decoder=decoder.to(memory_format=torch.channels_last))
    pipeline.to(device, torch.float32)
    pipeline.cast_networks(resolve_dtype(settings.dtype, device))
    return pipeline


def add_lora(pipeline: X2FashionPipeline, path: Path, scale: float) -> None:
    """Add an adapter, times `scale`, to the denoiser's weights, so that it costs no time.

    Raises:
        UserError: there is no adapter, or it was made for another model.
    """
    if not path.exists():
        raise UserError(f"there is no --lora {path}; give the file or folder that train.py --lora_rank wrote")
    if not math.isfinite(scale):
        raise UserError(f"--lora_scale {scale} is no number; 0 leaves the model as it is, 1 is neutral")
    pipeline.load_lora_weights(path)
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()


def _load_folder(settings: ModelSettings, path: Path) -> X2FashionPipeline:
    # A denoiser by itself, as train.py writes it, takes the frozen parts of the shipped model.
    alone = not (path / "model_index.json").is_file()
    denoiser = load_denoiser(path)
    base = SHIPPED_MODEL if alone else path
    if not (base / "model_index.json").is_file():
        raise UserError(f"{base} holds no model (no model_index.json); give --pretrained_model DIR_OR_PTH")
    tokenizer, text_encoder = load_text_encoder(
        settings.text_encoder or base / "text_encoder",
        settings.tokenizer or (None if settings.text_encoder else base / "tokenizer"),
    )
    components: dict[str, Any] = {
        "denoiser": denoiser,
        "vae": load_vae(settings.vae or base / "vae"),
        "tokenizer": tokenizer,
        "text_encoder": text_encoder,
        "text_to_poses": None,  # loaded where they are needed, see `load_motion_tools`
        "pose_finder": None,
    }
    if alone:
        components["scheduler"] = make_scheduler(DEFAULT_SAMPLER, denoiser.config.prediction_type)
    try:
        return X2FashionPipeline.from_pretrained(base, local_files_only=True, **components)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"cannot load the model in {base}: {' '.join(str(error).split())[:300]}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionTools:
    """What it takes to move somebody by a sentence, or by another body's poses; None where not needed."""

    text_to_poses: TextToPoses | None = None
    finder: PoseFinder | None = None


def load_motion_tools(
    settings: VideoSettings, pipeline: X2FashionPipeline, *, from_text: bool, find_pose: bool
) -> MotionTools:
    """Load the text-to-poses model and the pose finder.

    Args:
        settings: say where they are.
        pipeline: the model, whose text encoder must fit.
        from_text: whether a sentence moves somebody.
        find_pose: whether a pose has to be found. Else the finder is still loaded where it is to be had.

    Raises:
        UserError: one is missing, or does not fit the text encoder; the message says what to give instead.
    """
    model = load_matching_text_to_poses(settings, pipeline) if from_text else None
    try:
        return MotionTools(text_to_poses=model, finder=load_pose_finder(settings))
    except UserError:
        if find_pose or settings.pose_finder is not None:
            raise
        return MotionTools(text_to_poses=model)


def load_pose_finder(settings: VideoSettings) -> PoseFinder:
    """Load the pose finder of --pose_finder, or the one that ships (UserError where there is none)."""
    return PoseFinder.from_pretrained(settings.pose_finder or SHIPPED_FINDER)


def load_matching_text_to_poses(settings: VideoSettings, pipeline: X2FashionPipeline) -> TextToPoses:
    """Load the model of --text_to_poses, or the one in the model's folder (UserError where there is none)."""
    alone = not (settings.pretrained_model / "model_index.json").is_file()
    beside = (
        SHIPPED_MODEL if alone and settings.pretrained_model.suffix != ".pth" else settings.pretrained_model
    )
    model = load_text_to_poses(settings.text_to_poses or beside, pipeline.text_encoder.config.hidden_size)
    return model.to(pipeline.device)
