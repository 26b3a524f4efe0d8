"""The networks: nn.Modules only, no downloads and no work at import."""

from models.conditions import Conditions
from models.conversion import published_shapes, published_to_state_dict, state_dict_to_published
from models.denoiser import Denoiser
from models.loading import load_denoiser, save_published
from models.presets import PRESETS

__all__ = [
    "PRESETS",
    "Conditions",
    "Denoiser",
    "load_denoiser",
    "published_shapes",
    "published_to_state_dict",
    "save_published",
    "state_dict_to_published",
]
