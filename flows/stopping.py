"""Ctrl-C while a flow's batches are at work: they stop in order, and the flow ends where nothing is half done."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture, wait

from flows.worker_process import STOP_FILE

_TURN_SEC = 1.0
_ENDING_SEC = 30


@contextlib.contextmanager
def stopping_in_order(run_folder: Path, futures: Sequence[PrefectFuture[Any]]) -> Iterator[None]:
    """On Ctrl-C, a cancelled flow run or an error, tell the batches to stop and wait until they have.

    Ctrl-C makes the file that workers look for, also those on other machines; `turns` then raises. Raised at once,
    KeyboardInterrupt would strike Prefect amid its locks, where it can be lost. A second Ctrl-C is.

    Parameters
    ----------
    run_folder
        Of the run; gets the file `STOP_FILE`.
    futures
        The batches; may grow within.
    """
    stop = run_folder / STOP_FILE
    try:
        with _ctrl_c_makes(stop):
            yield
    except BaseException:
        stop.touch()
        wait(list(futures), timeout=_ENDING_SEC)
        raise


def turns(run_folder: Path, futures: Sequence[PrefectFuture[Any]]) -> Iterator[None]:
    """Yield every second while batches are at work, and once more at the end.

    Raises
    ------
    KeyboardInterrupt
        The run was told to stop.
    """
    running: Any = futures
    while running:
        running = wait(list(futures), timeout=_TURN_SEC).not_done
        if (run_folder / STOP_FILE).exists():
            raise KeyboardInterrupt
        yield


@contextlib.contextmanager
def _ctrl_c_makes(stop: Path) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()  # only that one may set handlers
    if elsewhere or before in (None, signal.SIG_IGN):  # ignored: a job in the background
        yield
        return

    def told(*_: object) -> None:
        stop.touch()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
