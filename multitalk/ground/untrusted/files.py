"""Opening files that came from strangers: regular files only, no larger than what they can honestly be.

A name may lead to a device that never ends, to a pipe that never answers, or to a sparse file of terabytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

GIB = 2**30


class UntrustedFileError(ValueError):
    """A file from outside is refused; the message names it, says why, and what to do."""


@contextmanager
def open_untrusted(path: Path, largest: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most `largest` bytes for reading.

    Raises
    ------
    UntrustedFileError
        When it is a folder, a device or a pipe, or too large.
    OSError
        When it can not be opened.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise UntrustedFileError(f"{path} is {_kind(found.st_mode)}, not a file: name the file itself")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > largest:
            raise UntrustedFileError(
                f"{path} was refused: it has {found.st_size:,} bytes, such a file has at most {largest:,}; "
                "is it the right file?"
            )
        yield file


def read_untrusted(path: Path, largest: int) -> bytes:
    """Read a whole file, as `open_untrusted` opens it."""
    with open_untrusted(path, largest) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)  # Python makes room for as much as is asked for
    if len(content) != size:
        raise UntrustedFileError(f"{path} was refused: it changed while it was read")
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device"
