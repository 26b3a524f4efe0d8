"""A critic of small patches, which decoded pictures learn to convince: what nobody can know becomes sharp.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017 (patches); Miyato et
al., "Spectral Normalization for Generative Adversarial Networks", 2018; Wang et al., "High-Resolution Image
Synthesis and Semantic Manipulation with Conditional GANs", 2018 (feature matching).
"""

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class PatchCritic(nn.Module):
    """Scores of overlapping patches of about 50 pixels.

    Args:
        channels: of the first layer; later ones have twice and four times as many.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        widths = (3, channels, 2 * channels, 4 * channels)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1))
            for before, after in itertools.pairwise(widths)
        )
        self.layers.append(spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1)))
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(n, 3, H, W) in [-1, 1] to scores (n, 1, H / 8, W / 8) and each layer's features."""
        x, features = pictures, []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class Adversary:
    """A critic that learns beside the decoder.

    Args:
        seed: of its weights.
        learning_rate: of its Adam.
        device: where it computes.
    """

    def __init__(self, seed: int, learning_rate: float, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critic = PatchCritic().to(device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    def loss(self, decoded: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How little the critic is convinced, and how far its features are from the truth's.

        Args:
            decoded: (n, 3, H, W), with gradients.
            images: the truth.
        """
        self.critic.requires_grad_(False)
        scores, features = self.critic(decoded)
        with torch.no_grad():
            _, wanted = self.critic(images)
        self.critic.requires_grad_(True)
        pairs = list(zip(features, wanted, strict=True))
        matching = sum((ours - theirs).abs().mean() for ours, theirs in pairs) / len(pairs)
        return -scores.float().mean(), torch.as_tensor(matching)

    def learn(self, decoded: torch.Tensor, images: torch.Tensor) -> None:
        """One step of the critic, with the hinge loss."""
        false, _ = self.critic(decoded.detach())
        true, _ = self.critic(images)
        (functional.relu(1 + false.float()).mean() + functional.relu(1 - true.float()).mean()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The critic's weights and its optimizer's state."""
        return self.critic.state_dict(), self.optimizer.state_dict()

    def load_state(self, weights: dict[str, torch.Tensor], optimizer: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.critic.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
