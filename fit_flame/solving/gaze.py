"""Where the eyes look, in closed form: the ray through each detected iris meets the fitted eyeball.

The irises hang on nothing but the eyeballs, so no other unknown of the fit depends on them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import LEFT_EYE, RIGHT_EYE, ROOT, HeadModel
from multitalk.fit_flame.parameters.motion import Motion

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LARGEST_TURN = 0.7
"""Radians; eyes turn no further, and a closed lid's iris is a guess."""

_IRIS_CENTRES = {LEFT_EYE: 473, RIGHT_EYE: 468}


def gaze(motion: Motion, model: HeadModel, landmarks: npt.NDArray[np.floating]) -> FloatArray:
    """Turn of the eyeballs that puts the irises where they were detected.

    Parameters
    ----------
    motion
        The fitted motion; its own `eyes` are not read.
    model
        Its head model.
    landmarks
        (T, N, 2 or 3) pixels; N is 478 where the model's irises are known.

    Returns
    -------
    ndarray
        (T, 6) axis-angle of the left and of the right eyeball, radians, without torsion; frames without
        landmarks, or without an eye's iris, take that of the nearest frame that has it. Zero for an eye whose
        iris is never seen, and for a head model whose irises are not known.
    """
    if model.embedding.iris_vertices is None:
        return np.zeros((motion.frame_count, 6), np.float32)
    origin, rays = _rays(motion, model, landmarks)
    turns = []
    for joint, landmark in _IRIS_CENTRES.items():
        vertex = model.embedding.iris_vertices[landmark - _IRIS_CENTRES[RIGHT_EYE]]
        centre = _combine(motion, model, model.joint_regressor[joint].astype(np.float64))
        pick = np.zeros(len(model.v_template))
        pick[vertex] = 1
        resting = _combine(motion, model, pick) - centre
        turn = _between(resting, _meet(origin, rays[:, landmark], centre, np.linalg.norm(resting, axis=1)))
        seen = np.flatnonzero(motion.valid & np.isfinite(turn).all(axis=1))
        turns.append(turn[_nearest(seen, len(turn))] if len(seen) else np.zeros_like(turn))
    eyes: FloatArray = np.concatenate(turns, axis=1).astype(np.float32)
    return eyes


def _nearest(seen: IntArray, count: int) -> IntArray:
    """(count,) which of the ascending frames `seen`, one at least, is nearest to each; the earlier of two."""
    frames = np.arange(count)
    after = np.searchsorted(seen, frames).clip(max=len(seen) - 1)
    before = (np.searchsorted(seen, frames, side="right") - 1).clip(min=0)
    nearest: IntArray = np.where(
        np.abs(frames - seen[before]) <= np.abs(seen[after] - frames), seen[before], seen[after]
    )
    return nearest


def _combine(motion: Motion, model: HeadModel, row: Array) -> Array:
    """(T, 3) a fixed combination (V,) of the vertices before any joint turns."""
    used = np.flatnonzero(row)
    template, shape, expression = (
        np.tensordot(row[used], part[used], axes=1)
        for part in (model.v_template, model.shapedirs, model.expressiondirs)
    )
    combined: Array = template + shape @ motion.shape + motion.expression @ expression.T
    return combined


def _rays(motion: Motion, model: HeadModel, landmarks: npt.NDArray[np.floating]) -> tuple[Array, Array]:
    """Camera's place (T, 3) and directions to the landmarks (T, 478, 3), in head coordinates."""
    import torch

    from multitalk.fit_flame.parameters.rotation import to_matrix

    rotation = to_matrix(torch.from_numpy(motion.rotation).double()).numpy()
    root = _combine(motion, model, model.joint_regressor[ROOT].astype(np.float64))
    focal, cx, cy = motion.camera.astype(np.float64)
    x, y = landmarks[..., 0], landmarks[..., 1]
    directions = np.stack([(x - cx) / focal, (cy - y) / focal, np.full(x.shape, -1.0)], axis=-1)
    origin = (-(root + motion.translation)[:, None] @ rotation)[:, 0] + root
    rays: Array = directions @ rotation
    return origin, rays


def _meet(origin: Array, direction: Array, centre: Array, radius: Array) -> Array:
    """(T, 3) from the centre to where a ray meets a sphere first, or to where it passes nearest."""
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    offset = origin - centre
    along = (offset * direction).sum(axis=1)
    inside = along**2 - (offset**2).sum(axis=1) + radius**2
    distance = -along - np.sqrt(np.maximum(inside, 0))
    met: Array = offset + distance[:, None] * direction
    return met


def _between(start: Array, end: Array) -> Array:
    """(T, 3) axis-angle of the smallest turn from one direction to the other, at most `LARGEST_TURN`."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (start * end).sum(axis=1, keepdims=True))
    turn: Array = axis / np.maximum(sine, 1e-12) * np.minimum(angle, LARGEST_TURN)
    return turn
