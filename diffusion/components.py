"""The classes of ours that a saved pipeline names.

diffusers looks a component's class up in the module that model_index.json names, and the base class that says
how to load it there too: this module has both.
"""

from typing import Any

from diffusers import ModelMixin
from transformers import ImageProcessingMixin

from models import Denoiser
from models.autoencoder import ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from models.pose_finder import PoseFinder
from models.text_to_poses import TextToPoses
from models.warper import Warper

__all__ = [
    "Denoiser",
    "ImageProcessingMixin",
    "ModelMixin",
    "PoseFinder",
    "ReferenceAutoencoderKL",
    "SpaceToDepthAutoencoderKL",
    "TextToPoses",
    "Warper",
]
OWN_CLASSES = set(__all__) - {"ImageProcessingMixin", "ModelMixin"}


def find_here(config: dict[str, Any]) -> dict[str, Any]:
    """A pipeline's configuration whose classes of ours are in this module, wherever they lived when saved."""
    return {
        name: [__name__, value[1]]
        if isinstance(value, list | tuple) and len(value) == 2 and value[1] in OWN_CLASSES
        else value
        for name, value in config.items()
    }
