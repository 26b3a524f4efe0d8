"""Compiled loops: numba's `njit`, the same bytes on every machine, or one line that says how to get it."""

import functools

from utils.errors import UserError

try:
    import numba
except ImportError as error:
    raise UserError(
        "rendering synthetic people needs numba, which is not installed; "
        "type: pip install -r requirements-render.txt"
    ) from error

njit = functools.partial(numba.njit, cache=True, nogil=True, fastmath=False, error_model="numpy")
"""Decorator for a compiled function: cached on disk, without fast-math, `@njit` or `@njit()`."""
