"""Train the small network that finds a person's joints, by which videos are judged, on synthetic frames.

Try it, for a few steps, then in earnest (some minutes on a CPU):

    python train_keypoint_detector.py --output_path runs/detector.safetensors --max_train_steps 20
    python train_keypoint_detector.py --dataset DATASET

DATASET is a synthetic dataset (python -m data.synthetic) of many people; its JSON files hold the joints. Its
test split, of other people, says how good the detector is. Writes the weights, and metrics beside them
(NAME.json).
"""

import dataclasses
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from data.annotations import load_annotations
from data.frames import frame_paths, read_frames
from evaluation.keypoint_detector import (
    HEAT_STRIDE,
    HEIGHT,
    WIDTH,
    KeypointDetector,
    detect_joints,
    expected_places,
    save_detector,
)
from evaluation.keypoints import joint_errors
from utils.config import run_script, settings_as_json
from utils.errors import UserError
from utils.files import write_json
from utils.pose_drawing import JOINT, JOINT_NAMES
from utils.precision import autocast
from warping.joints import load_joints, scale_joints

HEAT_SIGMA = 1.0
OTHER_SIDE = {"left": "right", "right": "left"}
MIRRORED = [JOINT["_".join(OTHER_SIDE.get(word, word) for word in name.split("_"))] for name in JOINT_NAMES]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a keypoint detector training run."""

    dataset: Path = Path("fashion_dataset")
    """Synthetic dataset: frames in fashion_crop, joints in fashion_poses/NAME.json."""
    output_path: Path = Path("pretrained_model/keypoint_detector.safetensors")
    """Gets the weights."""
    frames_per_clip: int = 6
    """Frames taken of each clip, evenly spaced; many people matter more than many frames of each."""
    max_train_steps: int = 1500
    """Optimisation steps."""
    train_batch_size: int = 32
    """Frames a step."""
    learning_rate: float = 1e-3
    """AdamW's learning rate at its peak; warms up, then falls as a cosine to zero."""
    seed: int = 0
    """Weights, order and changes of the frames follow from it."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the products."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""


def read_examples(dataset: Path, split: str, per_clip: int) -> tuple[np.ndarray, np.ndarray]:
    """Read frames of a split at the detector's size.

    Returns:
        (n, 128, 64, 3) uint8, and joints (n, 18, 3) in their pixels with visibility 0 or 1.

    Raises:
        UserError: frames that cannot be read, or a clip without joints.
    """
    pictures, joints = [], []
    for name in sorted({segment.name for segment in load_annotations(dataset, split)}):
        folder = dataset / "fashion_crop" / name
        count = len(frame_paths(folder))
        indices = np.unique(np.linspace(0, count - 1, min(per_clip, count)).round().astype(int))
        frames = read_frames(folder, indices.tolist())
        found = load_joints(dataset / "fashion_poses" / name, count)
        if found is None:
            raise UserError(f"{dataset / 'fashion_poses' / name} shows no joints; give a synthetic dataset")
        pictures += [cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames]
        hidden = found[indices, :, 2] <= 0
        found[..., 2] = (
            1  # hidden joints are learnt from as well, and scale_joints leaves them where they are
        )
        scaled = scale_joints(found[indices], frames.shape[1:3], (HEIGHT, WIDTH))
        scaled[..., 2] = ~hidden
        joints.append(scaled)
    return np.stack(pictures), np.concatenate(joints)


def change_examples(
    pictures: np.ndarray, joints: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, move, scale, blur and recolour frames, as a generated video might differ from a true one.

    Args:
        pictures: (n, 128, 64, 3) uint8.
        joints: (n, 18, 3).
        rng: what is drawn from.
    """
    changed, moved = np.empty_like(pictures), joints.copy()
    for i, picture in enumerate(pictures):
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
            moved[i] = moved[i, MIRRORED]
            moved[i, :, 0] = WIDTH - 1 - moved[i, :, 0]
        scale, dx, dy = rng.uniform(0.88, 1.12), rng.uniform(-4, 4), rng.uniform(-6, 6)
        matrix = np.array(
            [[scale, 0, (1 - scale) * WIDTH / 2 + dx], [0, scale, (1 - scale) * HEIGHT / 2 + dy]], np.float32
        )
        picture = cv2.warpAffine(
            np.ascontiguousarray(picture), matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE
        )
        moved[i, :, :2] = moved[i, :, :2] @ matrix[:, :2].T + matrix[:, 2]
        pixels = picture.astype(np.float32)
        if rng.random() < 0.5:
            pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.4, 1.6)))
        pixels = (pixels - 128) * rng.uniform(0.8, 1.2) + 128 + rng.uniform(-16, 16, 3)
        if rng.random() < 0.5:
            coarse = rng.normal(0, rng.uniform(2, 14), (HEIGHT // 4, WIDTH // 4, 3)).astype(np.float32)
            pixels += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        changed[i] = np.clip(pixels, 0, 255).round().astype(np.uint8)
    outside = (
        (moved[..., 0] < 0) | (moved[..., 0] > WIDTH - 1) | (moved[..., 1] < 0) | (moved[..., 1] > HEIGHT - 1)
    )
    moved[..., 2] *= ~outside
    return changed, moved


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


def validate(detector: KeypointDetector, pictures: np.ndarray, joints: np.ndarray) -> dict[str, float]:
    """Joint error in percent of the height, PCK@0.2, and how often visibility is told right."""
    found = detect_joints(detector, pictures)
    error, pck = joint_errors(found, joints, HEIGHT)
    seen = float(((found[..., 2] > 0) == (joints[..., 2] > 0)).mean())
    return {"joint_error": error, "pck": pck, "visibility_accuracy": seen, "num_frames": len(pictures)}


def main(config: Config) -> None:
    """Train, measure on the test split, write the weights."""
    if min(config.max_train_steps, config.train_batch_size, config.frames_per_clip) < 1:
        raise UserError("--max_train_steps, --train_batch_size and --frames_per_clip must be at least 1")
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pictures, joints = read_examples(config.dataset, "train", config.frames_per_clip)
    test_pictures, test_joints = read_examples(config.dataset, "test", config.frames_per_clip)
    print(f"{len(pictures)} frames to train on, {len(test_pictures)} to test on")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        detector = KeypointDetector().to(device)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        total_steps=config.max_train_steps,
        pct_start=0.05,
        cycle_momentum=False,
    )
    progress = tqdm(range(config.max_train_steps), unit="step")
    for step in progress:
        rng = np.random.default_rng([config.seed, step])
        chosen = rng.integers(0, len(pictures), config.train_batch_size)
        frames, targets = change_examples(pictures[chosen], joints[chosen], rng)
        batch = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast(config.dtype, torch.device(device)):
            loss = compute_loss(detector, batch, torch.from_numpy(targets).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")

    detector.eval().requires_grad_(False)
    metrics = validate(detector, test_pictures, test_joints)
    save_detector(config.output_path, detector)
    settings = settings_as_json(config)
    write_json(config.output_path.with_suffix(".json"), {"settings": settings, "test": metrics})
    print(f"{config.output_path}: {metrics}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
