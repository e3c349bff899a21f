"""What a clip's frames share, shape and focal length, from a few key frames by the Schur complement."""

from __future__ import annotations

import torch
from torch import Tensor

from multitalk.fit_flame.solving.bounds import Bounds, limited_minimum, tied, ties, within
from multitalk.fit_flame.solving.jacobian import Columns
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import (
    CostAndGradient,
    Prior,
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

_DAMPING = 1e-3
_WITHIN_LIMITS = (0, 1, 3, 6, 9)  # iterations that take second derivatives where expressions have limits
_KEEP_HESSIAN = 3  # iterations for which second derivatives are kept: gradients cost a tenth


def key_frames(seen: Observations, valid: Tensor, count: int) -> Tensor:
    """Frames that differ most, by farthest-point sampling on the landmarks.

    Parameters
    ----------
    seen
        The clips' landmarks.
    valid
        (C, T) frames to choose from.
    count
        K; fewer valid frames are repeated.

    Returns
    -------
    Tensor
        (C, K) frame numbers.
    """
    points = seen.points.flatten(2)
    clips = torch.arange(len(points), device=points.device)
    chosen = [valid.int().argmax(-1)]
    distance = torch.where(valid, torch.inf, -1.0).to(points.dtype)
    for _ in range(count - 1):
        last = points[clips, chosen[-1]][:, None]
        distance = torch.minimum(distance, (points - last).square().sum(-1))
        distance = torch.where(valid, distance, -1.0)
        chosen.append(distance.argmax(-1))
    return torch.stack(chosen, 1)


def nearest_key(seen: Observations, frame: FrameState, keys: Tensor) -> Tensor:
    """Find for each frame the key frame that it looks most like once position and size are taken out.

    Parameters
    ----------
    seen, frame
        All frames' landmarks and first guess.
    keys
        (C, K) the key frames.

    Returns
    -------
    Tensor
        (C, T) numbers 0 to K - 1.
    """
    placed = (seen.points - frame.position[..., None, :]) / frame.log_scale.exp()[..., None, None]
    looks = placed.flatten(2)
    clips = torch.arange(len(keys), device=keys.device)[:, None]
    return torch.cdist(looks, looks[clips, keys]).argmin(-1)


def at_frames(seen: Observations, frames: Tensor) -> Observations:
    """Observations of the chosen frames (C, K) only."""
    clips = torch.arange(len(frames), device=frames.device)[:, None]
    return seen._replace(
        points=seen.points[clips, frames],
        confidence=seen.confidence[clips, frames],
        depths=seen.depths[clips, frames],
    )


def fit_shared(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    *,
    kappa_bounds: tuple[Tensor, Tensor],
    log_kappa_mean: Tensor,
    log_kappa_precision: float,
    iterations: int,
) -> tuple[ClipState, FrameState]:
    """Fit shape, focal length and key frames together.

    Parameters
    ----------
    basis, seen, prior
        The problem, its observations on the key frames only.
    clip, frame
        Start.
    kappa_bounds, log_kappa_mean, log_kappa_precision
        (C,) limits of the inverse focal length, and the Gaussian prior of its logarithm.
    iterations
        Gauss-Newton iterations; a step that raises the cost is undone and the next one shortened.
    """
    reach = torch.ones_like(clip.kappa)

    def shared_cost(clip: ClipState) -> Tensor:
        log_kappa = clip.kappa.log() - log_kappa_mean
        return 0.5 * (clip.shape**2).sum(-1) + 0.5 * log_kappa_precision * log_kappa**2

    here = cost_and_gradient(basis, seen, prior, clip, frame)
    for i in range(iterations):
        if i % _KEEP_HESSIAN == 0 if prior.bounds is None else i in _WITHIN_LIMITS:
            full = frame_hessian(basis, seen, prior, clip, frame, here, Columns.frame_and_shared)
            arrow = _ArrowSystem(full, here.gradient.shape[-1], log_kappa_precision, prior.bounds)
        shared_gradient = _shared_gradient(basis, seen, clip, frame, here)
        shared_gradient[:, -1] += log_kappa_precision * (clip.kappa.log() - log_kappa_mean)
        step, shared = arrow.step(frame.expression, here.gradient, shared_gradient)
        log_kappa = clip.kappa.log() + reach * shared[:, -1]
        log_kappa = torch.clamp(log_kappa, kappa_bounds[0].log(), kappa_bounds[1].log())
        new_clip = ClipState(clip.shape + reach[:, None] * shared[:, :-1], log_kappa.exp())
        new_frame = within(prior.bounds, move(frame, reach[:, None, None] * step))
        new = cost_and_gradient(basis, seen, prior, new_clip, new_frame)
        better = new.cost + shared_cost(new_clip) <= here.cost + shared_cost(clip)
        reach = torch.where(better, (2 * reach).clamp_max(1), reach / 4)
        if bool(better.all()):
            clip, frame, here = new_clip, new_frame, new
            continue
        clip = ClipState(*(choose(better, n, o) for n, o in zip(new_clip, clip, strict=True)))
        frame = FrameState(*(choose(better, n, o) for n, o in zip(new_frame, frame, strict=True)))
        here = cost_and_gradient(basis, seen, prior, clip, frame)
    return clip, frame


def choose(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Per clip (C,) or frame (C, T), the new value where `better`, else the old one."""
    return torch.where(better.reshape(*better.shape, *[1] * (new.dim() - better.dim())), new, old)


def _shared_gradient(
    basis: LandmarkBasis, seen: Observations, clip: ClipState, frame: FrameState, here: CostAndGradient
) -> Tensor:
    """(C, S + 1) derivative of the cost by shape and log focal length; only shape's prior is in it."""
    by_shape = pull_back(basis, clip, frame, here.points, here.found, seen, with_shape=True).shape.sum(1)
    by_focal = here.points.image * (1 - here.points.depth) / here.points.depth
    return torch.cat([by_shape + clip.shape, (here.found.force * by_focal).sum((1, 2, 3))[:, None]], 1)


class _ArrowSystem:
    """Second derivatives of key frames and of what they share, priors added, and Newton steps within the limits.

    Parameters
    ----------
    full
        (C, K, n + S + 1, n + S + 1) of each frame's own and the shared unknowns.
    n
        Unknowns of a frame.
    log_kappa_precision
        Prior of the last shared unknown.
    bounds
        Limits of the expressions, if any.
    """

    def __init__(self, full: Tensor, n: int, log_kappa_precision: float, bounds: Bounds | None) -> None:
        corner = full[..., n:, n:].sum(1)
        diagonal = corner.diagonal(dim1=-2, dim2=-1)
        diagonal[:, :-1] += 1
        diagonal[:, -1] += log_kappa_precision
        diagonal *= 1 + _DAMPING
        blocks = damped(full[..., :n, :n], _DAMPING)
        self._bounds = bounds
        self._ties = ties(blocks, n - JAW_SIZE - POSE_SIZE)
        self._arrow = Arrow(blocks if bounds is None else tied(blocks, self._ties), full[..., :n, n:], corner)

    def step(self, expression: Tensor, gradient: Tensor, shared_gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps of the frames' unknowns (C, K, n) and of the shared ones (C, S + 1) down these gradients."""
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
