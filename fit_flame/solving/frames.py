"""Frames of a clip alone, and then together: Gauss-Newton on the cost of `multitalk.fit_flame.solving.objective`."""

from __future__ import annotations

import torch
from torch import Tensor

from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.bounds import held, limited_step, opened, pressed, within
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import (
    Prior,
    chain_cost,
    chain_step,
    choose,
    chosen,
    cost_and_gradient,
    damped,
    factorised_chain,
    frame_hessian,
    innovation,
)
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, Observations, move
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.fit_flame.solving.solver import factor
from multitalk.fit_flame.solving.solver import solve as factor_solve
from multitalk.fit_flame.solving.temporal_prior import temporal_prior

_DAMPING = 1e-3


def fit_frames(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    iterations: int,
    blocks: Tensor | None = None,
) -> tuple[FrameState, Tensor]:
    """Gauss-Newton on every frame alone; return its second derivatives too, (C, T, n, n), or those that are given.

    They are taken and factorised once, where the frame starts: near enough, since it starts from a key frame
    that looks like it. A step that raises a frame's cost is undone and its next one shortened.
    """
    here = cost_and_gradient(basis, seen, prior, clip, frame)
    if blocks is None:
        blocks = frame_hessian(basis, seen, prior, clip, frame, here)
    bent = damped(blocks, _DAMPING)
    factors = factor(bent) if prior.bounds is None else bent
    place = frame.expression.shape[-1]
    by_jaw = factor_solve(factors, _unit(bent, place)) if prior.opens_only else None
    gradient, cost, reach = here.gradient, here.frame_cost, torch.ones_like(here.frame_cost)
    opening = here.opening
    for _ in range(iterations):
        if prior.bounds is None:
            step = -factor_solve(factors, gradient)
            if by_jaw is not None:  # the minimum on the limit where the step would pass it
                below = (-opening - step[..., place]).clamp_min(0) / by_jaw[..., place]
                step = step + below[..., None] * by_jaw
        else:
            step = limited_step(prior.bounds, frame.expression, gradient, bent)
        new_frame = within(prior.bounds, move(frame, reach[..., None] * step))
        new = cost_and_gradient(basis, seen, prior, clip, new_frame)
        better = new.frame_cost <= cost
        frame = chosen(better, new_frame, frame)
        gradient, cost = choose(better, new.gradient, gradient), torch.minimum(new.frame_cost, cost)
        opening = torch.where(better, new.opening, opening)
        reach = torch.where(better, (2 * reach).clamp_max(1), reach / 4)
    return frame, blocks


def _unit(blocks: Tensor, place: int) -> Tensor:
    """(..., n) 1 at a place, 0 elsewhere."""
    unit = torch.zeros_like(blocks[..., 0])
    unit[..., place] = 1
    return unit


def fit_chain(
    basis: LandmarkBasis,
    batch: ClipBatch,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    blocks: Tensor,
    settings: FitSettings,
) -> FrameState:
    """Refine all frames together under the temporal prior; of the iterates a clip's best is kept."""
    here = cost_and_gradient(basis, batch.seen, prior, clip, frame)
    temporal = temporal_prior(basis, batch, clip, frame, blocks, settings)
    unforeseen = innovation(frame, temporal.velocity)
    best, cost = frame, here.cost + chain_cost(unforeseen, temporal)
    place = frame.expression.shape[-1]
    if prior.opens_only:
        blocks = held(blocks, pressed(here.opening, here.gradient, place), place)
    chain = factorised_chain(blocks, temporal)
    for _ in range(settings.chain_iterations):
        step, velocity = chain_step(chain, here.gradient, unforeseen, temporal)
        if prior.opens_only:
            step = opened(step, here.opening, place)
        frame, temporal = move(frame, step), temporal._replace(velocity=temporal.velocity + velocity)
        here = cost_and_gradient(basis, batch.seen, prior, clip, frame)
        unforeseen = innovation(frame, temporal.velocity)
        total = here.cost + chain_cost(unforeseen, temporal)
        best = chosen(total <= cost, frame, best)
        cost = torch.minimum(total, cost)
    return best
