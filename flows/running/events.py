"""How far a run is, read from the events that its batches write."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.plan import Batch
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
