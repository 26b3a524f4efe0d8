"""What diffusers' own test mixins ask of a pipeline and its models, beyond what other tests here ask."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig

from diffusion.pipeline import X2FashionPipeline
from models import Denoiser
from models.autoencoder import TINY_VAE_CONFIG, ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL
from tests.toys import SENTENCES, figure_clip
from utils.image import read_image

FRAMES, POSES, JOINTS = figure_clip(4)
MakePipeline = Callable[..., X2FashionPipeline]


@pytest.fixture(scope="module")
def pipeline(make_tiny_pipeline: MakePipeline) -> X2FashionPipeline:
    return make_tiny_pipeline()


def sample(pipeline: X2FashionPipeline, **overrides: object) -> torch.Tensor:
    inputs = {"prompt": SENTENCES[0], "joints": JOINTS, "num_inference_steps": 2, "output_type": "latent"}
    generator = torch.Generator().manual_seed(0)
    return pipeline(FRAMES[0], POSES, generator=generator, **{**inputs, **overrides}).frames


def predict(denoiser: Denoiser) -> torch.Tensor:
    noisy = torch.randn(1, 8, 2, 8, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return denoiser(noisy.to(denoiser.dtype), 500).float()


def test_a_variant_is_saved_and_loaded(pipeline: X2FashionPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "denoiser" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    loaded = X2FashionPipeline.from_pretrained(tmp_path, variant="fp16")
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(sample(loaded), sample(pipeline))
    with pytest.raises(ValueError, match="no such modeling files"):
        X2FashionPipeline.from_pretrained(tmp_path, variant="bf16")


def test_each_part_is_loaded_in_the_precision_asked_for(tiny_pipeline_dir: Path) -> None:
    wanted = {"denoiser": torch.bfloat16, "default": torch.float16}
    loaded = X2FashionPipeline.from_pretrained(tiny_pipeline_dir, torch_dtype=wanted)
    assert loaded.denoiser.dtype == torch.bfloat16
    assert loaded.vae.dtype == loaded.text_encoder.dtype == torch.float16
    assert {p.dtype for p in loaded.to(dtype=torch.float32).denoiser.parameters()} == {torch.float32}


def test_parts_that_are_absent_stay_absent(pipeline: X2FashionPipeline, tmp_path: Path) -> None:
    absent = dict.fromkeys(pipeline._optional_components)
    X2FashionPipeline(**pipeline.components | absent).save_pretrained(tmp_path)
    loaded = X2FashionPipeline.from_pretrained(tmp_path)
    assert all(getattr(loaded, name) is None for name in absent)


def test_a_callback_may_end_with_other_latents(pipeline: X2FashionPipeline) -> None:
    def at_last(pipe: X2FashionPipeline, step: int, timestep: torch.Tensor, tensors: dict) -> dict:
        assert set(tensors) == set(pipe._callback_tensor_inputs)
        is_last = step == pipe.num_timesteps - 1
        return {"latents": torch.zeros_like(tensors["latents"])} if is_last else tensors

    names = pipeline._callback_tensor_inputs
    latents = sample(pipeline, callback_on_step_end=at_last, callback_on_step_end_tensor_inputs=list(names))
    assert not latents.any()


@pytest.mark.parametrize(
    "settings", [{}, {"variant": "fp16"}, {"max_shard_size": "30KB"}, {"safe_serialization": False}]
)
def test_a_denoiser_is_saved_and_loaded(pipeline: X2FashionPipeline, tmp_path: Path, settings: dict) -> None:
    pipeline.denoiser.save_pretrained(tmp_path, **settings)
    variant, safe = settings.get("variant"), settings.get("safe_serialization", True)
    loaded = Denoiser.from_pretrained(tmp_path, variant=variant, use_safetensors=safe)
    torch.testing.assert_close(predict(loaded), predict(pipeline.denoiser))
    half = Denoiser.from_pretrained(
        tmp_path, variant=variant, use_safetensors=safe, torch_dtype=torch.bfloat16
    )
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_a_denoiser_takes_any_adapter_of_its_linear_layers(
    make_tiny_pipeline: MakePipeline, tmp_path: Path
) -> None:
    denoiser, other = make_tiny_pipeline().denoiser, make_tiny_pipeline().denoiser
    base = predict(denoiser)
    denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_kv", "to_k"], init_lora_weights=False))
    adapted = predict(denoiser)
    assert not torch.equal(adapted, base)
    denoiser.disable_adapters()
    assert torch.equal(predict(denoiser), base)
    denoiser.enable_adapters()
    denoiser.save_lora_adapter(tmp_path)
    other.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
    torch.testing.assert_close(predict(other), adapted)


@pytest.mark.slow
def test_repeated_blocks_are_compiled_for_every_call(make_tiny_pipeline: MakePipeline) -> None:
    """With and without a sentence, of several batch sizes: dynamo compiles at most eight kinds of it."""
    sizes = {
        "block_out_channels": (16, 32, 48),
        "text_attention_heads": (1, 2, 2),
        "spatio_temporal_attention": (False, False, True),
        "temporal_downsample": (False, False, False),
    }
    denoiser = make_tiny_pipeline(**sizes).denoiser
    calls = [
        (torch.randn(batch, 8, 2, 8, 8), 500, {"prompt_embeds": embeds})
        for batch in (1, 2, 3)
        for embeds in (None, torch.randn(batch, 5, 32))
    ]

    def predictions() -> list[torch.Tensor]:
        with torch.no_grad():
            return [denoiser(*inputs, **conditions) for *inputs, conditions in calls]

    expected = predictions()
    denoiser.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(predictions(), expected, atol=1e-5, rtol=1e-5)


def offload(pipeline: X2FashionPipeline, **how: object) -> None:
    cpu = torch.device("cpu")
    pipeline.enable_group_offload(onload_device=cpu, offload_device=cpu, **how)


@pytest.mark.parametrize(
    "save",
    [
        lambda pipeline, _: pipeline.enable_attention_slicing(),
        lambda pipeline, _: pipeline.vae.enable_slicing(),
        lambda pipeline, _: pipeline.vae.enable_tiling(),
        lambda pipeline, _: offload(pipeline, offload_type="leaf_level"),
        lambda pipeline, _: offload(pipeline, offload_type="block_level", num_blocks_per_group=2),
        lambda pipeline, folder: offload(
            pipeline, offload_type="leaf_level", offload_to_disk_path=str(folder), exclude_modules=["vae"]
        ),
    ],
    ids=["attention slicing", "slicing", "tiling", "leaves", "blocks", "disk"],
)
def test_what_saves_memory_changes_nothing(
    make_tiny_pipeline: MakePipeline, pipeline: X2FashionPipeline, tmp_path: Path, save: Callable
) -> None:
    saving = make_tiny_pipeline()
    save(saving, tmp_path)
    options = {"prompt": SENTENCES[:2], "output_type": "pt"}
    torch.testing.assert_close(sample(saving, **options), sample(pipeline, **options), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_moved_to_another_precision_it_samples(
    make_tiny_pipeline: MakePipeline, pipeline: X2FashionPipeline, dtype: torch.dtype
) -> None:
    moved = make_tiny_pipeline().to(dtype)
    exact, given = sample(pipeline), sample(moved)
    assert given.dtype == torch.float32
    assert (given - exact).norm() / exact.norm() < (1e-5 if dtype == torch.float64 else 0.1)


def test_it_is_placed_by_a_device_map(tiny_pipeline_dir: Path) -> None:
    options = {"prompt": None, "prompt_embeds": torch.zeros(1, 5, 32)}
    placed = X2FashionPipeline.from_pretrained(tiny_pipeline_dir, device_map="cpu")
    loaded = X2FashionPipeline.from_pretrained(tiny_pipeline_dir)
    for each in (placed, loaded):
        each.set_progress_bar_config(disable=True)
    torch.testing.assert_close(sample(placed, **options), sample(loaded, **options), atol=1e-5, rtol=1e-5)
    placed.reset_device_map()
    assert placed.hf_device_map is None


@pytest.mark.parametrize("vae_class", [SpaceToDepthAutoencoderKL, ReferenceAutoencoderKL])
def test_a_vae_computes_its_activations_again(vae_class: type) -> None:
    pictures = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def gradients(vae: torch.nn.Module) -> dict[str, torch.Tensor]:
        vae.zero_grad()
        vae.decode(vae.encode(pictures).latent_dist.mode()).sample.square().mean().backward()
        return {name: p.grad.clone() for name, p in vae.named_parameters() if p.grad is not None}

    vae = vae_class(**TINY_VAE_CONFIG).train()
    expected = gradients(vae)
    vae.enable_gradient_checkpointing()
    given = gradients(vae)
    assert given.keys() == expected.keys() and any("down_blocks" in name for name in given)
    torch.testing.assert_close(given, expected)


def test_adapters_that_are_not_there_are_named(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    pipeline.denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), "mine")
    with pytest.raises(ValueError, match="other"):
        pipeline.set_adapters("other")
    with pytest.raises(ValueError, match="1 is not equal to the length of the weights 2"):
        pipeline.set_adapters(["mine"], [1, 2])
    with pytest.raises(ValueError, match="vae is not found"):
        pipeline.fuse_lora(components=["vae"])
    next(p for name, p in pipeline.denoiser.named_parameters() if "lora_A" in name).data.fill_(torch.nan)
    with pytest.raises(ValueError, match="mine seems to be broken"):
        pipeline.fuse_lora(safe_fusing=True)


@pytest.mark.parametrize("settings", [{"lora_bias": True}, {"use_dora": True}, {"use_rslora": True}])
def test_adapters_of_other_kinds_are_saved_and_loaded(
    make_tiny_pipeline: MakePipeline, tmp_path: Path, settings: dict
) -> None:
    first, second = make_tiny_pipeline(), make_tiny_pipeline()
    common = {"r": 2, "lora_alpha": 6, "target_modules": ["to_q", "to_out"], "init_lora_weights": False}
    first.denoiser.add_adapter(LoraConfig(**common, **settings, rank_pattern={"to_q": 4}))
    for name, parameter in first.denoiser.named_parameters():
        if ".lora_" in name:
            parameter.data.add_(0.05)
    first.denoiser.save_lora_adapter(tmp_path)
    base = sample(second)
    second.load_lora_weights(tmp_path)
    adapted = sample(second)
    torch.testing.assert_close(adapted, sample(first), atol=1e-5, rtol=1e-5)
    assert not torch.equal(adapted, base)


SHIPPED = Path(__file__).parents[2] / "pretrained_model" / "x2fashion-small"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_sentence_moves_the_photo_in_every_precision(dtype: torch.dtype) -> None:
    pipeline = X2FashionPipeline.from_pretrained(SHIPPED, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    photo = read_image(
        Path(__file__).parents[2] / "fashion_dataset" / "fashion_crop" / "test_00000" / "000.jpg"
    )
    options = {"num_frames": 4, "num_inference_steps": 1}
    frames = pipeline(
        photo, prompt="She turns to her left.", generator=torch.manual_seed(0), **options
    ).frames
    assert np.isfinite(frames).all()
    if dtype == torch.float32:
        assert pipeline.text_encoder.dtype == torch.float32
        other = X2FashionPipeline.from_pipe(pipeline)
        again = other(
            photo, prompt="She turns to her left.", generator=torch.manual_seed(0), **options
        ).frames
        np.testing.assert_array_equal(frames, again)
