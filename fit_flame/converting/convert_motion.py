"""Motion of one head model on another: the same points of both faces move alike.

The person is found first: the target's shape at rest is laid on the source's. Then the target follows how the source's
points move off their rest, so that a difference of the two heads where they lie is no expression; the gaps of lips and
lids are the source's own, so that what closes there closes here. Named weights keep their limits (bounded least
squares with a temporal prior), and what they cannot reach goes into the correction; free coefficients and a jaw are
found by Gauss and Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.converting.head_points import HeadPoints, gaps, point_weights, shared_landmarks
from multitalk.fit_flame.converting.limited import limited_weights
from multitalk.fit_flame.heads.expression_rules import ExpressionRules, applied
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.fit_flame.refining.gaze_weights import gaze_weights
from multitalk.fit_flame.refining.resting import borne

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

SIGMA = 0.0005
"""Metres about which points may differ; lips half as much."""
_SHAPE_SIGMA = 0.001
_SMOOTHNESS = 0.02
_ALIGNMENTS, _STEPS, _CHUNK = 4, 6, 64
_JAW_SIGMA = (0.2, 0.05, 0.05)  # radians
_NUDGE = 1e-4  # radians, of finite differences


@dataclass(frozen=True, slots=True)
class _Person:
    """Who speaks, on both heads."""

    shape: Tensor
    """(S,) of the target."""
    turn: Array
    """(3, 3) a target's point x lies at size turn x + place of the source's head coordinates."""
    place: Array
    """(3,)."""
    size: float
    """A picture does not tell it, and head models differ in it: a smaller target stands nearer."""


def convert_motion(motion: Motion, source: HeadModel, target: HeadModel) -> Motion:
    """Give a motion to another head model.

    Parameters
    ----------
    motion
        The motion.
    source, target
        Its head model, and the one to give it to.

    Returns
    -------
    Motion
        The same person, expression, gaze and pose before the same camera, on the target.

    Raises
    ------
    MotionError
        The motion is not the source's.
    HeadModelError
        The heads have too few landmarks in common.
    """
    import torch

    motion.require_model(source.key)
    if source.key == target.key:
        return motion
    landmarks = shared_landmarks(source, target)
    ours, theirs = HeadPoints(source, landmarks), HeadPoints(target, landmarks)

    def tensor(array: FloatArray | None) -> Tensor | None:
        return None if array is None else torch.as_tensor(array.astype(np.float64))

    shape, expression, jaw = (
        torch.as_tensor(part.astype(np.float64)) for part in (motion.shape, motion.expression, motion.jaw)
    )
    rest = ours.at(shape, torch.zeros_like(expression[:1]), torch.zeros_like(jaw[:1]))[0].numpy()
    weights = point_weights(landmarks)
    person = _lay(theirs, rest, weights)
    here = ours.at(shape, expression, jaw, tensor(motion.correction)).numpy()
    across, counts = gaps(landmarks)
    theirs.add(across)
    at_rest = theirs.at(
        person.shape, torch.zeros(1, target.expression_size).double(), torch.zeros(1, 3).double()
    )
    moved = np.concatenate([here - rest, across @ here], axis=1) @ person.turn / person.size
    moved[:, len(landmarks) :] -= at_rest[0, len(landmarks) :].numpy()
    weights = np.concatenate([weights, counts])
    correction = None
    if target.rules is not None and not target.has_jaw:
        found_shape, found = _named(theirs, target.rules, person.shape.numpy(), moved, weights, motion.eyes)
        found_jaw = np.zeros((len(moved), 3))
        if theirs.corrections is not None:
            # The shape that the face bears at rest is no motion: what is left is measured from it.
            borne = theirs.shape_directions.numpy() @ (found_shape - person.shape.numpy())
            left = moved - borne - np.einsum("lxe,te->tlx", theirs.directions.numpy(), found)
            correction = _ridge(theirs.corrections.numpy(), left, weights).astype(np.float32)
    else:
        found_shape = person.shape.numpy()
        found, found_jaw = _free(theirs, person.shape, moved, weights)
    rotation, translation = _pose(motion, source, target, person, found_shape, found)
    return Motion(
        head_model=target.key,
        fps=motion.fps,
        shape=found_shape.astype(np.float32),
        expression=found.astype(np.float32),
        jaw=found_jaw.astype(np.float32),
        eyes=motion.eyes,
        rotation=rotation,
        translation=translation,
        camera=motion.camera,
        valid=motion.valid,
        residual=motion.residual,
        correction=correction,
    )


def _lay(points: HeadPoints, rest: Array, weights: Array) -> _Person:
    """Find the shape whose points lie at the source's at rest (L, 3), and how the two heads stand to each other."""
    import torch

    directions = points.shape_directions.numpy()
    shape = np.zeros(directions.shape[2])
    nothing = torch.zeros(1, points.model.expression_size, dtype=torch.float64)
    mean = points.at(torch.zeros(len(shape), dtype=torch.float64), nothing, torch.zeros(1, 3).double())[
        0
    ].numpy()
    for _ in range(_ALIGNMENTS):
        turn, place, size = _similarity(mean + directions @ shape, rest, weights)
        wanted = (rest - place) @ turn / size - mean
        shape = _ridge(directions, wanted[None], weights, _SHAPE_SIGMA)[0]
    return _Person(torch.as_tensor(shape), *_similarity(mean + directions @ shape, rest, weights))


def _similarity(points: Array, wanted: Array, weights: Array) -> tuple[Array, Array, float]:
    """Turn (3, 3), place (3,) and size that bring points (L, 3) nearest to where they are wanted."""
    share = weights / weights.sum()
    middle, goal = share @ points, share @ wanted
    left, stretch, right = np.linalg.svd(((wanted - goal) * share[:, None]).T @ (points - middle))
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(signs) @ right
    size = float((stretch * signs).sum() / (share @ (points - middle) ** 2).sum())
    return turn, goal - size * turn @ middle, size


