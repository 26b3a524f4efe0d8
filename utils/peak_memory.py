"""How much main memory this process has held."""

import importlib
import sys


def peak_main_memory() -> int:
    """The most bytes of main memory that this process held; 0 where the system does not say (Windows)."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
