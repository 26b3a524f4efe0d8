"""From one photo, poses and a sentence to a clip: encode once, denoise, guide, decode."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.utils import BaseOutput, logging
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from diffusion.guidance import Branch, combine, guidance_branches
from diffusion.inputs import (
    Pictures,
    check_multiple,
    clip_tensor,
    fit_pictures,
    joints_array,
    photo_tensor,
)
from diffusion.latents import (
    decode_latents,
    encode_images,
    frame_noise,
    load_vae,
    mix_noise,
    spatial_factor,
)
from diffusion.lora import LoraLoaderMixin
from diffusion.parts import check_parts_fit
from diffusion.sampling import Sampling
from diffusion.schedule import check_scheduler, make_scheduler, step_options
from diffusion.text import encode_prompts, load_text_encoder
from diffusion.warped_photo import WarpedPhoto, encode_warped_photo, warp_photo
from models import Conditions, Denoiser, load_denoiser
from models.autoencoder import ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from models.loading import align_weights
from utils.errors import UserError

logger = logging.get_logger(__name__)

PUBLISHED_SIZE = 512, 256
"""Height and width in pixels of the published model's pictures."""
OUTPUT_TYPES = ("np", "pt", "pil", "latent")
# diffusers looks a component's class up in a module that model_index.json names, and its base ModelMixin
# there too: both are found in this module.
OWN_CLASSES: tuple[type[ModelMixin], ...] = (Denoiser, SpaceToDepthAutoencoderKL, ReferenceAutoencoderKL)


@dataclasses.dataclass
class X2FashionPipelineOutput(BaseOutput):
    """What the pipeline returns.

    Attributes:
        frames: by `output_type`: "np" (b, F, H, W, 3) in [0, 1]; "pt" (b, F, 3, H, W) in [0, 1]; "pil" a list
            of pictures for each clip; "latent" the normalised latents (b, c, f, h, w).
    """

    frames: np.ndarray | torch.Tensor | list[list[PIL.Image.Image]]


