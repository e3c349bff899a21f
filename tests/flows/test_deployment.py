"""The README's way: server, work pool, worker, deploy, and `prefect deployment run build-dataset/build-dataset`."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from multitalk.assets.fetch import find
from multitalk.manifests import open_dataset
from multitalk.manifests.report.evaluations import read_evaluations

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ended(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    """Start a server with a database of its own; gives a function that runs a prefect command."""
    tmp_path = tmp_path_factory.mktemp("prefect")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_PORT": str(port),
        "NO_COLOR": "1",
    }

    def start(*arguments):
        log = (tmp_path / f"{arguments[0]}.log").open("w")
        return subprocess.Popen(
            [PREFECT, *arguments], cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )

    def run(*arguments, timeout=240, status=0):
        done = subprocess.run(
            [PREFECT, *arguments],
            check=False,
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    server = start("server", "start", "--host", "127.0.0.1", "--port", str(port))
    try:
        wait_for(url + "/health", tmp_path / "server.log")
        run("work-pool", "create", "multitalk", "--type", "process")
        run("--no-prompt", "deploy", "--all")
        worker = start("worker", "start", "--pool", "multitalk", "--type", "process")
        try:
            yield run
        finally:
            ended(worker)
    finally:
        ended(server)


def wait_for(url, log):
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def run_deployment(prefect, name, settings, status=0):
    parameters = ["--param", f"settings={json.dumps(settings)}"]
    return prefect("deployment", "run", name, *parameters, "--watch", timeout=500, status=status)


def test_deployment_builds_a_dataset(prefect, small_source, tmp_path):
    settings = {
        "annotations": [str(small_source.annotations)],
        "root": str(tmp_path / "dataset"),
        "source_url": small_source.url,
        "workers": 1,
    }
    output = run_deployment(prefect, "build-dataset/build-dataset", settings)
    assert "Completed" in output
    clips = open_dataset(tmp_path / "dataset").clips().set_index("clip_id")
    assert dict(clips["status"]) == {
        "deSpeaker00_0": "ok",
        "enNoFace000_0": "failed",
        "esGone40400_0": "failed",
    }
    assert clips.loc["esGone40400_0", "error_code"] == "video_unavailable"
    assert bool(clips.loc["deSpeaker00_0", "accepted"])
    assert "video_unavailable" in prefect("artifact", "inspect", "build-summary")
    assert "german" in prefect("artifact", "inspect", "build-languages")
    prefect("artifact", "inspect", "build-progress")


@pytest.mark.timeout(1500)
def test_training_fails_with_the_reason_and_goes_on_when_run_again(prefect, talking_dataset, tmp_path):
    if find("whisper_base") is None:
        pytest.skip("Whisper base is not here: multitalk assets fetch whisper_base")
    root = shutil.copytree(talking_dataset, tmp_path / "data")
    changes = {"training": {"data": {"batch_size": 4}, "validation_clips": 2}}
    settings = {"root": str(root), "out": str(tmp_path / "run"), "preset": "tiny", "steps": 4, "resume": True}
    settings |= {"changes": changes}
    assert "Completed" in run_deployment(prefect, "train-motion-prior/train-motion-prior", settings)
    assert "val/lve" in prefect("artifact", "inspect", "train-prior")
    (root / "wav").rename(root / "elsewhere")
    output = run_deployment(prefect, "train-talker/train-talker", settings, status=1)
    run_id = re.search(r"UUID: (\S+)", output)[1]
    # The terminal's width breaks lines anywhere.
    told = "".join(prefect("flow-run", "inspect", run_id).split())
    assert "FAILED" in told and "_0.wav:cannotberead" in told
    (root / "elsewhere").rename(root / "wav")
    assert "Completed" in run_deployment(prefect, "train-talker/train-talker", settings)
    assert (tmp_path / "run" / "talker" / "best.pt").is_file()


def test_a_release_is_evaluated(prefect, release_of_talk):
    settings = {"root": str(release_of_talk), "release": "v1", "lip_reading": None}
    assert "Completed" in run_deployment(prefect, "evaluate/evaluate", settings)
    assert "lve_squared" in prefect("artifact", "inspect", "evaluate")
    (found,) = read_evaluations(release_of_talk)
    assert found.tables[0].title.startswith("Motion")
