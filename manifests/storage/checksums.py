"""Checksums by which `verify` finds any change of what the manifest names.

XXH3 (128 bits) beside SHA-256: it is about twenty times cheaper, so that sound, landmarks and motion can be
checked as fast as the disk delivers them. It finds damage, not forgery: whoever can choose the bytes can keep the
checksum. What is published stands on SHA-256 (`clip_sha256`, releases).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

_CHUNK = 1 << 20


def file_xxh3(path: Path) -> str:
    """XXH3 of a file's bytes, 32 hex digits."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def row_xxh3(row: Mapping[str, Any]) -> str:
    """XXH3 of a clip's row of a motion or landmarks file, as `manifests.tables.row_arrays` gives it, 32 hex digits.

    It is taken of the values, in a form of their own (name, type, shape, little-endian bytes, by column name), so
    that merged files, other compression or the order of columns do not change it. A column that is null does not
    count: columns that come later leave the checksums of earlier rows as they are.
    """
    digest, little = xxhash.xxh3_128(), sys.byteorder == "little"
    for name in sorted(row):
        if row[name] is None:
            continue
        value = row[name]
        if isinstance(value, str):
            kind, content = "text", value.encode()
        else:
            # A single number of a row (`fps`) comes as Python's float, which is float64 whatever it was stored as.
            array = np.asarray(value)
            kind = f"{_name(array.dtype)}{array.shape}"
            content = array.tobytes() if little else array.astype(array.dtype.newbyteorder("<")).tobytes()
        digest.update(f"{name}\0{kind}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _name(kind: np.dtype[Any]) -> str:
    return kind.name  # numpy makes it up anew with every call
