"""Where the fit starts: scaled orthography of the mean face in closed form, or what someone else found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from multitalk.fit_flame.parameters.rotation import nearest_rotation
from multitalk.fit_flame.solving.bounds import opened
from multitalk.fit_flame.solving.jacobian import Columns
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import Prior, chosen, cost_and_gradient, damped, frame_hessian
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, Observations, move
from multitalk.fit_flame.solving.solver import factor, solve

_POSE_ITERATIONS = 2
_DAMPING = 1e-4


class Start(NamedTuple):
    """Unknowns that are known beforehand, roughly."""

    shape: Tensor
    """(C, S)."""
    frame: FrameState


def first_guess(basis: LandmarkBasis, seen: Observations, valid: Tensor) -> FrameState:
    """Pose every frame by linear least squares; frames without landmarks take their nearest neighbour's.

    Parameters
    ----------
    basis, seen
        Landmarks of the model and of the clips.
    valid
        (C, T) frames with landmarks; at least one in each clip.
    """
    template = basis.rest.template
    design = torch.cat([template, torch.ones_like(template[:, :1])], 1)
    weights = (seen.confidence > 0) * seen.precision
    normal = torch.einsum("ctl,lp,lq->ctpq", weights, design, design)
    normal.diagonal(dim1=-2, dim2=-1)[...] += 1e-9 * seen.precision.sum()
    right = torch.einsum("ctl,lp,ctld->ctpd", weights, design, seen.points)
    affine = torch.linalg.solve(normal, right)  # (C, T, 4, 2)
    rows = affine[..., :3, :].mT
    scale = rows.norm(dim=-1).mean(-1).clamp_min(1e-3)
    rows = rows / scale[..., None, None]
    rotation = nearest_rotation(
        torch.cat([rows, torch.linalg.cross(rows[..., 0, :], rows[..., 1, :])[..., None, :]], -2)
    )
    frames = _nearest_valid(valid)
    return FrameState(
        expression=template.new_zeros(*valid.shape, basis.rest.expression.shape[-1]),
        jaw=torch.eye(3, dtype=template.dtype, device=template.device).expand(*valid.shape, 3, 3).clone(),
        rotation=_pick(rotation, frames),
        position=_pick(affine[..., 3, :], frames),
        log_scale=_pick(scale.log(), frames),
    )


def refined(
    basis: LandmarkBasis, seen: Observations, prior: Prior, clip: ClipState, guesses: Sequence[FrameState]
) -> FrameState:
    """Refine jaw and pose of every frame alone, and keep for each the guess that then fits better."""
    best, *others = (_posed(basis, seen, prior, clip, guess) for guess in guesses)
    for other in others:
        old, new = (cost_and_gradient(basis, seen, prior, clip, state).frame_cost for state in (best, other))
        best = chosen(new < old, other, best)
    return best


def _posed(
    basis: LandmarkBasis, seen: Observations, prior: Prior, clip: ClipState, frame: FrameState
) -> FrameState:
    for _ in range(_POSE_ITERATIONS):
        here = cost_and_gradient(basis, seen, prior, clip, frame)
        blocks = frame_hessian(basis, seen, prior, clip, frame, here, Columns.jaw_and_pose)
        step = -solve(factor(damped(blocks, _DAMPING)), here.gradient[..., -blocks.shape[-1] :])
        if prior.opens_only:
            step = opened(step, here.opening, 0)
        frame = move(frame, torch.nn.functional.pad(step, (frame.expression.shape[-1], 0)))
    return frame


def _nearest_valid(valid: Tensor) -> Tensor:
    """(C, T) index of the nearest valid frame, the earlier of two; every clip has one."""
    count = valid.shape[1]
    frames = torch.arange(count, device=valid.device)
    before = torch.where(valid, frames, -2 * count).cummax(1).values
    after = torch.where(valid, frames, 3 * count).flip(1).cummin(1).values.flip(1)
    return torch.where(frames - before <= after - frames, before, after)


def _pick(values: Tensor, frames: Tensor) -> Tensor:
    clips = torch.arange(values.shape[0], device=values.device)[:, None]
    return values[clips, frames]
