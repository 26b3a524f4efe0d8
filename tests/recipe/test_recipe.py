"""The shipped model's recipe at toy size: every script in turn, on what the ones before it wrote."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

import evaluate
import inference
import project_latent_space
import train
import training.warper
from data.annotations import load_annotations
from data.frames import read_frames
from data.latents import LatentVideo
from data.synthetic.__main__ import Config as SyntheticConfig
from data.synthetic.__main__ import main as render
from diffusion.latents import decode_latents, encode_images, load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.text import encode_prompts, load_text_encoder
from diffusion.warped_photo import load_warper
from generation.loading import load_pipeline
from generation.settings import ModelSettings
from generation.streaming import stream_frames
from generation.video import clip_seed
from models import PRESETS
from models.autoencoder import ReferenceAutoencoderKL
from recipe import (
    export_model,
    predict_latents,
    teaser,
    train_decoder,
    train_text_encoder,
    train_vae,
    train_warper,
)
from tests.toys import tiny_warper
from tests.train_toys import interrupted_in_a_step
from training.warper import PairDataset, Pairs
from utils.distributed import World
from utils.errors import UserError
from utils.files import read_json, write_json
from utils.image import write_png
from utils.video import read_video
from warping.joints import load_joints


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where data, VAE, text encoder, latents, checkpoint and model were made in turn."""
    folder = tmp_path_factory.mktemp("recipe")
    render(
        SyntheticConfig(
            output_dir=folder / "data", num_train=2, num_test=1, num_frames=4, height=128, surface=True
        )
    )
    vae_config = {"dataset": (folder / "data",), "train_batch_size": 2, "num_test_frames": 2, "size": "f8"}
    train_vae.main(train_vae.Config(output_dir=folder / "vae", max_train_steps=2, **vae_config))
    train_text_encoder.main(
        train_text_encoder.Config(output_dir=folder / "text", max_train_steps=2, hidden_size=32, num_layers=1)
    )
    project_latent_space.main(
        project_latent_space.Config(
            dataset=folder / "data",
            output_dir=folder / "latents",
            vae=folder / "vae" / "vae",
            warper=None,
        )
    )
    train.main(
        train.Config(
            dataset=folder / "data",
            latents=folder / "latents",
            output_dir=folder / "run",
            preset="tiny",
            vae=folder / "vae" / "vae",
            text_encoder=folder / "text" / "text_encoder",
            num_frames=4,
            short_clip_frames=2,
            train_batch_size=2,
            max_train_steps=2,
            sample_steps=0,
        ),
        World(0, 1, torch.device("cpu")),
    )
    export_model.main(export(folder, "model"))
    return folder


def export(folder: Path, name: str, **changes: Path) -> export_model.Config:
    parts = {
        "denoiser": folder / "run" / "checkpoint" / "denoiser",
        "vae": folder / "vae" / "vae",
        "text_encoder": folder / "text" / "text_encoder",
    }
    return export_model.Config(output_dir=folder / name, height=128, width=64, **(parts | changes))


def test_the_model_makes_a_video_and_the_teaser_shows_it(runs: Path, tmp_path: Path) -> None:
    inference.main(
        inference.Config(
            pretrained_model=runs / "model",
            dataset=runs / "data",
            output_dir=tmp_path,
            num_inference_steps=2,
        )
    )
    frames, _ = read_video(tmp_path / "test_00000.mp4")
    assert frames.shape == (4, 128, 64, 3)
    teaser.main(teaser.Config(results=tmp_path, output=tmp_path / "teaser.gif"))
    assert (tmp_path / "teaser.gif").read_bytes().startswith(b"GIF")
    path = tmp_path / "test_00000.json"
    write_json(path, read_json(path) | {"poses": None})
    with pytest.raises(UserError, match="was made from a sentence"):
        teaser.main(teaser.Config(results=tmp_path, output=tmp_path / "other" / "teaser.gif"))


