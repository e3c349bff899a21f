"""What `vertex_loops` computes, in plain numpy, for machines without numba: the same numbers, in several passes.

Frames are taken some at a time, so that intermediate arrays stay small.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
IdArray = npt.NDArray[np.uintp]

_FRAMES_AT_ONCE = 32


def largest_squared_distance(ground_truth: FloatArray, prediction: FloatArray, ids: IdArray) -> Float64Array:
    """Return the largest squared distance over vertices `ids` of each frame: (T,), NaN where a coordinate is."""
    found = np.zeros(len(ground_truth))
    for part in _parts(len(ground_truth)):
        squares = _squares(ground_truth[part][:, ids] - prediction[part][:, ids])
        found[part] = squares.max(axis=1, initial=0)
    return found


def squared_distances_between_rows(rows: FloatArray, others: FloatArray) -> Float64Array:
    """Squared distances of (T, C) rows from (U, C) others: (T, U)."""
    found = np.empty((len(rows), len(others)))
    for i, row in enumerate(rows):
        differences = others - row
        found[i] = (differences * differences).sum(axis=1)
    return found


def mean_distances(ground_truth: FloatArray, prediction: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Mean distance and mean squared distance over all vertices of each frame: two (T,)."""
    lengths, squared = np.empty(len(ground_truth)), np.empty(len(ground_truth))
    for part in _parts(len(ground_truth)):
        squares = _squares(ground_truth[part] - prediction[part])
        lengths[part] = np.sqrt(squares).mean(axis=1, dtype=np.float64)
        squared[part] = squares.mean(axis=1, dtype=np.float64)
    return lengths, squared


def mean_acceleration(sequence: FloatArray) -> np.float64:
    """Mean length of the second difference over time; NaN below three frames."""
    frames = len(sequence) - 2
    if frames < 1:
        return np.float64(np.nan)
    total = np.float64(0)
    for part in _parts(frames):
        some = sequence[part.start : part.stop + 2]
        changes = (some[2:] - some[1:-1]) - (some[1:-1] - some[:-2])
        total += np.sqrt(_squares(changes)).sum(dtype=np.float64)
    mean: np.float64 = total / (frames * sequence.shape[1])
    return mean


def spread(sequence: FloatArray, ids: IdArray, origin: FloatArray, root: bool) -> Float64Array:
    """Return the spread over time of the vertices' (squared, unless `root`) distances from their origins: (N,)."""
    # Relative to the first frame and in float64: a spread over time is a small difference of larger numbers.
    first = _offsets(sequence[:1], ids, origin, root)
    sums, squares = np.zeros(len(ids)), np.zeros(len(ids))
    for part in _parts(len(sequence)):
        changes = (_offsets(sequence[part], ids, origin, root) - first).astype(np.float64)
        sums += changes.sum(axis=0)
        squares += (changes * changes).sum(axis=0)
    frames = len(sequence)
    return np.sqrt(np.maximum(squares / frames - (sums / frames) ** 2, 0.0))


def _parts(frames: int) -> Iterator[slice]:
    for start in range(0, frames, _FRAMES_AT_ONCE):
        yield slice(start, min(start + _FRAMES_AT_ONCE, frames))


def _squares(vectors: FloatArray) -> FloatArray:
    squares: FloatArray = (vectors * vectors).sum(axis=-1)
    return squares


def _offsets(sequence: FloatArray, ids: IdArray, origin: FloatArray, root: bool) -> FloatArray:
    squares = _squares(sequence[:, ids] - origin)
    return np.sqrt(squares) if root else squares
