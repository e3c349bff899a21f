"""The one reader of pickles from outside: it makes plain values and arrays of numbers, and nothing else.

`ground.untrusted.pickle_records` takes the pickle apart without calling anything; `ground.untrusted.pickle_builder`
makes arrays from the notes, after checks: the kind of number is one of a few, and the bytes are as many as the
shape takes. So it is with FLAME's chumpy objects, SciPy's matrices and torch's tensors; any other object is left as
its state at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from multitalk.ground.untrusted.array_files import npy_header
from multitalk.ground.untrusted.files import GIB, UntrustedFileError, read_untrusted
from multitalk.ground.untrusted.pickle_builder import SPARSE, Builder, Left, is_array_part
from multitalk.ground.untrusted.pickle_records import Named, PickleRefusedError, Record, read_records
from multitalk.ground.untrusted.stored_arrays import Array
from multitalk.ground.untrusted.torch_layout import is_storage

LARGEST_PICKLE = GIB
"""Bytes of a pickled model: FLAME's largest has 51 MB, SMPL's 247 MB."""


def is_flame_part(named: Named) -> bool:
    """Tell whether FLAME's files may name it."""
    module, name = named.module, named.name
    return (
        is_array_part(named)
        or module.partition(".")[0] == "chumpy"
        or (module.startswith("scipy.sparse") and name in SPARSE)
        or (module in ("copyreg", "copy_reg") and name == "_reconstructor")
        or (module in ("builtins", "__builtin__") and name in ("object", "set"))
    )


def is_tensor_part(named: Named) -> bool:
    """Tell whether tensors are made of it."""
    module, name = named.module, named.name
    return (
        is_array_part(named)
        or is_storage(named)
        or (
            module == "torch._utils"
            and name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")
        )
        or (module == "torch.storage" and name == "_load_from_bytes")
        or (module == "torch" and name == "Size")
    )


def load_pickle(path: Path) -> Any:
    """Load a pickle of arrays, such as FLAME's model.

    Parameters
    ----------
    path
        The file, written by Python 2 or 3.

    Returns
    -------
    object
        Plain values, dicts, lists and arrays; SciPy's matrices and chumpy's objects as arrays; `Left` for others.

    Raises
    ------
    UntrustedFileError
        When the file cannot be read, is no pickle, or asks for what a model has no need of.
    """
    with refusing(path):
        return unpickled(read_untrusted(path, LARGEST_PICKLE), path)


def unpickled(data: bytes, path: Path) -> Any:
    """Load a pickle that was read already; `path` is only told in errors. Else as `load_pickle`."""
    with refusing(path):
        content, _ = read_records(data, is_flame_part)
        return Builder().plain(content)


def load_arrays(path: Path) -> dict[str, Array]:
    """Load a pickled dict of arrays, such as FLAME's masks or MultiTalk's `templates.pkl`.

    Raises
    ------
    UntrustedFileError
        As `load_pickle`, and when the file holds anything but such a dict.
    """
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise UntrustedFileError(f"{path} holds a {type(content).__name__}, not a dict of arrays")
    with refusing(path):
        return {str(key): array_of(value) for key, value in content.items()}


def load_array_pickle(path: Path) -> Any:
    """Load the object in a `.npy` file that is a pickle, with torch tensors among the arrays.

    Raises
    ------
    UntrustedFileError
        As `load_pickle`.
    """
    with refusing(path):
        data = read_untrusted(path, LARGEST_PICKLE)
        kind, shape, _, start = npy_header(data)
        if shape != () or kind != "|O":
            raise PickleRefusedError(f"it holds a {kind} array {shape} instead of one object")
        content, _ = read_records(data, is_tensor_part, start)
        arguments = content.arguments if isinstance(content, Record) else ()
        states = content.states if isinstance(content, Record) else []
        # An array of one object: its state ends with the list of objects.
        if len(arguments) != 3 or len(states) != 1 or not isinstance(states[0], tuple) or len(states[0]) != 5:
            raise PickleRefusedError("no array of one object")
        objects = states[0][4]
        if not isinstance(objects, list) or len(objects) != 1:
            raise PickleRefusedError("no array of one object")
        return Builder(tensor=lambda found: found.numbers).plain(objects[0])


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Tell of whatever goes wrong while a file is read by one kind of error."""
    try:
        yield
    except UntrustedFileError:
        raise
    except OSError as error:
        raise UntrustedFileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file raises almost anything
        message = str(error) or type(error).__name__
        raise UntrustedFileError(
            f"{path} was refused: {message}; download it again from its publisher"
        ) from error


def array_of(value: object) -> Array:
    """Return an array, or make one of a list of numbers.

    Raises
    ------
    ValueError
        When there is none.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list) and value and all(type(item) in (int, float) for item in value):
        try:
            return np.array(value, np.float64 if float in map(type, value) else np.int64)
        except OverflowError as error:
            raise ValueError("a list of numbers that are too large") from error
    kind = value.kind if isinstance(value, Left) else type(value).__name__
    raise ValueError(f"no array is stored, but a {kind}")