def test_the_published_design_trains_on_the_same_latents_and_samples(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS["published_small"], "latent_channels", 8)
    settings = {
        "dataset": runs / "data",
        "latents": runs / "latents",
        "vae": runs / "vae" / "vae",
        "text_encoder": runs / "text" / "text_encoder",
        "num_frames": 4,
        "short_clip_frames": 2,
        "train_batch_size": 1,
        "max_train_steps": 1,
        "sample_steps": 0,
    }
    train.main(
        train.Config(output_dir=tmp_path / "run", preset="published_small", **settings),
        World(0, 1, torch.device("cpu")),
    )
    denoiser = tmp_path / "run" / "checkpoint" / "denoiser"
    export_model.main(export(runs, "published", denoiser=denoiser))
    pipeline = X2FashionPipeline.from_pretrained(runs / "published")
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert pipeline.default_num_inference_steps == 25
    shared = {"pretrained_model": runs / "published", "dataset": runs / "data", "num_inference_steps": 2}
    inference.main(inference.Config(output_dir=tmp_path / "result", **shared))
    assert read_video(tmp_path / "result" / "test_00000.mp4")[0].shape == (4, 128, 64, 3)
    evaluate.main(evaluate.Config(output_dir=tmp_path / "evaluation", conditions=("poses",), **shared))
    assert read_json(tmp_path / "evaluation" / "metrics.json")["psnr"]["n"] == 1


def test_the_exported_parts_are_the_trained_ones(runs: Path) -> None:
    pipeline = X2FashionPipeline.from_pretrained(runs / "model")
    trained = load_vae(runs / "vae" / "vae").state_dict()
    for name, value in pipeline.vae.state_dict().items():
        torch.testing.assert_close(value, trained[name], rtol=1e-3, atol=1e-4)
    files = {path.suffix for path in (runs / "model").rglob("*") if path.stat().st_size > 100_000}
    assert files == {".safetensors"}
    for path in (runs / "model").rglob("*.json"):
        assert str(runs) not in path.read_text(), path


def test_the_warper_is_exported_with_the_rest(runs: Path) -> None:
    tiny_warper(128).save_pretrained(runs / "warper")
    export_model.main(export(runs, "with_warper", warper=runs / "warper"))
    pipeline = X2FashionPipeline.from_pretrained(runs / "with_warper")
    assert pipeline.warper.config.height == 128
    assert X2FashionPipeline.from_pretrained(runs / "model").warper is None


def test_an_export_does_not_overwrite_and_parts_must_fit(runs: Path, tiny_pipeline_dir: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        export_model.main(export(runs, "model"))
    with pytest.raises(UserError, match="text encoder it was trained with"):
        encoder = tmp_encoder(runs)
        export_model.main(export(runs, "other", text_encoder=encoder))
    assert not (runs / "other").exists()


def tmp_encoder(runs: Path) -> Path:
    config = train_text_encoder.Config(
        output_dir=runs / "wide", max_train_steps=1, hidden_size=64, num_layers=1
    )
    train_text_encoder.main(config)
    return runs / "wide" / "text_encoder"


def test_latent_statistics_normalise(runs: Path) -> None:
    vae = load_vae(runs / "vae" / "vae")
    dataset = train_vae.FrameDataset([runs / "data"], "train", 4.0, None)
    latents = encode_images(vae, torch.stack([dataset[i][0] for i in range(len(dataset))]))
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-3)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(8), rtol=0, atol=1e-2)
    assert decode_latents(vae, latents[:1]).shape == (1, 3, 128, 64)


def decoder_config(runs: Path, name: str, **settings: object) -> train_decoder.Config:
    shared = {"dataset": runs / "data", "latents": (runs / "latents",), "vae": runs / "vae" / "vae"}
    small = {"max_train_steps": 2, "clips_per_batch": 1, "frames_per_clip": 2, "num_test_clips": 1}
    return train_decoder.Config(output_dir=runs / name, **{**shared, **small, **settings})


def test_a_decoder_that_sees_the_photo_keeps_the_latents_valid(runs: Path) -> None:
    train_decoder.main(decoder_config(runs, "decoder"))
    before, after = load_vae(runs / "vae" / "vae"), load_vae(runs / "decoder" / "vae")
    assert isinstance(after, ReferenceAutoencoderKL)
    images = torch.zeros(1, 3, 128, 64)
    assert torch.equal(encode_images(before, images), encode_images(after, images))
    assert not torch.equal(before.decoder.conv_out.weight, after.decoder.conv_out.weight)
    assert read_json(runs / "decoder" / "metrics.json")["num_clips"] == 1


