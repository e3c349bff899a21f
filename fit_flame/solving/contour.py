"""The moving contour: the outline of a head lies elsewhere on its surface when the head turns.

A head model may carry the outline's landmarks several times, each for one yaw (`LandmarkEmbedding.yaw`). In each
frame those count whose yaw is nearest; a turning head hands over from one set to the next between iterations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis, LinearPart
from multitalk.fit_flame.solving.residuals import Observations

FloatArray = npt.NDArray[np.float32]

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
    if np.isnan(basis.yaw).all():
        return seen
    if rotation is None:
        rotation = torch.eye(3, dtype=seen.points.dtype, device=seen.points.device)[None, None]
    return seen._replace(confidence=seen.confidence * counting(basis.yaw, rotation))


def counting(yaw: FloatArray, rotation: Tensor) -> Tensor:
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
        return torch.ones(*rotation.shape[:-2], len(yaw), dtype=torch.bool, device=rotation.device)
    there = torch.as_tensor(steps).to(rotation)
    nearest = (_yaw(rotation)[..., None] - there).abs().argmin(-1)
    own = np.where(np.isnan(yaw), -1, np.searchsorted(steps, np.nan_to_num(yaw)))
    step = torch.as_tensor(own, device=rotation.device)
    return (step < 0) | (step == nearest[..., None])


def _steps(yaw: FloatArray) -> FloatArray:
    """(n,) yaws for which there is a contour, ascending."""
    return np.unique(yaw[~np.isnan(yaw)])


def _yaw(rotation: Tensor) -> Tensor:
    """Radians, as `multitalk.fit_flame.landmarks.embedding.contour_row` has it."""
    return torch.atan2(-rotation[..., 2, 0], torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0]))


def narrowed(
    basis: LandmarkBasis, seen: Observations, rotation: Tensor, valid: Tensor
) -> tuple[LandmarkBasis, Observations]:
    """Leave out the contours of yaws that no frame comes near.

    Parameters
    ----------
    basis, seen
        Landmarks of the model and of the clips.
    rotation, valid
        (C, T, 3, 3) of the head at first guess, and (C, T) in which frames that is one.
    """
    steps = _steps(basis.yaw)
    if not len(steps):
        return basis, seen
    yaw = _yaw(rotation)
    least = torch.where(valid, yaw, torch.inf).amin() - _MARGIN
    most = torch.where(valid, yaw, -torch.inf).amax() + _MARGIN
    first, last = (int(np.abs(steps - end).argmin()) for end in torch.stack([least, most]).tolist())
    keep = np.isnan(basis.yaw) | np.isin(basis.yaw, steps[first : last + 1])
    here = torch.as_tensor(np.flatnonzero(keep), device=valid.device)
    rows = torch.as_tensor(keep.cumsum() - 1, device=valid.device)
    moving = int(keep[: len(basis.jaw.template)].sum())

    def part(whole: LinearPart, kept: Tensor) -> LinearPart:
        return LinearPart(*(array[kept] for array in whole))

    less = basis._replace(
        landmarks=basis.landmarks[keep],
        yaw=basis.yaw[keep],
        rest=part(basis.rest, here),
        jaw=part(basis.jaw, here[:moving]),
    )
    return less, seen._replace(
        points=seen.points[:, :, here],
        confidence=seen.confidence[:, :, here],
        precision=seen.precision[here],
        pairs=rows[seen.pairs],
        depth_rows=rows[seen.depth_rows],
    )
