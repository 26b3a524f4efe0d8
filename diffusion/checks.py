"""Whether a call can be sampled, and whether the parts of a model belong together: told before any work."""

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from transformers import CLIPTextModel

from diffusion.denoising import Generators, StepCallback
from diffusion.inputs import CallInputs, check_count, check_multiple
from diffusion.latents import spatial_factor
from diffusion.schedule import check_scheduler
from models import Denoiser
from models.text_to_poses import TextToPoses
from utils.errors import UserError

if TYPE_CHECKING:
    from diffusion.pipeline import X2FashionPipeline

OUTPUT_TYPES = ("np", "pt", "pil", "latent")
DEFAULT_NUM_FRAMES = 24
"""Of a clip without poses."""
PUBLISHED_SIZE = 512, 256
"""Height and width in pixels of the published model's pictures."""


def picture_size_of(denoiser: Denoiser | None, height: int | None, width: int | None) -> tuple[int, int]:
    """Height and width in pixels of the pictures that a new pipeline makes by default.

    A denoiser is told by its first pipeline what it was made for, and keeps it.

    Args:
        denoiser: of the pipeline.
        height: that the pipeline was given.
        width: that the pipeline was given.

    Raises:
        UserError: one of the two is given, and the other is not known; or one is no size.
    """
    known = None if denoiser is None else denoiser.picture_size
    check_count("height", height)
    check_count("width", width)
    if known is None and (height is None) != (width is None):
        raise UserError(f"height is {height} and width is {width}; give both, or neither")
    known_height, known_width = known or PUBLISHED_SIZE
    size = known_height if height is None else height, known_width if width is None else width
    if denoiser is not None and known is None and height is not None:
        denoiser.picture_size = size
    return size


def check_complete(pipeline: "X2FashionPipeline") -> None:
    """Refuse a pipeline without a part that each call needs (UserError)."""
    for name in ("denoiser", "vae", "scheduler"):
        if getattr(pipeline, name) is None:
            raise UserError(
                f"this pipeline has no {name}, which every call needs; load it whole, or give it one with "
                f"register_modules({name}=...)"
            )


def check_text_encoder(pipeline: "X2FashionPipeline") -> None:
    """Refuse to read a sentence without text encoder and tokenizer (UserError)."""
    if pipeline.text_encoder is None or pipeline.tokenizer is None:
        raise UserError(
            "this pipeline has no text encoder to read the prompt with; give prompt_embeds, or no prompt"
        )


