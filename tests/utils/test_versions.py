"""What the record beside a video says about the packages."""

import json

import numpy as np
import torch

from utils.versions import package_versions


def test_versions_are_those_of_the_packages_in_use() -> None:
    versions = package_versions()
    assert (versions["torch"], versions["numpy"]) == (torch.__version__, np.__version__)
    assert {"python", "diffusers", "transformers"} <= versions.keys()
    assert json.loads(json.dumps(versions)) == versions
