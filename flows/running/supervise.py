"""Takes the items of a batch through worker processes, and goes on after one died under an item, or hung on it.

A worker appends a line of JSON to an events file whenever it gets on (`Event`); that is all that it and its
supervisor say to each other, and it is what progress is counted from.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from multitalk.flows.running.worker_process import STOP_FILE, read_signs

Item = TypeVar("Item")

_PROGRESS_SEC = 0.5


class Events:
    """The events file of a batch, as its worker writes it.

    Parameters
    ----------
    file
        Open for appending text.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._written_at = 0.0

    def started(self, item: str) -> None:
        """Say that an item is being worked on: if the process dies now, it is the suspect."""
        self._write("started", item)

    def progress(self, item: str, share: float = 0.0) -> None:
        """Say that the work on an item gets on, and how much of it is done, 0 to 1; seldom is enough."""
        if time.monotonic() - self._written_at >= _PROGRESS_SEC:
            self._write("progress", item, share=round(share, 4))

    def finished(self, item: str, cpu: Mapping[str, float] | None = None, **counts: int) -> None:
        """Say that an item is committed, with what it gave, and took: processor seconds by what for."""
        self._write("finished", item, **counts, **({"cpu": dict(cpu)} if cpu else {}))

    def _write(self, event: str, item: str, **details: Any) -> None:
        self._file.write(
            json.dumps({"event": event, "item": item, "at": round(time.time(), 2), **details}) + "\n"
        )
        self._file.flush()
        self._written_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Supervision(Generic[Item]):
    """How the items of a batch are worked on.

    Parameters
    ----------
    items
        By the name that events call them.
    events
        The events file.
    run_worker
        Runs one worker process over some items; says how it ended, None where it was told to stop.
    give_up
        Commits an item under which worker processes died; gets how the last one ended, returns its counts.
    retries
        New tries for such an item.
    """

    items: Mapping[str, Item]
    events: Path
    run_worker: Callable[[Sequence[Item]], str | None]
    give_up: Callable[[Item, str], Mapping[str, int]]
    retries: int

    def run(self) -> list[str]:
        """Work until every item is finished, or the run is told to stop; returns the names that are finished.

        A file named as `STOP_FILE`, beside the events, ends it early.
        """
        remaining = dict(self.items)
        crashes: Counter[str] = Counter()
        self._drop_finished(remaining)  # a batch may be run again that failed after its work
        while remaining and not self.events.with_name(STOP_FILE).exists():
            ending = self.run_worker(list(remaining.values()))
            at_work = self._drop_finished(remaining)
            if ending is None or not remaining:
                break
            suspect = at_work or next(iter(remaining))
            crashes[suspect] += 1
            if crashes[suspect] > self.retries:
                counts = self.give_up(remaining.pop(suspect), ending)
                with self.events.open("a", encoding="utf-8") as file:
                    Events(file).finished(suspect, None, **counts)
        return [name for name in self.items if name not in remaining]

    def _drop_finished(self, remaining: dict[str, Item]) -> str | None:
        """Remove what is finished from `remaining`; returns the item that was at work, if any."""
        at_work: str | None = None
        for event in read_signs(self.events):
            name = str(event.get("item"))
            if event.get("event") == "finished":
                remaining.pop(name, None)
                at_work = None
            elif name in remaining:
                at_work = name
        return at_work


def finished_counts(events: Path) -> Counter[str]:
    """Add up what the finished items of a batch gave."""
    total: Counter[str] = Counter()
    for event in _finished(events):
        total["items"] += 1
        total.update({k: v for k, v in event.items() if isinstance(v, int) and k not in ("event", "item")})
    return total


def _finished(events: Path) -> Iterator[dict[str, Any]]:
    seen: dict[str, dict[str, Any]] = {}
    for event in read_signs(events):
        if event.get("event") == "finished":
            seen[str(event.get("item"))] = event
    yield from seen.values()
