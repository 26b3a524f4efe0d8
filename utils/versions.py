"""The versions of the packages that a video's pixels depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch", "numpy", "diffusers", "transformers", "tokenizers", "safetensors", "peft",
    "opencv-python-headless", "pillow", "av",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Version of Python and of each package that is installed, by name, for the record beside a video."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # such as opencv-python in place of the headless one
            continue
    return versions
