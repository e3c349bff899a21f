"""What was built stays, end to end: with the source gone, settings change, and only what they change is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multitalk.flows.demo.local_server import serve_folder
from multitalk.manifests import open_dataset
from multitalk.manifests.releases.verify import verify
from tests.chaos.material import small_material

pytestmark = pytest.mark.slow

pytest.importorskip("skimage", reason="the extra `demo` is not installed")
BASE = {"language": {"transcribe": False}, "speaking_score": False, "workers": 1, "head_model": "canonical"}
ATTEMPTS = {"attempts": 2, "backoff_sec": 0.1}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return small_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def build(material, tmp_path):
    """Runs the command with some settings; returns its summary and how often the source was asked."""

    def run(url, root, **settings):
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({**BASE, "download": ATTEMPTS, **settings}))
        done = subprocess.run(
            [sys.executable, "-m", "multitalk.flows.commands.main", "build", *map(str, material.annotations),
             "--root", str(root), "--source-url", url, "--config", str(config), "--json"],
            check=False, capture_output=True, text=True, timeout=500,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def rows(root):
    return open_dataset(root).clips().set_index("clip_id").sort_index()


def files(root, *kinds):
    return {path: path.stat().st_mtime_ns for kind in kinds for path in (root / kind).rglob("*.*")}


def test_what_was_built_stays_when_settings_change_and_the_source_is_gone(build, material, tmp_path):
    root, fresh = tmp_path / "dataset", tmp_path / "fresh"
    with serve_folder(material.videos) as base:
        url = base + "/{video_id}.mp4"
        build(url, root)
        build(url, fresh, fit={"smooth_face": 0.7})
    before = rows(root)
    good = before.index[before["status"] == "ok"]
    assert list(good) == ["withFace_0", "withFace_1"]

    # The server is gone. Threads, batches and prefetching change nothing; so do devices.
    done = build(url, root, threads=2, prefetch=4, batch_size=1, fit={"device": "cpu"})
    assert done["built_videos"] == 0

    # Another fit is made from stored landmarks: the clips can not even be decoded, and nobody is asked.
    hidden = {path: path.read_bytes() for path in (root / "clips").rglob("*.mp4")}
    for path in hidden:
        path.write_bytes(b"")
    media = files(root, "clips", "wav", "landmarks")
    done = build(url, root, fit={"smooth_face": 0.7})
    assert done["built_videos"] == 1, "the one with good clips"
    after = rows(root)
    assert (after.loc[good, "status"] == "ok").all() and after.loc[good, "last_try_at"].isna().all()
    assert (after.loc[good, "motion_xxh3"] != before.loc[good, "motion_xxh3"]).all()
    assert (after.loc[good, "motion_xxh3"] == rows(fresh).loc[good, "motion_xxh3"]).all()
    for clip in good:
        once, anew = open_dataset(root).motion(clip), open_dataset(fresh).motion(clip)
        assert all(np.array_equal(once[name], anew[name]) for name in ("expression", "rotation", "shape"))
    assert files(root, "clips", "wav", "landmarks") == media
    others = before.index.difference(good)
    assert (after.loc[others, "attempts"] == before.loc[others, "attempts"]).all(), "nothing else was tried"
    for path, content in hidden.items():
        path.write_bytes(content)
    assert verify(root) == []

    # All again, for no other reason than that it was asked for.
    done = build(url, root, fit={"smooth_face": 0.7}, redo=["fit"])
    assert done["built_videos"] == 1
    redone = rows(root)
    assert (redone.loc[good, "attempts"] == after.loc[good, "attempts"] + 1).all()
    assert (redone.loc[good, "motion_xxh3"] == after.loc[good, "motion_xxh3"]).all()

    # Clips that were cut otherwise can not be had any more: all that is there stays.
    media = files(root, "clips", "wav", "landmarks", "motion")
    build(url, root, fit={"smooth_face": 0.7}, trim={"crf": 30})
    kept = rows(root)
    assert (kept.loc[good, "status"] == "ok").all()
    assert (kept.loc[good, "last_try_stage"] == "source").all()
    assert kept.loc[good, ["last_try_error_code", "last_try_error_message"]].notna().all(axis=None)
    assert files(root, "clips", "wav", "landmarks", "motion") == media
    assert verify(root) == []
