"""A sentence and the pose somebody stands in become a track of her 18 joints over any number of frames.

A conditional variational autoencoder (Sohn et al., "Learning Structured Output Representation using Deep
Conditional Generative Models", 2015). Every coordinate is a sum of cosines over the clip's duration, so that
tracks are smooth and as long as one likes. Places are in torso lengths from the middle of the hips of the
first pose (see `diffusion.motion.body_frame`), so that size and place of the person do not matter.
"""

import dataclasses
import math

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import Tensor, nn
from torch.nn import functional

from utils.pose_drawing import JOINT, NUM_JOINTS

PARENTS = {
    "nose": "neck", "right_eye": "nose", "left_eye": "nose", "right_ear": "nose", "left_ear": "nose",
    "right_shoulder": "neck", "right_elbow": "right_shoulder", "right_wrist": "right_elbow",
    "left_shoulder": "neck", "left_elbow": "left_shoulder", "left_wrist": "left_elbow",
    "right_hip": "neck", "right_knee": "right_hip", "right_ankle": "right_knee",
    "left_hip": "neck", "left_knee": "left_hip", "left_ankle": "left_knee",
}  # fmt: skip
PARENT_INDICES = [JOINT[PARENTS.get(name, name)] for name in JOINT]
"""Joint -> the joint that it hangs on; the neck, where all begins, is its own."""


def to_bones(places: Tensor) -> Tensor:
    """Places (..., 18, 2) as vectors from each joint's parent; the neck's own place stays."""
    parents = places.index_select(-2, torch.tensor(PARENT_INDICES, device=places.device))
    has_parent = torch.ones(NUM_JOINTS, 1, device=places.device, dtype=places.dtype)
    has_parent[JOINT["neck"]] = 0
    return places - parents * has_parent


def chain_matrix() -> Tensor:
    """(18, 18): which bones lead from the neck to each joint, so that ``matrix @ bones`` are places."""
    matrix = torch.zeros(NUM_JOINTS, NUM_JOINTS)
    for joint in range(NUM_JOINTS):
        link = joint
        matrix[joint, link] = 1
        while link != JOINT["neck"]:
            link = PARENT_INDICES[link]
            matrix[joint, link] = 1
    return matrix


def cosines(num_frames: int, count: int) -> Tensor:
    """(F, count): half waves cos(pi k f / (F - 1)), k from 0 to count - 1, of frames f."""
    time = torch.linspace(0, 1, num_frames) if num_frames > 1 else torch.zeros(1)
    return torch.cos(math.pi * time[:, None] * torch.arange(count))


