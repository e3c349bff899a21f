"""A head model reduced to its landmarks.

Every landmark is a fixed combination of a few skinned vertices, and while neck and eyes rest, skinning knows
two bodies only: the head and the jaw. So each landmark is exactly

    y = s + (R_jaw - I) (b - share * joint),        s = sum_k bary_k v_k,    b = sum_k bary_k w_k v_k,

with v the shaped vertices, w their jaw weight and share = sum_k bary_k w_k. Both parts are linear in shape,
expression and R_jaw - I (pose correctives), so no vertex is ever evaluated while fitting.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.heads.head_model import JAW, HeadModel

_JAW_CORRECTIVES = slice(9, 18)  # of the 36: neck, jaw, left eye, right eye, nine entries each


class LinearPart(NamedTuple):
    """Points as linear functions of the coefficients; N points."""

    template: Tensor
    """(N, 3) metres."""
    shape: Tensor
    """(N, 3, S)."""
    expression: Tensor
    """(N, 3, E)."""
    correctives: Tensor
    """(N, 3, 9) per entry of R_jaw - I, row by row."""


class LandmarkBasis(NamedTuple):
    """The landmarks of a head model."""

    landmarks: npt.NDArray[np.int64]
    """(L,) which of the N detected ones; those that the jaw moves come first."""
    yaw: npt.NDArray[np.float32]
    """(L,) radians of the head's yaw at which a landmark of the outline counts, NaN for all others."""
    detected: npt.NDArray[np.int64]
    """(N,) what the detector gives, by MediaPipe's numbers (`multitalk.ground.landmark_layout`)."""
    rest: LinearPart
    """s of all L landmarks, relative to `centre`."""
    jaw: LinearPart
    """b - share * joint of the first Lj landmarks: those that the jaw moves."""
    has_correctives: bool
    """Whether any pose corrective is not zero."""
    centre: Tensor
    """(3,) middle of the landmarks of the template, metres: the point that pose turns and shifts."""

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """(L,) MediaPipe's numbers of `landmarks`."""
        numbers: npt.NDArray[np.int64] = self.detected[self.landmarks]
        return numbers


def landmark_basis(
    model: HeadModel, device: torch.device, dtype: torch.dtype = torch.float32
) -> LandmarkBasis:
    """Reduce a head model to its landmarks.

    Parameters
    ----------
    model
        Any head model with an embedding.
    device, dtype
        Where and how the basis is kept.
    """
    share = model.skinning_weights[:, JAW].astype(np.float64)
    moved = (model.embedding.barycentric * share[model.embedding.vertices]).sum(axis=1) > 1e-4
    order = np.argsort(~moved, kind="stable")
    vertices = model.embedding.vertices[order]
    barycentric = model.embedding.barycentric[order].astype(np.float64)
    jaw_barycentric = barycentric * share[vertices]
    moving = int(moved.sum())

    def combine(weights: np.ndarray, array: np.ndarray) -> np.ndarray:
        combined: np.ndarray = np.einsum("nk,nk...->n...", weights, array[vertices].astype(np.float64))
        return combined

    arrays = (model.v_template, model.shapedirs, model.expressiondirs, model.posedirs[:, :, _JAW_CORRECTIVES])
    rest = [combine(barycentric, a) for a in arrays]
    jaw = [combine(jaw_barycentric, a)[:moving] for a in arrays]
    total = jaw_barycentric.sum(axis=1)[:moving]
    regressor = model.joint_regressor[JAW].astype(np.float64)
    jaw[0] -= total[:, None] * (regressor @ model.v_template)
    jaw[1] -= total[:, None, None] * np.einsum("v,vcs->cs", regressor, model.shapedirs)
    jaw[2] -= total[:, None, None] * np.einsum("v,vce->ce", regressor, model.expressiondirs)
    yaw = np.full(len(order), np.nan) if model.embedding.yaw is None else model.embedding.yaw[order]
    centre = rest[0][np.isnan(yaw) | (yaw == 0)].mean(axis=0)
    rest[0] -= centre

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=device)

    return LandmarkBasis(
        landmarks=model.embedding.landmarks[order],
        yaw=yaw.astype(np.float32),
        detected=model.embedding.detected,
        rest=LinearPart(*map(tensor, rest)),
        jaw=LinearPart(*map(tensor, jaw)),
        has_correctives=bool(rest[3].any()),
        centre=tensor(centre),
    )


def turns_as_jaw(basis: LandmarkBasis) -> Tensor:
    """(3, E) radians of the jaw's turn about each axis that come nearest to what an expression does."""
    moving = len(basis.jaw.template)
    axes = torch.eye(3, dtype=basis.centre.dtype, device=basis.centre.device)
    turned = torch.zeros(3, *basis.rest.template.shape, dtype=axes.dtype, device=axes.device)
    turned[:, :moving] = torch.linalg.cross(axes[:, None].expand(-1, moving, -1), basis.jaw.template[None])
    fields = turned.flatten(1)
    found: Tensor = torch.linalg.solve(fields @ fields.mT, fields @ basis.rest.expression.flatten(0, 1))
    return found
