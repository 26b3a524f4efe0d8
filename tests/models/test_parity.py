"""What the published model returns, and a literal version of it, against ours."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diffusion.schedule import published_betas
from models import Denoiser, published_shapes, state_dict_to_published
from tests.models.recipes import (
    TOY,
    load_samples,
    normal,
    relative_error,
    sample,
    seeded_checkpoint,
    seeded_denoiser,
    seeded_inputs,
    seeded_weight,
    take,
)
from tests.models.reference import Reference

SHARED = Path(__file__).resolve().parents[3] / "shared" / "published_model"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the whole of the published outputs is not here"
)


@pytest.fixture(scope="module")
def published() -> Iterator[Denoiser]:
    """The published sizes with seeded weights."""
    yield seeded_denoiser()


def outputs(denoiser: Denoiser, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor of which the published model's value is known, by that tensor's name."""
    unet = denoiser.unet
    modules: dict[str, nn.Module] = {
        "inner_conv_in": unet.conv_in,
        "inner_down_3_spatio_temporal_attention": unet.down_levels[3].attention,
        "inner_mid": unet.mid_resnet2,
    }
    for i in range(4):
        modules[f"inner_down_{i}"] = unet.down_levels[i]
        modules[f"inner_up_{i}"] = unet.up_levels[i]
    found: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(module: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            found[name] = (output[0] if isinstance(output, tuple) else output)[:1, :, :2].clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    latents, timesteps = inputs["noisy_latents"], inputs["timesteps"]
    encoded = {k: v for k, v in inputs.items() if k not in ("noisy_latents", "timesteps")}
    with torch.no_grad():
        conditions = denoiser.encode_conditions(**encoded)
        found["noise_prediction"] = denoiser(latents, timesteps, conditions=conditions)
    for handle in handles:
        handle.remove()
    found["pose_features"] = conditions.pose_features
    found["appearance_mid"] = conditions.mid_residual[:, :, 0]
    for i, residual in enumerate(conditions.skip_residuals):
        found[f"appearance_skip_{i}"] = residual[:, :, 0]
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-7)])
def test_published_outputs(published: Denoiser, dtype: torch.dtype, tolerance: float) -> None:
    try:
        found = outputs(published.to(dtype), take(seeded_inputs(), dtype=dtype))
    finally:
        published.float()
    expected = load_samples()
    assert set(found) == set(expected)
    for name, tensor in found.items():
        stored = sample(tensor.contiguous())
        assert relative_error(stored["values"], expected[name]["values"]) < tolerance, name
        assert relative_error(stored["norm"], expected[name]["norm"]) < tolerance, name


def test_published_outputs_for_a_batch_of_one(published: Denoiser) -> None:
    inputs = seeded_inputs()
    with torch.no_grad():
        both = published(**inputs)
        for i in range(2):
            alone = published(**take(inputs, slice(i, i + 1)))
            assert relative_error(alone, both[i : i + 1]) < 1e-5


@needs_shared
def test_all_of_the_published_outputs(published: Denoiser) -> None:
    found = outputs(published, seeded_inputs())
    expected = load_file(SHARED / "parity.safetensors")
    betas = expected.pop("betas")
    assert relative_error(torch.from_numpy(published_betas()), betas) < 1e-6
    assert set(found) == set(expected)
    errors = {name: relative_error(tensor, expected[name]) for name, tensor in found.items()}
    assert max(errors.values()) < 1e-5, errors


@needs_shared
def test_names_shapes_and_weights_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import seeded_weights

    keys = seeded_weights.read_keys()
    assert published_shapes() == keys
    for group, names in keys.items():
        some = {name: shape for name, shape in names.items() if len(shape) < 3}
        for name, tensor in seeded_weights.seeded_state_dict(some, group).items():
            assert torch.equal(seeded_weight(group, name, names[name]), tensor), name
    theirs = seeded_weights.seeded_inputs()
    theirs["prompt_embeds"] = theirs.pop("text_embeddings")
    for name, tensor in seeded_inputs().items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(
    ("num_frames", "height", "width", "overrides"),
    [
        (2, 8, 8, {}),
        (6, 16, 8, {}),
        (1, 8, 8, {"temporal_downsample": (False, False, False)}),
        (5, 8, 8, {"temporal_downsample": (False, False, False)}),
        (4, 8, 8, {"temporal_downsample": (True, False, True)}),
    ],
)
def test_other_sizes_match_a_literal_version(
    num_frames: int, height: int, width: int, overrides: dict[str, object]
) -> None:
    config = TOY | overrides
    checkpoint = seeded_checkpoint(config)
    denoiser = seeded_denoiser(config, checkpoint)
    inputs = seeded_inputs(num_frames, height, width, text_channels=20)
    doubled = {g: {k: v.double() for k, v in tensors.items()} for g, tensors in checkpoint.items()}
    truth = Reference(doubled, TOY["text_attention_heads"], 2)(**take(inputs, dtype=torch.float64))
    with torch.no_grad():
        assert relative_error(denoiser(**inputs), truth) < 1e-5
        assert relative_error(denoiser.double()(**take(inputs, dtype=torch.float64)), truth) < 1e-12
        for i in range(2):
            one = slice(i, i + 1)
            assert relative_error(denoiser(**take(inputs, one, torch.float64)), truth[one]) < 1e-12


def test_gradients_match_a_literal_version() -> None:
    checkpoint = seeded_checkpoint(TOY)
    denoiser = seeded_denoiser(TOY, checkpoint).double()
    inputs = take(seeded_inputs(4, 8, 8, text_channels=20), dtype=torch.float64)
    doubled = {g: {k: v.double().requires_grad_() for k, v in part.items()} for g, part in checkpoint.items()}
    direction = normal("direction", *inputs["noisy_latents"].shape).double()
    (Reference(doubled, TOY["text_attention_heads"], 2)(**inputs) * direction).sum().backward()
    (denoiser(**inputs) * direction).sum().backward()

    gradients = {name: torch.zeros_like(tensor) for name, tensor in denoiser.state_dict().items()}
    gradients |= {name: parameter.grad for name, parameter in denoiser.named_parameters()}
    for group, part in state_dict_to_published(gradients, TOY).items():
        for name, gradient in part.items():
            truth = doubled[group][name].grad
            truth = torch.zeros_like(gradient) if truth is None else truth
            assert (gradient - truth).norm() <= 1e-9 * truth.norm() + 1e-9, name
