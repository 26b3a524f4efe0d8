"""Files are whole or absent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import atomic_folder, atomic_path, locked_folder, read_json, write_json

ROOT = Path(__file__).resolve().parents[2]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.x\.json"):
        write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_users_error(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="No space left"),
        atomic_path(tmp_path / "x.bin"),
        Path("/dev/full").open("wb", 0) as f,
    ):
        f.write(b"0")
    assert list(tmp_path.iterdir()) == []


def test_json_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "bom.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "bom.json") == {"a": 1}


def test_json_that_is_nested_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json is not valid JSON"):
        read_json(tmp_path / "deep.json")


def test_malformed_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json is not valid JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(UserError, match=r"cannot read .*none\.json"):
        read_json(tmp_path / "none.json")


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(old)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / content).write_text(content)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_locked_folder_is_refused_to_others_and_free_again_later(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoint"
    with locked_folder(folder):
        (folder / "weights").write_text("")
        with pytest.raises(UserError, match="another process writes into"), locked_folder(folder):
            pass
    with locked_folder(folder):
        pass
    assert (folder / "weights").is_file()


def test_a_lock_leaves_nothing_in_a_folder_of_others(tmp_path: Path) -> None:
    write_file(tmp_path / "theirs")
    with pytest.raises(RuntimeError), locked_folder(tmp_path):
        assert (tmp_path / ".lock").exists()
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["theirs"]


def test_a_lock_is_held_by_one_of_many(tmp_path: Path) -> None:
    count = """
import sys, time
from pathlib import Path
from utils.errors import UserError
from utils.files import locked_folder
folder, held = Path(sys.argv[1]), 0
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        with locked_folder(folder):
            with (folder / "inside").open("x"):
                pass
            time.sleep(0.001)
            (folder / "inside").unlink()
            held += 1
    except UserError:
        pass
print(held)
"""
    others = [
        subprocess.Popen([sys.executable, "-c", count, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    held = [int(process.communicate()[0]) for process in others]
    assert [process.returncode for process in others] == [0, 0, 0] and sum(held) > 3


def test_a_locked_folder_that_nothing_was_written_into_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked_folder(tmp_path / "run" / "checkpoint"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with locked_folder(tmp_path / "mine" / "checkpoint"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["mine"] and list((tmp_path / "mine").iterdir()) == []
    with (
        pytest.raises(UserError, match="cannot write into"),
        locked_folder(write_file(tmp_path / "file") / "x"),
    ):
        pass


def write_file(path: Path) -> Path:
    path.write_text("")
    return path
