"""Train the network that corrects what rules make of a photo in other poses.

Try it:

    python -m data.synthetic --output_dir people --num_train 400 --num_test 16 --num_frames 6 --surface
    python -m recipe.train_warper --dataset people --max_train_steps 300

It learns from where each pixel of a frame truly is in another one, which the renderer writes down. The same
command again goes on where the last checkpoint stands. The network for inference is output_dir/warper.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from diffusion.warped_photo import load_warper
from models.warper import Warper
from training.vae import fit, psnr, shuffled_batches
from training.warper import PairDataset, Pairs, collate_pairs, warp_loss
from utils.config import check_minimum, run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.devices import choose_device
from utils.files import atomic_folder, check_output_dir, write_json
from utils.image import to_uint8, write_png
from utils.paths import SHIPPED_DATASET, refuse_overwrites_by
from warping.limbs import NUM_LIMBS, STATE_SIZE

OUTPUTS = ("warper", "config.json", "metrics.json", "warped.png", "checkpoint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a warper's training run."""

    dataset: tuple[Path, ...] = (SHIPPED_DATASET,)
    """Dataset folders with fashion_crop, fashion_poses, fashion_masks and fashion_surface. All clips are
    drawn equally often."""
    output_dir: Path = Path("runs/warper")
    """Gets checkpoint/, warper/ (for inference), metrics.json and a sheet of held-out frames."""
    init_from: Path | None = None
    """Begin with this warper's weights instead of random ones. Its rules_logit is left out; of the shipped
    warper's 3.25 in all, 2 are in the weights."""
    max_train_steps: int = 6000
    """Optimisation steps in all; the learning rate's cosine ends there."""
    clips_per_batch: int = 4
    """Clips a step, each with one photo."""
    frames_per_clip: int = 3
    """Frames to each photo."""
    learning_rate: float = 1e-3
    """Peak of AdamW's learning rate."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    ema_decay: float = 0.998
    """Decay a step of the averaged weights, which are what is saved for inference; grows to this from 0.1."""
    rules_logit: float = 3.25
    """Trust in the rules: written to the warper's config.json after training, and added to the logit with
    which each pixel takes the rules' picture. Where the network is not sure it blurs; the rules are sharp. 2
    has the smallest error."""
    checkpoint_steps: int = 250
    """Write a checkpoint every so many steps."""
    num_workers: int = 0
    """Data loader processes."""
    num_test_clips: int = 32
    """Held-out clips that metrics.json is measured on."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    seed: int = 0
    """Weights, the order of the clips, and what is drawn of them follow from it."""


def build_warper(config: Config) -> Warper:
    """A warper with weights drawn from the seed or from --init_from, to be trained."""
    if config.init_from is not None:
        warper = load_warper(config.init_from)
        warper.register_to_config(rules_logit=0.0)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            warper = Warper(num_limbs=NUM_LIMBS, state_size=STATE_SIZE)
    return warper.to(memory_format=torch.channels_last).train().requires_grad_(True)


@torch.no_grad()
def evaluate(warper: Warper, dataset: PairDataset, config: Config) -> dict[str, float]:
    """PSNR on the person, IoU of the outline and error of the flow over held-out frames; writes a sheet."""
    values: dict[str, list[float]] = {}
    names = "photo", "true", "by rules", "warped", "moved", "visible"
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    chosen = np.unique(np.linspace(0, len(dataset) - 1, config.num_test_clips).astype(int))
    for number in tqdm(chosen, desc="measure", unit="clip"):
        pairs = dataset[int(number)].to(warper.device)
        warp = warper(pairs.photos, pairs.conditions, pairs.draft)
        person = pairs.parts > 0
        found = warp.person[:, 0] > 0
        squared = (warp.picture - pairs.frames).square().mean(1)
        middle = slice(2, None, 4)
        seen = pairs.shown == 3
        error = (warp.flow[..., middle, middle] - pairs.flow).norm(dim=1)[seen]
        by_rules = (pairs.draft.pictures - pairs.frames).square().mean(1)
        values.setdefault("psnr_inside_silhouette", []).append(psnr(squared[person]))
        values.setdefault("psnr_inside_silhouette_by_rules", []).append(psnr(by_rules[person]))
        values.setdefault("psnr", []).append(psnr(squared))
        values.setdefault("silhouette_iou", []).append(
            float((person & found).sum() / (person | found).sum().clamp(min=1))
        )
        values.setdefault("flow_error_percent_of_height", []).append(100 * float(error.mean()))
        values.setdefault("visible_accuracy", []).append(
            float(((warp.visible[:, 0, middle, middle] > 0) == (pairs.shown % 2 == 1)).float().mean())
        )
        last = slice(-1, None)
        rows["photo"].append(to_uint8(pairs.photos.cpu())[0])
        rows["true"].append(to_uint8(pairs.frames[last].cpu())[0])
        rows["by rules"].append(to_uint8(pairs.draft.pictures[last].cpu())[0])
        rows["warped"].append(to_uint8(warp.picture[last].cpu())[0])
        rows["moved"].append(to_uint8(warp.moved[last].cpu())[0])
        shade = warp.visible[last].sigmoid().expand(-1, 3, -1, -1) * 2 - 1
        rows["visible"].append(to_uint8(shade.cpu())[0])
    write_png(
        config.output_dir / "warped.png", contact_sheet([(n, pictures[:10]) for n, pictures in rows.items()])
    )
    return {name: float(np.mean(numbers)) for name, numbers in values.items()} | {"num_clips": len(chosen)}


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
    )
    check_minimum(config, 0, "warmup_steps", "num_workers", "learning_rate")
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / name for name in OUTPUTS])
    device = choose_device(config.device)
    train_set = PairDataset(config.dataset, "train", config.frames_per_clip, config.seed)
    test_set = PairDataset(config.dataset, "test", config.frames_per_clip, None)
    warper = build_warper(config).to(device)
    warper.register_to_config(height=train_set.size[0])
    save_config(config, config.output_dir / "config.json")

    def make_loader(step: int) -> DataLoader:
        batches = shuffled_batches(len(train_set), config.clips_per_batch, config, step)
        return DataLoader(
            train_set, batch_sampler=batches, num_workers=config.num_workers, collate_fn=collate_pairs
        )

    def loss_of(warper: Warper, batch: Pairs, step: int) -> torch.Tensor:
        pairs = batch.to(device)
        return warp_loss(warper(pairs.photos, pairs.conditions, pairs.draft), pairs)

    averaged = fit(config, warper, make_loader, loss_of, "train warper")
    averaged.register_to_config(rules_logit=config.rules_logit)
    with atomic_folder(config.output_dir / "warper") as folder:
        averaged.save_pretrained(folder)
    metrics = evaluate(averaged, test_set, config)
    write_json(config.output_dir / "metrics.json", metrics)
    print(f"held-out clips: {metrics}; the warper is in {config.output_dir / 'warper'}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
