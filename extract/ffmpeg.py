"""Find the ffmpeg program and run it: a list of arguments, a time limit, never a shell."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from multitalk.ground.untrusted.confinement import Confinement

# What the system or its owner sends to a process; a file that makes ffmpeg crash brings on others.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class FfmpegMissingError(RuntimeError):
    """There is no ffmpeg program on this machine: no clip at all can be made."""


class FfmpegError(RuntimeError):
    """ffmpeg failed or ran past its time.

    Attributes
    ----------
    stderr_tail
        The last lines that it wrote, which say why.
    timed_out
        Whether it was ended for running past its time.
    signal
        The signal that ended it otherwise; None where it ended by itself.
    """

    def __init__(
        self,
        message: str,
        stderr_tail: str,
        *,
        timed_out: bool = False,
        signal_: signal.Signals | None = None,
    ) -> None:
        super().__init__(f"{message}: {stderr_tail}" if stderr_tail else message)
        self.stderr_tail = stderr_tail
        self.timed_out = timed_out
        self.signal = signal_

    @property
    def too_large(self) -> bool:
        """Whether it wanted more memory, or larger pictures, than it may have."""
        return os.strerror(errno.ENOMEM) in self.stderr_tail or "max_pixels" in self.stderr_tail

    @property
    def from_outside(self) -> bool:
        """Whether something else than the file ended it: another run may succeed."""
        return self.timed_out or self.signal in _FROM_OUTSIDE


@cache
def ffmpeg_exe() -> Path:
    """Return the system's ffmpeg if there is one, else the binary of the ``imageio-ffmpeg`` wheel.

    Raises
    ------
    FfmpegMissingError
        There is neither.
    """
    system = shutil.which("ffmpeg")
    if system:
        return Path(system)
    import imageio_ffmpeg

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegMissingError(
            "no ffmpeg on PATH, and the package imageio-ffmpeg has no binary for this system; install ffmpeg"
        ) from error


@cache
def ffmpeg_version() -> str:
    """Return the version as the program tells it, for instance ``7.1``."""
    first_line = run_ffmpeg(["-version"], timeout_sec=30).partition(b"\n")[0].decode(errors="replace")
    return first_line.removeprefix("ffmpeg version ").partition(" ")[0]


def decoding(memory_gib: float, timeout_sec: float, writable: Iterable[Path] = ()) -> Confinement:
    """Return what a process may do that decodes a stranger's file: no network, and to write in these folders only."""
    folders = sorted({str(folder.absolute()) for folder in writable})
    memory = int(memory_gib * 2**30)
    return Confinement(memory_bytes=memory, cpu_sec=int(timeout_sec) + 1, writable=tuple(folders))


def run_ffmpeg(arguments: Sequence[str], timeout_sec: float, confinement: Confinement | None = None) -> bytes:
    """Run ffmpeg to its end and return what it wrote to its standard output.

    Parameters
    ----------
    arguments
        What follows the program's name.
    timeout_sec
        After so many seconds the process is killed.
    confinement
        What it may do; None: anything. For files of strangers, see `decoding`.

    Raises
    ------
    FfmpegError
        It ended with a failure, or was ended at the time limit.
    OSError
        It could not be started.
    """
    command = [str(ffmpeg_exe()), *arguments]
    if confinement is not None:
        command = confinement.command(command)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_sec, check=False
        )
    except subprocess.TimeoutExpired as expired:
        message = f"ffmpeg did not end within {timeout_sec:.0f} s"
        raise FfmpegError(message, _tail(expired.stderr), timed_out=True) from None
    if done.returncode != 0:
        raise ffmpeg_failure(done.returncode, done.stderr)
    return done.stdout


def ffmpeg_failure(returncode: int, stderr: bytes) -> FfmpegError:
    """Return the error for a status that is not 0; a negative one is a signal's number."""
    if returncode < 0:
        ended_by = signal.Signals(-returncode)
        return FfmpegError(f"ffmpeg was ended by {ended_by.name}", _tail(stderr), signal_=ended_by)
    return FfmpegError(f"ffmpeg ended with status {returncode}", _tail(stderr))


def _tail(stderr: bytes | None, lines: int = 8, characters: int = 1500) -> str:
    text = (stderr or b"").decode(errors="replace").strip()
    return "\n".join(text.splitlines()[-lines:])[-characters:]
