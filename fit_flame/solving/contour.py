"""The moving contour: the outline of a head lies elsewhere on its surface when the head turns.

A head model may carry the outline's landmarks several times, each for one yaw (`LandmarkEmbedding.yaw`). In each
frame those count whose yaw is nearest; a turning head hands over from one set to the next between iterations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.initial import first_guess
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis, LinearPart
from multitalk.fit_flame.solving.residuals import Observations

_MARGIN = 0.09  # radians beyond the first guess's yaw, which knows nothing of the face's shape


def at_yaw(basis: LandmarkBasis, seen: Observations, rotation: Tensor | None) -> Observations:
    """Trust of the contour's landmarks only those of each frame's yaw.

    Parameters
    ----------
    basis
        Landmarks of the model.
    seen
        What was detected, every landmark trusted.
    rotation
        (C, T, 3, 3) of the head; None: facing the camera.
    """
    if bool(basis.yaw.isnan().all()):
        return seen
    if rotation is None:
        rotation = torch.eye(3, dtype=basis.yaw.dtype, device=basis.yaw.device)[None, None]
    return seen._replace(confidence=seen.confidence * counting(basis.yaw, rotation))


def counting(yaw: Tensor, rotation: Tensor) -> Tensor:
    """Tell which landmarks count.

    Parameters
    ----------
    yaw
        (L,) radians for which each landmark is meant; NaN if for all.
    rotation
        (..., 3, 3) of the head.

    Returns
    -------
    Tensor
        (..., L) bool.
    """
    steps = _steps(yaw)
    if not len(steps):
        return torch.ones(*rotation.shape[:-2], len(yaw), dtype=torch.bool, device=yaw.device)
    nearest = steps[(_yaw(rotation)[..., None] - steps).abs().argmin(-1)]
    return yaw.isnan() | (yaw == nearest[..., None])


def _steps(yaw: Tensor) -> Tensor:
    """(n,) yaws for which there is a contour, ascending."""
    steps = np.unique(yaw[~yaw.isnan()].cpu().numpy())
    return torch.as_tensor(steps, device=yaw.device)


def _yaw(rotation: Tensor) -> Tensor:
    """Radians, as `multitalk.fit_flame.landmarks.embedding.contour_row` has it."""
    return torch.atan2(-rotation[..., 2, 0], torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0]))


def narrowed(basis: LandmarkBasis, batch: ClipBatch) -> tuple[LandmarkBasis, ClipBatch]:
    """Leave out the contours of yaws that no frame of the clips comes near."""
    moving = ~basis.yaw.isnan()
    if not bool(moving.any()):
        return basis, batch
    guess = first_guess(basis, at_yaw(basis, batch.seen, None), batch.valid)
    yaw = _yaw(guess.rotation)[batch.valid]
    steps = _steps(basis.yaw)
    ends = torch.stack([yaw.min() - _MARGIN, yaw.max() + _MARGIN])
    first, last = (steps - ends[:, None]).abs().argmin(-1).tolist()
    keep = ~moving | torch.isin(basis.yaw, steps[first : last + 1])
    rows = keep.cumsum(0) - 1

    def part(whole: LinearPart) -> LinearPart:
        return LinearPart(*(array[keep[: len(array)]] for array in whole))

    seen = batch.seen._replace(
        points=batch.seen.points[:, :, keep],
        confidence=batch.seen.confidence[:, :, keep],
        precision=batch.seen.precision[keep],
        pairs=rows[batch.seen.pairs],
        depth_rows=rows[batch.seen.depth_rows],
    )
    less = basis._replace(
        landmarks=basis.landmarks[keep], yaw=basis.yaw[keep], rest=part(basis.rest), jaw=part(basis.jaw)
    )
    return less, batch._replace(seen=seen)
