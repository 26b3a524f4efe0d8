"""What diffusers' own test mixins ask of a pipeline and its models, beyond what other tests here ask."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig

from diffusion.pipeline import X2FashionPipeline
from models import Denoiser
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
def test_repeated_blocks_are_compiled(make_tiny_pipeline: MakePipeline) -> None:
    denoiser = make_tiny_pipeline().denoiser
    expected = predict(denoiser)
    denoiser.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(predict(denoiser), expected, atol=1e-5, rtol=1e-5)


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
