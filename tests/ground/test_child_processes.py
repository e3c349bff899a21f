"""Children are real processes: they run in a session of their own, and end with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from multitalk.ground.child_processes import end_group, how_it_ended, start_module

CHILD = """
import subprocess, sys, time
from multitalk.ground.child_processes import end_with_parent
end_with_parent()
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(grandchild.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "child_of_a_test.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = start_module("child_of_a_test", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    grandchild = int(process.stdout.readline())
    yield process, grandchild
    end_group(process)
    process.stdout.close()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, seconds=10):
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_child_ends_with_its_own_when_its_input_closes(child):
    process, grandchild = child
    assert os.getsid(process.pid) == process.pid
    process.stdin.close()
    assert process.wait(10) == -signal.SIGKILL
    assert gone(grandchild)


def test_a_group_is_ended_whole(child):
    process, grandchild = child
    end_group(process)
    assert gone(grandchild)
    end_group(process)  # again: nothing is there


def test_an_ending_is_told_in_words():
    assert how_it_ended(-11) == "was killed by SIGSEGV"
    assert how_it_ended(3) == "ended with status 3"


def test_a_child_in_somebody_elses_group_ends_alone(tmp_path):
    """Started by hand, without a session of its own, it must not take its caller along."""
    script = (
        "import time; from multitalk.ground import child_processes as c; c.end_with_parent(); time.sleep(60)"
    )
    caller = (
        "import subprocess, sys\n"
        f"done = subprocess.run([sys.executable, '-c', {script!r}], stdin=subprocess.DEVNULL)\n"
        "print(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", caller],
        capture_output=True,
        text=True,
        timeout=50,
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1")
