"""Checkpoints: round trip, damage noticed, the oldest removed, a failed write harmless."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from utils.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.files import read_json, write_json


def save(folder: Path, step: int, keep: int = 2) -> Path:
    weights = {"weight": torch.full((3, 2), float(step))}
    return save_checkpoint(folder, step, {"raw": weights}, {"lr": 0.1, "step": step}, {"seed": 7}, keep)


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    step, modules, state, settings = load_checkpoint(save(tmp_path, 5))
    assert step == 5
    assert torch.equal(modules["raw"]["weight"], torch.full((3, 2), 5.0))
    assert (state, settings) == ({"lr": 0.1, "step": 5}, {"seed": 7})


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 100):
        save(tmp_path, step)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_00000010", "step_00000100"]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_unfinished_checkpoint_is_not_listed_and_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".step_00000003.tmp").mkdir(parents=True)
    (tmp_path / ".step_00000003.tmp" / "raw.safetensors").write_bytes(b"half")
    assert list_checkpoints(tmp_path) == []
    load_checkpoint(save(tmp_path, 3))
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000003"]


@pytest.mark.parametrize("name", ["raw.safetensors", "state.pt"])
def test_a_flipped_byte_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=name):
        load_checkpoint(path.parent)


@pytest.mark.parametrize(
    "change", [lambda m: m | {"step": 2}, lambda m: {k: v for k, v in m.items() if k != "settings"}, list]
)
def test_a_changed_manifest_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    path = save(tmp_path, 1) / "checkpoint.json"
    write_json(path, change(read_json(path)))
    with pytest.raises(UserError, match=r"checkpoint\.json is damaged"):
        load_checkpoint(path.parent)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "state.pt").unlink()
    with pytest.raises(UserError, match=r"state\.pt is missing"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_last_good_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "step_00000002").write_text("a file where the folder should go")
    with pytest.raises(UserError, match="step_00000002"):
        save(tmp_path, 2)
    assert load_checkpoint(list_checkpoints(tmp_path)[-1])[0] == 1


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in save(tmp_path, 1).iterdir()}
    (tmp_path / "usual").touch()
    assert modes == {(tmp_path / "usual").stat().st_mode & 0o777}
