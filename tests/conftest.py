"""Toy models and a toy dataset that tests share: real classes, random weights, nothing downloaded."""

import os
from collections.abc import Callable
from pathlib import Path

# One thread for each test process and what it starts: pytest-xdist runs one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings
from transformers import CLIPTextConfig, CLIPTextModel

from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import make_scheduler
from models import PRESETS, Denoiser
from models.autoencoder import TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL
from models.text_to_poses import TextToPoses
from tests.toys import HEIGHT, MAX_TOKENS, SENTENCES, WIDTH, figure_clip, randomise, tiny_tokenizer
from utils.files import write_json, write_text
from utils.image import write_png
from utils.pose_drawing import NUM_JOINTS

# The same examples in every run; to look for new ones, run pytest with --hypothesis-profile default.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def make_tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., X2FashionPipeline]:
    """A function that builds a pipeline of 64 x 32 pixels; arguments override the denoiser's tiny preset."""
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))

    def make(sampler: str = "ddim", **overrides: object) -> X2FashionPipeline:
        config = {**PRESETS["tiny"], **overrides}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            denoiser = Denoiser(**config).eval()
            vae = SpaceToDepthAutoencoderKL(
                **TINY_VAE_CONFIG | {"latent_channels": config["latent_channels"]}
            )
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
    pipeline = make_tiny_pipeline("dpmsolver++")
    pipeline.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_to_poses = TextToPoses(
            cross_attention_dim=pipeline.text_encoder.config.hidden_size, width=16, num_components=8
        )
    randomise(text_to_poses)
    with torch.no_grad():
        text_to_poses.components.weight.mul_(0.1)
        # Every joint is seen all the time, whatever the processor rounds.
        outputs = text_to_poses.components.bias.view(NUM_JOINTS, -1)
        outputs[:, -text_to_poses.config.num_visibility_cosines] += 10
    text_to_poses.save_pretrained(folder / "text_to_poses")
    return folder


@pytest.fixture
def tiny_dataset_dir(tmp_path: Path) -> Path:
    """A dataset of two test clips and a training clip, 6 frames of 64 x 32 each, joints beside the poses."""
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
