"""Open pickles from outside without letting them run anything.

A pickle names the classes that it wants to build; each kind of file is given only those that it needs. For
FLAME's files, chumpy's and scipy's are replaced by stand-ins that keep their state. Everything else is refused
before it is built.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from multitalk.fit_flame.heads.head_model import HeadModelError


class PickleRefusedError(ValueError):
    """The file names something that such a file has no need of."""


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
        if data.dtype.kind not in "fiu" or any(a.dtype.kind not in "iu" for a in (indices, starts)):
            raise ValueError("sparse matrix that holds no numbers")
        counts: np.ndarray = np.diff(starts.astype(np.int64), prepend=0)
        fits = starts.shape == (major + 1,) and indices.shape == data.shape == (starts[-1],)
        if not fits or starts[0] != 0 or (counts < 0).any():
            raise ValueError("sparse matrix with inconsistent indices")
        if len(indices) and not (indices.min() >= 0 and indices.max() < minor):
            raise ValueError("sparse matrix with indices outside its shape")
        dense = np.zeros((major, minor))
        np.add.at(dense, (np.repeat(np.arange(major), counts[1:]), indices), data.astype(np.float64))
        return dense.T if self.by_column else dense


class RowSparseMatrix(SparseMatrix):
    """The same, compressed by rows."""

    by_column = False


def _encode_bytes(text: str, encoding: str) -> bytes:
    """Do what protocol 2 calls for bytes, without the other codecs of `codecs.encode`."""
    if encoding not in ("latin1", "latin-1"):
        raise PickleRefusedError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


def _of(modules: tuple[str, ...], **classes: Any) -> dict[tuple[str, str], Any]:
    """Classes by module and name, where a module has had several paths."""
    return {(module, name): value for module in modules for name, value in classes.items()}


ARRAYS: Mapping[tuple[str, str], Any] = {
    **_of(("numpy",), ndarray=np.ndarray, dtype=np.dtype),
    **_of(
        ("numpy.core.multiarray", "numpy._core.multiarray"),
        _reconstruct=np.empty(0).__reduce__()[0],
        scalar=np.float64(0).__reduce__()[0],
    ),
    **_of(("numpy.core.numeric", "numpy._core.numeric"), _frombuffer=np.zeros(1).__reduce_ex__(5)[0]),
    **_of(("collections",), OrderedDict=OrderedDict),
    **_of(("_codecs",), encode=_encode_bytes),
}
"""What containers and numpy arrays of any numpy version are made of."""

_FLAME = {
    **ARRAYS,
    **_of(("copyreg", "copy_reg"), _reconstructor=copyreg._reconstructor),  # type: ignore[attr-defined]
    **_of(("builtins", "__builtin__"), object=object, set=set),
    **_of(("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc"), csc_matrix=SparseMatrix),
    **_of(("scipy.sparse", "scipy.sparse.csr", "scipy.sparse._csr"), csr_matrix=RowSparseMatrix),
}


class SafeUnpickler(pickle.Unpickler):
    """Unpickler that knows nothing but what it is told.

    Parameters
    ----------
    file
        The pickle.
    classes
        What may be built, by module and name as the file gives them.
    packages
        What stands in for every class of a top-level package.
    encoding
        Of texts that Python 2 wrote.
    """

    def __init__(
        self,
        file: IO[bytes],
        classes: Mapping[tuple[str, str], Any] = ARRAYS,
        packages: Mapping[str, Any] = MappingProxyType({}),
        encoding: str = "latin1",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._classes = classes
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """Return what the caller gave for this name.

        Raises
        ------
        PickleRefusedError
            If the caller gave nothing.
        """
        found = self._packages.get(module.partition(".")[0]) or self._classes.get((module, name))
        if found is None:
            raise PickleRefusedError(f"the file asks for {module}.{name}")
        return found


def load_pickle(path: Path) -> Any:
    """Load a pickle of arrays, such as FLAME's model.

    Parameters
    ----------
    path
        The file, written by Python 2 or 3.

    Raises
    ------
    HeadModelError
        When the file cannot be read, is no pickle, or asks for a class outside the allow-list.
    """
    with _refusing(path), path.open("rb") as file:
        return SafeUnpickler(file, _FLAME, {"chumpy": ChumpyArray}).load()


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load a pickled dict of arrays, such as FLAME's masks or MultiTalk's `templates.pkl`.

    Raises
    ------
    HeadModelError
        As `load_pickle`, and when the file holds anything but such a dict.
    """
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise HeadModelError(f"{path} holds a {type(content).__name__}, not a dict of arrays")
    return {str(key): np.asarray(value) for key, value in content.items()}


def load_array_pickle(path: Path) -> Any:
    """Load the object in a `.npy` file that is a pickle, with torch tensors among the arrays.

    Raises
    ------
    HeadModelError
        As `load_pickle`.
    """
    with _refusing(path), path.open("rb") as file:
        from torch._utils import _rebuild_tensor_v2

        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
        if shape != () or dtype.kind != "O":
            raise ValueError(f"it holds a {dtype} array {shape} instead of one object")
        tensors = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): _load_storage,
        }
        return SafeUnpickler(file, {**ARRAYS, **tensors}).load()[()]


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Tell of whatever goes wrong while a file is read by one kind of error."""
    try:
        yield
    except OSError as error:
        raise HeadModelError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise HeadModelError(f"{path} was refused: {error}; download it again from its publisher") from error


def _load_storage(data: bytes) -> object:
    """Rebuild a tensor's storage with torch's own restricted unpickler."""
    import torch

    return torch.load(io.BytesIO(data), weights_only=True)


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
