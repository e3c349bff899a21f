"""Distances between ground-truth and predicted vertices: the family of the Lip Vertex Error and of MOD.

There is no agreed Lip Vertex Error: papers square the distance or not, and print one unit and mean another.
MultiTalk's and CodeTalker's "x 1e-4 mm" are square metres. Every variant here has its own name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops.vertex_loops import largest_squared_distance
from multitalk.eval.motion.metric import Metric, MotionPair

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float

MM = 1000.0


def lip_vertex_error_squared(
    ground_truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    lip_vertices: Sequence[int] | npt.NDArray[np.integer],
) -> float:
    """Lip Vertex Error of one clip as MultiTalk's and CodeTalker's scripts compute it.

    Parameters
    ----------
    ground_truth, prediction
        (T, V, 3) metres, as long as each other: the scripts cut nothing.
    lip_vertices
        Vertex ids; duplicates change nothing.

    Returns
    -------
    float
        Mean over frames of the largest squared distance over the lip vertices, square metres.

    Raises
    ------
    ValueError
        The shapes differ or are not (T, V, 3), there is no frame or no lip vertex, or a lip vertex is none
        of the mesh.
    """
    true, predicted = np.asarray(ground_truth), np.asarray(prediction)
    if true.shape != predicted.shape or true.ndim != 3 or true.shape[2] != 3:
        raise ValueError(f"ground truth {true.shape} and prediction {predicted.shape} must both be (T, V, 3)")
    ids = np.asarray(lip_vertices, dtype=np.int64)
    if len(true) == 0 or ids.size == 0:
        raise ValueError("Lip Vertex Error needs at least one frame and one lip vertex")
    if ids.ndim != 1 or ids.min() < 0 or ids.max() >= true.shape[1]:
        raise ValueError(f"lip vertices must be a list of ids below {true.shape[1]}, the number of vertices")
    return float(largest_squared_distance(true, predicted, ids).mean())


def vertex_error(pair: MotionPair) -> Float[Array, " frames"]:
    """(T,) mean distance over all vertices, metres."""
    return pair.distances[0]


def squared_vertex_error(pair: MotionPair) -> Float[Array, " frames"]:
    """(T,) mean squared distance over all vertices, square metres."""
    return pair.distances[1]


def mouth_extent_difference(pair: MotionPair) -> Float[Array, " frames"]:
    """(T,) absolute difference of the lips' vertical extents, metres."""
    heights = [lips[:, 1].max(axis=1) - lips[:, 1].min(axis=1) for lips in pair.lips]
    return np.asarray(np.abs(heights[0] - heights[1]))


def inner_lip_gap_difference(pair: MotionPair) -> Float[Array, " frames"]:
    """(T,) absolute difference of the inner-lip gaps, metres."""
    ground_truth, prediction = pair.inner_lip_gap
    return np.asarray(np.abs(ground_truth - prediction))


def jitter(pair: MotionPair) -> float:
    """Mean length of the prediction's second difference, metres a frame squared; NaN below 3 frames."""
    return pair.accelerations[1]


def jitter_ratio(pair: MotionPair) -> float:
    """Jitter of the prediction over that of the ground truth; NaN where the latter stands still."""
    reference, predicted = pair.accelerations
    return predicted / reference if reference > 0 else float("nan")


ERROR_METRICS = (
    Metric(
        "lve_squared",
        "mean_t max_v |g - p|^2",
        "m^2",
        "MultiTalk, CodeTalker, FaceDiffuser, ScanTalk, torchmetrics",
        "lower",
        lambda pair: pair.lip_squared_error,
        ("lips",),
    ),
    Metric(
        "lve_l2",
        "mean_t max_v |g - p|",
        "mm",
        "MeshTalk, talking-head-metrics",
        "lower",
        lambda pair: np.sqrt(pair.lip_squared_error),
        ("lips",),
        MM,
    ),
    Metric(
        "lve_rms",
        "sqrt(mean_t max_v |g - p|^2)",
        "mm",
        "ARTalk",
        "lower",
        lambda pair: pair.lip_squared_error,
        ("lips",),
        MM,
        root=True,
    ),
    Metric(
        "lip_max",
        "max_t max_v |g - p|",
        "mm",
        "Imitator, MemoryTalker",
        "lower",
        lambda pair: float(np.sqrt(pair.lip_squared_error.max())),
        ("lips",),
        MM,
    ),
    Metric(
        "mve",
        "mean_t mean_v |g - p|",
        "mm",
        "FaceDiffuser, ScanTalk, ProbTalk3D",
        "lower",
        vertex_error,
        (),
        MM,
    ),
    Metric(
        "mve_rms",
        "sqrt(mean_t mean_v |g - p|^2)",
        "mm",
        "ARTalk (MHD)",
        "lower",
        squared_vertex_error,
        (),
        MM,
        root=True,
    ),
    Metric(
        "mod_extent",
        "mean_t |h(g) - h(p)|, h the vertical extent of the lips",
        "mm",
        "DiffPoseTalk (formula not published)",
        "lower",
        mouth_extent_difference,
        ("lips",),
        MM,
    ),
    Metric(
        "mod_inner",
        "mean_t |d(g) - d(p)|, d the distance of the inner-lip centres",
        "mm",
        "DiffPoseTalk (formula not published)",
        "lower",
        inner_lip_gap_difference,
        ("inner_lips",),
        MM,
    ),
    Metric(
        "jitter", "mean_t,v |p_t+1 - 2 p_t + p_t-1|", "mm/frame^2", "this project", "lower", jitter, (), MM
    ),
    Metric("jitter_ratio", "jitter(p) / jitter(g)", "", "this project", "one", jitter_ratio, ()),
)
