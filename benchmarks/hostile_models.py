"""Model files from strangers: valid ones damaged at random, and pickles made to do harm, each read in a child.

Prints how many were refused, how many were read as plain numbers, and whether any crashed the process that read it,
hung it, or made anything but plain values. Status 1 if one did.
"""

import argparse
import collections
import json
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/hostile_models.py`, too

import numpy as np
import scipy.sparse
import torch
from safetensors.torch import save_file

from multitalk.ground.untrusted.array_files import read_npy, read_npz
from multitalk.ground.untrusted.checkpoint_file import (
    CheckpointError,
    read_checkpoint,
    read_content,
    read_safetensors,
)
from multitalk.ground.untrusted.files import UntrustedFileError
from multitalk.ground.untrusted.pickles import load_array_pickle, load_pickle

SECONDS = 30
MEMORY = 3 << 30
"""Bytes of address space that a child gets beside what it has."""
OUTCOMES = ("refused", "read as numbers", "read as others", "crashed", "hung")
Read = Callable[[Path], object]


@dataclass
class Row:
    """What became of the files of one kind."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0
    """Processor time of the slowest."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200, help="damaged files, beside the made-up ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="40 damaged files")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        for kind, data, read in files(40 if options.quick else options.files, random.Random(options.seed)):
            place.write_bytes(data)
            outcome, seconds = in_child(read, place)
            row = rows.setdefault(kind, Row())
            row.outcomes[outcome] += 1
            row.seconds = max(row.seconds, seconds)
            if outcome in OUTCOMES[2:]:
                kept = (
                    Path(tempfile.gettempdir()) / f"hostile_{kind.replace(' ', '_')}_{row.outcomes[outcome]}"
                )
                kept.write_bytes(data)
                print(f"{outcome}: {kept}", file=sys.stderr)
    print(f"| file | {' | '.join(OUTCOMES)} | most CPU, s |")
    print("| --- |" + " --- |" * (len(OUTCOMES) + 1))
    for kind, row in rows.items():
        counts = " | ".join(str(row.outcomes[outcome]) for outcome in OUTCOMES)
        print(f"| {kind} | {counts} | {row.seconds:.2f} |")
    total = sum((row.outcomes for row in rows.values()), collections.Counter[str]())
    print(f"| all | {' | '.join(str(total[outcome]) for outcome in OUTCOMES)} | |")
    if options.json:
        options.json.write_text(json.dumps({kind: asdict(row) for kind, row in rows.items()}, indent=1))
    sys.exit(any(total[outcome] for outcome in OUTCOMES[2:]))


def files(count: int, chance: random.Random) -> Iterator[tuple[str, bytes, Read]]:
    """Kind, content and reader of every file."""
    for name, data in made_up().items():
        yield "made up: " + name.partition(":")[0], data, load_pickle
    valid = list(valid_files())
    for number in range(count):
        kind, data, read = valid[number % len(valid)]
        yield kind, damaged(data, chance) if number >= len(valid) else data, read


def valid_files() -> Iterator[tuple[str, bytes, Read]]:
    """Files as publishers make them, small."""
    rng = np.random.default_rng(0)
    flame = {
        "v_template": rng.normal(size=(50, 3)),
        "f": rng.integers(0, 50, (90, 3)).astype(np.uint32),
        "J_regressor": scipy.sparse.random(5, 50, density=0.2, random_state=1, format="csc"),
        "weights": np.asfortranarray(rng.normal(size=(50, 5)).astype(np.float32)),
        "bs_type": "lrotmin",
    }
    tensors = {
        f"layer.{n}.weight": torch.full((4, n + 1), 1.0 * n, dtype=kind) for n, kind in enumerate(KINDS)
    }
    checkpoint = {"state_dict": collections.OrderedDict(tensors), "epoch": 3, "best": np.float64(0.5)}
    for protocol in (0, 2, 4):
        yield f"FLAME, protocol {protocol}", pickle.dumps(flame, protocol), load_pickle
    yield "torch, zip", written(lambda place: torch.save(checkpoint, place)), read_content
    old = written(lambda place: torch.save(checkpoint, place, _use_new_zipfile_serialization=False))
    yield "torch, before 1.6", old, read_checkpoint
    yield "safetensors", written(lambda place: save_file(tensors, place)), read_safetensors
    yield "npz", written(lambda place: np.savez_compressed(place, **only_arrays(flame)), ".npz"), read_npz
    yield "npy", written(lambda place: np.save(place, flame["f"]), ".npy"), read_npy
    embedding: Any = {"bary": torch.ones(4, 3), "faces": np.arange(4)}
    yield "npy with tensors", written(lambda place: np.save(place, embedding), ".npy"), load_array_pickle


KINDS = (torch.float32, torch.float16, torch.int64, torch.bool, torch.float64)


def only_arrays(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an npz file does not hold."""
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


def written(write: Callable[[Path], object], suffix: str = "") -> bytes:
    """Content of the file that a writer makes."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"made{suffix}"
        write(place)
        return place.read_bytes()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Damage a file as a fuzzer does: bits, bytes, numbers, pieces lost, doubled and moved."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at, length = chance.randrange(len(changed)), chance.randrange(1, 64)
        how = chance.randrange(6)
        if how == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            changed[at] = chance.choice(b"\x00\xff\x7f.(R)b0cQjrt\x81\x93\x94\x95")
        elif how == 2:
            changed[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**20)))
        elif how == 3:
            del changed[at : at + length]
        elif how == 4:
            changed[at:at] = changed[at : at + length]
        else:
            other = chance.randrange(len(changed))
            changed[at : at + length] = changed[other : other + length]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def made_up() -> dict[str, bytes]:
    """Pickles that do harm to Python's own unpickler, or to one with an allow-list of NumPy's names."""
    pointers = Calls(np.ndarray, (1,), np.dtype("O"), b"A" * 8)
    objects: dict[str, object] = {
        "pointers": {"v_template": pointers},
        "pointers: in a list": [pointers],
        "calls: system": Calls(os.system, "true"),
        "calls: eval": Calls(eval, "1"),
        "calls: import": Calls(__import__, "antigravity"),
        "calls: getattr": Calls(getattr, "a", "b"),
        "large arrays": Calls(np.ndarray, (2**40,), np.dtype("f8")),
    }
    lists = b"".join(b"q\x00]h\x00ah\x00a" for _ in range(60))
    tuples = b"".join(b"q\x00h\x00\x86" for _ in range(60))
    return {name: pickle.dumps(value, 2) for name, value in objects.items()} | {
        "depth: tuples": b"\x80\x02)" + b"\x85" * 10**6 + b".",
        "depth: tuples as a key": b"\x80\x02})" + b"\x85" * 10**6 + b"Ns.",
        "depth: lists": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
        "doubling: lists": b"\x80\x02]Na" + lists + b".",
        "doubling: tuples as a key": b"\x80\x02})" + tuples + b"Ns.",
        "numbers: memo": b"\x80\x02]r\xff\xff\xff\xff.",
        "numbers: LONG4": b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6 + b".",
        "numbers: digits": b"L" + b"9" * 10**6 + b"L\n.",
        "numbers: BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
        "steps": b"\x80\x02" + b"N0" * 3_000_000 + b"N.",
    }


def in_child(read: Read, place: Path) -> tuple[str, float]:
    """Read a file in a forked process with limits; what came of it, in how much processor time."""
    child = os.fork()
    if child == 0:
        code = 9
        try:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(4 * SECONDS)  # for what waits; what works is stopped by its processor time
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            code = 1 if is_plain(read(place)) else 2
        except (UntrustedFileError, CheckpointError):
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        hung = os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU)
        return "hung" if hung else "crashed", seconds
    outcome = dict(enumerate(OUTCOMES[:3])).get(os.WEXITSTATUS(status), "crashed")
    return outcome, seconds


def is_plain(value: object) -> bool:
    """Whether it is made of numbers, texts, containers and arrays of numbers alone; every number is looked at."""
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, torch.Tensor):
        return bool((value == value).numel() + 1)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiubU" and isinstance(value.tobytes(), bytes)
    if type(value).__name__ in ("Left", "Checkpoint"):
        return all(is_plain(getattr(value, name)) for name in value.__slots__)  # type: ignore[attr-defined]
    return value is None or isinstance(value, str | bytes | int | float)


if __name__ == "__main__":
    main()
