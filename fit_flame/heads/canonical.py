"""The bundled `canonical` head model: MediaPipe's canonical face mesh in FLAME's parametrisation.

The mesh (468 vertices, Apache-2.0) comes inside `face_landmarker.task`. What FLAME learnt from scans is put
in its place by construction: identity and expression are the low-frequency modes of the mesh's Laplacian
(`multitalk.fit_flame.heads.spectral`), expression resolved finest at mouth, eyes and brows; the jaw's skinning
weights are harmonic between lower lip and chin (1) and the upper face (0). Ten vertices on two eyeballs carry the
irises.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.canonical_mesh import CanonicalMesh, read_canonical_mesh
from multitalk.fit_flame.heads.head_model import LEFT_EYE, RIGHT_EYE, HeadModel, LandmarkEmbedding
from multitalk.fit_flame.heads.spectral import Amplitude, graph_laplacian, spectral_basis
from multitalk.ground import landmark_layout as layout

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RECIPE = "canonical-3"
"""Part of the hash: change it whenever the construction changes the coefficients' meaning."""

IDENTITY_MODES = (170, 170, 40)  # along x, y, z: depth is hardly seen
EXPRESSION_MODES = (42, 50, 8)  # depth moves little in speech, too; brows and lids move up and down
JAW_HINGE = np.array([0.0, -0.01, -0.02])  # between the ears, metres
EYE_RADIUS, IRIS_RADIUS = 0.012, 0.0059  # metres, human averages


# Read off the landmarks of 25 short clips of 12 speakers, projected on the modes.
IDENTITY_AMPLITUDE = Amplitude(0.040, 0.4, 1.2)
EXPRESSION_AMPLITUDE = Amplitude(0.025, 0.2, 1.5, (1.0, 1.0, 0.4))


def canonical_head_model(task_file: Path) -> HeadModel:
    """Build the `canonical` head model from MediaPipe's bundle.

    Parameters
    ----------
    task_file
        Path of `face_landmarker.task`.

    Returns
    -------
    HeadModel
        478 vertices: the 468 of the mesh and the irises 468 to 477, so landmarks map 1:1.

    Raises
    ------
    HeadModelError
        When the file is not such a bundle.
    """
    mesh = read_canonical_mesh(task_file)
    faces = _open_mouth_and_eyes(mesh.faces)
    identity = spectral_basis(
        mesh.vertices, faces, _identity_emphasis(mesh), IDENTITY_MODES, IDENTITY_AMPLITUDE
    )
    expression = spectral_basis(
        mesh.vertices, faces, _expression_emphasis(mesh), EXPRESSION_MODES, EXPRESSION_AMPLITUDE
    )
    jaw = _jaw_weights(mesh, faces)
    rigid = _turns(mesh.vertices - mesh.vertices.mean(axis=0), np.ones_like(jaw))
    identity = _without(identity, [*rigid, *_shifts(mesh), mesh.vertices - mesh.vertices.mean(axis=0)])
    expression = _without(expression, [*rigid, *_shifts(mesh), *_turns(mesh.vertices - JAW_HINGE, jaw)])
    weights = np.stack([1 - jaw, 0 * jaw, jaw, 0 * jaw, 0 * jaw], axis=1)
    vertices, eyes = _with_irises(mesh.vertices)
    return HeadModel(
        name="canonical",
        hash=hashlib.sha256(f"{RECIPE}:{mesh.sha256}".encode()).hexdigest()[:16],
        v_template=vertices.astype(np.float32),
        faces=np.concatenate([faces, _iris_faces()]),
        shapedirs=_extend_to_irises(identity).astype(np.float32),
        expressiondirs=np.concatenate([expression, np.zeros((10, *expression.shape[1:]))]).astype(np.float32),
        posedirs=np.zeros((layout.LANDMARK_COUNT, 3, 36), np.float32),
        joint_regressor=_joint_regressor(vertices, eyes).astype(np.float32),
        skinning_weights=np.concatenate([weights, _iris_weights()]).astype(np.float32),
        embedding=_one_to_one_embedding(),
    )


def _open_mouth_and_eyes(faces: IntArray) -> IntArray:
    """Drop the triangles that fill mouth and eyes, so that lips and lids move apart."""
    holes = (layout.INNER_LIPS, layout.LEFT_EYE, layout.RIGHT_EYE)
    filling = np.any([np.isin(faces, ring).all(axis=1) for ring in holes], axis=0)
    open_faces: IntArray = faces[~filling]
    return open_faces


def _identity_emphasis(mesh: CanonicalMesh) -> Array:
    """(468,) mass of each vertex: the heavier, the finer the modes resolve its surroundings.

    Lips and brows are resolved finer than expression resolves them, so that what a person's face always bears there
    does not end as expression.
    """
    return 1 + _near_features(mesh, lips=3, eyes=1, brows=2)


def _expression_emphasis(mesh: CanonicalMesh) -> Array:
    """(468,) likewise for expression."""
    return 1 + _near_features(mesh, lips=4, eyes=2, brows=8)


def _near_features(mesh: CanonicalMesh, *, lips: float, eyes: float, brows: float) -> Array:
    """(468,) so much on lips, lids and brows, less around them."""
    features = (
        (lips, layout.LIPS),
        (eyes, layout.LEFT_EYE + layout.RIGHT_EYE),
        (brows, layout.LEFT_BROW + layout.RIGHT_BROW),
    )
    near: Array = np.sum([mass * _nearness(mesh.vertices, ids) for mass, ids in features], axis=0)
    return near


def _nearness(vertices: Array, ids: tuple[int, ...]) -> Array:
    distance = np.linalg.norm(vertices[:, None] - vertices[list(ids)][None], axis=2).min(axis=1)
    nearness: Array = np.exp(-((distance / 0.01) ** 2))
    return nearness


