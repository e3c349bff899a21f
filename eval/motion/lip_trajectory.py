"""How lips move in time: warping distance, correlation, misalignment, closures, link with the speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops.alignment import warping_path
from multitalk.eval.motion.loops.vertex_loops import squared_distances_between_frames
from multitalk.eval.motion.metric import Metric, MotionPair

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float64


MM = 1000.0
CLOSED_GAP = 0.002
"""Inner-lip gap in metres below which lips count as closed; FLAME's mean face has 0.7 mm."""
CLOSURE_SLACK = 1
"""Frames that a predicted closure may come early or late."""


def lip_warping_distance(pair: MotionPair) -> float:
    """Mean lip distance along the best dynamic time warping of the prediction to the ground truth, metres.

    The cost of matching two frames is the root mean square distance of their lip vertices; the sum along
    the path is divided by the path's length, so that long clips do not count as worse.
    """
    cost = np.sqrt(squared_distances_between_frames(*pair.lips) / len(pair.regions.lips.vertices))
    path = warping_path(cost)
    return float(cost[path[:, 0], path[:, 1]].mean())


def lip_correlation(pair: MotionPair) -> float:
    """Pearson correlation over time of each lip coordinate, averaged over those that move in both."""
    # From the first frame on: the mean of a still face differs from it by rounding, its first frame does not.
    moved = [(v - v[:1]).astype(np.float64) for v in pair.lips]
    centred = [v - v.mean(axis=0) for v in moved]
    spread = [np.sqrt((v**2).sum(axis=0)) for v in centred]
    product = spread[0] * spread[1]
    moving = product > 1e-14 * max(1.0, float(product.max()))
    if not moving.any():
        return float("nan")
    return float(((centred[0] * centred[1]).sum(axis=0)[moving] / product[moving]).mean())


def opening_correlation(pair: MotionPair) -> float:
    """Pearson correlation over time of the inner-lip gaps; NaN where one of them stands still."""
    return pearson(*(np.asarray(gap, dtype=np.float64) for gap in pair.inner_lip_gap))


def mean_temporal_misalignment(pair: MotionPair) -> float:
    """MTM: mean time between an extreme of the true lip gap and the one of the prediction that answers it.

    Gaps are smoothed (Gaussian, sigma 1 frame), their derivatives are aligned by dynamic time warping, and
    each extreme of the ground truth is matched with the nearest extreme of the same kind between the places
    to which its two neighbours were warped.

    Returns
    -------
    float
        Seconds; NaN where nothing could be matched (no movement).
    """
    from scipy.ndimage import gaussian_filter1d

    if pair.frame_count < 3:
        return float("nan")
    smooth = [gaussian_filter1d(np.asarray(gap, dtype=np.float64), 1.0) for gap in pair.inner_lip_gap]
    slopes = [np.gradient(gap) for gap in smooth]
    path = warping_path(np.abs(slopes[0][:, None] - slopes[1][None, :]))
    warped = np.bincount(path[:, 0], weights=path[:, 1]) / np.bincount(path[:, 0])
    offsets = _extreme_offsets(_extremes(smooth[0]), _extremes(smooth[1]), warped)
    return float(np.mean(offsets)) / pair.fps if offsets else float("nan")


def closure_recall(pair: MotionPair) -> float:
    """Share of lip closures (p, b, m) in which the predicted lips close too.

    The closures are those of `pair.closures` that begin within the clip; without them, every run of frames in
    which the ground truth's inner-lip gap is below `CLOSED_GAP`, if the lips also open in the clip.

    Returns
    -------
    float
        0..1; NaN where there is no closure.
    """
    ground_truth, prediction = (np.asarray(gap) < CLOSED_GAP for gap in pair.inner_lip_gap)
    timed = None if pair.closures is None else [run for run in pair.closures if run[0] < pair.frame_count]
    runs = timed if timed is not None else _closure_runs(ground_truth)
    hits = [prediction[max(0, a - CLOSURE_SLACK) : b + CLOSURE_SLACK + 1].any() for a, b in runs]
    return float(np.mean(hits)) if hits else float("nan")


