"""The bar of the sync score on the sample videos, through the real stages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT.parent / "shared" / "sample"


@pytest.mark.exhaustive
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the sample videos: ../shared/sample")
def test_true_videos_stand_above_dubbed_ones_and_delays_are_found(tmp_path):
    figures = tmp_path / "sync.json"
    command = [
        sys.executable,
        "benchmarks/sync.py",
        "--quick",
        "--json",
        str(figures),
        "--sample",
        str(SAMPLE),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = json.loads(figures.read_text())
    assert measured["auc"] >= 0.95
    assert measured["auc_taught"] >= 0.95
    assert measured["largest_offset_error_frames"] <= 3
