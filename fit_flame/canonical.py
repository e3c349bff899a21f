"""The bundled `canonical` head model: MediaPipe's canonical face mesh in FLAME's parametrisation.

The mesh (468 vertices, Apache-2.0) comes inside `face_landmarker.task`. What FLAME learnt from scans is put
in its place by construction: identity and expression are the low-frequency modes of the mesh's Laplacian
(P. Vallet and B. Levy, "Spectral geometry processing with manifold harmonics", 2008) with amplitudes that
fall with frequency, expression resolved finest at mouth, eyes and brows; the jaw's skinning weights are
harmonic between lower lip and chin (1) and the upper face (0). Ten vertices on two eyeballs carry the irises.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fit_flame import landmark_layout as layout
from fit_flame.head_model import LEFT_EYE, RIGHT_EYE, HeadModel, HeadModelError, LandmarkEmbedding

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_METADATA = "geometry_pipeline_metadata_landmarks.binarypb"
_RECIPE = (
    "canonical-1"  # part of the hash: change it whenever the construction changes the coefficients' meaning
)
_VERTEX_FLOATS = 5  # x, y, z, u, v

IDENTITY_MODES = (120, 120, 40)  # along x, y, z: depth is hardly seen
EXPRESSION_MODES = (40, 40, 10)  # depth moves little in speech, too
JAW_HINGE = np.array([0.0, -0.01, -0.02])  # between the ears, metres
EYE_RADIUS, IRIS_RADIUS = 0.012, 0.0059  # metres, human averages


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
        """Standard deviations (K,) for frequencies (K,)."""
        result: Array = self.at_zero * (1 + frequencies / self.corner) ** -self.power
        return result


# Read off the landmarks of 25 short clips of 12 speakers, projected on the modes.
IDENTITY_AMPLITUDE = Amplitude(0.040, 0.4, 1.2)
EXPRESSION_AMPLITUDE = Amplitude(0.025, 0.2, 1.5, (1.0, 1.0, 0.4))


@dataclass(frozen=True, slots=True)
class CanonicalMesh:
    """MediaPipe's canonical face mesh."""

    vertices: Array
    """(468, 3) metres, x right in the picture, y up, z out of the face."""
    uv: Array
    """(468, 2) texture coordinates."""
    faces: IntArray
    """(898, 3) triangles; mouth and eyes are filled."""
    sha256: str
    """Of the metadata file inside the archive."""


def read_canonical_mesh(task_file: Path) -> CanonicalMesh:
    """Read the canonical mesh out of `face_landmarker.task`.

    Parameters
    ----------
    task_file
        MediaPipe's Face Landmarker bundle, a zip archive.

    Raises
    ------
    HeadModelError
        When the file is not such a bundle, or its mesh is not the known one.
    """
    try:
        with zipfile.ZipFile(task_file) as bundle:
            data = bundle.read(_METADATA)
        mesh = next(v for field, v in _fields(memoryview(data)) if field == 1 and not isinstance(v, int))
        vertices = _repeated_floats(mesh, 3).reshape(-1, _VERTEX_FLOATS)
        faces = np.array(_repeated_varints(mesh, 4), np.int64).reshape(-1, 3)
    except (OSError, zipfile.BadZipFile, KeyError, StopIteration, ValueError, IndexError) as error:
        raise HeadModelError(
            f"cannot read the canonical face mesh from {task_file}: {error}; "
            "fetch it again with `multitalk assets fetch face_landmarker`"
        ) from error
    if vertices.shape[0] != layout.MESH_COUNT or faces.size == 0 or faces.max() >= layout.MESH_COUNT:
        raise HeadModelError(f"{task_file} holds a mesh of {len(vertices)} vertices instead of 468")
    return CanonicalMesh(vertices[:, :3] * 0.01, vertices[:, 3:], faces, hashlib.sha256(data).hexdigest())


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
    identity = _spectral_basis(mesh, faces, _identity_emphasis(mesh), IDENTITY_MODES, IDENTITY_AMPLITUDE)
    expression = _spectral_basis(
        mesh, faces, _expression_emphasis(mesh), EXPRESSION_MODES, EXPRESSION_AMPLITUDE
    )
    jaw = _jaw_weights(mesh, faces)
    rigid = _turns(mesh.vertices - mesh.vertices.mean(axis=0), np.ones_like(jaw))
    identity = _without(identity, [*rigid, *_shifts(mesh), mesh.vertices - mesh.vertices.mean(axis=0)])
    expression = _without(expression, [*rigid, *_shifts(mesh), *_turns(mesh.vertices - JAW_HINGE, jaw)])
    weights = np.stack([1 - jaw, 0 * jaw, jaw, 0 * jaw, 0 * jaw], axis=1)
    vertices, eyes = _with_irises(mesh.vertices)
    return HeadModel(
        name="canonical",
        hash=hashlib.sha256(f"{_RECIPE}:{mesh.sha256}".encode()).hexdigest()[:16],
        v_template=vertices.astype(np.float32),
        faces=np.concatenate([faces, _iris_faces()]),
        shapedirs=_extend_to_irises(identity).astype(np.float32),
        expressiondirs=np.concatenate([expression, np.zeros((10, *expression.shape[1:]))]).astype(np.float32),
        posedirs=np.zeros((layout.LANDMARK_COUNT, 3, 36), np.float32),
        joint_regressor=_joint_regressor(mesh.vertices, eyes).astype(np.float32),
        skinning_weights=np.concatenate([weights, _iris_weights()]).astype(np.float32),
        embedding=_one_to_one_embedding(),
    )


