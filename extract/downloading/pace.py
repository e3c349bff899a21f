"""A pause that all workers of a run share, so that one rate limit slows all of them down."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

_LONGEST_SEC = 3600.0
"""YouTube names an hour as the longest time that a session stays limited."""
_SPREAD = 0.1
_LINE_BYTES = 64


class Pace:
    """Holds back downloads after a bot check or a rate limit; shared through a small file.

    Parameters
    ----------
    path
        The file; its folder exists. All workers of a run name the same.
    first_pause_sec
        Length of the first pause. Each further one that follows closely is twice as long, up to
        an hour.
    """

    def __init__(
        self, path: Path, first_pause_sec: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._first = first_pause_sec
        self._clock = clock

    def remaining_sec(self) -> float:
        """Return how long nobody should start a download, at most an hour."""
        return self._remaining(0.0)

    def wait(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Sleep until the pause is over, also when it is prolonged meanwhile.

        All who wait go on one after the other, over a tenth of the pause: if the limit still holds, the first
        one meets it and the others go on waiting.
        """
        later = random.uniform(0, _SPREAD)  # noqa: S311 (no secret)
        waited = False
        while (remaining := self._remaining(later if waited else 0.0)) > 0:
            waited = True
            sleep(min(remaining, 5.0))

    def slow_down(self, at_least_sec: float | None = None) -> float:
        """Begin a pause, or prolong the one that runs; return its length in seconds."""
        now = self._clock()
        until, last = self._read()
        running_or_recent = now < until + last
        if now < until:
            length = max(until - now, at_least_sec or 0.0)  # others met the same limit: one pause for all
        else:
            length = max(last * 2 if running_or_recent else self._first, at_least_sec or 0.0)
        length = min(length, _LONGEST_SEC)
        self._write(now + length, last if now < until else length)
        return length

    def _remaining(self, later: float) -> float:
        until, length = self._read()
        # A clock that was set back must not stop the run for good.
        return min(max(until + later * length - self._clock(), 0.0), _LONGEST_SEC)

    def _read(self) -> tuple[float, float]:
        try:
            until, length = json.loads(self._path.read_text())
            return float(until), float(length)
        except (OSError, ValueError, TypeError):
            return 0.0, 0.0

    def _write(self, until: float, length: float) -> None:
        # Always of one length, in one write: several threads and processes can do it at once, readers see the old
        # line or the new, and a worker that is killed leaves no other file behind.
        line = json.dumps([until, length]).ljust(_LINE_BYTES).encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(handle, line, 0)
            os.ftruncate(handle, _LINE_BYTES)  # what was there may have been longer, and no pause
        finally:
            os.close(handle)