def check_call(
    pipeline: "X2FashionPipeline",
    inputs: CallInputs,
    num_inference_steps: int,
    output_type: str,
    callback: StepCallback,
    generator: Generators,
    decode_chunk_size: int | None,
) -> tuple[int, int]:
    """Refuse what cannot be sampled.

    Returns:
        The number of clips and the number of frames.

    Raises:
        UserError: one line that says what is wrong and what is allowed.
    """
    num_frames = _check_sizes(pipeline, inputs)
    photo, poses, prompts, embeds = inputs.photo, inputs.poses, inputs.prompts, inputs.prompt_embeds
    counts = {len(photo), len(poses) if poses is not None else 1, len(prompts) if prompts else 1}
    counts.add(len(inputs.views) or 1)
    if embeds is not None:
        _check_prompt_embeds(embeds, prompts, pipeline.denoiser.config.cross_attention_dim)
        counts.add(len(embeds))
    elif prompts:
        check_text_encoder(pipeline)
        if poses is None and not all(prompts):
            raise UserError(
                f"prompt {prompts.index('')} is empty, and there are no poses; give this clip a sentence"
            )
    if len(counts - {1}) > 1:
        raise UserError(
            f"image, poses and prompt make {sorted(counts)} clips; give as many of each, or one of a kind"
        )
    if output_type not in OUTPUT_TYPES:
        raise UserError(f"output_type is {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
    allowed = pipeline._callback_tensor_inputs
    unknown = [name for name in callback.tensor_inputs if name not in allowed]
    if unknown:
        raise UserError(f"a callback cannot be given {', '.join(unknown)}; choose among {', '.join(allowed)}")
    check_count("decode_chunk_size", decode_chunk_size)
    _check_generator(generator, max(counts))
    check_parts_fit(
        pipeline.denoiser,
        pipeline.vae,
        pipeline.text_encoder,
        pipeline.tiny_decoder,
        pipeline.text_to_poses,
    )
    check_scheduler(pipeline.scheduler, pipeline.denoiser.config.prediction_type, num_inference_steps)
    return max(counts), num_frames


def check_parts_fit(
    denoiser: Denoiser,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel | None,
    tiny_decoder: AutoencoderTiny | None = None,
    text_to_poses: TextToPoses | None = None,
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
    width = denoiser.config.cross_attention_dim
    if text_encoder is not None and text_encoder.config.hidden_size != width:
        raise UserError(
            f"the text encoder's states are {text_encoder.config.hidden_size} wide, the denoiser takes "
            f"{width}; give the text encoder it was trained with"
        )
    if text_to_poses is not None and text_to_poses.config.cross_attention_dim != width:
        raise UserError(
            f"the text-to-poses model reads embeddings of width {text_to_poses.config.cross_attention_dim}, "
            f"the text encoder's are {width} wide; give one that was trained with this text encoder"
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


def _check_sizes(pipeline: "X2FashionPipeline", inputs: CallInputs) -> int:
    """Check height, width and number of frames, and return the last."""
    photo, poses, num_frames = inputs.photo, inputs.poses, inputs.num_frames
    check_count("num_frames", num_frames, least=0)  # multiples are looked at below
    (height, width), multiple = photo.shape[-2:], pipeline.size_multiple
    if height % multiple or width % multiple:
        raise UserError(
            f"image is {height} x {width} (height x width); both must divide by {multiple}: "
            f"the model was made for {pipeline.config.height} x {pipeline.config.width}"
        )
    for view in (view for clip in inputs.views for view in clip):
        if view.photo.shape[-2:] != photo.shape[-2:]:
            raise UserError(
                f"a further photo is {view.photo.shape[-2]} x {view.photo.shape[-1]} (height x width), the "
                f"first {height} x {width}; fit both alike"
            )
    if poses is None:
        num_frames = DEFAULT_NUM_FRAMES if num_frames is None else num_frames
    elif poses.shape[-2:] != photo.shape[-2:]:
        raise UserError(
            f"poses are {poses.shape[-2]} x {poses.shape[-1]} (height x width), the image is "
            f"{height} x {width}; fit both alike"
        )
    elif num_frames is None:
        num_frames = poses.shape[2]
    elif num_frames > poses.shape[2]:
        raise UserError(
            f"{num_frames} frames need as many poses, there are {poses.shape[2]}; ask for fewer frames"
        )
    check_multiple("frames", num_frames, pipeline.denoiser.frame_multiple)
    return num_frames


def _check_generator(generator: Generators, num_clips: int) -> None:
    if generator is None or isinstance(generator, torch.Generator):
        return
    if not isinstance(generator, list) or not all(isinstance(each, torch.Generator) for each in generator):
        raise UserError(
            f"generator is of type {type(generator).__name__}; give a torch.Generator, such as "
            "torch.manual_seed(0), or a list with one for each clip"
        )
    if len(generator) != num_clips:
        raise UserError(
            f"{len(generator)} generators are given for {num_clips} clips; give one for each, or a single one"
        )


def _check_prompt_embeds(prompt_embeds: torch.Tensor, prompts: list[str] | None, width: int) -> None:
    if prompts:
        raise UserError("both prompt and prompt_embeds are given; give one of them")
    if not isinstance(prompt_embeds, torch.Tensor):
        raise UserError(f"prompt_embeds is of type {type(prompt_embeds).__name__}; give a torch.Tensor")
    if prompt_embeds.ndim != 3 or prompt_embeds.shape[2] != width:
        raise UserError(
            f"prompt_embeds have shape {tuple(prompt_embeds.shape)}; give (clips, tokens, {width}), as "
            "encode_prompt returns"
        )
