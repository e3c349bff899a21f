import json
import subprocess
import sys
import threading
import time

from multitalk.flows.running.cpu_time import CpuTime, cpu_by_stage
from multitalk.flows.running.event_counter import EventCounter
from multitalk.flows.running.events import EventWriter
from multitalk.flows.running.supervise import finished_counts


def burn(seconds):
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        pass


def test_a_stage_is_charged_with_its_threads_and_programs_and_not_with_waiting():
    cpu = CpuTime()
    with cpu.measured("fit"):
        thread = threading.Thread(target=burn, args=[0.1])
        thread.start()
        thread.join()
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    with cpu.measured_thread("source"):
        time.sleep(0.05)
    cpu.add("source", 2)
    spent = cpu.take()
    assert spent["fit"] > 0.11
    assert 2 <= spent["source"] < 2.04
    assert cpu.take() == {}


def test_what_workers_wrote_is_added_up_and_is_no_count_of_clips(tmp_path):
    place = tmp_path / "b.events.jsonl"
    with place.open("w") as file:
        events = EventWriter(file)
        events.finished("a", {"fit": 1.5, "trim": 0.5}, ok=2, failed=0)
        events.finished("b", {"fit": 1.0}, ok=1, failed=1)
        events.finished("c", ok=1)
        file.write(json.dumps({"event": "finished", "item": "d", "cpu": "much"}) + "\n")
        file.write(json.dumps({"event": "progress", "item": "e", "cpu": {"fit": 9}}) + "\n")
    assert cpu_by_stage([place, tmp_path / "none"]) == {"fit": 2.5, "trim": 0.5}
    assert finished_counts(place) == {"items": 4, "ok": 4, "failed": 1}
    assert EventCounter([place]).count().counts["ok"] == 4
