"""What a face does that its expression weights cannot reach: a smooth residual per frame, stored apart.

It is fitted last, with weights and pose as they are, so that the weights stay clean and the geometry exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.solving.jacobian import Columns, normal_matrices
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import (
    ClipState,
    FrameState,
    Observations,
    place_landmarks,
    pull_back,
    residuals,
)
from multitalk.fit_flame.solving.solver import chain_of

_ITERATIONS = 2


def corrections_at(model: HeadModel, basis: LandmarkBasis) -> Tensor:
    """(L, 3, C) the correction's directions at the landmarks of a basis, in its order."""
    rows = {landmark: row for row, landmark in enumerate(_keys(model))}
    order = [rows[key] for key in zip(basis.landmarks.tolist(), _rounded(basis.yaw), strict=True)]
    assert model.correctiondirs is not None
    corners = model.correctiondirs[model.embedding.vertices[order]].astype(np.float64)
    directions = np.einsum("lk,lkdc->ldc", model.embedding.barycentric[order].astype(np.float64), corners)
    return torch.as_tensor(directions, dtype=basis.rest.template.dtype, device=basis.rest.template.device)


def _keys(model: HeadModel) -> list[tuple[int, float | None]]:
    landmarks = model.embedding.landmarks.tolist()
    yaw = [None] * len(landmarks) if model.embedding.yaw is None else _rounded(model.embedding.yaw)
    return list(zip(landmarks, yaw, strict=True))


def _rounded(yaw: Tensor | np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in yaw.tolist()]


def fit_correction(
    basis: LandmarkBasis,
    directions: Tensor,
    seen: Observations,
    clip: ClipState,
    frame: FrameState,
    smoothness: Tensor,
) -> tuple[Tensor, Tensor]:
    """Fit the correction to what expression and pose leave.

    Parameters
    ----------
    basis
        Landmarks of the head model.
    directions
        (L, 3, C) of the correction at these landmarks (`corrections_at`).
    seen, clip, frame
        The clips, and their fit.
    smoothness
        (C, T-1) how strongly neighbouring frames hold together, times the landmarks' information; 0 across the end
        of a clip.

    Returns
    -------
    tuple
        Coefficients (C, T, C) and the corrected landmarks (C, T, L, 2) as `Points.image` has them.
    """
    count = directions.shape[-1]
    both = _with_expression(basis, torch.cat([basis.rest.expression, directions], -1))
    alone = _with_expression(basis, directions)
    coefficients = frame.expression.new_zeros(*frame.expression.shape[:2], count)
    chain = None
    for _ in range(_ITERATIONS):
        points = place_landmarks(both, clip, _joined(frame, coefficients))
        found = residuals(seen, frame, points)
        own = frame._replace(expression=coefficients)
        gradient = pull_back(alone, clip, own, points, found, seen, with_shape=False).frame[..., :count]
        if chain is None:
            blocks = normal_matrices(alone, clip, own, points, found, seen, Columns.frame)
            blocks = blocks[..., :count, :count].contiguous()
            information = blocks.diagonal(dim1=-2, dim2=-1).mean(1)
            blocks.diagonal(dim1=-2, dim2=-1)[...] += 1
            precision = smoothness[..., None] * information[:, None]
            chain = chain_of(blocks, precision, slice(0, 0), slice(0, 0))
        pulled = precision * coefficients.diff(dim=1)
        right = -(gradient + coefficients)
        right[:, 1:] -= pulled
        right[:, :-1] += pulled
        coefficients = coefficients + chain.solve(right)
    return coefficients, place_landmarks(both, clip, _joined(frame, coefficients)).image


def _joined(frame: FrameState, coefficients: Tensor) -> FrameState:
    return frame._replace(expression=torch.cat([frame.expression, coefficients], -1))


def _with_expression(basis: LandmarkBasis, directions: Tensor) -> LandmarkBasis:
    """Give a basis whose landmarks no jaw moves other expression directions (L, 3, E)."""
    return basis._replace(
        rest=basis.rest._replace(expression=directions),
        jaw=basis.jaw._replace(expression=directions[: len(basis.jaw.template)]),
    )
