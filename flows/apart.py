"""Running a command in a session of its own, so that Ctrl-C stops it in order.

A terminal sends Ctrl-C to every process of the foreground: besides the flow also to the server that an
in-process Prefect starts, and a flow that can not report its end to its server waits for it for minutes. So the
command that the user started only watches; the flow runs in a child that the terminal does not reach.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

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
        [sys.executable, "-P", "-m", "flows.commands.main", *arguments],
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


def run_settings_apart(command: str, settings: "BaseModel", *, as_json: bool = False) -> int:
    """Run a command with these settings in a child; returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="multitalk-") as folder:
        place = Path(folder) / "settings.yaml"  # JSON is YAML, too
        place.write_text(json.dumps(settings.model_dump(mode="json", exclude_unset=True)), "utf-8")
        return run_apart([command, "--config", str(place), *["--json"] * as_json])


def set_up_prefect() -> None:
    """Make Prefect quiet where the user has not said how it should be, and look for the server if one is named.

    To be called before Prefect's import.

    Raises
    ------
    PrefectServerError
        The server does not answer.
    """
    # What goes wrong is raised, too, and then said once by `multitalk` itself.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    # On a slow machine these say at the end that they are still at work; their loggers are not Prefect's.
    for service in ("EventsWorker", "APILogWorker"):
        logging.getLogger(service).setLevel(logging.CRITICAL)
    from flows.prefect_server import require_prefect_server

    require_prefect_server()
