"""Weights of gaze by where the eyes look, so that the lids which follow them are fitted with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.expression_rules import ExpressionRules
from multitalk.ground.landmark_layout import (
    EYELID_PAIRS,
    LANDMARK_COUNT,
    LEFT_EYE_OUTER,
    LEFT_IRIS,
    RIGHT_EYE_OUTER,
    RIGHT_IRIS,
)

FloatArray = npt.NDArray[np.float32]


_OPEN = 0.6  # of the clip's usual gap between the lids, from which a detected iris is seen and no guess


def with_open_eyes(landmarks: FloatArray) -> FloatArray:
    """Copy landmarks (T, N, 2 or 3) without the irises of eyes that are closing: a blink moves them, no gaze does."""
    seen = landmarks.copy()
    if seen.shape[1] != LANDMARK_COUNT:
        return seen
    width = np.linalg.norm(seen[:, RIGHT_EYE_OUTER, :2] - seen[:, LEFT_EYE_OUTER, :2], axis=1)
    for pairs, iris in ((EYELID_PAIRS[:3], RIGHT_IRIS), (EYELID_PAIRS[3:], LEFT_IRIS)):
        upper, lower = np.array(pairs).T
        gap = np.linalg.norm(seen[:, upper, :2] - seen[:, lower, :2], axis=2).mean(axis=1) / width
        if np.isfinite(gap).any():
            seen[np.ix_(gap < _OPEN * np.nanmedian(gap), list(iris))] = np.nan
    return seen


def gaze_weights(rules: ExpressionRules, eyes: FloatArray) -> FloatArray:
    """(T, 8) weights 0 to 1 of `rules.gaze`, by turns (T, 6) of the left and of the right eyeball, axis-angle."""
    parts = []
    for eye, outward in ((eyes[:, :3], 1.0), (eyes[:, 3:], -1.0)):
        down, out = eye[:, 0], outward * eye[:, 1]
        parts += [down, -out, out, -down]
    angles = np.stack(parts, axis=1) / rules.gaze_angles
    weights: FloatArray = angles.clip(0, 1).astype(np.float32)
    return weights
