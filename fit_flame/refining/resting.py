"""The face at rest: what a person's face bears in nearly every frame belongs to its shape, not to its expression."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from multitalk.fit_flame.heads.expression_rules import ExpressionRules
from multitalk.fit_flame.solving.residuals import ClipState, FrameState

_SHARE = 0.1  # of the frames that may bear less
_UNSHUT = 0.05  # of a blink, up to which a frame tells where the lids rest


def rested(
    rules: ExpressionRules, clip: ClipState, frame: FrameState, valid: Tensor
) -> tuple[ClipState, FrameState]:
    """Move the part of each expression that nearly all frames bear into the shape; the heads stay as they are.

    Parameters
    ----------
    rules
        Which shape direction does what an expression does.
    clip, frame
        The fit.
    valid
        (C, T) frames with landmarks.
    """
    chosen = np.flatnonzero(rules.resting >= 0)
    if clip.shape.shape[-1] <= int(rules.resting.max()):
        return clip, frame  # the mean face was kept
    expression, shape = frame.expression.clone(), clip.shape.clone()
    for c in range(len(valid)):
        base = _borne(rules, frame.expression[c, valid[c]])[chosen]
        expression[c, :, chosen] = (expression[c][:, chosen] - base).clamp_min(0)
        shape[c, rules.resting[chosen]] += base / rules.resting_sigma
    return clip._replace(shape=shape), frame._replace(expression=expression)


def _borne(rules: ExpressionRules, expression: Tensor) -> Tensor:
    """(E,) what a face bears at rest, of its unknowns (T, E)."""
    borne = expression.quantile(_SHARE, dim=0)
    for wide, shut in rules.lids.tolist():
        unshut = expression[:, shut] < _UNSHUT
        if unshut.any():
            borne[wide] = expression[unshut, wide].median()
    return borne
