"""Locks that a dead process does not keep: the system's own where all machines see them, leases elsewhere.

``flock`` is dropped by the system with its process, on NFS and cluster file systems by the server with its machine.
Some file systems (FUSE, 9p, SMB, Lustre without ``-o flock``, NFS with ``local_lock``) know it on one machine only, or
not at all. There a lock is a lease: a file made by one process alone (``O_EXCL``) that names it and is renewed every
`RENEW_SEC`. It is taken over when its process is known to be dead (of this machine, since it started), or when it
was not renewed for `LEASE_SEC`, by the file system's clock. Whoever takes over makes a file named after the lease that
it ends, which only one can do, and renames it over the lease; so two never take over the same.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

LEASE_SEC = 300.0
"""A lease that was not renewed for so long has ended."""
RENEW_SEC = 30.0

_POLL_SEC = 0.05
_TOKEN = re.compile("[0-9a-f]{12}")
_MOST_DEATHS = 8
_MAX_BYTES = 4096
_NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_ONE_MACHINE_ONLY = ("fuse", "9p", "cifs", "smb3", "smbfs", "virtiofs", "vboxsf", "beegfs", "afs")


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as the lock's file names it."""

    host: str
    kernel: str
    """This start of this machine, and the space of process ids: the same where a process id can be looked up."""
    pid: int
    born: int
    """When the process started, in the kernel's ticks: process ids are used again."""
    token: str = ""
    """Of this one lease."""

    @classmethod
    def ourselves(cls) -> Holder:
        """Return this process."""
        return cls(
            socket.gethostname(), _kernel(), os.getpid(), _born(os.getpid()) or 0, secrets.token_hex(6)
        )

    @property
    def has_died(self) -> bool:
        """Whether the process is known to be gone; False where that can not be known from here."""
        return bool(self.kernel) and self.kernel == _kernel() and _born(self.pid) != self.born

    @property
    def is_this_process(self) -> bool:
        """Whether it is the one that asks."""
        us = Holder.ourselves()
        return (self.host, self.kernel, self.pid, self.born) == (us.host, us.kernel, us.pid, us.born)

    def __str__(self) -> str:
        """Return where to look for it."""
        return f"process {self.pid} on {self.host}"


@contextmanager
def held(place: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock whose file is `place`; the file is deleted on leaving.

    Parameters
    ----------
    place
        Its folder is made.
    wait
        Wait for whoever holds it; False: yield False at once.
    """
    if flock_reaches_all(place.parent):
        try:
            handle = _flock(place, wait=wait)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
        else:
            if handle is None:
                yield False
                return
            try:
                yield True
            finally:
                try:
                    place.unlink(missing_ok=True)
                finally:
                    os.close(handle)
            return
    with leased(place, wait=wait) as ours:
        yield ours


def holder_of(place: Path) -> Holder | None:
    """Return who the lock's file names; None where there is no file, or nobody in it."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file, suppress(ValueError, TypeError, OSError):
        content = json.loads(file.read(_MAX_BYTES))
        holder = Holder(**content)
        if all(type(getattr(holder, name)) is kind for name, kind in _KINDS.items()):
            return holder
    return None


_KINDS = {"host": str, "kernel": str, "pid": int, "born": int, "token": str}


def flock_reaches_all(folder: Path) -> bool:
    """Whether the file system of a folder tells all machines that use it of ``flock``."""
    kind, options = _file_system(folder)
    if kind.startswith("nfs"):
        return not {"nolock", "local_lock=all", "local_lock=flock"} & options
    if kind == "lustre":
        return "flock" in options
    return kind == "fuseblk" or kind.partition(".")[0] not in _ONE_MACHINE_ONLY


@contextmanager
def leased(place: Path, *, wait: bool) -> Iterator[bool]:
    """As `held`, by a lease whatever the file system knows."""
    us = Holder.ourselves()
    while not _take(place, us):
        if not wait:
            yield False
            return
        time.sleep(_POLL_SEC)
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(place, us, done), name="lease", daemon=True)
    renewing.start()
    try:
        yield True
    finally:
        done.set()
        renewing.join()
        if holder_of(place) == us:
            place.unlink(missing_ok=True)


def _take(place: Path, us: Holder) -> bool:
    if _make(place, us):
        return True
    first = holder_of(place)
    # The lease, who was about to take it over and died of it, who was about to take over from that one, ...
    chain, last = [place], first
    while (successor := place.with_name(f".{place.name}.{_token(last)}.tmp")).exists():
        if len(chain) > _MOST_DEATHS:
            return False
        chain.append(successor)
        last = holder_of(successor)
    if not _has_ended(chain[-1], last) or not _make(successor, us):
        return False
    # Another may have taken it over, and have put this name away, since we looked.
    if not place.exists() or holder_of(place) != first:
        successor.unlink(missing_ok=True)
        return False
    successor.replace(place)
    for left in chain[1:]:
        left.unlink(missing_ok=True)
    return True


def _make(place: Path, holder: Holder) -> bool:
    """Make the file of a lease, unless it is there."""
    while True:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            return False
        except FileNotFoundError:  # the last one there has just taken the folder away
            continue
        _write(handle, holder)
        os.close(handle)
        return True


def _write(handle: int, holder: Holder) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)


def _token(holder: Holder | None) -> str:
    token = holder.token if holder else ""
    return token if _TOKEN.fullmatch(token) else "0" * 12


def _has_ended(place: Path, holder: Holder | None) -> bool:
    if holder is not None and holder.has_died:
        return True
    try:
        renewed = place.stat().st_mtime
        return _now(place.parent) - renewed > LEASE_SEC
    except FileNotFoundError:
        return False


def _now(folder: Path) -> float:
    """Return the time by the clock that the folder's files get theirs from."""
    probe = folder / f".clock.{secrets.token_hex(6)}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _renew(place: Path, us: Holder, done: threading.Event) -> None:
    while not done.wait(RENEW_SEC):
        with suppress(OSError):  # gone, or the server is away for a while: as good as not renewed
            if holder_of(place) == us:
                os.utime(place)


def _flock(place: Path, *, wait: bool) -> int | None:
    """Return a handle that holds the lock, None where another has it."""
    while True:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the last one there has just taken the folder away
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), place.stat()):
                _write(handle, Holder.ourselves())  # for whoever asks; the lock is the system's
                return handle
        os.close(handle)  # whoever had it has deleted it: another may be at the new one


def _kernel() -> str:
    """Name this start of this machine, and the space of its process ids; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """Return when a process started, in ticks; None where there is none, or a dead one that nobody has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _file_system(folder: Path) -> tuple[str, frozenset[str]]:
    """Return kind and options of the file system that a folder lies on, or will."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return "", frozenset()
    where = os.path.realpath(folder)
    found: tuple[str, frozenset[str]] = ("", frozenset())
    longest = -1
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        point = before.split()[4].encode("ascii", "surrogateescape").decode("unicode_escape")
        if (where == point or where.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            longest = len(point)
            kind, _, options = after.split(" ", 2)
            found = kind, frozenset(options.replace(" ", ",").split(","))
    return found
