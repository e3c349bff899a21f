"""Arrow without pandas: what a program that has no use for pandas does first."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not looked for now", name=name)


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas, for a program that only writes and reads tables.

    When the first array is made of Python values, pyarrow looks whether they are pandas' and imports it for that,
    which takes as long as all the rest of a short command. It looks once; ``to_pandas`` imports it later all the
    same. For a program's start, not for a library: pyarrow then takes values of pandas for plain sequences.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, refusal := _NoPandas())
    try:
        pa.array([0])  # one value: of none, it looks only in half of the places
    finally:
        sys.meta_path.remove(refusal)
