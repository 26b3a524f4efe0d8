"""No output takes the place of an input."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.paths import is_same_path, refuse_overwrites

ROOT = Path(__file__).resolve().parents[2]
LIST_DEFAULTS = """
import dataclasses, importlib, sys
from pathlib import Path
for name in sys.argv[1:]:
    for field in dataclasses.fields(importlib.import_module(name).Config):
        for value in field.default if isinstance(field.default, tuple) else [field.default]:
            if isinstance(value, Path):
                print(name, field.name, value)
"""


def test_what_ships_is_found_from_any_folder(tmp_path):
    """Each script that has settings names what ships with the code by a path that holds elsewhere too."""
    files = [*ROOT.glob("*.py"), *(ROOT / "recipe").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    scripts = [path for path in files if "class Config" in path.read_text(encoding="utf-8")]
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in scripts]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIST_DEFAULTS, *names, "data.synthetic.phone"]
    listed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    defaults = [line.split(" ", 2) for line in listed.stdout.splitlines()]
    shipped = [line for line in defaults if Path(line[2]).is_absolute()]
    assert {"train vae", "train text_encoder", "project_latent_space vae"} <= {
        f"{name} {field}" for name, field, _ in shipped
    }
    assert all(Path(path).exists() for _, _, path in shipped)
    for name, field, path in defaults:
        assert Path(path).parts[:1] not in [("pretrained_model",), ("fashion_dataset",)], (
            f"{name} --{field} {path}"
        )


def spellings(path: Path, tmp_path: Path) -> dict[str, Path]:
    link, hard = tmp_path / "link", tmp_path / "hard.png"
    link.symlink_to(path.parent)
    os.link(path, hard)
    direct = tmp_path / "direct.png"
    direct.symlink_to(path)
    return {
        "same": path,
        "dots": path.parent / ".." / path.parent.name / "." / path.name,
        "folder link": link / path.name,
        "link": direct,
        "hard link": hard,
        "case": path.with_name(path.name.upper()),
        "unicode": path.with_name(unicodedata.normalize("NFD", path.name)),
        "relative": Path(os.path.relpath(path)),
    }


@pytest.mark.parametrize(
    "kind", ["same", "dots", "folder link", "link", "hard link", "case", "unicode", "relative"]
)
def test_every_spelling_of_an_input_is_refused(tmp_path, kind):
    photo = tmp_path / "photos" / "phöto.png"
    photo.parent.mkdir()
    photo.write_bytes(b"picture")
    spelling = spellings(photo, tmp_path)[kind]
    with pytest.raises(UserError, match="would be overwritten") as error:
        refuse_overwrites([tmp_path / "out" / "a.mp4", spelling], [photo])
    assert "\n" not in str(error.value) and photo.name in str(error.value)
    assert photo.read_bytes() == b"picture"


def test_outputs_beside_inputs_are_fine(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"")
    poses = tmp_path / "poses"
    poses.mkdir()
    (poses / "000.png").write_bytes(b"")
    outputs = [tmp_path / name for name in ("photo.png", "photo.mp4", "photo.json", "photo_poses")]
    refuse_overwrites(outputs, [photo, poses, tmp_path / "missing.json"])


def test_an_output_that_does_not_exist_yet_meets_an_input_through_a_missing_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert is_same_path(tmp_path / "link/new.png", tmp_path / "there/new.png")
    assert not is_same_path(tmp_path / "link/new.png", tmp_path / "there/other.png")


def test_a_replaced_folder_may_hold_no_input_and_a_read_folder_loses_no_file(tmp_path):
    folder = tmp_path / "photo_poses"
    folder.mkdir()
    (folder / "000.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"000\.png"):
        refuse_overwrites([folder], [folder / "000.png"])
    with pytest.raises(UserError, match="photo_poses"):
        refuse_overwrites([folder / "000.png"], [folder])
    refuse_overwrites([folder / "new.png"], [folder])
    (folder / "result").mkdir()
    (folder / "result" / "a.mp4").write_bytes(b"")
    refuse_overwrites([folder / "result" / "a.mp4", folder / "result"], [folder])
    with pytest.raises(UserError, match=r"a\.mp4 lies in"):
        refuse_overwrites([folder / "result" / "a.mp4"], [], [folder])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=8), min_size=1))
def test_a_path_is_itself_by_any_detour(names):
    path = Path("/nowhere").joinpath(*names)
    detour = Path("/nowhere")
    for name in names:
        detour = detour / "x" / ".." / "." / name
    assert is_same_path(path, detour)
    assert not is_same_path(path, path / "more")
