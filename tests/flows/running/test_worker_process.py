"""Worker processes end as their work does, and are ended where they hang."""

import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from multitalk.flows.running.worker_process import STOP_FILE, ahead, run_worker, worker_environment

WORKER = """
import os, sys, time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from multitalk.flows.running.worker_process import work

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
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])]))
    place = tmp_path / "place"

    def worker(then, events=place, timeout_sec=60.0):
        return run_worker(
            "toy_worker",
            Job(place, then),
            tmp_path / "batch-0",
            threads=3,
            timeout_sec=timeout_sec,
            events=events,
        )

    return worker


class Thread(threading.Thread):
    """Does something again and again until `awaited` is true, and then something else."""

    def __init__(self, awaited, meanwhile=lambda: None, then=lambda: None):
        super().__init__(daemon=True)
        self._work = awaited, meanwhile, then

    def run(self):
        awaited, meanwhile, then = self._work
        while not awaited():
            meanwhile()
            time.sleep(0.1)
        then()

    def __enter__(self):
        self.start()

    def __exit__(self, *_):
        self.join(30)


def _sign(path):
    with path.open("ab") as signs:
        signs.write(b".")


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
    assert int(threads) == 3, "as many as it was given"
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
    child, signs = tmp_path / "child", tmp_path / "signs"
    at_work = Thread(lambda: child.exists() and child.read_text(), meanwhile=partial(_sign, signs))
    with at_work:
        assert run(then, events=signs, timeout_sec=1.0) == "made no progress for 1 s and was ended"
    state = Path("/proc") / child.read_text() / "stat"
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_is_ended(run, tmp_path):
    with Thread((tmp_path / "place").exists, then=(tmp_path / STOP_FILE).touch):
        assert run("time.sleep(300)") is None


def test_preparations_come_in_order_and_only_so_many_ahead():
    started, may_end = [], threading.Event()

    def fetch(video):
        started.append(video)
        may_end.wait(30)
        return -video

    coming = ahead(range(5), fetch, 2)
    video, download = next(coming)
    assert isinstance(download, Future)
    may_end.set()
    assert (video, download.result()) == (0, 0)
    assert set(started) <= {0, 1}
    assert [(video, download.result()) for video, download in coming] == [(n, -n) for n in range(1, 5)]


def test_threads_of_a_worker_wait_without_burning_their_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    environment = worker_environment(2)
    counts = {name: value for name, value in environment.items() if name.endswith("_NUM_THREADS")}
    assert len(counts) >= 4 and set(counts.values()) == {"2"}
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
