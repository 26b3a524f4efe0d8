"""Imports point one way through the tree: the rules are those of CONTRIBUTING.md, for whatever is there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEVELS = (
    {"utils"},
    {"models", "warping"},
    {"data", "diffusion"},
    {"generation", "training"},
    {"evaluation", "page"},
    {"preparation"},
)
"""From the bottom up: a package imports itself and what lies on lower levels."""
SCRIPT_FOLDERS = {"", "recipe", "benchmarks"}
"""Their files import any package; those with a `main` are scripts, which nobody imports."""
NOT_OURS = {"tests", "docs"}


def package_folders() -> set[str]:
    return {path.parent.name for path in ROOT.glob("*/*.py")} - NOT_OURS


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def our_files() -> list[Path]:
    folders = package_folders()
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    """Names of the modules that a file imports, at whatever depth of the code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def script_names() -> set[str]:
    """Modules that are run: the root's files, and those of the folders of scripts that have a `main`."""
    scripts = set()
    for path in our_files():
        folder = path.parent.relative_to(ROOT).as_posix().removeprefix(".")
        if folder in SCRIPT_FOLDERS and "def main(" in path.read_text(encoding="utf-8"):
            scripts.add(module_name(path))
    return scripts


def test_every_folder_of_code_has_its_level() -> None:
    assert package_folders() == set().union(*LEVELS) | SCRIPT_FOLDERS - {""}
    assert not (ROOT / "docs" / "__init__.py").exists()


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_package_imports_itself_and_what_lies_below_it(level: int) -> None:
    below = set().union(*LEVELS[:level])
    known = package_folders() | script_names()
    for package in LEVELS[level]:
        for path in (ROOT / package).rglob("*.py"):
            found = {name.split(".")[0] for name in imported_modules(path)} & known
            assert found <= below | {package}, f"{path} imports {sorted(found - below - {package})}"


def test_no_file_imports_a_script() -> None:
    scripts = script_names()
    assert {"inference", "train", "recipe.train_vae", "benchmarks.long_video"} <= scripts
    for path in our_files():
        found = imported_modules(path) & (scripts - {module_name(path)})
        assert not found, f"{path} imports {sorted(found)}"


def test_only_tests_import_tests() -> None:
    for path in our_files():
        found = {name.split(".")[0] for name in imported_modules(path)} & NOT_OURS
        assert not found, f"{path} imports {sorted(found)}"
