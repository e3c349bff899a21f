"""What all frames of a person before one camera share, shape and focal length, from key frames of all clips."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from multitalk.fit_flame.solving.bounds import (
    Bounds,
    held,
    limited_minimum,
    opened,
    pressed,
    tied,
    ties,
    within,
)
from multitalk.fit_flame.solving.jacobian import Columns
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import (
    CostAndGradient,
    Prior,
    chosen,
    cost_and_gradient,
    damped,
    frame_hessian,
)
from multitalk.fit_flame.solving.residuals import (
    JAW_SIZE,
    POSE_SIZE,
    ClipState,
    FrameState,
    Observations,
    move,
    pull_back,
)
from multitalk.fit_flame.solving.solver import Arrow

TYPICAL_FOV_DEG = 30.0
# Of its logarithm. A face hardly tells it, and what a head model can not show passes for perspective.
FOCAL_SIGMA = 0.05

_DAMPING = 1e-3
_WITHIN_LIMITS = (0, 1, 3, 6, 9)  # iterations that take second derivatives where expressions have limits
_KEEP_HESSIAN = 3  # iterations for which second derivatives are kept: gradients cost a tenth
_JUDGED_AT = 3  # iteration before which key frames that do not fit are dropped
_MISFIT = 4.0  # times the cost of the person's median key frame, from which one does not fit


class Shared(NamedTuple):
    """Shape and camera of P persons, and their key frames as they were fitted on the way."""

    shape: Tensor
    """(P, S)."""
    log_focal: Tensor
    """(P,) logarithm of the inverse focal length beside that of `TYPICAL_FOV_DEG`."""
    keys: FrameState
    """(P, K) unknowns of the key frames."""
    counting: Tensor
    """(P, K) key frames that were not dropped."""


def fit_shared(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    counting: Tensor,
    *,
    field_of_view_deg: tuple[float, float],
    iterations: int,
) -> Shared:
    """Fit shape, focal length and key frames together.

    Key frames that fit far worse than a person's others (a face that slipped, or another person's) are dropped on the
    way.

    Parameters
    ----------
    basis, seen, prior
        The problem, its observations on the key frames (P, K) only.
    clip, frame
        Start; `clip.kappa` (P, K) is that of `TYPICAL_FOV_DEG`.
    counting
        (P, K) key frames that count, one at least of each person.
    field_of_view_deg
        Limits of the focal length.
    iterations
        Gauss-Newton iterations; a step that raises the cost is undone and the next one shortened.
    """
    low, high = (math.log(_tangent(fov) / _tangent(TYPICAL_FOV_DEG)) for fov in field_of_view_deg)
    typical = clip.kappa
    log_focal = torch.zeros_like(typical[:, 0])
    seen = _counting_only(seen, counting)
    here = cost_and_gradient(basis, seen, prior, clip, frame)
    total = here.cost + _shared_cost(clip, log_focal)
    reach, arrow = torch.ones_like(log_focal), None
    place = frame.expression.shape[-1]
    for i in range(iterations):
        if i == _JUDGED_AT:
            counting = counting & _fitting(here.found.cost, counting)
            seen = _counting_only(seen, counting)
            here = cost_and_gradient(basis, seen, prior, clip, frame)
            total = here.cost + _shared_cost(clip, log_focal)
        if i % _KEEP_HESSIAN == 0 if prior.bounds is None else i in _WITHIN_LIMITS:
            full = frame_hessian(basis, seen, prior, clip, frame, here, Columns.frame_and_shared)
            arrow = None
        if arrow is None or prior.opens_only:
            shut = pressed(here.opening, here.gradient, place) if prior.opens_only else None
            arrow = _ArrowSystem(full, here.gradient.shape[-1], prior.bounds, shut)
        shared_gradient = _shared_gradient(basis, seen, clip, frame, here, log_focal)
        step, shared = arrow.step(frame.expression, here.gradient, shared_gradient)
        if prior.opens_only:
            step = opened(step, here.opening, place)
        new_focal = (log_focal + reach * shared[:, -1]).clamp(low, high)
        kappa = typical * new_focal.exp()[:, None]
        new_clip = ClipState(clip.shape + reach[:, None] * shared[:, :-1], kappa)
        new_frame = within(prior.bounds, move(frame, reach[:, None, None] * step))
        new = cost_and_gradient(basis, seen, prior, new_clip, new_frame)
        new_total = new.cost + _shared_cost(new_clip, new_focal)
        better = new_total <= total
        reach = torch.where(better, (2 * reach).clamp_max(1), reach / 4)
        clip, frame = chosen(better, new_clip, clip), chosen(better, new_frame, frame)
        here = chosen(better, new, here)
        total, log_focal = torch.where(better, new_total, total), torch.where(better, new_focal, log_focal)
    return Shared(clip.shape, log_focal, frame, counting)


def kappa(field_of_view_deg: float, image_size: int) -> float:
    """Inverse focal length, one over pixels, of a field of view over an image's side."""
    return 2 * _tangent(field_of_view_deg) / image_size


