"""Loops over frames and vertices that read each number of a sequence once, and copy none.

A clip of 130 frames of FLAME is 7.8 MB, more than a core's cache holds: what a motion metric costs is the
reading. In numpy every step is another pass, and picking a region's vertices is a copy; `arrays` does it so where
there is no numba.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops import arrays
from multitalk.eval.motion.loops.compiled import compiled, compiled_else

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
IdArray = npt.NDArray[np.integer]

FRAMES_AT_ONCE = 8
"""Frames of which the same vertex is read together, so that memory has several requests to answer at a time."""


def largest_squared_distance(
    ground_truth: FloatArray, prediction: FloatArray, vertices: IdArray
) -> Float64Array:
    """Largest squared distance over some vertices, frame by frame.

    Parameters
    ----------
    ground_truth, prediction
        (T, V, 3).
    vertices
        (N,) ids, N >= 1.

    Returns
    -------
    array
        (T,) in the unit's square; NaN where a coordinate is.

    Raises
    ------
    IndexError
        The shapes differ, or an id is none of the V vertices.
    """
    true, predicted = _readable_pair(ground_truth, prediction)
    return _largest_squared_distance(true, predicted, _ids_of(vertices, true))


def spread_of_squared_offsets(sequence: FloatArray, vertices: IdArray, origin: FloatArray) -> Float64Array:
    """Measure how far some vertices' squared distance from their origins spreads: its standard deviation.

    Parameters
    ----------
    sequence
        (T, V, 3), T >= 1.
    vertices
        (N,) ids.
    origin
        (N, 3) where each of them is measured from.

    Returns
    -------
    array
        (N,) over time with ddof 0, in the unit's square.

    Raises
    ------
    IndexError
        An id is none of the V vertices, or there are not as many origins.
    """
    return _spread(sequence, vertices, origin, root=False)


def spread_of_offsets(sequence: FloatArray, vertices: IdArray, origin: FloatArray) -> Float64Array:
    """Do as `spread_of_squared_offsets` with the distance itself: (N,) in the sequence's unit."""
    return _spread(sequence, vertices, origin, root=True)


