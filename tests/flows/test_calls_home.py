"""Nothing contacts anybody but the source and what the user asked for.

Everything is run in a network of its own that writes down each lookup and connection (`tests.recorded_network`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multitalk.assets.fetch import require
from tests.recorded_network import UNAVAILABLE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recorded(tmp_path):
    """Run Python code in a recorded network; returns what was asked of it, without what is this machine's."""

    def run(code, *arguments, timeout=500, status=0):
        out = tmp_path / "asked.json"
        command = [sys.executable, "-m", "tests.recorded_network", str(out), sys.executable, "-c", code]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "prefect")}
        done = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip
        if done.returncode == UNAVAILABLE:
            pytest.skip("no network namespace can be made here")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(out.read_text())

    return run


NOBODY = {"lookups": [], "connections": []}


def test_what_calls_home_is_seen(recorded):
    code = "import socket; socket.getaddrinfo('play.googleapis.com', 443); socket.create_connection(('8.8.8.8', 443))"
    assert recorded(code) == {"lookups": ["play.googleapis.com"], "connections": ["8.8.8.8:443"]}


LOOK = """
import sys
from pathlib import Path
import numpy as np
from multitalk.extract.faces.face_finder import FaceFinder
from multitalk.extract.pictures import picture_landmarker
picture, model = np.zeros((256, 256, 3), np.uint8), Path(sys.argv[1])
with FaceFinder(model, min_face_px=20) as finder:
    finder.find(picture)
with picture_landmarker(model) as look:
    look(picture)
"""


def test_mediapipe_tells_nobody(recorded):
    """It would look up play.googleapis.com when it closes."""
    assert recorded(LOOK, require("face_landmarker")) == NOBODY


ONNX = """
import sys
import multitalk
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1])
"""


def test_onnx_runtime_tells_nobody(recorded):
    """It would send mobile.events.data.microsoft.com what sessions there were, with an id of the account."""
    assert recorded(ONNX, require("silero_vad")) == NOBODY


WORK = """
import subprocess, sys
from pathlib import Path
from multitalk.flows.demo.local_server import serve_folder
videos, annotations, root, *runner = sys.argv[1:]
multitalk = [sys.executable, "-m", "multitalk.flows.commands.main"]
with serve_folder(Path(videos)) as base:
    source = ["--source-url", base + "/{video_id}.mp4"]
    for command in (
        ["build", annotations, "--root", root, "--workers", "1", *source, *runner],
        ["doctor", "--root", root, *source],
        ["query", "--root", root, "SELECT count(*) FROM clips"],
        ["report", "--root", root, "--out", root + "/report.html"],
        ["release", "--root", root, "--name", "v1"],
        ["verify", "--root", root],
    ):
        subprocess.run([*multitalk, *command], check=command[0] != "doctor")
from multitalk.eval.drawing import render
import matplotlib.pyplot
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("runner", [(), ("--task-runner", "dask")], ids=["engine", "prefect and dask"])
def test_a_build_and_what_follows_contact_the_source_alone(
    recorded, demo_source, small_source, tmp_path, runner
):
    root = tmp_path / "dataset"
    assert recorded(WORK, demo_source.videos, small_source.annotations, root, *runner) == NOBODY
    assert (root / "report.html").exists()
