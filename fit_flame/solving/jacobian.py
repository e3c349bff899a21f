"""Analytic Jacobians and the normal matrices of Gauss-Newton, in chunks of frames to bound memory."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from multitalk.fit_flame.parameters.rotation import skew
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import (
    JAW_SIZE,
    POSE_SIZE,
    ClipState,
    FrameState,
    Observations,
    Points,
    Residuals,
)

_CACHE, _MEMORY = 2e7, 2e9  # bytes of the Jacobian that is held at once, on a CPU and on a device


class Columns(Enum):
    """Which unknowns a Jacobian has columns for, in the order of their names."""

    jaw_and_pose = 1
    frame = 2
    """Expression, jaw, pose."""
    frame_and_shared = 3
    """Expression, jaw, pose, shape, log focal length."""


def normal_matrices(
    basis: LandmarkBasis,
    clip: ClipState,
    frame: FrameState,
    points: Points,
    found: Residuals,
    observations: Observations,
    columns: Columns,
) -> Tensor:
    """J' W J of every frame.

    Parameters
    ----------
    basis, clip, frame, points, found, observations
        The problem at its present state, as `place` and `residuals` evaluated it.
    columns
        Which unknowns.

    Returns
    -------
    Tensor
        (C, T, k, k) for the k unknowns asked for.
    """
    chunks = []
    together = _frames_at_once(basis, clip, frame, observations, columns)
    for start in range(0, points.image.shape[1], together):
        part = slice(start, start + together)
        here = Points(*(value[:, part] for value in points))
        camera = clip._replace(kappa=clip.kappa[:, part])
        state = FrameState(*(value[:, part] for value in frame))
        rows = jacobian(basis, camera, state, here, observations.pairs, columns)
        weight = torch.cat([found.weight[:, part], found.pair_weight[:, part]], 2)
        rows *= weight.sqrt()[..., None, None]
        flat = rows.flatten(2, 3)
        product = flat.mT @ flat
        if len(observations.depth_rows):
            depths = depth_jacobian(basis, camera, state, here, observations, columns)
            confidence = observations.confidence[:, part, observations.depth_rows]
            trust = observations.depth_precision * confidence.mean(-1)
            product += (depths.mT @ depths) * trust[..., None, None]
        chunks.append(product)
    return torch.cat(chunks, 1)


def _frames_at_once(
    basis: LandmarkBasis, clip: ClipState, frame: FrameState, observations: Observations, columns: Columns
) -> int:
    """How many frames of every clip have their Jacobian in memory together."""
    size = frame.expression.shape[-1] + JAW_SIZE + POSE_SIZE
    if columns is Columns.frame_and_shared:
        size += clip.shape.shape[-1] + 1
    rows = 2 * (len(basis.rest.template) + len(observations.pairs))
    limit = _CACHE if frame.expression.device.type == "cpu" else _MEMORY
    return max(1, int(limit / (4 * rows * size * len(frame.expression))))


def jacobian(
    basis: LandmarkBasis, clip: ClipState, frame: FrameState, points: Points, pairs: Tensor, columns: Columns
) -> Tensor:
    """Differentiate image positions, and the differences of pairs, by the unknowns.

    Returns
    -------
    Tensor
        (C, T, L + Q, 2, k).
    """
    scale = frame.log_scale.exp()[..., None, None]
    tilt = scale * clip.kappa[..., None, None] * points.image / points.depth
    by_camera = torch.cat([_planar(scale / points.depth), tilt[..., None]], -1)
    by_head = by_camera @ frame.rotation[:, :, None]
    landmarks, moving = by_head.shape[2], points.jaw.shape[2]
    e = 0 if columns is Columns.jaw_and_pose else frame.expression.shape[-1]
    by_jaw = torch.cat([by_head[:, :, :moving], by_head[:, :, :moving] @ points.bend[:, :, None]], -1)
    n = e + JAW_SIZE + POSE_SIZE
    size = n + clip.shape.shape[1] + 1 if columns is Columns.frame_and_shared else n
    rows = by_head.new_zeros(*by_head.shape[:2], landmarks + len(pairs), 2, size)
    point_rows = rows[:, :, :landmarks]
    if e:
        _fill(point_rows[..., :e], basis.rest.expression, basis.jaw.expression, by_head, by_jaw)
    point_rows[:, :, :moving, :, e : e + 3] = -by_head[:, :, :moving] @ skew(points.jaw @ frame.jaw.mT)
    if basis.has_correctives:
        point_rows[..., e : e + 3] += by_head @ _corrective_columns(basis, frame)
    point_rows[..., e + 3 : e + 6] = -by_head @ skew(points.head)
    point_rows[..., e + 6 : e + 8] = _planar(1 / points.depth)
    point_rows[..., e + 8] = (by_camera @ points.camera[..., None])[..., 0]
    if columns is Columns.frame_and_shared:
        _fill(point_rows[..., n:-1], basis.rest.shape, basis.jaw.shape, by_head, by_jaw)
        point_rows[..., -1] = points.image * (1 - points.depth) / points.depth
    torch.sub(point_rows[:, :, pairs[:, 0]], point_rows[:, :, pairs[:, 1]], out=rows[:, :, landmarks:])
    return rows


def _fill(target: Tensor, rest: Tensor, jaw: Tensor, by_head: Tensor, by_jaw: Tensor) -> None:
    """Write the (C, T, L, 2, K) columns of coefficients that move both the head's and the jaw's part."""
    moving = len(jaw)
    target[:, :, :moving] = _by_landmark(by_jaw, torch.cat([rest[:moving], jaw], 1))
    target[:, :, moving:] = _by_landmark(by_head[:, :, moving:], rest[moving:])


def _by_landmark(rows: Tensor, directions: Tensor) -> Tensor:
    """Multiply (C, T, L, 2, k) by (L, k, K), one product a landmark: a batch of tall ones, not of tiny ones."""
    clips, frames, landmarks, _, k = rows.shape
    tall = rows.permute(2, 0, 1, 3, 4).reshape(landmarks, clips * frames * 2, k) @ directions
    return tall.view(landmarks, clips, frames, 2, directions.shape[-1]).permute(1, 2, 0, 3, 4)


def depth_jacobian(
    basis: LandmarkBasis,
    clip: ClipState,
    frame: FrameState,
    points: Points,
    observations: Observations,
    columns: Columns,
) -> Tensor:
    """Differentiate the scaled depths of some landmarks about their mean: (C, T, D, k)."""
    scale = frame.log_scale.exp()[..., None, None]
    toward = (scale * frame.rotation[..., 2:, :]).unsqueeze(2)
    toward_jaw = torch.cat([toward, toward @ points.bend[:, :, None]], -1)
    rows, moving = observations.depth_rows, observations.depth_moving
    e = 0 if columns is Columns.jaw_and_pose else frame.expression.shape[-1]
    n = e + JAW_SIZE + POSE_SIZE
    size = n + clip.shape.shape[1] + 1 if columns is Columns.frame_and_shared else n
    result = toward.new_zeros(*toward.shape[:2], len(rows), 1, size)

    def fill(target: Tensor, rest: Tensor, jaw: Tensor) -> None:
        target[:, :, :moving] = toward_jaw @ torch.cat([rest[rows[:moving]], jaw[rows[:moving]]], 1)
        target[:, :, moving:] = toward @ rest[rows[moving:]]

    if e:
        fill(result[..., :e], basis.rest.expression, basis.jaw.expression)
    turned = (points.jaw[:, :, rows[:moving]]) @ frame.jaw.mT
    result[:, :, :moving, :, e : e + 3] = -toward @ skew(turned)
    if basis.has_correctives:
        result[..., e : e + 3] += toward @ _corrective_columns(basis, frame)[:, :, rows]
    result[..., e + 3 : e + 6] = -toward @ skew(points.head[:, :, rows])
    result[..., e + 8] = scale * points.camera[:, :, rows, 2:]
    if columns is Columns.frame_and_shared:
        fill(result[..., n:-1], basis.rest.shape, basis.jaw.shape)
    flat = result[:, :, :, 0]
    return flat - flat.mean(2, keepdim=True)


def _planar(factor: Tensor) -> Tensor:
    """(..., 1) -> (..., 2, 2) multiples of the identity."""
    return factor[..., None] * torch.eye(2, dtype=factor.dtype, device=factor.device)


def _corrective_columns(basis: LandmarkBasis, frame: FrameState) -> Tensor:
    """(C, T, L, 3, 3) pose correctives by a turn of the jaw."""
    generators = skew(torch.eye(3, dtype=frame.jaw.dtype, device=frame.jaw.device))
    turned = (generators @ frame.jaw[:, :, None]).flatten(-2)  # (C, T, 3, 9)
    return basis.rest.correctives @ turned.mT[:, :, None]