def mean_distances(ground_truth: FloatArray, prediction: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Mean distance and mean squared distance over all vertices of (T, V, 3) and (T, V, 3): two (T,).

    Raises
    ------
    IndexError
        The shapes differ.
    """
    return _mean_distances(*_readable_pair(ground_truth, prediction))


def mean_acceleration(sequence: FloatArray) -> float:
    """Mean length of the second difference over time of (T, V, 3); NaN below three frames."""
    return float(_mean_acceleration(_readable(sequence)))


def squared_distances_between_frames(sequence: FloatArray, other: FloatArray) -> Float64Array:
    """Squared distances of every frame of one sequence from every frame of another, summed over vertices.

    Parameters
    ----------
    sequence, other
        (T, 3, N) and (U, 3, N), as `multitalk.eval.motion.metric.gather` gives them; or any other numbers by frame.

    Returns
    -------
    array
        (T, U) in the unit's square.

    Raises
    ------
    ValueError
        The numbers of a frame are not as many in both.
    """
    rows, others = sequence.reshape(len(sequence), -1), other.reshape(len(other), -1)
    if rows.shape[1] != others.shape[1]:
        raise ValueError(f"frames {sequence.shape[1:]} and {other.shape[1:]} differ")
    return _squared_distances_between_rows(np.ascontiguousarray(rows), np.ascontiguousarray(others))


def _spread(sequence: FloatArray, vertices: IdArray, origin: FloatArray, *, root: bool) -> Float64Array:
    if len(sequence) == 0 or origin.shape != (len(vertices), 3):
        raise IndexError(
            f"{len(sequence)} frames and origins {origin.shape} must be 1 or more and {(len(vertices), 3)}"
        )
    values = _readable(sequence)
    return _spread_loop(values, _ids_of(vertices, values), np.ascontiguousarray(origin, values.dtype), root)


# The loops look at no bounds, so everything that they are given is looked at here.


def _readable_pair(ground_truth: FloatArray, prediction: FloatArray) -> tuple[FloatArray, FloatArray]:
    if ground_truth.shape != prediction.shape:
        raise IndexError(f"ground truth {ground_truth.shape} and prediction {prediction.shape} differ")
    return _readable(ground_truth), _readable(prediction)


def _readable(sequence: FloatArray) -> FloatArray:
    """As rows in memory, in one of two types: the loops are compiled for each type that they are given."""
    if sequence.ndim != 3 or sequence.shape[2] != 3:
        raise IndexError(f"vertices {sequence.shape} must be (T, V, 3)")
    return np.ascontiguousarray(sequence, np.float32 if sequence.dtype == np.float32 else np.float64)


def _ids_of(vertices: IdArray, sequence: FloatArray) -> npt.NDArray[np.uintp]:
    """Ids that are safe to read without a further look, unsigned: no loop has to try for negative ones."""
    ids = np.asarray(vertices)
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < sequence.shape[1]:
        raise IndexError(f"vertex ids must be from 0 to {sequence.shape[1] - 1}")
    return ids.astype(np.uintp)


@compiled_else(arrays.largest_squared_distance)
def _largest_squared_distance(
    ground_truth: FloatArray, prediction: FloatArray, ids: npt.NDArray[np.uintp]
) -> Float64Array:
    frames = len(ground_truth)
    largest, totals = np.zeros(frames, ground_truth.dtype), np.zeros(frames, ground_truth.dtype)
    for start in range(0, frames, FRAMES_AT_ONCE):
        stop = min(start + FRAMES_AT_ONCE, frames)
        for v in ids:
            for t in range(start, stop):
                square = _squared_distance(ground_truth, prediction, t, v)
                largest[t] = max(largest[t], square)
                totals[t] += square
    return np.where(
        np.isnan(totals), np.float64(np.nan), largest
    )  # a maximum passes over NaN, a sum does not


@compiled_else(arrays.squared_distances_between_rows)
def _squared_distances_between_rows(rows: FloatArray, others: FloatArray) -> Float64Array:
    squares = np.empty((len(rows), len(others)))
    for i in range(len(rows)):
        for j in range(len(others)):
            square = rows.dtype.type(0)
            for c in range(rows.shape[1]):
                difference = rows[i, c] - others[j, c]
                square += difference * difference
            squares[i, j] = square
    return squares


@compiled_else(arrays.mean_distances)
def _mean_distances(ground_truth: FloatArray, prediction: FloatArray) -> tuple[Float64Array, Float64Array]:
    frames, vertex_count = ground_truth.shape[:2]
    lengths, squares = np.empty(frames), np.empty(frames)
    for t in range(frames):
        length, square_sum = np.float64(0), np.float64(0)
        for v in range(vertex_count):
            square = _squared_distance(ground_truth, prediction, t, v)
            length += np.sqrt(square)
            square_sum += square
        lengths[t], squares[t] = length / vertex_count, square_sum / vertex_count
    return lengths, squares


@compiled_else(arrays.mean_acceleration)
def _mean_acceleration(sequence: FloatArray) -> np.float64:
    frames, vertex_count = len(sequence) - 2, sequence.shape[1]
    if frames < 1:
        return np.float64(np.nan)
    rows = sequence.reshape(len(sequence), -1)
    squares = np.empty(rows.shape[1], rows.dtype)  # two plain loops, each of which runs over whole vectors
    total = np.float64(0)
    for t in range(frames):
        before, here, after = rows[t], rows[t + 1], rows[t + 2]
        for c in range(len(squares)):
            change = (after[c] - here[c]) - (here[c] - before[c])
            squares[c] = change * change
        for v in range(vertex_count):
            total += np.sqrt(squares[3 * v] + squares[3 * v + 1] + squares[3 * v + 2])
    mean: np.float64 = total / (frames * vertex_count)
    return mean


@compiled_else(arrays.spread)
def _spread_loop(
    sequence: FloatArray, ids: npt.NDArray[np.uintp], origin: FloatArray, root: bool
) -> Float64Array:
    # Relative to the first frame and in float64: a spread over time is a small difference of larger numbers.
    frames, count = len(sequence), len(ids)
    first = np.empty(count, sequence.dtype)
    sums, squares = np.zeros(count), np.zeros(count)
    for k in range(count):
        first[k] = _offset(sequence, 0, ids[k], origin, k, root)
    whole = frames - frames % FRAMES_AT_ONCE
    for start in range(0, whole, FRAMES_AT_ONCE):
        for k in range(count):
            total = square = 0.0
            for j in range(FRAMES_AT_ONCE):
                change = np.float64(_offset(sequence, start + j, ids[k], origin, k, root) - first[k])
                total += change
                square += change * change
            sums[k] += total
            squares[k] += square
    for t in range(whole, frames):
        for k in range(count):
            change = np.float64(_offset(sequence, t, ids[k], origin, k, root) - first[k])
            sums[k] += change
            squares[k] += change * change
    return np.sqrt(np.maximum(squares / frames - (sums / frames) ** 2, 0.0))


@compiled
def _offset(
    sequence: FloatArray, t: int, vertex: np.uintp, origin: FloatArray, k: int, root: bool
) -> np.floating:
    x = sequence[t, vertex, 0] - origin[k, 0]
    y = sequence[t, vertex, 1] - origin[k, 1]
    z = sequence[t, vertex, 2] - origin[k, 2]
    square: np.floating = x * x + y * y + z * z
    return np.sqrt(square) if root else square


@compiled
def _squared_distance(ground_truth: FloatArray, prediction: FloatArray, t: int, vertex: int) -> np.floating:
    x = ground_truth[t, vertex, 0] - prediction[t, vertex, 0]
    y = ground_truth[t, vertex, 1] - prediction[t, vertex, 1]
    z = ground_truth[t, vertex, 2] - prediction[t, vertex, 2]
    square: np.floating = x * x + y * y + z * z
    return square
