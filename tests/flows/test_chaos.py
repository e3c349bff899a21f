"""A round of `python -m tests.chaos`: killed workers, a bad server, a full disk."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_nothing_is_lost_doubled_or_torn():
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--rounds", "1", "--language", "italian"],
        check=False,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the manifest is the quiet one's") == 1
