"""RunProgress on a terminal and in a log, and estimates of the time that is left."""

import heapq
import io
import random
import sys

import pytest

from multitalk.flows.running import progress
from multitalk.flows.running.progress import RemainingTime, ShownProgress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_terminal_has_a_bar_for_each_step(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with ShownProgress() as shown:
        for done in range(4):
            clock[0] = 10.0 * done
            shown.update("clips measured", done, 3)
            shown.step("frames drawn")(done, 6)
        sys.stdout.write("a result\n")
    text = sys.stderr.getvalue()
    assert "clips measured" in text and "3 of 3" in text
    assert "frames drawn" in text and "3 of 6" in text and "about 30 s left" in text
    assert "a result" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is there again


def test_a_terminal_is_left_as_it_was_after_an_error(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), ShownProgress() as shown:
        shown.update("steps", 1, 2)
        raise KeyboardInterrupt
    text = sys.stderr.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0


def test_a_log_gets_a_line_now_and_then(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ShownProgress() as shown:
        for second in range(61):
            clock[0] = float(second)
            # A run that goes on: what was done before took no time.
            shown.update("steps", 1000 + second, 100_000)
        shown.update("build", 0, 2, "[0/2] videos")
        clock[0] += 15
        shown.update("build", 0, 2, "[0/2] videos")
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "steps: 1015 of 100000, 15 s so far, about 27.5 h left"
    assert len(lines) == 5
    assert lines[-1] == "build: [0/2] videos, 15 s so far"


def test_times_read_well():
    assert [duration(seconds) for seconds in (0.4, 99, 600, 12_600)] == ["0 s", "99 s", "10 min", "3.5 h"]


def estimates(lengths, workers, units=None):
    """Estimated and true seconds left, every second of work that some workers do in parallel."""
    units = units or [1] * len(lengths)
    ends, free = [], [0.0] * workers
    for length, unit in zip(lengths, units, strict=True):
        start = heapq.heappop(free)
        heapq.heappush(free, start + length)
        ends.append((start + length, unit))
    whole, total, left, found = max(end for end, _ in ends), sum(units), RemainingTime(), []
    for second in range(int(whole) + 1):
        left.update(second, sum(unit for end, unit in ends if end <= second), total)
        found.append((second, left.seconds(second), whole - second))
    return found


def test_steady_work_is_foretold_from_its_first_part_on():
    for second, told, true in estimates([40.0] * 24, 4):
        if second > 40:
            assert told == pytest.approx(true, abs=1.5)


@pytest.mark.parametrize("seed", range(5))
def test_uneven_work_is_foretold_better_and_better(seed):
    chance = random.Random(seed)
    units = [chance.choice([1, 3, 10, 30, 60]) for _ in range(200)]
    lengths = [unit * chance.uniform(0.7, 1.3) + chance.expovariate(0.2) for unit in units]
    found = estimates(lengths, 4, units)
    whole = found[-1][0]
    for second, told, true in found:
        if second > 0.25 * whole:
            assert abs(told - true) < 0.3 * whole
        if second > 0.6 * whole:
            assert abs(told - true) < 0.2 * whole


def test_a_pause_does_not_run_away():
    left = RemainingTime()
    for done in range(11):
        left.update(10.0 * done, done, 40)
    assert left.seconds(100) == pytest.approx(300)
    assert left.seconds(110) == pytest.approx(290)
    # A unit that takes 60 s longer makes the rest not six times as long, as counting from the pause would.
    assert left.seconds(180) < 700


def test_a_change_of_pace_is_learned():
    left, now = RemainingTime(), 0.0
    for done in range(101):
        left.update(now, done, 200)
        now += 1 if done < 50 else 5
    assert left.seconds(now) == pytest.approx(500, rel=0.15)


def test_nothing_is_told_before_anything_is_done():
    left = RemainingTime()
    assert left.seconds(0) is None
    left.update(0, 5, 10)
    left.update(9, 5, 10)
    assert left.seconds(9) is None