def _tangent(field_of_view_deg: float) -> float:
    return math.tan(math.radians(field_of_view_deg) / 2)


def _counting_only(seen: Observations, counting: Tensor) -> Observations:
    return seen._replace(confidence=seen.confidence * counting[..., None])


def _fitting(cost: Tensor, counting: Tensor) -> Tensor:
    """(P, K) key frames whose landmarks fit as a person's usually do."""
    usual = torch.where(counting, cost, torch.nan).nanmedian(1, keepdim=True).values
    return cost <= _MISFIT * usual


def _shared_cost(clip: ClipState, log_focal: Tensor) -> Tensor:
    """(P,) priors of shape and focal length."""
    return 0.5 * (clip.shape**2).sum(-1) + 0.5 * (log_focal / FOCAL_SIGMA) ** 2


def _shared_gradient(
    basis: LandmarkBasis,
    seen: Observations,
    clip: ClipState,
    frame: FrameState,
    here: CostAndGradient,
    log_focal: Tensor,
) -> Tensor:
    """(P, S + 1) derivative of the cost by shape and log focal length, priors included."""
    by_shape = pull_back(basis, clip, frame, here.points, here.found, seen, with_shape=True).shape.sum(1)
    by_focal = here.points.image * (1 - here.points.depth) / here.points.depth
    by_focal = (here.found.force * by_focal).sum((1, 2, 3)) + log_focal / FOCAL_SIGMA**2
    return torch.cat([by_shape + clip.shape, by_focal[:, None]], 1)


class _ArrowSystem:
    """Second derivatives of key frames and of what they share, priors added, and Newton steps within the limits.

    Parameters
    ----------
    full
        (P, K, n + S + 1, n + S + 1) of each frame's own and the shared unknowns.
    n
        Unknowns of a frame.
    bounds
        Limits of the expressions, if any.
    shut
        (P, K) frames whose jaw stands still, if any.
    """

    def __init__(self, full: Tensor, n: int, bounds: Bounds | None, shut: Tensor | None) -> None:
        corner = full[..., n:, n:].sum(1)
        diagonal = corner.diagonal(dim1=-2, dim2=-1)
        diagonal[:, :-1] += 1
        diagonal[:, -1] += FOCAL_SIGMA**-2
        diagonal *= 1 + _DAMPING
        blocks = damped(full[..., :n, :n], _DAMPING)
        if shut is not None:
            blocks = held(blocks, shut, n - JAW_SIZE - POSE_SIZE)
        self._bounds = bounds
        self._ties = ties(blocks, n - JAW_SIZE - POSE_SIZE)
        self._arrow = Arrow(blocks if bounds is None else tied(blocks, self._ties), full[..., :n, n:], corner)

    def step(self, expression: Tensor, gradient: Tensor, shared_gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps of the frames' unknowns (P, K, n) and of the shared ones (P, S + 1) down these gradients."""
        if self._bounds is None:
            return self._arrow.solve(-gradient, -shared_gradient)
        e = expression.shape[-1]
        n = gradient.shape[-1]

        def solve(pull: Tensor) -> Tensor:
            pulled = torch.nn.functional.pad(pull, (0, n - e))
            return self._arrow.solve(pulled - gradient, -shared_gradient)[0][..., :e]

        limited = limited_minimum(self._bounds, expression, self._ties, solve)
        pulled = torch.nn.functional.pad(self._ties * limited, (0, n - e))
        own, shared = self._arrow.solve(pulled - gradient, -shared_gradient)
        return torch.cat([limited, own[..., e:]], -1), shared
