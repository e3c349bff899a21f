"""Dynamic time warping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops.compiled import compiled

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def warping_path(cost: Float64Array) -> IntArray:
    """Cheapest monotone path through a cost matrix, with steps (1, 0), (0, 1) and (1, 1) of equal weight.

    Parameters
    ----------
    cost
        (N, M) cost of matching step i of one sequence with step j of the other.

    Returns
    -------
    array
        (P, 2) pairs (i, j) from (0, 0) to (N - 1, M - 1). Between equal ways the diagonal is taken.

    Raises
    ------
    ValueError
        The matrix is empty.
    """
    if cost.ndim != 2 or cost.size == 0:
        raise ValueError(f"a cost matrix (N, M) with N, M >= 1 is needed, not {cost.shape}")
    return _path_back(_least_costs(np.ascontiguousarray(cost, dtype=np.float64)))


@compiled
def _least_costs(cost: Float64Array) -> Float64Array:
    """(N + 1, M + 1) least cost to each cell, behind a border of infinity."""
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return total


@compiled
def _path_back(total: Float64Array) -> IntArray:
    i, j = total.shape[0] - 2, total.shape[1] - 2
    path = np.zeros((i + j + 1, 2), np.int64)
    length = 1
    path[0] = i, j
    while i or j:
        # the border shifts cells by one: total[i, j] is the cell before (i, j) on the diagonal
        diagonal, up, left = total[i, j], total[i, j + 1], total[i + 1, j]
        if i and j and diagonal <= up and diagonal <= left:
            i, j = i - 1, j - 1
        elif j == 0 or (i and up <= left):
            i -= 1
        else:
            j -= 1
        path[length] = i, j
        length += 1
    return path[:length][::-1].copy()
