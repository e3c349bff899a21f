"""Dynamic time warping, vectorised over anti-diagonals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    total = _accumulate(cost)
    i, j = cost.shape[0] - 1, cost.shape[1] - 1
    path = [(i, j)]
    while i or j:
        # the padded matrix is shifted by one: total[i, j] is the cell before (i, j) on the diagonal
        before = (total[i, j], total[i, j + 1], total[i + 1, j])
        step = before.index(min(before))
        i, j = i - (step != 2), j - (step != 1)
        path.append((i, j))
    return np.array(path[::-1], dtype=np.int64)


def _accumulate(cost: Float64Array) -> Float64Array:
    """(N + 1, M + 1) least cost to each cell, behind a border of infinity; one anti-diagonal at a time."""
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    # Along an anti-diagonal the place in memory grows by one row less one column: all of it are slices.
    cells, costs = total.reshape(-1), np.ascontiguousarray(cost).reshape(-1)
    for diagonal in range(n + m - 1):
        first, last = max(0, diagonal - m + 1), min(n, diagonal + 1) - 1
        before = slice(diagonal + first * m, diagonal + last * m + 1, m)
        best = np.minimum(cells[before], cells[_moved(before, 1)])
        np.minimum(best, cells[_moved(before, m + 1)], out=best)
        best += costs[diagonal + first * (m - 1) : diagonal + last * (m - 1) + 1 : max(1, m - 1)]
        cells[_moved(before, m + 2)] = best
    return total


def _moved(cells: slice, by: int) -> slice:
    return slice(cells.start + by, cells.stop + by, cells.step)
