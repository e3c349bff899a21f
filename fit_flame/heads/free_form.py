"""Smooth free-form directions of a head: low-frequency modes of its mesh's Laplacian, along x, y and z.

The face's vertices resolve the modes; the rest follows as if it were stiff (B. Vallet and B. Levy, "Spectral geometry
processing with manifold harmonics", 2008, with a mass on each vertex). Springs through space tie together what no
edge joins: the mouth's inside to the lips' outside, lids to eyeballs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SHIFT = -1e-3
_SPRING = 4.0


def smooth_modes(
    vertices: Array, faces: IntArray, springs: IntArray, mass: Array, count: int
) -> tuple[Array, Array]:
    """Lowest modes of L v = f M v, the constant one left out.

    The mesh is symmetric in x, so that even and odd modes are found apart: no two of one kind have frequencies so
    near that the last bits of a machine's arithmetic could mix them.

    Parameters
    ----------
    vertices
        (V, 3).
    faces
        (F, 3).
    springs
        (N, 2) further pairs of vertices that move alike.
    mass
        (V,) how finely the modes resolve the surroundings of a vertex.
    count
        How many modes.

    Returns
    -------
    tuple
        Frequencies (count,) and modes (V, count), the largest value of each 1.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    laplacian = _laplacian(faces, springs, len(vertices))
    partner = _mirror(vertices)
    found: list[tuple[float, Array]] = []
    for parity in (1.0, -1.0):
        base = _parity_basis(partner, parity)
        stiff, heavy = base.T @ laplacian @ base, base.T @ diags_array(mass) @ base
        start = np.ones(base.shape[1])
        frequencies, vectors = eigsh(stiff, count, heavy, sigma=_SHIFT, v0=start)
        found += [(float(f), base @ v) for f, v in zip(frequencies, vectors.T, strict=True)]
    found.sort(key=lambda pair: pair[0])
    lowest = found[1 : count + 1]
    modes = np.stack([mode / mode[np.abs(np.round(mode, 9)).argmax()] for _, mode in lowest], axis=1)
    return np.array([frequency for frequency, _ in lowest]), modes


def springs_between(vertices: Array, some: IntArray, others: IntArray, near: float, count: int) -> IntArray:
    """(N, 2) pairs of `some` vertices and the nearest of `others`, `count` at most each, not farther than `near`."""
    from scipy.spatial import KDTree

    distance, found = KDTree(vertices[others]).query(vertices[some], k=np.arange(1, count + 1))
    first = np.repeat(some, count).reshape(len(some), count)
    close = (distance < near) & (others[found] != first)
    return np.stack([first[close], others[found][close]], axis=1)


def _laplacian(faces: IntArray, springs: IntArray, count: int) -> csr_array:
    """Degree minus adjacency; a spring weighs as much as `_SPRING` edges."""
    from scipy.sparse import coo_array, diags_array

    rows = faces[:, [0, 1, 2, 1, 2, 0]].ravel()
    columns = faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    adjacency = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count)).tocsr()
    adjacency.data[:] = 1
    if len(springs):
        ends = np.concatenate([springs, springs[:, ::-1]])
        tied = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(count, count)).tocsr()
        tied.data[:] = _SPRING
        adjacency = adjacency + tied
    return (diags_array(adjacency.sum(axis=1)) - adjacency).tocsr()


def _mirror(vertices: Array) -> IntArray:
    """(V,) the vertex on the other side."""
    from scipy.spatial import KDTree

    partner: IntArray = KDTree(vertices).query(vertices * [-1, 1, 1])[1].astype(np.int64)
    both_ways = partner[partner] == np.arange(len(partner))
    return np.where(both_ways, partner, np.arange(len(partner)))


def _parity_basis(partner: IntArray, parity: float) -> csr_array:
    """(V, n) orthonormal columns that span the even (parity 1) or odd (-1) vectors on the mesh."""
    from scipy.sparse import coo_array

    first = np.arange(len(partner))
    pairs = first[first < partner]
    alone = first[first == partner] if parity > 0 else first[:0]
    half = np.sqrt(0.5)
    rows = np.concatenate([pairs, partner[pairs], alone])
    columns = np.concatenate([np.arange(len(pairs))] * 2 + [len(pairs) + np.arange(len(alone))])
    values = np.concatenate(
        [np.full(len(pairs), half), np.full(len(pairs), parity * half), np.ones(len(alone))]
    )
    return coo_array((values, (rows, columns)), shape=(len(partner), len(pairs) + len(alone))).tocsr()