def lip_displacement(lips: npt.NDArray[np.floating]) -> float:
    """Mean length of the step that lip vertices (T, 3, L) make from a frame to the next, in their unit."""
    if len(lips) < 2:
        return float("nan")
    return float(np.linalg.norm(np.diff(lips, axis=0), axis=1).mean(dtype=np.float64))


def speech_lip_correlation(
    loudness: Float64[Array, " clips"], displacement: Float64[Array, " clips"], identities: Sequence[str]
) -> float:
    """SLCC: over clips, correlation of how loud the speech and how large the lips' movement is.

    Both are z-normalised within each identity first, so that a loud recording is no loud voice. An identity
    with one clip, or with no spread, has nothing to compare and is left out.

    Parameters
    ----------
    loudness
        (N,) root mean square of each clip's samples.
    displacement
        (N,) of each clip, as `lip_displacement` gives it.
    identities
        N names.

    Returns
    -------
    float
        -1..1; NaN with fewer than two usable clips.
    """
    scores: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []
    names = np.array(identities)
    for name in sorted(set(identities)):
        chosen = (names == name) & np.isfinite(loudness) & np.isfinite(displacement)
        values = loudness[chosen], displacement[chosen]
        if chosen.sum() >= 2 and all(v.std() > 0 for v in values):
            scores.append(
                (
                    (values[0] - values[0].mean()) / values[0].std(),
                    (values[1] - values[1].mean()) / values[1].std(),
                )
            )
    if not scores:
        return float("nan")
    return pearson(np.concatenate([s[0] for s in scores]), np.concatenate([s[1] for s in scores]))


def pearson(a: Float64[Array, " values"], b: Float64[Array, " values"]) -> float:
    """Pearson correlation of two series; NaN where one of them does not vary."""
    a, b = a - a[0], b - b[0]  # what does not vary is now zero, whatever its mean is rounded to
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / norm if norm > 0 else float("nan")


def _extremes(gap: Float64[Array, " frames"]) -> list[tuple[int, int]]:
    """Frame and kind (1 maximum, -1 minimum) of each turn of a curve; a plateau counts at its first frame."""
    signs = np.sign(np.diff(gap))
    moving = np.flatnonzero(signs)
    turns = np.flatnonzero(signs[moving][1:] != signs[moving][:-1])
    return [(int(moving[k]) + 1, int(signs[moving[k]])) for k in turns]


def _extreme_offsets(
    true: list[tuple[int, int]], predicted: list[tuple[int, int]], warped: Float64[Array, " frames"]
) -> list[float]:
    offsets = []
    for k, (frame, kind) in enumerate(true):
        lower = warped[true[k - 1][0]] if k > 0 else -np.inf
        upper = warped[true[k + 1][0]] if k + 1 < len(true) else np.inf
        candidates = [p for p, other in predicted if other == kind and lower <= p <= upper]
        if candidates:
            nearest = min(candidates, key=lambda p: abs(p - warped[frame]))
            offsets.append(abs(float(nearest - frame)))
    return offsets


def _closure_runs(closed: Bool[Array, " frames"]) -> list[tuple[int, int]]:
    if closed.all():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


TRAJECTORY_METRICS = (
    Metric(
        "lip_dtw",
        "mean over the DTW path of rms_v |g_i - p_j|",
        "mm",
        "Imitator, MemoryTalker (LDTW; normalisation not published)",
        "lower",
        lip_warping_distance,
        ("lips",),
        MM,
    ),
    Metric(
        "lip_correlation",
        "mean over lip coordinates of pearson_t(g, p)",
        "",
        "THUNDER (L-PCC)",
        "higher",
        lip_correlation,
        ("lips",),
    ),
    Metric(
        "opening_correlation",
        "pearson_t(d(g), d(p)), d the distance of the inner-lip centres",
        "",
        "this project",
        "higher",
        opening_correlation,
        ("inner_lips",),
    ),
    Metric(
        "mtm",
        "mean time offset of matched extrema of the smoothed inner-lip gap",
        "ms",
        "arXiv 2503.20308 (MTM)",
        "lower",
        mean_temporal_misalignment,
        ("inner_lips",),
        1000.0,
    ),
    Metric(
        "closure_recall",
        "share of true closures (gap < 2 mm) in which p closes within 1 frame",
        "",
        "this project",
        "higher",
        closure_recall,
        ("inner_lips",),
    ),
)
