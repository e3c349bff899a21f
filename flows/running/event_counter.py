"""How far the batches of a run are, counted from the events that their workers write."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from multitalk.flows.running.events import Event, events_in


@dataclass(frozen=True, slots=True)
class RunProgress:
    """What of a run is done."""

    items: int
    """Finished ones."""
    done: float
    """The same, and the shares of those at work."""
    counts: Counter[str] = field(default_factory=Counter)
    """What the finished ones gave, added up."""


class EventCounter:
    """Adds up the events files of batches, reading each line once.

    Parameters
    ----------
    files
        They may appear later.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._read = dict.fromkeys(files, 0)
        self._finished: set[str] = set()
        self._shares: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def count(self) -> RunProgress:
        """Read what the batches have written since the last call."""
        for place, begin in self._read.items():
            if place.exists():
                with place.open("rb") as file:
                    file.seek(begin)
                    lines = file.read()
                end = lines.rfind(b"\n") + 1  # the last line may be half written
                self._read[place] = begin + end
                for event in events_in(lines[:end].decode(errors="replace")):
                    self._add(place.name, event)
        finished = len(self._finished)
        return RunProgress(finished, finished + sum(self._shares.values()), Counter(self._counts))

    def _add(self, batch: str, event: Event) -> None:
        item = f"{batch}/{event.item}"
        if event.kind == "finished":
            self._shares.pop(item, None)
            if item not in self._finished:
                self._finished.add(item)
                self._counts.update(event.counts)
        elif event.kind == "progress" and item not in self._finished:
            self._shares[item] = event.share
