r"""Train a decoder that sees the photo, warped to each frame's pose, beside the latents.

Try it:

    python -m recipe.train_decoder --dataset DATA --latents DATA_tensor --vae runs/vae/vae \
        --warper runs/warper/warper
    python -m recipe.train_decoder --dataset DATA --latents PREDICTED --vae runs/decoder/vae \
        --warper runs/warper/warper --output_dir runs/mended

The encoder stays as it is, so latents made with it and denoisers trained on them stay valid. The latents are
those of the true frames (project_latent_space.py) or what a denoiser makes of them (recipe.predict_latents),
from which the decoder learns to correct that denoiser. Run the same command again to continue from the last
checkpoint. The VAE for inference is output_dir/vae.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.annotations import Segment, load_annotations
from data.frames import frame_paths, read_frames
from data.latents import LatentVideo
from data.masks import read_mask
from diffusion.inputs import View
from diffusion.latents import decode_latents, encode_images, latent_statistics, load_vae, spatial_factor
from diffusion.warped_photo import MAX_PHOTOS, load_warper, warp_photo
from models.autoencoder import ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from models.loading import model_sha256
from models.warper import Warper
from training.adversary import Adversary
from training.vae import fit, psnr, reconstruction_loss, shuffled_batches, step_generator, with_noise
from utils.config import check_minimum, run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import atomic_folder, check_output_dir, write_json
from utils.image import to_signed, to_uint8, write_png
from utils.paths import SHIPPED_DATASET, refuse_overwrites_by
from utils.precision import autocast
from warping.joints import load_joints

FAVOURED_PARTS = (1, 2, 3, 8)
"""Hair, head, arms and shoes in the masks."""
OUTLINE = np.ones((5, 5), np.uint8)
"""What widens the person in the masks, so that the whole outline belongs to it."""
SAME_LATENTS = 0.05
"""How far latents of one picture by one encoder are apart at most, in standard deviations, on the mean."""
OUTPUTS = ("vae", "config.json", "metrics.json", "reconstructions.png", "checkpoint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a decoder's training run."""

    dataset: Path = SHIPPED_DATASET
    """Dataset folder: fashion_crop, fashion_poses, and fashion_masks where there is one."""
    latents: tuple[Path, ...] = (Path("fashion_dataset_tensor"),)
    """Folders of latents of the clips, of true frames or predicted ones. Each is drawn from equally often."""
    vae: Path = Path("runs/vae/vae")
    """VAE to start from: one of recipe.train_vae, or of this script."""
    output_dir: Path = Path("runs/decoder")
    """Gets checkpoint/, vae/ (for inference), metrics.json and a sheet of held-out reconstructions."""
    max_train_steps: int = 6000
    """Optimisation steps in all; the learning rate's cosine ends there."""
    clips_per_batch: int = 2
    """Clips a step."""
    frames_per_clip: int = 4
    """Frames of each clip in a step."""
    learning_rate: float = 8e-4
    """Peak of AdamW's learning rate."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    latent_noise: float = 0.3
    """Noise on the latents, up to this share of their standard deviation, so that the errors of a denoiser do
    not hurt."""
    drop_photo: float = 0.1
    """Probability that a clip loses its photo, so that the decoder also works without one."""
    further_photos: float = 0.0
    """Probability that a clip has one or two further photos: other frames of it."""
    person_weight: float = 4.0
    """Weight of pixels of the person (where there are masks) against 1 for the background."""
    surroundings: int = 24
    """Pixels around the person that weigh as the person does. Where they weigh less, an outline that is not
    certain becomes too wide."""
    temporal_weight: float = 0.0
    """Weight of the error's change from frame to frame, against flicker; above 0, frames are consecutive."""
    motion_weight: float = 0.0
    """Weight of how much more or less each place changes from frame to frame than in the truth, against
    motion that is blurred away. Above 0, frames are consecutive."""
    adversarial_weight: float = 0.0
    """Weight of a critic of small patches, against blur where the photo shows nothing; add it after a run
    without."""
    matching_weight: float = 2.0
    """Weight of the distance between the critic's features of decoded and true patches, if there is a
    critic."""
    critic_learning_rate: float = 2e-4
    """Learning rate of the critic's Adam."""
    crop: int = 128
    """Side in pixels of the patches that the critic sees, one a frame, most often around faces, hair, arms
    and shoes."""
    warper: Path | None = None
    """Folder of recipe.train_warper's network, which corrects how rules move the photo. By default the rules
    work alone."""
    ema_decay: float = 0.998
    """Decay a step of the averaged weights, which are what is saved for inference; grows to this from 0.1."""
    checkpoint_steps: int = 500
    """Write a checkpoint every so many steps."""
    num_workers: int = 0
    """Data loader processes."""
    num_test_clips: int = 32
    """Held-out clips that metrics.json is measured on, four frames of each."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    seed: int = 0
    """The order of the clips, frames, noise and dropout follow from it."""


@dataclasses.dataclass(frozen=True)
class Frames:
    """Frames of one clip or several.

    Attributes:
        latents: (n, c, h, w), normalised.
        images: (n, 3, H, W) in [-1, 1], the true frames.
        warped: (n, 3, H, W), the photo at their poses; 0 without a photo.
        validity: (n, 1, H, W) in 0..1, how far it is right; 0 without a photo.
        person: (n, 1, H, W) bool, where the person is, outline included; nowhere without masks.
        weight: (n, 1, H, W) of each pixel in the loss.
        places: (n, 2) int64, row and column where the critic looks.
    """

    latents: torch.Tensor
    images: torch.Tensor
    warped: torch.Tensor
    validity: torch.Tensor
    person: torch.Tensor
    weight: torch.Tensor
    places: torch.Tensor


class DecoderDataset(Dataset[Frames]):
    """Random frames of a split's clips, with the clip's first frame, and further ones, warped to their poses.

    Raises:
        UserError: no clip is long enough or has latents, or one has no joints.
    """

    def __init__(
        self, config: Config, split: str, latents_dirs: tuple[Path, ...], warper: Warper | None = None
    ) -> None:
        self.config, self.latents_dirs, self.warper = config, latents_dirs, warper
        long_enough = [
            s for s in load_annotations(config.dataset, split) if s.end - s.start > config.frames_per_clip
        ]
        if not long_enough:
            raise UserError(
                f"no {split} clip of {config.dataset} has more than {config.frames_per_clip} frames; "
                "choose a smaller --frames_per_clip"
            )
        self.segments = [
            s for s in long_enough if all((d / f"{s.name}.safetensors").is_file() for d in latents_dirs)
        ]
        if not self.segments:
            raise UserError(
                f"no {split} clip of {config.dataset} is in {', '.join(map(str, latents_dirs))}; "
                "run project_latent_space.py first"
            )

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Frames:
        """Frames of clip `index` modulo the number of clips, drawn from (seed, index)."""
        segment = self.segments[index % len(self.segments)]
        rng = np.random.default_rng([self.config.seed, index])
        count = self.config.frames_per_clip
        later = np.arange(segment.start + 1, segment.end)
        if self.config.temporal_weight > 0 or self.config.motion_weight > 0:
            first = rng.integers(len(later) - count + 1)
            chosen = later[first : first + count]
        else:
            chosen = np.sort(rng.choice(later, count, replace=False))
        latents = None
        if self.latents_dirs:
            folder = self.latents_dirs[rng.integers(len(self.latents_dirs))]
            latents = LatentVideo(folder / f"{segment.name}.safetensors").latents(chosen)
        has_photo = rng.random() >= self.config.drop_photo
        further: list[int] = []
        if self.config.further_photos > 0 and rng.random() < self.config.further_photos:
            others = np.setdiff1d(later, chosen)
            wanted = min(len(others), int(rng.integers(1, MAX_PHOTOS)))
            further = rng.choice(others, wanted, replace=False).tolist()
        return self.frames(segment, chosen, latents, has_photo, rng, further)

    def frames(
        self,
        segment: Segment,
        chosen: np.ndarray,
        latents: torch.Tensor | None,
        has_photo: bool,
        rng: np.random.Generator | None = None,
        further: Sequence[int] = (),
    ) -> Frames:
        """The chosen frames of a segment; latents None are left empty, and so are places without an rng.

        `further` are frames that are photos, beside the segment's first.
        """
        dataset = self.config.dataset
        folder, shown = dataset / "fashion_crop" / segment.name, [segment.start, *further]
        photos, pictures = to_signed(read_frames(folder, shown)), read_frames(folder, chosen.tolist())
        joints = load_joints(dataset / "fashion_poses" / segment.name, segment.end)
        if joints is None:
            raise UserError(
                f"{dataset / 'fashion_poses' / segment.name} shows no joints; the photo cannot be warped"
            )
        images = to_signed(pictures)
        warped, validity = torch.zeros_like(images), torch.zeros_like(images[:, :1])
        if has_photo:
            warped, validity = self._warp(photos, joints[shown], joints[chosen])
        person = np.zeros((len(chosen), *pictures.shape[1:3]), np.uint8)
        weight = np.ones(person.shape, np.float32)
        side = 2 * self.config.surroundings + 1
        places = np.zeros((0, 2), np.int64)
        masks_dir = dataset / "fashion_masks" / segment.name
        if masks_dir.is_dir():
            paths = frame_paths(masks_dir)
            for place, frame in enumerate(chosen):
                parts = read_mask(paths[frame], pictures.shape[1:3])
                if rng is not None:
                    places = np.concatenate([places, look_at(parts, rng)[None]])
                person[place] = cv2.dilate((parts > 0).astype(np.uint8), OUTLINE)
                surrounded = cv2.dilate(person[place], np.ones((side, side), np.uint8))
                weight[place] += (self.config.person_weight - 1) * surrounded
        if latents is None:
            latents = images.new_zeros(len(chosen), 0)
        return Frames(
            latents,
            images,
            warped,
            validity,
            torch.from_numpy(person)[:, None] > 0,
            torch.from_numpy(weight)[:, None],
            torch.from_numpy(places),
        )

    def _warp(
        self, photos: torch.Tensor, sources: np.ndarray, targets: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = torch.device("cpu") if self.warper is None else self.warper.device
        views = [View(photo, joints) for photo, joints in zip(photos[1:], sources[1:], strict=True)]
        with autocast("auto", device):
            moved = warp_photo(photos[:1], None, targets[None], sources[:1], self.warper, views=[views])
        return moved.pictures[0], moved.validity[0]


def look_at(parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2,) int64 row and column of a pixel of the person; of hair, head, arms and shoes in three of four."""
    favoured = np.argwhere(np.isin(parts, FAVOURED_PARTS))
    person = np.argwhere(parts > 0)
    pixels = favoured if len(favoured) and rng.random() < 0.75 else person
    if not len(pixels):
        return np.array(parts.shape) // 2
    return pixels[rng.integers(len(pixels))]


