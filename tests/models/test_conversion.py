"""Published files to denoisers and back, and every way in which a file can be wrong."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import (
    PRESETS,
    Denoiser,
    load_denoiser,
    published_shapes,
    published_to_state_dict,
    save_published,
    state_dict_to_published,
)
from tests.models.recipes import TOY, seeded_checkpoint
from utils.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, dict[str, torch.Tensor]]:
    return seeded_checkpoint(TOY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved denoiser of the tiny preset."""
    path = tmp_path / "tiny"
    Denoiser(**PRESETS["tiny"]).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def published_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published sizes as training leaves it: prefixes in a group, optimizer state, epoch.

    Every tensor repeats one stored number, so the file is small.
    """
    groups: dict[str, Any] = {
        group: {name: torch.tensor(0.25).expand(shape) for name, shape in shapes.items()}
        for group, shapes in published_shapes().items()
    }
    groups["pose_net"]["scale"] = torch.tensor([3.0])
    groups["app_net"] = {f"module.{name}": tensor for name, tensor in groups["app_net"].items()}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    path = tmp_path_factory.mktemp("published") / "model_9.pth"
    torch.save(groups | {"opt": optimizer.state_dict(), "epoch": 9}, path)
    return path


def test_there_and_back_loses_nothing(checkpoint: dict[str, dict[str, torch.Tensor]]) -> None:
    denoiser = Denoiser(**TOY)
    denoiser.load_state_dict(published_to_state_dict(checkpoint, TOY))
    back = state_dict_to_published(denoiser.state_dict(), TOY)
    assert {g: sorted(part) for g, part in back.items()} == {g: sorted(p) for g, p in checkpoint.items()}
    for group, part in back.items():
        for name, tensor in part.items():
            assert torch.equal(tensor, checkpoint[group][name]), name


def test_what_is_not_used_is_kept_but_not_trained() -> None:
    with torch.device("meta"):
        published, own = Denoiser(), Denoiser(**PRESETS["small"])
    names = sorted(name for name, _ in published.named_buffers())
    assert [name for name in names if name.startswith("appearance_encoder")] == [
        "appearance_encoder.unused_input.bias",
        "appearance_encoder.unused_input.weight",
        "appearance_encoder.unused_projection.bias",
        "appearance_encoder.unused_projection.weight",
    ]
    assert all("unused" in name for name in names)
    assert not list(own.named_buffers())


def test_every_difference_is_named(checkpoint: dict[str, dict[str, torch.Tensor]]) -> None:
    broken = {group: dict(part) for group, part in checkpoint.items()}
    del broken["unet"]["mid_block1.block1.norm.weight"]
    del broken["pose_net"]["scale"]
    broken["unet"]["conv_in.spatial_conv.weight"] = torch.zeros(16, 5, 7, 7)
    broken["app_net"]["conv_extra.bias"] = torch.zeros(1)
    broken["app_net"]["conv_in.bias"] = "text"
    with pytest.raises(UserError) as error:
        published_to_state_dict(broken, TOY, "model_1.pth")
    message = str(error.value)
    assert message.startswith("model_1.pth does not fit the denoiser, 5 tensor(s) differ")
    for part in (
        "missing: unet/mid_block1.block1.norm.weight 32",
        "missing: pose_net/scale 1",
        "shape: unet/conv_in.spatial_conv.weight is 16x5x7x7, must be 16x4x7x7",
        "unknown: app_net/conv_extra.bias",
        "not a tensor: app_net/conv_in.bias (a str)",
    ):
        assert part in message
    assert "\n" not in message


def test_a_model_that_the_file_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match="save this one as a folder with save_pretrained"):
        state_dict_to_published(Denoiser(**PRESETS["tiny"]).state_dict(), PRESETS["tiny"])


def test_published_file_loads(published_path: Path) -> None:
    denoiser = load_denoiser(published_path)
    assert not denoiser.training
    assert denoiser.dtype == torch.float32
    assert denoiser.pose_encoder.scale.item() == 3
    assert all(parameter.requires_grad for parameter in denoiser.parameters())


def test_published_file_is_written(tmp_path: Path) -> None:
    with torch.device("meta"):
        denoiser = Denoiser()
    repeated = {name: torch.tensor(0.5).expand(t.shape) for name, t in denoiser.state_dict().items()}
    denoiser.load_state_dict(repeated, assign=True)
    path = tmp_path / "out" / "model_0.pth"
    save_published(denoiser, path)
    groups = torch.load(path, weights_only=True)
    assert {
        g: {n: tuple(t.shape) for n, t in part.items()} for g, part in groups.items()
    } == published_shapes()
    assert list(path.parent.iterdir()) == [path]


def test_a_denoiser_of_other_sizes_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this denoiser differs in block_out_channels, text_attention_heads"):
        save_published(Denoiser(**TOY), tmp_path / "model_0.pth")
    assert not list(tmp_path.iterdir())


def test_folder_and_pipeline_folder_load(folder: Path, tmp_path: Path) -> None:
    direct = load_denoiser(folder)
    (tmp_path / "pipeline").mkdir()
    folder.rename(tmp_path / "pipeline" / "denoiser")
    through = load_denoiser(str(tmp_path / "pipeline"))
    assert not through.training
    for name, tensor in through.state_dict().items():
        assert torch.equal(tensor, direct.state_dict()[name])


def test_loaded_weights_do_not_depend_on_the_file(folder: Path) -> None:
    denoiser = load_denoiser(folder)
    (folder / WEIGHTS).write_bytes(b"")
    assert all(parameter.isfinite().all() for parameter in denoiser.parameters())


def test_half_precision_file_loads_in_float32(folder: Path) -> None:
    save_file({k: v.half() for k, v in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    assert {p.dtype for p in load_denoiser(folder).parameters()} == {torch.float32}


class Malicious:
    """A pickle that would make a file when loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, legacy: bool) -> None:
    path, mark = tmp_path / "model_1.pth", tmp_path / "ran"
    if legacy:
        path.write_bytes(pickle.dumps({"unet": Malicious(mark)}, protocol=2))
    else:
        torch.save({"unet": Malicious(mark)}, path)
    with pytest.raises(UserError, match="would run code") as error:
        load_denoiser(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not mark.exists()


def test_damaged_files_are_refused(published_path: Path, folder: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(published_path.read_bytes()[:60_000])
    text = tmp_path / "text.pth"
    text.write_text("not a checkpoint")
    empty = tmp_path / "empty.pth"
    empty.touch()
    numbers = tmp_path / "numbers.pth"
    torch.save([1, 2], numbers)
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {}}, other)
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    for path, message in (
        (truncated, "damaged"),
        (text, "damaged"),
        (empty, "damaged"),
        (numbers, "holds a list"),
        (other, "lacks the group.* unet, app_net, pose_net"),
        (folder, "damaged"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_denoiser(path)
        assert path.name in str(error.value)
        assert "\n" not in str(error.value)


def test_missing_paths_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no denoiser at .*nowhere.*published \.pth file"):
        load_denoiser(tmp_path / "nowhere")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=f"{WEIGHTS} or .* is missing"):
        load_denoiser(folder)


def test_folder_whose_tensors_do_not_fit_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["pose_encoder.scale"]
    tensors["unet.conv_in.spatial.bias"] = torch.zeros(3)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(UserError, match="2 tensor") as error:
        load_denoiser(folder)
    assert "missing: pose_encoder.scale" in str(error.value)
    assert "shape: unet.conv_in.spatial.bias is 3, must be 16" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "needs a config.json"),
        ('{"_class_name": "UNet2DModel"}', "holds a UNet2DModel; a denoiser here is one of Denoiser"),
        ('{"_class_name": "Denoiser", "blocks": 3}', "settings that a Denoiser does not have: blocks"),
        ('{"_class_name": "Denoiser", "block_out_channels": [7]}', r"block_out_channels \[7\]"),
    ],
)
def test_folder_with_a_wrong_config_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_denoiser(folder)
    assert str(folder) in str(error.value)
