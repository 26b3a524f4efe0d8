"""Low-rank adapters of the denoiser (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).

An adapter is trained on a few clips and added to a model of the same sizes; see `diffusion.lora` for the
pipeline's side.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from models.denoiser import Denoiser
from utils.errors import UserError

ADAPTER = "default"
"""Name of the adapter that is trained."""
LEFT_ALONE = ("timestep", "position_bias")
"""Parts of the names of linear layers that see neither pixels nor words."""


def adapted_layers(denoiser: Denoiser) -> list[str]:
    """Names of the linear layers that an adapter is added to: attention, feed-forward, shortcuts."""
    return [
        name
        for name, module in denoiser.named_modules()
        if isinstance(module, nn.Linear) and not any(part in name for part in LEFT_ALONE)
    ]


def add_lora(denoiser: Denoiser, rank: int, seed: int) -> None:
    """Freeze a denoiser and add an adapter to train, which changes nothing yet.

    Args:
        denoiser: without an adapter.
        rank: of the two matrices that are added to each layer's weight.
        seed: the first of the two is drawn from it; the other is zero.
    """
    denoiser.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=adapted_layers(denoiser))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser.add_adapter(config, ADAPTER)


def lora_tensors(denoiser: Denoiser) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The trained adapter's tensors by name, and its settings, for `X2FashionPipeline.save_lora_weights`."""
    settings = denoiser.peft_config[ADAPTER].to_dict()
    settings["target_modules"] = sorted(settings["target_modules"])  # a set
    return get_peft_model_state_dict(denoiser, adapter_name=ADAPTER), settings


def check_lora(denoiser: Denoiser, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse an adapter that does not fit.

    Args:
        denoiser: that it is to be added to.
        tensors: (rank, in) NAME.lora_A.weight and (out, rank) NAME.lora_B.weight for each adapted layer.
        source: where they come from, for the message.

    Raises:
        UserError: there is no adapter in it, one of another model, or one with NaN or infinity.
    """
    names = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    if not tensors or any(".lora_" not in name for name in tensors):
        raise UserError(
            f"{source} is not a LoRA of a denoiser; give a file that train.py --lora_rank wrote, "
            "pytorch_lora_weights.safetensors"
        )
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{source} is damaged: {name} has NaN or infinity; train or copy it again")
    layers = dict(denoiser.named_modules())
    for name in names:
        layer = layers.get(name)
        layer = getattr(layer, "base_layer", layer)
        first, second = (tensors.get(f"{name}.lora_{part}.weight") for part in "AB")
        if first is None or second is None:
            raise UserError(f"{source} is incomplete: {name} needs lora_A and lora_B; copy the file again")
        given = f"{tuple(second.shape)} x {tuple(first.shape)}"
        if layer is None:
            raise UserError(
                f"{source} was made for another model: it adapts {name}, which this model does not have; "
                "load it into the model that it was trained on (--pretrained_model)"
            )
        if not isinstance(layer, nn.Linear):
            raise UserError(
                f"{source} adapts {name}, which is a {type(layer).__name__}; only linear layers take an "
                "adapter: train one with train.py --lora_rank"
            )
        fits = first.ndim == second.ndim == 2 and second.shape[1] == first.shape[0]
        if not fits or (second.shape[0], first.shape[1]) != (layer.out_features, layer.in_features):
            raise UserError(
                f"{source} was made for another model: it adds {given} to {name}, whose weight is "
                f"{layer.out_features} x {layer.in_features}; load it into the model that it was trained on "
                "(--pretrained_model)"
            )
