"""query and filter as processes: what they load."""

import subprocess
import sys

import pytest

from multitalk.manifests.store import commit_fragment

CODE = """
import sys
from multitalk.flows.commands.main import main
assert main(sys.argv[1:]) == 0
assert not {"pandas", "torch", "mediapipe", "prefect"} & set(sys.modules)
import pyarrow as pa
assert pa.table({"a": [1]}).to_pandas().a.tolist() == [1]
"""


@pytest.mark.parametrize(
    "command", [["filter"], ["query", "SELECT clip_id FROM clips"]], ids=["filter", "query"]
)
def test_they_load_nothing_heavy_and_pandas_still_works_after(tmp_path, command):
    row = {"clip_id": "v_0", "status": "ok", "duration_sec": 2.0}
    commit_fragment(tmp_path, "german", "v", [row], fingerprint="f")
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *command, "--root", str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
