"""MediaPipe's 468 points on FLAME's surface, by registering the canonical face mesh to FLAME's mean head.

Non-rigid iterative closest points (B. Amberg, S. Romdhani, T. Vetter, "Optimal step nonrigid ICP algorithms for
surface registration", 2007) with displacements whose second differences are small: the mesh bends smoothly
towards the surface, ever less stiff, while anatomy holds lids, lips and profile
(`multitalk.fit_flame.landmarks.flame_anchors`). Needs a FLAME file and nothing else that is licensed; the result may be
passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.canonical_mesh import CanonicalMesh
from multitalk.fit_flame.heads.flame_file import write_npz
from multitalk.fit_flame.heads.spectral import graph_laplacian
from multitalk.fit_flame.heads.surface import skin, vertex_normals
from multitalk.fit_flame.landmarks.flame_anchors import Anchors, anchors

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.6, 0.3, 0.3, 0.3)  # one iteration each
_ANCHOR_WEIGHT = 4.0
_SLIDE_WEIGHT = 0.03  # along the surface a closest point says little


@dataclass(frozen=True, slots=True)
class Registration:
    """MediaPipe's 468 points on FLAME's surface."""

    triangles: IntArray
    """(468,) FLAME's triangle under each point."""
    barycentric: Array
    """(468, 3) weights of its corners, rows sum to 1."""
    distance: Array
    """(468,) metres from where the bent canonical mesh left each point to the surface."""
    scale: float
    """Size of FLAME's face beside the canonical one."""

    def points(self, vertices: Array, faces: IntArray) -> Array:
        """(468, 3) on FLAME's vertices (5023, 3)."""
        placed: Array = (vertices[faces[self.triangles]] * self.barycentric[..., None]).sum(axis=1)
        return placed


def register(mesh: CanonicalMesh, template: Array, faces: IntArray) -> Registration:
    """Lay the canonical mesh on FLAME's mean head.

    Parameters
    ----------
    mesh
        MediaPipe's canonical mesh.
    template
        (5023, 3) FLAME's mean head, metres.
    faces
        (9976, 3) its triangles.
    """
    surface = skin(template, faces)
    fixed = anchors(mesh.vertices, template, np.unique(surface.faces))
    start, scale = _aligned(mesh.vertices, fixed)
    laplacian = graph_laplacian(mesh.faces, len(start))
    bending: Array = laplacian / np.diag(laplacian)[:, None]
    moved = start + _bend(bending, start, fixed, np.zeros((len(start), 3, 3)), start, _STIFFNESS[0])
    for stiffness in _STIFFNESS:
        found = surface.nearest(moved, vertex_normals(moved, mesh.faces))
        outward = surface.normals[found.triangles]
        pull = outward[:, :, None] * outward[:, None] + _SLIDE_WEIGHT * np.eye(3)
        moved = start + _bend(bending, start, fixed, pull, found.points, stiffness)
    found = surface.nearest(moved, vertex_normals(moved, mesh.faces))
    triangles, barycentric = surface.ids[found.triangles], found.barycentric
    held = surface.nearest_touching(fixed.points, fixed.segments)
    triangles[fixed.landmarks], barycentric[fixed.landmarks] = surface.ids[held.triangles], held.barycentric
    distance = np.linalg.norm(moved - found.points, axis=1)
    distance[fixed.landmarks] = np.linalg.norm(moved[fixed.landmarks] - held.points, axis=1)
    return Registration(triangles, barycentric, distance, scale)


def _aligned(vertices: Array, fixed: Anchors) -> tuple[Array, float]:
    """Turn, scale and shift the mesh so that its anchors lie on FLAME's, in the least-squares sense."""
    source, target = vertices[fixed.landmarks], fixed.points
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    u, s, vt = np.linalg.svd((target - goal).T @ (source - middle))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = float((s * sign).sum() / ((source - middle) ** 2).sum())
    aligned: Array = scale * (vertices - middle) @ (u * sign @ vt).T + goal
    return aligned, scale


def _bend(
    bending: Array, start: Array, fixed: Anchors, pull: Array, targets: Array, stiffness: float
) -> Array:
    """(468, 3) displacements: smooth, drawn to the targets by `pull` (468, 3, 3) and to the anchors."""
    count = len(start)
    smooth: Array = stiffness * bending.T @ bending
    normal = np.zeros((count, 3, count, 3))
    for axis in range(3):
        normal[:, axis, :, axis] = smooth
    pull, wanted = pull.copy(), np.array(targets - start)
    pull[fixed.landmarks] = _ANCHOR_WEIGHT * np.eye(3)
    wanted[fixed.landmarks] = fixed.points - start[fixed.landmarks]
    rows = np.arange(count)
    normal[rows, :, rows] += pull
    right = (pull @ wanted[..., None])[..., 0].ravel()
    displacement = np.linalg.solve(normal.reshape(3 * count, -1), right)
    shaped: Array = np.asarray(displacement, np.float64).reshape(count, 3)
    return shaped


def write_registration(found: Registration, place: Path) -> None:
    """Write an embedding in the layout of FLAME's own `mediapipe_landmark_embedding.npz`."""
    write_npz(
        place,
        {
            "lmk_face_idx": found.triangles.astype(np.uint32),
            "lmk_b_coords": found.barycentric,
            "landmark_indices": np.arange(len(found.triangles)),
        },
    )