class X2FashionPipeline(DiffusionPipeline, LoraLoaderMixin):
    """One photo, a sequence of poses and a sentence become a short video.

    Example:
        >>> pipeline = X2FashionPipeline.from_pretrained("pretrained_model/x2fashion-small")
        >>> output = pipeline(photo, poses, "This lady turns to the left.", generator=torch.manual_seed(0))
        >>> output.frames.shape
        (1, 24, 256, 128, 3)

    Args:
        denoiser: the trained networks.
        vae: pictures to latents and back; frozen.
        text_encoder: its last hidden state conditions the denoiser; frozen. None where sentences are given as
            `prompt_embeds`, or not at all.
        tokenizer: of the text encoder.
        scheduler: any diffusers scheduler over the betas that the denoiser was trained with; see
            `diffusion.schedule.make_scheduler`.
        height: of the pictures that the model was made for, in pixels, kept in model_index.json. If None,
            that of the pipeline that the denoiser comes from, or the published 512.
        width: of these pictures; the published one is 256.
        tiny_decoder: decodes in place of the VAE, faster and softer, without the photo; such as TAESD for
            Stable Diffusion's VAE.
    """

    model_cpu_offload_seq = "text_encoder->denoiser->vae->tiny_decoder"
    _callback_tensor_inputs = ("latents", "reference_latents", "prediction")
    _optional_components = ["text_encoder", "tokenizer", "tiny_decoder"]  # noqa: RUF012

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
    ):
        super().__init__()
        for network in (denoiser, vae, text_encoder, tiny_decoder):
            if network is not None:  # `from_pretrained` leaves them as they stand in their files
                align_weights(network)
        for network in (vae, tiny_decoder):
            if network is not None:  # convolutions are faster so
                network.to(memory_format=torch.channels_last)
        self.register_modules(
            denoiser=denoiser,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=scheduler,
            tiny_decoder=tiny_decoder,
        )
        if height and width and denoiser is not None:
            denoiser.picture_size = height, width
        known = None if denoiser is None else denoiser.picture_size
        known_height, known_width = known or PUBLISHED_SIZE
        self.register_to_config(height=height or known_height, width=width or known_width)
        self.vae_factor = 8 if vae is None else spatial_factor(vae)
        self._num_timesteps, self._interrupt = 0, False
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_factor)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Read model_index.json; our classes are found by name, wherever they lived when it was written."""
        loaded = super().load_config(*args, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        own_names = {component.__name__ for component in OWN_CLASSES}
        for name, value in config.items():
            if isinstance(value, list | tuple) and len(value) == 2 and value[1] in own_names:
                config[name] = [__name__, value[1]]
        return loaded

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
        """Keep the weights of the networks that cost time (denoiser, VAE, tiny decoder) in another precision.

        Once, instead of by autocast at every step and every chunk of frames. What is computed beside the
        networks, such as the schedule's steps and the mix with the warped photo, stays in float32.
        """
        for network in (self.denoiser, self.vae, self.tiny_decoder):
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

    def check_inputs(
        self,
        photo: torch.Tensor,
        poses: torch.Tensor | None,
        prompts: list[str] | None,
        num_frames: int | None,
        num_inference_steps: int,
        output_type: str,
        callback_on_step_end_tensor_inputs: Sequence[str],
        prompt_embeds: torch.Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> tuple[int, int]:
        """Refuse what cannot be sampled, before anything is computed.

        Returns:
            The number of clips and the number of frames.

        Raises:
            UserError: one line that says what is wrong and what is allowed.
        """
        height, width = photo.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise UserError(
                f"image is {height} x {width} (height x width); both must divide by {self.size_multiple}: "
                f"the model was made for {self.config.height} x {self.config.width}"
            )
        if poses is None:
            num_frames = 24 if num_frames is None else num_frames
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
        check_multiple("frames", num_frames, self.denoiser.frame_multiple)
        counts = {len(photo), len(poses) if poses is not None else 1, len(prompts) if prompts else 1}
        if prompt_embeds is not None:
            self._check_prompt_embeds(prompt_embeds, prompts)
            counts.add(len(prompt_embeds))
        elif prompts and (self.text_encoder is None or self.tokenizer is None):
            raise UserError(
                "this pipeline has no text encoder to read the prompt with; give prompt_embeds, or no prompt"
            )
        if len(counts - {1}) > 1:
            raise UserError(
                f"image, poses and prompt make {sorted(counts)} clips; give as many of each, or one of a kind"
            )
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type is {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
        unknown = [
            name for name in callback_on_step_end_tensor_inputs if name not in self._callback_tensor_inputs
        ]
        if unknown:
            raise UserError(
                f"a callback cannot be given {', '.join(unknown)}; choose among "
                f"{', '.join(self._callback_tensor_inputs)}"
            )
        if isinstance(generator, list) and len(generator) != max(counts):
            raise UserError(
                f"{len(generator)} generators are given for {max(counts)} clips; give one for each, or a "
                "single one"
            )
        check_parts_fit(self.denoiser, self.vae, self.text_encoder, self.tiny_decoder)
        check_scheduler(self.scheduler, self.denoiser.config.prediction_type, num_inference_steps)
        return max(counts), num_frames

    def _check_prompt_embeds(self, prompt_embeds: torch.Tensor, prompts: list[str] | None) -> None:
        if prompts:
            raise UserError("both prompt and prompt_embeds are given; give one of them")
        width = self.denoiser.config.cross_attention_dim
        if prompt_embeds.ndim != 3 or prompt_embeds.shape[2] != width:
            raise UserError(
                f"prompt_embeds have shape {tuple(prompt_embeds.shape)}; give (clips, tokens, {width}), as "
                "encode_prompt returns"
            )

    def _fit_inputs(
        self,
        photo: torch.Tensor,
        poses: torch.Tensor | None,
        joints: np.ndarray | None,
        image_joints: np.ndarray | None,
        height: int | None,
        width: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, np.ndarray | None, np.ndarray | None]:
        """Fit photo (b, 3, H, W) and poses (b, 3, F, H, W) to one size, and move their joints with them.

        The size is the one asked for, or the one that the model was made for. Where nobody has said what it
        was made for, pictures of a size that it takes stay as they are.
        """
        size = photo.shape[-2:]
        fits = not any(side % self.size_multiple for side in size)
        alike = poses is None or poses.shape[-2:] == size
        if height is None and width is None and self.denoiser.picture_size is None and fits and alike:
            return photo, poses, joints, image_joints
        height, width = height or self.config.height, width or self.config.width
        photo, place = fit_pictures(photo, height, width)
        if image_joints is not None:
            image_joints = place.to_fitted(image_joints)
        if poses is not None:
            fitted, place = fit_pictures(poses.transpose(1, 2), height, width)
            poses = fitted.transpose(1, 2)
            joints = None if joints is None else place.to_fitted(joints)
        return photo, poses, joints, image_joints

    def encode_prompt(self, prompts: list[str]) -> torch.Tensor:
        """Encode sentences as (b, n, d): the text encoder's last hidden state of all n tokens.

        What exceeds the tokenizer's length is cut off, with a warning.
        """
        length = self.tokenizer.model_max_length
        for prompt in prompts:
            if len(self.tokenizer(prompt).input_ids) > length:
                logger.warning(
                    f"the text encoder reads {length} tokens; the end of this sentence is ignored: {prompt}"
                )
        return encode_prompts(self.tokenizer, self.text_encoder, prompts, self._execution_device)

    def prepare_latents(
        self,
        reference_latents: torch.Tensor,
        num_frames: int,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the initial noise, or take the caller's.

        Args:
            reference_latents: (b, c, h, w), the encoded photo.
            num_frames: f.
            generator: source of the noise; a list has one for each clip.
            latents: (b, c, f, h, w) standard normal noise to use in place of a draw.

        Returns:
            The noisy latents (b, c, f, h, w) in float32, scaled as the scheduler wants them, with the photo
            in place at frame 0; and the noise of frame 0 (b, c, h, w), for branches that do not see the
            photo.
        """
        batch, channels, height, width = reference_latents.shape
        shape = (batch, channels, num_frames, height, width)
        if latents is None:
            noise = randn_tensor(shape, generator, reference_latents.device, torch.float32)
            if share := self.denoiser.config.shared_noise:
                one_frame = (*shape[:2], 1, *shape[3:])
                common = randn_tensor(one_frame, generator, reference_latents.device, torch.float32)
                noise = mix_noise(noise, common, share)
        elif latents.shape != shape:
            raise UserError(f"latents have shape {tuple(latents.shape)}; this call needs {shape}")
        else:
            noise = latents.to(reference_latents.device, torch.float32)
        return _with_first_frame(noise * self.scheduler.init_noise_sigma, reference_latents), noise[:, :, 0]

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
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        callback_on_step_end: Callable[[Any, int, torch.Tensor, dict], dict]
        | PipelineCallback
        | MultiPipelineCallbacks
        | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "np",
        decode_chunk_size: int | None = None,
        return_dict: bool = True,
    ) -> X2FashionPipelineOutput | tuple:
        """Make one clip, or a batch of them.

        Args:
            image: the photo, where the clip begins; see `diffusion.inputs.photo_tensor`. It is fitted to the
                clip's size without distortion.
            poses: skeleton pictures, one a frame, the first one the photo's; see
                `diffusion.inputs.clip_tensor`. They and their joints are fitted as the photo is. None leaves
                the motion to the sentence.
            prompt: one sentence, or one for each clip; None or "" leaves it out.
            prompt_embeds: (1 or b, n, d), what `encode_prompt` returned, in place of the prompt.
            height: height of the clip in pixels, a multiple of `size_multiple`. If None, the height that the
                model was made for.
            width: width of the clip in pixels, a multiple of `size_multiple`. If None, the width that the
                model was made for.
            joints: (F, 18, 3) or (b, F, 18, 3): x, y in pixels and visibility of the poses' joints, for a
                denoiser that takes the photo warped to the poses; read back from the pictures if None.
            image_joints: (18, 3) or (b, 18, 3), the same of the photo; those of pose 0 if None.
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
        sampling = Sampling(
            num_inference_steps=(
                self.default_num_inference_steps if num_inference_steps is None else num_inference_steps
            ),
            image_guidance_scale=image_guidance_scale,
            pose_guidance_scale=pose_guidance_scale,
            text_guidance_scale=text_guidance_scale,
        )
        photo, pose_images = photo_tensor(image), clip_tensor(poses) if poses is not None else None
        photo, pose_images, joints, image_joints = self._fit_inputs(
            photo, pose_images, joints, image_joints, height, width
        )
        if isinstance(callback_on_step_end, PipelineCallback | MultiPipelineCallbacks):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        prompts = [prompt] if isinstance(prompt, str) else prompt
        if not prompts or not any(prompts):
            prompts = None
        batch, num_frames = self.check_inputs(
            photo,
            pose_images,
            prompts,
            num_frames,
            sampling.num_inference_steps,
            output_type,
            callback_on_step_end_tensor_inputs,
            prompt_embeds,
            generator,
        )
        photo = photo.expand(batch, -1, -1, -1)
        if pose_images is not None:
            pose_images = pose_images[:, :, :num_frames].expand(batch, -1, -1, -1, -1)
        warped = self.warp_photo(
            photo,
            pose_images,
            joints_array(joints, (batch, num_frames), "joints"),
            joints_array(image_joints, (batch,), "image_joints"),
        )
        reference_latents, embeds = self.encode_inputs(photo, prompts)
        if prompt_embeds is not None:
            embeds = prompt_embeds.expand(batch, -1, -1)
        latents = self.generate_latents(
            reference_latents,
            embeds,
            pose_images,
            warped,
            num_frames,
            sampling,
            generator,
            latents,
            callback_on_step_end,
            callback_on_step_end_tensor_inputs,
        )
        frames = latents
        if output_type != "latent":
            frames = self.video_processor.postprocess_video(
                self.decode(latents, warped, decode_chunk_size), output_type
            )
        self.maybe_free_model_hooks()
        return X2FashionPipelineOutput(frames=frames) if return_dict else (frames,)

    def encode_inputs(
        self, photo: torch.Tensor, prompts: list[str] | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode what all frames of a clip share.

        Args:
            photo: (b, 3, H, W) in [-1, 1].
            prompts: one sentence, or b of them; None without.

        Returns:
            The photo's normalised latents (b, c, h, w), and the sentences' embeddings (b, n, d) or None.
        """
        embeds = None if prompts is None else self.encode_prompt(prompts).expand(len(photo), -1, -1)
        return encode_images(self.vae, photo, device=self._execution_device), embeds

    def warp_photo(
        self,
        photo: torch.Tensor,
        pose_images: torch.Tensor | None,
        joints: np.ndarray | None,
        image_joints: np.ndarray | None,
    ) -> WarpedPhoto | None:
        """`diffusion.warped_photo.warp_photo`, where a network takes it and there are poses; else None."""
        if pose_images is None or not self.uses_warped_photo:
            return None
        return warp_photo(photo, pose_images, joints, image_joints)

    def generate_latents(
        self,
        reference_latents: torch.Tensor,
        prompt_embeds: torch.Tensor | None,
        pose_images: torch.Tensor | None,
        warped: WarpedPhoto | None,
        num_frames: int,
        sampling: Sampling,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: torch.Tensor | None,
        callback: Callable[[Any, int, torch.Tensor, dict], dict] | None = None,
        callback_tensor_inputs: Sequence[str] = (),
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
            callback_tensor_inputs: what it is given.
        """
        branches = guidance_branches(
            *sampling.guidance_scales,
            has_poses=pose_images is not None,
            has_text=prompt_embeds is not None,
        )
        conditions = self._conditions(reference_latents, prompt_embeds, pose_images, warped)
        return self._denoise(
            self._branch_conditions(conditions, branches, len(reference_latents)),
            branches,
            sampling.num_inference_steps,
            reference_latents,
            num_frames,
            generator,
            latents,
            callback,
            callback_tensor_inputs,
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

    def _conditions(
        self,
        reference_latents: torch.Tensor,
        prompt_embeds: torch.Tensor | None,
        pose_images: torch.Tensor | None,
        warped: WarpedPhoto | None,
    ) -> Conditions:
        inputs: dict[str, torch.Tensor] = {"reference_latents": reference_latents}
        if pose_images is not None:
            inputs["pose_images"] = pose_images
        if warped is not None and self.denoiser.config.warp_input:
            inputs["warped_latents"], inputs["warp_validity"] = encode_warped_photo(
                self.vae, warped, self._execution_device
            )
        if prompt_embeds is not None:
            inputs["prompt_embeds"] = prompt_embeds
        device, dtype = self._execution_device, self.denoiser.dtype
        return self.denoiser.encode_conditions(
            **{name: value.to(device, dtype) for name, value in inputs.items()}
        )

    def _branch_conditions(
        self, conditions: Conditions, branches: Sequence[Branch], batch: int
    ) -> Conditions:
        """Copy the conditions for each branch, without those that the branch leaves out; branch by branch."""

        def mask(drop: bool) -> torch.Tensor:
            return torch.full((batch,), drop, device=self._execution_device)

        dropped = [
            conditions
            if branch.image and branch.poses and branch.text
            else conditions.drop(
                image=mask(not branch.image), poses=mask(not branch.poses), text=mask(not branch.text)
            )
            for branch in branches
        ]
        return dropped[0] if len(dropped) == 1 else Conditions.cat(dropped)

    def _denoise(
        self,
        conditions: Conditions,
        branches: Sequence[Branch],
        num_inference_steps: int,
        reference_latents: torch.Tensor,
        num_frames: int,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: torch.Tensor | None,
        callback: Callable[[Any, int, torch.Tensor, dict], dict] | None,
        callback_tensor_inputs: Sequence[str],
    ) -> torch.Tensor:
        """Run the loop. Frame 0 of the latents is the photo at all times."""
        device, dtype = self._execution_device, self.denoiser.dtype
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        latents, first_noise = self.prepare_latents(reference_latents, num_frames, generator, latents)
        options = step_options(self.scheduler, generator)
        self._num_timesteps, self._interrupt = len(self.scheduler.timesteps), False

        with self.progress_bar(total=self._num_timesteps) as progress:
            for step, timestep in enumerate(self.scheduler.timesteps):
                if self._interrupt:
                    break
                noisy = self._model_input(latents, reference_latents, first_noise, branches, timestep)
                prediction = self.denoiser(noisy.to(dtype), timestep, conditions=conditions)
                prediction = combine(prediction.float(), branches)
                latents = self.scheduler.step(prediction, timestep, latents, **options, return_dict=False)[0]
                latents = _with_first_frame(latents, reference_latents)

                if callback is not None:
                    tensors = {"latents": latents, "reference_latents": reference_latents}
                    tensors["prediction"] = prediction
                    chosen = {name: tensors[name] for name in callback_tensor_inputs}
                    latents = (callback(self, step, timestep, chosen) or {}).get("latents", latents)
                progress.update()
        return latents

    def _model_input(
        self,
        latents: torch.Tensor,
        reference_latents: torch.Tensor,
        first_noise: torch.Tensor,
        branches: Sequence[Branch],
        timestep: torch.Tensor,
    ) -> torch.Tensor:
        """Scale the latents for the denoiser; frame 0 is the photo, noised where a branch must not see it."""
        scaled = self.scheduler.scale_model_input(latents, timestep)
        inputs = []
        for branch in branches:
            first = reference_latents
            if not branch.image:
                first = self.scheduler.add_noise(first, first_noise, timestep.expand(len(first)))
                first = self.scheduler.scale_model_input(first, timestep)
            inputs.append(_with_first_frame(scaled, first))
        return torch.cat(inputs)


def _with_first_frame(latents: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    return torch.cat([first.unsqueeze(2), latents[:, :, 1:]], dim=2)
