"""Read an annotation file's JSON so that nothing in it is lost: repeated keys, huge numbers, odd texts."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

_LARGEST_BYTES = 1_000_000_000  # MultiTalk's largest file has some 10 MB; memory is several times the file


class AnnotationFileError(ValueError):
    """A file can not be read as annotations at all; the message names it and says why."""


class Seconds(TypedDict):
    """An interval of a source video."""

    start_sec: float
    end_sec: float


class AnnotationEntry(TypedDict):
    """A clip as MultiTalk's format has it, under its clip id."""

    youtube_id: str
    duration: Seconds
    bbox: dict[str, float]
    """top, bottom, left and right, 0 to 1 of the source's picture."""
    language: str
    transcript: str


class Pairs(dict[str, Any]):
    """A JSON object in which some key comes more than once: the pairs as they were written."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def repeated_key(self) -> str:
        """Return the first key that comes again."""
        counts = Counter(key for key, _ in self.pairs)
        return next(key for key, count in counts.items() if count > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else Pairs(pairs)


def _integer(digits: str) -> float:
    # Python refuses integers of thousands of digits with an exception that would cost the whole file.
    return int(digits) if len(digits) < 20 else math.inf


def read_entries(path: Path) -> list[tuple[str, Any]]:
    """Return the file's clips as they were written, key and content, also those with the same key.

    Raises
    ------
    AnnotationFileError
        The file is missing, no plain file, larger than 1 GB, not JSON, or no object.
    """
    try:
        content = json.loads(_content(path), object_pairs_hook=_object, parse_int=_integer)
    except FileNotFoundError:
        raise AnnotationFileError(f"{path}: no such annotation file") from None
    except OSError as error:
        raise AnnotationFileError(f"{path}: can not be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AnnotationFileError(f"{path}: not a text file in UTF-8") from None
    except json.JSONDecodeError as error:
        raise AnnotationFileError(
            f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise AnnotationFileError(f"{path}: not annotations: nested too deeply") from None
    if not isinstance(content, dict):
        raise AnnotationFileError(
            f"{path}: not annotations: expected an object of clips, found {kind(content)}"
        )
    return content.pairs if isinstance(content, Pairs) else list(content.items())


def _content(path: Path) -> bytes:
    """Read a file, but neither a device that has no end nor a pipe that nobody writes to."""
    found = path.stat()
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode) or stat.S_ISFIFO(found.st_mode):
        raise AnnotationFileError(f"{path}: no plain file")
    if found.st_size > _LARGEST_BYTES:
        raise AnnotationFileError(
            f"{path}: {found.st_size / 1e9:.1f} GB are too large for annotations; divide it"
        )
    return path.read_bytes()


def is_encodable(text: str) -> bool:
    """Tell whether a text can be stored: JSON may hold halves of surrogate pairs, UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Make any text fit for a message and a manifest: encodable, in one line, at most 100 characters."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:100])
    if len(text) <= 100:
        return shown
    # The hash keeps long texts that begin alike apart.
    return f"{shown}...{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()[:8]}"


def kind(value: object) -> str:
    """Name a JSON value's type, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
