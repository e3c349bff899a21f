"""Worker processes end as their work does, and are ended where they hang."""

import itertools
import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.worker_process import STOP_FILE, downloads, run_worker

WORKER = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from flows.worker_process import work

@dataclass
class Job:
    place: Path
    then: str

def run(job):
    job.place.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")
    print("said")
    exec(job.then)

work(Job, run)
"""


@dataclass
class Job:
    place: Path
    then: str


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "toy_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))
    place = tmp_path / "place"

    def worker(then, progress=None, timeout_sec=60.0):
        return run_worker(
            "toy_worker",
            Job(place, then),
            tmp_path / "batch-0",
            workers=max(1, (os.cpu_count() or 1) // 2),
            timeout_sec=timeout_sec,
            progress=progress or place.exists,
        )

    return worker


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "ending"),
    [
        ("pass", "ended early"),
        ("os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
        ("raise ValueError('odd')", "ended with status 1"),
    ],
)
def test_how_a_worker_ended_is_told(run, tmp_path, then, ending):
    assert run(then) == ending
    _, threads = (tmp_path / "place").read_text().split()
    assert int(threads) >= 2 or (os.cpu_count() or 1) < 2, "its share of the cores"
    assert not (tmp_path / "batch-0.job.json").exists()
    log = (tmp_path / "batch-0.log").read_text()
    assert "said" in log or then != "pass"
    assert ("odd" in log) == ("odd" in then)


@pytest.mark.slow
def test_a_worker_that_gets_nowhere_is_ended_with_all_that_it_started(run, tmp_path):
    then = (
        "import subprocess; child = subprocess.Popen(['sleep', '300']); "
        f"Path({str(tmp_path / 'child')!r}).write_text(str(child.pid)); time.sleep(300)"
    )
    child, looks = tmp_path / "child", itertools.count()

    def progress():  # goes on for as long as the worker takes to get there
        return -1 if child.exists() and child.read_text() else next(looks)

    assert run(then, progress=progress, timeout_sec=1.0) == "made no progress for 1 s and was ended"
    state = Path("/proc") / child.read_text() / "stat"
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_is_ended(run, tmp_path):
    def stop_when_at_work():
        if (tmp_path / "place").exists():
            (tmp_path / STOP_FILE).touch()
        return 0

    assert run("time.sleep(300)", progress=stop_when_at_work) is None


def test_downloads_come_in_order_and_only_so_many_ahead():
    started, may_end = [], threading.Event()

    def fetch(video):
        started.append(video)
        may_end.wait(30)
        return -video

    coming = downloads(range(5), fetch, 2)
    video, download = next(coming)
    assert isinstance(download, Future)
    may_end.set()
    assert (video, download.result()) == (0, 0)
    assert set(started) <= {0, 1}
    assert [(video, download.result()) for video, download in coming] == [(n, -n) for n in range(1, 5)]
