"""Upper-face dynamics deviation (FDD): how much livelier the ground truth is than the prediction, by variant.

The dynamics of a vertex are the standard deviation over time (ddof 0) of a number of it. Papers differ in
the number (squared offset from the template, its norm, offset from the clip's mean position, sum of
coordinates) and in what becomes of the sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.eval.motion.loops.vertex_loops import spread_of_offsets, spread_of_squared_offsets
from multitalk.eval.motion.metric import Metric, MotionPair

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float64

MM = 1000.0


def fdd_signed(pair: MotionPair) -> float:
    """CodeTalker's FDD: mean over the upper face of the dynamics' difference, ground truth minus prediction.

    Returns
    -------
    float
        Square metres; positive when the prediction moves less than the ground truth.
    """
    return float(_squared_dynamics_difference(pair).mean())


def fdd_absolute(pair: MotionPair) -> float:
    """Absolute value of the clip's signed FDD, square metres: clips of opposite sign no longer cancel."""
    return abs(fdd_signed(pair))


def fdd_vertex_absolute(pair: MotionPair) -> float:
    """Mean over the upper face of the absolute difference of dynamics: vertices no longer cancel either."""
    return float(np.abs(_squared_dynamics_difference(pair)).mean())


def fdd_norm(pair: MotionPair) -> float:
    """FDD with the norm of the offset from the template instead of its square, signed, metres."""
    ground_truth, prediction = pair.about_template(spread_of_offsets)
    return float((ground_truth - prediction).mean())


def fdd_mean_position(pair: MotionPair) -> float:
    """Signed FDD with each sequence's own mean position in place of the template, square metres."""
    origins = (v.mean(axis=0, dtype=np.float64).T for v in pair.upper_face_sequences)
    ground_truth, prediction = (
        spread_of_squared_offsets(sequence, pair.upper_face, origin)
        for sequence, origin in zip((pair.ground_truth, pair.prediction), origins, strict=True)
    )
    return float((ground_truth - prediction).mean())


def fdd_coordinate_sum(pair: MotionPair) -> float:
    """ARTalk's FDD: mean absolute difference of the dynamics of the coordinates' sum, metres."""
    sums = (v.sum(axis=1, dtype=np.float64).std(axis=0) for v in pair.upper_face_sequences)
    ground_truth, prediction = sums
    return float(np.abs(ground_truth - prediction).mean())


def _squared_dynamics_difference(pair: MotionPair) -> Float64[Array, " upper"]:
    ground_truth, prediction = pair.upper_face_dynamics
    return ground_truth - prediction


DYNAMICS_METRICS = (
    Metric(
        "fdd",
        "mean_v [std_t |g - template|^2 - std_t |p - template|^2]",
        "m^2",
        "CodeTalker's script, MultiTalk",
        "zero",
        fdd_signed,
        ("upper_face", "template"),
    ),
    Metric(
        "fdd_absolute",
        "|mean_v [std_t |g - template|^2 - std_t |p - template|^2]|",
        "m^2",
        "absolute value of CodeTalker's, clip by clip",
        "lower",
        fdd_absolute,
        ("upper_face", "template"),
    ),
    Metric(
        "fdd_vertex_absolute",
        "mean_v |std_t |g - template|^2 - std_t |p - template|^2|",
        "m^2",
        "absolute value of CodeTalker's, vertex by vertex",
        "lower",
        fdd_vertex_absolute,
        ("upper_face", "template"),
    ),
    Metric(
        "fdd_norm",
        "mean_v [std_t |g - template| - std_t |p - template|]",
        "mm",
        "CodeTalker's paper (norm instead of its square)",
        "zero",
        fdd_norm,
        ("upper_face", "template"),
        MM,
    ),
    Metric(
        "fdd_mean_position",
        "mean_v [std_t |g - mean_t g|^2 - std_t |p - mean_t p|^2]",
        "m^2",
        "template-free variant",
        "zero",
        fdd_mean_position,
        ("upper_face",),
    ),
    Metric(
        "fdd_coordinate_sum",
        "mean_v |std_t sum_c g - std_t sum_c p|, x 100",
        "m/100",
        "ARTalk",
        "lower",
        fdd_coordinate_sum,
        ("upper_face",),
        100.0,
    ),
)
