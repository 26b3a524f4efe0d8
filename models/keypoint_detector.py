"""A small network that finds the 18 joints of one person in front of a plain background.

It is trained on synthetic frames alone (recipe.train_keypoint_detector) and judges videos of the same kind.
Sun et al., "Integral Human Pose Regression", 2018: a heat map a joint, whose expectation is the joint's
place.
"""

from pathlib import Path

import cv2
import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from utils.errors import UserError
from utils.files import atomic_path
from utils.image import to_signed
from utils.pose_drawing import FACE, JOINT, JOINT_NAMES, NUM_JOINTS, joint_indices

HEIGHT, WIDTH = 128, 64
HEAT_STRIDE = 4
CHANNELS = (24, 40, 56, 72)
WHOLE_CHANNELS = 12
OTHER_SIDE = {"left": "right", "right": "left"}
MIRRORED = [JOINT["_".join(OTHER_SIDE.get(word, word) for word in name.split("_"))] for name in JOINT_NAMES]
"""Joint -> the joint of the other side."""


class _Block(nn.Module):
    """Two convolutions beside a skip; the first may halve the size."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1)
        self.norm1 = nn.GroupNorm(8, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.norm2 = nn.GroupNorm(8, channels_out)
        same = channels_in == channels_out and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.silu(self.norm1(self.conv1(x)))
        return functional.silu(self.norm2(self.conv2(hidden)) + self.skip(x))


class KeypointDetector(nn.Module):
    """Heat maps on a quarter of the input's grid, and for each joint whether it is seen.

    The deepest level sees the whole body, which tells front from back and so left from right.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = CHANNELS
        self.stem = nn.Conv2d(3, a, 5, 2, 2)
        self.down = nn.ModuleList([_Block(a, b, 2), _Block(b, c, 2), _Block(c, d, 2)])
        self.deep = nn.Sequential(_Block(d, d), _Block(d, d))
        self.squeeze = nn.Conv2d(d, WHOLE_CHANNELS, 1)
        self.whole = nn.Linear(WHOLE_CHANNELS * (HEIGHT // 16) * (WIDTH // 16), d)
        self.up = nn.ModuleList([_Block(d + c, c), _Block(c + b, b)])
        self.heat = nn.Conv2d(b, NUM_JOINTS, 1)
        self.seen = nn.Linear(d, NUM_JOINTS)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Find joints in pictures.

        Args:
            pictures: (n, 3, 128, 64) in [-1, 1].

        Returns:
            Logits of the heat maps (n, 18, 32, 16), and of being seen (n, 18).
        """
        x = functional.silu(self.stem(pictures))
        quarter = self.down[0](x)
        eighth = self.down[1](quarter)
        deep = self.deep(self.down[2](eighth))
        whole = functional.silu(self.whole(self.squeeze(deep).flatten(1)))
        deep = deep + whole[:, :, None, None]
        for block, level in zip(self.up, (eighth, quarter), strict=True):
            deep = functional.interpolate(deep, size=level.shape[-2:], mode="nearest")
            deep = block(torch.cat([deep, level], dim=1))
        return self.heat(deep), self.seen(whole)


def expected_places(heat: torch.Tensor) -> torch.Tensor:
    """Expectation of each heat map (n, 18, h, w), as (n, 18, 2): x, y in pixels of the input picture."""
    probability = heat.flatten(2).softmax(dim=2).unflatten(2, heat.shape[2:])
    rows = torch.arange(heat.shape[2], device=heat.device, dtype=heat.dtype)
    columns = torch.arange(heat.shape[3], device=heat.device, dtype=heat.dtype)
    x = (probability.sum(dim=2) * columns).sum(dim=2)
    y = (probability.sum(dim=3) * rows).sum(dim=2)
    return torch.stack([x, y], dim=2) * HEAT_STRIDE + (HEAT_STRIDE - 1) / 2


@torch.no_grad()
def detect_joints(detector: KeypointDetector, frames: np.ndarray) -> np.ndarray:
    """Find the joints of one person in each frame.

    Args:
        detector: trained, in eval mode.
        frames: (F, H, W, 3) uint8, twice as high as wide or nearly so; they are resized to 128 x 64.

    Returns:
        (F, 18, 3) float32: x, y in the frames' pixels, visibility 0 or 1.
    """
    height, width = frames.shape[1:3]
    device = next(detector.parameters()).device
    small = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames])
    pictures = to_signed(small).to(device)
    joints = np.empty((len(frames), NUM_JOINTS, 3), np.float32)
    for start in range(0, len(frames), 32):
        heat, seen = detector(pictures[start : start + 32])
        places = (expected_places(heat) + 0.5) * torch.tensor(
            [width / WIDTH, height / HEIGHT], device=device
        ) - 0.5
        joints[start : start + 32, :, :2] = places.cpu().numpy()
        joints[start : start + 32, :, 2] = (seen > 0).cpu().numpy()
    return joints


def detect_photo_joints(detector: KeypointDetector, photo: np.ndarray) -> np.ndarray:
    """Find the joints of a person who is known to face the viewer, as in the photo that a video starts from.

    A real face under tied-back hair can look to the detector like the back of a synthetic head, while all
    places are right: then left and right change sides, and the face is where the hidden one was thought to
    be.

    Args:
        detector: see `detect_joints`.
        photo: (H, W, 3) uint8, a front view, about twice as high as wide.

    Returns:
        (18, 3) float32, as by `detect_joints`.
    """
    (joints,) = detect_joints(detector, photo[None])
    sides = [
        joints[JOINT[f"left_{part}"], 0] - joints[JOINT[f"right_{part}"], 0] for part in ("shoulder", "hip")
    ]
    if sum(sides) < 0:
        joints = joints[MIRRORED]
        joints[joint_indices(FACE), 2] = 1
    return joints


def save_detector(path: str | Path, detector: KeypointDetector) -> None:
    """Write the weights as one safetensors file of 16-bit floats, whole or not at all."""
    tensors = {
        name: value.detach().half().contiguous().cpu() for name, value in detector.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


def load_detector(path: str | Path) -> KeypointDetector:
    """Read a detector in eval mode.

    Raises:
        UserError: the file is missing or holds something else.
    """
    detector = KeypointDetector()
    try:
        detector.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path} does not hold a keypoint detector ({' '.join(str(error).split())[:120]}); make one with "
            "python -m recipe.train_keypoint_detector"
        ) from error
    return detector.eval().requires_grad_(False)
