"""Linear maps with weights packed for oneDNN's kernels, which are half again as fast for a hundred rows.

torch packs weights in compiled graphs only. The two operators are internal to torch: where they are
missing, and on any other device or type, the plain map is kept.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

_REORDER, _LINEAR = "_reorder_linear_weight", "_linear_pointwise"


class PackedLinear(nn.Module):
    """A frozen linear map (float32, CPU) with its weight in oneDNN's own order.

    Parameters
    ----------
    linear : nn.Linear
        The map.
    rows : int
        Rows that inputs are expected to have; others are right too, but slower.
    """

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        self.bias = linear.bias
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def packed_copy(module: nn.Module, rows: int = 64) -> nn.Module:
    """Copy a module with its linear maps packed where that can be, else return it as it is."""
    kinds = {(p.device.type, p.dtype) for p in module.parameters()}
    if not _can_pack() or kinds != {("cpu", torch.float32)}:
        return module
    # The copy's other parameters are shared: only the maps are replaced.
    copied = copy.deepcopy(module, {id(p): p for p in module.parameters()})
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child, rows))
    return copied


def _can_pack() -> bool:
    operators = torch.ops.mkldnn
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(operators, _REORDER) and hasattr(operators, _LINEAR)


def _operations(x: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    rows_and_inputs: int = math.prod(x)
    return 2 * rows_and_inputs * int(out_shape[-1])


# Else torch's FlopCounter would not see this arithmetic and flatter us.
if _can_pack() and torch.ops.mkldnn._linear_pointwise not in flop_registry:
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_operations)
