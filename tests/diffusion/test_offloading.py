"""Weights that are elsewhere until they are needed, simulated on the CPU."""

import contextlib
from collections.abc import Callable, Iterator

import accelerate
import pytest
import torch
from diffusers.hooks import apply_group_offloading
from diffusers.hooks.group_offloading import ModuleGroup

from diffusion.pipeline import X2FashionPipeline
from models import Denoiser
from models.autoencoder import TINY_VAE_CONFIG, ReferenceAutoencoderKL
from tests.toys import SENTENCES, figure_clip, randomise

FRAMES, POSES, JOINTS = figure_clip(4)
CPU = torch.device("cpu")


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    """One whose decoder takes the photo, and which keeps the unused buffers of published files."""
    pipeline = make_tiny_pipeline(keep_unused_tensors=True)
    vae = ReferenceAutoencoderKL(**TINY_VAE_CONFIG).eval().requires_grad_(False)
    randomise(vae)
    pipeline.register_modules(vae=vae)
    return pipeline


def sample(pipeline: X2FashionPipeline, **overrides: object) -> torch.Tensor:
    """A clip in two guided steps, of which the first predicts without the sentence too."""
    inputs = {
        "image": FRAMES[0],
        "poses": POSES,
        "prompt": SENTENCES[0],
        "joints": JOINTS,
        "num_inference_steps": 2,
        "text_guidance_scale": 2.0,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "pt",
    }
    return pipeline(**{**inputs, **overrides}).frames


@contextlib.contextmanager
def poisoned(root: torch.nn.Module) -> Iterator[None]:
    """Weights are not numbers but while the module that owns them runs its forward."""
    hooks, weights = [], {}

    def poison(module: torch.nn.Module, *_: object) -> None:
        for parameter in module.parameters(recurse=False):
            parameter.data = torch.full_like(parameter.data, torch.nan)

    def heal(module: torch.nn.Module, *_: object) -> None:
        for parameter, data in zip(module.parameters(recurse=False), weights[module], strict=True):
            parameter.data = data

    for module in root.modules():
        weights[module] = [parameter.data for parameter in module.parameters(recurse=False)]
        poison(module)
        hooks += [module.register_forward_pre_hook(heal), module.register_forward_hook(poison)]
    yield
    for hook in hooks:
        hook.remove()
    for module in root.modules():
        heal(module)


@pytest.mark.parametrize("prompt", [SENTENCES[0], None])
def test_no_layer_reads_a_weight_outside_its_own_modules_forward(
    pipeline: X2FashionPipeline, prompt: str | None
) -> None:
    expected = sample(pipeline, prompt=prompt)
    with poisoned(pipeline.denoiser), poisoned(pipeline.vae):
        assert torch.equal(sample(pipeline, prompt=prompt), expected)


@pytest.mark.parametrize("prompt", [SENTENCES[0], None])
def test_sequential_offloading(pipeline: X2FashionPipeline, prompt: str | None) -> None:
    expected = sample(pipeline, prompt=prompt)
    for module in (pipeline.denoiser, pipeline.vae, pipeline.text_encoder):
        accelerate.cpu_offload(module, CPU)
        assert module.device.type == "meta"
    assert pipeline._execution_device == CPU
    assert torch.equal(sample(pipeline, prompt=prompt), expected)


