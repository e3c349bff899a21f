import json

from multitalk.flows.running.progress import Counts, EventCounter


def test_events_are_counted_once_as_they_come(tmp_path):
    place = tmp_path / "german-0.events.jsonl"
    counter = EventCounter(tmp_path, ["german-0"])
    assert counter.count() == Counts()
    done = json.dumps({"event": "finished", "video": "a", "ok": 2, "failed": 1})
    with place.open("w") as file:
        file.write('{"event": "started", "video": "a"}\n' + done[:20])
        file.flush()
        assert counter.count() == Counts()
        file.write(done[20:] + "\n")
    assert counter.count() == counter.count() == Counts(1, 2, 1)
    with place.open("a") as file:
        file.write("cut off by a kill\n" + done + "\n")
    assert counter.count() == Counts(2, 4, 2)
