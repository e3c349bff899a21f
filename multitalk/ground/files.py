"""Writing that a crash can not spoil: whole files or none, and the lock between writers and compaction."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multitalk.ground.leases import flock_reaches_all, leased

_SUFFIX = ".tmp"
_MANY_FILES = ("clips", "wav", "raw")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


@contextmanager
def atomic(place: Path) -> Iterator[Path]:
    """Give a temporary path beside `place`; what was written there takes its place on leaving.

    The file and its folder reach the disk before this returns. If the block raises, `place` stays as it was.
    """
    with temporary_beside(place) as temporary:
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(place)
    flush_to_disk(place.parent)


@contextmanager
def temporary_beside(place: Path) -> Iterator[Path]:
    """Give a path beside `place` that no reader looks at; what still has that name on leaving is deleted."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and with a suffix that no reader's pattern matches.
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(6)}{_SUFFIX}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_temporary(root: Path, min_age_sec: float = 3600.0) -> list[Path]:
    """Delete what killed runs left half-written below `root`, and return it.

    Readers never see these files (hidden, called as `atomic` calls them); they only take room. Files younger
    than `min_age_sec` may belong to a worker that is still writing, so they stay. Videos and sounds are made in a
    staging folder, which goes as a whole: the hundreds of thousands that are finished are not looked through.
    """
    cutoff = time.time() - min_age_sec
    stale = []
    for folder, folders, names in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in _MANY_FILES]
        for path in (Path(folder, name) for name in names if _TEMPORARY.fullmatch(name)):
            try:
                if path.stat().st_mtime <= cutoff:
                    path.unlink()
                    stale.append(path)
            except FileNotFoundError:  # its writer finished or gave up in between
                continue
    return sorted(stale)


@contextmanager
def locked(root: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the manifest's lock as a writer: shared to commit, exclusive to compact.

    Compaction moves rows from one file to another, so it must not meet a commit or a reader half-way. The
    operating system drops the lock with the process, so a crash leaves none behind. Where the file system has no
    lock that all machines see, there is one writer or reader at a time, by a lease (`multitalk.ground.leases`).
    """
    place = _lock_file(root)
    if not flock_reaches_all(place.parent):
        with leased(place.with_name(".lease"), wait=True):
            yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def reading(root: Path) -> Iterator[None]:
    """Keep compaction away while reading. Do not nest it in `locked`.

    It needs no right to write; but where only leases are known, and none can be made, there is no lock: what is read
    amid a compaction can fail, and is to be asked for again.
    """
    folder = root / "manifest"
    if not flock_reaches_all(folder):
        if folder.is_dir() and os.access(folder, os.W_OK):
            with leased(folder / ".lease", wait=True):
                yield
        else:
            yield
        return
    try:
        handle = os.open(_lock_file(root), os.O_RDONLY)
    except FileNotFoundError:  # nothing was ever committed here
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _lock_file(root: Path) -> Path:
    return root / "manifest" / ".lock"
