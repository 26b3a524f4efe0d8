"""Toy inputs and weights that tests share."""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from transformers import CLIPTokenizer

from data.pose_json import openpose_frames
from models.warper import Warper
from utils.files import write_json
from utils.pose_drawing import draw_pose
from warping.limbs import NUM_LIMBS, STATE_SIZE

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


def tiny_decoder(latent_channels: int, levels: int = 4) -> AutoencoderTiny:
    """A small decoder with random weights, of latents 2^(levels - 1) times smaller than pictures."""
    widths, blocks = (8,) * levels, (1,) * levels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderTiny(
            latent_channels=latent_channels,
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            num_encoder_blocks=blocks,
            num_decoder_blocks=blocks,
        ).eval()


def tiny_warper(height: int = HEIGHT) -> Warper:
    """A small warper with random weights for pictures of this height."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        warper = Warper(height, NUM_LIMBS, STATE_SIZE, channels=(8, 8, 16, 16), heads=2).eval()
    randomise(warper)
    return warper


def write_openpose_json(path: Path, keypoints: np.ndarray, height: int, width: int) -> None:
    """Poses (F, 18, 3) as the list of frames that DWPose nodes write."""
    write_json(path, openpose_frames(keypoints, height, width))
