"""Frozen models from folders that are damaged, incomplete, or belong to another model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from diffusion.latents import load_tiny_decoder, load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.text import load_text_encoder
from models import load_denoiser
from models.folder import ALIGNMENT
from tests.toys import tiny_decoder
from utils.errors import UserError

VAE_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
TEXT_WEIGHTS = "text_encoder/model.safetensors"
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def model_dir(tiny_pipeline_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to damage."""
    return Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "model"))


def change_weights(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def message_of(load: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        load()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_vae_whose_weights_differ_is_refused_by_name(model_dir: Path) -> None:
    name = "decoder.conv_norm_out.weight"
    change_weights(model_dir / VAE_WEIGHTS, lambda tensors: tensors.update(extra=tensors.pop(name)))
    message = message_of(lambda: load_vae(model_dir / "vae"))
    assert f"missing: {name}" in message and "unexpected: extra" in message and str(model_dir) in message
    change_weights(model_dir / VAE_WEIGHTS, lambda t: t.update({name: torch.zeros(3, 5)}))
    assert name in message_of(lambda: load_vae(model_dir / "vae"))
    (model_dir / VAE_WEIGHTS).write_bytes(b"nothing")
    assert str(model_dir) in message_of(lambda: load_vae(model_dir / "vae"))
    (model_dir / VAE_WEIGHTS).unlink()
    assert "holds no weights" in message_of(lambda: load_vae(model_dir / "vae"))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"variant": "fp16"}, ["diffusion_pytorch_model.fp16.safetensors"]),
        ({"safe_serialization": False}, ["diffusion_pytorch_model.bin"]),
        ({"max_shard_size": "30KB"}, ["diffusion_pytorch_model.safetensors.index.json"]),
        ({"max_shard_size": "30KB", "variant": "fp16"}, []),
    ],
)
def test_weights_may_be_a_variant_shards_or_pickled(
    tiny_pipeline_dir: Path, tmp_path: Path, settings: dict, names: list[str]
) -> None:
    expected = load_vae(tiny_pipeline_dir / "vae")
    expected.save_pretrained(tmp_path / "vae", **settings)
    assert not (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").exists()
    assert all((tmp_path / "vae" / name).is_file() for name in names)
    loaded = load_vae(tmp_path / "vae").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [{"variant": "fp16"}, {"max_shard_size": "30KB"}, {"max_shard_size": "30KB", "variant": "fp16"}],
)
def test_denoiser_and_text_encoder_are_loaded_likewise(
    tiny_pipeline_dir: Path, tmp_path: Path, settings: dict
) -> None:
    tokenizer, text_encoder = load_text_encoder(tiny_pipeline_dir / "text_encoder")
    denoiser = load_denoiser(tiny_pipeline_dir)
    denoiser.save_pretrained(tmp_path / "denoiser", **settings)
    text_encoder.save_pretrained(tmp_path / "text_encoder", **settings)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert not (tmp_path / "text_encoder" / "model.safetensors").exists()
    loaded = {
        denoiser: load_denoiser(tmp_path),
        text_encoder: load_text_encoder(tmp_path / "text_encoder")[1],
    }
    for expected, given in loaded.items():
        given_tensors = given.state_dict()
        assert all(torch.equal(value, given_tensors[name]) for name, value in expected.state_dict().items())


def test_a_tiny_decoder_is_an_autoencoder_tiny_whose_weights_fit(tmp_path: Path, model_dir: Path) -> None:
    assert "AutoencoderTiny" in message_of(lambda: load_tiny_decoder(model_dir / "vae"))
    assert "tiny decoder folder" in message_of(lambda: load_tiny_decoder(model_dir / "nothing"))
    tiny_decoder(8).save_pretrained(tmp_path / "taesd")
    weights = tmp_path / "taesd" / "diffusion_pytorch_model.safetensors"
    change_weights(weights, lambda tensors: tensors.update(extra=torch.zeros(3)))
    assert "unexpected: extra" in message_of(lambda: load_tiny_decoder(tmp_path / "taesd"))


