"""How long a query may take and how much memory: SQL can ask for what never ends in a line."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

GIB = 2**30
ROWS_AT_ONCE = 256
"""Of a result: a clip's landmarks may be 4 MB."""
_GRACE_SEC = 5.0
"""What DuckDB gets to heed an interruption, before its process is ended."""


def _half_of_memory() -> float:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return round(min(8.0, whole / 2), 1)


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one query may take.

    Raises
    ------
    ValueError
        When a limit is not above 0.
    """

    seconds: float = 300.0
    memory_gib: float = field(default_factory=_half_of_memory)
    """For the work, and again for the result; half of the machine's, at most 8, unless given."""

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.memory_gib > 0):
            raise ValueError("a query's limits must be above 0")

    def too_long(self) -> str:
        """Say that a query was stopped for its time."""
        return (
            f"the query was stopped after {self.seconds:g} s. Ask for less, or allow it more: --time-limit SECONDS, "
            "in Python query(..., limits=QueryLimits(seconds=...))"
        )

    def too_large(self) -> str:
        """Say that a query was stopped for its memory."""
        return (
            f"the query was stopped: it or its result takes more than {self.memory_gib:g} GiB. Ask for less (LIMIT, "
            "fewer columns), or allow it more: --memory-limit GIB, in Python query(..., "
            "limits=QueryLimits(memory_gib=...))"
        )


class Stopwatch:
    """Interrupts a connection once its time is over."""

    def __init__(self) -> None:
        self.over = False

    @contextmanager
    def running(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
        """Interrupt the connection's query after so many seconds."""

        def stop() -> None:
            self.over = True
            connection.interrupt()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class ResultTooLargeError(MemoryError):
    """A result grew beyond its limit."""


def collected(batches: pa.RecordBatchReader, most_bytes: float) -> pa.Table:
    """Collect a result as it comes, up to its limit.

    Raises
    ------
    ResultTooLargeError
        When it is larger.
    """
    found, size = [], 0
    for batch in batches:
        size += batch.nbytes
        if size > most_bytes:
            raise ResultTooLargeError
        found.append(batch)
    return pa.Table.from_batches(found, batches.schema)


@contextmanager
def confined_process(limits: QueryLimits) -> Iterator[None]:
    """Hold this whole process to the limits, for a command whose only work is a query.

    DuckDB heeds neither its memory limit nor an interruption while it computes what does not depend on any row, such
    as ``SELECT range(1000000000)``.
    """

    def end() -> None:
        sys.stderr.write(f"multitalk: {limits.too_long()}\n")
        sys.stderr.flush()
        os._exit(1)

    before = _limit_memory(int((2 * limits.memory_gib + 1) * GIB))
    timer = threading.Timer(limits.seconds + _GRACE_SEC, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        resource.setrlimit(resource.RLIMIT_AS, before)


def _limit_memory(more: int) -> tuple[int, int]:
    """Allow this process so many bytes beside those that it has; returns what it was allowed before."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # on Linux
        allowed = int(statistics.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + more
        limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(allowed, *limits) if limits else allowed, before[1]))
    return before
