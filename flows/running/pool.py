"""Batches on this machine: so many at a time, each watched by a thread, with progress, and stopped in order.

Plain Python; the flows that run batches by Prefect use the same functions for a batch, and for progress.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from multitalk.flows.running.worker_process import STOP_FILE

AnyBatch = TypeVar("AnyBatch")

_TURN_SEC = 0.5
_ENDING_SEC = 30


def make_run_folder(folder: Path) -> Path:
    """Make a folder for the events and logs of a run; it stays, for whoever asks later what went wrong."""
    made = folder / ".runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    made.mkdir(parents=True)
    return made


def run_batches(
    batches: Sequence[AnyBatch],
    run_batch: Callable[[AnyBatch], None],
    *,
    at_once: int,
    run_folder: Path,
    show: Callable[[], None],
) -> None:
    """Run batches in threads that watch worker processes.

    Parameters
    ----------
    batches
        In the order in which they begin.
    run_batch
        Returns when a batch is done, or soon after `STOP_FILE` appeared in the run's folder.
    at_once
        Batches at work at the same time.
    show
        Called twice a second, and once at the end.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, after the batches have stopped.
    Exception
        The first error of a batch; the others have stopped.
    """
    stop = run_folder / STOP_FILE
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="batch")
    futures: list[Future[None]] = []
    try:
        with ctrl_c_makes(stop):
            futures += [pool.submit(run_batch, batch) for batch in batches]
            running: set[Future[None]] = set(futures)
            while running:
                done, running = wait(running, timeout=_TURN_SEC)
                for future in done:
                    future.result()
                if stop.exists():
                    raise KeyboardInterrupt
                show()
    except BaseException:
        stop.touch()
        for future in futures:
            future.cancel()
        wait(futures, timeout=_ENDING_SEC)
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def ctrl_c_makes(stop: Path) -> Iterator[None]:
    """Let Ctrl-C make a file that workers look for, also those on other machines; a second one is raised at once."""
    before = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()  # only that one may set handlers
    if elsewhere or before in (None, signal.SIG_IGN):  # ignored: a job in the background
        yield
        return

    def ask_to_stop(*_: object) -> None:
        stop.touch()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
