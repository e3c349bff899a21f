"""What goes wrong in a chaos build: a server that refuses and breaks off, kills, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from multitalk.flows.demo import local_server

_LARGE_DISK = "400m"


class BadHandler(local_server._Handler):
    """Serves a folder, badly: `trouble` is the share of requests that go wrong."""

    chance = random.Random(0)
    trouble = 0.0

    def do_GET(self) -> None:
        if self.chance.random() >= self.trouble:
            super().do_GET()
            return
        way = self.chance.choice(("unavailable", "slow down", "break off"))
        if way == "break off":
            self.wfile = _BreaksOff(self.wfile, self.chance.randrange(100, 200_000))
            with contextlib.suppress(ConnectionError):
                super().do_GET()
            self.close_connection = True
            return
        self.send_response(503 if way == "unavailable" else 429)
        if way == "slow down":
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()


class _BreaksOff:
    """A connection that is lost after some bytes."""

    def __init__(self, stream, left):
        self._stream, self._left = stream, left

    def write(self, data):
        if len(data) > self._left:
            self._stream.write(data[: self._left])
            raise ConnectionResetError
        self._left -= len(data)
        return self._stream.write(data)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def bad_server(folder: Path) -> Iterator[tuple[str, type[BadHandler]]]:
    """Serve a folder; yields an address template, and the handler whose `trouble` can be set."""
    handler = type("Handler", (BadHandler,), {})
    with local_server._FolderServer(folder.resolve()) as server:
        server.RequestHandlerClass = handler
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{{video_id}}.mp4", handler
        server.shutdown()


class SmallDisk:
    """A small file system at a dataset's root, if one is wanted and this user may mount it.

    Elsewhere a worker's own limit on the size of a file is lowered while it works (`limit_files`): its next
    large write fails, and so do those of the yt-dlp and the ffmpeg that it starts.
    """

    def __init__(self, place: Path, size: int | None) -> None:
        self._place = place
        place.mkdir()
        self.mounted = size is not None and self._mount(size)

    def _mount(self, size: int) -> bool:
        place = self._place
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "multitalk-chaos", str(place)]
        try:
            return subprocess.run(command, check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            return False

    def enlarge(self) -> None:
        if self.mounted:
            command = ["mount", "-o", f"remount,size={_LARGE_DISK}", str(self._place)]
            subprocess.run(command, check=True)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self._place)], check=True)


def limit_files(pid: int, largest: int) -> None:
    """Let a process, and what it starts from now on, write no file beyond so many bytes."""
    _, now = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    if now == resource.RLIM_INFINITY:  # a limit can not be raised again
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, largest))


def processes_of(root: Path) -> Iterator[tuple[int, str]]:
    """Yield id and command of every process that works on a dataset."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, ValueError):
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(root) in command and int(entry.parent.name) != os.getpid():
                yield int(entry.parent.name), command


@dataclass
class Disturber:
    """Disturbs running builds of one dataset at random moments, and counts what it did."""

    root: Path
    chance: random.Random
    disk_is_small: bool
    done: Counter[str] = field(default_factory=Counter)

    def disturb(self, run: subprocess.Popen[bytes], quiet_sec: float) -> None:
        """Kill or hamper workers, and in the end the run with all that belongs to it.

        Moments are drawn from the time that a quiet build takes, so that they fall everywhere.
        """
        deadline = time.monotonic() + self.chance.uniform(0.4, 1.3) * quiet_sec
        while time.monotonic() < deadline and run.poll() is None:
            time.sleep(self.chance.uniform(0, 0.3) * quiet_sec)
            workers = [
                pid
                for pid, command in processes_of(self.root)
                if "multitalk.flows.building.worker" in command
            ]
            if workers:
                self._harm(self.chance.choice(workers))
        for pid, _ in list(processes_of(self.root)):
            self._kill(pid)
        run.wait()

    def _harm(self, worker: int) -> None:
        if self.disk_is_small or self.chance.random() < 0.5:
            self._kill(worker)
        else:
            with contextlib.suppress(ProcessLookupError):
                limit_files(worker, self.chance.choice((4_000, 40_000, 200_000)))
                self.done["file size limits"] += 1

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.done["kills"] += 1
