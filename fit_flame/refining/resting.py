"""The face at rest: what a person's face bears in nearly every frame belongs to its shape, not to its expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.heads.expression_rules import ExpressionRules

_SHARE = 0.1  # of the frames that may bear less
_UNSHUT = 0.05  # of a blink, up to which a frame tells where the lids rest


def rested(
    rules: ExpressionRules,
    shape: Tensor,
    expressions: Sequence[Tensor],
    usable: Sequence[npt.NDArray[np.bool_]],
) -> tuple[Tensor, list[Tensor]]:
    """Move the part of each expression that nearly all frames bear into the shape; the heads stay as they are.

    Parameters
    ----------
    rules
        Which shape direction does what an expression does.
    shape
        (S,) of a person.
    expressions
        (T, E) of each of the person's clips, padded at the end.
    usable
        (T',) of each clip, frames with landmarks.

    Returns
    -------
    tuple
        Shape and expressions.
    """
    chosen = np.flatnonzero(rules.resting >= 0)
    if len(shape) <= int(rules.resting.max()):
        return shape, list(expressions)  # the mean face was kept
    seen = [
        frames[torch.as_tensor(np.flatnonzero(valid), device=frames.device)]
        for frames, valid in zip(expressions, usable, strict=True)
    ]
    base = borne(rules, torch.cat(seen))[chosen]
    shape, less = shape.clone(), [frames.clone() for frames in expressions]
    shape[rules.resting[chosen]] += base / rules.resting_sigma
    for frames in less:
        frames[:, chosen] = (frames[:, chosen] - base).clamp_min(0)
    return shape, less


def borne(rules: ExpressionRules, expression: Tensor) -> Tensor:
    """(E,) what a face bears at rest, of its unknowns (T, E)."""
    part = expression.quantile(_SHARE, dim=0)
    for wide, shut in rules.lids.tolist():
        unshut = expression[:, shut] < _UNSHUT
        if unshut.any():
            part[wide] = expression[unshut, wide].median()
    return part
