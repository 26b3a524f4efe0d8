from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from evaluation.learned import LearnedMetrics, frechet_distance
from tests.toys import tiny_tokenizer
from utils.errors import UserError


class Distance(nn.Module):
    """Takes two pictures in [-1, 1], as an LPIPS file does."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean(dim=[1, 2, 3], keepdim=True)


class Inception(nn.Module):
    """Takes uint8 pictures and an argument, as the usual Inception file does."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert x.dtype == torch.uint8
        features = x.float().mean(dim=[2, 3])
        return features if return_features else features * 0


class Videos(nn.Module):
    """Takes videos in [-1, 1]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 3 and x.shape[3] == 224 and x.shape[4] == 224
        return x.mean(dim=[2, 3, 4])


@pytest.fixture
def scripted(tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for name, module in {"lpips": Distance(), "inception": Inception(), "i3d": Videos()}.items():
        paths[name] = tmp_path / f"{name}.pt"
        torch.jit.save(torch.jit.script(module), str(paths[name]))
    return paths


@pytest.fixture
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (4, 64, 32, 3), dtype=np.uint8)


def test_without_weights_nothing_is_computed_and_the_flag_is_named(video: np.ndarray) -> None:
    learned = LearnedMetrics()
    values = learned.measure(video, video, "She turns.")
    assert "--lpips_weights" in str(values["lpips"]) and "--clip_model" in str(values["clip_score"])
    assert learned.features(video) == {}


def test_lpips_is_the_files_distance(scripted: dict[str, Path], video: np.ndarray) -> None:
    learned = LearnedMetrics(lpips=scripted["lpips"])
    assert learned.measure(video, video, "")["lpips"] == 0
    assert learned.measure(video + np.uint8(51), video, "")["lpips"] == pytest.approx(0.4, abs=1e-5)


def test_features(scripted: dict[str, Path], video: np.ndarray) -> None:
    found = LearnedMetrics(inception=scripted["inception"], i3d=scripted["i3d"]).features(video)
    np.testing.assert_allclose(found["fid"], video.mean(axis=(1, 2)), rtol=1e-5)
    assert found["fvd"].shape == (1, 3)
    np.testing.assert_allclose(found["fvd"][0], video.mean(axis=(0, 1, 2)) / 127.5 - 1, atol=1e-2)


def test_frechet_distance_is_the_formulas() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (500, 3)), rng.normal(0.5, 2, (400, 3))
    covariances = np.cov(a.T), np.cov(b.T)
    values = np.linalg.eigvals(covariances[0] @ covariances[1])
    expected = (
        np.square(a.mean(0) - b.mean(0)).sum()
        + np.trace(covariances[0] + covariances[1])
        - 2 * np.sqrt(values.real).sum()
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_clip_score_of_a_tiny_model(tmp_path: Path, video: np.ndarray) -> None:
    folder = tmp_path / "clip"
    tokenizer = tiny_tokenizer(folder)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**size, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    learned = LearnedMetrics(clip=folder)
    score = learned.measure(video, video, "She raises her arm.")["clip_score"]
    assert isinstance(score, float) and 0 <= score <= 100
    assert score != learned.measure(video, video, "This lady turns to the left.")["clip_score"]


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a TorchScript file"):
        LearnedMetrics(lpips=path)
    with pytest.raises(UserError, match="not a TorchScript file"):
        LearnedMetrics(i3d=tmp_path / "missing.pt")
    with pytest.raises(UserError, match=r"config\.json"):
        LearnedMetrics(clip=tmp_path)
