"""Worker processes: native code that crashes on a stranger's file, or hangs, takes down one video and not a run.

The parent's side is `run_worker`; the child's is `work`.
"""

import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import TypeAdapter

from multitalk.ground.arrow import spare_pandas
from multitalk.ground.child_processes import end_group, end_with_parent, how_it_ended, start_module

STOP_FILE = "stop"
"""Name of the file, beside a worker's job, that ends it early."""

_POLL_SEC = 0.25
_SIGN_OF_LIFE_SEC = 10.0

Job = TypeVar("Job")
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_worker(
    module: str, job: object, stem: Path, *, threads: int, timeout_sec: float, events: Path
) -> str | None:
    """Run a worker process to its end.

    Parameters
    ----------
    module
        What the process runs, as ``python -m``; it calls `work`.
    job
        Dataclass that it is started with.
    stem
        Path whose name, with endings, the job file and the worker's log get; `STOP_FILE` lies beside them.
    threads
        CPU threads that the numerical libraries of the process may use.
    timeout_sec
        The process is ended when it gave no sign of life for so long.
    events
        File to which the worker appends a line whenever it gets on.

    Returns
    -------
    str or None
        How the process ended, to follow "the worker process"; None if it was told to stop.
    """
    job_file = stem.with_name(stem.name + ".job.json")
    job_file.write_bytes(TypeAdapter(type(job)).dump_json(job))
    with stem.with_name(stem.name + ".log").open("ab") as log:
        process = start_module(
            module, [str(job_file)], stdout=log, stderr=log, environment=worker_environment(threads)
        )
        try:
            return _watch(process, events, timeout_sec, stem.with_name(STOP_FILE))
        finally:
            end_group(process)
            job_file.unlink(missing_ok=True)


def _watch(process: subprocess.Popen[bytes], events: Path, timeout_sec: float, stop: Path) -> str | None:
    last, last_change = -1, time.monotonic()
    while process.poll() is None:
        if stop.exists():
            return None
        if (now := events.stat().st_size if events.exists() else 0) != last:
            last, last_change = now, time.monotonic()
        if time.monotonic() - last_change > timeout_sec:
            return f"made no progress for {timeout_sec:.0f} s and was ended"
        time.sleep(_POLL_SEC)
    return how_it_ended(process.returncode) if process.returncode else "ended early"


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker whose numerical libraries may use so many CPU threads.

    More than one wait for each other in a loop that burns their cores, which took a build of two workers on two
    cores twice the processor time; told to wait passively they do not.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def work(kind: type[Job], run: Callable[[Job], None]) -> NoReturn:
    """Do the job whose file the command line names, and end the process; it also ends when the parent is gone."""
    end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    spare_pandas()
    import cv2

    cv2.setNumThreads(1)  # several workers share the cores, and OpenCV does not heed OMP_NUM_THREADS
    run(TypeAdapter(kind).validate_json(Path(sys.argv[1]).read_bytes()))
    sys.stdout.flush()
    sys.stderr.flush()
    # MediaPipe and torch leave threads behind that can hang the interpreter's exit; all is committed by now.
    os._exit(0)


def ahead(
    items: Sequence[Item], prepare: Callable[[Item], Result], at_once: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield each item with its preparation, `at_once` of which are under way, that of the item at work included."""
    waiting = deque(items)
    under_way: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="ahead") as pool:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                item = waiting.popleft()
                under_way.append((item, pool.submit(prepare, item)))
            yield under_way.popleft()


def await_prepared(preparation: Future[Result], progress: Callable[[], None]) -> Result:
    """Wait for a preparation, a download: it has limits of its own, and rightly takes hours in a pause.

    It never counts as hung.
    """
    while not wait([preparation], _SIGN_OF_LIFE_SEC).done:
        progress()
    return preparation.result()
