"""Train the small network that finds a person's joints, by which videos are judged, on synthetic frames.

Try it, for a few steps, then in earnest (some minutes on a CPU):

    python -m recipe.train_keypoint_detector --output_path runs/tried.safetensors --max_train_steps 20
    python -m recipe.train_keypoint_detector --dataset DATASET

DATASET is a synthetic dataset (python -m data.synthetic) of many people; its JSON files hold the joints. Its
test split, of other people, says how good the detector is. Writes the weights, and metrics beside them
(NAME.json).
"""

import dataclasses
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from data.annotations import load_annotations
from data.frames import frame_paths, read_frames
from evaluation.clips import read_mask
from evaluation.keypoints import joint_errors
from models.keypoint_detector import (
    HEAT_STRIDE,
    HEIGHT,
    MIRRORED,
    WIDTH,
    KeypointDetector,
    detect_joints,
    expected_places,
    load_detector,
    save_detector,
)
from training.averaging import averaged_copy
from training.loop import learning_rate_at, set_learning_rate
from utils.config import run_script, settings_as_json
from utils.devices import choose_device
from utils.errors import UserError
from utils.files import write_json
from utils.image import to_signed
from utils.pose_drawing import JOINT
from utils.precision import autocast
from warping.joints import load_joints, scale_joints

HEAT_SIGMA = 1.0
WARMUP_SHARE = 0.05
TURNED_SHOULDERS = 0.8
"""A body is turned whose shoulders are narrower than this much of the usual."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a keypoint detector training run."""

    dataset: Path = Path("fashion_dataset")
    """Synthetic dataset: frames in fashion_crop, joints in fashion_poses/NAME.json."""
    output_path: Path = Path("runs/keypoint_detector.safetensors")
    """Gets the weights; a file that exists is refused."""
    init_from: Path | None = None
    """Weights to begin from, as this script writes them."""
    frames_per_clip: int = 6
    """Frames taken of each clip, evenly spaced; many people matter more than many frames of each."""
    max_train_steps: int = 3000
    """Optimisation steps."""
    train_batch_size: int = 32
    """Frames a step."""
    turned_share: float = 0.4
    """How many of them at least show a turned body or a back; few frames of a dataset do."""
    learning_rate: float = 2e-3
    """AdamW's learning rate at its peak; warms up, then falls as a cosine to zero."""
    ema_decay: float = 0.995
    """Decay a step of the averaged weights, which are what is written; it grows to this from 0.1."""
    save_steps: int = 500
    """Write and measure the weights after every so many steps, and at the end."""
    seed: int = 0
    """Weights, order and changes of the frames follow from it."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the products."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """Frames at the detector's size; all arrays have n as their first axis."""

    pictures: np.ndarray
    """(n, 128, 64, 3) uint8."""
    joints: np.ndarray
    """(n, 18, 3): x, y in their pixels, and visibility 0 or 1."""
    people: np.ndarray | None
    """(n, 128, 64) uint8, 255 on the person; None where the dataset has no masks."""

    def choose(self, indices: np.ndarray) -> "Examples":
        """Some of them."""
        people = None if self.people is None else self.people[indices]
        return Examples(pictures=self.pictures[indices], joints=self.joints[indices], people=people)


def read_examples(dataset: Path, split: str, per_clip: int) -> Examples:
    """Read frames of a split at the detector's size.

    Raises:
        UserError: frames or masks that cannot be read, or a clip without joints.
    """
    pictures, joints, people = [], [], []
    for name in sorted({segment.name for segment in load_annotations(dataset, split)}):
        folder = dataset / "fashion_crop" / name
        count = len(frame_paths(folder))
        indices = np.unique(np.linspace(0, count - 1, min(per_clip, count)).round().astype(int)).tolist()
        frames = read_frames(folder, indices)
        found = load_joints(dataset / "fashion_poses" / name, count)
        if found is None:
            raise UserError(f"{dataset / 'fashion_poses' / name} shows no joints; give a synthetic dataset")
        pictures += [_resize(frame) for frame in frames]
        masks = dataset / "fashion_masks" / name
        if masks.is_dir():
            paths = frame_paths(masks)
            shown = (read_mask(paths[index], frames.shape[1:3]) > 0 for index in indices)
            people += [_resize(person.astype(np.uint8) * 255) for person in shown]
        hidden = found[indices, :, 2] <= 0
        found[..., 2] = 1  # hidden joints are learnt from too; scale_joints would leave them where they are
        scaled = scale_joints(found[indices], frames.shape[1:3], (HEIGHT, WIDTH))
        scaled[..., 2] = ~hidden
        joints.append(scaled)
    return Examples(
        pictures=np.stack(pictures),
        joints=np.concatenate(joints),
        people=np.stack(people) if len(people) == len(pictures) else None,
    )


