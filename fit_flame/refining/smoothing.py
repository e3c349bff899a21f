"""Frames together where expressions have limits: the face by one kernel, then the head under its constant velocity.

All weights of a frame are smoothed alike, x = (V + s D'RD)^-1 V x0 with V the valid frames and R how much the face
rests between two: the landmarks are smoothed as the weights are, and a mean of weights within limits is within them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.solving.bounds import Bounds
from multitalk.fit_flame.solving.jacobian import Columns
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import (
    Prior,
    Temporal,
    chosen,
    cost_and_gradient,
    factorised_chain,
    frame_hessian,
    innovation,
)
from multitalk.fit_flame.solving.residuals import POSE_SIZE, ClipState, FrameState, Observations, move
from multitalk.fit_flame.solving.solver import Chain

_LEAST = (
    1e-4  # how much the face rests at least, so that frames without landmarks lie between their neighbours
)


def smoothed(
    values: Tensor, valid: Tensor, resting: Tensor, strength: float, bounds: Bounds | None
) -> Tensor:
    """Smooth the face over time.

    Parameters
    ----------
    values
        (C, T, E) expressions of the frames alone.
    valid
        (C, T) frames with landmarks, one at least in each clip.
    resting
        (C, T-1) 1 while the face rests, 0 while it moves and across the end of a clip.
    strength
        Weight of an unmoving face.
    bounds
        Limits that rounding must not cross.
    """
    from scipy.linalg import solveh_banded

    known, rests = valid.double().cpu().numpy(), resting.double().cpu().numpy()
    found = []
    for clip, weight, rest in zip(values.double().cpu().numpy(), known, rests, strict=True):
        pull = strength * rest + _LEAST
        banded = np.zeros((2, len(clip)))
        banded[1] = weight
        banded[1, 1:] += pull
        banded[1, :-1] += pull
        banded[0, 1:] = -pull
        found.append(solveh_banded(banded, weight[:, None] * clip))
    result = torch.as_tensor(np.stack(found)).to(values)
    return result if bounds is None else result.clamp(bounds.lower, bounds.upper)


def fit_pose_chain(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    temporal: Temporal,
    iterations: int,
) -> FrameState:
    """Refine the pose of all frames together under the temporal prior, expressions as they are."""
    e = frame.expression.shape[-1]
    chain: Chain | None = None
    n = 0
    best, least = frame, torch.full_like(frame.log_scale[:, 0], torch.inf)
    for i in range(iterations + 1):
        here = cost_and_gradient(basis, seen, prior, clip, frame)
        pulled = (temporal.precision * innovation(frame, temporal.velocity))[..., e:]
        cost = here.cost + 0.5 * (pulled * innovation(frame, temporal.velocity)[..., e:]).sum((1, 2))
        if i:  # where it starts the head has no velocity yet
            best = chosen(cost <= least, frame, best)
            least = torch.minimum(cost, least)
        if i == iterations:
            return best
        if chain is None:
            blocks = frame_hessian(basis, seen, prior, clip, frame, here, Columns.jaw_and_pose)
            n = blocks.shape[-1]
            chain = factorised_chain(blocks, Temporal(temporal.precision[..., e:], temporal.velocity))
        right = -torch.nn.functional.pad(here.gradient[..., e:], (0, POSE_SIZE))
        right[:, 1:] -= pulled
        right[:, :-1] += pulled
        right[:, :-1, n:] += pulled[..., n - POSE_SIZE : n]
        step = chain.solve(right)
        frame = move(frame, torch.nn.functional.pad(step[..., :n], (e, 0)))
        temporal = temporal._replace(velocity=temporal.velocity + step[..., n:])
    return best
