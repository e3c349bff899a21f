"""Reading `.npy` and `.npz` files from outside: plain arrays of numbers, as many bytes as their shape takes.

NumPy's own reader evaluates the header as Python, makes arrays of whatever kind it names, and unpacks a zip bomb.
"""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from multitalk.ground.untrusted.files import GIB, UntrustedFileError, open_untrusted, read_untrusted

Array = npt.NDArray[np.generic]

LARGEST_ARRAYS = 8 * GIB
"""Bytes of a file's arrays, unpacked."""
_HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'([^'\\]{1,20})',\s*'fortran_order':\s*(True|False),\s*"
    r"'shape':\s*\(((?:\d{1,15},?\s*){0,32})\),?\s*\}\s*"
)
_KINDS: Final = re.compile(r"[<>|=]?(?:[fiu][248]|[iub]1|U\d{1,4})")
"""Numbers, truth values and short texts."""


def read_npy(path: Path, largest: int = LARGEST_ARRAYS) -> Array:
    """Read a `.npy` file.

    Raises
    ------
    UntrustedFileError
        When it is damaged, holds anything but numbers or short texts, or is too large.
    OSError
        When it can not be opened.
    """
    try:
        return array_from(read_untrusted(path, largest))
    except UntrustedFileError:
        raise
    except ValueError as error:
        raise UntrustedFileError(f"{path} was refused: {error}") from error


def read_npz(path: Path, largest: int = LARGEST_ARRAYS) -> dict[str, Array]:
    """Read all arrays of an `.npz` file by name.

    Raises
    ------
    UntrustedFileError
        As `read_npy`; also when it is a zip bomb.
    OSError
        When it can not be opened.
    """
    with open_untrusted(path, largest) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if (size := sum(entry.file_size for entry in entries)) > largest:
                    raise ValueError(f"its arrays take {size:,} bytes, more than {largest:,}")
                return {
                    entry.filename.removesuffix(".npy"): array_from(_member(archive, entry))
                    for entry in entries
                }
        except Exception as error:  # zip and its decompressors raise almost anything
            raise UntrustedFileError(f"{path} was refused: {error or type(error).__name__}") from error


def array_from(data: bytes) -> Array:
    """Make the array that a `.npy` file holds.

    Raises
    ------
    ValueError
        When it is none, or none of numbers.
    """
    kind, shape, by_column, start = npy_header(data)
    if not _KINDS.fullmatch(kind):
        raise ValueError(f"it holds an array of {kind}, not of numbers")
    dtype = np.dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array {shape} of {kind} in {len(data) - start:,} bytes")
    if dtype.kind == "b" and data[start:].translate(None, b"\0\1"):
        raise ValueError("it holds truth values that are neither true nor false")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(bytearray(data[start:]), dtype).reshape(shape, order="F" if by_column else "C")


def npy_header(data: bytes) -> tuple[str, tuple[int, ...], bool, int]:
    """Read the kind, the shape, whether columns lie together, and where the numbers begin.

    Raises
    ------
    ValueError
        When there is no such header, or its kind is no single one.
    """
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise ValueError("it is no .npy file")
    wide = 2 if data[6] == 1 else 4
    start = 8 + wide + int.from_bytes(data[8 : 8 + wide], "little")
    found = _HEADER.fullmatch(data[8 + wide : min(start, 10_000)].decode("latin1"))
    if found is None or start > len(data):
        raise ValueError("its header tells of no plain array of numbers")
    shape = tuple(int(n) for n in re.findall(r"\d+", found[3]))
    return found[1], shape, found[2] == "True", start


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpack one member, never beyond the size that it tells."""
    with archive.open(entry) as file:
        data = file.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise ValueError(f"{entry.filename[:80]!r} has not the size that it tells")
    return data
