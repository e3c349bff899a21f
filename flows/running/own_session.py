"""Running a command in a session of its own, so that Ctrl-C stops it in order.

A terminal sends Ctrl-C to every process of the foreground: besides the flow also to the server that an
in-process Prefect starts, and a flow that can not report its end to its server waits for it for minutes. So the
command that the user started only watches; the flow runs in a child that the terminal does not reach.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_MARK = "MULTITALK_APART"
_STOP_SEC = 60.0


def is_apart() -> bool:
    """Whether this process is the child that does the work."""
    return os.environ.get(_MARK) == "1"


def run_apart(arguments: Sequence[str]) -> int:
    """Run ``multitalk ARGUMENTS`` in a child with a session of its own; returns its exit status.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after the child has stopped in order (or was ended, on a second Ctrl-C or after a minute).
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "multitalk.flows.commands.cli", *arguments],
        stdin=subprocess.PIPE,
        env={**os.environ, _MARK: "1"},
        start_new_session=True,
        close_fds=False,  # an argument may name one, as the shell's <(...) does
    )
    try:
        return _status(child)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(_STOP_SEC)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise


def _status(child: "subprocess.Popen[bytes]") -> int:
    """Wait for the child; when it was killed, say so and end its session, with the server that it started."""
    status = child.wait()
    if status >= 0:
        return status
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    killer = signal.Signals(-status).name
    why = " (memory may have run out)" if killer == "SIGKILL" else ""
    sys.stderr.write(f"multitalk: error: the run was killed by {killer}{why}; run again to go on\n")
    return 1


def end_with_parent() -> None:
    """End this process and all of its session when the parent's end of standard input closes."""

    def watch() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock would be held at the interpreter's exit
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
