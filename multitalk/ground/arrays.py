"""Types of arrays with their shapes, for signatures: ``Float32[Array, "frames points 3"]``.

A name stands for a length, the same wherever it is written in one signature; a number for itself; ``...`` for any
axes. Kinds are numpy's: `Float32` is exactly that, `Float` any of its precisions. They are jaxtyping's, and the
tests check them at every call (`tests/array_shapes.py`). Import them under ``if TYPE_CHECKING``: running
costs nothing, and does without jaxtyping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float16, Float32, Float64, Int, Int16, Int64, Integer, UInt8

if TYPE_CHECKING:
    Array = npt.NDArray[Any]
else:
    Array = np.ndarray

__all__ = [
    "Array",
    "Bool",
    "Float",
    "Float16",
    "Float32",
    "Float64",
    "Int",
    "Int16",
    "Int64",
    "Integer",
    "UInt8",
]
