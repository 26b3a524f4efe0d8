"""recipe.train_text_to_poses at toy size: from tracks without pictures to a model that is sampled."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from data.synthetic.__main__ import Config as SyntheticConfig
from data.synthetic.__main__ import main as render
from diffusion.motion import load_text_to_poses
from recipe import train_text_to_poses as script
from tests.toys import figure_joints, tiny_tokenizer
from tests.train_toys import interrupted_in_a_step
from utils.errors import UserError
from utils.files import read_json
from utils.image import read_image
from utils.pose_drawing import JOINT


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> script.Config:
    folder = tmp_path_factory.mktemp("tracks")
    render(
        SyntheticConfig(
            output_dir=folder / "data", num_train=6, num_test=3, num_frames=8, poses_only=True, num_workers=1
        )
    )
    tokenizer = tiny_tokenizer(folder / "text_encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2, max_position_embeddings=16, bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
    text_encoder.save_pretrained(folder / "text_encoder")
    return script.Config(
        dataset=folder / "data",
        text_encoder=folder / "text_encoder",
        output_dir=folder / "run",
        max_train_steps=4,
        train_batch_size=3,
        checkpoint_steps=2,
        num_frames=8,
    )


@pytest.fixture(scope="module")
def trained(config: script.Config) -> Path:
    script.main(config)
    return config.output_dir


def test_a_run_leaves_model_metrics_and_a_sheet(config: script.Config, trained: Path) -> None:
    model = load_text_to_poses(trained)
    assert model.config.cross_attention_dim == 16
    metrics = read_json(trained / "metrics.json")
    for name in ("own_wordings", "training_wordings"):
        assert 0 <= metrics[f"motion_accuracy_{name}"] <= 1
    assert metrics["num_clips"] == 3
    assert metrics["spread_between_samples_torsos"] > 0
    assert read_image(trained / "tracks.png").shape[0] > 9 * 128


def test_stopping_and_resuming_gives_the_same_weights(config: script.Config, trained: Path) -> None:
    again = dataclasses.replace(config, output_dir=trained.with_name("again"))
    script.main(again)
    newest = again.output_dir / "checkpoint" / "step_00000004"
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    script.main(again)
    for folder in (trained, again.output_dir):
        assert load_text_to_poses(folder).mix.weight.abs().sum() > 0
    name = "text_to_poses/diffusion_pytorch_model.safetensors"
    assert (trained / name).read_bytes() == (again.output_dir / name).read_bytes()
    with pytest.raises(UserError, match="seed was 0 and is 1"):
        script.main(dataclasses.replace(again, seed=1))


def test_an_interrupt_costs_no_step(
    config: script.Config, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, output_dir=tmp_path)
    with interrupted_in_a_step(monkeypatch, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        script.main(config)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step_00000001"]
    script.main(config)
    name = "text_to_poses/diffusion_pytorch_model.safetensors"
    assert (trained / name).read_bytes() == (tmp_path / name).read_bytes()


def test_batches_are_drawn_from_the_seed_and_bones_vary(config: script.Config) -> None:
    tokenizer, text_encoder = script.load_text_encoder(config.text_encoder)
    tracks = script.load_tracks(config.dataset, "train", 8)
    assert tracks.joints.shape == (6, 8, 18, 3) and all(tracks.motions)
    for key, one, other in (
        ("joint_noise", 0.0, 0.1),
        ("bone_variation", 0.0, 0.1),
        ("hide_chance", 0.0, 1.0),
        ("embedding_noise", 0.0, 1.0),
    ):
        batches = []
        for value in (one, other, other):
            changed = dataclasses.replace(config, **{key: value})
            batches.append(script.Examples(changed, tracks, tokenizer, text_encoder).batch(0))
        differ = [not torch.equal(a, b) for a, b in zip(*batches[:2], strict=True)]
        assert any(differ), key
        assert all(torch.equal(a, b) for a, b in zip(*batches[1:], strict=True))
        embeds, first, places, visibility = batches[1]
        assert torch.equal(places[:, 0], first[..., :2])
        assert first[:, [JOINT["neck"], JOINT["left_hip"], JOINT["left_shoulder"]], 2].all()
        assert embeds.shape == (3, 16, 16) and visibility.shape == (3, 8, 18)


def test_tracks_are_resampled_and_gaps_are_filled() -> None:
    track = figure_joints(5, shift=0.01)
    track[2, JOINT["nose"]] = (0, 0, 0)
    resampled = script.resample(track, 9)
    np.testing.assert_allclose(
        resampled[:, JOINT["nose"], 0], np.linspace(*track[[0, 4], 0, 0], 9), rtol=1e-5
    )
    assert resampled[4, JOINT["nose"], 2] == 0 and resampled[..., 2].sum() >= 9 * 18 - 3
    assert np.array_equal(script.resample(track, 5)[:, 1:], track[:, 1:])


def test_stretched_limbs_are_noticed() -> None:
    track = figure_joints(4)[..., :2]
    assert script.limb_stretch(track, track) == 0
    longer = track.copy()
    longer[:, JOINT["left_wrist"]] += (longer[:, JOINT["left_wrist"]] - longer[:, JOINT["left_elbow"]]) * 0.8
    assert script.limb_stretch(longer, track) == pytest.approx(0.1, abs=1e-6)


def test_a_dataset_without_joints_is_refused(config: script.Config, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.txt").write_text("0 4 She turns.\n")
    (tmp_path / "fashion_poses" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="skeleton pictures, 4 are wanted"):
        script.main(dataclasses.replace(config, dataset=tmp_path, output_dir=tmp_path / "run"))
    with pytest.raises(UserError, match="--kl_weight -1"):
        script.main(dataclasses.replace(config, kl_weight=-1))
