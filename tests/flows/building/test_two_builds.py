"""Two builds at one root at once: every clip once, none failed for the other, whatever is killed, whatever locks."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.scale_worker import SLEEP
from multitalk.manifests.store import read_manifest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
VIDEOS, CLIPS = 16, 2
# The same program twice: what builds, and what the workers of both are.
PROGRAM = """
import json, sys
from multitalk.ground import leases

if {leases}:  # a file system whose flock other machines do not see
    leases._file_system = lambda folder: ("fuse.sshfs", frozenset())
if __name__ == "__main__" and sys.argv[1] != "build":
    from benchmarks.scale_worker import main
    main()
elif __name__ == "__main__":
    from multitalk.flows.building.build import build
    from multitalk.flows.building.settings import build_settings
    summary = build(build_settings(**json.loads(sys.argv[2])), worker="two_builds")
    print(json.dumps([summary.built_videos, summary.skipped_videos, summary.elsewhere_videos, *summary.notes]))
"""


@pytest.fixture
def start(request, tmp_path):
    (tmp_path / "two_builds.py").write_text(PROGRAM.format(leases=request.param == "leases"))
    annotation = {"language": "german", "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1}}
    clips = {
        f"video{number:03}_{clip}": annotation
        | {"youtube_id": f"video{number:03}", "duration": {"start_sec": 4 * clip, "end_sec": 4 * clip + 2}}
        for number in range(VIDEOS)
        for clip in range(CLIPS)
    }
    (tmp_path / "german.json").write_text(json.dumps(clips))
    settings = {
        "annotations": [str(tmp_path / "german.json")], "root": str(tmp_path / "dataset"), "workers": 1,
        "keep_landmarks": False,
    }  # fmt: skip
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", SLEEP: "0.1"}

    def start():
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "two_builds.py"), "build", json.dumps(settings)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    return start


def ended(build):
    out, err = build.communicate(timeout=200)
    assert build.returncode == 0, err
    built, skipped, elsewhere, *notes = json.loads(out)
    return built, skipped, elsewhere, notes, err


def committed(root):
    found = Counter()
    if (root / "manifest").is_dir():
        found.update(read_manifest(root, ["video_id"])["video_id"].to_pylist())
    return found


def check(root):
    rows = read_manifest(root, ["clip_id", "status", "error_code"]).to_pylist()
    assert len(rows) == VIDEOS * CLIPS == len({row["clip_id"] for row in rows})
    assert {row["error_code"] for row in rows} <= {None, "no_face", "video_unavailable"}
    assert sum(row["status"] == "ok" for row in rows) > VIDEOS / 2
    assert not (root / ".staging").exists()


@pytest.mark.parametrize("start", ["flock"], indirect=True)
def test_two_builds_at_once_share_the_work(start, tmp_path):
    builds = [start(), start()]
    outcomes = [ended(build) for build in builds]
    check(tmp_path / "dataset")
    assert sum(built + skipped for built, skipped, *_ in outcomes) >= VIDEOS
    left = [outcome for outcome in outcomes if outcome[2]]
    assert left, "each began before the other had ended"
    for _, _, elsewhere, notes, _ in left:
        assert notes[-1].startswith(f"{elsewhere} source videos were at work in another build")


@pytest.mark.parametrize("start", ["leases"], indirect=True)
def test_a_killed_build_s_videos_are_done_by_the_next(start, tmp_path):
    root, first = tmp_path / "dataset", start()
    until = time.monotonic() + 120
    while len(committed(root)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    second = start()
    while not list((root / ".staging").glob("*/*.lock")) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)  # its workers see that it is gone, in the middle of anything
    first.communicate()
    *_, elsewhere, notes, _ = ended(second)
    if elsewhere:
        assert "left to it" in notes[-1]
        ended(start())
    check(root)
