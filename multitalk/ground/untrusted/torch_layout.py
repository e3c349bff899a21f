"""The two layouts of `torch.save`: a zip file of a pickle and the tensors' bytes, and the older row of pickles.

Neither needs torch to be read. What is found are records and storages; `ground.untrusted.pickles` makes tensors of
them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from multitalk.ground.untrusted.pickle_records import Named, Outside, PickleRefusedError, Record, read_records

BFLOAT16: Final = "bfloat16"
"""NumPy has no such numbers: they are kept as their bits, uint16."""
STORAGES: Final = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
MOST_PICKLE_BYTES = 256 * 2**20
"""Of the pickle in a zip file; the tensors are not in it."""
MOST_ENTRIES = 200_000
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LAYOUT_VERSION: Final = 1001


@dataclass(frozen=True, slots=True)
class Storage:
    """A tensor's bytes and what numbers they are."""

    data: npt.NDArray[np.uint8]
    kind: str
    """A NumPy dtype, or `BFLOAT16`."""


Storages = Callable[[Outside], Storage]
Allowed = Callable[[Named], bool]


def is_storage(named: Named) -> bool:
    """Tell whether it is one of torch's classes of storages."""
    return named.module == "torch" and named.name in STORAGES


def read_zip(file: BinaryIO, allowed: Allowed) -> tuple[Any, Storages]:
    """Read what torch writes since version 1.6.

    Raises
    ------
    PickleRefusedError, zipfile.BadZipFile
        When it is another zip file, or damaged.
    """
    size = file.seek(0, 2)
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    found = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise PickleRefusedError("not a zip file of torch (one uncompressed data.pkl is expected)")
    # Entries may lie over one another: together they would then be larger than the file.
    if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries.values()) > size:
        raise PickleRefusedError("a zip file that grows when it is unpacked")
    if entries[found[0]].file_size > MOST_PICKLE_BYTES:
        raise PickleRefusedError(f"its data.pkl has more than {MOST_PICKLE_BYTES:,} bytes")
    folder = found[0].removesuffix("data.pkl")
    order = entries.get(f"{folder}byteorder")
    if order is not None and (order.file_size > 6 or archive.read(order) != b"little"):
        raise PickleRefusedError("its tensors are big-endian")
    content, _ = read_records(archive.read(found[0]), allowed)

    def read(key: str, _: int) -> npt.NDArray[np.uint8]:
        entry = entries.get(f"{folder}data/{key}")
        if entry is None:
            raise PickleRefusedError(f"it has no data/{key[:40]}")
        return _bytes_of(archive, entry)

    return content, _storages(read)


def read_legacy(data: bytes, allowed: Allowed) -> tuple[Any, Storages]:
    """Read what torch wrote before version 1.6: four pickles, a fifth of the storages' names, and their bytes.

    Raises
    ------
    PickleRefusedError
        When it is anything else, or damaged.
    """
    magic, at = read_records(data, allowed)
    version, at = read_records(data, allowed, at)
    if magic != _MAGIC or version != _LAYOUT_VERSION:
        raise PickleRefusedError("no file of torch.save")
    system, at = read_records(data, allowed, at)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PickleRefusedError("its tensors are big-endian")
    content, at = read_records(data, allowed, at)
    keys, at = read_records(data, allowed, at)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PickleRefusedError("its tensors have no names")
    # How long a storage is, only its numbers' kind tells, which is where the pickle asks for it.
    sizes = _itemsizes(content)
    starts = dict(zip(keys, _starts(data, at, [sizes.get(key, 0) for key in keys]), strict=True))

    def read(key: str, length: int) -> npt.NDArray[np.uint8]:
        if key not in starts:
            raise PickleRefusedError(f"it has no storage {key[:40]!r}")
        return np.frombuffer(bytearray(data[starts[key] : starts[key] + length]), np.uint8)

    return content, _storages(read)


def _storages(read: Callable[[str, int], npt.NDArray[np.uint8]]) -> Storages:
    """Read each storage once, however many tensors lie in it."""
    raw: dict[str, npt.NDArray[np.uint8]] = {}
    checked: dict[tuple[str, str, int], Storage] = {}

    def storage(outside: Outside) -> Storage:
        wanted = kind, key, count = _named_storage(outside)
        if wanted not in checked:
            if key not in raw:
                raw[key] = read(key, _itemsize(kind) * count)
            checked[wanted] = _checked(raw[key], kind, count)
        return checked[wanted]

    return storage


def _starts(data: bytes, begin: int, sizes: list[int]) -> list[int]:
    """Where each storage's bytes begin, after the count of its numbers."""
    starts = []
    for size in sizes:
        starts.append(begin + 8)
        begin += 8 + size * int.from_bytes(data[begin : begin + 8], "little")
        if not size or begin > len(data):
            raise PickleRefusedError("its tensors' bytes end early")
    return starts


def _itemsizes(content: Any) -> dict[str, int]:
    """Bytes of a number in each storage that a pickle names."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if not isinstance(value, Record | Outside | dict | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Outside):
            kind, key, _ = _named_storage(value)
            sizes[key] = _itemsize(kind)
        elif isinstance(value, Record):
            waiting += [value.arguments, value.states, value.values, value.pairs]
        else:
            waiting += [*value, *(value.values() if isinstance(value, dict) else ())]
    return sizes


def _named_storage(outside: Outside) -> tuple[str, str, int]:
    """Return the kind, the key and the count of numbers that a name of a storage tells."""
    name = outside.name
    if not isinstance(name, tuple) or len(name) < 5 or name[0] != "storage" or not isinstance(name[1], Named):
        raise PickleRefusedError("something outside the pickle that is no tensor's storage")
    _, kind, key, _, count = name[:5]
    if not is_storage(kind):
        raise PickleRefusedError(f"tensors in a {kind}")
    if not isinstance(key, str) or not key.isdecimal() or not isinstance(count, int) or count < 0:
        raise PickleRefusedError("a storage without a number")
    return STORAGES[kind.name], key, count


def _itemsize(kind: str) -> int:
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def _checked(data: npt.NDArray[np.uint8], kind: str, count: int) -> Storage:
    if data.size != count * _itemsize(kind):
        raise PickleRefusedError(f"a storage of {data.size:,} bytes tells of {count:,} numbers of {kind}")
    if kind == "|b1" and data.size and data.max() > 1:
        raise PickleRefusedError("truth values that are neither true nor false")
    return Storage(data, kind)


def _bytes_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[np.uint8]:
    data = np.empty(entry.file_size, np.uint8)
    with archive.open(entry) as file:
        view, at = data.data, 0
        while count := file.readinto(view[at : at + 2**24]):  # type: ignore[attr-defined]
            at += count
    if at != entry.file_size:
        raise PickleRefusedError(f"{entry.filename[:80]!r} ends early")
    return data
