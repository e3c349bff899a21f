"""Takes the items of a batch through worker processes, and goes on after one died under an item, or hung on it.

A worker appends a line of JSON to an events file whenever it gets on (`Event`); that is all that it and its
supervisor say to each other, and it is what progress is counted from.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from multitalk.flows.running.events import Event, EventWriter, read_events
from multitalk.flows.running.worker_process import STOP_FILE

Item = TypeVar("Item")


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
                    EventWriter(file).finished(suspect, None, **counts)
        return [name for name in self.items if name not in remaining]

    def _drop_finished(self, remaining: dict[str, Item]) -> str | None:
        """Remove what is finished from `remaining`; returns the item that was at work, if any."""
        at_work: str | None = None
        for event in read_events(self.events):
            if event.kind == "finished":
                remaining.pop(event.item, None)
                at_work = None
            elif event.item in remaining:
                at_work = event.item
        return at_work


def finished_counts(events: Path) -> Counter[str]:
    """Add up what the finished items of a batch gave."""
    total: Counter[str] = Counter()
    for event in _finished(events):
        total["items"] += 1
        total.update(event.counts)
    return total


def _finished(events: Path) -> Iterator[Event]:
    yield from {event.item: event for event in read_events(events) if event.kind == "finished"}.values()
