"""What a confined process can not do, tried by programs that do it."""

import json
import signal
import socket
import subprocess
import sys
import threading

import pytest

from multitalk.ground.untrusted.confined import landlock_abi
from multitalk.ground.untrusted.confinement import Confinement, what_holds, without_network

linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")
landlock = pytest.mark.skipif(not landlock_abi(), reason="no Landlock in this kernel")


def run(code, *arguments, **limits):
    program = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    return subprocess.run(
        Confinement(**limits).command(program), capture_output=True, text=True, timeout=60, check=False
    )


def test_memory_and_time_have_an_end():
    assert "MemoryError" in run("bytearray(1 << 30)", memory_bytes=1 << 29).stderr
    assert run("print(len(bytearray(1 << 20)))", memory_bytes=1 << 29).stdout == "1048576\n"
    assert run("while True: pass", cpu_sec=1).returncode in (-signal.SIGXCPU, -signal.SIGKILL)


def test_files_have_a_largest_size(tmp_path):
    place = tmp_path / "large"
    code = "import sys; open(sys.argv[1], 'wb').write(bytes(1 << 20))"
    assert "File too large" in run(code, place, writable=None, file_bytes=1 << 16).stderr
    assert place.stat().st_size <= 1 << 16


@linux
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_there_are_no_sockets(family):
    done = run(f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)")
    assert "Permission denied" in done.stderr
    assert (
        run(f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)", network=True).returncode == 0
    )


@linux
def test_what_a_confined_process_starts_is_confined():
    inner = "[sys.executable, '-c', 'import socket; socket.socket()']"
    code = f"import subprocess, sys; sys.exit(subprocess.run({inner}).returncode)"
    assert run(code).returncode == 1


@linux
def test_other_processes_can_not_be_looked_into():
    code = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno())"
    assert run(code).stdout == "-1 13\n"


@landlock
def test_it_writes_in_its_own_folders_alone(tmp_path):
    own, others = tmp_path / "own", tmp_path / "others"
    own.mkdir()
    others.mkdir()
    (others / "there").write_text("kept")
    code = """
import os, sys
own, others = sys.argv[1:]
def tried(act, *arguments):
    try:
        act(*arguments)
        return "done"
    except OSError as error:
        return error.strerror
open(own + "/new", "w").close()
os.rename(own + "/new", own + "/moved")
print(tried(open, others + "/new", "w"), tried(open, others + "/there", "a"), tried(os.unlink, others + "/there"))
there, moved = others + "/there", own + "/moved"
print(tried(os.truncate, there, 0), tried(os.symlink, "/", others + "/link"), tried(os.mkdir, others + "/f"))
print(tried(os.rename, moved, others + "/m") != "done", tried(os.link, moved, others + "/l") != "done")
print(open(others + "/there").read(), file=sys.stderr)
open("/dev/null", "w").write("x")
"""
    done = run(code, own, others, writable=(str(own), str(tmp_path / "not there")))
    denied = " ".join(["Permission denied"] * 3)
    assert done.stdout == f"{denied}\n{denied}\nTrue True\n"
    assert done.stderr == "kept\n"  # reading is not restricted
    assert (others / "there").read_text() == "kept" and [path.name for path in others.iterdir()] == ["there"]


def test_a_program_that_is_not_there_is_told_of():
    done = subprocess.run(
        Confinement().command(["no-such-program"]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "no-such-program: No such file" in done.stderr


@linux
def test_a_call_without_network_shuts_in_its_own_threads_and_no_other():
    def in_a_thread():
        found = []

        def tries():
            try:
                found.append(socket.socket())
            except PermissionError as error:
                found.append(error)

        thread = threading.Thread(target=tries)
        thread.start()
        thread.join()
        return found[0]

    assert isinstance(without_network(in_a_thread), PermissionError)
    with in_a_thread() as free:
        assert isinstance(free, socket.socket)
    with pytest.raises(ZeroDivisionError):
        without_network(lambda: 1 / 0)


def test_what_holds_is_tried_not_believed(tmp_path):
    holds = what_holds(tmp_path)
    assert holds["memory"]
    assert holds["writing"] is bool(landlock_abi())
    assert not list(tmp_path.iterdir())
    assert json.dumps(holds)
