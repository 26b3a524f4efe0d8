"""What users of diffusers expect of a pipeline."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.callbacks import PipelineCallback
from diffusers.utils import dynamic_modules_utils

from diffusion.inputs import fit_pictures
from diffusion.pipeline import X2FashionPipeline
from models.autoencoder import TINY_VAE_CONFIG, ReferenceAutoencoderKL
from models.text_to_poses import TextToPoses
from tests.toys import HEIGHT, SENTENCES, WIDTH, figure_clip
from utils.errors import UserError
from utils.image import fit_image

FRAMES, POSES, JOINTS = figure_clip(4)
ROOT = Path(__file__).resolve().parents[2]
MakePipeline = Callable[..., X2FashionPipeline]


def sample(pipeline: X2FashionPipeline, **overrides: object) -> torch.Tensor:
    inputs = {
        "image": FRAMES[0],
        "poses": POSES,
        "prompt": SENTENCES[0],
        "joints": JOINTS,
        "num_inference_steps": 1,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "latent",
    }
    return pipeline(**{**inputs, **overrides}).frames


@pytest.fixture(scope="module")
def pipeline(make_tiny_pipeline: MakePipeline) -> X2FashionPipeline:
    return make_tiny_pipeline()


def test_made_of_the_parts_of_another_it_keeps_the_size(pipeline: X2FashionPipeline) -> None:
    for again in (X2FashionPipeline(**pipeline.components), X2FashionPipeline.from_pipe(pipeline)):
        again.set_progress_bar_config(disable=True)
        assert (again.config.height, again.config.width) == (HEIGHT, WIDTH)
        assert torch.equal(sample(again), sample(pipeline))


def test_another_size_is_the_new_pipelines_alone(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    larger = X2FashionPipeline.from_pipe(pipeline, height=2 * HEIGHT, width=2 * WIDTH)
    taller = X2FashionPipeline(**pipeline.components, height=2 * HEIGHT)
    assert (larger.config.height, larger.config.width) == (2 * HEIGHT, 2 * WIDTH)
    assert (taller.config.height, taller.config.width) == (2 * HEIGHT, WIDTH)
    assert pipeline.denoiser.picture_size == (HEIGHT, WIDTH)
    for again in (X2FashionPipeline.from_pipe(pipeline), X2FashionPipeline(**pipeline.components)):
        assert (again.config.height, again.config.width) == (HEIGHT, WIDTH)
    again = X2FashionPipeline.from_pipe(larger)
    again.set_progress_bar_config(disable=True)
    assert sample(again, output_type="np", num_frames=2).shape[2:4] == (2 * HEIGHT, 2 * WIDTH)
    pipeline.denoiser.picture_size = None
    with pytest.raises(UserError, match="height is 128 and width is None; give both"):
        X2FashionPipeline(**pipeline.components, height=2 * HEIGHT)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"generator": 0}, "generator is of type int; give a torch.Generator"),
        (
            {"generator": (torch.Generator(),)},
            "generator is of type tuple; give a torch.Generator, .* or a list",
        ),
        ({"generator": [0]}, "generator is of type list"),
        ({"decode_chunk_size": 0}, "decode_chunk_size is 0; .* 1 or more"),
        ({"height": 0, "width": 0}, "height is 0; give a whole number"),
        ({"width": -32}, "width is -32"),
        ({"height": "64"}, "height is '64'"),
        ({"num_frames": 2.0}, "num_frames is 2.0; give a whole number"),
        ({"num_inference_steps": "2"}, "num_inference_steps is '2'; give a whole number, 1 or more"),
        ({"prompt": 3}, "prompt is 3; give a sentence"),
        ({"prompt": None, "prompt_embeds": np.zeros((1, 5, 32))}, "prompt_embeds is of type ndarray"),
    ],
)
def test_arguments_that_are_none_are_refused_by_name(
    pipeline: X2FashionPipeline, overrides: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        sample(pipeline, **overrides)
    assert "--" not in str(error.value)


@pytest.mark.parametrize("name", ["denoiser", "vae", "scheduler"])
def test_a_pipeline_without_a_part_can_encode_and_says_what_it_lacks(
    make_tiny_pipeline: MakePipeline, name: str
) -> None:
    pipeline = make_tiny_pipeline()
    embeds = pipeline.encode_prompt(SENTENCES[0])
    bare = X2FashionPipeline(**pipeline.components | {name: None})
    assert torch.equal(bare.encode_prompt(SENTENCES[0]), embeds)
    with pytest.raises(UserError, match=f"has no {name}, which every call needs"):
        sample(bare)


def test_from_pipe_takes_every_vae_of_ours(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    pipeline.register_modules(vae=ReferenceAutoencoderKL(**TINY_VAE_CONFIG).eval())
    assert X2FashionPipeline.from_pipe(pipeline).vae is pipeline.vae


def test_without_a_text_encoder_it_takes_embeddings(make_tiny_pipeline: MakePipeline, tmp_path: Path) -> None:
    pipeline = make_tiny_pipeline()
    expected, without = sample(pipeline), sample(pipeline, prompt=None)
    embeds = pipeline.encode_prompt(SENTENCES[0])
    bare = X2FashionPipeline(**pipeline.components | {"text_encoder": None, "tokenizer": None})
    bare.save_pretrained(tmp_path)
    loaded = X2FashionPipeline.from_pretrained(tmp_path)
    for each in (bare, loaded):
        each.set_progress_bar_config(disable=True)
        assert torch.equal(sample(each, prompt=None, prompt_embeds=embeds), expected)
        assert torch.equal(sample(each, prompt=None), without)
    for read in (sample, lambda pipeline: pipeline.encode_prompt(SENTENCES[0])):
        with pytest.raises(UserError, match="no text encoder"):
            read(bare)
    with pytest.raises(UserError, match="give one of them"):
        sample(pipeline, prompt_embeds=embeds)
    with pytest.raises(UserError, match=r"\(1, 16, 31\); give \(clips, tokens, 32\)"):
        sample(pipeline, prompt=None, prompt_embeds=embeds[..., 1:])


def test_poses_may_be_left_out(pipeline: X2FashionPipeline) -> None:
    noise = torch.Generator().manual_seed(0)
    frames = pipeline(FRAMES[0], num_frames=2, num_inference_steps=1, generator=noise).frames
    assert frames.shape == (1, 2, HEIGHT, WIDTH, 3)


def test_pictures_of_any_size_are_fitted_with_their_joints(pipeline: X2FashionPipeline) -> None:
    frames, poses, joints = figure_clip(4, height=150)
    photo = np.pad(frames[0], ((0, 0), (40, 40), (0, 0)), mode="edge")
    expected = sample(pipeline, image=fit_image(photo, HEIGHT, WIDTH)[0])
    given = sample(
        pipeline,
        image=photo,
        poses=np.stack([fit_image(pose, 75, 37)[0] for pose in poses]),
        joints=joints / 2,
        image_joints=joints[0] + np.float32((40, 0, 0)),
    )
    assert given.shape == expected.shape
    place = fit_pictures(torch.zeros(1, 3, 150, 155), HEIGHT, WIDTH)[1]
    np.testing.assert_allclose(place.to_fitted([(77, 0)])[0, 0], WIDTH / 2 - 0.5, atol=0.01)

    larger = sample(pipeline, image=photo, height=2 * HEIGHT, width=2 * WIDTH, output_type="np")
    assert larger.shape == (1, 4, 2 * HEIGHT, 2 * WIDTH, 3)
    with pytest.raises(UserError, match=r"48 x 32.*divide by 32.*made for 64 x 32"):
        sample(pipeline, height=48)


def test_pictures_that_fit_are_left_alone(pipeline: X2FashionPipeline) -> None:
    pixels = torch.rand(2, 4, 3, HEIGHT, WIDTH)
    assert fit_pictures(pixels, HEIGHT, WIDTH)[0] is pixels
    assert torch.equal(sample(pipeline, height=HEIGHT, width=WIDTH), sample(pipeline))


def test_it_is_found_by_its_code(
    tiny_pipeline_dir: Path, pipeline: X2FashionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path))
    code = str(ROOT / "diffusion" / "pipeline.py")
    loaded = DiffusionPipeline.from_pretrained(
        tiny_pipeline_dir, custom_pipeline=code, trust_remote_code=True
    )
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded).__name__ == "X2FashionPipeline"
    assert torch.equal(
        loaded.denoiser.state_dict()["unet.conv_in.spatial.bias"],
        pipeline.denoiser.state_dict()["unet.conv_in.spatial.bias"],
    )
    assert sample(loaded).shape == sample(pipeline).shape


def test_its_code_alone_says_what_it_needs(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(tmp_path / "modules")

    def load(*lines: str) -> str:
        options = {"custom_pipeline": str(ROOT / "diffusion" / "pipeline.py"), "trust_remote_code": True}
        call = f"print(type(DiffusionPipeline.from_pretrained({str(tiny_pipeline_dir)!r}, **{options})))"
        code = "\n".join(["import sys", *lines, "from diffusers import DiffusionPipeline", call])
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    if "X2FashionPipeline" in (said := load()):
        pytest.skip("this environment has the code installed")
    assert "ModuleNotFoundError" in said and "pip install -e CLONE" in said
    assert "X2FashionPipeline" in load(f"sys.path.insert(0, {str(ROOT)!r})")


def test_every_model_returns_what_diffusers_models_do(pipeline: X2FashionPipeline) -> None:
    model = TextToPoses(cross_attention_dim=8, width=16, num_components=8)
    inputs = torch.randn(1, 5, 8), torch.from_numpy(JOINTS[:1]), torch.randn(1, 16)
    with torch.no_grad():
        places, logits = model(*inputs, 4)
        output = model(*inputs, 4, return_dict=True)
        assert torch.equal(output.places, places) and torch.equal(output.visibility_logits, logits)
        latents = torch.zeros(1, 8, 8, 4)
        decoded = pipeline.vae.decode(latents, return_dict=False)
        assert isinstance(decoded, tuple) and torch.equal(pipeline.vae.decode(latents).sample, decoded[0])
        photo = torch.zeros(1, 3, HEIGHT, WIDTH)
        (posterior,) = pipeline.vae.encode(photo, return_dict=False)
        assert torch.equal(pipeline.vae.encode(photo).latent_dist.mean, posterior.mean)
        assert torch.equal(pipeline.vae(photo, return_dict=False)[0], pipeline.vae(photo).sample)


def test_as_many_generators_as_clips(pipeline: X2FashionPipeline) -> None:
    three = [torch.Generator().manual_seed(seed) for seed in range(3)]
    with pytest.raises(UserError, match="3 generators are given for 2 clips"):
        sample(pipeline, prompt=SENTENCES[:2], generator=three)


class Recorder(PipelineCallback):
    """Notes what it is given."""

    tensor_inputs = ["latents", "prediction"]  # noqa: RUF012

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        self.seen = set(callback_kwargs)
        return callback_kwargs


def test_a_pipeline_callback_says_what_it_wants(pipeline: X2FashionPipeline) -> None:
    recorder = Recorder(cutoff_step_ratio=1.0)
    assert torch.equal(sample(pipeline, callback_on_step_end=recorder), sample(pipeline))
    assert recorder.seen == {"latents", "prediction"}


def test_flow_matching_is_refused_in_words(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(UserError, match=r"FlowMatchEuler.* does not follow the noise levels.*ddim"):
        sample(pipeline)


def test_models_return_a_dict_where_asked(pipeline: X2FashionPipeline) -> None:
    noisy = torch.zeros(1, 8, 2, 8, 4)
    with torch.no_grad():
        plain = pipeline.denoiser(noisy, 5)
        assert torch.equal(pipeline.denoiser(noisy, 5, return_dict=True).sample, plain)


def test_repeated_blocks_are_found(pipeline: X2FashionPipeline) -> None:
    names = {type(module).__name__ for module in pipeline.denoiser.modules()}
    assert set(pipeline.denoiser._repeated_blocks) <= names
    assert set(pipeline.denoiser._no_split_modules) <= names


def test_latents_may_be_sixteen_times_smaller_than_the_pictures(
    make_tiny_pipeline: Callable[..., X2FashionPipeline],
) -> None:
    pipeline = make_tiny_pipeline()
    config = TINY_VAE_CONFIG | {
        "block_out_channels": [8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
    }
    pipeline.register_modules(vae=ReferenceAutoencoderKL(**config).eval())
    photo, poses = np.zeros((128, 64, 3), np.uint8), np.zeros((3, 128, 64, 3), np.uint8)
    frames = pipeline(photo, poses, num_inference_steps=1, height=128, width=64).frames
    assert frames.shape == (1, 3, 128, 64, 3)
    assert np.isfinite(frames).all()
