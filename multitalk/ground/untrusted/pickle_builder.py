"""Makes plain values and arrays of numbers of what a pickle was taken apart into, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from multitalk.ground.untrusted.files import GIB
from multitalk.ground.untrusted.pickle_records import Named, Outside, PickleRefusedError, Record
from multitalk.ground.untrusted.stored_arrays import (
    Array,
    bytes_of,
    counts_of,
    dense_matrix,
    dtype_of,
    view_of,
)
from multitalk.ground.untrusted.torch_layout import BFLOAT16, Storages, is_storage, read_legacy

MOST_BYTES = 8 * GIB
"""That the arrays of one file take, where they take more than the file: sparse matrices."""
MOST_VALUES = 2_000_000
"""Values in the tree that a file holds, each counted wherever it is named."""
MOST_DEPTH = 100
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_ARRAY_MODULES = (
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
)
SPARSE: Final = {"csc_matrix": True, "csr_matrix": False}
"""SciPy's compressed matrices, and whether by column."""
_MAPPINGS = ("OrderedDict", "defaultdict", "Counter", "dict")
_SEQUENCES = ("list", "set", "frozenset", "tuple", "Size")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's numbers, not copied: views of one storage share it."""

    numbers: Array
    """Bits as uint16 for bfloat16."""
    bfloat16: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """An object of which nothing was taken."""

    kind: str


def is_array_part(named: Named) -> bool:
    """Tell whether arrays and containers are made of it."""
    module, name = named.module, named.name
    return (
        (module == "numpy" and name in ("ndarray", "dtype"))
        or (module in _ARRAY_MODULES and name in ("_reconstruct", "scalar", "_frombuffer"))
        or (module == "collections" and name == "OrderedDict")
        or (module == "_codecs" and name == "encode")
        or (module in ("builtins", "__builtin__") and name in ("bytes", "bytearray"))
    )


