"""The denoiser's behaviour at toy size: what it starts as, what it trains, what it refuses."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from models import PRESETS, Conditions, Denoiser
from models.appearance_encoder import AppearanceEncoder
from models.attention import RelativePositionBias, SpatioTemporalAttention, TextAttention
from models.blocks import ConvBlock, ResidualBlock
from models.layers import Downsample, PseudoConv3d, Upsample
from tests.models.recipes import (
    TOY,
    normal,
    relative_error,
    seeded_checkpoint,
    seeded_denoiser,
    seeded_inputs,
    take,
)
from tests.models.reference import Reference
from tests.toys import randomise
from utils.errors import UserError

FRAMES, SIZE = 3, 8


@pytest.fixture(scope="module")
def tiny() -> Denoiser:
    """The tiny preset with random weights everywhere, also where a layer starts at zero."""
    denoiser = Denoiser(**PRESETS["tiny"]).eval()
    randomise(denoiser)
    return denoiser


def tiny_inputs(num_frames: int = FRAMES, batch_size: int = 2, size: int = SIZE) -> dict[str, Tensor]:
    clip = (num_frames, size, size)
    return {
        "noisy_latents": normal("noisy", batch_size, 8, *clip),
        "timesteps": torch.linspace(900, 20, batch_size),
        "prompt_embeds": normal("text", batch_size, 5, 32),
        "reference_latents": normal("reference", batch_size, 8, size, size),
        "pose_images": normal("poses", batch_size, 3, num_frames, 8 * size, 8 * size).clamp(-1, 1),
        "warped_latents": normal("warped", batch_size, 8, *clip),
        "warp_validity": normal("validity", batch_size, 1, *clip).sigmoid(),
    }


def split(inputs: dict[str, Tensor]) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    """Arguments of `forward` by position, and the conditions."""
    conditions = dict(inputs)
    return (conditions.pop("noisy_latents"), conditions.pop("timesteps")), conditions


def test_temporal_convolutions_start_as_the_identity() -> None:
    conv = PseudoConv3d(4, 8)
    clip = normal("clip", 2, 4, 5, 6, 6)
    alone = torch.cat([conv(clip[:, :, i : i + 1]) for i in range(5)], dim=2)
    torch.testing.assert_close(conv(clip), alone)


def test_untrained_conditions_change_nothing() -> None:
    denoiser = Denoiser(**PRESETS["tiny"] | {"reference_input": False, "warp_input": False}).eval()
    (latents, timesteps), given = split(tiny_inputs())
    given.pop("prompt_embeds")
    with torch.no_grad():
        assert torch.equal(denoiser(latents, timesteps, **given), denoiser(latents, timesteps))


def test_output_gate_starts_half_open() -> None:
    denoiser = Denoiser(**PRESETS["tiny"]).eval()
    torch.nn.init.zeros_(denoiser.unet.conv_out.spatial.weight)
    torch.nn.init.zeros_(denoiser.unet.conv_out.spatial.bias)
    inputs = tiny_inputs()
    with torch.no_grad():
        expected = 0.5 * inputs["warp_validity"] * inputs["warped_latents"]
        torch.testing.assert_close(denoiser(**inputs), expected)


@pytest.mark.parametrize("config", [PRESETS["tiny"], TOY], ids=["tiny", "published design"])
def test_every_trainable_parameter_gets_a_gradient(config: dict[str, Any]) -> None:
    denoiser = Denoiser(**config)
    randomise(denoiser)
    inputs = tiny_inputs(num_frames=4, size=16)
    if config is TOY:
        inputs = {k: v for k, v in inputs.items() if not k.startswith("warp")}
        inputs["noisy_latents"], inputs["reference_latents"] = (
            inputs[name][:, :4] for name in ("noisy_latents", "reference_latents")
        )
        inputs["prompt_embeds"] = inputs["prompt_embeds"][..., :20]
    denoiser(**inputs).square().mean().backward()
    without = [
        name for name, p in denoiser.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not without


def saved_bytes(denoiser: Denoiser, inputs: dict[str, Tensor]) -> tuple[int, Tensor]:
    """Bytes of all tensors that a forward saves for the backward, weights aside, and a loss of it."""
    weights = {p.untyped_storage().data_ptr() for p in denoiser.parameters()}
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = denoiser(**inputs).square().mean()
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in weights), loss


@pytest.mark.parametrize("config", [PRESETS["tiny"], TOY], ids=["tiny", "published design"])
def test_gradient_checkpointing_saves_memory_and_changes_no_gradient(config: dict[str, Any]) -> None:
    denoiser = Denoiser(**config)
    randomise(denoiser)
    inputs = tiny_inputs(num_frames=4, size=16)
    if config is TOY:
        inputs = {
            "noisy_latents": inputs["noisy_latents"][:, :4],
            "timesteps": inputs["timesteps"],
            "reference_latents": inputs["reference_latents"][:, :4],
            "pose_images": inputs["pose_images"],
            "prompt_embeds": inputs["prompt_embeds"][..., :20],
        }
    results = []
    for enable in (denoiser.disable_gradient_checkpointing, denoiser.enable_gradient_checkpointing):
        enable()
        denoiser.zero_grad()
        num_bytes, loss = saved_bytes(denoiser, inputs)
        loss.backward()
        gradients = [p.grad for p in denoiser.parameters()]
        results.append((num_bytes, loss.detach(), gradients))
    (all_bytes, loss, gradients), (few_bytes, same_loss, same_gradients) = results
    assert denoiser.is_gradient_checkpointing
    assert few_bytes < 0.5 * all_bytes
    assert torch.equal(loss, same_loss)
    for one, other in zip(gradients, same_gradients, strict=True):
        assert one is not None and other is not None
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        recomputing = denoiser(**inputs)
        denoiser.disable_gradient_checkpointing()
        assert torch.equal(denoiser(**inputs), recomputing)


@pytest.mark.parametrize("drop", [False, True])
def test_a_batch_of_two_is_two_batches_of_one(tiny: Denoiser, drop: bool) -> None:
    inputs = tiny_inputs()
    masks = (
        {"drop_image": torch.tensor([True, False]), "drop_text": torch.tensor([False, True])} if drop else {}
    )
    with torch.no_grad():
        both = tiny(**inputs, **masks)
        for i in range(2):
            alone = {name: value[i : i + 1] for name, value in (inputs | masks).items()}
            assert relative_error(tiny(**alone), both[i : i + 1]) < 1e-5


def test_one_timestep_for_all_is_the_same_as_one_each(tiny: Denoiser) -> None:
    inputs = tiny_inputs() | {"timesteps": torch.tensor([300.0, 300.0])}
    with torch.no_grad():
        each = tiny(**inputs)
        assert relative_error(tiny(**inputs | {"timesteps": 300}), each) < 1e-5
        assert relative_error(tiny(**inputs | {"timesteps": torch.tensor(300)}), each) < 1e-5


def test_encoded_conditions_give_the_same_bits(tiny: Denoiser) -> None:
    (latents, timesteps), given = split(tiny_inputs())
    with torch.no_grad():
        conditions = tiny.encode_conditions(**given)
        direct = tiny(latents, timesteps, **given)
        assert torch.equal(tiny(latents, timesteps, conditions=conditions), direct)
        assert torch.equal(tiny(latents, timesteps, conditions=conditions), direct)


DROPPED = {
    "text": ("prompt_embeds",),
    "poses": ("pose_images", "warped_latents", "warp_validity"),
    "image": ("reference_latents", "warped_latents", "warp_validity"),
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropping_a_condition_is_not_giving_it(tiny: Denoiser, name: str) -> None:
    (latents, timesteps), given = split(tiny_inputs())
    without = given | dict.fromkeys(DROPPED[name])
    with torch.no_grad():
        conditions = tiny.encode_conditions(**given)
        absent = tiny(latents, timesteps, **without)
        all_dropped = conditions.drop(**{name: torch.tensor([True, True])})
        assert relative_error(tiny(latents, timesteps, conditions=all_dropped), absent) < 1e-5
        one_dropped = tiny(
            latents, timesteps, conditions=conditions.drop(**{name: torch.tensor([True, False])})
        )
        assert relative_error(one_dropped[:1], absent[:1]) < 1e-5
        full = tiny(latents, timesteps, conditions=conditions)
        assert torch.equal(one_dropped[1], full[1])
        assert relative_error(absent, full) > 1e-3
        masks = {f"drop_{name}": torch.tensor([True, False])}
        assert torch.equal(tiny(latents, timesteps, **given, **masks), one_dropped)


def test_no_sentence_is_an_embedding_of_zeros(tiny: Denoiser) -> None:
    inputs = tiny_inputs()
    zeros = torch.zeros_like(inputs["prompt_embeds"])
    with torch.no_grad():
        absent = tiny(**inputs | {"prompt_embeds": None})
        assert relative_error(tiny(**inputs | {"prompt_embeds": zeros}), absent) < 1e-5


def test_joined_conditions_are_the_parts_side_by_side(tiny: Denoiser) -> None:
    (latents, _), given = split(tiny_inputs())
    with torch.no_grad():
        full = tiny.encode_conditions(**given)
        bare = tiny.encode_conditions(reference_latents=given["reference_latents"])
        joined = Conditions.cat([full, bare])
        assert joined.batch_size == 4
        output = tiny(torch.cat([latents, latents]), 300, conditions=joined)
        assert relative_error(output[:2], tiny(latents, 300, conditions=full)) < 1e-5
        assert relative_error(output[2:], tiny(latents, 300, conditions=bare)) < 1e-5


def test_every_clip_has_its_own_conditions(tiny: Denoiser) -> None:
    inputs = tiny_inputs()
    for name in set(inputs) - {"noisy_latents", "timesteps"}:
        changed = inputs[name].clone()
        changed[1] += 0.5
        with torch.no_grad():
            difference = (tiny(**inputs | {name: changed}) - tiny(**inputs)).flatten(1).norm(dim=1)
        assert difference[0] == 0, name
        assert difference[1] > 0, name


def test_bfloat16_autocast_is_close_and_trains(tiny: Denoiser) -> None:
    inputs = tiny_inputs()
    denoiser = Denoiser(**PRESETS["tiny"])
    denoiser.load_state_dict(tiny.state_dict())
    with torch.no_grad():
        truth = tiny(**inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert relative_error(tiny(**inputs), truth) < 0.05
    with torch.autocast("cpu", torch.bfloat16):
        output = denoiser(**inputs)
    output.float().square().mean().backward()
    assert relative_error(output.detach(), truth) < 0.05
    assert all(p.grad is not None and p.grad.isfinite().all() for p in denoiser.parameters())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_layers_keep_one_memory_order(tiny: Denoiser, batch_size: int) -> None:
    orders = []

    def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # By strides: torch goes by those of a dimension of 1 too when it chooses a memory format.
        expected = torch.empty(output.shape, memory_format=torch.channels_last_3d).stride()
        orders.append(output.stride() == expected)

    kinds = (
        PseudoConv3d,
        Downsample,
        Upsample,
        ConvBlock,
        ResidualBlock,
        SpatioTemporalAttention,
        TextAttention,
    )
    handles = [m.register_forward_hook(keep) for m in tiny.unet.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        tiny(**tiny_inputs(batch_size=batch_size))
    for handle in handles:
        handle.remove()
    assert len(orders) > 20
    assert all(orders)


@torch.no_grad()
def test_a_kept_position_bias_is_that_of_weights_and_sizes() -> None:
    bias = RelativePositionBias(2, 8, 2, keep_unused=False)
    x = torch.zeros(1)
    first = bias(x, 2, 3)
    assert bias(x, 2, 3) is first
    assert bias(x, 3, 2).shape == first.shape and not torch.equal(bias(x, 3, 2), first)
    assert torch.equal(bias(x, 2, 3), first)

    bias.layer2.weight.mul_(2)
    changed = bias(x, 2, 3)
    assert not torch.equal(changed, first) and torch.equal(changed, bias._compute((2, 3), x))
    bias.load_state_dict({name: value / 2 for name, value in bias.state_dict().items()})
    assert torch.equal(bias(x, 2, 3), bias._compute((2, 3), x))
    with torch.autocast("cpu", torch.bfloat16):
        assert bias(x, 2, 3).dtype == torch.bfloat16
    assert bias(x, 2, 3).dtype == torch.float32
    assert bias.bfloat16()(x.bfloat16(), 2, 3).dtype == torch.bfloat16
    rounded = bias.float()(x, 2, 3)
    assert rounded.dtype == torch.float32 and torch.equal(rounded, bias._compute((2, 3), x))
    with torch.enable_grad():
        assert bias(x, 2, 3).requires_grad and bias(x, 2, 3) is not bias(x, 2, 3)
    assert not bias(x, 2, 3).requires_grad


@pytest.mark.parametrize(
    ("cast", "tolerance"), [("none", 1e-5), ("autocast", 2e-2), ("weights", 2e-2)], ids=str
)
def test_every_precision_is_close_to_plain_float32(cast: str, tolerance: float) -> None:
    config = TOY | {
        "block_out_channels": (64, 128),
        "text_attention_heads": (1, 2),
        "spatio_temporal_attention": (False, True),
        "temporal_downsample": (False, True),
    }
    checkpoint = seeded_checkpoint(config)
    inputs = take(seeded_inputs(4, 16, 8, text_channels=20), slice(1))
    truth = Reference(checkpoint, (1, 2), 2)(**inputs)
    denoiser = seeded_denoiser(config, checkpoint)
    if cast == "weights":
        denoiser, inputs = denoiser.to(torch.bfloat16), take(inputs, dtype=torch.bfloat16)
    (latents, timesteps), given = split(inputs)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=cast == "autocast"):
        conditions = denoiser.encode_conditions(**given)
        for _ in range(2):  # the second time with what the first one kept
            assert relative_error(denoiser(latents, timesteps, conditions=conditions), truth) < tolerance


def test_the_smallest_picture_is_encoded_in_bfloat16() -> None:
    encoder = AppearanceEncoder(4, (64, 256), keep_unused=False)
    picture = normal("picture", 1, 4, 8, 4)
    with torch.no_grad():
        nn.init.normal_(encoder.mid_projection.weight, std=0.02)
        _, truth = encoder(picture)
        for _ in range(8):
            with torch.autocast("cpu", torch.bfloat16):
                assert relative_error(encoder(picture)[1], truth) < 0.05


def test_compiled_blocks_give_the_same_for_any_number_of_frames(tiny: Denoiser) -> None:
    compiled, backend = copy.deepcopy(tiny), CompileCounterWithBackend("eager")
    compiled.compile_repeated_blocks(dynamic=True, backend=backend)
    counts = []
    for num_frames in (6, 10, 14):
        inputs = tiny_inputs(num_frames)
        with torch.no_grad():
            assert relative_error(compiled(**inputs), tiny(**inputs)) < 1e-6
        counts.append(backend.frame_count)
    assert counts[0] >= 2
    assert counts[1] == counts[2]


def test_config_and_weights_survive_saving(tiny: Denoiser, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    loaded = Denoiser.from_pretrained(tmp_path)
    assert {k: v for k, v in loaded.config.items() if k[0] != "_"} == {
        k: list(v) if isinstance(v, tuple) else v for k, v in tiny.config.items() if k[0] != "_"
    }
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**tiny_inputs()), tiny(**tiny_inputs()))


def test_presets_are_as_they_say() -> None:
    with torch.device("meta"):
        models = {name: Denoiser(**config) for name, config in PRESETS.items()}
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    assert sizes["tiny"] < 1e6 < sizes["small"] < 2e7 < sizes["published"]
    buffers = sum(b.numel() for b in models["published"].buffers())
    assert 87e6 < sizes["published"] < sizes["published"] + buffers < 88e6
    assert models["small"].frame_multiple == 1
    assert (models["published"].frame_multiple, models["published"].size_multiple) == (2, 16)
    assert models["published_small"].config.prediction_type == "epsilon"
    assert 0.95 < sizes["published_small"] / sizes["small"] < 1.05


def test_the_published_design_at_the_small_width_has_no_warp_and_no_reference_input() -> None:
    denoiser = Denoiser(**PRESETS["published_small"] | {"latent_channels": 8}).eval()
    assert denoiser.unet.conv_in.spatial.in_channels == 8 and not denoiser.has_output_skip
    randomise(denoiser)
    inputs = tiny_inputs(num_frames=2, batch_size=1) | {"prompt_embeds": normal("text", 1, 5, 128)}
    with torch.no_grad():
        predicted = denoiser(**inputs)
        assert predicted.shape == inputs["noisy_latents"].shape
        without_warp = {name: value for name, value in inputs.items() if not name.startswith("warp")}
        assert torch.equal(denoiser(**without_warp), predicted)
        for name in ("reference_latents", "pose_images", "prompt_embeds"):
            others = {key: value for key, value in inputs.items() if key != name}
            assert not torch.equal(denoiser(**others), predicted), name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"block_out_channels": (20, 40)}, r"block_out_channels \[20, 40\].*multiple of 8"),
        ({"text_attention_heads": (1,)}, r"text_attention_heads \[1\] has 1 entries for 2 levels"),
        ({"text_attention_heads": (1, 3)}, "3 heads at level 1, whose widths are 16 and 32"),
        ({"temporal_downsample": ()}, "temporal_downsample .* has 0 entries for 2 levels"),
        ({"attention_heads": 0}, "attention_heads is 0"),
        ({"pose_channels": (8,)}, r"pose_channels \[8\]"),
        ({"prediction_type": "noise"}, "'noise': choose one of epsilon, v_prediction, sample"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Denoiser(**PRESETS["tiny"] | overrides)


def test_inputs_that_do_not_fit_are_refused(tiny: Denoiser) -> None:
    inputs = tiny_inputs()
    cases = {
        "reference_latents has shape": {"reference_latents": normal("x", 2, 4, 8, 8)},
        r"prompt_embeds has shape \(2, 5, 8\); this model takes \(b, n, 32\)": {
            "prompt_embeds": normal("x", 2, 5, 8)
        },
        "poses of 2 frames of 64 x 64 pixels given for a video of 3 frames of 64 x 64": {
            "pose_images": inputs["pose_images"][:, :, :2]
        },
        "latents of 6 x 8 .* multiples of 4": {"noisy_latents": inputs["noisy_latents"][..., :6, :]},
        "reference_latents of 4 x 8 given for latents of 8 x 8": {
            "reference_latents": inputs["reference_latents"][:, :, :4]
        },
        "warped_latents of 2 x 8 x 8": {
            "warped_latents": inputs["warped_latents"][:, :, :2],
            "warp_validity": inputs["warp_validity"][:, :, :2],
        },
        "warp_validity is missing": {"warp_validity": None},
        r"different batch sizes \(prompt_embeds 1": {"prompt_embeds": inputs["prompt_embeds"][:1]},
        "conditions of 2 videos given for 1 noisy ones": {
            "noisy_latents": inputs["noisy_latents"][:1],
            "timesteps": 5,
        },
        r"timesteps of shape \(3,\) given for 2 videos": {"timesteps": torch.ones(3)},
    }
    for message, change in cases.items():
        with pytest.raises(UserError, match=message) as error:
            tiny(**inputs | change)
        assert "\n" not in str(error.value)


def test_frames_that_do_not_divide_are_refused() -> None:
    denoiser = Denoiser(**PRESETS["tiny"] | {"temporal_downsample": (True, True)})
    with pytest.raises(UserError, match="3 frames given; this model takes a multiple of 4"):
        denoiser(**tiny_inputs())