def _open_mouth_and_eyes(faces: IntArray) -> IntArray:
    """Drop the triangles that fill mouth and eyes, so that lips and lids move apart."""
    holes = (layout.INNER_LIPS, layout.LEFT_EYE, layout.RIGHT_EYE)
    filling = np.any([np.isin(faces, ring).all(axis=1) for ring in holes], axis=0)
    return faces[~filling]


def _identity_emphasis(mesh: CanonicalMesh) -> Array:
    """(468,) mass of each vertex: the heavier, the finer the modes resolve its surroundings."""
    return 1 + _nearness(mesh.vertices, layout.LEFT_EYE + layout.RIGHT_EYE)


def _expression_emphasis(mesh: CanonicalMesh) -> Array:
    """(468,) likewise for expression."""
    eyes, brows = layout.LEFT_EYE + layout.RIGHT_EYE, layout.LEFT_BROW + layout.RIGHT_BROW
    near_eyes = _nearness(mesh.vertices, eyes) + 2 * _nearness(mesh.vertices, brows)
    return 1 + 3 * _nearness(mesh.vertices, layout.LIPS) + near_eyes


def _nearness(vertices: Array, ids: tuple[int, ...]) -> Array:
    distance = np.linalg.norm(vertices[:, None] - vertices[list(ids)][None], axis=2).min(axis=1)
    nearness: Array = np.exp(-((distance / 0.01) ** 2))
    return nearness


def _spectral_basis(
    mesh: CanonicalMesh, faces: IntArray, mass: Array, modes: tuple[int, int, int], amplitude: Amplitude
) -> Array:
    """(468, 3, sum of modes) displacement per standard deviation, ordered by frequency, then axis."""
    frequencies, vectors = _laplacian_modes(faces, _mirror(mesh.vertices), mass, max(modes))
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
    laplacian = _graph_laplacian(faces, len(mass))
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


def _graph_laplacian(faces: IntArray, count: int) -> Array:
    adjacency = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacency[faces[:, a], faces[:, b]] = 1
        adjacency[faces[:, b], faces[:, a]] = 1
    return np.diag(adjacency.sum(axis=1)) - adjacency


def _mirror(vertices: Array) -> IntArray:
    """(468,) the vertex on the other side of the face."""
    flipped = vertices * np.array([-1.0, 1.0, 1.0])
    return np.linalg.norm(flipped[:, None] - vertices[None], axis=2).argmin(axis=1)


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
    return vector * np.sign(vector[sums.argmax()])


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
    return (flat - directions @ (directions.T @ flat)).reshape(basis.shape)


def _jaw_weights(mesh: CanonicalMesh, faces: IntArray) -> Array:
    """(468,) share of the jaw joint: 1 on lower lip and chin, 0 on the upper face, harmonic between."""
    x, y, z = mesh.vertices.T
    upper_lip = {*layout.INNER_LIPS[11:], *layout.OUTER_LIPS[11:]}
    lower_lip = {*layout.INNER_LIPS[1:10], *layout.OUTER_LIPS[1:10]}
    moved = np.isin(np.arange(len(x)), list(lower_lip)) | ((y < -0.058) & (np.abs(x) < 0.03))
    fixed = np.isin(np.arange(len(x)), list(upper_lip)) | (y > -0.022) | (z < -0.015)
    known = moved | fixed
    laplacian = _graph_laplacian(faces, len(x))
    weights = moved.astype(np.float64)
    free = ~known
    weights[free] = np.linalg.solve(laplacian[free][:, free], -laplacian[free][:, known] @ weights[known])
    return np.clip(weights, 0, 1)


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
    """(5, 478) rows that sum to 1 and give each joint as a combination of nearby mesh vertices."""
    everywhere = tuple(range(layout.MESH_COUNT))
    ears = tuple(i for i in layout.FACE_OVAL if abs(vertices[i, 0]) > 0.06)
    joints = (
        (np.array([0.0, -0.04, -0.06]), everywhere),
        (np.array([0.0, -0.04, -0.06]), everywhere),
        (JAW_HINGE, ears),
        (eyes[0], layout.LEFT_EYE),
        (eyes[1], layout.RIGHT_EYE),
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
    return uniform + np.linalg.lstsq(constraints, wanted, rcond=1e-6)[0]


def _one_to_one_embedding() -> LandmarkEmbedding:
    landmarks = np.arange(layout.MESH_COUNT)
    return LandmarkEmbedding(
        landmarks=landmarks,
        vertices=np.repeat(landmarks[:, None], 3, axis=1),
        barycentric=np.tile(np.float32([1, 0, 0]), (layout.MESH_COUNT, 1)),
        iris_vertices=np.arange(layout.MESH_COUNT, layout.LANDMARK_COUNT),
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Fields of a protobuf message: number, and an integer (varint) or bytes (all other wire types)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case wire_type:
                raise ValueError(f"unknown protobuf wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("protobuf message ends inside a field")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _repeated_floats(message: memoryview, field: int) -> Array:
    """A repeated float field, packed or not."""
    parts = [
        bytes(value) for number, value in _fields(message) if number == field and not isinstance(value, int)
    ]
    return np.frombuffer(b"".join(parts), "<f4").astype(np.float64)


def _repeated_varints(message: memoryview, field: int) -> list[int]:
    """A repeated varint field, packed or not."""
    values: list[int] = []
    for number, value in _fields(message):
        if number != field:
            continue
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            item, at = _varint(value, at)
            values.append(item)
    return values
