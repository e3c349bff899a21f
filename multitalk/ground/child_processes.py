"""Python modules run as child processes, each in a session of its own, that never outlive who started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start_module(
    module: str,
    arguments: Sequence[str] = (),
    *,
    stdin: int = subprocess.PIPE,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``python -m module``; the end of its standard input tells it that we are gone.

    Parameters
    ----------
    module
        Calls `end_with_parent`.
    arguments
    stdin, stdout, stderr
        As `subprocess.Popen` takes them; standard input is a pipe if not given.
    environment
        None for our own; this package is found in either.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=finding_us(os.environ if environment is None else environment),
        start_new_session=True,  # Ctrl-C is for us, and what it starts (ffmpeg) is ended with it
    )


def finding_us(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a Python finds this package."""
    # This file truly lies in multitalk/ground, also where the other rooms are linked or mapped into the package.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return {**environment, "PYTHONPATH": path}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a child and what it started, all in the session that was made for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def how_it_ended(status: int) -> str:
    """Put an exit status in words that follow the process's name: "was killed by SIGSEGV"."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def end_with_parent() -> None:
    """Leave at once, with all that was started, when standard input ends: however the parent ended, it is gone."""

    def watch() -> None:
        # Not through sys.stdin: a thread that holds its lock makes the interpreter abort at exit.
        while os.read(0, 4096):
            pass
        # Only a group of our own, as `start_module` makes it: somebody else's holds more than what we started.
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
