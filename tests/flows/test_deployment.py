"""The README's way: server, work pool, worker, deploy, and `prefect deployment run build-dataset/build-dataset`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from manifests import open_dataset

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


@pytest.fixture
def prefect(tmp_path):
    """Start a server with a database of its own; gives a function that runs a prefect command."""
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

    def run(*arguments, timeout=240):
        done = subprocess.run(
            [PREFECT, *arguments],
            check=False,
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    server = start("server", "start", "--host", "127.0.0.1", "--port", str(port))
    try:
        wait_for(url + "/health", tmp_path / "server.log")
        run("work-pool", "create", "multitalk", "--type", "process")
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


def test_deployment_builds_a_dataset(prefect, small_source, tmp_path):
    prefect("--no-prompt", "deploy", "--all")
    settings = {
        "annotations": [str(small_source.annotations)],
        "root": str(tmp_path / "dataset"),
        "source_url": small_source.url,
        "workers": 1,
    }
    output = prefect(
        "deployment",
        "run",
        "build-dataset/build-dataset",
        "--param",
        f"settings={json.dumps(settings)}",
        "--watch",
        timeout=500,
    )
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
