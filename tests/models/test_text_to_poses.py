"""Sentence and pose to track: what must hold whatever the weights are."""

import pytest
import torch

from models.text_to_poses import TextToPoses, TrackEncoder, chain_matrix, cosines, to_bones
from tests.toys import figure_joints, randomise
from utils.pose_drawing import JOINT


@pytest.fixture(scope="module")
def model() -> TextToPoses:
    model = TextToPoses(cross_attention_dim=8, text_width=6, latent_dim=4, width=16, num_components=8)
    randomise(model)
    return model.eval()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.from_numpy(figure_joints(2))
    first[..., :2] = (first[..., :2] - first[0, JOINT["neck"], :2]) / 16
    return torch.randn(2, 5, 8, generator=generator), first, torch.randn(2, 4, generator=generator)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 24, 100])
def test_a_track_of_any_length_begins_with_the_given_pose(model, inputs, num_frames) -> None:
    places, logits = model(*inputs, num_frames)
    assert places.shape == (2, num_frames, 18, 2) and logits.shape == (2, num_frames, 18)
    assert torch.equal(places[:, 0], inputs[1][..., :2])


def test_the_same_moments_of_a_longer_clip_are_the_same(model, inputs) -> None:
    short, long = model(*inputs, 5), model(*inputs, 9)
    for a, b in zip(short, long, strict=True):
        torch.testing.assert_close(a, b[:, ::2], rtol=1e-4, atol=1e-4)


def test_sentence_pose_and_latent_matter_and_clips_of_a_batch_do_not_mix(model, inputs) -> None:
    places, _ = model(*inputs, 6)
    for i in range(3):
        changed = [value + 0.5 if i == k else value for k, value in enumerate(inputs)]
        if i == 1:
            changed[1][..., 2] = 1
        assert (model(*changed, 6)[0] - places)[:, 1:].abs().max() > 1e-2
    alone = model(*(value[1:] for value in inputs), 6)[0]
    torch.testing.assert_close(alone[0], places[1])


def test_where_a_joint_is_not_seen_its_place_does_not_matter(model, inputs) -> None:
    embeds, first, latents = inputs
    first[:, JOINT["left_wrist"], 2] = 0
    moved = first.clone()
    moved[:, JOINT["left_wrist"], :2] += 3
    a, b = model(embeds, first, latents, 5)[0], model(embeds, moved, latents, 5)[0]
    torch.testing.assert_close(a[:, 1:], b[:, 1:])
    assert torch.equal(b[:, 0], moved[..., :2])


def test_bones_and_places_are_the_same_thing() -> None:
    places = torch.randn(3, 18, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(chain_matrix() @ to_bones(places), places)
    wrist = to_bones(places)[:, JOINT["left_wrist"]]
    torch.testing.assert_close(wrist, places[:, JOINT["left_wrist"]] - places[:, JOINT["left_elbow"]])


def test_the_encoder_sees_the_track_and_every_parameter_learns(model, inputs) -> None:
    embeds, first, latents = inputs
    encoder = TrackEncoder(model, width=16)
    for num_frames in (4, 24):
        places, _ = model(embeds, first, latents, num_frames)
        visibility = torch.ones(2, num_frames, 18)
        mean, log_variance = encoder(model.encode_text(embeds), first, places, visibility)
        assert mean.shape == log_variance.shape == latents.shape
    drawn = mean + (0.5 * log_variance).exp()
    first[:, JOINT["nose"], 2] = 0
    places, logits = model(embeds, first, drawn, 24)
    (places.square().mean() + logits.square().mean()).backward()
    for name, parameter in [*model.named_parameters(), *encoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    model.zero_grad()


def test_half_waves() -> None:
    waves = cosines(5, 3)
    torch.testing.assert_close(waves[:, 0], torch.ones(5))
    torch.testing.assert_close(
        waves[:, 1], torch.tensor([1, 0.5**0.5, 0, -(0.5**0.5), -1]), atol=1e-6, rtol=0
    )


def test_the_shipped_size_fits() -> None:
    assert sum(p.numel() for p in TextToPoses().parameters()) * 2 < 790_000
