"""Two rounds of `python -m tests.chaos`: killed workers and runs, a bad server, a full disk."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_torn():
    pytest.importorskip("skimage", reason="the extra `demo` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--rounds", "2"],
        check=False,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the manifest is the quiet one's") == 2
