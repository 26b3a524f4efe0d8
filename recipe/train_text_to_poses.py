r"""Train the model that turns a sentence and the photo's pose into a track of joints.

Try it:

    python -m recipe.train_text_to_poses --output_dir runs/try_text_to_poses --max_train_steps 20
    python -m data.synthetic --output_dir tracks --num_train 6000 --num_test 500 --poses_only && \
        python -m recipe.train_text_to_poses --dataset tracks --output_dir runs/text_to_poses

Takes any dataset with annotations and joints (fashion_poses/NAME.json, or skeletons with readable joints).
Writes output_dir/text_to_poses, which goes into a model's folder, tracks.png (held-out skeletons, true and
sampled) and metrics.json. Run the same command again to continue an interrupted run.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from data.annotations import load_annotations
from data.synthetic.wordings import MOTIONS, sample_wording
from diffusion.motion import FOLDER, normalise_joints, poses_from_text
from diffusion.text import encode_prompts, load_text_encoder
from evaluation.motion_rules import read_motions
from models.text_to_poses import PARENT_INDICES, TextToPoses, TrackEncoder, chain_matrix, to_bones
from training.interrupts import Interrupts
from training.loop import learning_rate_at, set_learning_rate, shared_settings
from utils.checkpoint import check_settings, list_checkpoints, load_checkpoint, save_checkpoint
from utils.config import check_minimum, run_script, save_config
from utils.contact_sheet import contact_sheet
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import atomic_folder, check_output_dir, read_json, write_json
from utils.image import write_png
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL, refuse_overwrites_by
from utils.pose_drawing import FACE, HIPS, JOINT, NUM_JOINTS, draw_pose, joint_indices
from warping.joints import load_joints

WARMUP_STEPS = 200
# Parts that one factor lengthens together in training.
BONE_GROUPS = (
    FACE,
    *(
        tuple(f"{side}_{part}" for side in ("left", "right"))
        for part in ("shoulder", "hip", "elbow", "wrist", "knee", "ankle")
    ),
)
LIMBS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("elbow", "wrist", "knee", "ankle"))
"""Named by the joint at their far end."""
OUTPUTS = (FOLDER, "config.json", "metrics.json", "tracks.png", "checkpoint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a training run."""

    dataset: Path = SHIPPED_DATASET
    """Dataset with annotations and joints; pictures are not read where there is a JSON."""
    text_encoder: Path = SHIPPED_MODEL / "text_encoder"
    """The text encoder that the video model uses; frozen."""
    tokenizer: Path | None = None
    """Folder of the tokenizer, if it is neither in the text encoder's folder nor beside it."""
    output_dir: Path = Path("runs/text_to_poses")
    """Gets text_to_poses/, checkpoint/, config.json, metrics.json and tracks.png."""
    max_train_steps: int = 3500
    """Optimisation steps."""
    train_batch_size: int = 64
    """Tracks a step."""
    learning_rate: float = 1.5e-3
    """AdamW's learning rate; rises over 200 steps, then falls to zero by a half cosine."""
    kl_weight: float = 1.5e-4
    """Weight of the Kullback-Leibler divergence of the latents, in nats. Smaller values make tracks more
    varied and less obedient."""
    joint_noise: float = 0.01
    """Noise on the joints of the first pose in training, in torso lengths, because joints that are found are
    not exact."""
    bone_variation: float = 0.08
    """Largest share by which limbs are lengthened or shortened, because people differ more than the data."""
    hide_chance: float = 0.25
    """Probability that some joints of the face and the limbs are hidden in the first pose."""
    embedding_noise: float = 0.1
    """Noise on the output of the text encoder, as a share of its standard deviation."""
    checkpoint_steps: int = 500
    """Save the run every so many steps."""
    num_test_clips: int = 500
    """Held-out clips that are measured."""
    num_frames: int = 24
    """Frames that a clip's track is brought to."""
    seed: int = 0
    """Weights, order and variations follow from it."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracks:
    """The clips of a split."""

    joints: np.ndarray
    """(N, F, 18, 3) in pixels."""
    texts: list[str]
    motions: list[tuple[str, ...]]
    """Labels of what is done; () where nothing says so."""
    sizes: list[tuple[int, int]]
    """Height and width of the pictures."""


def load_tracks(dataset: Path, split: str, num_frames: int, max_clips: int | None = None) -> Tracks:
    """Read the joints of every segment of a split, resampled to `num_frames`.

    Segments without joints, and those whose first pose has no neck or hips, are left out.

    Raises:
        UserError: a dataset that cannot be read, or that has no joints.
    """
    joints, texts, motions, sizes = [], [], [], []
    segments = load_annotations(dataset, split, check_frames=False)[:max_clips]
    for segment in tqdm(segments, desc=f"read {split} tracks", unit="clip", dynamic_ncols=True):
        poses_dir = dataset / "fashion_poses" / segment.name
        track = load_joints(poses_dir, segment.end)
        if track is None or not _is_usable(track[segment.start]):
            continue
        joints.append(resample(track[segment.start : segment.end], num_frames))
        texts.append(segment.text)
        path = poses_dir.with_name(f"{segment.name}.json")
        description = read_json(path) if path.is_file() else {}
        whole = segment.end - segment.start == len(description.get("keypoints", ()))
        motions.append(tuple(description.get("motions", ())) if whole else ())
        extent = tuple(int(v) + 1 for v in track[..., 1::-1].max(axis=(0, 1)))
        sizes.append((description.get("height", extent[0]), description.get("width", extent[1])))
    if not joints:
        raise UserError(f"no clip of {dataset}/{split} has joints; write fashion_poses/NAME.json for them")
    return Tracks(joints=np.stack(joints), texts=texts, motions=motions, sizes=sizes)


def _is_usable(pose: np.ndarray) -> bool:
    return bool((pose[joint_indices(("neck", *HIPS)), 2] > 0).all())


def resample(track: np.ndarray, num_frames: int) -> np.ndarray:
    """Bring a track (F, 18, 3) to `num_frames`; where a joint is not seen, its place is interpolated."""
    wanted = np.linspace(0, len(track) - 1, num_frames)
    resampled = np.zeros((num_frames, NUM_JOINTS, 3), np.float32)
    for joint in range(NUM_JOINTS):
        seen = np.flatnonzero(track[:, joint, 2] > 0)
        if seen.size:
            for axis in (0, 1):
                resampled[:, joint, axis] = np.interp(wanted, seen, track[seen, joint, axis])
        resampled[:, joint, 2] = track[wanted.round().astype(int), joint, 2] > 0
    return resampled


class Examples:
    """Normalised tracks and their sentences' embeddings, as batches."""

    def __init__(self, config: Config, tracks: Tracks, tokenizer: Any, text_encoder: Any) -> None:
        self.config = config
        normalised = [normalise_joints(track, track[0]) for track in tracks.joints]
        self.tracks = torch.from_numpy(np.stack(normalised))
        texts = sorted(set(tracks.texts))
        index = {text: i for i, text in enumerate(texts)}
        self.text_indices = torch.tensor([index[text] for text in tracks.texts])
        chunks = [texts[i : i + 64] for i in range(0, len(texts), 64)]
        chunks = tqdm(chunks, desc="encode sentences", unit="batch", dynamic_ncols=True)
        embeds = [encode_prompts(tokenizer, text_encoder, chunk).half().cpu() for chunk in chunks]
        self.embeds = torch.cat(embeds)
        self.deviation = float(self.embeds.float().std())
        self.chain = chain_matrix()

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sentences (b, n, d), first poses (b, 18, 3), places (b, F, 18, 2) and visibilities (b, F, 18).

        What is drawn follows from (seed, step): the clips, bones' lengths, errors and hidden joints.
        """
        config = self.config
        rng = np.random.default_rng([config.seed, step])
        chosen = torch.from_numpy(rng.integers(len(self.tracks), size=config.train_batch_size))
        embeds = self.embeds[self.text_indices[chosen]].float()
        noise = rng.standard_normal(embeds.shape, dtype=np.float32)
        embeds = embeds + config.embedding_noise * self.deviation * torch.from_numpy(noise)

        track = self.tracks[chosen]
        factors = np.ones((len(chosen), NUM_JOINTS), np.float32)
        for group in BONE_GROUPS:
            factor = rng.uniform(1 - config.bone_variation, 1 + config.bone_variation, (len(chosen), 1))
            factors[:, joint_indices(group)] = factor
        bones = to_bones(track[..., :2]) * torch.from_numpy(factors)[:, None, :, None]
        places = self.chain @ bones
        errors = rng.standard_normal((len(chosen), 1, NUM_JOINTS, 2), dtype=np.float32)
        places = places + config.joint_noise * torch.from_numpy(errors)

        visibility = track[..., 2]
        first = torch.cat([places[:, 0], visibility[:, 0, :, None]], dim=2)
        hidden = rng.random((len(chosen), NUM_JOINTS)) < 0.2
        hidden &= rng.random((len(chosen), 1)) < config.hide_chance
        trunk = ("neck", *HIPS, "left_shoulder", "right_shoulder")
        hidden[:, joint_indices(trunk)] = False
        first[..., 2] = torch.where(torch.from_numpy(hidden), 0.0, first[..., 2])
        return embeds, first, places, visibility


def training_loss(
    model: TextToPoses, encoder: TrackEncoder, batch: tuple[Tensor, Tensor, Tensor, Tensor], config: Config,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """The negative evidence bound of a batch, up to scale: places, bones, visibility, and KL."""
    embeds, first, places, visibility = (tensor.to(model.device) for tensor in batch)
    mean, log_variance = encoder(model.encode_text(embeds), first, places, visibility)
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    latents = mean + noise * (0.5 * log_variance).exp()
    predicted, logits = model(embeds, first, latents, places.shape[1])
    ever = (visibility.amax(dim=1, keepdim=True) > 0).float()
    weight = (0.1 + 0.9 * visibility)[..., None] * ever[..., None]
    error = predicted - places
    # A bone is known as well as the worse of its ends.
    bone_weight = torch.minimum(weight, weight[:, :, PARENT_INDICES])
    bones = to_bones(error)
    place_loss = (weight * error.square()).mean() + 3 * (bone_weight * bones.square()).mean()
    speed = (weight[:, 1:] * error.diff(dim=1).square()).mean()
    seen = functional.binary_cross_entropy_with_logits(logits[:, 1:], visibility[:, 1:])
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
    loss = place_loss + 10 * speed + 0.01 * seen + config.kl_weight * kl
    return loss, {"places": place_loss.item() ** 0.5, "seen": seen.item(), "kl": kl.item()}


def measure(
    model: TextToPoses, tracks: Tracks, tokenizer: Any, text_encoder: Any, config: Config, sheet_path: Path
) -> dict[str, Any]:
    """Sample tracks for held-out first poses and read the motions back; draws a sheet of some."""
    count = min(config.num_test_clips, len(tracks.texts))
    rng = np.random.default_rng([config.seed, 7])
    right: dict[str, list[float]] = {}
    spreads, stretches, rows = [], [], []
    for index in tqdm(range(count), desc="measure", unit="clip", dynamic_ncols=True):
        true, motions = tracks.joints[index], tracks.motions[index]
        texts = {"own_wordings": tracks.texts[index]}
        if motions and set(motions) <= set(MOTIONS):
            texts["training_wordings"] = sample_wording(motions, rng, "train")
            right.setdefault("motion_rules_on_true_joints", []).append(read_motions(true) == motions)
        samples = []
        for number, (kind, text) in enumerate((*texts.items(), ("again", tracks.texts[index]))):
            generator = torch.Generator().manual_seed(1000 * index + number)
            embeds = encode_prompts(tokenizer, text_encoder, [text])
            size = tracks.sizes[index]
            samples.append(poses_from_text(model, embeds, true[0], size[0], size[1], len(true), generator))
            if motions and kind != "again":
                hit = read_motions(samples[-1]) == motions
                number_of = "singles" if len(motions) == 1 else "sequences"
                for key in (kind, f"{kind}_{number_of}", f"{kind}_{'_then_'.join(motions)}"):
                    if len(motions) == 1 or key.count("_then_") == 0:
                        right.setdefault(f"motion_accuracy_{key}", []).append(hit)
        first, again = samples[0], samples[-1]
        normalised = [normalise_joints(sample, true[0])[..., :2] for sample in (first, again, true)]
        spreads.append(float(np.linalg.norm(normalised[0] - normalised[1], axis=-1).mean()))
        stretches.append(limb_stretch(normalised[0], normalised[2]))
        if index < 12:
            for label, joints in (("true", true), ("sampled", first), ("sampled again", again)):
                pictures = [draw_pose(pose, *size) for pose in joints[:: max(1, len(joints) // 12)]]
                rows.append((f"{label}: {tracks.texts[index]}" if label == "true" else label, pictures))
    write_png(sheet_path, contact_sheet(rows, row_height=128))
    labelled: dict[str, Any] = {key: float(np.mean(values)) for key, values in sorted(right.items())}
    if not labelled:
        labelled["motion_accuracy_own_wordings"] = "not computed: no motion labels (fashion_poses/NAME.json)"
    return labelled | {
        "spread_between_samples_torsos": float(np.mean(spreads)),
        "limb_stretch_mean": float(np.mean(stretches)),
        "limb_stretch_worst_clip": float(np.max(stretches)),
        "num_clips": count,
    }


def limb_stretch(sampled: np.ndarray, true: np.ndarray) -> float:
    """By how much limbs are longer than the true body's ever are, as a part: the mean over frames and limbs.

    Lengths are divided by the frame's torso, since who comes nearer grows.
    """

    def lengths(places: np.ndarray) -> np.ndarray:
        hips = places[:, joint_indices(HIPS)].mean(axis=1)
        torso = np.linalg.norm(places[:, JOINT["neck"]] - hips, axis=1)[:, None]
        ends = joint_indices(LIMBS)
        bones = places[:, ends] - places[:, [PARENT_INDICES[end] for end in ends]]
        return np.linalg.norm(bones, axis=2) / torso

    return float(np.maximum(lengths(sampled) / lengths(true).max(axis=0) - 1, 0).mean())


def main(config: Config) -> None:
    """Read tracks, train until --max_train_steps, measure on held-out clips."""
    check_minimum(config, 1, "max_train_steps", "train_batch_size", "checkpoint_steps", "num_test_clips")
    check_minimum(config, 4, "num_frames")
    check_minimum(
        config, 0, "learning_rate", "kl_weight", "joint_noise", "bone_variation", "hide_chance",
        "embedding_noise",
    )  # fmt: skip
    check_output_dir(config.output_dir)
    refuse_overwrites_by(config, [config.output_dir / name for name in OUTPUTS])
    device = choose_device(config.device)
    tokenizer, text_encoder = load_text_encoder(config.text_encoder, config.tokenizer)
    text_encoder.to(device)
    test = load_tracks(config.dataset, "test", config.num_frames, config.num_test_clips)
    examples = Examples(
        config, load_tracks(config.dataset, "train", config.num_frames), tokenizer, text_encoder
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = TextToPoses(cross_attention_dim=text_encoder.config.hidden_size)
        encoder = TrackEncoder(model)
    model.to(device)
    encoder.to(device)
    parameters = [*model.parameters(), *encoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.99))

    # Resume.
    checkpoint_dir = config.output_dir / "checkpoint"
    step = 0
    if checkpoints := list_checkpoints(checkpoint_dir):
        step, modules, state, settings = load_checkpoint(checkpoints[-1])
        advice = "give the old settings or another --output_dir"
        check_settings(checkpoints[-1], settings, shared_settings(config), advice)
        model.load_state_dict(modules["model"])
        encoder.load_state_dict(modules["encoder"])
        optimizer.load_state_dict(state["optimizer"])
    save_config(config, config.output_dir / "config.json")

    # Train.
    progress = tqdm(total=config.max_train_steps, initial=step, desc="train", unit="step", dynamic_ncols=True)
    with progress, Interrupts() as interrupts:
        while step < config.max_train_steps:
            rate = learning_rate_at(step, config.learning_rate, WARMUP_STEPS, config.max_train_steps)
            set_learning_rate(optimizer, rate)
            generator = torch.Generator().manual_seed(
                int(np.random.SeedSequence([config.seed, step, 1]).generate_state(1)[0])
            )
            loss, parts = training_loss(model, encoder, examples.batch(step), config, generator)
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is not finite at step {step}; "
                    f"use a smaller --learning_rate than {config.learning_rate}"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.update()
            if step % 50 == 0:
                progress.set_postfix({name: f"{value:.4f}" for name, value in parts.items()})
            stop = interrupts.received > 0
            if step % config.checkpoint_steps == 0 or step == config.max_train_steps or stop:
                modules = {"model": model.state_dict(), "encoder": encoder.state_dict()}
                state = {"optimizer": optimizer.state_dict()}
                save_checkpoint(checkpoint_dir, step, modules, state, shared_settings(config))
            if stop:
                interrupts.stop()

    # Save for inference, and measure.
    model.eval().requires_grad_(False)
    with atomic_folder(config.output_dir / FOLDER) as folder:
        model.save_pretrained(folder)
    metrics = measure(model, test, tokenizer, text_encoder, config, config.output_dir / "tracks.png")
    write_json(config.output_dir / "metrics.json", metrics)
    print(f"held-out clips: {metrics}; the model is in {config.output_dir / FOLDER}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
