"""`pip install .` finds every package, and accepts the versions that the requirements files pin."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(name: str) -> dict[str, str]:
    """Versions by package that a requirements file pins itself."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if re.match(r"\w", line))


@pytest.mark.parametrize(
    ("file", "ranges"),
    [
        ("requirements.txt", PYPROJECT["project"]["dependencies"]),
        ("requirements-render.txt", PYPROJECT["project"]["optional-dependencies"]["render"]),
        ("requirements-large.txt", PYPROJECT["project"]["optional-dependencies"]["large"]),
        ("requirements-app.txt", PYPROJECT["project"]["optional-dependencies"]["app"]),
    ],
)
def test_the_ranges_admit_the_pinned_versions(file: str, ranges: list[str]) -> None:
    requirements = {requirement.name: requirement for requirement in map(Requirement, ranges)}
    assert requirements.keys() == pins(file).keys()
    for name, version in pins(file).items():
        assert version in requirements[name].specifier, f"{requirements[name]} refuses {version}"
        assert len(requirements[name].specifier) == 2, f"{requirements[name]} lacks a lower or an upper end"


def test_every_folder_of_code_is_installed() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/*.py")}
    packages = {".".join(f.parts) for f in folders if not {"tests", "docs", "build"} & set(f.parts)}
    packages = {
        p for p in packages if not p.startswith(".") and (ROOT / p.split(".")[0] / "__init__.py").exists()
    }
    assert {"data", "data.synthetic", "generation", "recipe"} <= packages
    for package in packages:
        assert any(fnmatch.fnmatchcase(package, pattern) for pattern in patterns), f"{package} is not listed"
        assert (ROOT / package.replace(".", "/") / "__init__.py").exists(), f"{package} has no __init__.py"


@pytest.mark.parametrize(("package", "folder"), [("data.synthetic", "assets"), ("page", ".")])
def test_data_files_of_the_packages_are_installed(package: str, folder: str) -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"][package]
    root = ROOT / package.replace(".", "/")
    files = [path for path in (root / folder).iterdir() if path.is_file() and path.suffix != ".py"]
    assert files
    for path in files:
        name = path.relative_to(root).as_posix()
        assert any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns), name
