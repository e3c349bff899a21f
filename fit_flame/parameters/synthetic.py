"""Clips whose truth is known: motion made by rule, its landmarks projected by the head model itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import project_vertices
from multitalk.fit_flame.parameters.motion import Motion

FOCAL = 900.0


def speaking(head: HeadModel, frames: int = 40, *, mouth_hz: float = 5.0, turn_deg: float = 12.0) -> Motion:
    """Make a head that nods and turns slowly and opens its mouth `mouth_hz` times a second."""
    t = np.arange(frames) / 25
    rng = np.random.default_rng(7)
    expression = np.zeros((frames, head.expression_size), np.float32)
    expression = np.zeros((frames, head.expression_size), np.float32)
    expression[:, 3:9] = 0.5 * np.sin(2 * np.pi * np.outer(t, rng.uniform(0.3, 1.0, 6)))
    jaw = np.zeros((frames, 3), np.float32)
    jaw[:, 0] = 0.08 + 0.06 * np.sin(2 * np.pi * mouth_hz * t)
    if head.rules is not None:  # weights of a mouth that opens and smiles, within their limits
        opened = [head.rules.names.index(name) for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight")]
        courses = (3 * jaw[:, 0], 0.3 + 0.2 * np.sin(t), 0.3 + 0.2 * np.sin(t))
        expression[:], jaw[:] = 0, 0
        expression[:, opened] = np.stack(courses, axis=1)
    turn = np.radians(turn_deg)
    rotation = np.stack([0.1 * np.sin(2 * t), turn * np.sin(1.5 * t), 0.05 * np.cos(t)], 1).astype(np.float32)
    translation = np.stack([0.01 * np.sin(t), 0.01 * np.cos(2 * t), -0.5 + 0 * t], 1).astype(np.float32)
    shape = rng.normal(0, 0.5, head.shape_size).astype(np.float32)
    return Motion(
        head_model=head.key,
        fps=25.0,
        shape=shape,
        expression=expression,
        jaw=jaw,
        eyes=np.zeros((frames, 6), np.float32),
        rotation=rotation,
        translation=translation,
        camera=np.array([FOCAL, 256, 256], np.float32),
        valid=np.ones(frames, bool),
        residual=np.zeros(frames, np.float32),
    )


def landmarks_of(motion: Motion, head: HeadModel, noise_px: float = 0.0) -> npt.NDArray[np.float32]:
    """Project a motion of the canonical model to landmarks (T, 478, 2), pixels, with noise per axis."""
    points = project_vertices(motion, head)
    rng = np.random.default_rng(1)
    noisy: npt.NDArray[np.float32] = (points + rng.normal(0, 1, points.shape) * noise_px).astype(np.float32)
    return noisy
