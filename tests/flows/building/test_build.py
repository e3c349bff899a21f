"""The main job, end to end: annotations and a video server in, a dataset out; killed, rerun, and on a cluster."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from multitalk.manifests import open_dataset

pytestmark = pytest.mark.slow

MULTITALK = [sys.executable, "-m", "multitalk.flows.commands.main"]
# What rightly differs between two builds of the same videos.
RUN_COLUMNS = ["created_at", "attempts", "source_url", "person_id"]  # told over all videos that there are


@pytest.fixture(scope="session")
def multitalk(prefect_environment):
    def run(*arguments, check=True):
        done = subprocess.run(
            [*MULTITALK, *map(str, arguments)],
            check=False,
            env=prefect_environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def built(multitalk, demo_source, demo_url, tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    arguments = ("build", *demo_source.annotations, "--root", root, "--source-url", demo_url, "--workers", 2)
    return root, arguments, multitalk(*arguments)


def rows(root):
    return open_dataset(root).clips().set_index("clip_id").sort_index()


def test_every_clip_comes_out_as_planted(built, demo_source):
    root, _, _ = built
    clips = rows(root)
    expected = {*demo_source.good, *(fault.clip_id for fault in demo_source.faults)}
    assert set(clips.index) == expected
    good = clips.loc[list(demo_source.good)]
    assert (good["status"] == "ok").all() and good["accepted"].all()
    assert (good["face_coverage"] > 0.95).all()
    assert (good["annotated_language_probability"] > 0.5).all()
    assert (good["fit_landmark_error"] <= 0.012).all()
    for fault in demo_source.faults:
        row = clips.loc[fault.clip_id]
        assert not row["accepted"], fault
        if fault.error_code is None:
            assert row["status"] == "ok" and len(row["rejected_by"]), fault
        else:
            assert row["error_code"] == fault.error_code, fault
            assert fault.clip_id in row["error_message"] or row["video_id"] in row["error_message"]


def test_files_are_what_the_manifest_says(built):
    root, _, _ = built
    dataset = open_dataset(root)
    ok = rows(root).query("status == 'ok'")
    for clip_id, row in ok.iterrows():
        assert (root / row["clip_path"]).is_file() and (root / row["audio_path"]).is_file()
        motion = dataset.motion(clip_id)
        assert len(motion["expression"]) == len(motion["valid"]) == row["frame_count"]
    assert not list((root / "raw").rglob("*.mp4"))
    assert not [path for path in root.rglob("*") if ".part" in path.name or "tmp" in path.name]


def test_a_second_run_does_nothing_and_says_so(built, multitalk):
    root, arguments, _ = built
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.*") if ".runs" not in path.parts}
    done = multitalk(*arguments)
    assert "Nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_removed_video_stays_out_of_later_builds_even_when_asked_for(built, multitalk, tmp_path):
    root, arguments, _ = built
    copy = shutil.copytree(root, tmp_path / "copy")
    before = rows(copy)
    gone = before.query("status == 'ok'").iloc[0]["video_id"]
    multitalk("remove", gone, "--root", copy, "--reason", "asked by the speaker")
    assert not list(copy.rglob(f"*{gone}*"))
    again = [copy if argument == root else argument for argument in arguments]
    multitalk(*again, "--retry", "removed")
    after = rows(copy)
    assert set(after.loc[after["video_id"] == gone, "error_code"]) == {"removed"}
    assert not list(copy.rglob(f"*{gone}*"))
    assert_same(after[after["video_id"] != gone], before[before["video_id"] != gone])


@pytest.mark.exhaustive  # of kills on small videos there is the chaos test
def test_a_killed_run_is_continued_to_the_same_manifest(
    built, multitalk, demo_source, demo_url, prefect_environment, tmp_path
):
    complete, _, _ = built
    root = tmp_path / "killed"
    arguments = [
        "build",
        *demo_source.annotations,
        "--root",
        root,
        "--source-url",
        demo_url,
        "--language",
        "german",
    ]
    chance = random.Random(0)
    for _ in range(3):
        run = subprocess.Popen(
            [*MULTITALK, *map(str, arguments)],
            env=prefect_environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until_at_work(root, run)
        time.sleep(chance.uniform(0, 12))
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    multitalk(*arguments)
    assert_same(rows(root), rows(complete).query("language == 'german'"))
    for clip_id in rows(root).query("status == 'ok'").index:
        first, second = open_dataset(root).motion(clip_id), open_dataset(complete).motion(clip_id)
        assert all((first[name] == second[name]).all() for name in ("expression", "rotation", "shape"))


@pytest.mark.exhaustive
def test_a_dask_cluster_builds_the_same_manifest(built, multitalk, demo_source, demo_url, tmp_path):
    complete, _, _ = built
    root = tmp_path / "dask"
    multitalk(
        "build",
        *demo_source.annotations,
        *("--root", root, "--source-url", demo_url, "--language", "japanese", "--language", "italian"),
        *("--task-runner", "dask", "--workers", 2),
    )
    assert_same(rows(root), rows(complete).query("language in ('italian', 'japanese')"))


def test_ctrl_c_stops_in_order_and_leaves_no_process(demo_source, demo_url, prefect_environment, tmp_path):
    root = tmp_path / "stopped"
    run = subprocess.Popen(
        [*MULTITALK, "build", *demo_source.annotations, "--root", root, "--source-url", demo_url],
        env=prefect_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until_at_work(root, run)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert not [c for c in commands() if "multitalk.flows.building.worker" in c and str(root) in c]


def test_the_summary_is_readable(built):
    _, _, done = built
    assert (
        "german" in done.stdout and "video_unavailable" in done.stdout and "rejected by rule" in done.stdout
    )
    assert "Traceback" not in done.stderr


def test_query_and_filter(built, multitalk):
    root, _, _ = built
    done = multitalk(
        "query", "--root", root, "--format", "json", "SELECT count(*) AS n FROM clips WHERE accepted"
    )
    assert json.loads(done.stdout)[0]["n"] == 10
    done = multitalk("filter", "--root", root, "--dry-run")
    assert "10 of" in done.stdout


def wait_until_at_work(root, run):
    for _ in range(600):
        if any(root.glob(".runs/*/*.events.jsonl")):
            return
        assert run.poll() is None, "the run ended before it began"
        time.sleep(0.1)
    raise AssertionError("no worker began within a minute")


def commands():
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def assert_same(found, expected):
    pd.testing.assert_frame_equal(found.drop(columns=RUN_COLUMNS), expected.drop(columns=RUN_COLUMNS))


@pytest.mark.exhaustive
def test_a_talker_trained_on_it_beats_answers_that_do_not_hear(built, tmp_path):
    from multitalk.flows.demo.train import (
        HELD_OUT,
        MEAN_FACE,
        MEAN_MOTION,
        TALKER,
        lip_errors,
        train_demo,
        worth,
    )

    models = train_demo(shutil.copytree(built[0], tmp_path / "dataset"), tmp_path / "models", steps=20)
    for _, first, last, _ in models.losses.rows:
        assert last < first
    scores = models.evaluation.scores[TALKER]
    assert {score.source for score in scores} == set(HELD_OUT)
    # After 20 steps it has less than half of the mean's error; chance does not get there.
    errors = lip_errors(models.evaluation)
    assert errors[TALKER] < 0.7 * min(errors[MEAN_MOTION], errors[MEAN_FACE])
    assert worth(models.evaluation) in (models.folder / "evaluation.md").read_text()
    assert (models.folder / "side-by-side.mp4").stat().st_size > 100_000


def test_a_preview_shows_the_mesh_on_the_face(built, multitalk, tmp_path):
    root, _, _ = built
    clips = rows(root)
    clip = clips[clips.status == "ok"].sort_values("frame_count").iloc[0]
    multitalk("preview", clip.name, "--root", root, "--out", tmp_path / "look.mp4")
    with av.open(tmp_path / "look.mp4") as video:
        assert len(video.streams.audio) == 1
        pages = [frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)]
    assert len(pages) == clip.frame_count
    panel = pages[0].shape[1] // 4
    source, dots, mesh = (pages[0][28 : 28 + panel, k * panel : (k + 1) * panel] for k in range(3))
    changed = np.abs(mesh - source).max(axis=2) > 20
    middle = dots_at(source, dots).mean(axis=0)
    assert 0.05 < changed.mean() < 0.8
    assert np.linalg.norm(np.argwhere(changed).mean(axis=0) - middle) < 0.08 * panel


def dots_at(source, dots):
    """(n, 2) where the landmarks were drawn."""
    return np.argwhere(np.abs(dots - source).max(axis=2) > 60)
