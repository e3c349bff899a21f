"""Processor time by what it was spent on: in a worker, its threads, and the programs that it ran and waited for."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from multitalk.flows.running.events import read_events

START, COMMIT = "start", "commit"
"""What is spent beside the stages: imports of a worker process, and rows and files taking their places."""


class CpuTime:
    """Adds up processor seconds by what they were spent on, until they are taken.

    A thread that works beside what is measured is counted with it.
    """

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def add(self, of: str, seconds: float) -> None:
        """Add seconds."""
        self._seconds[of] += seconds  # type: ignore[assignment]  # a Counter of floats

    @contextmanager
    def measured(self, of: str) -> Iterator[None]:
        """Add what the process takes, with the programs that it waits for."""
        before = cpu_seconds()
        try:
            yield
        finally:
            self.add(of, cpu_seconds() - before)

    @contextmanager
    def measured_thread(self, of: str) -> Iterator[None]:
        """Add what this thread alone takes."""
        before = time.thread_time()
        try:
            yield
        finally:
            self.add(of, time.thread_time() - before)

    def take(self) -> dict[str, float]:
        """Return the seconds so far, and begin anew."""
        seconds, self._seconds = self._seconds, Counter()
        return {of: round(spent, 4) for of, spent in seconds.items()}


def cpu_seconds() -> float:
    """Processor seconds of this process and of the children that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def cpu_by_stage(events: Iterable[Path]) -> dict[str, float]:
    """Add up what finished videos took, from the events files of batches: seconds by stage, the most first."""
    total: Counter[str] = Counter()
    for place in events:
        for event in read_events(place):
            if event.kind == "finished":
                total.update(event.cpu)
    return dict(total.most_common())