def test_a_text_encoder_whose_weights_differ_is_refused_by_name(model_dir: Path) -> None:
    def load() -> object:
        return load_text_encoder(model_dir / "text_encoder")

    name = "encoder.layers.0.layer_norm1.weight"
    change_weights(model_dir / TEXT_WEIGHTS, lambda tensors: tensors.update({name: torch.zeros(3, 5)}))
    assert f"shape: {name} is 3x5, must be 32" in message_of(load)
    change_weights(model_dir / TEXT_WEIGHTS, lambda tensors: tensors.pop(name))
    assert f"missing: {name}" in message_of(load)
    (model_dir / TEXT_WEIGHTS).write_bytes((model_dir / TEXT_WEIGHTS).read_bytes()[:1000])
    assert str(model_dir / "text_encoder") in message_of(load)


def test_a_tokenizer_that_is_missing_or_of_another_model_is_refused(model_dir: Path) -> None:
    text_encoder = model_dir / "text_encoder"
    change_weights(
        model_dir / TEXT_WEIGHTS,
        lambda tensors: tensors.update(
            {key: value[:40].clone() for key, value in tensors.items() if "token_embedding" in key}
        ),
    )
    config = (text_encoder / "config.json").read_text()
    size = len(CLIPTokenizer.from_pretrained(model_dir / "tokenizer", local_files_only=True))
    (text_encoder / "config.json").write_text(config.replace(f'"vocab_size": {size}', '"vocab_size": 40'))
    assert f"knows {size} tokens" in message_of(lambda: load_text_encoder(text_encoder))
    (model_dir / "tokenizer" / "tokenizer.json").unlink()
    assert "there is no tokenizer in" in message_of(lambda: load_text_encoder(text_encoder))


def test_a_tokenizer_without_its_settings_still_stops_at_the_encoders_last_position(model_dir: Path) -> None:
    (model_dir / "tokenizer" / "tokenizer_config.json").unlink()
    tokenizer, text_encoder = load_text_encoder(model_dir / "text_encoder")
    assert tokenizer.model_max_length == text_encoder.config.max_position_embeddings


def test_weights_stored_in_half_precision_are_loaded_in_single(model_dir: Path) -> None:
    for path in (VAE_WEIGHTS, TEXT_WEIGHTS):
        change_weights(model_dir / path, lambda t: t.update({key: value.half() for key, value in t.items()}))
    config = (model_dir / "text_encoder" / "config.json").read_text()
    (model_dir / "text_encoder" / "config.json").write_text(config.replace('"float32"', '"float16"'))
    assert load_vae(model_dir / "vae").dtype == torch.float32
    assert load_text_encoder(model_dir / "text_encoder")[1].dtype == torch.float32


@pytest.mark.parametrize("content", [b"", b"hello", b"this is text", b"\x80\x02}q\x00.", b"PK\x03\x04"])
@pytest.mark.filterwarnings("error")
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    assert "model.pth" in message_of(lambda: load_denoiser(tmp_path / "model.pth"))


def test_weights_lie_where_torch_would_put_them(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    tiny_decoder(4).save_pretrained(tmp_path / "taesd")
    pipeline = X2FashionPipeline.from_pretrained(tiny_pipeline_dir)
    modules = {
        "vae": load_vae(tiny_pipeline_dir / "vae"),
        "tiny decoder": load_tiny_decoder(tmp_path / "taesd"),
        "text encoder": load_text_encoder(tiny_pipeline_dir / "text_encoder")[1],
        "denoiser": load_denoiser(tiny_pipeline_dir),
        **{f"pipeline's {name}": getattr(pipeline, name) for name in ("vae", "denoiser", "text_encoder")},
    }
    for name, module in modules.items():
        for tensor in (*module.parameters(), *module.buffers()):
            assert tensor.data_ptr() % ALIGNMENT == 0, name
