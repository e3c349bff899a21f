"""Hashing model files, and putting them in place whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from multitalk.assets.asset import AssetFile
from multitalk.assets.errors import AssetCorrupt

CHUNK_BYTES = 1 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}(?!\S)")


def chunks(paths: Sequence[Path]) -> Iterator[bytes]:
    """Read files one after the other as one stream of chunks."""
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def expected_sha256(file: AssetFile, path: Path) -> str | None:
    """Return the hash that a file must have, or its first digits; None where nobody can say.

    A file without a published hash is held to the one recorded beside it (`NAME.sha256`) when it was
    downloaded: that does not prove its origin, but later damage shows.
    """
    if file.sha256 is not None:
        return file.sha256
    return _recorded_sha256(path) or file.sha256_start


def record_sha256(path: Path, sha256: str) -> None:
    """Write a file's hash beside it as `NAME.sha256`, in the format of the program sha256sum."""
    record = path.with_name(f"{path.name}.sha256")
    write_verified(record, AssetFile(record.name), [f"{sha256}  {path.name}\n".encode()], str(path))


def _recorded_sha256(path: Path) -> str | None:
    try:
        text = path.with_name(f"{path.name}.sha256").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # A full disk or a crash may have left an empty or torn record.
    found = _SHA256.match(text.lower())
    return found[0] if found else None


def verify(file: AssetFile, paths: Sequence[Path], remedy: str) -> bool:
    """Check the content of a file, or of the parts that make it.

    Parameters
    ----------
    file : AssetFile
        What is expected.
    paths : sequence of Path
        The file, or its parts in order.
    remedy : str
        What the user can do if it is corrupt; ends the error's message.

    Returns
    -------
    bool
        True if the hash was compared, False if none is known, or only its first digits are.

    Raises
    ------
    AssetCorrupt
        The content is not the expected one, or can not be read.
    """
    expected = expected_sha256(file, paths[0])
    if expected is None:
        return False
    names = ", ".join(str(path) for path in paths)
    digest = hashlib.sha256()
    try:
        for chunk in chunks(paths):
            digest.update(chunk)
    except OSError as error:
        raise AssetCorrupt(f"{names}: can not be read ({error.strerror}). {remedy}") from error
    actual = digest.hexdigest()
    if not actual.startswith(expected):
        difference = f"SHA-256 {actual}, expected {expected}"
        raise AssetCorrupt(f"{names}: the content is not that of {file.name} ({difference}). {remedy}")
    return len(expected) == len(actual)


def write_verified(target: Path, file: AssetFile, content: Iterable[bytes], source: str) -> str:
    """Write a file under a temporary name, check size and hash, and rename it into place.

    Several processes may write the same file at once: each has its own temporary file, and the renames put
    identical content in place.

    Parameters
    ----------
    target : Path
        Final name; its folder is made if need be.
    file : AssetFile
        Expected size and hash.
    content : iterable of bytes
    source : str
        Where the content comes from, for messages.

    Returns
    -------
    str
        The SHA-256 of what was written.

    Raises
    ------
    AssetCorrupt
        Size or hash differ; nothing was put in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    temporary = Path(name)
    try:
        digest = hashlib.sha256()
        size = 0
        with os.fdopen(handle, "wb") as stream:
            for chunk in content:
                digest.update(chunk)
                size += len(chunk)
                if file.size is not None and size > file.size:
                    raise AssetCorrupt(f"{source}: more than the {file.size} bytes expected of {file.name}")
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        _check(file, size, digest.hexdigest(), source)
        temporary.chmod(0o644)  # mkstemp gives 0600; the cache may be shared
        temporary.replace(target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _check(file: AssetFile, size: int, sha256: str, source: str) -> None:
    if file.size is not None and size != file.size:
        raise AssetCorrupt(f"{source}: {size} bytes, but {file.name} has {file.size}")
    published = file.sha256 or file.sha256_start or ""
    if not sha256.startswith(published):
        raise AssetCorrupt(f"{source}: SHA-256 {sha256}, but {file.name} has {published}")


def _sync_folder(folder: Path) -> None:
    # Without this a crash of the machine may undo the rename. Windows cannot open folders.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
