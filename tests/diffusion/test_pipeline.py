"""The pipeline on toy models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler

from diffusion.latents import decode_latents, encode_images, frames_at_once
from diffusion.pipeline import X2FashionPipeline
from diffusion.schedule import SAMPLERS, make_scheduler, published_betas
from diffusion.warped_photo import encode_warped_photo, warp_photo
from generation.streaming import stream_frames
from models import save_published
from models.denoiser import Denoiser
from tests.toys import HEIGHT, SENTENCES, WIDTH, figure_clip, tiny_decoder
from utils.errors import UserError

NUM_FRAMES = 4
FRAMES, POSES, JOINTS = figure_clip(NUM_FRAMES)
MakePipeline = Callable[..., X2FashionPipeline]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(pipeline: X2FashionPipeline, **overrides: object) -> torch.Tensor:
    """Latents (b, c, f, h, w) of the figure's clip in three steps, unless overridden."""
    inputs = {
        "image": FRAMES[0],
        "poses": POSES,
        "prompt": SENTENCES[0],
        "joints": JOINTS,
        "num_inference_steps": 3,
        "generator": seeded(),
        "output_type": "latent",
    }
    return pipeline(**{**inputs, **overrides}).frames


@pytest.fixture(scope="module")
def pipeline(make_tiny_pipeline: MakePipeline) -> X2FashionPipeline:
    return make_tiny_pipeline()


@pytest.fixture
def batch_sizes(pipeline: X2FashionPipeline):
    """Samples in each call of the denoiser, appended as the test goes on."""
    sizes: list[int] = []
    hook = pipeline.denoiser.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    yield sizes
    hook.remove()


def test_output_types(pipeline: X2FashionPipeline) -> None:
    frames = {kind: sample(pipeline, output_type=kind) for kind in ("np", "pt", "pil", "latent")}
    assert frames["np"].shape == (1, NUM_FRAMES, HEIGHT, WIDTH, 3)
    assert 0 <= frames["np"].min() < frames["np"].max() <= 1
    np.testing.assert_array_equal(frames["pt"].permute(0, 1, 3, 4, 2).numpy(), frames["np"])
    assert frames["pil"][0][1].size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.asarray(frames["pil"][0][1]), (frames["np"][0, 1] * 255).round())
    decoded = decode_latents(pipeline.vae, frames["latent"][0].transpose(0, 1))
    np.testing.assert_allclose(decoded[1].permute(1, 2, 0) / 2 + 0.5, frames["np"][0, 1], atol=1e-6)
    as_tuple = pipeline(FRAMES[0], POSES, num_inference_steps=1, generator=seeded(), return_dict=False)
    assert isinstance(as_tuple, tuple) and as_tuple[0].shape == frames["np"].shape


def test_chunks_do_not_change_the_video(pipeline: X2FashionPipeline) -> None:
    one, all_at_once = (sample(pipeline, output_type="pt", decode_chunk_size=size) for size in (1, 8))
    torch.testing.assert_close(one, all_at_once, atol=1e-5, rtol=0)


def test_a_tiny_decoder_decodes_the_normalised_latents(
    make_tiny_pipeline: MakePipeline, tmp_path: Path
) -> None:
    pipeline = make_tiny_pipeline()
    latents, plain = sample(pipeline), sample(pipeline, output_type="pt")
    decoder = tiny_decoder(pipeline.vae.config.latent_channels)
    pipeline.register_modules(tiny_decoder=decoder)
    frames = sample(pipeline, output_type="pt")
    with torch.no_grad():
        expected = decoder.decode(latents[0].transpose(0, 1)).sample.clamp(-1, 1) / 2 + 0.5
    torch.testing.assert_close(frames[0], expected)
    assert (frames - plain).abs().mean() > 0.01
    streamed = np.concatenate(list(stream_frames(pipeline, FRAMES[0], POSES, seed=0)))
    assert streamed.shape == FRAMES.shape

    pipeline.save_pretrained(tmp_path / "model")
    loaded = X2FashionPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    torch.testing.assert_close(sample(loaded, output_type="pt"), frames)

    pipeline.register_modules(tiny_decoder=tiny_decoder(decoder.config.latent_channels, levels=3))
    with pytest.raises(UserError, match=r"4 times smaller than pictures; the VAE's .* 8 times"):
        sample(pipeline)


