"""How far a run is, from what its workers write."""

import json
from collections import Counter

from multitalk.flows.running.event_counter import EventCounter, RunProgress


def test_events_are_counted_once_as_they_come(tmp_path):
    place = tmp_path / "german-0.events.jsonl"
    counter = EventCounter([place])
    assert counter.count() == RunProgress(0, 0.0, Counter())
    done = json.dumps({"event": "finished", "item": "a", "ok": 2, "failed": 1})
    with place.open("w") as file:
        file.write('{"event": "started", "item": "a"}\n' + done[:20])
        file.flush()
        assert counter.count() == RunProgress(0, 0.0, Counter())
        file.write(done[20:] + "\n")
    assert counter.count() == counter.count() == RunProgress(1, 1.0, Counter(ok=2, failed=1))
    with place.open("a") as file:
        file.write("cut off by a kill\n" + done.replace('"a"', '"b"') + "\n")
    assert counter.count() == RunProgress(2, 2.0, Counter(ok=4, failed=2))


def test_an_item_that_two_workers_finished_counts_once(tmp_path):
    """A batch that was run again, after its work was done."""
    place = tmp_path / "german-0.events.jsonl"
    place.write_text('{"event": "finished", "item": "a", "ok": 2}\n' * 2)
    assert EventCounter([place]).count() == RunProgress(1, 1.0, Counter(ok=2))


def test_shares_of_what_is_at_work_count_until_it_is_finished(tmp_path):
    place = tmp_path / "german-0.events.jsonl"
    counter = EventCounter([place])
    lines = [
        {"event": "progress", "item": "a", "share": 0.25},
        {"event": "progress", "item": "b", "share": 0.5},
    ]
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert counter.count() == RunProgress(0, 0.75, Counter())
    with place.open("a") as file:
        file.write('{"event": "finished", "item": "b", "ok": 1}\n')
    assert counter.count() == RunProgress(1, 1.25, Counter(ok=1))


def test_lines_that_are_json_but_no_events(tmp_path):
    """A kill and a full disk leave anything."""
    place = tmp_path / "german-0.events.jsonl"
    place.write_text('7\nnull\n["finished"]\n{"event": "finished", "item": "a", "ok": 1}\n')
    assert EventCounter([place]).count() == RunProgress(1, 1.0, Counter(ok=1))