def test_a_decoder_learns_on_the_latents_that_a_model_predicts(runs: Path, tmp_path: Path) -> None:
    settings = {"pretrained_model": runs / "model", "dataset": runs / "data", "max_clips": 1}
    predict_latents.main(predict_latents.Config(output_dir=tmp_path, num_inference_steps=1, **settings))
    (path,) = tmp_path.iterdir()
    true = LatentVideo(runs / "latents" / path.name).latents([0, 1, 2, 3])
    predicted = LatentVideo(path).latents([0, 1, 2, 3])
    error = (predicted - true).abs().mean((1, 2, 3))
    assert error[0] < 0.05 < error[1:].min()  # the photo is given
    written = path.stat().st_mtime_ns
    predict_latents.main(predict_latents.Config(output_dir=tmp_path, num_inference_steps=1, **settings))
    assert path.stat().st_mtime_ns == written
    for change in ({"num_inference_steps": 2}, {"seed": 1}, {"dtype": "bfloat16"}):
        predict_latents.main(predict_latents.Config(output_dir=tmp_path, **settings, **change))
        again = LatentVideo(path).latents([0, 1, 2, 3])
        assert not torch.equal(again, predicted), change
        predicted = again
    config = decoder_config(runs, "mended", latents=(runs / "latents", tmp_path), temporal_weight=1.0)
    frames = train_decoder.DecoderDataset(config, "train", config.latents)[0]
    assert torch.equal(frames.weight.flatten(1).amax(1), torch.full((2,), 4.0))
    assert len(train_decoder.DecoderDataset(config, "train", config.latents)) == 1
    train_decoder.main(config)


def test_predicted_latents_never_replace_true_ones(runs: Path) -> None:
    before = {path.name: path.read_bytes() for path in (runs / "latents").iterdir()}
    settings = {"pretrained_model": runs / "model", "dataset": runs / "data", "num_inference_steps": 1}
    with pytest.raises(
        UserError, match=r"which project_latent_space\.py wrote .*choose another --output_dir"
    ):
        predict_latents.main(predict_latents.Config(output_dir=runs / "latents", **settings))
    assert {path.name: path.read_bytes() for path in (runs / "latents").iterdir()} == before


def test_predicted_latents_are_those_of_the_video_that_inference_makes(runs: Path, tmp_path: Path) -> None:
    common = {"pretrained_model": runs / "model", "dtype": "float32", "device": "cpu"}
    predict_latents.main(
        predict_latents.Config(dataset=runs / "data", output_dir=tmp_path, max_clips=1, **common)
    )
    (path,) = tmp_path.iterdir()
    (segment,) = (s for s in load_annotations(runs / "data", "train") if s.name == path.stem)
    pipeline = load_pipeline(ModelSettings(**common), torch.device("cpu"))
    decoded = pipeline.decode(LatentVideo(path).latents(range(4)).movedim(0, 1)[None], None, None)
    poses_dir = runs / "data" / "fashion_poses" / path.stem
    for seed, is_same in ((0, True), (1, False)):
        frames = stream_frames(
            pipeline,
            read_frames(runs / "data" / "fashion_crop" / path.stem, [0])[0],
            read_frames(poses_dir),
            segment.text,
            seed=clip_seed(seed, path.stem),
            joints=load_joints(poses_dir, 4),
        )
        made = torch.from_numpy(np.concatenate(list(frames))).permute(3, 0, 1, 2) / 127.5 - 1
        error = (decoded[0] - made).abs().mean()  # latents on disk have half precision
        assert (error < 0.01) == is_same, (seed, error)