def test_frames_decoded_at_once_follow_from_the_size_of_the_decoder() -> None:
    assert frames_at_once(tiny_decoder(4), 64, 32) == 8
    with torch.device("meta"):
        stable_diffusion = AutoencoderKL(
            up_block_types=("UpDecoderBlock2D",) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
        )
        taesd = AutoencoderTiny()
    assert frames_at_once(stable_diffusion, 512, 256) == 1
    in_float32 = frames_at_once(taesd, 512, 256)
    assert 1 < 2 * in_float32 == frames_at_once(torch.nn.Module.to(taesd, torch.bfloat16), 512, 256)
    assert frames_at_once(stable_diffusion, 4096, 4096) == 1


def test_before_the_first_call_nothing_is_interrupted(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    assert pipeline.interrupt is False and pipeline.num_timesteps == 0
    sample(pipeline)
    assert pipeline.num_timesteps > 0


def test_frame_0_is_the_photo(pipeline: X2FashionPipeline) -> None:
    reference = encode_images(
        pipeline.vae, torch.from_numpy(FRAMES[:1] / 127.5 - 1).float().permute(0, 3, 1, 2)
    )
    for scale in (1.0, 2.0):
        latents = sample(pipeline, image_guidance_scale=scale)
        torch.testing.assert_close(latents[:, :, 0], reference)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 1),
        ({"text_guidance_scale": 3.0}, 2),
        ({"image_guidance_scale": 2.0, "pose_guidance_scale": 3.0, "text_guidance_scale": 4.0}, 4),
        ({"text_guidance_scale": 3.0, "prompt": None}, 1),
        ({"text_guidance_scale": 3.0, "prompt": ""}, 1),
        ({"pose_guidance_scale": 3.0, "poses": None, "prompt": None, "joints": None, "num_frames": 4}, 1),
        ({"pose_guidance_scale": 2.0, "text_guidance_scale": 2.0}, 2),
    ],
)
def test_only_needed_branches_are_computed(pipeline, batch_sizes, settings: dict, expected: int) -> None:
    assert sample(pipeline, **settings).isfinite().all()
    assert batch_sizes == [expected] * 3


