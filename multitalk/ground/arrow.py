"""Arrow without pandas: what a program that has no use for pandas does first."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import ModuleType

_LOOKED_FOR = ("pandas", "pyarrow.pandas_compat")


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas, for a program that only writes and reads tables.

    When the first array is made of Python values, pyarrow looks whether they are pandas' and imports it for that,
    which takes as long as all the rest of a short command. It looks once, and here finds an empty module;
    ``to_pandas`` imports the true one later all the same. For a program's start, not for a library: pyarrow then
    takes values of pandas for plain sequences.
    """
    import pyarrow as pa

    if sys.modules.keys() & set(_LOOKED_FOR):
        return
    sys.modules.update({name: ModuleType(name) for name in _LOOKED_FOR})
    try:
        with suppress(AttributeError):  # no version: the look in Python's part of pyarrow ends here
            pa.array([0])
        pa.array([0])  # the look in its C++ part
    finally:
        for name in _LOOKED_FOR:
            del sys.modules[name]
