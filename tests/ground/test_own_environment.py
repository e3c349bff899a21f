import os
import subprocess
import sys
from pathlib import Path

from multitalk.extract import errors
from multitalk.ground.child_processes import own_environment


def test_a_child_finds_this_very_package_and_what_the_user_put_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import theirs, multitalk.extract.errors as ours; print(ours.__file__)"
    command = [sys.executable, "-P", "-c", code]
    found = subprocess.run(
        command, cwd=tmp_path, env=own_environment(), capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).samefile(Path(errors.__file__))
    assert os.environ["PYTHONPATH"] == str(tmp_path)
