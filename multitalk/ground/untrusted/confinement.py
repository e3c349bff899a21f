"""Programs and libraries that read strangers' files, or call home: run with limits, and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from multitalk.ground.untrusted import confined

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process may do; see `multitalk.ground.untrusted.confined.confine`."""

    memory_bytes: int | None = None
    data_bytes: int | None = None
    cpu_sec: int | None = None
    file_bytes: int | None = None
    writable: tuple[str, ...] | None = ()
    network: bool = False

    def command(self, program: Sequence[str]) -> list[str]:
        """Return the command that starts a program under it."""
        limits = {name: value for name, value in asdict(self).items() if value is not None}
        return [sys.executable, "-I", "-S", confined.__file__, json.dumps(limits), *program]

    def apply(self) -> None:
        """Confine this process, which has no other threads yet."""
        confined.confine(**asdict(self))


def without_network(call: Callable[[], Answer]) -> Answer:
    """Return what a call returns, made in a thread that gets no socket, nor do the threads that it starts.

    For libraries that call home from threads of their own. Where the system has no seccomp, they do.
    """
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        confined.refuse_sockets()
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="without-network")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


_TRIAL = """
import json, os, socket, sys
def fails(act):
    try:
        act()
    except (OSError, MemoryError):
        return True
    return False
print(json.dumps({
    "network": fails(socket.socket),
    "writing": fails(lambda: open(sys.argv[1], "w")),
    "memory": fails(lambda: bytearray(1 << 30)),
}))
"""


def what_holds(folder: Path) -> dict[str, bool]:
    """Try what a confined process can not do: ``network``, ``writing`` elsewhere than in `folder`, ``memory``."""
    trial = folder / f".confined-{os.getpid()}.tmp"
    confinement = Confinement(memory_bytes=1 << 30)
    command = confinement.command([sys.executable, "-I", "-S", "-c", _TRIAL, str(trial)])
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return {name: bool(value) for name, value in found.items()}
    finally:
        trial.unlink(missing_ok=True)
