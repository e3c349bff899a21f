"""Builds the demo's videos while everything goes wrong, and compares what comes out with a quiet build.

    python -m tests.chaos --rounds 30

Each round starts from nothing: a server that refuses, breaks off and slows down, workers and whole runs killed
with SIGKILL at random moments, and (where a small file system can be mounted) a disk that is full at first.
Then the same command is run once more in peace. Every clip must be there once, every file whole, and the
manifest that of the quiet build.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from flows import local_server
from flows.demo import make_demo_source
from manifests import open_dataset

# What rightly differs between two builds of the same videos.
RUN_COLUMNS = ["created_at", "attempts", "source_url"]
_CONFIG = """
download: {attempts: 6, backoff_sec: 0.1, first_pause_sec: 1, socket_timeout_sec: 5}
crash_retries: 20
"""
_SMALL_DISK, _LARGE_DISK = "3m", "400m"


class _BadHandler(local_server._Handler):
    """Serves a folder, badly: `trouble` is the share of requests that go wrong."""

    chance = random.Random(0)
    trouble = 0.4

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
def bad_server(folder: Path, seed: int) -> Iterator[tuple[str, type[_BadHandler]]]:
    """Serve a folder badly; the handler's `trouble` can be set to 0 to have peace."""
    handler = type("Handler", (_BadHandler,), {"chance": random.Random(seed), "trouble": 0.4})
    with local_server._FolderServer(folder.resolve()) as server:
        server.RequestHandlerClass = handler
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{{video_id}}.mp4", handler
        server.shutdown()


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a small file system at a folder, where this user may; gives whether it was done."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "multitalk-chaos", str(place)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def start(annotations, root: Path, url: str, home: Path, config: Path) -> subprocess.Popen[bytes]:
    """Start a build in a process group of its own."""
    command = [sys.executable, "-m", "flows.cli", "build", *map(str, annotations), "--root", str(root)]
    command += ["--source-url", url, "--workers", "2", "--config", str(config)]
    environment = {**os.environ, "PREFECT_HOME": str(home), "NO_COLOR": "1"}
    with (home / "build.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def processes_of(root: Path) -> Iterator[tuple[int, str]]:
    """Yield id and command of every process that works on a dataset."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, ValueError):
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(root) in command and int(entry.parent.name) != os.getpid():
                yield int(entry.parent.name), command


def disturb(run: subprocess.Popen[bytes], root: Path, chance: random.Random, seconds: float) -> int:
    """Kill workers, and in the end the run with all that belongs to it; returns the number of kills."""
    kills, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None:
        time.sleep(chance.uniform(0.5, 8))
        workers = [pid for pid, command in processes_of(root) if "flows.worker" in command]
        if workers and chance.random() < 0.7:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
                kills += 1
    for pid, _ in list(processes_of(root)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            kills += 1
    run.wait()
    return kills


def check(root: Path, quiet: Path) -> None:
    """Compare a dataset that was built in trouble with a quiet one."""
    found, expected = (
        open_dataset(r).clips().sort_values("clip_id", ignore_index=True) for r in (root, quiet)
    )
    assert not found["clip_id"].duplicated().any(), "a clip is there twice"
    pd.testing.assert_frame_equal(found.drop(columns=RUN_COLUMNS), expected.drop(columns=RUN_COLUMNS))
    for file in root.rglob("*.parquet"):
        if not file.name.startswith("."):
            pq.read_table(file)
    for row in found.itertuples():
        if row.status == "ok":
            digest = hashlib.sha256((root / row.clip_path).read_bytes()).hexdigest()
            assert digest == row.clip_sha256, f"{row.clip_path} is torn"
            assert (root / row.audio_path).stat().st_size > row.frame_count * 1280
            motion = open_dataset(root).motion(row.clip_id)
            assert len(motion["valid"]) == row.frame_count
    left = [pid for pid, command in processes_of(root) if "flows." in command]
    assert not left, f"processes are left: {left}"


def chaotic_build(annotations, videos: Path, root: Path, home: Path, config: Path, seed: int) -> str:
    """Build in trouble, then once more in peace; says what happened."""
    chance = random.Random(seed)
    with bad_server(videos, seed) as (url, handler), small_disk(root) as limited:
        kills = 0
        for _ in range(chance.randint(1, 2)):
            run = start(annotations, root, url, home, config)
            kills += disturb(run, root, chance, chance.uniform(20, 60))
            if limited:
                remount = f"remount,size={_LARGE_DISK}"
                subprocess.run(["mount", "-o", remount, str(root)], check=True)
        handler.trouble = 0.0
        assert start(annotations, root, url, home, config).wait(900) == 0, (home / "build.log").read_text()
        story = f"{kills} kills, {'a full disk first' if limited else 'no small disk could be mounted'}"
        check(root, root.parent / "quiet")
    return story


def main() -> None:
    """Entry point of ``python -m tests.chaos``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language", action="append", help="only this language of the demo's videos")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="multitalk-chaos-") as name:
        folder = Path(name)
        home = folder / "prefect"
        home.mkdir()
        config = folder / "config.yaml"
        config.write_text(_CONFIG)
        source = make_demo_source(folder / "source")
        annotations = [a for a in source.annotations if not options.language or a.stem in options.language]
        with local_server.serve_folder(source.videos) as base:
            url = base + "/{video_id}.mp4"
            assert start(annotations, folder / "quiet", url, home, config).wait(900) == 0
        for index in range(options.rounds):
            root = folder / f"round{index}"
            story = chaotic_build(annotations, source.videos, root, home, config, options.seed + index)
            sys.stdout.write(f"round {index}: {story}: the manifest is the quiet one's\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
