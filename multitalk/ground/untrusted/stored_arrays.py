"""Arrays out of what files tell of them: kind, shape and bytes are checked before anything is made."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from multitalk.ground.untrusted.pickle_records import PickleRefusedError, Record

Array = npt.NDArray[np.generic]

NUMBERS: Final = {f"{kind}{size}" for kind in "fiu" for size in (2, 4, 8)} | {"i1", "u1", "b1"}
"""Kinds of numbers that an array may have, as NumPy's pickles name them."""


def dtype_of(kind: Any) -> np.dtype[Any]:
    """Return the kind of number that a pickle means, if it is one."""
    if not isinstance(kind, Record) or kind.maker.name != "dtype" or not kind.arguments:
        raise PickleRefusedError("an array of no kind of number")
    name = kind.arguments[0]
    if not isinstance(name, str) or name.lstrip("<>|=") not in NUMBERS:
        raise PickleRefusedError(
            f"an array of {str(name)[:40] if isinstance(name, str) else 'objects'}, not of numbers"
        )
    order = "="
    for state in kind.states:
        # (version, byte order, sub-array, names, fields, ...): the middle three are None in plain numbers
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise PickleRefusedError("an array of compounds, not of numbers")
        order = state[1]
    if order not in ("<", ">", "|", "="):
        raise PickleRefusedError("an array of numbers in no known order of bytes")
    return np.dtype(f"{order}{name.lstrip('<>|=')}")


def bytes_of(value: Any) -> bytes:
    """Return bytes, as the protocols and Python 2 wrote them."""
    if isinstance(value, Record) and value.maker.name in ("bytes", "bytearray") and not value.arguments:
        return b""
    if isinstance(value, Record) and value.maker.name in ("encode", "bytes", "bytearray"):
        text, *encoding = value.arguments
        if not isinstance(text, str | bytes) or (encoding and encoding[0] not in ("latin1", "latin-1")):
            raise PickleRefusedError("bytes in another encoding than latin1")
        value = text
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes):
        raise PickleRefusedError(f"an array's bytes in a {type(value).__name__}")
    return value


def counts_of(values: Any, what: str) -> tuple[int, ...]:
    """Check a shape, or what is like one."""
    if isinstance(values, int) and not isinstance(values, bool):
        values = (values,)
    if not isinstance(values, tuple | list) or len(values) > 32:
        raise PickleRefusedError(f"a {what} that is none")
    if not all(type(value) is int and 0 <= value < 2**48 for value in values):
        raise PickleRefusedError(f"a {what} that is none: a negative or too large number")
    return tuple(values)


def view_of(flat: Array, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """Lay a tensor over its storage, which it must not leave."""
    if len(size) != len(stride):
        raise PickleRefusedError("a tensor whose size and stride differ in length")
    count = math.prod(size)
    if count == 0:
        return np.zeros(size, flat.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= flat.size or count > flat.size:
        raise PickleRefusedError(f"a tensor {size} that lies outside its {flat.size:,} numbers")
    steps = [step * flat.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, steps)


def dense_matrix(
    shape: tuple[int, ...], data: object, indices: object, starts: object, *, by_column: bool
) -> npt.NDArray[np.float64]:
    """Expand SciPy's compressed matrix.

    Raises
    ------
    PickleRefusedError
        When the stored indices do not fit the shape.
    """
    parts = (data, indices, starts)
    if len(shape) != 2 or not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
        raise PickleRefusedError("sparse matrix that lacks a part")
    assert isinstance(data, np.ndarray)
    assert isinstance(indices, np.ndarray)
    assert isinstance(starts, np.ndarray)
    major, minor = shape[::-1] if by_column else shape
    if data.dtype.kind not in "fiu" or any(part.dtype.kind not in "iu" for part in (indices, starts)):
        raise PickleRefusedError("sparse matrix that holds no numbers")
    ends = starts.astype(np.int64)
    counts = ends[1:] - ends[:-1]
    fits = starts.shape == (major + 1,) and indices.shape == data.shape == (starts[-1],)
    if not fits or ends[0] != 0 or (counts < 0).any():
        raise PickleRefusedError("sparse matrix with inconsistent indices")
    if len(indices) and not (indices.min() >= 0 and indices.max() < minor):
        raise PickleRefusedError("sparse matrix with indices outside its shape")
    dense = np.zeros((major, minor))
    np.add.at(dense, (np.repeat(np.arange(major), counts), indices), data.astype(np.float64))
    return dense.T if by_column else dense