class Builder:
    """Makes plain values of what `read_records` found.

    Parameters
    ----------
    storages
        Reads the bytes that tensors lie in, where the file is torch's.
    tensor
        What becomes of a tensor.
    inert
        Whether an object of another package becomes its state, a dict, instead of `Left`.
    """

    def __init__(
        self,
        storages: Storages | None = None,
        tensor: Callable[[Tensor], Any] = lambda found: found,
        inert: bool = False,
    ) -> None:
        self._storages, self._tensor, self._inert = storages, tensor, inert
        self._values = self._bytes = 0
        self._around: set[int] = set()
        self._made: dict[int, Any] = {}

    def plain(self, value: Any) -> Any:
        """Make a value and all that is in it; what holds itself is None there."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, Named):
            return str(value)
        if isinstance(value, Outside):
            raise PickleRefusedError("it names something outside of it")
        if id(value) in self._made:
            return self._made[id(value)]
        if id(value) in self._around:
            return None
        if len(self._around) > MOST_DEPTH:
            raise PickleRefusedError(f"it holds more than {MOST_DEPTH} values in one another")
        self._around.add(id(value))
        try:
            if isinstance(value, Record):
                return self._object(value)
            return self._container(value)
        finally:
            self._around.discard(id(value))

    def _container(self, value: Any) -> Any:
        self._count(value)
        if isinstance(value, dict):
            return {self._key(key): self.plain(item) for key, item in value.items()}
        return type(value)(item if type(item) in _PLAIN else self.plain(item) for item in value)

    def _count(self, values: Any) -> None:
        self._values += 1 + len(values)
        if self._values > MOST_VALUES:
            raise PickleRefusedError(f"it holds more than {MOST_VALUES:,} values")

    @staticmethod
    def _key(key: Any) -> Any:
        if isinstance(key, Outside):
            raise PickleRefusedError("it names something outside of it")
        return str(key.maker) if isinstance(key, Record) else key

    def _object(self, record: Record) -> Any:
        maker = _maker(record)
        module, name = maker.module, maker.name
        if is_array_part(maker) and name not in _MAPPINGS:
            return self._keep(record, self._array_part(record, maker))
        if module in {"torch._utils", "torch.storage"}:
            return self._keep(record, self._rebuilt(record, name))
        if name in SPARSE and module.startswith("scipy.sparse"):
            return self._keep(record, self._dense(record, by_column=SPARSE[name]))
        if module.partition(".")[0] == "chumpy":
            state = record.states[-1] if record.states else None
            held = self.plain(state["x"]) if isinstance(state, dict) and "x" in state else None
            return held if isinstance(held, np.ndarray) else Left(str(maker))
        return self._other(record, maker)

    def _other(self, record: Record, maker: Named) -> Any:
        """Make a container; of any other object its state, or nothing."""
        given: Any = record.arguments[-1] if record.arguments else ()
        if maker.name in _MAPPINGS and maker.module in ("collections", "builtins", "__builtin__"):
            pairs = given.items() if isinstance(given, dict) else given if isinstance(given, list) else ()
            self._count([*pairs, *record.pairs])
            return {self._key(_hashable(key)): self.plain(item) for key, item in (*pairs, *record.pairs)}
        if maker.name in _SEQUENCES and maker.module in ("builtins", "__builtin__", "torch"):
            items = [*_sequence(given), *record.values]
            self._count(items)
            made = [self.plain(item) for item in items]
            return tuple(made) if maker.name in ("tuple", "Size") else made
        return self._state(record) if self._inert else Left(str(maker))

    def _keep(self, record: Record, made: Any) -> Any:
        # Numbers are made once; `record` lives as long as the builder is used, so its id is its own.
        self._made[id(record)] = made
        return made

    def _state(self, record: Record) -> dict[Any, Any]:
        """Return the attributes of an object that is not made."""
        found: dict[Any, Any] = {}
        self._count(record.states)
        for state in record.states:
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    made = self.plain(part)
                    found.update(made or {})
        self._count(record.pairs)
        for key, item in record.pairs:
            found[self._key(key)] = self.plain(item)
        return found

    def _array_part(self, record: Record, maker: Named) -> Any:
        if maker.name == "encode" or maker.module in ("builtins", "__builtin__"):
            return bytes_of(record)
        if maker.name == "_reconstruct":
            if (
                len(record.states) != 1
                or not isinstance(record.states[0], tuple)
                or len(record.states[0]) != 5
            ):
                raise PickleRefusedError("an array without its numbers")
            _, shape, kind, by_column, data = record.states[0]
            return self._numbers(shape, kind, "F" if by_column is True else "C", data)
        if maker.name == "_frombuffer" and len(record.arguments) == 4:
            data, kind, shape, order = record.arguments
            return self._numbers(shape, kind, "F" if order == "F" else "C", data)
        if maker.name == "scalar" and len(record.arguments) == 2:
            return self._numbers((), record.arguments[0], "C", record.arguments[1]).item()
        if maker.name == "dtype":
            return str(dtype_of(record))
        raise PickleRefusedError(f"it calls {maker} with arguments of its own")

    def _numbers(self, shape: Any, kind: Any, order: Any, data: Any) -> Array:
        """Make an array after its kind, shape and bytes are found to belong together."""
        dtype, data = dtype_of(kind), bytes_of(data)
        sizes = counts_of(shape, "shape")
        if math.prod(sizes) * dtype.itemsize != len(data):
            raise PickleRefusedError(f"an array {sizes} of {dtype} in {len(data):,} bytes")
        self._spend(len(data))
        if dtype.kind == "b" and data.translate(None, b"\0\1"):
            raise PickleRefusedError("truth values that are neither true nor false")
        return np.frombuffer(data, dtype).reshape(sizes, order=order)

    def _spend(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MOST_BYTES:
            raise PickleRefusedError(f"its arrays take more than {MOST_BYTES:,} bytes")

    def _dense(self, record: Record, *, by_column: bool) -> Array:
        state = record.states[-1] if record.states else None
        if not isinstance(state, dict):
            raise PickleRefusedError("sparse matrix without its state")
        shape = state.get("_shape", state.get("shape"))
        data, indices, starts = (self.plain(state.get(key)) for key in ("data", "indices", "indptr"))
        sizes = counts_of(self.plain(shape), "shape")
        self._spend(8 * math.prod(sizes))
        return dense_matrix(sizes, data, indices, starts, by_column=by_column)

    def _rebuilt(self, record: Record, name: str) -> Any:
        arguments = record.arguments
        if name == "_rebuild_parameter" and arguments:
            return self.plain(arguments[0])
        if name not in ("_rebuild_tensor_v2", "_rebuild_tensor") or len(arguments) < 4:
            raise PickleRefusedError(f"it calls torch's {name} with arguments of its own")
        where, offset, size, stride = arguments[:4]
        storage = self._storage(where)
        stored = np.uint16 if storage.kind == BFLOAT16 else storage.kind
        sizes, strides = counts_of(_tuple_of(size), "size"), counts_of(_tuple_of(stride), "stride")
        (begin,) = counts_of((offset,), "offset")
        view = view_of(storage.data.view(stored), begin, sizes, strides)
        return self._tensor(Tensor(view, storage.kind == BFLOAT16))

    def _storage(self, where: Any) -> Any:
        if isinstance(where, Outside) and self._storages is not None:
            return self._storages(where)
        if isinstance(where, Record) and where.maker == Named("torch.storage", "_load_from_bytes"):
            if id(where) not in self._made and where.arguments:
                inner, storages = read_legacy(bytes_of(where.arguments[0]), is_storage)
                if not isinstance(inner, Outside):
                    raise PickleRefusedError("a tensor without bytes")
                self._keep(where, storages(inner))
            return self._made.get(id(where))
        raise PickleRefusedError("a tensor without bytes")


def _maker(record: Record) -> Named:
    """Return an object's class, also where Python 2 names it as an argument."""
    if record.maker.name == "_reconstructor":
        if not record.arguments or not isinstance(record.arguments[0], Named):
            raise PickleRefusedError("an object without a class")
        return record.arguments[0]
    return record.maker


def _tuple_of(value: Any) -> Any:
    return (
        value.arguments[0]
        if isinstance(value, Record) and value.maker.name == "Size" and value.arguments
        else value
    )


def _sequence(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else ()


def _hashable(key: Any) -> Any:
    if key is not None and not isinstance(key, str | bytes | int | float | Record):
        raise PickleRefusedError(f"a dict has a {type(key).__name__} for a key")
    return key
