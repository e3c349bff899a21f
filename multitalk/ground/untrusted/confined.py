"""Confine this process, for good, before it reads what strangers have made; or a program that it then becomes.

Started as a file, ``python -I -S confined.py LIMITS PROGRAM ...``, with nothing but Python's own modules: that takes
20 ms. `LIMITS` is JSON with the arguments of `confine`. What the system has is used, and no right is needed: limits of
POSIX everywhere; on Linux seccomp (no sockets, no looking into other processes) and, from 5.13 on, Landlock (writing
in named folders only; TCP refused from 6.7 on, signals and abstract sockets from 6.12 on). Reading is not restricted.
"""

import ctypes
import errno
import json
import os
import resource
import struct
import sys
from collections.abc import Sequence

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
_X32 = 0x40000000  # the same calls under other numbers
_SOCKETS = ("socket", "io_uring_setup")
_OTHERS = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "bpf", "perf_event_open", "userfaultfd"),
    *("keyctl", "add_key", "request_key", "mount", "setns", "unshare"),
)
# asm/unistd_64.h and asm-generic/unistd.h of Linux 6.18, in the order of the names above.
_CALLS = {
    "x86_64": (0xC000003E, (41, 425, 101, 310, 311, 321, 298, 323, 250, 248, 249, 165, 308, 272)),
    "aarch64": (0xC00000B7, (198, 425, 117, 270, 271, 280, 241, 282, 219, 217, 218, 40, 268, 97)),
}
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FILE_RIGHTS = 1 << 1 | 1 << 14  # write, truncate
_FOLDER_RIGHTS = sum(1 << bit for bit in (1, *range(4, 15)))  # and make, remove, move anything
_FIRST_ABI = {13: 2, 14: 3}
_TCP_ABI, _SCOPE_ABI = 4, 6


def confine(
    *,
    memory_bytes: int | None = None,
    data_bytes: int | None = None,
    cpu_sec: int | None = None,
    file_bytes: int | None = None,
    writable: Sequence[str] | None = None,
    network: bool = False,
) -> None:
    """Confine this thread and what it starts; call it before there are other threads.

    Parameters
    ----------
    memory_bytes
        Address space.
    data_bytes
        Memory that can be written: for programs that reserve far more addresses than they use, such as Node.
    cpu_sec
        Processor time; SIGXCPU ends the process.
    file_bytes
        Largest file that it writes.
    writable
        Folders, and files, that it may write; what is not there is left out. None: anything.
    network
        Whether it may have sockets.
    """
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_DATA: data_bytes,
        resource.RLIMIT_CPU: cpu_sec,
    }
    limits |= {resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_CORE: 0}
    for kind, value in limits.items():
        if value is not None:
            # Nothing that is allowed less already gets more by this.
            before = [limit for limit in resource.getrlimit(kind) if limit != resource.RLIM_INFINITY]
            least = min([value, *before])
            resource.setrlimit(kind, (least, least))
    if writable is not None:
        restrict_writing(writable, network=network)
    if not network:
        refuse_calls((*_SOCKETS, *_OTHERS))


def refuse_sockets() -> bool:
    """Refuse this thread, and the threads and processes that it starts, every socket; False where that is not known."""
    return refuse_calls(_SOCKETS)


def refuse_calls(names: Sequence[str]) -> bool:
    """Let calls of the system fail with "permission denied", in this thread and what it starts."""
    known = _CALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if known is None:
        return False
    architecture, numbers = known
    by_name = dict(zip((*_SOCKETS, *_OTHERS), numbers, strict=True))
    refused = [by_name[name] for name in names]
    # Instructions of classic BPF over (call, architecture, ...): load, compare, return.
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, _REFUSE), (0x20, 0, 0, 0)]
    # Where one is met, over the comparisons that are left and over "allow".
    program += [(0x35, len(refused) + 1, 0, _X32)]
    program += [(0x15, len(refused) - at, 0, number) for at, number in enumerate(refused)]
    program += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _REFUSE)]
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(filters, len(filters))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    whole = Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(whole), 0, 0) == 0)


def landlock_abi() -> int:
    """Return the version of Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def restrict_writing(places: Sequence[str], *, network: bool) -> bool:
    """Let this thread and what it starts write only in `places`; False where the system has no Landlock."""
    abi = landlock_abi()
    if not abi:
        return False
    rights = sum(1 << bit for bit in range(15) if _FOLDER_RIGHTS >> bit & 1 and abi >= _FIRST_ABI.get(bit, 1))
    fields = [rights]
    fields += [0 if network else 1 | 2] if abi >= _TCP_ABI else []
    fields += [1 | 2] if abi >= _SCOPE_ABI else []
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(len(attributes))
    rules = libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if rules < 0:
        return False
    try:
        for place in (*places, os.devnull):
            try:
                handle = os.open(place, os.O_PATH)
            except OSError:
                continue
            allowed = rights if os.path.isdir(place) else rights & _FILE_RIGHTS  # noqa: PTH112 (loads nothing)
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", allowed, handle), 0)
            os.close(handle)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return False
        return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def main() -> None:
    """Confine this process, and become the program that the command line names."""
    confine(**json.loads(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (a list, no shell)
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")


if __name__ == "__main__":
    main()