def choose_examples(
    joints: np.ndarray, turned_share: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw frames, a share of them with narrow or crossed shoulders where there are any.

    Args:
        joints: (n, 18, 3) of all frames.
        turned_share: 0 to 1.
        count: how many to draw.
        rng: what is drawn from.

    Returns:
        (count,) indices.
    """
    chosen = rng.integers(0, len(joints), count)
    shoulders = joints[:, JOINT["left_shoulder"], 0] - joints[:, JOINT["right_shoulder"], 0]
    turned = np.flatnonzero(shoulders < TURNED_SHOULDERS * np.median(shoulders))
    if turned.size:
        among = turned[rng.integers(0, turned.size, count)]
        chosen = np.where(rng.random(count) < turned_share, among, chosen)
    return chosen


def _resize(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def change_examples(examples: Examples, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Change frames as a generated video, or a photo taken elsewhere, might differ from them.

    They are mirrored, moved, scaled, tilted, blurred, blotched and recoloured; where the person's shape is
    known, some get another background.

    Args:
        examples: what to change.
        rng: what is drawn from.

    Returns:
        (n, 128, 64, 3) uint8 and joints (n, 18, 3); who leaves the picture is not seen.
    """
    changed, moved = np.empty_like(examples.pictures), examples.joints.copy()
    for i, picture in enumerate(examples.pictures):
        pixels = picture.astype(np.float32)
        if examples.people is not None and rng.random() < 0.3:
            share = examples.people[i, :, :, None].astype(np.float32) / 255
            pixels = pixels * share + make_background(rng) * (1 - share)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
            moved[i] = moved[i, MIRRORED]
            moved[i, :, 0] = WIDTH - 1 - moved[i, :, 0]
        matrix = draw_move(rng)
        pixels = cv2.warpAffine(
            np.ascontiguousarray(pixels), matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE
        )
        moved[i, :, :2] = moved[i, :, :2] @ matrix[:, :2].T + matrix[:, 2]
        changed[i] = np.clip(change_colors(pixels, rng), 0, 255).round().astype(np.uint8)
    outside = (
        (moved[..., 0] < 0) | (moved[..., 0] > WIDTH - 1) | (moved[..., 1] < 0) | (moved[..., 1] > HEIGHT - 1)
    )
    moved[..., 2] *= ~outside
    return changed, moved


def make_background(rng: np.random.Generator) -> np.ndarray:
    """Clouds of colour between fine and flat, (128, 64, 3) float32 in 8-bit steps."""
    rows = int(rng.choice([2, 4, 8, 16, 32]))
    clouds = rng.normal(0, rng.uniform(0, 60), (rows, max(rows // 2, 2), 3)).astype(np.float32)
    return cv2.resize(clouds, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) + rng.uniform(0, 255, 3)


def draw_move(rng: np.random.Generator) -> np.ndarray:
    """Scale, tilt and shift, (2, 3) float32: mostly a little, as clips of one dataset differ; else much."""
    if rng.random() < 0.7:
        scale, degrees, dx, dy = rng.uniform(0.88, 1.12), 0.0, rng.uniform(-4, 4), rng.uniform(-6, 6)
    else:
        scale, degrees = rng.uniform(0.5, 1.5), rng.uniform(-10, 10)
        dx, dy = rng.uniform(-14, 14), rng.uniform(-24, 24)
    matrix = cv2.getRotationMatrix2D(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), degrees, scale)
    matrix[:, 2] += dx, dy
    return matrix.astype(np.float32)


def change_colors(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, other colours, light, tint, blotches, fine noise and a missing patch, on (128, 64, 3) float32."""
    if rng.random() < 0.4:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.4:  # so that a face is told from hair by its features, not by its colour alone
        mixing = np.eye(3) + rng.normal(0, 0.3, (3, 3)) if rng.random() < 0.6 else np.ones((3, 3))
        mixing /= np.maximum(mixing.sum(axis=1, keepdims=True), 0.3)
        pixels = pixels @ mixing.T
    pixels = (pixels - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-24, 24) + rng.uniform(-16, 16, 3)
    if rng.random() < 0.5:
        grid = int(rng.choice([4, 8]))
        coarse = rng.normal(0, rng.uniform(2, 20), (HEIGHT // grid, WIDTH // grid, 3)).astype(np.float32)
        pixels = pixels + cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        pixels = pixels + rng.normal(0, rng.uniform(1, 10), pixels.shape)
    if rng.random() < 0.2:
        height, width = rng.integers(4, 20, 2)
        top, left = rng.integers(0, HEIGHT - height), rng.integers(0, WIDTH - width)
        pixels[top : top + height, left : left + width] = rng.uniform(0, 255, 3)
    return pixels


def compute_loss(detector: KeypointDetector, pictures: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the heat maps with Gaussians, distance of their expectations, and who is seen.

    Args:
        detector: being trained.
        pictures: (n, 3, 128, 64) in [-1, 1].
        joints: (n, 18, 3); hidden joints count a quarter, those outside the picture not at all.
    """
    heat, seen = detector(pictures)
    heat, seen = heat.float(), seen.float()
    places = (joints[..., :2] - (HEAT_STRIDE - 1) / 2) / HEAT_STRIDE
    rows, columns = (torch.arange(size, device=heat.device) for size in heat.shape[2:])
    square = (columns - places[..., None, :1]) ** 2 + (rows[:, None] - places[..., None, 1:]) ** 2
    target = (-square.flatten(2) / (2 * HEAT_SIGMA**2)).softmax(dim=2)
    inside = (
        (joints[..., 0] >= 0) & (joints[..., 0] < WIDTH) & (joints[..., 1] >= 0) & (joints[..., 1] < HEIGHT)
    )
    weight = inside * (0.25 + 0.75 * joints[..., 2])
    cross_entropy = -(target * heat.flatten(2).log_softmax(dim=2)).sum(dim=2)
    distance = functional.smooth_l1_loss(expected_places(heat), joints[..., :2], reduction="none").sum(dim=2)
    located = (weight * (cross_entropy + 0.3 * distance)).sum() / weight.sum().clamp_min(1)
    return located + 0.5 * functional.binary_cross_entropy_with_logits(seen, joints[..., 2])


def validate(detector: KeypointDetector, examples: Examples) -> dict[str, float]:
    """Joint error in percent of the height, PCK@0.2, and how often visibility is told right."""
    found = detect_joints(detector, examples.pictures)
    error, pck = joint_errors(found, examples.joints, HEIGHT)
    seen = float(((found[..., 2] > 0) == (examples.joints[..., 2] > 0)).mean())
    return {"joint_error": error, "pck": pck, "visibility_accuracy": seen, "num_frames": len(found)}


def write_detector(config: Config, detector: KeypointDetector, step: int, held_out: Examples) -> None:
    """Write the weights, and beside them the settings and how good they are on the test split."""
    metrics = validate(detector, held_out)
    save_detector(config.output_path, detector)
    document = {"settings": settings_as_json(config), "step": step, "test": metrics}
    write_json(config.output_path.with_suffix(".json"), document)
    tqdm.write(f"{config.output_path}, step {step}: {metrics}")


def main(config: Config) -> None:
    """Train, measure on the test split, write the weights."""
    counts = ("max_train_steps", "train_batch_size", "frames_per_clip", "save_steps")
    for name in counts:
        if getattr(config, name) < 1:
            raise UserError(f"--{name} {getattr(config, name)} must be at least 1")
    if not 0 <= config.turned_share <= 1:
        raise UserError(f"--turned_share {config.turned_share} must be 0 to 1")
    if not 0 <= config.ema_decay < 1:
        raise UserError(f"--ema_decay {config.ema_decay} must be at least 0 and below 1")
    if config.output_path.exists():
        raise UserError(f"{config.output_path} exists; give another --output_path, or remove it first")
    device = choose_device(config.device)
    examples = read_examples(config.dataset, "train", config.frames_per_clip)
    held_out = read_examples(config.dataset, "test", config.frames_per_clip)
    print(f"{len(examples.pictures)} frames to train on, {len(held_out.pictures)} to test on")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        detector = KeypointDetector().to(device)
    if config.init_from is not None:
        detector.load_state_dict(load_detector(config.init_from).state_dict())
    ema = averaged_copy(detector, config.ema_decay)
    averaged = cast(KeypointDetector, ema.module)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=config.learning_rate, weight_decay=0.01)
    warmup_steps = round(WARMUP_SHARE * config.max_train_steps)
    progress = tqdm(range(1, config.max_train_steps + 1), unit="step", mininterval=5)
    for step in progress:
        rng = np.random.default_rng([config.seed, step])
        chosen = choose_examples(examples.joints, config.turned_share, config.train_batch_size, rng)
        frames, targets = change_examples(examples.choose(chosen), rng)
        batch = to_signed(frames).to(device)
        rate = learning_rate_at(step - 1, config.learning_rate, warmup_steps, config.max_train_steps)
        set_learning_rate(optimizer, rate)
        with autocast(config.dtype, device):
            loss = compute_loss(detector, batch, torch.from_numpy(targets).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        ema.update_parameters(detector)
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if step % config.save_steps == 0 or step == config.max_train_steps:
            write_detector(config, averaged, step, held_out)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
