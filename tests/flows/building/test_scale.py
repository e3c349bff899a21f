"""The job at MultiTalk's real size: its own annotation files where they are, else made-up ones of the same shape.

Downloads and stages are made up (`benchmarks.scale_worker`); planning, workers, commits and queries are the real ones.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale_annotations import CLIPS, VIDEOS, annotation_files, enlarged, write_annotations
from benchmarks.scale_worker import FRAMES, OWN_TIME, SLEEP
from multitalk.flows.building.build import build
from multitalk.flows.building.settings import build_settings
from multitalk.manifests.store import read_manifest

ROOT = Path(__file__).parents[3]
PARAMETERS_LIMIT = 524_288
"""Bytes that Prefect takes as parameters of a flow run."""


@pytest.fixture
def fast_worker(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(SLEEP, "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what a user may have set must not reach the workers


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """MultiTalk's English: 368 source videos, 11,082 clips."""
    files = annotation_files(None, tmp_path_factory.mktemp("annotations"))
    return next(path for path in files if path.stem == "english")


def settings_of(annotations, root, **more):
    return {
        "annotations": [str(annotations)],
        "root": str(root),
        "workers": 2,
        "keep_landmarks": False,
        **more,
    }


def clips_in(*files):
    return sorted(clip for path in files for clip in json.loads(path.read_text("utf-8")))


def found_in(root):
    return sorted(read_manifest(root, ["clip_id"])["clip_id"].to_pylist())


@pytest.mark.slow
def test_the_engine_builds_all_of_english(english, fast_worker, tmp_path, capfd):
    summary = build(build_settings(**settings_of(english, tmp_path)), worker=scale.WORKER)
    assert found_in(tmp_path) == clips_in(english)
    assert summary.built_videos == len({clip.rpartition("_")[0] for clip in clips_in(english)})
    assert {reason.reason for reason in summary.failures} == {"no_face", "video_unavailable"}
    assert len(capfd.readouterr().err.splitlines()) < 20  # progress
    again = build(build_settings(**settings_of(english, tmp_path)), worker="no.such.module")
    assert (again.built_videos, again.skipped_videos) == (0, summary.built_videos)


@pytest.mark.slow
def test_the_flow_builds_all_of_english(english, fast_worker, prefect_environment, tmp_path):
    environment = {**os.environ, **prefect_environment, "PYTHONPATH": str(ROOT), FRAMES: "0"}
    root = tmp_path / "dataset"
    figures = scale.built(settings_of(english, root), tmp_path / "run", environment, flow=True)
    assert found_in(root) == clips_in(english)
    assert figures["parameter_bytes"] < PARAMETERS_LIMIT / 20
    assert "Traceback" not in (tmp_path / "run" / "stderr").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_worker_has_one_thread_that_does_not_spin(workers, fast_worker, tmp_path):
    languages = enlarged(annotation_files(None, tmp_path), 4)
    files = [write_annotations(tmp_path / f"{name}.json", videos[:1]) for name, videos in languages.items()]
    settings = settings_of(files[0], tmp_path / "dataset", workers=workers)
    build(build_settings(**settings | {"annotations": list(map(str, files))}), worker=scale.WORKER)
    told = [json.loads(path.read_text()) for path in tmp_path.glob(f"dataset/.runs/*/*{OWN_TIME}")]
    assert len(told) == len(files)
    assert {(one["OMP_NUM_THREADS"], one["OMP_WAIT_POLICY"]) for one in told} == {("1", "PASSIVE")}


@pytest.mark.slow
def test_a_build_with_nothing_to_do_imports_nothing_heavy(fast_worker, tmp_path):
    videos = enlarged(annotation_files(None, tmp_path / "given"), 4)["arabic"]
    settings = settings_of(write_annotations(tmp_path / "arabic.json", videos), tmp_path / "dataset")
    build(build_settings(**settings), worker=scale.WORKER)
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-X", "importtime", "-m", "multitalk.flows.commands.main", "build"]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "settings.yaml")], check=True, capture_output=True, text=True
    )
    assert "Nothing to do" in done.stdout
    assert "pyarrow" in scale.loaded(done.stderr, ("pyarrow",))
    assert scale.loaded(done.stderr) == []


@pytest.mark.exhaustive
def test_the_engine_builds_all_of_multitalk(fast_worker, tmp_path):
    languages = enlarged(annotation_files(None, tmp_path / "given"))
    files = [write_annotations(tmp_path / f"{name}.json", videos) for name, videos in languages.items()]
    settings = settings_of("", tmp_path / "dataset") | {"annotations": list(map(str, files))}
    figures = scale.built(settings, tmp_path / "run", dict(os.environ), flow=False)
    assert (figures["videos"], figures["clips"]) == (VIDEOS, CLIPS)
    assert found_in(tmp_path / "dataset") == clips_in(*files)
    assert figures["parent_mib"] < 600
    assert figures["amid_query_sec"] < 5  # about 1 on a machine that does nothing else
