"""How far a build is, from the events of its workers."""

import json
import time

import pytest

from multitalk.flows.building.batch import events_path
from multitalk.flows.building.plan import AnnotatedVideo, Batch, write_batches
from multitalk.flows.commands.main import main
from multitalk.flows.discovering import batch as discovering
from multitalk.flows.discovering.results import RawVideo
from multitalk.flows.looking.run_status import run_status
from multitalk.flows.running.events import EventWriter
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.store import commit_fragment


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run of four videos in two batches."""
    folder = tmp_path / ".runs" / "20260102T030405-abcdef"
    folder.mkdir(parents=True)
    videos = [AnnotatedVideo(f"v{i}", f"v{i}", "german", f"http://x/v{i}", (), ()) for i in range(4)]
    write_batches(
        [Batch("german-0", "german", tuple(videos[:2])), Batch("german-1", "german", tuple(videos[2:]))],
        {},
        folder,
    )
    return folder


def write(folder, batch, *events):
    with events_path(folder, batch).open("a") as file:
        file.writelines(
            json.dumps(dict(zip(("event", "item", "at"), e[:3], strict=True), **e[3])) + "\n" for e in events
        )


def test_pace_failures_and_what_is_slow(tmp_path, run):
    write(
        run,
        "german-0",
        ("started", "v0", 1000.0, {}),
        ("finished", "v0", 1060.0, {"ok": 2, "failed": 1, "kept": 0}),
    )
    write(run, "german-0", ("started", "v1", 1060.0, {}))
    write(
        run,
        "german-1",
        ("started", "v2", 1000.0, {}),
        ("finished", "v2", 1120.0, {"ok": 1, "failed": 0, "kept": 1}),
    )
    rows = [{"clip_id": "v0_0", "status": "failed", "error_code": "no_face", "stage": "landmarks"}]
    commit_fragment(tmp_path, "german", "v0", rows, fingerprint="f")
    found = run_status(tmp_path, now=1130.0)
    assert (found.state, found.videos_done, found.videos) == ("running", 2, 4)
    assert (found.ok, found.failed, found.kept) == (3, 1, 1)
    assert found.videos_per_hour == 60
    assert 60 < found.left_sec < 180
    assert [(f.error_code, f.stage, f.clips) for f in found.failures] == [("no_face", "landmarks", 1)]
    assert [(t.video_id, t.seconds) for t in found.at_work] == [("v1", 70.0)]
    assert [(t.video_id, t.seconds) for t in found.slowest] == [("v2", 120.0), ("v0", 60.0)]
    assert run_status(tmp_path, now=9999.0).state == "silent"
    (run / "stop").touch()
    assert run_status(tmp_path, now=1130.0).state == "stopped"
    for number in (1, 3):
        with events_path(run, f"german-{number // 2}").open("a") as file:
            EventWriter(file).finished(f"v{number}", ok=0, failed=0, kept=0)
    assert run_status(tmp_path, now=1130.0).state == "done"


def test_stages_are_told_by_their_processor_time(tmp_path, run, capsys):
    with events_path(run, "german-0").open("a") as file:
        events = EventWriter(file)
        events.finished("v0", {"fit": 2.0, "trim": 0.5, "commit": 0.0}, ok=1, failed=0, kept=0)
        events.finished("v1", {"fit": 1.0, "landmarks": 1.5}, ok=1, failed=0, kept=0)
    found = run_status(tmp_path, now=1.0).cpu_by_stage
    assert [(time.stage, time.seconds, time.share) for time in found] == [
        ("fit", 3.0, 0.6), ("landmarks", 1.5, 0.3), ("trim", 0.5, 0.1),
    ]  # fmt: skip
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert "60%" in capsys.readouterr().out


def test_a_discovery_is_told_of_as_well(tmp_path, capsys):
    folder = tmp_path / ".runs" / "20260102T030405-abcdef"
    folder.mkdir(parents=True)
    videos = tuple(RawVideo(f"v{i}", f"http://x/v{i}", local=False) for i in range(3))
    discovering.write_batches([discovering.RawBatch("raw-0", videos)], folder)
    with discovering.events_path(folder, "raw-0").open("a") as file:
        events = EventWriter(file)
        events.started("v0")
        events.finished("v0", clips=4)
        events.started("v1")
    found = run_status(tmp_path, now=time.time())
    assert (found.kind, found.state, found.videos, found.videos_done) == ("discover", "running", 3, 1)
    assert (found.clips, found.ok) == (4, 4)
    assert [at_work.video_id for at_work in found.at_work] == ["v1"]
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert "1/3 videos, 4/4 clips" in capsys.readouterr().out


def test_the_command_says_it_as_json_and_for_people(tmp_path, run, capsys):
    assert main(["status", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == 4
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert "0/4 videos" in capsys.readouterr().out


def test_where_no_build_has_run_that_is_said(tmp_path, capsys):
    with pytest.raises(DatasetError, match="no build has run"):
        run_status(tmp_path, 0.0)
    assert main(["status", "--root", str(tmp_path)]) == 2
