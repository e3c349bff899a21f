"""How far a command is, on stderr: bars on a terminal, elsewhere a line every quarter of a minute."""

import sys
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL_SEC = 15.0
_REMEMBERED = 0.1  # share of the work after which the pace of what was before counts half


class RemainingTime:
    """Estimates how long the rest of some work takes, from how long its last units took.

    What is weighted is work done, not time: the estimate changes when work gets done, and runs down in between.
    Only when the next unit is long overdue it grows, by as much as that one unit has cost more.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._of = 0.0
        # Sums over what was done lately, older work weighing less: seconds, units, and times that work got done.
        self._seconds = self._units = self._times = 0.0

    def update(self, now: float, done: float, of: float) -> None:
        """Take note that at `now` seconds `done` of `of` units are done; what the first call says took no time."""
        self._of = of
        if self._last is None:
            self._last = now, done
            return
        then, before = self._last
        if done <= before:
            return
        gained = done - before
        weight = 0.5 ** (gained / max(1.0, _REMEMBERED * of))
        self._seconds = self._seconds * weight + now - then
        self._units = self._units * weight + gained
        self._times = self._times * weight + 1
        self._last = now, done

    def seconds(self, now: float) -> float | None:
        """Return the seconds that are left; None before anything got done."""
        if self._last is None or not self._units:
            return None
        then, done = self._last
        patience = 2 * self._seconds / self._times
        overdue = max(0.0, now - then - patience)
        pace = (self._seconds + overdue) / self._units
        return max(0.0, (self._of - done) * pace - min(now - then, patience))


class ShownProgress:
    """Shows how far the steps of a command are, each from its first report until all of it is done.

    To be used as a context, so that a terminal is left as it was. Results on stdout pass by it.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]} ·", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=self._console,
            disable=not sys.stderr.isatty(),
            redirect_stdout=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._left: dict[str, RemainingTime] = {}
        self._printed: dict[str, float] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, step: str, done: float, of: float, text: str = "") -> None:
        """Show that `done` of `of` units of a step are done.

        Parameters
        ----------
        step
            What is done, for instance `clips measured`; each gets a bar of its own.
        done, of
            Units of work: the smaller they are, the better the time that is left is told.
        text
            What there is to say of it; none: `done` of `of`.
        """
        now = time.monotonic()
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=of, text="", left="")
            self._left[step] = RemainingTime()
            self._started[step] = self._printed[step] = now
        self._left[step].update(now, done, of)
        seconds = self._left[step].seconds(now)
        left = f"about {duration(seconds)} left" if seconds is not None and done < of else ""
        text = text or f"{done:.0f} of {of:.0f}"
        if not self._bars.disable:
            self._bars.update(
                self._tasks[step], completed=done, total=of, text=text, left=left and f"· {left}"
            )
        elif now - self._printed[step] >= PLAIN_INTERVAL_SEC:
            self._printed[step] = now
            parts = [
                f"{step}: {text}",
                f"{duration(now - self._started[step])} so far",
                *filter(None, [left]),
            ]
            self._console.print(", ".join(parts), highlight=False, markup=False, soft_wrap=True)

    def step(self, name: str) -> Callable[[int, int], None]:
        """Return what shows that so many of so many units of a step are done."""
        return partial(self.update, name)


def duration(seconds: float) -> str:
    """Say a time as one reads it: 95 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