def cut_patches(pictures: torch.Tensor, places: torch.Tensor, side: int) -> torch.Tensor:
    """(n, 3, side, side) of pictures (n, 3, H, W) around places (n, 2), as far as they are inside."""
    height, width = pictures.shape[-2:]
    side = min(side, height, width)
    corners = [
        [
            max(0, min(int(middle) - side // 2, whole - side))
            for middle, whole in zip(p, (height, width), strict=True)
        ]
        for p in places
    ]
    return torch.stack(
        [picture[:, y : y + side, x : x + side] for picture, (y, x) in zip(pictures, corners, strict=True)]
    )


def collate_frames(clips: list[Frames]) -> Frames:
    """All frames of several clips."""
    return Frames(*(torch.cat([getattr(clip, f.name) for clip in clips]) for f in dataclasses.fields(Frames)))


def build_vae(path: Path) -> ReferenceAutoencoderKL:
    """The VAE with its encoder frozen; the parts that see the photo begin at zero if it has none."""
    vae = load_vae(path)
    if not isinstance(vae, SpaceToDepthAutoencoderKL):
        raise UserError(
            f"--vae {path} is a {type(vae).__name__}; give a VAE of recipe.train_vae or of this script"
        )
    if not isinstance(vae, ReferenceAutoencoderKL):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            own = ReferenceAutoencoderKL.from_config(vae.config)
        own.load_state_dict(vae.state_dict(), strict=False)
        vae = own
    vae.to(memory_format=torch.channels_last).train().requires_grad_(True)
    for frozen in (vae.encoder, vae.quant_conv):
        frozen.requires_grad_(False)
    return vae


def flicker_loss(decoded: torch.Tensor, batch: Frames, num_clips: int) -> torch.Tensor:
    """L1 of the error's change between frames that follow each other in a clip."""
    error = (decoded - batch.images).unflatten(0, (num_clips, -1))
    weight = (batch.weight / batch.weight.mean()).unflatten(0, (num_clips, -1))
    return (error.diff(dim=1).abs() * weight[:, 1:]).mean()


def motion_loss(decoded: torch.Tensor, images: torch.Tensor, num_clips: int) -> torch.Tensor:
    """L1 of the mean change from frame to frame, in squares of 8 x 8 pixels."""
    ours, theirs = (
        clip.unflatten(0, (num_clips, -1)).diff(dim=1).abs().mean(2) for clip in (decoded, images)
    )
    return functional.avg_pool2d(ours - theirs, 8).abs().mean()


@torch.no_grad()
def evaluate(vae: ReferenceAutoencoderKL, dataset: DecoderDataset, config: Config) -> dict[str, float]:
    """PSNR in dB over held-out frames, whole and on the person, with and without photo; writes a sheet."""
    rows: dict[str, list[np.ndarray]] = {"true": [], "photo warped": [], "with the photo": [], "without": []}
    values: dict[str, list[float]] = {}
    segments = dataset.segments[:: max(1, len(dataset.segments) // config.num_test_clips)][
        : config.num_test_clips
    ]
    for segment in tqdm(segments, desc="measure", unit="clip"):
        chosen = np.unique(np.linspace(segment.start + 1, segment.end - 1, 4).astype(int))
        frames = dataset.frames(segment, chosen, None, has_photo=True)
        latents = encode_images(vae, frames.images)
        person = frames.person[:, 0]
        decoded = {
            "photo warped": frames.warped,
            "with the photo": decode_latents(
                vae, latents, warped=frames.warped, validity=frames.validity
            ).cpu(),
            "without": decode_latents(vae, latents).cpu(),
        }
        rows["true"].append(to_uint8(frames.images)[-1])
        for name, images in decoded.items():
            rows[name].append(to_uint8(images)[-1])
            squared = (images - frames.images).square().mean(1)
            key = name.replace(" ", "_")
            values.setdefault(f"psnr_{key}", []).append(psnr(squared))
            if person.any():
                values.setdefault(f"psnr_inside_silhouette_{key}", []).append(psnr(squared[person]))
    sheet = [(name, pictures[:10]) for name, pictures in rows.items()]
    write_png(config.output_dir / "reconstructions.png", contact_sheet(sheet))
    return {name: float(np.mean(numbers)) for name, numbers in values.items()} | {"num_clips": len(segments)}


@torch.no_grad()
def check_latents(vae: ReferenceAutoencoderKL, dataset: DecoderDataset) -> None:
    """Refuse latents of another VAE: those of the photo, in true and predicted ones alike, are its encoder's.

    Raises:
        UserError: they are not, or they are of frames of another size; the message names the file.
    """
    segment = dataset.segments[0]
    picture = read_frames(dataset.config.dataset / "fashion_crop" / segment.name, [segment.start])
    factor = spatial_factor(vae)
    for folder in dataset.latents_dirs:
        path = folder / f"{segment.name}.safetensors"
        height, width = (side * factor for side in LatentVideo(path).latents([segment.start]).shape[-2:])
        if picture.shape[1:3] != (height, width):
            raise UserError(
                f"{path} is of pictures of {width} x {height} pixels, and the frames have "
                f"{picture.shape[2]} x {picture.shape[1]}; make frames of that size, for the decoder"
            )
    warper_sum = "" if dataset.warper is None else model_sha256(dataset.warper)
    expected = encode_images(vae, to_signed(picture).to(vae.device)).float().cpu()
    for folder in dataset.latents_dirs:
        path = folder / f"{segment.name}.safetensors"
        video = LatentVideo(path)
        latents = video.latents([segment.start])
        if latents.shape != expected.shape or (latents - expected).abs().mean() > SAME_LATENTS:
            raise UserError(
                f"{path} was not made with {dataset.config.vae}; give the --vae of the latents, or one that "
                "was trained on from it by recipe.train_decoder"
            )
        is_projected = "predicted_by" not in video.metadata
        if is_projected and video.metadata.get("warper_sha256", "") != warper_sum:
            print(
                f"warning: {path} was made with another --warper than {dataset.config.warper}; a model has "
                "one warper for its denoiser and its decoder",
                file=sys.stderr,
            )


def main(config: Config) -> None:
    """Train until --max_train_steps, then measure on held-out clips."""
    check_minimum(
        config,
        1,
        "max_train_steps",
        "clips_per_batch",
        "frames_per_clip",
        "checkpoint_steps",
        "num_test_clips",
        "crop",
    )
    check_minimum(
        config,
        0,
        "warmup_steps",
        "num_workers",
        "learning_rate",
        "surroundings",
        "latent_noise",
        "drop_photo",
        "further_photos",
        "temporal_weight",
        "motion_weight",
        "adversarial_weight",
        "matching_weight",
    )
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / name for name in OUTPUTS])
    device = choose_device(config.device)
    warper = None if config.warper is None else load_warper(config.warper)
    train_set = DecoderDataset(config, "train", config.latents, warper)
    test_set = DecoderDataset(config, "test", (), warper)
    vae = build_vae(config.vae).to(device)
    check_latents(vae, train_set)
    mean, std = latent_statistics(vae)
    save_config(config, config.output_dir / "config.json")

    def make_loader(step: int) -> DataLoader:
        batches = shuffled_batches(len(train_set), config.clips_per_batch, config, step)
        return DataLoader(
            train_set, batch_sampler=batches, num_workers=config.num_workers, collate_fn=collate_frames
        )

    def loss_of(vae: ReferenceAutoencoderKL, batch: Frames, step: int) -> torch.Tensor:
        batch = Frames(*(getattr(batch, field.name).to(device) for field in dataclasses.fields(Frames)))
        noisy = with_noise(batch.latents, config.latent_noise, step_generator(config.seed, step))
        z = (noisy * std + mean).contiguous(memory_format=torch.channels_last)
        decoded = vae.decode(z, return_dict=False, warped=batch.warped, validity=batch.validity)[0]
        decoded = decoded.float()
        loss = reconstruction_loss(decoded, batch.images, batch.weight)
        if config.temporal_weight > 0:
            loss = loss + config.temporal_weight * flicker_loss(decoded, batch, config.clips_per_batch)
        if config.motion_weight > 0:
            loss = loss + config.motion_weight * motion_loss(decoded, batch.images, config.clips_per_batch)
        if adversary is not None:
            if not len(batch.places):
                raise UserError("--adversarial_weight needs fashion_masks, which say where to look")
            ours, theirs = (cut_patches(part, batch.places, config.crop) for part in (decoded, batch.images))
            doubt, matching = adversary.loss(ours, theirs)
            loss = loss + config.adversarial_weight * doubt + config.matching_weight * matching
            adversary.learn(ours, theirs)
        return loss

    adversary = None
    if config.adversarial_weight > 0:
        adversary = Adversary(config.seed, config.critic_learning_rate, device)
    averaged = fit(config, vae, make_loader, loss_of, "train decoder", adversary)
    with atomic_folder(config.output_dir / "vae") as folder:
        averaged.save_pretrained(folder)
    metrics = evaluate(averaged, test_set, config)
    write_json(config.output_dir / "metrics.json", metrics)
    print(f"held-out clips: {metrics}; the VAE is in {config.output_dir / 'vae'}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
