"""The cost of a clip: landmarks, priors in standard deviations, and the temporal prior."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from multitalk.fit_flame.parameters.rotation import small_turn
from multitalk.fit_flame.solving.bounds import Bounds
from multitalk.fit_flame.solving.jacobian import Columns, normal_matrices
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import (
    JAW_SIZE,
    POSE_SIZE,
    ClipState,
    FrameState,
    Observations,
    Points,
    Residuals,
    place_landmarks,
    pull_back,
    residuals,
)
from multitalk.fit_flame.solving.solver import Chain, chain_of


class Prior(NamedTuple):
    """Prior of a frame's unknowns."""

    jaw_mean: Tensor
    """(3,) axis-angle."""
    jaw_precision: Tensor
    """(3,)."""
    precision: Tensor = torch.ones(())
    """(E,) of the expression about 0, or one for all."""
    pull: Tensor = torch.zeros(())
    """(E,) of the expression towards 0, by its value: none where it has no limits."""
    bounds: Bounds | None = None
    """Limits of the expression, if any."""
    as_jaw: Tensor | None = None
    """(3, E) standard deviations by which each expression does what a turn of the jaw does: none of it should."""
    opens_only: bool = False
    """The jaw's first angle, its opening, is never negative."""


class Temporal(NamedTuple):
    """Temporal prior: the head keeps its velocity, the face keeps its pose, up to noise.

    A frame's unknowns are followed by six velocities of the head: x[t+1] = F x[t] + noise.
    """

    precision: Tensor
    """(C, T-1, n + 6), zero across the end of a clip."""
    velocity: Tensor
    """(C, T, 6) of rotation, position and log scale, per frame."""


class CostAndGradient(NamedTuple):
    """Cost and its derivatives at a state."""

    points: Points
    cost: Tensor
    """(C,)."""
    frame_cost: Tensor
    """(C, T) without the temporal prior."""
    gradient: Tensor
    """(C, T, n)."""
    opening: Tensor
    """(C, T) the jaw's first angle, radians."""
    found: Residuals


def cost_and_gradient(
    basis: LandmarkBasis, seen: Observations, prior: Prior, clip: ClipState, frame: FrameState
) -> CostAndGradient:
    """Evaluate landmarks and priors of every frame."""
    points = place_landmarks(basis, clip, frame)
    found = residuals(seen, frame, points)
    gradient = pull_back(basis, clip, frame, points, found, seen, with_shape=False).frame
    e = frame.expression.shape[-1]
    angles = small_turn(frame.jaw)
    jaw = angles - prior.jaw_mean
    gradient[..., :e] += prior.precision * frame.expression + prior.pull
    gradient[..., e : e + JAW_SIZE] += prior.jaw_precision * jaw
    rest = (0.5 * prior.precision * frame.expression + prior.pull) * frame.expression
    cost = found.cost + rest.sum(-1) + 0.5 * (prior.jaw_precision * jaw**2).sum(-1)
    if prior.as_jaw is not None:
        turned = frame.expression @ prior.as_jaw.mT
        gradient[..., :e] += turned @ prior.as_jaw
        cost = cost + 0.5 * turned.square().sum(-1)
    return CostAndGradient(points, cost.sum(-1), cost, gradient, angles[..., 0], found)


def frame_hessian(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    here: CostAndGradient,
    columns: Columns = Columns.frame,
) -> Tensor:
    """Gauss-Newton Hessian of `cost_and_gradient`'s cost, priors of the frames' unknowns included."""
    e = 0 if columns is Columns.jaw_and_pose else frame.expression.shape[-1]
    result = normal_matrices(basis, clip, frame, here.points, here.found, seen, columns)
    diagonal = result.diagonal(dim1=-2, dim2=-1)
    if e:
        diagonal[..., :e] += prior.precision
        if prior.as_jaw is not None:
            result[..., :e, :e] += prior.as_jaw.mT @ prior.as_jaw
    diagonal[..., e : e + JAW_SIZE] += prior.jaw_precision
    return result


State = TypeVar("State", bound=tuple[Any, ...])


def choose(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Per clip (C,) or frame (C, T), the new value where `better`, else the old one."""
    return torch.where(better.reshape(*better.shape, *[1] * (new.dim() - better.dim())), new, old)


def chosen(better: Tensor, new: State, old: State) -> State:
    """`choose` for everything that a named tuple of tensors, or of such tuples, holds."""
    parts = (
        choose(better, n, o) if isinstance(n, Tensor) else chosen(better, n, o)
        for n, o in zip(new, old, strict=True)
    )
    return type(new)(*parts)


def innovation(frame: FrameState, velocity: Tensor) -> Tensor:
    """Return what the temporal prior did not foresee: (C, T-1, n + 6)."""
    turns = [frame.rotation[:, :-1].mT @ frame.rotation[:, 1:], frame.jaw[:, 1:] @ frame.jaw[:, :-1].mT]
    rotation, jaw = small_turn(torch.stack(turns)).unbind(0)
    pose = torch.cat([rotation, frame.position.diff(dim=1), frame.log_scale.diff(dim=1)[..., None]], -1)
    return torch.cat([frame.expression.diff(dim=1), jaw, pose - velocity[:, :-1], velocity.diff(dim=1)], -1)


def chain_cost(unforeseen: Tensor, temporal: Temporal) -> Tensor:
    """(C,) cost of the temporal prior, by `innovation`."""
    return 0.5 * (temporal.precision * unforeseen**2).sum((1, 2))


def factorised_chain(blocks: Tensor, temporal: Temporal) -> Chain:
    """Factorise the second derivatives (C, T, n, n) of all frames' costs together with the temporal prior's."""
    full = torch.nn.functional.pad(blocks, (0, POSE_SIZE, 0, POSE_SIZE))
    full.diagonal(dim1=-2, dim2=-1)[...] += (
        1e-7 * blocks.diagonal(dim1=-2, dim2=-1).amax((1, 2))[:, None, None]
    )
    return chain_of(full, temporal.precision, *_pose_and_speed(blocks.shape[-1]))


def chain_step(
    chain: Chain, gradient: Tensor, unforeseen: Tensor, temporal: Temporal
) -> tuple[Tensor, Tensor]:
    """Step of all frames at once under the temporal prior, by `innovation`.

    Returns
    -------
    tuple
        Steps of the frames' unknowns (C, T, n) and of their velocities (C, T, 6).
    """
    n = gradient.shape[-1]
    pose, speed = _pose_and_speed(n)
    pulled = temporal.precision * unforeseen
    right = -torch.nn.functional.pad(gradient, (0, POSE_SIZE))
    right[:, 1:] -= pulled
    right[:, :-1] += pulled
    right[:, :-1, speed] += pulled[..., pose]
    step = chain.solve(right)
    return step[..., :n], step[..., n:]


def _pose_and_speed(n: int) -> tuple[slice, slice]:
    """Where the pose lies among a frame's n unknowns, and its velocity behind them."""
    return slice(n - POSE_SIZE, n), slice(n, n + POSE_SIZE)


def damped(blocks: Tensor, damping: float) -> Tensor:
    """Add to the diagonals (C, T, n, n) a share of themselves, and a floor for what no landmark tells.

    The floor goes by a clip's best-told frame, so that neither padding nor other clips have a part in it.
    """
    diagonal = blocks.diagonal(dim1=-2, dim2=-1)
    return blocks + torch.diag_embed(damping * diagonal + 1e-6 * diagonal.amax(1, keepdim=True))
