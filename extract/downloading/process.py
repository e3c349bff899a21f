"""Watch over the process that runs yt-dlp: end it when it hangs, crawls or is no longer wanted."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from multitalk.extract.downloading.errors import Failure
from multitalk.extract.downloading.fork_server import Forked, ForkServer
from multitalk.ground.child_processes import how_it_ended
from multitalk.ground.untrusted.confinement import Confinement

_POLL_SEC = 0.2
_DATA_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """When a download is given up."""

    timeout_sec: float
    stall_timeout_sec: float
    min_bytes_per_sec: float
    pause_sec: float = 0.0
    """Longest pause before a transfer: it counts as no stall."""
    max_bytes: int | None = None
    """Of one file."""


class Waitable(Protocol):
    """A process that one can wait for."""

    def wait(self, timeout: float | None = None) -> int:
        """As `subprocess.Popen.wait`."""
        ...


def yt_dlp_process() -> ForkServer:
    """Return the process that loads yt-dlp once, a second of processor time, and forks for each download."""
    return ForkServer("multitalk.extract.downloading.worker")


def run_yt_dlp(
    url: str,
    options: Mapping[str, Any],
    folder: Path,
    limits: Limits,
    *,
    expand: bool = False,
    parts: Sequence[tuple[float, float]] = (),
    process: ForkServer | None = None,
) -> dict[str, Any] | Failure:
    """Run `multitalk.extract.downloading.worker` on one address.

    A socket's time limit does not catch a server that sends a byte now and then, so the files'
    growth is watched from outside, and the worker, with its ffmpeg, is killed from outside.

    Parameters
    ----------
    folder
        Where yt-dlp writes.
    expand
        List the videos behind the address (a playlist, a channel) instead of fetching one.
    parts
        Fetch only these, in seconds, where the source gives plain files; empty: all.
    process
        From `yt_dlp_process`; None loads yt-dlp for this once.

    Returns
    -------
    dict or Failure
        ``path``, ``format_id``, ``language``, ``duration`` of what came, ``fps`` where only parts did
        (``videos`` with ``id`` and ``url`` where the address was expanded), or what went wrong.
    """
    job = json.dumps(
        {
            **{"url": url, "options": options, "expand": expand, "parts": list(parts)},
            "confinement": asdict(_confinement(folder, limits)),
        }
    )
    # Not through a pipe: it holds 64 KiB, less than the list of a thousand videos, until it is read.
    with tempfile.TemporaryFile() as answer, ExitStack() as own:
        forks = process or own.enter_context(yt_dlp_process())
        running = forks.fork(job.encode(), stdout=answer)
        try:
            return _outcome(running, answer, folder, limits)
        finally:
            running.end()


def _confinement(folder: Path, limits: Limits) -> Confinement:
    """Return what yt-dlp, its ffmpeg and its JavaScript may do: they write here and where programs keep caches."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return Confinement(
        data_bytes=_DATA_BYTES,
        cpu_sec=int(limits.timeout_sec) + 1,
        # Pictures and sound are merged into one; whoever watches is to see what is too large before.
        file_bytes=2 * limits.max_bytes + 2**30 if limits.max_bytes is not None else None,
        writable=tuple(str(place) for place in (folder.absolute(), tempfile.gettempdir(), caches)),
        network=True,
    )


def _outcome(running: Forked, answer: IO[bytes], folder: Path, limits: Limits) -> dict[str, Any] | Failure:
    reason = _watch(running, folder, limits)
    if reason is not None:
        return Failure(message=reason, types=("TransportError",))
    answer.seek(0)
    line = answer.readline()
    if not line.endswith(b"\n"):  # nothing, or not all of it
        ending = how_it_ended(running.wait())
        return Failure(message=f"the download process {ending}", types=("ChildProcessError",))
    outcome: dict[str, Any] = json.loads(line)
    if "failure" in outcome:
        failure = outcome["failure"]
        return Failure(**{**failure, "types": tuple(failure["types"])})
    info: dict[str, Any] = outcome["info"]
    return info


def _watch(process: Waitable, folder: Path, limits: Limits) -> str | None:
    """Wait for the worker's end; return why it should be ended before."""
    began = window_began = time.monotonic()
    window_bytes = _bytes_in(folder)
    while True:
        try:
            process.wait(_POLL_SEC)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None
        now = time.monotonic()
        if now - began > limits.timeout_sec:
            return f"the download did not end within {limits.timeout_sec:.0f} s"
        size = _bytes_in(folder)
        if limits.max_bytes is not None and (largest := _bytes_in(folder, max)) > limits.max_bytes:
            return f"{largest} bytes came, larger than a source video may be ({limits.max_bytes}; setting max_gib)"
        if size < window_bytes:  # begun anew, by a server that can not continue: no stall
            window_began, window_bytes = now, size
        elif now - window_began > limits.stall_timeout_sec + limits.pause_sec:
            if size - window_bytes < limits.min_bytes_per_sec * (now - window_began - limits.pause_sec):
                return f"the transfer stalled: {size - window_bytes} bytes in {now - window_began:.0f} s"
            window_began, window_bytes = now, size


def _bytes_in(folder: Path, of: Callable[[list[int]], int] = sum) -> int:
    sizes = [0]
    for entry in os.scandir(folder):
        try:
            sizes.append(entry.stat().st_size)
        except FileNotFoundError:  # renamed meanwhile
            continue
    return of(sizes)