class _Residual(nn.Module):
    """x + MLP(LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + functional.silu(self.linear(self.norm(x)))


@dataclasses.dataclass
class TextToPosesOutput(BaseOutput):
    """What `TextToPoses.forward` returns where a dict is asked for.

    Attributes:
        places: (b, F, 18, 2) in torso lengths.
        visibility_logits: (b, F, 18).
    """

    places: Tensor
    visibility_logits: Tensor


class TextToPoses(ModelMixin, ConfigMixin):
    """The decoder: sentence, first pose and a latent to a track.

    Args:
        cross_attention_dim: width of the text encoder's last hidden state.
        num_queries: learned queries that gather the tokens.
        text_width: width of what all queries gather together.
        latent_dim: numbers that tell one way of doing it from another.
        width: width of the hidden layers.
        num_blocks: number of hidden blocks.
        num_components: movements that tracks are mixed from.
        num_cosines: half waves a coordinate, the constant not counted.
        num_visibility_cosines: half waves of each joint's visibility, the constant counted.
    """

    @register_to_config
    def __init__(
        self,
        cross_attention_dim: int = 128,
        num_queries: int = 4,
        text_width: int = 96,
        latent_dim: int = 16,
        width: int = 320,
        num_blocks: int = 2,
        num_components: int = 72,
        num_cosines: int = 14,
        num_visibility_cosines: int = 8,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, cross_attention_dim) / cross_attention_dim)
        self.text = nn.Linear(num_queries * cross_attention_dim, text_width)
        self.stem = nn.Linear(text_width + 3 * NUM_JOINTS + latent_dim, width)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(num_blocks)))
        self.mix = nn.Linear(width, num_components)
        # Bones' cosines, their places where the first pose hides a joint, and visibilities.
        outputs = NUM_JOINTS * (2 * num_cosines + 2 + num_visibility_cosines)
        self.components = nn.Linear(num_components, outputs)
        self.register_buffer("chain", chain_matrix(), persistent=False)

    def encode_text(self, prompt_embeds: Tensor) -> Tensor:
        """Tokens (b, n, cross_attention_dim) to (b, text_width)."""
        weights = (prompt_embeds @ self.queries.T).softmax(dim=1)
        return functional.silu(self.text((weights.transpose(1, 2) @ prompt_embeds).flatten(1)))

    def forward(
        self,
        prompt_embeds: Tensor,
        first: Tensor,
        latents: Tensor,
        num_frames: int,
        return_dict: bool = False,
    ) -> "tuple[Tensor, Tensor] | TextToPosesOutput":
        """Make tracks.

        Args:
            prompt_embeds: (b, n, cross_attention_dim), the text encoder's last hidden state.
            first: (b, 18, 3): x, y of the first pose in torso lengths, and visibility 0 or 1; neck and hips
                are seen.
            latents: (b, latent_dim), standard normal.
            num_frames: F, at least 1.
            return_dict: whether to return a `TextToPosesOutput` in place of a tuple.

        Returns:
            Places (b, F, 18, 2) in torso lengths, those of frame 0 the given ones, and logits of being seen
            (b, F, 18); the given visibilities belong in frame 0.
        """
        shown = first[..., 2:]
        bones = to_bones(first[..., :2]) * shown
        pose = torch.cat([bones, shown], dim=2).flatten(1)
        x = self.stem(torch.cat([self.encode_text(prompt_embeds), pose, latents], dim=1))
        x = self.components(functional.silu(self.mix(self.blocks(functional.silu(x)))))
        x = x.unflatten(1, (NUM_JOINTS, -1))
        waves, hidden, visibility = x.split(
            [2 * self.config.num_cosines, 2, self.config.num_visibility_cosines], dim=2
        )
        # No wave moves anything in frame 0.
        basis = (cosines(num_frames, self.config.num_cosines + 1)[:, 1:] - 1).to(x)
        moved = torch.einsum("fk,bjck->bfjc", basis, waves.unflatten(2, (2, -1)))
        later = (torch.arange(num_frames, device=x.device) > 0).to(x)[None, :, None, None]
        known = torch.where(shown > 0, bones, hidden)[:, None]
        track = torch.einsum("ij,bfjc->bfic", self.chain, known + moved)
        places = first[:, None, :, :2] * (1 - later) + track * later
        wave = cosines(num_frames, self.config.num_visibility_cosines).to(x)
        logits = torch.einsum("fk,bjk->bfj", wave, visibility)
        return TextToPosesOutput(places, logits) if return_dict else (places, logits)


class TrackEncoder(nn.Module):
    """The encoder of the autoencoder, used in training only: what distinguishes a track, as a latent."""

    def __init__(self, decoder: TextToPoses, num_cosines: int = 14, width: int = 384) -> None:
        super().__init__()
        self.num_cosines = num_cosines
        inputs = NUM_JOINTS * (2 * num_cosines + 4 + 3) + decoder.config.text_width
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), _Residual(width), nn.SiLU(),
            nn.Linear(width, 2 * decoder.config.latent_dim),
        )  # fmt: skip

    def forward(
        self, text: Tensor, first: Tensor, places: Tensor, visibility: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance (b, latent_dim) of the latent.

        Args:
            text: (b, text_width), the decoder's.
            first: (b, 18, 3).
            places: (b, F, 18, 2) in torso lengths.
            visibility: (b, F, 18) of 0 and 1.
        """
        num_frames = places.shape[1]
        waves = torch.linalg.pinv(cosines(num_frames, min(num_frames, self.num_cosines + 1))[:, 1:] - 1)
        moved = to_bones(places) - to_bones(places[:, :1])
        coefficients = torch.einsum("kf,bfjc->bjck", waves.to(places), moved).flatten(2)
        padding = 2 * self.num_cosines - coefficients.shape[2]
        seen = torch.einsum("fk,bfj->bjk", cosines(num_frames, 4).to(places), visibility) / num_frames
        features = torch.cat([functional.pad(coefficients, (0, padding)), seen, first], dim=2).flatten(1)
        mean, log_variance = self.layers(torch.cat([features, text], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)
