"""Compile numerical loops when they are first called, and keep what was compiled for the next process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

# Sums may be taken in any order, so that they run over whole vectors; that a number may be NaN stays true.
_FREEDOMS = {"reassoc", "contract", "nsz", "arcp"}


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Have numba compile a function of numbers and arrays; it runs without the interpreter's lock.

    Machine code is kept beside the source file, or in the user's cache folder where that can not be written;
    where neither can, each process compiles again. Functions that call each other must lie in one file: it
    is that file's date which tells whether what was kept is still valid. Without numba, which comes with the
    extra `eval`, the function stays as it is.
    """
    if not has_numba():
        return loop
    try:
        return _compiled(loop, cache=True)
    except RuntimeError:  # there is no folder to keep it in
        return _compiled(loop, cache=False)


def compiled_else(arrays: Callable[P, R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Do as `compiled`, for loops that take too long uncompiled: without numba `arrays` stands in for them."""
    return compiled if has_numba() else lambda loop: arrays


def has_numba() -> bool:
    """Tell whether loops can be compiled on this machine."""
    try:
        return importlib.util.find_spec("numba") is not None
    except ValueError:  # put out of use, as `sys.modules["numba"] = None` does
        return False


def _compiled(loop: Callable[P, R], *, cache: bool) -> Callable[P, R]:
    import numba

    make = numba.njit(cache=cache, nogil=True, fastmath=_FREEDOMS, error_model="numpy")
    return cast("Callable[P, R]", make(loop))
