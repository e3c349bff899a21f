"""The events of a batch: lines of JSON by which a worker tells that it gets on, and what it has done."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_PROGRESS_SEC = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an events file."""

    kind: str
    """`started`, `progress` or `finished`."""
    item: str
    """What was worked on."""
    at: float = 0.0
    """`time.time` of the worker's machine."""
    share: float = 0.0
    """How much of the item is done, 0 to 1."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What a finished item gave."""
    cpu: Mapping[str, float] = field(default_factory=dict)
    """Processor seconds that a finished item took, by what for."""


class EventWriter:
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


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file, none where it is not there; a last line cut off by a kill is left out."""
    if path.exists():
        yield from events_in(path.read_text(encoding="utf-8", errors="replace"))


def events_in(lines: str) -> Iterator[Event]:
    """Yield the events of lines of JSON; a line that is none is left out."""
    for line in lines.splitlines():
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(content, dict):
            yield _event(content)


def _event(content: Mapping[str, object]) -> Event:
    """Take from a line what is of the right kind."""
    named = ("event", "item", "at", "share", "cpu")
    cpu = content.get("cpu")
    return Event(
        str(content.get("event")),
        str(content.get("item")),
        _number(content.get("at")),
        _number(content.get("share")),
        {name: n for name, n in content.items() if isinstance(n, int) and name not in named},
        {str(of): _number(spent) for of, spent in cpu.items()} if isinstance(cpu, Mapping) else {},
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
