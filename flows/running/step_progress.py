"""How far a command of many like steps is, on stderr."""

import sys
import time

PLAIN_INTERVAL_SEC = 15.0


class StepProgress:
    """Shows steps done: in one line of a terminal, elsewhere in a line every quarter of a minute."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began_at: int | None = None
        self._started = self._printed = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        """Show `done` of `of` steps and the time that is left, as those took that were done since the first call."""
        now = time.monotonic()
        if self._began_at is None:
            self._began_at, self._started = done, now
        steps = done - self._began_at
        left = f", about {_time((now - self._started) / steps * (of - done))} left" if steps else ""
        ended = done >= of
        if sys.stderr.isatty():
            text = f"{self._what}: {done} of {of}{'' if ended else left}"
            sys.stderr.write(f"\r\x1b[K{text}" + ("\n" if ended else ""))
            sys.stderr.flush()
        elif now - self._printed >= PLAIN_INTERVAL_SEC:
            self._printed = now
            sys.stderr.write(f"{self._what}: {done} of {of}{left}\n")
            sys.stderr.flush()


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
