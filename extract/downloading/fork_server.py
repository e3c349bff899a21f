"""A module's process that forks for each job: what it imports is imported once, and a job that dies takes none along.

The parent's side is `ForkServer`, the module's is `serve`. Each job runs in a session of its own with a process that
looks after it: it tells how the job ended, and ends it when whoever asked for it is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import IO, NoReturn, Self

from multitalk.ground.child_processes import end_group, end_with_parent, start_module

_LARGEST_JOB = 1 << 17  # bytes; the kernel takes a message of some 200 kB


class Forked:
    """A job under way; to be ended by `end`, also where it has ended itself.

    Parameters
    ----------
    connection
        To the process that looks after the job.
    spent
        Called with the processor seconds that the job took, when it has ended by itself.
    """

    def __init__(self, connection: socket.socket, spent: Callable[[float], None]) -> None:
        self._connection = connection
        self._spent = spent
        told = connection.recv(64).split()
        self._group = int(told[0]) if told else 0
        self.server_cpu_sec = float(told[1]) if told else 0.0
        """What the server itself had taken when the job began."""
        self.returncode: int | None = None if told else 1

    def wait(self, timeout: float | None = None) -> int:
        """Return the job's exit status, negative for a signal.

        Raises
        ------
        subprocess.TimeoutExpired
            The job did not end within so many seconds.
        """
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                told = self._connection.recv(64).split()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("the job", timeout or 0.0) from None
            self.returncode = int(told[0]) if told else -signal.SIGKILL
            if told:
                self._spent(float(told[1]))
        return self.returncode

    def end(self) -> None:
        """End the job and all that it started."""
        if self._group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
        self._connection.close()


class ForkServer:
    """A process of its own that forks for each job; it starts with the first one.

    Parameters
    ----------
    module
        Calls `serve`, once it has imported what jobs need.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._own_sec = self._jobs_sec = 0.0

    @property
    def cpu_sec(self) -> float:
        """Processor seconds so far, of jobs that have ended by themselves and of what all of them have in common."""
        return self._own_sec + self._jobs_sec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork(self, job: bytes, *, stdout: IO[bytes]) -> Forked:
        """Start a job; what it prints goes to `stdout`, its messages nowhere.

        Raises
        ------
        ValueError
            The job is larger than a message may be.
        """
        if len(job) > _LARGEST_JOB:
            raise ValueError(f"a job of {len(job)} bytes: at most {_LARGEST_JOB} may be sent")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            files = [theirs.fileno(), stdout.fileno()]
            with self._lock:
                try:
                    socket.send_fds(self._running(), [job], files)
                except OSError:  # it has died: another one
                    self._end()
                    socket.send_fds(self._running(), [job], files)
        forked = Forked(ours, self._spent)
        self._own_sec = max(self._own_sec, forked.server_cpu_sec)
        return forked

    def close(self) -> None:
        """End the process; jobs under way are not its own any more."""
        with self._lock:
            self._end()

    def _spent(self, seconds: float) -> None:
        with self._lock:
            self._jobs_sec += seconds

    def _running(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = start_module(
                    self._module, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            end_group(self._process)
        self._control = self._process = None


def serve(do: Callable[[bytes], None]) -> NoReturn:
    """Fork for each job that standard input brings, until it ends. No thread may run beside.

    Parameters
    ----------
    do
        Does one job, in a process of its own.
    """
    control = socket.socket(fileno=os.dup(0))
    while True:
        job, files, _, _ = socket.recv_fds(control, _LARGEST_JOB, 2)
        if not job:
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that looked after earlier jobs
                pass
        cpu_sec = time.process_time()
        if os.fork() == 0:
            control.close()
            _look_after(job, files, do, cpu_sec)
        for file in files:
            os.close(file)


def _look_after(job: bytes, files: Sequence[int], do: Callable[[bytes], None], cpu_sec: float) -> NoReturn:
    """Do a job in another fork, and tell how it ended. Standard input becomes the connection to who asked."""
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.write(0, b"%d %.3f" % (os.getpid(), cpu_sec))
        child = os.fork()
        if child == 0:
            _do(job, do)
        end_with_parent()
        _, status, used = os.wait4(child, 0)
        os.write(0, b"%d %.3f" % (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime))
    finally:
        os._exit(0)


def _do(job: bytes, do: Callable[[bytes], None]) -> NoReturn:
    status = 1
    try:
        do(job)
        status = 0
    except BaseException:  # of a fork: nothing may return into the process that it was made from
        traceback.print_exc()
    finally:
        os._exit(status)
