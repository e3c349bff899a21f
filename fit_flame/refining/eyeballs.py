"""Eyeballs that stay behind the lids: landmarks do not tell where they are, but nothing may cut through a lid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import LEFT_EYE, RIGHT_EYE, HeadModel
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.motion import Motion

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FRAMES = 24  # that are looked at
_SHARE = 0.97  # of lid vertices and frames that must lie before the eyeball
_MOST = 0.006  # metres
_TOUCHING = 0.002  # metres off the eyeball within which skin counts as lid


def behind_lids(motions: Sequence[Motion], model: HeadModel) -> list[Motion]:
    """Set the eyeballs back as far as a person's lids ask for; nothing changes where the model cannot.

    Parameters
    ----------
    motions
        The fitted motions of one person, who has one shape.
    model
        Their head model.
    """
    rules = model.rules
    if (
        rules is None
        or not motions
        or max(rules.eyes_back) >= len(motions[0].shape)
        or not motions[0].shape.any()
    ):
        return list(motions)
    balls = [np.flatnonzero(model.skinning_weights[:, joint] > 0.5) for joint in (LEFT_EYE, RIGHT_EYE)]
    balls = [ball[np.isin(ball, model.faces)] for ball in balls]
    parts = [part for ball in balls for part in (ball, _lids(model, ball))]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    shape = motions[0].shape.copy()
    needed: list[list[Array]] = [[], []]
    for motion in motions:
        frames = np.unique(np.linspace(0, motion.frame_count - 1, _FRAMES).round().astype(np.int64))
        placed = decode(motion, model, frames=frames, vertices=np.concatenate(parts), head_pose=False)
        pieces = np.split(placed.astype(np.float64), ends, axis=1)
        for found, ball, skin in zip(needed, pieces[::2], pieces[1::2], strict=True):
            found.append(_needed(ball, skin))
    for found, direction in zip(needed, rules.eyes_back, strict=True):
        steps = np.concatenate(found)
        if len(steps):
            back = float(np.clip(np.quantile(steps, _SHARE), 0, _MOST))
            shape[direction] += np.float32(back / rules.eye_step)
    return [replace(motion, shape=shape.copy()) for motion in motions]


def _needed(ball: Array, skin: Array) -> Array:
    """(n,) metres that an eyeball (T, B, 3) must step back, by each vertex (T, K, 3) of its lids and each frame."""
    middle = ball.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(ball - middle, axis=2).mean()
    off = skin - middle
    beside = (off[..., :2] ** 2).sum(axis=2)
    needed: Array = np.sqrt(np.maximum(radius**2 - beside, 0)) - off[..., 2]
    # At the rim a step back would be a long one.
    inside: Array = needed[beside < (0.8 * radius) ** 2]
    return inside


def _lids(model: HeadModel, ball: IntArray) -> IntArray:
    """Vertices of the skin that lie on an eyeball's front in the mean head, not behind its surface."""
    vertices = model.v_template.astype(np.float64)
    middle = vertices[ball].mean(axis=0)
    radius = np.linalg.norm(vertices[ball] - middle, axis=1).mean()
    off = np.linalg.norm(vertices - middle, axis=1) - radius
    eyes = model.skinning_weights[:, [LEFT_EYE, RIGHT_EYE]].any(axis=1)
    front = vertices[:, 2] > middle[2] + 0.3 * radius
    return np.flatnonzero(~eyes & front & (off > 0) & (off < _TOUCHING))
