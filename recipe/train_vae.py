"""Train the small VAE on a dataset's frames.

Try it:

    python -m recipe.train_vae --dataset fashion_dataset --output_dir runs/try_vae --max_train_steps 20
    python -m recipe.train_vae --dataset DATA --output_dir runs/vae --max_train_steps 4000

Run the same command again to continue from the last checkpoint. The VAE for inference is output_dir/vae.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data.annotations import load_annotations
from data.frames import frame_paths
from data.masks import read_mask
from diffusion.latents import decode_latents, encode_images, load_vae
from models.autoencoder import VAE_SIZES, ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from training.vae import fit, reconstruction_loss, shuffled_batches, step_generator, with_noise
from utils.config import check_minimum, run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import atomic_folder, check_output_dir, write_json
from utils.image import read_image, to_uint8, write_png
from utils.paths import SHIPPED_DATASET, refuse_overwrites_by

OUTPUTS = ("vae", "config.json", "metrics.json", "reconstructions.png", "checkpoint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a VAE training run."""

    dataset: tuple[Path, ...] = (SHIPPED_DATASET,)
    """Dataset folders: fashion_crop is read, and fashion_masks where there is one. All frames are drawn
    equally often."""
    output_dir: Path = Path("runs/vae")
    """Gets checkpoint/, vae/ (for inference), metrics.json and a sheet of held-out reconstructions."""
    size: Literal["f8", "f16"] = "f16"
    """f16 makes pictures 16 times smaller, with 16 channels, for 512 x 256 pixels; f8 8 times, with 8
    channels, for 256 x 128."""
    init_from: Path | None = None
    """Begin with this VAE's weights instead of random ones. In one of recipe.train_decoder, the layers that
    see the photo stay as they are: run recipe.train_decoder again afterwards."""
    max_train_steps: int = 4000
    """Optimisation steps in all; the learning rate's cosine ends there."""
    train_batch_size: int = 8
    """Pictures a step."""
    crop: int = 0
    """Train on crops so many pixels high and half as wide, around places of the person, which is faster where
    pictures are large; 0 takes whole pictures."""
    learning_rate: float = 1e-3
    """Peak of AdamW's learning rate."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    kl_weight: float = 1e-4
    """Weight of the KL term."""
    latent_noise: float = 0.15
    """Noise on the latents that the decoder sees, up to this share of their standard deviation: small errors
    of a denoiser then decode into small errors of the picture."""
    person_weight: float = 4.0
    """Weight of pixels of the person (where there are masks) against 1 for the background."""
    ema_decay: float = 0.998
    """Decay a step of the averaged weights, which are what is saved for inference; grows to this from 0.1."""
    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps."""
    num_workers: int = 0
    """Data loader processes."""
    num_test_frames: int = 64
    """Held-out frames that metrics.json is measured on."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    seed: int = 0
    """Weights and the order of the frames follow from it."""


class FrameDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Frames of one split with the weight of every pixel, slightly varied in colour and mirrored in training.

    Colours are varied by shuffling channels and scaling each one, so that the VAE is not tied to the clothes
    it has seen.
    """

    def __init__(
        self,
        dataset_dirs: Sequence[Path],
        split: str,
        person_weight: float,
        augmentation_seed: int | None,
        crop: int = 0,
    ) -> None:
        self.paths = [
            path
            for root in dataset_dirs
            if split == "train" or any((root / split).glob("*.txt"))
            for name in sorted({segment.name for segment in load_annotations(root, split)})
            for path in frame_paths(root / "fashion_crop" / name)
        ]
        if not self.paths:
            raise UserError(
                f"{', '.join(map(str, dataset_dirs))} has no frames in its {split} split; docs/dataset.md "
                "has the layout"
            )
        self.person_weight, self.seed, self.crop = person_weight, augmentation_seed, crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path = self.paths[index % len(self.paths)]
        picture = read_image(path)
        mask_path = path.parents[2] / "fashion_masks" / path.parent.name / f"{path.stem}.png"
        weight = np.ones(picture.shape[:2], np.float32)
        if mask_path.is_file():
            person = (read_mask(mask_path, picture.shape[:2]) > 0).astype(np.uint8)
            person = cv2.dilate(person, np.ones((5, 5), np.uint8))
            weight += (self.person_weight - 1) * person
        image = picture.astype(np.float32) / 127.5 - 1
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, index])
            image, weight = random_crop(image, weight, self.crop, rng)
            if rng.random() < 0.5:
                image, weight = image[:, ::-1], weight[:, ::-1]
            if rng.random() < 0.5:
                image = (image[..., rng.permutation(3)] + 1) * rng.uniform(0.7, 1.1, 3).astype(np.float32) - 1
        image = np.clip(np.ascontiguousarray(image), -1, 1)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(np.ascontiguousarray(weight))[None]