def _ridge(directions: Array, wanted: Array, weights: Array, sigma: float = SIGMA) -> Array:
    """(T, K) coefficients of unit variance of directions (L, 3, K) that reach displacements (T, L, 3)."""
    scale = np.repeat(np.sqrt(weights), 3) / sigma
    design = directions.reshape(-1, directions.shape[2]) * scale[:, None]
    right = (wanted.reshape(len(wanted), -1) * scale) @ design
    normal = design.T @ design + np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(normal, right.T).T, np.float64)


def _named(
    points: HeadPoints, rules: ExpressionRules, shape: Array, moved: Array, weights: Array, eyes: FloatArray
) -> tuple[Array, Array]:
    """Shape (S,) and weights (T, E) within their limits; what nearly all frames bear becomes part of the shape."""
    import torch

    scale = np.repeat(np.sqrt(weights), 3) / SIGMA
    directions = points.directions.numpy() @ rules.mixing
    design = directions.reshape(-1, directions.shape[2]) * scale[:, None]
    wanted = moved.reshape(len(moved), -1) * scale
    lower = np.zeros((len(moved), design.shape[1]))
    upper = np.tile(rules.upper.astype(np.float64), (len(moved), 1))
    lower[:, rules.gaze] = upper[:, rules.gaze] = gaze_weights(rules, eyes)

    def solved(upper: Array) -> Array:
        return limited_weights(
            design, wanted, lower, upper, rules.pull.astype(float), rules.precision.astype(float), _SMOOTHNESS
        )

    found = solved(upper)
    part = np.where(rules.resting >= 0, borne(rules, torch.as_tensor(found)).numpy(), 0)
    carried = np.flatnonzero(part > 0)
    shape = shape.copy()
    shape[rules.resting[carried]] += part[carried] / rules.resting_sigma
    wanted = wanted - design @ part
    found = np.maximum(found - part, lower)
    for first, second in rules.opposed.tolist():
        less = found[:, first] < found[:, second]
        upper[less, first] = lower[less, first]
        upper[~less, second] = lower[~less, second]
    found = solved(np.maximum(upper, lower))
    return shape, applied(rules.mixing, found.astype(np.float32)).astype(np.float64)


def _free(points: HeadPoints, shape: Tensor, moved: Array, weights: Array) -> tuple[Array, Array]:
    """Coefficients (T, E) of unit variance, and jaws (T, 3)."""
    found = [
        _free_part(points, shape, moved[start : start + _CHUNK], weights)
        for start in range(0, len(moved), _CHUNK)
    ]
    expressions, jaws = zip(*found, strict=True)
    return np.concatenate(expressions), np.concatenate(jaws)


def _free_part(points: HeadPoints, shape: Tensor, moved: Array, weights: Array) -> tuple[Array, Array]:
    import torch

    frames, size = len(moved), points.model.expression_size
    expression = torch.zeros(frames, size, dtype=torch.float64)
    jaw = torch.zeros(frames, 3, dtype=torch.float64)
    rest = points.at(shape, expression[:1], jaw[:1])
    wanted = rest + torch.as_tensor(moved)
    scale = torch.as_tensor(np.repeat(np.sqrt(weights), 3) / SIGMA)
    prior = torch.cat([torch.ones(size), torch.tensor(_JAW_SIGMA) ** -2]).double()
    turning = 3 if points.model.has_jaw else 0
    for _ in range(_STEPS):
        here = points.at(shape, expression, jaw)
        columns = [points.turned_directions(jaw).reshape(frames, -1, size)]
        for axis in range(turning):
            nudged = jaw.clone()
            nudged[:, axis] += _NUDGE
            columns.append(((points.at(shape, expression, nudged) - here) / _NUDGE).reshape(frames, -1, 1))
        design = torch.cat(columns, 2) * scale[:, None]
        error = (wanted - here).reshape(frames, -1, 1) * scale[:, None]
        state = torch.cat([expression, jaw[:, :turning]], 1)
        known = prior[: size + turning]
        normal = design.mT @ design + torch.diag(known)
        right = (design.mT @ error)[..., 0] - known * state
        state = state + torch.linalg.solve(normal, right)
        expression = state[:, :size]
        if turning:
            jaw = state[:, size:]
    return expression.numpy(), jaw.numpy()


def _pose(
    motion: Motion, source: HeadModel, target: HeadModel, person: _Person, shape: Array, expression: Array
) -> tuple[FloatArray, FloatArray]:
    """Axis-angle (T, 3) and translation (T, 3) that put the target where the source is."""
    import torch

    from multitalk.fit_flame.parameters.decode import root_joint
    from multitalk.fit_flame.parameters.rotation import to_axis_angle, to_matrix

    turn = to_matrix(torch.from_numpy(motion.rotation.astype(np.float64)))
    ours = root_joint(source, torch.tensor(motion.shape), torch.tensor(motion.expression))
    theirs = root_joint(target, torch.as_tensor(shape), torch.as_tensor(expression))
    turned = turn @ torch.as_tensor(person.turn)
    place = (turn @ (torch.as_tensor(person.place) - ours)[..., None])[..., 0] + ours
    place = (place + torch.tensor(motion.translation).double()) / person.size
    place = place + (turned @ theirs[..., None])[..., 0] - theirs
    rotation: FloatArray = to_axis_angle(turned).numpy().astype(np.float32)
    return rotation, place.numpy().astype(np.float32)
