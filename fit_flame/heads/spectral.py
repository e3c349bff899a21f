"""Linear bases by construction: the low-frequency modes of a mesh's Laplacian.

B. Vallet and B. Levy, "Spectral geometry processing with manifold harmonics", 2008. A mass on each vertex
says how finely its surroundings are resolved; amplitudes fall with frequency, as those of real faces do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Amplitude:
    """Standard deviation of a mode's coefficient, as a function of its frequency."""

    at_zero: float
    """Metres, for a mode of unit norm and frequency zero."""
    corner: float
    """Frequency from which it falls."""
    power: float
    """How fast it falls."""
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors along x, y, z."""

    def at(self, frequencies: Array) -> Array:
        """Return the standard deviations (K,) for frequencies (K,)."""
        result: Array = self.at_zero * (1 + frequencies / self.corner) ** -self.power
        return result


def spectral_basis(
    vertices: Array, faces: IntArray, mass: Array, modes: tuple[int, int, int], amplitude: Amplitude
) -> Array:
    """(468, 3, sum of modes) displacement per standard deviation, ordered by frequency, then axis."""
    frequencies, vectors = _laplacian_modes(faces, _mirror(vertices), mass, max(modes))
    sigma = amplitude.at(frequencies)
    columns = []
    for k in range(max(modes)):
        for axis in range(3):
            if k < modes[axis]:
                column = np.zeros((len(mass), 3))
                column[:, axis] = vectors[:, k] * sigma[k] * amplitude.axes[axis]
                columns.append(column)
    return np.stack(columns, axis=2)


def _laplacian_modes(faces: IntArray, mirror: IntArray, mass: Array, count: int) -> tuple[Array, Array]:
    """Lowest modes of L v = f M v without the constant one: frequencies (count,), vectors (468, count).

    The mesh is symmetric, so the problem is solved apart for even and odd vectors: no two frequencies of one
    parity lie so near that the last bits of a machine's arithmetic could mix their vectors.
    """
    laplacian = graph_laplacian(faces, len(mass))
    scale = 1 / np.sqrt(mass)
    symmetric = scale[:, None] * laplacian * scale
    found: list[tuple[float, Array]] = []
    for parity in (1.0, -1.0):
        base = _parity_basis(mirror, parity)
        frequencies, vectors = np.linalg.eigh(base.T @ symmetric @ base)
        found += [(float(f), scale * (base @ v)) for f, v in zip(frequencies, vectors.T, strict=True)]
    found.sort(key=lambda pair: pair[0])
    lowest = found[1 : count + 1]
    return np.array([f for f, _ in lowest]), np.stack([_fixed_sign(v) for _, v in lowest], axis=1)


def graph_laplacian(faces: IntArray, count: int) -> Array:
    """Degree minus adjacency of `count` vertices joined by the triangles' edges."""
    adjacency = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacency[faces[:, a], faces[:, b]] = 1
        adjacency[faces[:, b], faces[:, a]] = 1
    laplacian: Array = np.diag(adjacency.sum(axis=1)) - adjacency
    return laplacian


def _parity_basis(mirror: IntArray, parity: float) -> Array:
    """Orthonormal columns that span the even (parity 1) or odd (-1) vectors on the mesh."""
    columns = []
    for i, j in enumerate(mirror):
        if i > j or (i == j and parity < 0):
            continue
        column = np.zeros(len(mirror))
        column[i] += 1
        column[j] += parity if i != j else 0
        columns.append(column / np.linalg.norm(column))
    return np.stack(columns, axis=1)


def _fixed_sign(vector: Array) -> Array:
    """Turn an eigenvector so that its largest component on the picture's right is positive."""
    sums = np.round(np.abs(vector), 6)  # ties between mirrored vertices go to the first, on every machine
    turned: Array = vector * np.sign(vector[sums.argmax()])
    return turned


def _mirror(vertices: Array) -> IntArray:
    """(468,) the vertex on the other side of the face."""
    flipped = vertices * np.array([-1.0, 1.0, 1.0])
    partner: IntArray = np.linalg.norm(flipped[:, None] - vertices[None], axis=2).argmin(axis=1)
    return partner
