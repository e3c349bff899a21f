"""A Prefect server that is named but does not answer."""

import os
import socket
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_one_clear_message(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
    annotations, root = tmp_path / "annotations.json", tmp_path / "dataset"
    annotations.write_text('{"v_0": {"youtube_id": "v", "language": "german"}}')
    command = [
        sys.executable,
        "-m",
        "multitalk.flows.commands.main",
        "build",
        str(annotations),
        "--root",
        str(root),
    ]
    command += ["--task-runner", "dask"]
    environment = os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert url in line and "prefect server start" in line
    assert not root.exists()
