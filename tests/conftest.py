"""Toy models and a toy dataset that tests share: real classes, random weights, nothing downloaded."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import make_scheduler
from models import PRESETS, Denoiser
from models.autoencoder import TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL
from utils.files import write_json, write_text
from utils.image import write_png
from utils.pose_drawing import draw_pose

HEIGHT, WIDTH = 64, 32
MAX_TOKENS = 16
SENTENCES = ["This lady turns to the left.", "This lady moves toward the right side.", "She raises her arm."]
# A standing figure in a picture of height 1 and width 0.5: x, y of the 18 joints.
FIGURE = np.array(
    [
        (0.25, 0.14), (0.25, 0.24),
        (0.18, 0.25), (0.15, 0.37), (0.13, 0.48),
        (0.32, 0.25), (0.35, 0.37), (0.37, 0.48),
        (0.20, 0.50), (0.20, 0.68), (0.20, 0.86),
        (0.30, 0.50), (0.30, 0.68), (0.30, 0.86),
        (0.23, 0.12), (0.27, 0.12), (0.21, 0.13), (0.29, 0.13),
    ]
)  # fmt: skip


def figure_joints(num_frames: int, height: int = HEIGHT, shift: float = 0.004) -> np.ndarray:
    """(F, 18, 3) joints in pixels of a figure that moves to the right by `shift` heights a frame."""
    xy = np.repeat(FIGURE[None], num_frames, axis=0)
    xy[..., 0] += shift * np.arange(num_frames)[:, None]
    return np.concatenate([xy * height, np.ones((num_frames, 18, 1))], axis=-1).astype(np.float32)


def figure_clip(num_frames: int, height: int = HEIGHT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames and skeletons (F, height, height / 2, 3) uint8, and joints, of a red figure on light grey."""
    joints = figure_joints(num_frames, height)
    poses = np.stack([draw_pose(frame, height, height // 2) for frame in joints])
    frames = np.full_like(poses, 220)
    frames[poses.any(-1)] = (200, 40, 30)
    return frames, poses, joints


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer, trained on three sentences."""
    untrained = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
    tokenizer = untrained.train_new_from_iterator(SENTENCES, vocab_size=300, show_progress=False)
    tokenizer.model_max_length = MAX_TOKENS
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter, those that start at zero too, so that every condition matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise / math.sqrt(fan_in) + (parameter.ndim == 1) * parameter)


@pytest.fixture(scope="session")
def make_tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., X2FashionPipeline]:
    """A function that builds a pipeline of 64 x 32 pixels; arguments override the denoiser's tiny preset."""
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))

    def make(sampler: str = "ddim", **overrides: object) -> X2FashionPipeline:
        config = {**PRESETS["tiny"], **overrides}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            denoiser = Denoiser(**config).eval()
            vae = SpaceToDepthAutoencoderKL(**TINY_VAE_CONFIG | {"latent_channels": config["latent_channels"]})
            text_encoder = CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=config["cross_attention_dim"],
                    intermediate_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    max_position_embeddings=MAX_TOKENS,
                    bos_token_id=tokenizer.bos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            )
        randomise(denoiser)
        pipeline = X2FashionPipeline(
            denoiser,
            vae.eval().requires_grad_(False),
            text_encoder.eval().requires_grad_(False),
            tokenizer,
            make_scheduler(sampler, denoiser.config.prediction_type),
            height=HEIGHT,
            width=WIDTH,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return make


@pytest.fixture(scope="session")
def tiny_pipeline_dir(
    make_tiny_pipeline: Callable[..., X2FashionPipeline], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved pipeline of the tiny preset, laid out as the shipped one; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny_pipeline("dpmsolver++").save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_dataset_dir(tmp_path: Path) -> Path:
    """A dataset of two test clips and one training clip, 6 frames of 64 x 32 each, with joints beside the poses."""
    folder = tmp_path / "dataset"
    for split, name in (("test", "anna"), ("test", "berta"), ("train", "clara")):
        frames, poses, joints = figure_clip(6)
        for index, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
            write_png(folder / "fashion_crop" / name / f"{index:03d}.png", frame)
            write_png(folder / "fashion_poses" / name / f"{index:03d}.png", pose)
        document = {"height": HEIGHT, "width": WIDTH, "keypoints": joints.tolist()}
        write_json(folder / "fashion_poses" / f"{name}.json", document)
        write_text(folder / split / f"{name}.txt", f"0 6 {SENTENCES[0]}\n")
    return folder
