r"""Sample a dataset's clips and save the latents, from which a decoder learns to correct the denoiser.

Try it:

    python -m recipe.predict_latents --split test --output_dir runs/predicted
    python -m recipe.predict_latents --pretrained_model MODEL --dataset DATA --max_clips 9 \
        --output_dir predicted

Writes a projected video NAME.safetensors for each video, as project_latent_space.py does, with the latents
that inference.py decodes for the same seed and settings (a segment of more than 24 frames, which inference.py
makes in windows, is sampled in one piece). Videos that were already made with the same model and settings are
skipped. recipe.train_decoder reads the folder.
"""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from data.annotations import Segment, load_annotations
from data.frames import count_frames, frame_paths, read_frames
from data.latents import LatentVideo, is_finished, write_latent_video
from diffusion.pipeline import X2FashionPipeline
from generation.loading import load_pipeline
from generation.settings import ModelSettings
from generation.video import choose_sampling, clip_seed
from models.loading import model_sha256
from preparation.projection import sources_sha256
from utils.config import check_minimum, run_script
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import check_output_dir
from utils.paths import SHIPPED_DATASET, refuse_overwrites_by
from utils.precision import autocast, resolve_dtype
from warping.joints import load_joints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ModelSettings):
    """What to sample."""

    dataset: Path = SHIPPED_DATASET
    """Folder of the dataset; its frames have the model's size."""
    split: Literal["train", "test"] = "train"
    """Split of the dataset whose clips are sampled."""
    output_dir: Path
    """Folder for the latents: NAME.safetensors for each clip."""
    max_clips: int | None = None
    """Sample only the first so many videos."""


def sample_segment(
    pipeline: X2FashionPipeline, config: Config, segment: Segment, clip_name: str
) -> torch.Tensor:
    """Latents (f, c, h, w) float16 that the model makes for a segment from its first frame.

    `clip_name` is what inference.py calls the segment's video: its noise depends on that and the seed.
    """
    indices = range(segment.start, segment.end)
    photo = read_frames(config.dataset / "fashion_crop" / segment.name, [segment.start])[0]
    poses_dir = config.dataset / "fashion_poses" / segment.name
    joints = load_joints(poses_dir, segment.end)
    seed = clip_seed(config.seed, clip_name)
    (latents,) = pipeline(
        photo,
        read_frames(poses_dir, indices),
        segment.text,
        joints=None if joints is None else joints[segment.start :],
        **dataclasses.asdict(choose_sampling(config, pipeline)),
        generator=torch.Generator().manual_seed(seed),
        height=photo.shape[0],
        width=photo.shape[1],
        latents=pipeline.frame_noise(seed, range(len(indices)), *photo.shape[:2]),
        output_type="latent",
        return_dict=False,
    )
    return latents[0].transpose(0, 1).half().cpu()


def settings_of(pipeline: X2FashionPipeline, config: Config) -> dict[str, str]:
    """What all videos of a run are made with, for their files' headers."""
    return {
        "predicted_by": config.pretrained_model.name,
        "denoiser_sha256": model_sha256(pipeline.denoiser),
        "model_vae_sha256": model_sha256(pipeline.vae),
        "text_encoder_sha256": model_sha256(pipeline.text_encoder),
        "warper_sha256": "" if pipeline.warper is None else model_sha256(pipeline.warper),
        "scheduler": type(pipeline.scheduler).__name__,
        "sampling": json.dumps(dataclasses.asdict(choose_sampling(config, pipeline))),
        "seed": str(config.seed),
        "dtype": str(resolve_dtype(config.dtype, pipeline.device)),
    }


def source_files(dataset_dir: Path, name: str) -> list[Path]:
    """What a video's latents are made from: its frames, and its poses as pictures and as numbers."""
    poses_dir = dataset_dir / "fashion_poses" / name
    json_path = poses_dir.with_name(f"{name}.json")
    joints = [json_path] if json_path.is_file() else []
    return [*frame_paths(dataset_dir / "fashion_crop" / name), *frame_paths(poses_dir), *joints]


def is_projected(path: Path) -> bool:
    """Whether a file holds latents of true frames."""
    try:
        return "predicted_by" not in LatentVideo(path).metadata
    except UserError:  # no such file, or a damaged one
        return False


def main(config: Config) -> None:
    """Sample the videos that are not there yet, one file each."""
    if config.max_clips is not None:
        check_minimum(config, 1, "max_clips")
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / "config.json"])
    videos: dict[str, list[Segment]] = {}
    for segment in load_annotations(config.dataset, config.split):
        videos.setdefault(segment.name, []).append(segment)
    for name in list(videos)[: config.max_clips]:
        if is_projected(config.output_dir / f"{name}.safetensors"):
            raise UserError(
                f"{config.output_dir} holds {name}, which project_latent_space.py wrote and which would be "
                "overwritten; choose another --output_dir"
            )
    pipeline = load_pipeline(config, choose_device(config.device))
    pipeline.set_progress_bar_config(disable=True)
    made_with = settings_of(pipeline, config)
    for name, segments in tqdm(list(videos.items())[: config.max_clips], desc="sample", unit="clip"):
        path = config.output_dir / f"{name}.safetensors"
        metadata = made_with | {
            "segments": json.dumps([[s.start, s.end, s.text] for s in segments]),
            "sources_sha256": sources_sha256(config.dataset, source_files(config.dataset, name)),
        }
        if is_finished(path, metadata):
            continue
        latents: torch.Tensor | None = None
        for segment in segments:
            with autocast(config.dtype, pipeline.device):
                clip_name = name if len(segments) == 1 else f"{name}_{segment.start:03d}"
                sampled = sample_segment(pipeline, config, segment, clip_name)
            if latents is None:
                count = count_frames(config.dataset / "fashion_crop" / name)
                latents = sampled.new_zeros(count, *sampled.shape[1:])
            latents[segment.start : segment.end] = sampled
        assert latents is not None
        write_latent_video(path, {"latents": latents}, metadata)
    print(f"the latents are in {config.output_dir}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
