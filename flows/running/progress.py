"""Progress of a run, read from the events that its batches write: on the terminal, and as numbers."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from multitalk.flows.running.step_progress import PLAIN_INTERVAL_SEC


class TerminalProgress:
    """A bar on stderr (a line every quarter of a minute where stderr is no terminal)."""

    def __init__(self, title: str, videos: int) -> None:
        self._console = Console(stderr=True)
        self._title = title
        self._videos = videos
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]} ·"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(title, total=videos, text="")
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: float, text: str) -> None:
        """Show how many videos are done, parts of one included, and what there is to say of them."""
        self._bar.update(self._task, completed=done, text=text)
        now = time.monotonic()
        if self._bar.disable and now - self._printed >= PLAIN_INTERVAL_SEC:
            self._printed = now
            seconds = now - self._started
            left = f"about {seconds / done * (self._videos - done):.0f} s" if done else "unknown"
            self._console.print(f"{self._title}: {text}, {seconds:.0f} s, left {left}", highlight=False)
