"""Open pickles from outside without letting them run anything.

A pickle names the classes that it wants to build; only those that FLAME's files need are given, and chumpy's
and scipy's are replaced by stand-ins that keep their state. Everything else is refused before it is built.
"""

from __future__ import annotations

import codecs
import copyreg
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from fit_flame.head_model import HeadModelError


class ChumpyArray:
    """Stand-in for chumpy's classes: keeps the state that was stored, runs no chumpy code."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}


class SparseMatrix:
    """Stand-in for scipy's compressed matrices of any scipy version."""

    by_column = True

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}

    def dense(self) -> np.ndarray:
        """Expand to a (rows, columns) float64 array.

        Raises
        ------
        ValueError
            When the stored indices do not fit the stored shape.
        """
        try:
            rows, columns = (int(n) for n in self.state.get("_shape", self.state.get("shape", ())))
            data, indices, starts = (np.asarray(self.state[key]) for key in ("data", "indices", "indptr"))
        except (KeyError, TypeError) as error:
            raise ValueError(f"sparse matrix lacks {error}") from error
        major, minor = (columns, rows) if self.by_column else (rows, columns)
        counts = np.diff(starts)
        if len(starts) != major + 1 or (counts < 0).any() or counts.sum() != len(data) != len(indices):
            raise ValueError("sparse matrix with inconsistent indices")
        if len(indices) and not (indices.min() >= 0 and indices.max() < minor):
            raise ValueError("sparse matrix with indices outside its shape")
        dense = np.zeros((major, minor))
        np.add.at(dense, (np.repeat(np.arange(major), counts), indices), data.astype(np.float64))
        return dense.T if self.by_column else dense


class RowSparseMatrix(SparseMatrix):
    """The same, compressed by rows."""

    by_column = False


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def _numpy_functions() -> dict[tuple[str, str], Any]:
    """Numpy's own rebuilding functions, under the old and the new module path."""
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    from_buffer = np.zeros(1).__reduce_ex__(5)[0]
    return (
        {(module, "_reconstruct"): reconstruct for module in _MULTIARRAY}
        | {(module, "scalar"): scalar for module in _MULTIARRAY}
        | {(module, "_frombuffer"): from_buffer for module in _NUMERIC}
    )


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("copy_reg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
    ("copyreg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("_codecs", "encode"): codecs.encode,
    ("collections", "OrderedDict"): OrderedDict,
} | _numpy_functions()

_SPARSE = {"csc_matrix": SparseMatrix, "csr_matrix": RowSparseMatrix}
_SPARSE_MODULES = (
    "scipy.sparse",
    "scipy.sparse.csc",
    "scipy.sparse.csr",
    "scipy.sparse._csc",
    "scipy.sparse._csr",
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", 1)[0] == "chumpy":
            return ChumpyArray
        if module in _SPARSE_MODULES and name in _SPARSE:
            return _SPARSE[name]
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no such file needs") from None


def load_pickle(path: Path) -> Any:
    """Load a pickle of arrays.

    Parameters
    ----------
    path
        The file, written by Python 2 or 3.

    Raises
    ------
    HeadModelError
        When the file cannot be read, is no pickle, or asks for a class outside the allow-list.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise HeadModelError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise HeadModelError(f"{path} was refused: {error}; download it again from its publisher") from error


class _TensorUnpickler(_Unpickler):
    """The same, for files with torch tensors among the arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            from torch._utils import _rebuild_tensor_v2

            return _rebuild_tensor_v2
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage
        return super().find_class(module, name)


def _load_storage(data: bytes) -> object:
    """Rebuild a tensor's storage with torch's own restricted unpickler."""
    import torch

    return torch.load(io.BytesIO(data), weights_only=True)


def load_array_pickle(path: Path) -> Any:
    """Load the object in a `.npy` file that is a pickle.

    Raises
    ------
    HeadModelError
        As `load_pickle`.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            if shape != () or dtype.kind != "O":
                raise ValueError(f"it holds a {dtype} array {shape} instead of one object")
            return _TensorUnpickler(file, encoding="latin1").load()[()]
    except OSError as error:
        raise HeadModelError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise HeadModelError(f"{path} was refused: {error}; download it again from its publisher") from error


def array_of(value: object) -> np.ndarray:
    """Return the array that a plain array, a chumpy object or a sparse matrix holds.

    Raises
    ------
    ValueError
        When there is none.
    """
    if isinstance(value, SparseMatrix):
        return value.dense()
    if isinstance(value, ChumpyArray):
        value = value.state.get("x")
    array = np.asarray(value)
    if array.dtype.kind == "O" or value is None:
        raise ValueError("no array is stored")
    return array
