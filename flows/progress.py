"""Progress of a run, read from the events that its batches write: on the terminal, and as numbers."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.plan import Batch
from flows.supervise import read_events

_PLAIN_INTERVAL_SEC = 15.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What is finished of a run."""

    videos: int = 0
    ok: int = 0
    failed: int = 0


def count_events(run_folder: Path, batches: Iterable[Batch]) -> Counts:
    """Add up the finished videos and their clips over the event files of `batches`."""
    videos = ok = failed = 0
    for batch in batches:
        for event in read_events(run_folder / f"{batch.name}.events.jsonl"):
            if event.get("event") == "finished":
                videos += 1
                ok += event.get("ok", 0)
                failed += event.get("failed", 0)
    return Counts(videos, ok, failed)


class TerminalProgress:
    """A bar on stderr (a line every quarter of a minute where stderr is no terminal)."""

    def __init__(self, videos: int, clips: int) -> None:
        self._console = Console(stderr=True)
        self._clips = clips
        self._videos = videos
        self._bar = Progress(
            TextColumn("[bold]build"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("videos · {task.fields[clips]} · {task.fields[failed]} failed ·"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("build", total=videos, clips=f"0/{clips} clips", failed=0)
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, counts: Counts) -> None:
        """Show `counts`."""
        clips = f"{counts.ok + counts.failed}/{self._clips} clips"
        self._bar.update(self._task, completed=counts.videos, clips=clips, failed=counts.failed)
        now = time.monotonic()
        if self._bar.disable and now - self._printed >= _PLAIN_INTERVAL_SEC:
            self._printed = now
            self._console.print(
                f"build: {counts.videos}/{self._videos} videos, {clips}, {counts.failed} failed, "
                f"{now - self._started:.0f} s, left {self._remaining(counts, now)}",
                highlight=False,
            )

    def _remaining(self, counts: Counts, now: float) -> str:
        if not counts.videos:
            return "unknown"
        seconds = (now - self._started) / counts.videos * (self._videos - counts.videos)
        return f"about {seconds:.0f} s"
