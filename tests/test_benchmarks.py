"""Every benchmark starts by its path and as a module, from anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
# Workers of benchmarks are started by those, and measure nothing by themselves.
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if '"--quick"' in path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_says_what_it_measures(name, tmp_path):
    by_path = [sys.executable, str(FOLDER / f"{name}.py"), "--help"]
    as_module = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    for command, folder in ((by_path, tmp_path), (as_module, FOLDER.parent)):
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "--quick" in done.stdout


@pytest.mark.slow
def test_no_model_file_crashes_or_hangs_what_reads_it(tmp_path):
    command = [sys.executable, str(FOLDER / "hostile_models.py"), "--files", "60", "--seed", "1"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
