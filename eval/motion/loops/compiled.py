"""Compile numerical loops when they are first called, and keep what was compiled for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

# Sums may be taken in any order, so that they run over whole vectors; that a number may be NaN stays true.
_FREEDOMS = {"reassoc", "contract", "nsz", "arcp"}


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Have numba compile a function of numbers and arrays; it runs without the interpreter's lock.

    Machine code is kept beside the source file, or in the user's cache folder where that can not be written;
    where neither can, each process compiles again. Functions that call each other must lie in one file: it
    is that file's date which tells whether what was kept is still valid.
    """
    try:
        return _compiled(loop, cache=True)
    except RuntimeError:  # there is no folder to keep it in
        return _compiled(loop, cache=False)


def _compiled(loop: Callable[P, R], *, cache: bool) -> Callable[P, R]:
    make = numba.njit(cache=cache, nogil=True, fastmath=_FREEDOMS, error_model="numpy")
    return cast("Callable[P, R]", make(loop))