def test_guidance_adds_up_separate_predictions(pipeline: X2FashionPipeline) -> None:
    """The first step against the denoiser called by hand, with absent conditions in place of dropped ones."""
    noise = torch.randn(1, 8, NUM_FRAMES, HEIGHT // 8, WIDTH // 8, generator=seeded(1))
    seen: list[dict] = []
    sample(
        pipeline,
        latents=noise,
        num_inference_steps=1,
        image_guidance_scale=1.5,
        pose_guidance_scale=2.5,
        text_guidance_scale=4.0,
        callback_on_step_end=lambda pipe, step, timestep, tensors: seen.append(tensors) or {},
        callback_on_step_end_tensor_inputs=["prediction", "reference_latents"],
    )
    reference = seen[0]["reference_latents"]
    signed = torch.from_numpy(POSES / np.float32(127.5) - 1).permute(3, 0, 1, 2)[None]
    photo = torch.from_numpy(FRAMES[:1] / np.float32(127.5) - 1).permute(0, 3, 1, 2)
    warped, validity = encode_warped_photo(pipeline.vae, warp_photo(photo, signed, JOINTS[None]))
    image = {"reference_latents": reference}
    poses = {"pose_images": signed, "warped_latents": warped, "warp_validity": validity}
    text = {"prompt_embeds": pipeline.encode_prompt([SENTENCES[0]])}
    given = torch.cat([reference[:, :, None], noise[:, :, 1:]], dim=2)
    alpha_bar = pipeline.scheduler.alphas_cumprod[999]
    hidden = given.clone()
    hidden[:, :, 0] = alpha_bar.sqrt() * reference + (1 - alpha_bar).sqrt() * noise[:, :, 0]
    with torch.no_grad():
        none = pipeline.denoiser(hidden, 999)
        with_image = pipeline.denoiser(given, 999, **image)
        with_poses = pipeline.denoiser(given, 999, **image, **poses)
        with_text = pipeline.denoiser(given, 999, **image, **poses, **text)
    expected = (
        none + 1.5 * (with_image - none) + 2.5 * (with_poses - with_image) + 4.0 * (with_text - with_poses)
    )
    torch.testing.assert_close(seen[0]["prediction"], expected, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(with_image, none, atol=1e-2)
    assert not torch.allclose(with_poses, with_image, atol=1e-2)
    assert not torch.allclose(with_text, with_poses, atol=1e-3)


def test_the_same_seed_gives_the_same_video_and_another_another(pipeline: X2FashionPipeline) -> None:
    first = sample(pipeline)
    assert torch.equal(first, sample(pipeline))
    assert not torch.allclose(first, sample(pipeline, generator=seeded(1)))
    noise = torch.randn(first.shape, generator=seeded())
    assert torch.equal(first, sample(pipeline, latents=noise, generator=None))


def test_the_noise_is_what_the_model_was_trained_with(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline(shared_noise=1.0)
    noise, first = pipeline.prepare_latents(torch.zeros(2, 8, 8, 4), NUM_FRAMES, seeded())
    assert noise[:, :, 1:].std() > 0.9
    assert torch.equal(noise[:, :, 1], noise[:, :, 3])
    assert torch.equal(noise[:, :, 1], first)


@pytest.mark.parametrize(
    "change",
    [
        {"image": FRAMES[0] // 2},
        {"poses": POSES[::-1].copy()},
        {"joints": JOINTS[::-1].copy()},
        {"image_joints": JOINTS[3]},
        {"prompt": SENTENCES[2]},
        {"prompt": None},
        {"num_inference_steps": 2},
        {"image_guidance_scale": 2.0},
        {"pose_guidance_scale": 2.0},
        {"text_guidance_scale": 2.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_input_changes_the_video(pipeline: X2FashionPipeline, change: dict) -> None:
    assert not torch.allclose(sample(pipeline)[:, :, 1:], sample(pipeline, **change)[:, :, 1:], atol=1e-4)


def test_joints_are_read_from_the_skeletons_where_none_are_given(pipeline: X2FashionPipeline) -> None:
    read, given = sample(pipeline, joints=None), sample(pipeline, joints=np.round(JOINTS))
    assert (read - given).pow(2).mean() < 0.05 * given.pow(2).mean()


def test_a_batch_of_two_equals_two_batches_of_one(pipeline: X2FashionPipeline) -> None:
    together = sample(
        pipeline,
        image=[FRAMES[0], FRAMES[0] // 2],
        poses=[POSES, POSES[::-1]],
        prompt=SENTENCES[:2],
        joints=np.stack([JOINTS, JOINTS[::-1]]),
        generator=[seeded(0), seeded(1)],
        pose_guidance_scale=2.0,
    )
    alone = [
        sample(pipeline, pose_guidance_scale=2.0),
        sample(
            pipeline,
            image=FRAMES[0] // 2,
            poses=POSES[::-1].copy(),
            joints=JOINTS[::-1].copy(),
            prompt=SENTENCES[1],
            generator=seeded(1),
            pose_guidance_scale=2.0,
        ),
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-3, rtol=1e-3)


def test_an_empty_sentence_in_a_batch_is_no_sentence(pipeline: X2FashionPipeline) -> None:
    generators = [seeded(0), seeded(1)]
    together = sample(pipeline, prompt=["", SENTENCES[1]], generator=generators, text_guidance_scale=2.0)
    alone = [
        sample(pipeline, prompt=prompt, generator=seeded(seed), text_guidance_scale=2.0)
        for seed, prompt in enumerate([None, SENTENCES[1]])
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-3, rtol=1e-3)


def test_one_photo_serves_many_sentences(pipeline: X2FashionPipeline) -> None:
    assert len(sample(pipeline, prompt=SENTENCES)) == 3


def test_fewer_frames_take_the_first_poses(pipeline: X2FashionPipeline) -> None:
    noise = torch.randn(1, 8, 3, HEIGHT // 8, WIDTH // 8, generator=seeded())
    cut = sample(pipeline, num_frames=3, latents=noise)
    assert torch.equal(cut, sample(pipeline, poses=POSES[:3], joints=JOINTS[:3], latents=noise))


def test_callbacks_see_every_step_and_may_change_and_stop_it(pipeline: X2FashionPipeline) -> None:
    steps: list[tuple[int, int]] = []

    def stop_after_two(pipe, step, timestep, tensors):
        steps.append((step, int(timestep)))
        assert set(tensors) == {"latents"} and pipe.num_timesteps == 5
        pipe._interrupt = step == 1
        return {"latents": torch.full_like(tensors["latents"], 3.0)}

    latents = sample(pipeline, num_inference_steps=5, callback_on_step_end=stop_after_two)
    assert steps == [(0, 999), (1, 799)]
    assert (latents == 3.0).all()


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_samples_every_prediction(
    make_tiny_pipeline, sampler: str, prediction_type: str
) -> None:
    pipeline = make_tiny_pipeline(sampler, prediction_type=prediction_type)
    latents = sample(pipeline, image_guidance_scale=1.5)
    assert latents.isfinite().all()
    assert torch.equal(latents, sample(pipeline, image_guidance_scale=1.5))


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_euler_equals_ddim(
    pipeline: X2FashionPipeline, make_tiny_pipeline: MakePipeline, scale: float
) -> None:
    """The same ODE step in other variables: right only if latents and frame 0 are scaled for the denoiser."""
    euler = make_tiny_pipeline("euler")
    settings = {"num_inference_steps": 5, "image_guidance_scale": scale}
    torch.testing.assert_close(sample(euler, **settings), sample(pipeline, **settings), atol=5e-3, rtol=1e-3)


def test_ddpm_is_the_published_ancestral_sampler(make_tiny_pipeline: MakePipeline) -> None:
    """Against the loop written out, with beta_t (1 - abar_{t-1}) / (1 - abar_t) as the variance."""
    pipeline = make_tiny_pipeline("ddpm", prediction_type="epsilon", reference_input=False, warp_input=False)
    betas = published_betas(40)
    pipeline.scheduler = make_scheduler("ddpm", "epsilon", betas)
    sampled = sample(pipeline, num_inference_steps=40)

    signed = torch.from_numpy(POSES / np.float32(127.5) - 1).permute(3, 0, 1, 2)[None]
    reference = sampled[:, :, 0]
    conditions = {
        "prompt_embeds": pipeline.encode_prompt([SENTENCES[0]]),
        "reference_latents": reference,
        "pose_images": signed,
    }
    alphas = 1 - betas
    bars = np.cumprod(alphas)
    generator = seeded()
    x = torch.randn(sampled.shape, generator=generator)
    for t in reversed(range(40)):
        x[:, :, 0] = reference
        with torch.no_grad():
            noise = pipeline.denoiser(x, t, **conditions)
        x = (x - betas[t] / np.sqrt(1 - bars[t]) * noise) / np.sqrt(alphas[t])
        if t > 0:
            variance = betas[t] * (1 - bars[t - 1]) / (1 - bars[t])
            x = x + np.sqrt(variance) * torch.randn(x.shape, generator=generator)
    x[:, :, 0] = reference
    assert (sampled - x).norm() / x.norm() < 1e-4


def test_saved_and_loaded_it_makes_the_same_video(pipeline, tiny_pipeline_dir: Path) -> None:
    loaded = X2FashionPipeline.from_pretrained(tiny_pipeline_dir)
    assert (loaded.config.height, loaded.config.width) == (HEIGHT, WIDTH)
    assert type(loaded.scheduler) is SAMPLERS["dpmsolver++"].scheduler_class
    assert not loaded.denoiser.training and not loaded.vae.training
    loaded.scheduler = make_scheduler("ddim", "sample")
    assert torch.equal(sample(loaded), sample(pipeline))


def test_a_folder_outlives_a_move_of_our_modules(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_pipeline_dir, tmp_path / "moved")
    index = json.loads((moved / "model_index.json").read_text())
    assert index["vae"][1] == "SpaceToDepthAutoencoderKL"
    index["vae"][0], index["denoiser"][0] = "some.older.module", "another.one"
    (moved / "model_index.json").write_text(json.dumps(index))
    loaded = X2FashionPipeline.from_pretrained(moved)
    assert isinstance(loaded.denoiser, Denoiser)


def test_from_published_is_set_to_the_published_procedure(tiny_pipeline_dir: Path) -> None:
    folder = tiny_pipeline_dir
    pipeline = X2FashionPipeline.from_published(
        folder / "denoiser", folder / "vae", folder / "text_encoder", folder / "tokenizer"
    )
    config = pipeline.scheduler.config
    assert isinstance(pipeline.scheduler, DDPMScheduler)
    assert config.clip_sample is False and config.variance_type == "fixed_small"
    with pytest.raises(UserError, match="nowhere"):
        X2FashionPipeline.from_published(folder / "denoiser", folder / "nowhere", folder / "text_encoder")


@pytest.mark.slow
def test_a_checkpoint_of_the_published_size_runs(make_tiny_pipeline: MakePipeline, tmp_path: Path) -> None:
    save_published(Denoiser(), tmp_path / "model_1.pth")
    companions = make_tiny_pipeline(latent_channels=4, cross_attention_dim=768)
    companions.save_pretrained(tmp_path / "companions")
    pipeline = X2FashionPipeline.from_published(
        tmp_path / "model_1.pth", *(tmp_path / "companions" / n for n in ("vae", "text_encoder", "tokenizer"))
    )
    frames, poses, _ = figure_clip(2, height=512)
    video = pipeline(frames[0], poses, SENTENCES[0], num_inference_steps=2, generator=seeded()).frames
    assert video.shape == (1, 2, 512, 256, 3) and np.isfinite(video).all()


def test_bfloat16(make_tiny_pipeline: MakePipeline) -> None:
    exact = sample(make_tiny_pipeline())
    pipeline = make_tiny_pipeline()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = sample(pipeline)
    cast = sample(pipeline.to(torch.bfloat16))
    for latents in (mixed, cast):
        assert latents.dtype == torch.float32
        assert (latents - exact).norm() / exact.norm() < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 48}, r"48 x 32.*divide by 32.*made for 64 x 32"),
        ({"num_frames": 5}, r"5 frames need as many poses, there are 4"),
        ({"num_frames": 0}, r"0 frames"),
        ({"image": [FRAMES[0]] * 2, "prompt": SENTENCES}, r"\[1, 2, 3\] clips"),
        ({"output_type": "gif"}, r"'gif'; choose one of np"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, r"cannot be given noise; choose among latents"),
        ({"num_inference_steps": 0}, r"1 or more"),
        ({"latents": torch.zeros(1, 8, 4, 8, 8)}, r"this call needs \(1, 8, 4, 8, 4\)"),
        ({"joints": JOINTS[:2]}, r"joints have shape"),
    ],
)
def test_what_cannot_be_sampled_is_refused(pipeline, batch_sizes, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(pipeline, **change)
    assert not batch_sizes


def test_frames_that_do_not_divide_are_refused(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline(temporal_downsample=(False, True))
    assert sample(pipeline).shape[2] == 4
    with pytest.raises(UserError, match=r"3 frames .*multiple of 2; take 2 or 4"):
        sample(pipeline, num_frames=3)


def test_components_that_do_not_fit_are_refused(make_tiny_pipeline: MakePipeline) -> None:
    pipeline = make_tiny_pipeline()
    pipeline.scheduler = make_scheduler("ddim", "epsilon")
    with pytest.raises(UserError, match="predicts 'sample', but the DDIMScheduler is set to 'epsilon'"):
        sample(pipeline)
    pipeline = make_tiny_pipeline()
    pipeline.vae = make_tiny_pipeline(latent_channels=4).vae
    with pytest.raises(UserError, match="latents of 4 channels, the denoiser takes 8"):
        sample(pipeline)
    pipeline = make_tiny_pipeline()
    pipeline.text_encoder = make_tiny_pipeline(cross_attention_dim=16).text_encoder
    with pytest.raises(UserError, match="16 wide, the denoiser takes 32"):
        sample(pipeline)


def test_a_sentence_that_is_cut_is_told(
    pipeline: X2FashionPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.encode_prompt([SENTENCES[0]])
    assert not caplog.messages
    embeds = pipeline.encode_prompt([" ".join(SENTENCES * 5)])
    assert embeds.shape == (1, 16, 32)
