"""Adapters of the denoiser in the pipeline, as diffusers' pipelines have them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion.pipeline import X2FashionPipeline
from models import Denoiser
from models.lora import add_lora, lora_tensors
from tests.toys import SENTENCES, figure_clip
from utils.errors import UserError

FRAMES, POSES, JOINTS = figure_clip(4)
NAME = "pytorch_lora_weights.safetensors"


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    return make_tiny_pipeline()


@pytest.fixture
def lora_dir(make_tiny_pipeline: Callable[..., X2FashionPipeline], tmp_path: Path) -> Path:
    """An adapter of rank 3 that changes every layer it adapts."""
    return write_lora(make_tiny_pipeline().denoiser, tmp_path / "lora", seed=1)


def write_lora(denoiser: Denoiser, folder: Path, seed: int) -> Path:
    add_lora(denoiser, rank=3, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    tensors, settings = lora_tensors(denoiser)
    X2FashionPipeline.save_lora_weights(folder, tensors, denoiser_lora_adapter_metadata=settings)
    return folder


def sample(pipeline: X2FashionPipeline) -> torch.Tensor:
    return pipeline(
        FRAMES[0],
        POSES,
        SENTENCES[0],
        joints=JOINTS,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).frames


def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained(pipeline: X2FashionPipeline) -> None:
    before, denoiser = sample(pipeline), pipeline.denoiser
    add_lora(denoiser, rank=3, seed=0)
    assert torch.equal(sample(pipeline), before)
    trained = {name for name, p in denoiser.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in name for name in trained)
    with torch.no_grad():
        for name, p in denoiser.named_parameters():
            if "lora_B" in name:
                p.fill_(0.01)
    text = torch.randn(1, 5, 32)
    denoiser(torch.randn(1, 8, 2, 8, 4), 500, prompt_embeds=text).square().mean().backward()
    gradients = {name for name, p in denoiser.named_parameters() if p.grad is not None and p.grad.any()}
    assert gradients == trained


def test_loaded_weighed_fused_and_unloaded(pipeline: X2FashionPipeline, lora_dir: Path) -> None:
    base = sample(pipeline)
    pipeline.load_lora_weights(lora_dir, adapter_name="outfit")
    adapted = sample(pipeline)
    assert (adapted - base).abs().max() > 0.01
    assert pipeline.get_active_adapters() == ["outfit"]

    pipeline.set_adapters("outfit", 0.0)
    assert torch.equal(sample(pipeline), base)
    pipeline.set_adapters("outfit", 0.5)
    half = sample(pipeline)
    assert not torch.equal(half, base) and not torch.equal(half, adapted)
    pipeline.set_adapters("outfit", 1.0)
    pipeline.disable_lora()
    assert torch.equal(sample(pipeline), base)
    pipeline.enable_lora()
    assert torch.equal(sample(pipeline), adapted)

    pipeline.fuse_lora()
    torch.testing.assert_close(sample(pipeline), adapted, atol=1e-4, rtol=1e-4)
    pipeline.unfuse_lora()
    torch.testing.assert_close(sample(pipeline), adapted, atol=1e-4, rtol=1e-4)
    pipeline.unload_lora_weights()
    torch.testing.assert_close(sample(pipeline), base, atol=1e-4, rtol=1e-4)
    assert pipeline.get_list_adapters() == {}


def test_fused_at_scale_0_the_weights_are_the_models_own(pipeline: X2FashionPipeline, lora_dir: Path) -> None:
    before = {name: value.clone() for name, value in pipeline.denoiser.state_dict().items()}
    pipeline.load_lora_weights(lora_dir)
    pipeline.fuse_lora(lora_scale=0)
    pipeline.unload_lora_weights()
    after = pipeline.denoiser.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_two_adapters_add_up(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
    pipeline: X2FashionPipeline,
    lora_dir: Path,
    tmp_path,
) -> None:
    other = write_lora(make_tiny_pipeline().denoiser, tmp_path / "other", seed=2)
    pipeline.load_lora_weights(lora_dir, adapter_name="one")
    one = sample(pipeline)
    pipeline.load_lora_weights(other / NAME, adapter_name="two")
    pipeline.set_adapters(["one", "two"], [1.0, 1.0])
    both = sample(pipeline)
    pipeline.delete_adapters("two")
    pipeline.set_adapters("one")
    assert torch.equal(sample(pipeline), one) and not torch.equal(both, one)


def test_a_file_without_settings_and_tensors_in_memory_load_alike(
    pipeline: X2FashionPipeline, lora_dir: Path, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(lora_dir)
    expected = sample(pipeline)
    pipeline.unload_lora_weights()
    tensors = load_file(lora_dir / NAME)
    assert all(name.startswith("denoiser.unet.") for name in tensors)
    save_file(tensors, tmp_path / "bare.safetensors")
    own = {name.removeprefix("denoiser."): tensor for name, tensor in tensors.items()}
    X2FashionPipeline.save_lora_weights(tmp_path, own, denoiser_lora_adapter_metadata={"r": 3})
    for given in (tmp_path / "bare.safetensors", tmp_path / NAME, tensors):
        pipeline.load_lora_weights(given)
        assert torch.equal(sample(pipeline), expected)
        pipeline.unload_lora_weights()


def test_what_the_denoiser_saves_the_pipeline_loads(
    make_tiny_pipeline: Callable[..., X2FashionPipeline], lora_dir: Path, tmp_path: Path
) -> None:
    pipeline, other = make_tiny_pipeline(), make_tiny_pipeline()
    pipeline.load_lora_weights(lora_dir, adapter_name="outfit")
    pipeline.denoiser.save_lora_adapter(tmp_path / "saved", adapter_name="outfit")
    other.load_lora_weights(tmp_path / "saved", low_cpu_mem_usage=True)
    torch.testing.assert_close(sample(other), sample(pipeline), atol=1e-5, rtol=1e-5)
    assert next(iter(other.denoiser.peft_config.values())).lora_alpha == 3


def test_an_adapter_takes_the_place_of_another(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
    pipeline: X2FashionPipeline,
    lora_dir: Path,
    tmp_path: Path,
) -> None:
    other = write_lora(make_tiny_pipeline().denoiser, tmp_path / "other", seed=2)
    pipeline.load_lora_weights(lora_dir, adapter_name="outfit")
    first = sample(pipeline)
    pipeline.load_lora_weights(other, adapter_name="outfit", hotswap=True)
    second = sample(pipeline)
    assert pipeline.get_list_adapters() == {"denoiser": ["outfit"]} and not torch.equal(first, second)
    pipeline.load_lora_weights(lora_dir, adapter_name="outfit", hotswap=True)
    assert torch.equal(sample(pipeline), first)


def test_options_of_loading_are_known_or_refused(
    pipeline: X2FashionPipeline, lora_dir: Path, tmp_path: Path
) -> None:
    (lora_dir / NAME).rename(lora_dir / "mine.safetensors")
    with pytest.raises(UserError, match="loaded without network_alpha; the options are hotswap"):
        pipeline.load_lora_weights(lora_dir, network_alpha=8)
    with pytest.raises(UserError, match="use_safetensors is False"):
        pipeline.load_lora_weights(lora_dir, use_safetensors=False)
    torch.save(load_file(lora_dir / "mine.safetensors"), tmp_path / "pickled.bin")
    with pytest.raises(UserError, match=r"pickled\.bin is no safetensors file"):
        pipeline.load_lora_weights(tmp_path / "pickled.bin")
    before = sample(pipeline)
    pipeline.load_lora_weights(
        tmp_path, subfolder=lora_dir.name, weight_name="mine.safetensors", use_safetensors=True
    )
    assert not torch.equal(sample(pipeline), before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_adapter_that_is_not_finite_is_refused(
    pipeline: X2FashionPipeline, lora_dir: Path, value: float
) -> None:
    tensors = load_file(lora_dir / NAME)
    name = next(name for name in tensors if name.endswith("lora_B.weight"))
    tensors[name][-1, 0] = value
    with pytest.raises(UserError, match=f"{name.removeprefix('denoiser.')} has NaN or infinity"):
        pipeline.load_lora_weights(tensors)
    assert not getattr(pipeline.denoiser, "peft_config", None)


def test_what_does_not_fit_is_refused_in_words(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
    pipeline: X2FashionPipeline,
    lora_dir: Path,
    tmp_path,
) -> None:
    before = sample(pipeline)
    tensors = load_file(lora_dir / NAME)
    one = next(name for name in tensors if name.endswith("lora_A.weight"))

    def refused(given: object, *words: str) -> None:
        with pytest.raises(UserError) as error:
            pipeline.load_lora_weights(given)
        assert all(word in str(error.value) for word in words), error.value
        assert "\n" not in str(error.value)
        assert torch.equal(sample(pipeline), before)

    wider = make_tiny_pipeline(block_out_channels=(32, 64))
    refused(write_lora(wider.denoiser, tmp_path / "wider", seed=1), "another model", "whose weight is")
    deeper = make_tiny_pipeline(spatio_temporal_attention=(True, True))
    refused(write_lora(deeper.denoiser, tmp_path / "deeper", seed=1), "does not have")
    refused({name: tensor for name, tensor in tensors.items() if name != one}, "incomplete")
    refused({}, "not a LoRA")
    stem = "unet.conv_in.spatial"
    refused({f"{stem}.lora_{part}.weight": torch.zeros(1, 1) for part in "AB"}, stem, "only linear layers")
    pipeline.denoiser.save_pretrained(tmp_path / "denoiser")
    refused(tmp_path / "denoiser" / "diffusion_pytorch_model.safetensors", "not a LoRA", "--lora_rank")
    refused(tmp_path, NAME)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    refused(tmp_path / "broken.safetensors", "cannot read")


def test_a_pipeline_with_an_adapter_is_not_saved_and_a_missing_one_is_named(
    pipeline: X2FashionPipeline, lora_dir: Path, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(lora_dir)
    with pytest.raises(UserError, match="unload_lora_weights"):
        pipeline.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(tmp_path / "model")
    X2FashionPipeline.from_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="there is no file or folder mine/lora"):
        pipeline.load_lora_weights("mine/lora")
