"""Residuals of the fit and their gradient.

Units: the image plane is measured from the principal point, y up, in inter-ocular distances of the clip.
With R y = (X, Y, Z) the turned head and (u0, v0, s) its image position and scale, a landmark lands at

    (u, v) = ((u0, v0) + s (X, Y)) / (1 - s kappa Z),        kappa = 1 / focal length:

a pinhole camera, written so that focal length only sets the strength of the perspective.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from multitalk.fit_flame.parameters.rotation import axial, to_matrix
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis

JAW_SIZE, POSE_SIZE = 3, 6  # pose: rotation 3, image position 2, log scale 1

_PAIR_OUTLIER = 5
"""Pairs are outliers that many times later: their standard deviation is small, and a mouth that shuts between two
frames starts far from where it was seen; its points tell an outlier."""


class FrameState(NamedTuple):
    """Unknowns of every frame; C clips of T frames."""

    expression: Tensor
    """(C, T, E)."""
    jaw: Tensor
    """(C, T, 3, 3) rotation of the jaw."""
    rotation: Tensor
    """(C, T, 3, 3) rotation of the head."""
    position: Tensor
    """(C, T, 2) where the head's centre is seen."""
    log_scale: Tensor
    """(C, T) log of inter-ocular distances per metre."""


class ClipState(NamedTuple):
    """Unknowns that frames share; C clips, or persons while their key frames are fitted."""

    shape: Tensor
    """(C, S)."""
    kappa: Tensor
    """(C, T) inverse focal length of every frame's camera, one over inter-ocular distances."""


class Observations(NamedTuple):
    """What was detected, and how far each residual is trusted."""

    points: Tensor
    """(C, T, L, 2), zero where not seen."""
    confidence: Tensor
    """(C, T, L) factor on the precision of each point, 0 where not seen."""
    precision: Tensor
    """(L,) 1 / variance."""
    pairs: Tensor
    """(Q, 2) rows of points whose difference counts for itself: lip gaps, mouth width, lids."""
    pair_precision: Tensor
    """(Q,) 1 / variance."""
    outlier: float
    """Standard deviations beyond which a residual is taken for an outlier (Cauchy)."""
    depths: Tensor
    """(C, T, D) depth of some landmarks, towards the camera, about their mean."""
    depth_rows: Tensor
    """(D,) which of the L those are, ascending; none if depth is not known."""
    depth_moving: int
    """How many of them, the first ones, the jaw moves."""
    depth_precision: float
    """1 / variance."""


class Points(NamedTuple):
    """The model's landmarks and what their derivatives need."""

    head: Tensor
    """(C, T, L, 3) in head coordinates about the centre."""
    jaw: Tensor
    """(C, T, Lj, 3) the jaw's part, before its rotation."""
    camera: Tensor
    """(C, T, L, 3) turned by the head's rotation."""
    depth: Tensor
    """(C, T, L, 1) the perspective's denominator."""
    image: Tensor
    """(C, T, L, 2)."""
    bend: Tensor
    """(C, T, 3, 3) the jaw's rotation less the identity."""


def place_landmarks(basis: LandmarkBasis, clip: ClipState, frame: FrameState) -> Points:
    """Evaluate the landmarks of all frames."""
    rest, jaw = _shaped(basis, clip)
    bend = frame.jaw - torch.eye(3, dtype=frame.jaw.dtype, device=frame.jaw.device)
    head = rest[:, None] + _apply(basis.rest.expression, frame.expression)
    jaw_part = jaw[:, None] + _apply(basis.jaw.expression, frame.expression)
    if basis.has_correctives:
        head = head + _apply(basis.rest.correctives, bend.flatten(-2))
        jaw_part = jaw_part + _apply(basis.jaw.correctives, bend.flatten(-2))
    head[:, :, : jaw_part.shape[2]] += jaw_part @ bend.mT
    camera = head @ frame.rotation.mT
    scale = frame.log_scale.exp()[..., None, None]
    depth = 1 - (scale * clip.kappa[..., None, None]) * camera[..., 2:]
    image = (frame.position[..., None, :] + scale * camera[..., :2]) / depth
    return Points(head, jaw_part, camera, depth, image, bend)


def _shaped(basis: LandmarkBasis, clip: ClipState) -> tuple[Tensor, Tensor]:
    """Template and identity of each clip: (C, L, 3) and (C, Lj, 3)."""
    return (
        basis.rest.template + _apply(basis.rest.shape, clip.shape),
        basis.jaw.template + _apply(basis.jaw.shape, clip.shape),
    )


def _apply(directions: Tensor, coefficients: Tensor) -> Tensor:
    """(N, 3, K) times (..., K) -> (..., N, 3), as one matrix product."""
    flat = coefficients @ directions.flatten(0, 1).mT
    return flat.reshape(*flat.shape[:-1], *directions.shape[:2])


class Residuals(NamedTuple):
    """Weighted residuals."""

    force: Tensor
    """(C, T, L, 2) derivative of the cost by each landmark's image position."""
    depth_force: Tensor
    """(C, T, D) derivative of the cost by each landmark's scaled depth."""
    cost: Tensor
    """(C, T) half the robust sum of squares."""
    weight: Tensor
    """(C, T, L) precision of each point, outliers turned down."""
    pair_weight: Tensor
    """(C, T, Q) likewise of each pair."""