@pytest.mark.parametrize("level", ["leaf_level", "block_level"])
def test_group_offloading(pipeline: X2FashionPipeline, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offloaded weights are not numbers until their group is loaded."""
    expected = sample(pipeline)
    weights: dict[torch.Tensor, torch.Tensor] = {}

    def owned(group: ModuleGroup) -> list[torch.Tensor]:
        return [parameter for module in group.modules for parameter in module.parameters()] + group.parameters

    def offload(group: ModuleGroup) -> None:
        for parameter in owned(group):
            weights.setdefault(parameter, parameter.data)
            parameter.data = torch.full_like(parameter.data, torch.nan)

    def load(group: ModuleGroup) -> None:
        for parameter in owned(group):
            parameter.data = weights[parameter]

    monkeypatch.setattr(ModuleGroup, "offload_", offload)
    monkeypatch.setattr(ModuleGroup, "onload_", load)
    for module in (pipeline.denoiser, pipeline.vae):
        apply_group_offloading(
            module,
            onload_device=CPU,
            offload_device=CPU,
            offload_type=level,
            num_blocks_per_group=1,
            block_modules=getattr(module, "_group_offload_block_modules", None),
        )
        assert all(parameter.isnan().all() for parameter in module.parameters())
    assert torch.equal(sample(pipeline), expected)


def test_model_offloading_loads_each_network_before_it_computes(pipeline: X2FashionPipeline) -> None:
    expected = sample(pipeline)
    loaded: list[str] = []

    class Recording(accelerate.hooks.ModelHook):
        def __init__(self, name: str) -> None:
            self.name = name

        def pre_forward(self, module, *args, **kwargs):
            loaded.append(self.name)
            return args, kwargs

    for name in ("text_encoder", "denoiser", "vae"):
        accelerate.hooks.add_hook_to_module(getattr(pipeline, name), Recording(name))
    assert torch.equal(sample(pipeline), expected)
    order = [name for name, before in zip(loaded, [None, *loaded], strict=False) if name != before]
    assert order == ["text_encoder", "vae", "denoiser", "vae"]
    assert loaded.count("denoiser") == 3  # the conditions and two steps


def test_every_network_has_its_place_in_the_order_of_offloading(pipeline: X2FashionPipeline) -> None:
    order = pipeline.model_cpu_offload_seq.split("->")
    networks = [name for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)]
    assert set(networks) <= set(order)


def test_layerwise_casting_leaves_what_is_fragile_as_it_is(pipeline: X2FashionPipeline) -> None:
    exact = sample(pipeline, output_type="latent")
    pipeline.denoiser.enable_layerwise_casting(torch.bfloat16, torch.float32)
    kept = ("timestep_embedding", "position_bias", "norm", "pose_encoder.scale")
    for name, parameter in pipeline.denoiser.named_parameters():
        is_kept = any(pattern in name for pattern in kept)
        assert parameter.dtype == (torch.float32 if is_kept else torch.bfloat16), name
    cast = sample(pipeline, output_type="latent")
    assert 0 < (cast - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize("num_timesteps", [1, 2])
def test_pure_bfloat16_has_gradients(pipeline: X2FashionPipeline, num_timesteps: int) -> None:
    exact: Denoiser = pipeline.denoiser
    noisy, timesteps = torch.randn(2, 8, 4, 8, 4), torch.linspace(900, 20, num_timesteps)
    text = torch.randn(2, 5, 32)

    def gradient(denoiser: Denoiser, dtype: torch.dtype) -> torch.Tensor:
        output = denoiser(noisy.to(dtype), timesteps, prompt_embeds=text.to(dtype))
        assert output.dtype == dtype
        output.float().square().mean().backward()
        weight = denoiser.unet.mid_resnet1.block1.norm.weight
        assert weight.grad is not None and weight.grad.dtype == dtype
        return weight.grad.float()

    expected = gradient(exact, torch.float32)
    exact.zero_grad()
    given = gradient(exact.to(torch.bfloat16), torch.bfloat16)
    assert (given - expected).norm() / expected.norm() < 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("how", ["model", "sequential", "leaf_level", "block_level"])
def test_offloading_from_a_gpu(pipeline: X2FashionPipeline, how: str) -> None:
    expected = sample(pipeline)
    if how == "model":
        pipeline.enable_model_cpu_offload()
    elif how == "sequential":
        pipeline.enable_sequential_cpu_offload()
    else:
        pipeline.enable_group_offload(torch.device("cuda"), offload_type=how, num_blocks_per_group=1)
    torch.testing.assert_close(sample(pipeline).cpu(), expected, atol=1e-2, rtol=0)


@pytest.mark.gpu
def test_two_guided_calls_on_a_gpu(pipeline: X2FashionPipeline) -> None:
    """Guidance by the photo noises it, after which some schedulers keep tensors on the GPU."""
    pipeline.to("cuda")
    first, second = (sample(pipeline, image_guidance_scale=1.5) for _ in range(2))
    torch.testing.assert_close(first, second)
