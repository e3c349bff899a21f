"""Rotations as matrices and axis-angle vectors, in torch, safe at zero and near half a turn."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def skew(vector: Tensor) -> Tensor:
    """Cross-product matrix: (..., 3) -> (..., 3, 3) with skew(a) b = a x b."""
    axes = torch.eye(3, dtype=vector.dtype, device=vector.device)
    product: Tensor = torch.linalg.cross(vector[..., None], axes.expand(*vector.shape[:-1], 3, 3), dim=-2)
    return product


def axial(matrix: Tensor) -> Tensor:
    """Twice the vector of a matrix's skew part: (..., 3, 3) -> (..., 3)."""
    axes = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    product: Tensor = torch.linalg.cross(axes.expand_as(matrix), matrix, dim=-2)
    return product.sum(-1)


def to_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) radians -> (..., 3, 3), exact at zero with its gradient."""
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    angle = squared.clamp_min(1e-12).sqrt()
    sine = torch.sinc(angle / math.pi)
    half = torch.sinc(angle / (2 * math.pi))
    axes = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    k: Tensor = torch.linalg.cross(axis_angle[..., None], axes.expand(*axis_angle.shape[:-1], 3, 3), dim=-2)
    turned: Tensor = axes + sine * k + (0.5 * half * half) * (k @ k)
    return turned


def small_turn(matrix: Tensor) -> Tensor:
    """`to_axis_angle` for turns of less than a right angle, in a third of its operations."""
    doubled = axial(matrix)
    sine = doubled.norm(dim=-1, keepdim=True)
    angle = torch.atan2(sine, matrix.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1)
    return doubled * torch.where(sine > 1e-6, angle / sine.clamp_min(1e-12), 0.5)


def to_axis_angle(matrix: Tensor) -> Tensor:
    """Inverse of `to_matrix`: (..., 3, 3) -> (..., 3), of angle at most pi. Goes through the quaternion."""
    m = matrix.flatten(-2).unbind(-1)
    squares = torch.stack(  # four times the squared components w, x, y, z
        [
            1 + m[0] + m[4] + m[8],
            1 + m[0] - m[4] - m[8],
            1 - m[0] + m[4] - m[8],
            1 - m[0] - m[4] + m[8],
        ],
        -1,
    )
    candidates = torch.stack(  # the quaternion, scaled by each of its components in turn
        [
            torch.stack([squares[..., 0], m[7] - m[5], m[2] - m[6], m[3] - m[1]], -1),
            torch.stack([m[7] - m[5], squares[..., 1], m[3] + m[1], m[2] + m[6]], -1),
            torch.stack([m[2] - m[6], m[3] + m[1], squares[..., 2], m[7] + m[5]], -1),
            torch.stack([m[3] - m[1], m[2] + m[6], m[7] + m[5], squares[..., 3]], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(candidates.gather(-2, largest).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * torch.where(sine > 1e-6, angle / sine.clamp_min(1e-12), 2.0)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Nearest rotation to a matrix (..., 3, 3), by singular values."""
    u, _, v = torch.linalg.svd(matrix)
    sign = torch.det(u @ v)[..., None]
    result: Tensor = torch.cat([u[..., :2], u[..., 2:] * sign[..., None]], -1) @ v
    return result