def test_a_decoder_sees_further_photos_of_a_clip(runs: Path) -> None:
    config = decoder_config(runs, "views", drop_photo=0.0)
    with_more = dataclasses.replace(config, further_photos=1.0)
    one, more = (train_decoder.DecoderDataset(c, "train", config.latents)[0] for c in (config, with_more))
    assert torch.equal(one.images, more.images)
    assert (more.validity >= one.validity - 1e-6).all() and (more.validity > one.validity).any()


def test_the_surroundings_of_the_person_weigh_as_the_person_does(runs: Path) -> None:
    def first_frames(surroundings: int) -> train_decoder.Frames:
        config = decoder_config(runs, "surroundings", surroundings=surroundings)
        return train_decoder.DecoderDataset(config, "train", config.latents)[0]

    alone, surrounded = first_frames(0), first_frames(5)
    assert alone.person.any() and torch.equal(alone.person, surrounded.person)
    assert torch.equal(alone.weight > 1, alone.person)
    assert torch.equal(surrounded.weight, 1 + 3 * functional.max_pool2d(alone.person.float(), 11, 1, 5))


def test_a_steady_error_of_the_decoder_does_not_flicker() -> None:
    images = torch.rand(4, 3, 8, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.ones(4, 1, 8, 4)
    batch = train_decoder.Frames(images, images, images, weight, weight > 0, weight, torch.zeros(0, 2))
    steady = images + torch.tensor([0.5, 0.5, -0.2, -0.2]).view(4, 1, 1, 1)  # two clips of two frames
    assert train_decoder.flicker_loss(steady, batch, 2) < 1e-6
    changing = images + torch.tensor([0.0, 0.5, 0.0, 0.1]).view(4, 1, 1, 1)
    torch.testing.assert_close(train_decoder.flicker_loss(changing, batch, 2), torch.tensor(0.3))


def test_a_decoder_training_resumes_to_the_same_bytes(runs: Path) -> None:
    train_decoder.main(decoder_config(runs, "decoder_whole", checkpoint_steps=1))
    shutil.copytree(runs / "decoder_whole", runs / "decoder_resumed")
    shutil.rmtree(sorted((runs / "decoder_resumed" / "checkpoint").iterdir())[-1])
    train_decoder.main(decoder_config(runs, "decoder_resumed", checkpoint_steps=1))
    whole, resumed = (
        load_vae(runs / name / "vae").state_dict() for name in ("decoder_whole", "decoder_resumed")
    )
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_decoder_learns_beside_a_critic_and_resumes_to_the_same_bytes(runs: Path) -> None:
    settings = {"adversarial_weight": 0.1, "crop": 32, "checkpoint_steps": 1}
    train_decoder.main(decoder_config(runs, "critic_whole", **settings))
    for name in ("checkpoint", "vae"):
        shutil.copytree(runs / "critic_whole" / name, runs / "critic_resumed" / name)
    shutil.rmtree(runs / "critic_resumed" / "checkpoint" / "step_00000002")
    train_decoder.main(decoder_config(runs, "critic_resumed", **settings))
    whole, resumed = (
        (runs / name / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
        for name in ("critic_whole", "critic_resumed")
    )
    assert whole == resumed
    train_decoder.main(decoder_config(runs, "no_critic"))
    without = (runs / "no_critic" / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert whole != without


def warper_config(runs: Path, name: str, **settings: object) -> train_warper.Config:
    small = {"max_train_steps": 2, "clips_per_batch": 2, "frames_per_clip": 2, "num_test_clips": 1}
    shared = {"dataset": (runs / "data",), "warmup_steps": 0}
    return train_warper.Config(output_dir=runs / name, **{**shared, **small, **settings})


def test_a_warper_is_trained_and_moves_the_photo_for_a_decoder(runs: Path) -> None:
    train_warper.main(warper_config(runs, "warper"))
    metrics = read_json(runs / "warper" / "metrics.json")
    assert metrics["psnr_inside_silhouette"] > 5 and metrics["psnr_inside_silhouette_by_rules"] > 5
    assert (runs / "warper" / "warped.png").is_file()
    trained = runs / "warper" / "warper"
    assert load_warper(trained).config.rules_logit == train_warper.Config().rules_logit > 0
    assert load_warper(trained).config.height == 128
    again = train_warper.build_warper(warper_config(runs, "warper", init_from=trained))
    assert again.config.rules_logit == 0
    train_decoder.main(decoder_config(runs, "decoder_warped", warper=runs / "warper" / "warper"))
    assert read_json(runs / "decoder_warped" / "metrics.json")["psnr_with_the_photo"] > 5


def test_clips_of_several_datasets_are_drawn_equally_often(runs: Path, tmp_path: Path) -> None:
    more = shutil.copytree(runs / "data", tmp_path / "more")
    shutil.rmtree(more / "test")
    both = runs / "data", more
    train_set, test_set = (PairDataset(both, split, 2, 0) for split in ("train", "test"))
    one = PairDataset(both[:1], "train", 2, 0)
    assert len(train_set) == 2 * len(one)
    assert {root for root, _ in train_set.segments} == set(both)
    assert {root for root, _ in test_set.segments} == {runs / "data"}
    frames = train_vae.FrameDataset(both, "train", 4.0, None)
    assert len(frames) == 2 * len(train_vae.FrameDataset(both[:1], "train", 4.0, None))
    for path in (more / "fashion_crop").glob("*/000.png"):
        write_png(path, np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(UserError, match=r"different sizes: .*data 128 x 64, .*more 64 x 32"):
        PairDataset(both, "train", 2, 0)
    with pytest.raises(UserError, match="nowhere"):
        PairDataset((runs / "data", tmp_path / "nowhere"), "train", 2, 0)


def test_what_is_varied_for_a_warper_still_fits_together(runs: Path) -> None:
    """A frame is the photo moved along the flow, and the rules lay the person where it is."""
    pairs = PairDataset((runs / "data",), "train", 2, 0)
    pictures, apart = set(), []
    for number in range(12):
        pair = pairs[number]
        pictures.add(float(pair.photos.mean()))
        height, width = pair.photos.shape[-2:]
        grid = pair.flow * torch.tensor([2 * height / width, 2.0])[:, None, None] - 1
        moved = functional.grid_sample(
            pair.photos.expand(2, -1, -1, -1), grid.permute(0, 2, 3, 1), align_corners=False
        )
        for frame in range(2):
            row, column = pair.phase[frame].tolist()
            seen = pair.shown[frame] == 3
            error = (moved[frame] - pair.frames[frame, :, row::4, column::4]).abs()[:, seen]
            assert error.median() < 0.1
        person = pair.parts > 0
        assert pair.draft.person[:, 0][person].mean() > pair.draft.person[:, 0][~person].mean() + 0.3
        x = torch.arange(width) / width
        middles = [
            float((mask.sum((0, 1, 2)) * x).sum() / mask.sum())
            for mask in (pair.draft.photo_person, pair.draft.person)
        ]
        apart.append(abs(middles[0] - middles[1]))
    assert len(pictures) > 6
    assert max(apart) > 0.2  # at times the photo is moved sideways


def test_a_warper_sees_white_grounds_pale_clothes_and_the_photo_itself(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pairs(**shares: float) -> list[Pairs]:
        for name in ("WHITE_GROUND", "PALE_CLOTH", "PHOTO_ITSELF", "SHIFTED"):
            monkeypatch.setattr(training.warper, name, shares.get(name, 0.0))
        dataset = PairDataset((runs / "data",), "train", 2, 0)
        return [dataset[number] for number in range(3)]

    def contrast(pair: Pairs) -> float:
        ground = pair.frames.movedim(1, -1)[pair.parts == 0].median(0).values
        cloth = torch.isin(pair.parts, torch.tensor(training.warper.CLOTH))
        return float((pair.frames.movedim(1, -1)[cloth] - ground).abs().mean())

    for plain, white, pale, still in zip(
        pairs(), pairs(WHITE_GROUND=1), pairs(PALE_CLOTH=1), pairs(PHOTO_ITSELF=1), strict=True
    ):
        assert white.photos.flatten(2).median(2).values.min() > 0.9
        assert contrast(pale) < 0.8 * contrast(plain)
        same = [torch.equal(frame, still.photos[0]) for frame in still.frames]
        assert same.count(True) == 1
        moved = (still.draft.pictures[same.index(True)] - still.photos[0]).abs().mean()
        assert moved < 0.02
        assert not any(torch.equal(frame, plain.photos[0]) for frame in plain.frames)


def test_a_warper_training_resumes_to_the_same_bytes(runs: Path) -> None:
    train_warper.main(warper_config(runs, "warper_whole", checkpoint_steps=1))
    shutil.copytree(runs / "warper_whole" / "checkpoint", runs / "warper_resumed" / "checkpoint")
    shutil.rmtree(runs / "warper_resumed" / "checkpoint" / "step_00000002")
    train_warper.main(warper_config(runs, "warper_resumed", checkpoint_steps=1))
    whole, resumed = (
        (runs / name / "warper" / "diffusion_pytorch_model.safetensors").read_bytes()
        for name in ("warper_whole", "warper_resumed")
    )
    assert whole == resumed


def test_a_warper_of_before_trusts_the_rules_as_its_weights_do(tmp_path: Path) -> None:
    tiny_warper().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = read_json(path)
    assert config.pop("rules_logit") == 0
    write_json(path, config)
    assert load_warper(tmp_path).config.rules_logit == 0


def test_how_much_the_rules_are_trusted_may_change_at_the_end(runs: Path) -> None:
    for logit in (2.0, 4.0):
        train_warper.main(warper_config(runs, "warper_trust", rules_logit=logit))
        assert load_warper(runs / "warper_trust" / "warper").config.rules_logit == logit


def test_a_warper_needs_surfaces(runs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(runs / "data", tmp_path / "data")
    shutil.rmtree(data / "fashion_surface")
    with pytest.raises(UserError, match="render it with python -m data"):
        train_warper.main(warper_config(runs, "no", dataset=(data,)))


def test_a_decoder_needs_latents_and_a_vae_of_ours(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="project_latent_space"):
        train_decoder.main(decoder_config(runs, "no", latents=(tmp_path,)))
    with pytest.raises(UserError, match="smaller --frames_per_clip"):
        train_decoder.main(decoder_config(runs, "no", frames_per_clip=4))
    AutoencoderKL(norm_num_groups=8, block_out_channels=(8,)).save_pretrained(tmp_path / "vae")
    with pytest.raises(UserError, match="train_vae"):
        train_decoder.main(decoder_config(runs, "no", vae=tmp_path / "vae"))


def test_a_decoder_needs_the_vae_of_its_latents(runs: Path, tmp_path: Path) -> None:
    settings = {
        "dataset": (runs / "data",),
        "train_batch_size": 2,
        "num_test_frames": 1,
        "size": "f8",
        "seed": 1,
    }
    train_vae.main(train_vae.Config(output_dir=tmp_path, max_train_steps=2, **settings))
    with pytest.raises(UserError, match=r"safetensors was not made with .*; give the --vae of the latents"):
        train_decoder.main(decoder_config(runs, "no", vae=tmp_path / "vae"))


def test_vae_training_resumes_to_the_same_bytes(runs: Path) -> None:
    vae_config = {
        "dataset": (runs / "data",),
        "max_train_steps": 2,
        "train_batch_size": 2,
        "num_test_frames": 1,
        "checkpoint_steps": 1,
        "size": "f8",
    }
    out = runs / "stopped"
    train_vae.main(train_vae.Config(output_dir=out, **vae_config))
    for path in (out / "checkpoint").glob("step_00000002/*"):
        path.unlink()
    (out / "checkpoint" / "step_00000002").rmdir()
    train_vae.main(train_vae.Config(output_dir=out, **vae_config))
    straight = load_vae(runs / "vae" / "vae").state_dict()
    resumed = load_vae(out / "vae").state_dict()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    with pytest.raises(UserError, match="seed was 0 and is 1"):
        train_vae.main(train_vae.Config(output_dir=out, seed=1, **vae_config))


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_an_interrupt_costs_a_training_no_step(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, ends: type[BaseException]
) -> None:
    settings = {"dataset": (runs / "data",), "max_train_steps": 2, "train_batch_size": 2, "size": "f8"}
    config = train_vae.Config(output_dir=tmp_path, num_test_frames=1, **settings)
    with interrupted_in_a_step(monkeypatch, number), pytest.raises(ends):
        train_vae.main(config)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step_00000001"]
    assert not (tmp_path / "vae").exists()
    train_vae.main(config)
    straight, resumed = (load_vae(folder / "vae").state_dict() for folder in (runs / "vae", tmp_path))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_vae_trains_on_and_keeps_what_its_decoder_has_for_the_photo(runs: Path, tmp_path: Path) -> None:
    train_decoder.main(decoder_config(runs, "before", max_train_steps=1))
    start = runs / "before" / "vae"
    settings = {"dataset": (runs / "data",), "train_batch_size": 2, "num_test_frames": 1, "init_from": start}
    train_vae.main(train_vae.Config(output_dir=tmp_path / "on", max_train_steps=2, **settings))
    before, after = load_vae(start), load_vae(tmp_path / "on" / "vae")
    assert isinstance(after, ReferenceAutoencoderKL)
    for part in ("photo_encoder", "gate_out"):
        pairs = zip(
            before.get_submodule(part).parameters(), after.get_submodule(part).parameters(), strict=True
        )
        assert all(torch.equal(*pair) for pair in pairs)
    for part in ("encoder", "decoder"):
        weights = (vae.get_submodule(part).conv_in.weight for vae in (before, after))
        assert not torch.equal(*weights)
    AutoencoderKL(norm_num_groups=8, block_out_channels=(8,)).save_pretrained(tmp_path / "vae")
    with pytest.raises(UserError, match="AutoencoderKL; give a VAE of"):
        train_vae.main(
            train_vae.Config(output_dir=tmp_path / "no", **settings | {"init_from": tmp_path / "vae"})
        )


def test_a_damaged_mask_is_one_line(runs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(runs / "data", tmp_path / "data")
    for path in (data / "fashion_masks").glob("train_*/*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="is no mask that can be read"):
        train_vae.FrameDataset([data], "train", 4.0, None)[0]
    config = decoder_config(runs, "no", dataset=data)
    with pytest.raises(UserError, match="is no mask that can be read"):
        train_decoder.DecoderDataset(config, "train", config.latents)[0]


def test_the_text_encoder_is_deterministic_and_knows_every_character(runs: Path) -> None:
    tokenizer, encoder = load_text_encoder(runs / "text" / "text_encoder")
    ids = tokenizer("Zebra-crossing, quickly!").input_ids
    assert tokenizer.eos_token_id not in ids[:-1]
    embeds = encode_prompts(tokenizer, encoder, ["She turns.", "She turns.", "He steps."])
    assert embeds.shape == (3, train_text_encoder.MAX_TOKENS, 32)
    assert torch.equal(embeds[0], embeds[1])
    assert not torch.equal(embeds[0], embeds[2])
    with pytest.raises(UserError, match=r"holds a text encoder; choose another --output_dir"):
        train_text_encoder.main(train_text_encoder.Config(output_dir=runs / "text", max_train_steps=1))
    metrics = json.loads((runs / "text" / "metrics.json").read_text())
    assert set(metrics) == {"accuracy_train_wordings", "accuracy_test_wordings"}


def test_sentences_carry_their_labels() -> None:
    texts, labels = train_text_encoder.draw_sentences(np.random.default_rng(0), 50, "train")
    assert len(texts) == 50
    assert labels.shape == (50, 2)
    assert (labels[:, 0] < len(train_text_encoder.MOTIONS)).all()
    assert ((labels[:, 1] == len(train_text_encoder.MOTIONS)) == (labels[:, 1] == labels.max())).all()


def test_the_motion_loss_asks_for_as_much_change_as_the_truth_has() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 16, 8, generator=generator)
    still = images[:1].expand_as(images)
    assert train_decoder.motion_loss(images, images, 2) == 0
    assert train_decoder.motion_loss(images + 0.3, images, 2) < 1e-6
    half, none = (train_decoder.motion_loss(x, images, 2) for x in ((images + still) / 2, still))
    assert 0 < half < none
