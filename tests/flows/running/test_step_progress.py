import io
import sys

import pytest

from multitalk.flows.running import step_progress
from multitalk.flows.running.step_progress import StepProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    seconds = [0.0]
    monkeypatch.setattr(step_progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_terminal_has_one_line_that_ends_with_the_steps(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    show = StepProgress("clips measured")
    for done in range(4):
        clock[0] = 10.0 * done
        show(done, 3)
    lines = sys.stderr.getvalue().split("\r\x1b[K")
    assert lines == [
        "",
        "clips measured: 0 of 3",
        "clips measured: 1 of 3, about 20 s left",
        "clips measured: 2 of 3, about 10 s left",
        "clips measured: 3 of 3\n",
    ]


def test_a_log_gets_a_line_now_and_then(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show = StepProgress("steps")
    for second in range(61):
        clock[0] = float(second)
        show(1000 + second, 100_000)  # a run that goes on: what was done before took no time
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "steps: 1015 of 100000, about 27.5 h left"
    assert len(lines) == 4
