"""Take a pickle apart into records, building nothing that it names.

Python's own unpickler calls what a file asks it to call, also where each name is allowed: NumPy's constructors
take chosen pointers, hashing a deep tuple overflows the stack, a memo index takes gigabytes. Here a pickle is a
small language that is read: every class becomes its name (`Named`), every call a note of it (`Record`), and only
numbers, texts, bytes, lists, tuples and dicts of texts and numbers come to life. `ground.untrusted.pickles` makes
arrays out of the notes.

The language is that of `pickletools` (protocols 0 to 5).
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

MOST_STEPS = 4_000_000
"""Opcodes that are followed: some seconds' worth, and far more than any model's file has."""
MOST_DIGITS_BYTES = 32
"""Of a whole number: torch's magic number has 10."""


class PickleRefusedError(ValueError):
    """The pickle is damaged, or holds something that such a file has no need of."""


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that the pickle names; it is not looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Record:
    """An object that the pickle asks for: what was to be called with what, and what was to be put into it."""

    maker: Named
    arguments: tuple[Any, ...]
    states: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class Outside:
    """What the pickle names as lying outside of it, such as a tensor's bytes in torch's files."""

    name: Any


def read_records(data: bytes, allowed: Callable[[Named], bool], start: int = 0) -> tuple[Any, int]:
    """Read one pickle.

    Parameters
    ----------
    data
        What holds the pickle.
    allowed
        Whether such a file has need of a name. Nothing would happen if it had not; but it tells an honest file.
    start
        Where in `data` it begins.

    Returns
    -------
    tuple
        What was pickled, and the index after its end.

    Raises
    ------
    PickleRefusedError
        When it is damaged, too long, or asks for what is not allowed.
    """
    machine = _Machine(data, allowed, start)
    try:
        return machine.run(), machine.at
    except PickleRefusedError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        message = f"{type(error).__name__}: {str(error)[:100]}"
        raise PickleRefusedError(f"damaged at byte {machine.at:,} ({message})") from error


