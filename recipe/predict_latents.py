"""Sample a dataset's clips and keep the latents, for a decoder that learns to mend the denoiser's errors.

Try it:

    python -m recipe.predict_latents --split test --output_dir runs/predicted
    python -m recipe.predict_latents --pretrained_model MODEL --dataset DATA --max_clips 9 \
        --output_dir predicted

Writes a projected video NAME.safetensors for each clip, as project_latent_space.py does, with the latents
that inference would decode. Clips that are there already are not sampled again. recipe.train_decoder
reads the folder.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from data.annotations import Segment, load_annotations
from data.frames import count_frames, read_frames
from data.latents import write_latent_video
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import SAMPLERS
from generation.loading import load_pipeline
from generation.settings import SHIPPED_MODEL, ModelSettings
from generation.video import clip_seed
from utils.config import check_minimum, run_script
from utils.files import check_output_dir
from utils.precision import autocast
from warping.joints import load_joints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to sample."""

    pretrained_model: Path = SHIPPED_MODEL
    """Model's folder (recipe.export_model), or a denoiser's folder of train.py, which takes the shipped
    model's other parts."""
    dataset: Path = Path("fashion_dataset")
    """Dataset folder, with frames of the model's size."""
    split: Literal["train", "test"] = "train"
    """Which of its clips."""
    output_dir: Path
    """Gets NAME.safetensors for each clip."""
    max_clips: int | None = None
    """Sample only the first so many videos."""
    scheduler: Literal["default", *SAMPLERS] = "default"  # type: ignore[valid-type]
    """Sampler, as in inference.py."""
    num_inference_steps: int | None = None
    """Denoising steps; by default as inference.py."""
    seed: int = 0
    """Of the noise; each clip's depends on the seed and its name alone."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the networks' products."""


def sample_segment(pipeline: X2FashionPipeline, config: Config, segment: Segment) -> torch.Tensor:
    """Latents (f, c, h, w) float16 that the model makes for a segment from its first frame."""
    indices = range(segment.start, segment.end)
    photo = read_frames(config.dataset / "fashion_crop" / segment.name, [segment.start])[0]
    poses_dir = config.dataset / "fashion_poses" / segment.name
    joints = load_joints(poses_dir, segment.end)
    (latents,) = pipeline(
        photo,
        read_frames(poses_dir, indices),
        segment.text,
        joints=None if joints is None else joints[segment.start :],
        num_inference_steps=config.num_inference_steps,
        generator=torch.Generator().manual_seed(clip_seed(config.seed, segment.name)),
        output_type="latent",
        return_dict=False,
    )
    return latents[0].transpose(0, 1).half()


def main(config: Config) -> None:
    """Sample the videos that are not there yet, one file each."""
    if config.max_clips is not None:
        check_minimum(config, 1, "max_clips")
    check_output_dir(config.output_dir)
    videos: dict[str, list[Segment]] = {}
    for segment in load_annotations(config.dataset, config.split):
        videos.setdefault(segment.name, []).append(segment)
    settings = ModelSettings(pretrained_model=config.pretrained_model, scheduler=config.scheduler)
    pipeline = load_pipeline(settings, torch.device("cpu"))
    pipeline.set_progress_bar_config(disable=True)
    for name, segments in tqdm(list(videos.items())[: config.max_clips], desc="sample", unit="clip"):
        path = config.output_dir / f"{name}.safetensors"
        if path.is_file():
            continue
        latents: torch.Tensor | None = None
        for segment in segments:
            with autocast(config.dtype, pipeline.device):
                sampled = sample_segment(pipeline, config, segment)
            if latents is None:
                count = count_frames(config.dataset / "fashion_crop" / name)
                latents = sampled.new_zeros(count, *sampled.shape[1:])
            latents[segment.start : segment.end] = sampled
        assert latents is not None
        write_latent_video(path, {"latents": latents}, {"predicted_by": config.pretrained_model.name})
    print(f"the latents are in {config.output_dir}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
