"""Closest points on a triangle mesh that face the same way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CANDIDATES = 40  # triangles whose centres are nearest
_OPPOSED = 0.02  # metres by which a triangle that faces elsewhere counts as farther away


class Nearest(NamedTuple):
    """Points on a surface."""

    triangles: IntArray
    """(N,) rows of the surface's triangles."""
    barycentric: Array
    """(N, 3)."""
    points: Array
    """(N, 3)."""


class Surface(NamedTuple):
    """Part of a mesh."""

    faces: IntArray
    """(F, 3) vertex ids."""
    ids: IntArray
    """(F,) their numbers in the whole mesh."""
    corners: Array
    """(F, 3, 3)."""
    normals: Array
    """(F, 3) of unit length."""

    def nearest(self, points: Array, normals: Array) -> Nearest:
        """Find for each point (N, 3) with its normal the closest place that faces the same way."""
        distance = np.linalg.norm(points[:, None] - self.corners.mean(axis=1)[None], axis=2)
        few = min(_CANDIDATES, distance.shape[1]) - 1
        near = np.argpartition(distance, few, axis=1)[:, : few + 1]
        agree = (self.normals[near] * normals[:, None]).sum(axis=2)
        return self._best(points, near, _OPPOSED * np.maximum(0, 0.5 - agree))

    def nearest_touching(self, points: Array, vertices: IntArray) -> Nearest:
        """Find for each point the closest place on the triangles at its vertices (N, 2)."""
        rows = [np.flatnonzero(np.isin(self.faces, pair).any(axis=1)) for pair in vertices]
        widest = max(map(len, rows))
        near = np.stack([np.resize(row, widest) for row in rows])
        return self._best(points, near, np.zeros(near.shape))

    def _best(self, points: Array, near: IntArray, penalty: Array) -> Nearest:
        weights = closest_barycentric(points[:, None], self.corners[near])
        places = (self.corners[near] * weights[..., None]).sum(axis=2)
        best = (np.linalg.norm(places - points[:, None], axis=2) + penalty).argmin(axis=1)
        rows = np.arange(len(points))
        return Nearest(near[rows, best], weights[rows, best], places[rows, best])


def skin(vertices: Array, faces: IntArray) -> Surface:
    """Take the largest connected part of a mesh: FLAME's head without its eyeballs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(faces.size), (faces.ravel(), np.roll(faces, 1, axis=1).ravel())))
    part = connected_components(edges, directed=False)[1]
    ids = np.flatnonzero(part[faces[:, 0]] == np.bincount(part).argmax())
    corners = vertices[faces[ids]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    return Surface(faces[ids], ids, corners, normals)


def vertex_normals(vertices: Array, faces: IntArray) -> Array:
    """(V, 3) unit normals, each triangle weighing by its area."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    unit: Array = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    return unit


def closest_barycentric(points: Array, corners: Array) -> Array:
    """Barycentric weights of the closest point of each triangle.

    Parameters
    ----------
    points
        (..., 3).
    corners
        (..., 3, 3).

    Returns
    -------
    ndarray
        (..., 3) weights >= 0 that sum to 1.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a

    def dot(x: Array, y: Array) -> Array:
        product: Array = (x * y).sum(axis=-1)
        return product

    aa, cc, mixed = dot(ab, ab), dot(ac, ac), dot(ab, ac)
    pb, pc = dot(ap, ab), dot(ap, ac)
    area = (aa * cc - mixed**2).clip(1e-30)
    v, w = (cc * pb - mixed * pc) / area, (aa * pc - mixed * pb) / area
    inside = np.stack([1 - v - w, v, w], axis=-1)
    options = [inside, *(_on_edge(points, corners, k) for k in range(3))]
    away = [np.linalg.norm((corners * o[..., None]).sum(axis=-2) - points, axis=-1) for o in options]
    away[0] = np.where((inside >= 0).all(axis=-1), away[0], np.inf)
    best = np.stack(away).argmin(axis=0)
    weights: Array = np.take_along_axis(np.stack(options), best[None, ..., None], axis=0)[0]
    return weights


def _on_edge(points: Array, corners: Array, k: int) -> Array:
    """Weights of the closest point on the edge from corner k to the next."""
    start, end = corners[..., k, :], corners[..., (k + 1) % 3, :]
    along = end - start
    length = (along**2).sum(axis=-1).clip(1e-30)
    t = (((points - start) * along).sum(axis=-1) / length).clip(0, 1)
    weights = np.zeros((*t.shape, 3))
    weights[..., k], weights[..., (k + 1) % 3] = 1 - t, t
    return weights
