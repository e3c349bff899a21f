"""Progress of a run, read from the events that its batches write: on the terminal, and as numbers."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.plan import Batch
from flows.step_progress import PLAIN_INTERVAL_SEC
from flows.worker_process import signs_in


@dataclass(frozen=True, slots=True)
class Counts:
    """What is finished of a run."""

    videos: int = 0
    ok: int = 0
    failed: int = 0


class EventCounter:
    """Adds up the finished videos and their clips over the event files of batches, reading each line once."""

    def __init__(self, run_folder: Path, batches: Iterable[Batch]) -> None:
        self._read = {run_folder / f"{batch.name}.events.jsonl": 0 for batch in batches}
        self._counts = Counts()

    def count(self) -> Counts:
        """Read what the batches have written since the last call."""
        for place, begin in self._read.items():
            if place.exists():
                with place.open("rb") as file:
                    file.seek(begin)
                    lines = file.read()
                end = lines.rfind(b"\n") + 1  # the last line may be half written
                self._read[place] = begin + end
                for event in signs_in(lines[:end].decode(errors="replace")):
                    self._add(event)
        return self._counts

    def _add(self, event: dict[str, Any]) -> None:
        if event.get("event") == "finished":
            counts = self._counts
            self._counts = Counts(
                counts.videos + 1, counts.ok + event.get("ok", 0), counts.failed + event.get("failed", 0)
            )


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
