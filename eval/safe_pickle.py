"""Opening pickles from outside: only containers and numpy arrays come to life, the rest is refused.

Published masks and templates are pickles. Python's own unpickler would run whatever a file names, so this
one knows the few functions that numpy arrays need and nothing else.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 256 * 1024 * 1024

_NUMPY = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
}


class PickleRefusedError(ValueError):
    """The file names something that such a file has no need of."""


def _encode_bytes(text: str, encoding: str) -> bytes:
    """Do what protocol 2 calls for bytes, without the other codecs of `_codecs.encode`."""
    if encoding not in ("latin1", "latin-1"):
        raise PickleRefusedError(f"refused: bytes in encoding {encoding!r}")
    return text.encode("latin1")


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler for dicts, lists, numbers, text and numpy arrays."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """Return one of numpy's array constructors.

        Raises
        ------
        PickleRefusedError
            For every other name.
        """
        if module == "numpy" and name in ("ndarray", "dtype"):
            return {"ndarray": np.ndarray, "dtype": np.dtype}[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("_codecs", "encode"):
            return _encode_bytes
        package, _, part = module.rpartition(".")
        if package in ("numpy.core", "numpy._core") and (part, name) in _NUMPY:
            constructor: Callable[..., object] = getattr(importlib.import_module(f"numpy._core.{part}"), name)
            return constructor
        raise PickleRefusedError(f"refused: the file asks for {module}.{name}")


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a pickled dict of arrays, such as `FLAME_masks.pkl` or MultiTalk's `templates.pkl`.

    Raises
    ------
    PickleRefusedError
        The file asks for anything but numpy arrays.
    ValueError
        It is too large, no pickle, or no dict.
    OSError
        It can not be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES >> 20} MB, not a file of masks or templates")
    with path.open("rb") as file:
        try:
            content = ArrayUnpickler(file, encoding="latin1").load()
        except PickleRefusedError:
            raise
        except Exception as error:  # a broken pickle can raise anything
            raise ValueError(f"{path}: not a readable pickle ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dict of arrays")
    return {str(key): np.asarray(value) for key, value in content.items()}