def random_crop(
    image: np.ndarray, weight: np.ndarray, height: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A window of a picture (H, W, 3) and its weights, half as wide as high, around a pixel of the person."""
    size = height, height // 2
    if not height or any(side <= own for side, own in zip(weight.shape, size, strict=True)):
        return image, weight
    places = np.argwhere(weight >= weight.max())
    place = places[rng.integers(len(places))]
    rows, columns = (
        slice(start := int(np.clip(middle - own // 2, 0, side - own)), start + own)
        for middle, own, side in zip(place, size, weight.shape, strict=True)
    )
    return image[rows, columns], weight[rows, columns]


@torch.no_grad()
def set_latent_statistics(
    vae: SpaceToDepthAutoencoderKL, dataset: FrameDataset, num_frames: int = 256
) -> None:
    """Measure each latent channel's mean and standard deviation and put them into the configuration."""
    indices = np.linspace(0, len(dataset) - 1, min(num_frames, len(dataset))).astype(int)
    vae.register_to_config(latents_mean=None, latents_std=None)
    latents = torch.cat([encode_images(vae, dataset[i][0][None]) for i in indices])
    vae.register_to_config(
        latents_mean=latents.mean((0, 2, 3)).tolist(),
        latents_std=latents.std((0, 2, 3)).clamp(min=1e-3).tolist(),
    )


@torch.no_grad()
def evaluate(
    vae: SpaceToDepthAutoencoderKL, dataset: FrameDataset, num_frames: int, sheet_path: Path
) -> dict[str, float]:
    """PSNR in dB over held-out frames, whole and where the weight marks the person; writes a sheet."""
    indices = np.linspace(0, len(dataset) - 1, min(num_frames, len(dataset))).astype(int)
    whole, inside, shown = [], [], []
    for i in indices:
        image, weight = dataset[i]
        decoded = decode_latents(vae, encode_images(vae, image[None]))[0].cpu()
        squared = ((decoded - image) / 2).square().mean(0)
        whole.append(-10 * math.log10(squared.mean().item()))
        if (person := weight[0] > 1).any():
            inside.append(-10 * math.log10(squared[person].mean().item()))
        shown.append([to_uint8(x) for x in (image, decoded)])
    rows = [("true", [pair[0] for pair in shown[:10]]), ("decoded", [pair[1] for pair in shown[:10]])]
    write_png(sheet_path, contact_sheet(rows))
    metrics = {"psnr": float(np.mean(whole)), "num_frames": len(indices)}
    return metrics | ({"psnr_inside_silhouette": float(np.mean(inside))} if inside else {})


def build_vae(config: Config) -> SpaceToDepthAutoencoderKL:
    """A VAE with weights drawn from the seed or from --init_from, to be trained."""
    if config.init_from is not None:
        vae = load_vae(config.init_from)
        if not isinstance(vae, SpaceToDepthAutoencoderKL):
            raise UserError(
                f"--init_from {config.init_from} is of the class {type(vae).__name__}; give a VAE of "
                "recipe.train_vae or recipe.train_decoder"
            )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            vae = SpaceToDepthAutoencoderKL(**VAE_SIZES[config.size])
    vae.to(memory_format=torch.channels_last).train().requires_grad_(True)
    if isinstance(vae, ReferenceAutoencoderKL):
        for frozen in (vae.photo_encoder, vae.gate_out):
            frozen.requires_grad_(False)
    return vae


def main(config: Config) -> None:
    """Train until --max_train_steps, then measure on held-out frames."""
    check_minimum(config, 1, "max_train_steps", "train_batch_size", "checkpoint_steps", "num_test_frames")
    check_minimum(config, 0, "warmup_steps", "num_workers", "learning_rate", "crop")
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / name for name in OUTPUTS])
    device = choose_device(config.device)
    train_set = FrameDataset(config.dataset, "train", config.person_weight, config.seed, config.crop)
    test_set = FrameDataset(config.dataset, "test", config.person_weight, None)
    vae = build_vae(config).to(device)
    save_config(config, config.output_dir / "config.json")

    # Every picture is varied by (seed, place in the run).
    def make_loader(step: int) -> DataLoader:
        batches = shuffled_batches(len(train_set), config.train_batch_size, config, step)
        return DataLoader(train_set, batch_sampler=batches, num_workers=config.num_workers)

    def loss_of(
        vae: SpaceToDepthAutoencoderKL, batch: tuple[torch.Tensor, torch.Tensor], step: int
    ) -> torch.Tensor:
        images, weight = (tensor.to(device) for tensor in batch)
        generator = step_generator(config.seed, step)
        posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
        latents = with_noise(posterior.sample(generator), config.latent_noise, generator)
        kl = (
            posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()
        ).mean() / 2
        return reconstruction_loss(vae.decode(latents).sample.float(), images, weight) + config.kl_weight * kl

    averaged = fit(config, vae, make_loader, loss_of, "train VAE")

    # Save for inference and measure.
    set_latent_statistics(averaged, FrameDataset(config.dataset, "train", config.person_weight, None))
    with atomic_folder(config.output_dir / "vae") as folder:
        averaged.save_pretrained(folder)
    metrics = evaluate(averaged, test_set, config.num_test_frames, config.output_dir / "reconstructions.png")
    write_json(config.output_dir / "metrics.json", metrics)
    print(f"held-out frames: {metrics}; the VAE is in {config.output_dir / 'vae'}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