def _turns(points: Array, share: Array) -> list[Array]:
    """Three fields (468, 3): a small turn about each axis, applied in part."""
    return [share[:, None] * np.cross(axis, points) for axis in np.eye(3)]


def _shifts(mesh: CanonicalMesh) -> list[Array]:
    """Three fields (468, 3): a shift along each axis."""
    return [np.tile(axis, (len(mesh.vertices), 1)) for axis in np.eye(3)]


def _without(basis: Array, fields: list[Array]) -> Array:
    """Take out of a basis (468, 3, K) what pose, scale or jaw can do, so that they are told apart."""
    directions = np.linalg.qr(np.stack([field.ravel() for field in fields], axis=1))[0]
    flat = basis.reshape(directions.shape[0], -1)
    left: Array = (flat - directions @ (directions.T @ flat)).reshape(basis.shape)
    return left


def _jaw_weights(mesh: CanonicalMesh, faces: IntArray) -> Array:
    """(468,) share of the jaw joint: 1 on lower lip and chin, 0 on the upper face, harmonic between."""
    x, y, z = mesh.vertices.T
    upper_lip = {*layout.INNER_LIPS[11:], *layout.OUTER_LIPS[11:]}
    lower_lip = {*layout.INNER_LIPS[1:10], *layout.OUTER_LIPS[1:10]}
    moved = np.isin(np.arange(len(x)), list(lower_lip)) | ((y < -0.058) & (np.abs(x) < 0.03))
    fixed = np.isin(np.arange(len(x)), list(upper_lip)) | (y > -0.022) | (z < -0.015)
    known = moved | fixed
    laplacian = graph_laplacian(faces, len(x))
    weights = moved.astype(np.float64)
    free = ~known
    weights[free] = np.linalg.solve(laplacian[free][:, free], -laplacian[free][:, known] @ weights[known])
    clipped: Array = np.clip(weights, 0, 1)
    return clipped


def _with_irises(vertices: Array) -> tuple[Array, Array]:
    """Add the ten iris vertices; also return both eyeballs' centres, left then right, (2, 3)."""
    centres, irises = [], []
    rim = IRIS_RADIUS * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], np.float64)
    for ring, outward in ((layout.LEFT_EYE, 1.0), (layout.RIGHT_EYE, -1.0)):
        lids = vertices[list(ring)].mean(axis=0)
        centre = lids - np.array([0, 0, 0.8 * EYE_RADIUS])
        offset = rim * [outward, 1]
        depth = np.sqrt(EYE_RADIUS**2 - (offset**2).sum(axis=1))
        centres.append(centre)
        irises.append(centre + np.column_stack([offset, depth]))
    left, right = irises
    return np.concatenate([vertices, right, left]), np.stack(centres)


def _extend_to_irises(basis: Array) -> Array:
    """Let the irises follow the mean of their lids, as a rigid eyeball does when identity changes."""
    right = basis[list(layout.RIGHT_EYE)].mean(axis=0, keepdims=True)
    left = basis[list(layout.LEFT_EYE)].mean(axis=0, keepdims=True)
    return np.concatenate([basis, right.repeat(5, axis=0), left.repeat(5, axis=0)])


def _iris_faces() -> IntArray:
    """(8, 3) fans around the irises' centres; the left rim runs the other way round."""
    right = [[468, 468 + 1 + (k + 1) % 4, 468 + 1 + k] for k in range(4)]
    left = [[473, 473 + 1 + k, 473 + 1 + (k + 1) % 4] for k in range(4)]
    return np.array(right + left, np.int64)


def _iris_weights() -> Array:
    weights = np.zeros((10, 5))
    weights[:5, RIGHT_EYE] = weights[5:, LEFT_EYE] = 1
    return weights


def _joint_regressor(vertices: Array, eyes: Array) -> Array:
    """(5, 478) rows that sum to 1 and give each joint as a combination of nearby vertices (478, 3)."""
    everywhere = tuple(range(layout.MESH_COUNT))
    ears = tuple(i for i in layout.FACE_OVAL if abs(vertices[i, 0]) > 0.06)
    joints = (
        (np.array([0.0, -0.04, -0.06]), everywhere),
        (np.array([0.0, -0.04, -0.06]), everywhere),
        (JAW_HINGE, ears),
        (eyes[0], tuple(layout.LEFT_IRIS)),  # not on the lids, which move with expression
        (eyes[1], tuple(layout.RIGHT_IRIS)),
    )
    regressor = np.zeros((5, layout.LANDMARK_COUNT))
    for row, (joint, support) in zip(regressor, joints, strict=True):
        row[list(support)] = _affine_combination(vertices[list(support)], joint)
    return regressor


def _affine_combination(points: Array, target: Array) -> Array:
    """Weights nearest to uniform that sum to 1 and combine the points to the target."""
    constraints = np.vstack([points.T, np.ones(len(points))])
    uniform = np.full(len(points), 1 / len(points))
    wanted = np.append(target, 1.0) - constraints @ uniform
    weights: Array = uniform + np.linalg.lstsq(constraints, wanted, rcond=1e-6)[0]
    return weights


def _one_to_one_embedding() -> LandmarkEmbedding:
    landmarks = np.arange(layout.MESH_COUNT)
    return LandmarkEmbedding(
        landmarks=landmarks,
        vertices=np.repeat(landmarks[:, None], 3, axis=1),
        barycentric=np.tile(np.array([1, 0, 0], np.float32), (layout.MESH_COUNT, 1)),
        iris_vertices=np.arange(layout.MESH_COUNT, layout.LANDMARK_COUNT),
    )
