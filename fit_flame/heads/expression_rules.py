"""What a head model asks of its expression weights: limits, sparsity, and shapes that only go together.

Without rules expressions are as FLAME's are: free, Gaussian, one standard deviation per unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExpressionRules:
    """Rules for E expression weights; float32 arrays."""

    names: tuple[str, ...]
    """Of the weights, in order."""
    upper: FloatArray
    """(E,) largest value while fitting; the least is 0. 0 for what landmarks cannot tell."""
    pull: FloatArray
    """(E,) strength of the pull to 0, per unit of weight: an exponential prior, so that shapes which the picture
    does not ask for stay at rest, and of two that cancel each other none is used."""
    precision: FloatArray
    """(E,) 1 / variance of a Gaussian prior about 0."""
    opposed: npt.NDArray[np.int64]
    """(P, 2) unknowns of which at most one is used at a time."""
    resting: npt.NDArray[np.int64]
    """(E,) number of the shape direction that moves the head as an unknown does, in a face at rest; -1: none."""
    lids: npt.NDArray[np.int64]
    """(2, 2) unknowns that widen and shut an eye: lids that are not shut stand about where they rest."""
    resting_sigma: float
    """What of the unknown's unit such a direction holds."""
    gaze: npt.NDArray[np.int64]
    """(8,) unknowns that follow the eyes: down, in, out, up of the left eye, then of the right one."""
    gaze_angles: FloatArray
    """(8,) radians that the eyeball turns at weight 1 of each."""
    eyes_back: tuple[int, int]
    """Shape directions that set the left and the right eyeball back."""
    eye_step: float
    """Metres by which they do."""
    mixing: FloatArray
    """(E, E) weights by the unknowns that are fitted: where a shape is no face without another one, its unknown
    moves both."""


def applied(mixing: FloatArray, unknowns: FloatArray) -> FloatArray:
    """Weights (..., E), each 0 to 1, of fitted unknowns (..., E)."""
    weights: FloatArray = np.clip(unknowns @ mixing.T, 0, 1).astype(np.float32)
    return weights
