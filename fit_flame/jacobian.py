"""Analytic Jacobians and the normal matrices of Gauss-Newton, in chunks of frames to bound memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fit_flame.landmark_basis import LandmarkBasis
from fit_flame.residuals import ClipState, FrameState, Observations, Points, Residuals
from fit_flame.rotation import skew

_CHUNK = 32  # frames whose Jacobian is held at once: about 10 MB for 468 landmarks


def normal_matrices(
    basis: LandmarkBasis,
    clip: ClipState,
    frame: FrameState,
    points: Points,
    found: Residuals,
    observations: Observations,
    *,
    shared: bool = False,
) -> Tensor:
    """J' W J of every frame.

    Parameters
    ----------
    basis, clip, frame, points, found, observations
        The problem at its present state, as `place` and `residuals` evaluated it.
    shared
        Whether shape and log focal length follow a frame's own unknowns.

    Returns
    -------
    Tensor
        (C, T, n, n), or (C, T, n + S + 1, n + S + 1) with the shared unknowns.
    """
    chunks = []
    for start in range(0, points.image.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        here = Points(*(value[:, part] for value in points))
        state = FrameState(*(value[:, part] for value in frame))
        rows = jacobian(basis, clip, state, here, shared=shared)
        upper, lower = observations.pairs.unbind(1)
        gaps = (rows[:, :, upper] - rows[:, :, lower]) * found.pair_weight[:, part].sqrt()[..., None, None]
        rows = rows * found.weight[:, part].sqrt()[..., None, None]
        weighted = torch.cat([rows.flatten(2, 3), gaps.flatten(2, 3)], 2)
        chunks.append(weighted.mT @ weighted)
    return torch.cat(chunks, 1)


def jacobian(
    basis: LandmarkBasis, clip: ClipState, frame: FrameState, points: Points, *, shared: bool
) -> Tensor:
    """Derivatives (C, T, L, 2, n) of image positions by expression, jaw, rotation, position, log scale[, shape, log kappa]."""
    scale = frame.log_scale.exp()[..., None, None]
    tilt = scale * clip.kappa[:, None, None, None] * points.image / points.depth
    by_camera = torch.cat([_planar(scale / points.depth), tilt[..., None]], -1)
    by_head = by_camera @ frame.rotation[:, :, None]
    bend = frame.jaw - torch.eye(3, dtype=frame.jaw.dtype, device=frame.jaw.device)
    by_bent = by_head[:, :, basis.jaw_rows] @ bend[:, :, None]
    jaw = by_head.new_zeros(*by_head.shape)
    jaw[:, :, basis.jaw_rows] = -by_head[:, :, basis.jaw_rows] @ skew(points.jaw @ frame.jaw.mT)
    if basis.rest.correctives.any():
        jaw = jaw + by_head @ _corrective_columns(basis, frame)
    columns = [
        _chain(basis.rest.expression, basis.jaw.expression, by_head, by_bent, basis.jaw_rows),
        jaw,
        -by_head @ skew(points.head),
        _planar(1 / points.depth),
        (by_camera @ points.camera[..., None]),
    ]
    if shared:
        columns.append(_chain(basis.rest.shape, basis.jaw.shape, by_head, by_bent, basis.jaw_rows))
        columns.append((points.image * (1 - points.depth) / points.depth)[..., None])
    return torch.cat(columns, -1)


def _planar(factor: Tensor) -> Tensor:
    """(..., 1) -> (..., 2, 2) multiples of the identity."""
    return factor[..., None] * torch.eye(2, dtype=factor.dtype, device=factor.device)


def _chain(rest: Tensor, jaw: Tensor, by_head: Tensor, by_bent: Tensor, jaw_rows: Tensor) -> Tensor:
    """(C, T, L, 2, K) of coefficients that move the head part and the jaw part."""
    result = by_head @ rest
    result[:, :, jaw_rows] += by_bent @ jaw
    return result


def _corrective_columns(basis: LandmarkBasis, frame: FrameState) -> Tensor:
    """(C, T, L, 3, 3) pose correctives by a turn of the jaw."""
    generators = skew(torch.eye(3, dtype=frame.jaw.dtype, device=frame.jaw.device))
    turned = (generators @ frame.jaw[:, :, None]).flatten(-2)  # (C, T, 3, 9)
    return basis.rest.correctives @ turned.mT[:, :, None]
