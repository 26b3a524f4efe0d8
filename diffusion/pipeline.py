"""From one photo, poses and a sentence to a clip: encode once, denoise, guide, decode."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, SchedulerMixin
from diffusers.utils import BaseOutput, logging
from diffusers.video_processor import VideoProcessor
from transformers import CLIPTextModel, CLIPTokenizer

try:
    import diffusion  # noqa: F401
except ModuleNotFoundError as error:  # of a `custom_pipeline`, diffusers runs a copy of this file
    raise ModuleNotFoundError(
        "the rest of X2Fashion's code is not on Python's path; type `pip install -e CLONE`, or "
        '`import sys; sys.path.insert(0, "CLONE")`, where CLONE is the folder that has the folder diffusion'
    ) from error

from diffusion.checks import check_call, check_complete, check_text_encoder, picture_size_of
from diffusion.components import find_here
from diffusion.denoising import (
    Generators,
    StepCallback,
    StepFunction,
    denoise,
    draw_latents,
    encode_conditions,
)
from diffusion.guidance import guidance_branches
from diffusion.inputs import CallInputs, Pictures, fit_inputs
from diffusion.latents import decode_latents, encode_images, frame_noise, load_vae, spatial_factor
from diffusion.lora import LoraLoaderMixin
from diffusion.motion import find_photo_joints, find_view_joints, move_by_sentences, moves_by_sentence
from diffusion.sampling import Sampling
from diffusion.schedule import make_scheduler
from diffusion.text import encode_prompts, load_text_encoder
from diffusion.warped_photo import WarpedPhoto, warp_photo
from models import Denoiser, load_denoiser
from models.autoencoder import ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from models.folder import align_weights
from models.pose_finder import PoseFinder
from models.text_to_poses import TextToPoses
from models.warper import Warper

logger = logging.get_logger(__name__)


@dataclasses.dataclass
class X2FashionPipelineOutput(BaseOutput):
    """What the pipeline returns.

    Attributes:
        frames: by `output_type`: "np" (b, F, H, W, 3) in [0, 1]; "pt" (b, F, 3, H, W) in [0, 1]; "pil" a list
            of pictures for each clip; "latent" the normalised latents (b, c, f, h, w).
    """

    frames: np.ndarray | torch.Tensor | list[list[PIL.Image.Image]]


class X2FashionPipeline(LoraLoaderMixin, DiffusionPipeline):
    """One photo, a sequence of poses and a sentence become a short video.

    Example:
        >>> pipeline = X2FashionPipeline.from_pretrained("pretrained_model/x2fashion-small")
        >>> output = pipeline(photo, poses, "This lady turns to the left.", generator=torch.manual_seed(0))
        >>> output.frames.shape
        (1, 24, 512, 256, 3)

    Args:
        denoiser: the trained networks.
        vae: pictures to latents and back; frozen.
        text_encoder: its last hidden state conditions the denoiser; frozen. None where sentences are given as
            `prompt_embeds`, or not at all.
        tokenizer: of the text encoder.
        scheduler: any diffusers scheduler over the betas that the denoiser was trained with; see
            `diffusion.schedule.make_scheduler`.
        height: of the pictures that are made by default, in pixels, kept in model_index.json. If None, that
            of the first pipeline that had the denoiser, or the published 512.
        width: of these pictures; the published one is 256.
        tiny_decoder: decodes in place of the VAE, faster and softer, without the photo; such as TAESD for
            Stable Diffusion's VAE.
        text_to_poses: makes poses from a sentence, where a call has none.
        pose_finder: finds the photo's pose for that. If None, the one that ships is taken.
        warper: corrects what the rules of `warping.warp` make of the photo in the poses. None leaves all to
            the rules.
    """

    model_cpu_offload_seq = "text_encoder->text_to_poses->warper->denoiser->vae->tiny_decoder"
    _callback_tensor_inputs = ("latents", "reference_latents", "prediction")
    _optional_components = [  # noqa: RUF012
        "text_encoder",
        "tokenizer",
        "tiny_decoder",
        "text_to_poses",
        "pose_finder",
        "warper",
    ]

    def __init__(
        self,
        denoiser: Denoiser,
        vae: AutoencoderKL | SpaceToDepthAutoencoderKL | ReferenceAutoencoderKL,
        text_encoder: CLIPTextModel | None,
        tokenizer: CLIPTokenizer | None,
        scheduler: SchedulerMixin,
        height: int | None = None,
        width: int | None = None,
        tiny_decoder: AutoencoderTiny | None = None,
        text_to_poses: TextToPoses | None = None,
        pose_finder: PoseFinder | None = None,
        warper: Warper | None = None,
    ):
        super().__init__()
        for network in (denoiser, vae, text_encoder, tiny_decoder, text_to_poses, warper):
            if network is not None:  # `from_pretrained` leaves them as they stand in their files
                align_weights(network)
        for network in (vae, tiny_decoder, warper):
            if network is not None:  # convolutions are faster so
                network.to(memory_format=torch.channels_last)
        self.register_modules(
            denoiser=denoiser,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=scheduler,
            tiny_decoder=tiny_decoder,
            text_to_poses=text_to_poses,
            pose_finder=pose_finder,
            warper=warper,
        )
        height, width = picture_size_of(denoiser, height, width)
        self.register_to_config(height=height, width=width)
        self.vae_factor = 8 if vae is None else spatial_factor(vae)
        self._num_timesteps, self._interrupt = 0, False
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_factor)

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Find our classes by name, wherever they lived when model_index.json was written."""
        return super().extract_init_dict(find_here(config_dict), **kwargs)

    @classmethod
    def from_published(
        cls,
        checkpoint_path: str | Path,
        vae_dir: str | Path,
        text_encoder_dir: str | Path,
        tokenizer_dir: str | Path | None = None,
    ) -> "X2FashionPipeline":
        """Put a published checkpoint together with the frozen models it was trained beside.

        The scheduler is the published ancestral sampler, meant for 1000 steps; exchange it for a faster one
        with ``pipeline.scheduler = make_scheduler("dpmsolver++")``.

        Args:
            checkpoint_path: the published model_*.pth, or a denoiser folder of ours.
            vae_dir: a Stable Diffusion VAE in diffusers' layout, such as sd-vae-ft-mse.
            text_encoder_dir: CLIP ViT-L/14 in transformers' layout.
            tokenizer_dir: its tokenizer; `text_encoder_dir` if None.

        Raises:
            UserError: a path that is missing, or does not hold what it should; the message names it.
        """
        tokenizer, text_encoder = load_text_encoder(text_encoder_dir, tokenizer_dir)
        denoiser = load_denoiser(checkpoint_path)
        scheduler = make_scheduler("ddpm", denoiser.config.prediction_type)
        return cls(denoiser, load_vae(vae_dir), text_encoder, tokenizer, scheduler)

    def cast_networks(self, dtype: torch.dtype) -> None:
        """Keep the weights of the networks that cost time (all that see pictures) in another precision.

        Once, instead of by autocast at every step and every chunk of frames. What is computed beside the
        networks, such as the schedule's steps and the mix with the warped photo, stays in float32.
        """
        for network in (self.denoiser, self.vae, self.tiny_decoder, self.warper):
            if network is not None:
                torch.nn.Module.to(network, dtype=dtype)

    @property
    def size_multiple(self) -> int:
        """Height and width in pixels must divide by this."""
        return self.vae_factor * self.denoiser.size_multiple

    @property
    def uses_warped_photo(self) -> bool:
        """Whether the denoiser or the decoder takes the photo warped to the poses."""
        return self.denoiser.config.warp_input or isinstance(self.decoder, ReferenceAutoencoderKL)

    @property
    def decoder(self) -> AutoencoderKL | AutoencoderTiny:
        """What decodes: the tiny decoder where there is one, else the VAE."""
        return self.tiny_decoder or self.vae

    @property
    def interrupt(self) -> bool:
        """Whether a step callback asked to stop: it sets ``pipeline._interrupt = True``."""
        return self._interrupt

    @property
    def num_timesteps(self) -> int:
        """Number of steps of the current or the last call; 0 before the first."""
        return self._num_timesteps

    def encode_prompt(self, prompt: str | list[str]) -> torch.Tensor:
        """Encode one sentence or b as (b, n, d): the text encoder's last hidden state of all n tokens.

        What exceeds the tokenizer's length is cut off, with a warning.

        Raises:
            UserError: the pipeline has no text encoder.
        """
        check_text_encoder(self)
        prompts, length = [prompt] if isinstance(prompt, str) else prompt, self.tokenizer.model_max_length
        for sentence in prompts:
            if len(self.tokenizer(sentence).input_ids) > length:
                logger.warning(
                    f"the text encoder reads {length} tokens; the end of this sentence is ignored: {sentence}"
                )
        return encode_prompts(self.tokenizer, self.text_encoder, prompts, self._execution_device)

    def prepare_latents(
        self,
        reference_latents: torch.Tensor,
        num_frames: int,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the initial noise, or take the caller's; see `diffusion.denoising.draw_latents`."""
        return draw_latents(self, reference_latents, num_frames, generator, latents)

    def frame_noise(self, seed: int, frames: Sequence[int], height: int, width: int) -> torch.Tensor:
        """Noise (1, c, f, h, w) to give as `latents`: a function of (seed, frame), for frames of any video.

        Args:
            seed: seed of the video.
            frames: numbers of the frames in the video.
            height: height of the pictures in pixels.
            width: width of the pictures in pixels.
        """
        channels = self.denoiser.config.latent_channels
        shape = (channels, height // self.vae_factor, width // self.vae_factor)
        return frame_noise(seed, frames, shape, self.denoiser.config.shared_noise)[None]

    @torch.no_grad()
    def __call__(
        self,
        image: Pictures,
        poses: Pictures | None = None,
        prompt: str | list[str] | None = None,
        *,
        prompt_embeds: torch.Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        joints: np.ndarray | None = None,
        image_joints: np.ndarray | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        image_guidance_scale: float = 1.0,
        pose_guidance_scale: float = 1.0,
        text_guidance_scale: float = 1.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        callback_on_step_end: StepFunction = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "np",
        decode_chunk_size: int | None = None,
        return_dict: bool = True,
    ) -> X2FashionPipelineOutput | tuple:
        """Make one clip, or a batch of them.

        Args:
            image: the photo, where the clip begins; see `diffusion.inputs.photo_tensor`. It is fitted to the
                clip's size without distortion. For further photos of the same person, such as of her back,
                give a list of photos for each clip: ``[[front, back]]``. The joints of further ones are
                found, or given with a `diffusion.inputs.View`.
            poses: skeleton pictures, one a frame, the first one the photo's; see
                `diffusion.inputs.clip_tensor`. They and their joints are fitted as the photo is. If None,
                `text_to_poses` makes them from the sentence and the photo's pose.
            prompt: one sentence, or one for each clip; None or "" leaves it out.
            prompt_embeds: (1 or b, n, d), what `encode_prompt` returned, in place of the prompt.
            height: height of the clip in pixels, a multiple of `size_multiple`. If None, the height that the
                model was made for.
            width: width of the clip in pixels, a multiple of `size_multiple`. If None, the width that the
                model was made for.
            joints: (F, 18, 3) or (b, F, 18, 3): x, y in pixels and visibility of the poses' joints, for a
                denoiser that takes the photo warped to the poses; read back from the pictures if None.
            image_joints: (18, 3) or (b, 18, 3), the same of the photo; if None those of pose 0, and without
                poses those that `pose_finder` finds.
            num_frames: the first so many poses; all if None (24 without poses). Divides by
                `denoiser.frame_multiple`.
            num_inference_steps: `default_num_inference_steps` if None.
            image_guidance_scale: how much to follow the photo; 1 is neutral. See `diffusion.guidance`.
            pose_guidance_scale: how much to follow the poses.
            text_guidance_scale: how much to follow the sentence.
            generator: on the CPU, the same seed gives the same noise on every device.
            latents: (b, c, f, h, w) standard normal noise to start from.
            callback_on_step_end: called as ``callback(pipeline, step, timestep, tensors)`` after each step;
                it returns a dict, whose "latents" replace the current ones. A `PipelineCallback` of diffusers
                says itself what it is given.
            callback_on_step_end_tensor_inputs: names among "latents", "reference_latents", "prediction".
            output_type: "np", "pt", "pil" or "latent".
            decode_chunk_size: frames that the VAE decodes at once; see `diffusion.latents.frames_at_once`.
            return_dict: whether to return an `X2FashionPipelineOutput` instead of a tuple of one.

        Raises:
            UserError: what was given cannot be sampled.
        """
        check_complete(self)
        sampling = Sampling(
            num_inference_steps=(
                self.default_num_inference_steps if num_inference_steps is None else num_inference_steps
            ),
            image_guidance_scale=image_guidance_scale,
            pose_guidance_scale=pose_guidance_scale,
            text_guidance_scale=text_guidance_scale,
        )
        callback = StepCallback(callback_on_step_end, callback_on_step_end_tensor_inputs)
        inputs = CallInputs.read(
            image,
            poses,
            prompt,
            prompt_embeds=prompt_embeds,
            joints=joints,
            image_joints=image_joints,
            num_frames=num_frames,
        )
        by_sentence = moves_by_sentence(inputs)
        if by_sentence:
            inputs = find_photo_joints(self, inputs)
        inputs = fit_inputs(self, find_view_joints(self, inputs), height, width)
        batch, num_frames = self.check_inputs(
            inputs, sampling.num_inference_steps, output_type, callback, generator, decode_chunk_size
        )
        inputs = inputs.expanded(batch, num_frames)
        reference_latents, embeds = self.encode_inputs(inputs)
        if by_sentence:
            inputs = move_by_sentences(self.text_to_poses, embeds, inputs, generator)
        warped = self.warp_photo(inputs)
        latents = self.generate_latents(
            reference_latents,
            embeds,
            inputs.poses,
            warped,
            num_frames,
            sampling,
            generator,
            latents,
            callback,
        )
        frames = latents
        if output_type != "latent":
            frames = self.video_processor.postprocess_video(
                self.decode(latents, warped, decode_chunk_size), output_type
            )
        self.maybe_free_model_hooks()
        return X2FashionPipelineOutput(frames=frames) if return_dict else (frames,)

    def check_inputs(
        self,
        inputs: CallInputs,
        num_inference_steps: int,
        output_type: str = "np",
        callback: StepCallback | None = None,
        generator: Generators = None,
        decode_chunk_size: int | None = None,
    ) -> tuple[int, int]:
        """Numbers of clips and of frames of a call; what cannot be sampled is refused (UserError)."""
        callback = callback or StepCallback()
        return check_call(
            self, inputs, num_inference_steps, output_type, callback, generator, decode_chunk_size
        )

    def encode_inputs(self, inputs: CallInputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode what all frames of a clip share.

        Returns:
            The photo's normalised latents (b, c, h, w), and the sentences' embeddings (b, n, d) or None.
        """
        embeds = inputs.prompt_embeds
        if inputs.prompts is not None:
            embeds = self.encode_prompt(inputs.prompts)
            is_given = [bool(prompt) for prompt in inputs.prompts]
            embeds = embeds * embeds.new_tensor(is_given)[:, None, None]  # zeros: no sentence
            embeds = embeds.expand(len(inputs.photo), -1, -1)
        return encode_images(self.vae, inputs.photo, device=self._execution_device), embeds

    def warp_photo(self, inputs: CallInputs) -> WarpedPhoto | None:
        """`diffusion.warped_photo.warp_photo`, where a network takes it and there are poses; else None."""
        if inputs.poses is None or not self.uses_warped_photo:
            return None
        return warp_photo(
            inputs.photo,
            inputs.poses,
            inputs.joints,
            inputs.image_joints,
            self.warper,
            self._execution_device,
            inputs.views,
        )

    def generate_latents(
        self,
        reference_latents: torch.Tensor,
        prompt_embeds: torch.Tensor | None,
        pose_images: torch.Tensor | None,
        warped: WarpedPhoto | None,
        num_frames: int,
        sampling: Sampling,
        generator: Generators,
        latents: torch.Tensor | None,
        callback: StepCallback | None = None,
    ) -> torch.Tensor:
        """Sample latents (b, c, f, h, w) from inputs that were checked.

        Args:
            reference_latents: (b, c, h, w), from `encode_inputs`.
            prompt_embeds: (b, n, d), from `encode_inputs`; None without a sentence.
            pose_images: (b, 3, f, H, W) in [-1, 1]; None without poses.
            warped: from `warp_photo`.
            num_frames: f.
            sampling: steps and guidance.
            generator: see `__call__`.
            latents: (b, c, f, h, w) noise to start from.
            callback: called after each step.
        """
        branches = guidance_branches(
            *sampling.guidance_scales,
            has_poses=pose_images is not None,
            has_text=prompt_embeds is not None,
        )
        conditions = encode_conditions(self, reference_latents, prompt_embeds, pose_images, warped)
        return denoise(
            self,
            conditions,
            branches,
            sampling.num_inference_steps,
            reference_latents,
            num_frames,
            generator,
            latents,
            callback or StepCallback(),
        )

    def decode(
        self, latents: torch.Tensor, warped: WarpedPhoto | None, chunk_size: int | None
    ) -> torch.Tensor:
        """Latents (b, c, f, h, w) to pictures (b, 3, f, H, W) in [-1, 1]."""
        pixels = decode_latents(
            self.decoder,
            latents.transpose(1, 2).flatten(0, 1),
            chunk_size,
            None if warped is None else warped.pictures.flatten(0, 1),
            None if warped is None else warped.validity.flatten(0, 1),
            self._execution_device,
        )
        return pixels.unflatten(0, (latents.shape[0], latents.shape[2])).transpose(1, 2)

    @property
    def default_num_inference_steps(self) -> int:
        """A predictor of the clean latents needs few steps; the published procedure would take 1000."""
        return 2 if self.denoiser.config.prediction_type == "sample" else 25