class _Machine:
    def __init__(self, data: bytes, allowed: Callable[[Named], bool], start: int) -> None:
        self.data, self.allowed, self.at = data, allowed, start
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_STEPS):
            code = self.take(1)[0]
            if code == _STOP:
                return self.stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise PickleRefusedError(f"opcode 0x{code:02x} at byte {self.at - 1:,} has no place here")
            operation(self)
        raise PickleRefusedError(f"more than {MOST_STEPS:,} steps")

    def take(self, count: int) -> bytes:
        """Return the next bytes; never more than there are."""
        if not 0 <= count <= len(self.data) - self.at:
            raise PickleRefusedError(f"it ends before the {count:,} bytes that it tells of at {self.at:,}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        end = self.data.index(b"\n", self.at)
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def items(self) -> list[Any]:
        """Return what was pushed since the last mark."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def named(self, module: str, name: str) -> Named:
        found = Named(module, name)
        if not self.allowed(found):
            shown = "".join(letter if letter.isprintable() else "?" for letter in str(found)[:200])
            raise PickleRefusedError(f"the file asks for {shown}")
        return found

    def name_on_stack(self) -> None:
        module, name = self.last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleRefusedError("a class whose name is no text")
        self.push(self.named(module, name))

    def drop(self) -> None:
        self.stack.pop()

    def drop_marked(self) -> None:
        self.items()

    def call(self, maker: Any, arguments: Any) -> None:
        if not isinstance(maker, Named) or not isinstance(arguments, tuple):
            raise PickleRefusedError(f"it calls a {type(maker).__name__}, which is no name of a class")
        self.push(Record(maker, arguments))

    def call_with_keywords(self) -> None:
        keywords, arguments, maker = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.call(maker, arguments)
        self.stack[-1].states.append(keywords)

    def call_marked(self) -> None:
        maker, *arguments = self.items()
        self.call(maker, tuple(arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Record):
            raise PickleRefusedError(f"it sets the state of a {type(target).__name__}")
        target.states.append(state)

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Record | list):
            raise PickleRefusedError(f"it appends to a {type(target).__name__}")
        (target.values if isinstance(target, Record) else target).extend(values)

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        pairs = [(_key(key), value) for key, value in zip(flat[::2], flat[1::2], strict=True)]
        if isinstance(target, Record):
            target.pairs.extend(pairs)
        elif isinstance(target, dict):
            target.update(pairs)
        else:
            raise PickleRefusedError(f"it sets items of a {type(target).__name__}")

    def new_dict(self) -> None:
        flat = self.items()
        self.push({})
        self.set_items(flat)

    def last(self, count: int) -> tuple[Any, ...]:
        """Take the topmost values, in the order in which they were pushed."""
        if len(self.stack) < count:
            raise PickleRefusedError(f"it takes from an empty stack at byte {self.at:,}")
        found = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return found

    def keep(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def frame(self) -> None:
        self.number("<Q")  # frames only help to read ahead

    def protocol(self) -> None:
        if (version := self.take(1)[0]) > 5:
            raise PickleRefusedError(f"protocol {version} is not known")


def _key(value: Any) -> Any:
    """Return what can be a dict's key: hashing anything else takes as long or as deep as the file's maker likes."""
    if isinstance(value, Named | Record | Outside):
        return str(value) if isinstance(value, Named) else value
    if value is not None and not isinstance(value, str | bytes | int | float):
        raise PickleRefusedError(f"a dict has a {type(value).__name__} for a key")
    if isinstance(value, int) and value.bit_length() > 64:
        raise PickleRefusedError("a dict has a number of more than 64 bits for a key")
    return value


def _whole(data: bytes) -> int:
    if len(data) > MOST_DIGITS_BYTES:
        raise PickleRefusedError(f"a whole number of {len(data):,} bytes")
    return int.from_bytes(data, "little", signed=True)


def _line_number(line: bytes) -> int | bool:
    if line in (b"00", b"01"):  # protocol 0's truth
        return line == b"01"
    if len(line) > 3 * MOST_DIGITS_BYTES:
        raise PickleRefusedError(f"a whole number of {len(line):,} digits")
    return int(line.removesuffix(b"L"))


def _quoted(line: bytes) -> str:
    """Python 2's text: quoted, with escapes."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise PickleRefusedError("a text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _latin1(data: bytes) -> str:
    return data.decode("latin1")  # what Python 2 wrote, and where arrays' bytes lie in it


def _bytes(data: bytes) -> bytes:
    return data


Operation = Callable[[_Machine], None]


def _push(value: Any) -> Operation:
    return lambda m: m.push(value)


def _fixed(form: str) -> Operation:
    return lambda m: m.push(m.number(form))


def _counted(form: str, made: Callable[[bytes], Any]) -> Operation:
    return lambda m: m.push(made(m.take(m.number(form))))


def _of_line(made: Callable[[bytes], Any]) -> Operation:
    return lambda m: m.push(made(m.line()))


def _text(line: bytes) -> str:
    return line.decode("utf-8")


_STOP: Final = ord(".")
_OPERATIONS: Final[dict[int, Operation]] = {
    0x80: _Machine.protocol,
    0x95: _Machine.frame,
    # plain values
    ord("N"): _push(None),
    0x88: _push(True),
    0x89: _push(False),
    ord("J"): _fixed("<i"),
    ord("K"): _fixed("<B"),
    ord("M"): _fixed("<H"),
    ord("G"): _fixed(">d"),
    0x8A: _counted("<B", _whole),
    0x8B: _counted("<i", _whole),
    ord("I"): _of_line(_line_number),
    ord("L"): _of_line(_line_number),
    ord("F"): _of_line(float),
    # texts and bytes
    ord("S"): _of_line(_quoted),
    ord("V"): _of_line(lambda line: line.decode("raw-unicode-escape")),
    ord("T"): _counted("<i", _latin1),
    ord("U"): _counted("<B", _latin1),
    ord("X"): _counted("<I", _utf8),
    0x8C: _counted("<B", _utf8),
    0x8D: _counted("<Q", _utf8),
    ord("B"): _counted("<I", _bytes),
    ord("C"): _counted("<B", _bytes),
    0x8E: _counted("<Q", _bytes),
    0x96: _counted("<Q", _bytes),
    # containers; sets become lists, so that nothing has to be hashed
    ord("("): _Machine.mark,
    ord(")"): _push(()),
    ord("t"): lambda m: m.push(tuple(m.items())),
    0x85: lambda m: m.push(m.last(1)),
    0x86: lambda m: m.push(m.last(2)),
    0x87: lambda m: m.push(m.last(3)),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.items()),
    0x8F: lambda m: m.push([]),
    0x91: lambda m: m.push(m.items()),
    ord("}"): lambda m: m.push({}),
    ord("d"): _Machine.new_dict,
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.items()),
    0x90: lambda m: m.append(m.items()),
    ord("s"): lambda m: m.set_items(list(m.last(2))),
    ord("u"): lambda m: m.set_items(m.items()),
    # stack and memo
    ord("0"): _Machine.drop,
    ord("1"): _Machine.drop_marked,
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("p"): lambda m: m.keep(int(_line_number(m.line()))),
    ord("q"): lambda m: m.keep(m.number("<B")),
    ord("r"): lambda m: m.keep(m.number("<I")),
    0x94: lambda m: m.keep(len(m.memo)),
    ord("g"): lambda m: m.push(m.memo[int(_line_number(m.line()))]),
    ord("h"): lambda m: m.push(m.memo[m.number("<B")]),
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    # what is named, called and built: noted only
    ord("c"): lambda m: m.push(m.named(_text(m.line()), _text(m.line()))),
    0x93: _Machine.name_on_stack,
    ord("R"): lambda m: m.call(*m.last(2)),
    0x81: lambda m: m.call(*m.last(2)),
    0x92: _Machine.call_with_keywords,
    ord("i"): lambda m: m.call(m.named(_text(m.line()), _text(m.line())), tuple(m.items())),
    ord("o"): _Machine.call_marked,
    ord("b"): _Machine.build,
    ord("P"): lambda m: m.push(Outside(_text(m.line()))),
    ord("Q"): lambda m: m.push(Outside(m.stack.pop())),
}
"""By opcode. The registry of extensions (0x82 to 0x84) and buffers outside (0x97, 0x98) are left out."""
