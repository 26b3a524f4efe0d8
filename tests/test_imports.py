"""Imports point one way through the tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"models", "diffusion", "data", "warping", "evaluation", "utils"}
ALLOWED = {
    "utils": {"utils"},
    "models": {"models", "utils"},
    "warping": {"warping", "utils"},
    "data": {"data", "warping", "utils"},
    "diffusion": {"diffusion", "models", "warping", "utils"},
    "evaluation": {"evaluation", "data", "diffusion", "warping", "utils"},
    "training": {"training", "data", "diffusion", "models", "warping", "utils"},
}


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        scripts = {p.stem for p in ROOT.glob("*.py")}
        assert imported_packages(path) & (PACKAGES | scripts) <= ALLOWED[package], path