def residuals(observations: Observations, frame: FrameState, points: Points) -> Residuals:
    """Evaluate the robust cost of the landmarks' image positions and depths, and its derivative."""
    difference = points.image - observations.points
    upper, lower = observations.pairs.unbind(1)
    gap = difference[..., upper, :] - difference[..., lower, :]
    confidence = observations.confidence
    both = torch.cat([confidence, torch.minimum(confidence[..., upper], confidence[..., lower])], -1)
    precision = torch.cat([observations.precision, observations.pair_precision / _PAIR_OUTLIER**2])
    known = len(observations.precision)
    weights, costs = _robust(torch.cat([difference, gap], -2), both * precision, observations.outlier)
    weight, pair_weight = weights[..., :known], weights[..., known:] * _PAIR_OUTLIER**2
    cost, gap_cost = costs[..., :known], costs[..., known:] * _PAIR_OUTLIER**2
    pair_force = pair_weight[..., None] * gap
    force = weight[..., None] * difference
    force = force.index_add(2, upper, pair_force).index_add(2, lower, -pair_force)
    depth = frame.log_scale.exp()[..., None] * points.camera[:, :, observations.depth_rows, 2]
    trust = observations.depth_precision * observations.confidence[..., observations.depth_rows]
    trust = trust.mean(-1, keepdim=True)
    behind = centred(depth) - observations.depths
    depth_cost = 0.5 * (trust * behind.square()).sum(-1)
    total = cost.sum(-1) + gap_cost.sum(-1) + depth_cost
    return Residuals(force, trust * behind, total, weight, pair_weight)


def centred(depth: Tensor) -> Tensor:
    """Take the mean out of (..., D): the detector's depths have no common origin."""
    return depth - depth.mean(-1, keepdim=True) if depth.shape[-1] else depth


def _robust(difference: Tensor, precision: Tensor, outlier: float) -> tuple[Tensor, Tensor]:
    """Weight and cost of Cauchy's robust function: quadratic near zero, logarithmic far out."""
    squared = precision * (difference * difference).sum(-1)
    bent = 1 + squared / outlier**2
    return precision / bent, 0.5 * outlier**2 * bent.log()


class Gradient(NamedTuple):
    """Derivatives of the cost."""

    frame: Tensor
    """(C, T, n) by expression, jaw, rotation, position, log scale."""
    shape: Tensor
    """(C, T, S) each frame's share of the derivative by shape; empty unless asked for."""


def pull_back(
    basis: LandmarkBasis,
    clip: ClipState,
    frame: FrameState,
    points: Points,
    found: Residuals,
    observations: Observations,
    *,
    with_shape: bool,
) -> Gradient:
    """Chain rule: from forces on image positions and depths to derivatives by the unknowns, exactly."""
    force = found.force
    scale = frame.log_scale.exp()[..., None, None]
    per_depth = force / points.depth
    along = (force * points.image).sum(-1, keepdim=True) / points.depth
    pull = torch.cat([scale * per_depth, scale * clip.kappa[..., None, None] * along], -1)
    pull[:, :, observations.depth_rows, 2] += scale[..., 0] * found.depth_force
    pull_head = pull @ frame.rotation
    pull_jaw = pull_head[:, :, : points.jaw.shape[2]]
    bent_pull = pull_jaw @ points.bend
    expression = _project(basis.rest.expression, pull_head) + _project(basis.jaw.expression, bent_pull)
    turned = points.jaw @ frame.jaw.mT
    jaw, rotation = axial(torch.stack([pull_jaw.mT @ turned, pull_head.mT @ points.head])).unbind(0)
    if basis.has_correctives:
        entries = _project(basis.rest.correctives, pull_head) + _project(basis.jaw.correctives, bent_pull)
        product = entries.reshape(*entries.shape[:-1], 3, 3) @ frame.jaw.mT
        jaw = jaw + axial(product)
    log_scale = (pull * points.camera).sum((-1, -2))
    parts = [expression, jaw, rotation, per_depth.sum(2), log_scale[..., None]]
    shape = force.new_zeros(*force.shape[:2], 0)
    if with_shape:
        shape = _project(basis.rest.shape, pull_head) + _project(basis.jaw.shape, bent_pull)
    return Gradient(torch.cat(parts, -1), shape)


def _project(directions: Tensor, pull: Tensor) -> Tensor:
    """(N, 3, K) and forces (..., N, 3) -> (..., K)."""
    return pull.flatten(-2) @ directions.flatten(0, 1)


def move(frame: FrameState, step: Tensor) -> FrameState:
    """Apply a step (C, T, n) to every frame's unknowns."""
    e = frame.expression.shape[-1]
    turned = to_matrix(torch.unflatten(step[..., e : e + 6], -1, (2, 3)))  # both at once: half the launches
    return FrameState(
        expression=frame.expression + step[..., :e],
        jaw=turned[..., 0, :, :] @ frame.jaw,
        rotation=frame.rotation @ turned[..., 1, :, :],
        position=frame.position + step[..., e + 6 : e + 8],
        log_scale=frame.log_scale + step[..., e + 8],
    )
