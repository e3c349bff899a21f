"""The pause that all downloads of a run share."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from multitalk.extract.downloading.pace import Pace


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_a_pause_holds_other_workers_too(tmp_path, clock):
    first, second = (Pace(tmp_path / "pause.json", 60, clock) for _ in range(2))
    assert second.remaining_sec() == 0
    assert first.slow_down() == 60
    assert second.remaining_sec() == 60
    second.wait(clock.sleep)
    assert 1060 <= clock.now <= 1066
    assert first.remaining_sec() == 0


def test_those_who_wait_go_on_one_after_the_other(tmp_path):
    ends = []
    for _ in range(20):
        clock, path = Clock(), tmp_path / f"{len(ends)}.json"
        Pace(path, 60, clock).slow_down()
        Pace(path, 60, clock).wait(clock.sleep)
        ends.append(clock.now)
    assert max(ends) - min(ends) > 1


def test_who_waits_waits_on_when_another_meets_the_limit_again(tmp_path, clock):
    pace = Pace(tmp_path / "pause.json", 60, clock)
    pace.slow_down()

    def sleep(seconds):
        clock.sleep(seconds)
        if pace.remaining_sec() == 0 and clock.now < 1070:
            assert pace.slow_down() == 120

    pace.wait(sleep)
    assert clock.now >= 1180


def test_workers_that_meet_the_same_limit_make_one_pause(tmp_path, clock):
    pace = Pace(tmp_path / "pause.json", 60, clock)
    pace.slow_down()
    clock.now += 10
    assert pace.slow_down() == 50


def test_pauses_double_while_the_limit_lasts_and_begin_anew_after_a_good_time(tmp_path, clock):
    pace = Pace(tmp_path / "pause.json", 60, clock)
    lengths = []
    for _ in range(8):
        lengths.append(pace.slow_down())
        pace.wait(clock.sleep)
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    clock.now += 10_000
    assert pace.slow_down() == 60


def test_the_servers_wish_counts_when_it_is_longer(tmp_path, clock):
    pace = Pace(tmp_path / "pause.json", 60, clock)
    assert pace.slow_down(300) == 300
    assert pace.slow_down(10) == 300


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '["a", "b"]', "\x00", "x" * 1000])
def test_a_broken_file_is_no_pause_until_there_is_one(tmp_path, clock, content):
    (tmp_path / "pause.json").write_text(content)
    pace = Pace(tmp_path / "pause.json", 60, clock)
    assert pace.remaining_sec() == 0
    assert pace.slow_down() == pace.remaining_sec() == 60


def test_downloads_that_meet_a_limit_together_leave_one_file(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paces = [Pace(tmp_path / "pause.json", 60) for _ in range(8)]
        for _ in range(50):
            assert max(pool.map(Pace.slow_down, paces)) <= 240
    assert [path.name for path in tmp_path.iterdir()] == ["pause.json"]
    assert 0 < paces[0].remaining_sec() <= 240


def test_a_clock_set_back_does_not_stop_the_run_for_good(tmp_path, clock):
    pace = Pace(tmp_path / "pause.json", 60, clock)
    pace.slow_down()
    clock.now -= 1_000_000
    assert pace.remaining_sec() <= 3600
