"""Weights within limits that move points as asked, all frames together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROUNDS = 400


def limited_weights(
    directions: Array,
    wanted: Array,
    lower: Array,
    upper: Array,
    pull: Array,
    precision: Array,
    smoothness: float,
) -> Array:
    """Solve bounded least squares with a temporal prior by accelerated projected gradients.

    A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009.

    Parameters
    ----------
    directions
        (P, E) what a weight of one does, in standard deviations of the points.
    wanted
        (T, P) what is to be reached.
    lower, upper
        (T, E) limits.
    pull, precision
        (E,) towards zero, by value and by its square.
    smoothness
        Weight of the change from frame to frame against the points' information.

    Returns
    -------
    array
        (T, E).
    """
    hessian = directions.T @ directions + np.diag(precision)
    linear = wanted @ directions - pull
    change = smoothness * np.diag(hessian)
    step = 1 / (np.linalg.eigvalsh(hessian)[-1] + 4 * change.max())
    weights = np.clip(np.zeros_like(linear), lower, upper)
    ahead, momentum = weights, 1.0
    for _ in range(_ROUNDS):
        apart = change * np.diff(ahead, axis=0)
        gradient = ahead @ hessian - linear
        gradient[1:] += apart
        gradient[:-1] -= apart
        following = np.clip(ahead - step * gradient, lower, upper)
        if ((ahead - following) * (following - weights)).sum() > 0:
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / grown * (following - weights)
        weights, momentum = following, grown
    return weights
