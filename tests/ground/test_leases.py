"""A lock is held by one process, wherever it runs, and by no dead one."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from multitalk.ground import leases
from multitalk.ground.files import locked
from multitalk.ground.leases import LEASE_SEC, Holder, flock_reaches_all, held, holder_of, leased

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from multitalk.ground.leases import held, leased
with {how}(Path(sys.argv[1]), wait=False) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "v.lock"


def hold_elsewhere(lock, how):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(how=how), str(lock)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "True\n"
    return process


@pytest.mark.parametrize("how", ["held", "leased"])
def test_a_lock_is_held_by_one_and_dies_with_its_process(lock, how):
    hold = {"held": held, "leased": leased}[how]
    process = hold_elsewhere(lock, how)
    try:
        with hold(lock, wait=False) as ours:
            assert not ours
        assert holder_of(lock).pid == process.pid
        assert f"process {process.pid} on " in str(holder_of(lock))
    finally:
        process.kill()
        process.wait()
    with hold(lock, wait=False) as ours:
        assert ours
        assert holder_of(lock).is_this_process
    assert not list(lock.parent.iterdir())


def leave(place, age_sec=0.0, **changes):
    """Leave the lease of a machine that nothing is known of."""
    holder = replace(Holder.ourselves(), host="far-away", kernel="another", **changes)
    place.write_text(json.dumps(asdict(holder)))
    past = place.stat().st_mtime - age_sec
    os.utime(place, (past, past))
    return holder


def test_a_lease_of_another_machine_is_taken_over_only_when_it_was_not_renewed(lock):
    leave(lock, LEASE_SEC - 30)
    with leased(lock, wait=False) as ours:
        assert not ours
    leave(lock, LEASE_SEC + 30)
    with leased(lock, wait=False) as ours:
        assert ours
    assert not list(lock.parent.iterdir())


def test_a_lease_is_renewed_while_it_is_held(lock, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SEC", 0.01)
    with leased(lock, wait=False):
        os.utime(lock, (1, 1))
        for _ in range(500):
            if lock.stat().st_mtime > 1:
                break
            threading.Event().wait(0.01)
        assert lock.stat().st_mtime > 1


def test_of_many_that_take_over_at_once_one_does(lock):
    for _ in range(20):
        leave(lock, LEASE_SEC + 30)
        gate, took, done = threading.Barrier(6), [], threading.Barrier(6)

        def taker(gate=gate, took=took, done=done):
            gate.wait()
            with leased(lock, wait=False) as ours:
                took.append(ours)
                done.wait()

        threads = [threading.Thread(target=taker) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sorted(took) == [False] * 5 + [True]


def test_a_death_amid_taking_over_keeps_nobody_out(lock):
    first = leave(lock, LEASE_SEC + 30, token="a" * 12)
    heir = lock.with_name(f".{lock.name}.{first.token}.tmp")
    leave(heir, 0, token="b" * 12)
    with leased(lock, wait=False) as ours:
        assert not ours, "it may be alive still"
    leave(heir, LEASE_SEC + 30, token="b" * 12)
    with leased(lock, wait=False) as ours:
        assert ours
    assert not list(lock.parent.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"host": 1}', "\0" * 9000, '{"token": "../../x"}'])
def test_what_names_nobody_is_taken_over_by_its_age_alone(lock, content):
    lock.write_text(content)
    with leased(lock, wait=False) as ours:
        assert not ours
    os.utime(lock, (1, 1))
    with leased(lock, wait=False) as ours:
        assert ours


@pytest.mark.parametrize(
    ("kind", "options", "known"),
    [
        ("ext4", "rw", True), ("nfs4", "rw,vers=4.2", True), ("nfs", "rw,nolock", False),
        ("nfs4", "rw,local_lock=all", False), ("lustre", "rw,flock", True), ("lustre", "rw,localflock", False),
        ("fuse.sshfs", "rw", False), ("fuseblk", "rw", True), ("9p", "rw", False), ("cifs", "rw", False),
    ],
)  # fmt: skip
def test_the_file_system_decides_what_locks(tmp_path, monkeypatch, kind, options, known):
    real = Path.read_text
    line = f"31 23 0:26 / {tmp_path} rw,relatime shared:2 - {kind} server:/export {options}\n"

    def mounts(path, *arguments):
        return line if str(path) == "/proc/self/mountinfo" else real(path, *arguments)

    monkeypatch.setattr(Path, "read_text", mounts)
    assert flock_reaches_all(tmp_path / "german") is known


def test_without_flock_the_manifest_has_one_writer_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_file_system", lambda folder: ("fuse.sshfs", frozenset()))
    inside, most = [], []

    def writer(exclusive):
        for _ in range(5):
            with locked(tmp_path, exclusive=exclusive):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    monkeypatch.setattr(leases, "_POLL_SEC", 0.005)
    threads = [threading.Thread(target=writer, args=(n % 2 == 0,)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert most == [1] * 20
