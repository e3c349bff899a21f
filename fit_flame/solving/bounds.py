"""Limits on expressions: the minimum of a quadratic within a box, by alternating directions.

Every step of the fit minimises a quadratic model; with limits that is a quadratic programme, of which many shapes
look alike, so that searches for the unknowns at their limits go round in circles. The alternating direction method of
multipliers (S. Boyd et al., "Distributed optimization and statistical learning via the alternating direction method of
multipliers", 2011) needs one factorisation and then products only, and comes within a thousandth in twenty rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.solving.residuals import FrameState
from multitalk.fit_flame.solving.solver import factor

IntArray = npt.NDArray[np.int64]

_ROUNDS = 20
_STIFFNESS = 0.1  # of the tie between unknowns and their copies within the limits, share of the diagonal
_RELAXATION = 1.6
_SHUT = 1e-4  # radians of opening, up to which a jaw is shut
_STILL = 1e4  # times an unknown's own second derivative, so that it stands still


class Bounds(NamedTuple):
    """Limits of each frame's expression; both broadcast to (C, T, E)."""

    lower: Tensor
    upper: Tensor


def within(bounds: Bounds | None, frame: FrameState) -> FrameState:
    """Put expressions that crossed a limit on it."""
    if bounds is None:
        return frame
    return frame._replace(expression=frame.expression.clamp(bounds.lower, bounds.upper))


def ties(blocks: Tensor, size: int) -> Tensor:
    """(..., E) how stiffly each of the first `size` unknowns is tied to its copy within the limits."""
    return _STIFFNESS * blocks.diagonal(dim1=-2, dim2=-1)[..., :size]


def tied(blocks: Tensor, stiffness: Tensor) -> Tensor:
    """Second derivatives (..., n, n) with those ties (..., E) to copies that stand still."""
    rest = blocks.shape[-1] - stiffness.shape[-1]
    return blocks + torch.diag_embed(torch.nn.functional.pad(stiffness, (0, rest)))


def limited_minimum(
    bounds: Bounds, expression: Tensor, stiffness: Tensor, solve: Callable[[Tensor], Tensor]
) -> Tensor:
    """Find how far the expression goes within its limits.

    Parameters
    ----------
    bounds
        Limits.
    expression
        (C, T, E) where the step starts.
    stiffness
        (C, T, E) of the ties.
    solve
        Gives the step's expression part (C, T, E) that minimises the tied model under a pull (C, T, E) on it.

    Returns
    -------
    Tensor
        (C, T, E) step of the expression; it ends within the limits.
    """
    lower, upper = bounds.lower - expression, bounds.upper - expression
    copy, debt = torch.zeros_like(expression), torch.zeros_like(expression)
    for _ in range(_ROUNDS):
        step = solve(stiffness * (copy - debt))
        step = _RELAXATION * step + (1 - _RELAXATION) * copy
        copy = torch.minimum(torch.maximum(step + debt, lower), upper)
        debt = debt + step - copy
    return copy


def limited_step(bounds: Bounds, expression: Tensor, gradient: Tensor, blocks: Tensor) -> Tensor:
    """Minimise every frame's quadratic model within the limits.

    Parameters
    ----------
    bounds
        Limits.
    expression
        (C, T, E) where the step starts.
    gradient, blocks
        (C, T, n) and (C, T, n, n) of the cost there; the expression's unknowns come first.

    Returns
    -------
    Tensor
        (C, T, n) step.
    """
    e = expression.shape[-1]
    stiffness = ties(blocks, e)
    inverse = torch.cholesky_inverse(factor(tied(blocks, stiffness)))
    start = -(inverse @ gradient[..., None])[..., 0]
    limited = limited_minimum(
        bounds, expression, stiffness, lambda pull: start[..., :e] + _times(inverse[..., :e, :e], pull)
    )
    others = blocks[..., e:, e:]
    right = gradient[..., e:] + _times(blocks[..., e:, :e], limited)
    return torch.cat([limited, -torch.cholesky_solve(right[..., None], factor(others))[..., 0]], -1)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    product: Tensor = (matrix @ vector[..., None])[..., 0]
    return product


def opened(step: Tensor, opening: Tensor, place: int) -> Tensor:
    """Shorten steps (..., n) whose unknown at `place` would take the jaw's opening (...) below 0; it ends there."""
    least = torch.maximum(step[..., place], -opening)
    return torch.cat([step[..., :place], least[..., None], step[..., place + 1 :]], -1)


def pressed(opening: Tensor, gradient: Tensor, place: int) -> Tensor:
    """(...) jaws that are shut and would close further down the gradient (..., n)."""
    return (opening <= _SHUT) & (gradient[..., place] > 0)


def held(blocks: Tensor, chosen: Tensor, place: int) -> Tensor:
    """Second derivatives (..., n, n) in which the unknown at `place` stands still where `chosen` (...)."""
    stiff = torch.zeros_like(blocks.diagonal(dim1=-2, dim2=-1))
    stiff[..., place] = torch.where(chosen, _STILL * blocks[..., place, place], 0.0)
    return blocks + torch.diag_embed(stiff)


def fixed(bounds: Bounds, frame: FrameState, chosen: IntArray, values: Tensor) -> tuple[Bounds, FrameState]:
    """Give some unknowns (n,) of every frame values (C, T, n) that they keep."""
    lower, upper, expression = (
        part.expand_as(frame.expression).clone() for part in (*bounds, frame.expression)
    )
    for part in (lower, upper, expression):
        part[..., chosen] = values
    return Bounds(lower, upper), frame._replace(expression=expression)


def one_of_each(bounds: Bounds | None, expression: Tensor, opposed: IntArray) -> Bounds | None:
    """Shut in every frame the smaller one of each pair (P, 2) of unknowns that oppose each other."""
    if bounds is None:
        return None
    upper = bounds.upper.expand_as(expression).clone()
    for first, second in opposed.tolist():
        less = expression[..., first] < expression[..., second]
        upper[..., first] = torch.where(less, 0.0, upper[..., first])
        upper[..., second] = torch.where(less, upper[..., second], 0.0)
    return bounds._replace(upper=upper)
