"""Where a flow's batches run, and how they stop: Prefect's task runners around our worker processes."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from multitalk.flows.running.pool import ctrl_c_makes
from multitalk.flows.running.worker_process import STOP_FILE
from multitalk.ground.settings import SettingsError

_TURN_SEC = 1.0
_ENDING_SEC = 30


def task_runner(kind: Literal["local", "dask", "ray"], address: str | None, workers: int) -> TaskRunner[Any]:
    """Return the task runner that settings name.

    Raises
    ------
    SettingsError
        If the extra that brings it is not installed.
    """
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    try:
        if kind == "dask":
            from prefect_dask.task_runners import DaskTaskRunner

            cluster = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
            runner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=cluster)
        if kind == "ray":
            from prefect_ray.task_runners import RayTaskRunner

            runner = RayTaskRunner(address=address, init_kwargs={} if address else {"num_cpus": workers})
    except ImportError as error:
        raise SettingsError(
            f"task_runner: {kind} needs the extra of its name: pip install multitalk[{kind}]"
        ) from error
    return runner


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
        with ctrl_c_makes(stop):
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
