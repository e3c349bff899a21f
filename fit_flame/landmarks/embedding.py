"""Landmark embeddings: MediaPipe's 105 on FLAME's surface, the 68 with their moving contour, and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.ground.untrusted.array_files import read_npz
from multitalk.ground.untrusted.files import UntrustedFileError
from multitalk.ground.untrusted.pickles import load_array_pickle

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLAME_IRISES = (4597, 4542, 4510, 4603, 4570, 4051, 3996, 3964, 3932, 4028)
"""FLAME's vertices of the landmarks 468 to 477."""

CONTOUR_LANDMARKS = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
"""MediaPipe's outline points that lie where the contour's 17 do, from the right ear to the left."""

_INNER = 51  # of the 68 landmarks those that lie inside the contour
_CONTOUR_STEPS = 39  # degrees of yaw to either side
# Degrees; between two the contour moves by millimetres.
_FITTED_YAWS = (-39, -30, -20, -10, 0, 10, 20, 30, 39)


@dataclass(frozen=True, slots=True)
class ContourEmbedding:
    """The 68 landmarks of DECA and its kin; the 17 of the contour move with yaw."""

    static_faces: IntArray
    """(51,) triangles of the inner landmarks."""
    static_barycentric: FloatArray
    """(51, 3)."""
    contour_faces: IntArray
    """(79, 17) triangles of the contour, by yaw: 0 to 39 degrees, then -1 to -39."""
    contour_barycentric: FloatArray
    """(79, 17, 3)."""
    full_faces: IntArray
    """(68,) triangles of the contour that does not move, then the inner landmarks."""
    full_barycentric: FloatArray
    """(68, 3)."""


def read_mediapipe_embedding(
    path: Path, faces: IntArray, contour: ContourEmbedding | None = None
) -> LandmarkEmbedding:
    """Read `mediapipe_landmark_embedding.npz`: 105 of MediaPipe's landmarks on FLAME's surface.

    Parameters
    ----------
    path
        The file as downloaded.
    faces
        (F, 3) FLAME's triangles.
    contour
        If given, its 17 points are added for several yaws, tied to MediaPipe's outline.

    Raises
    ------
    HeadModelError
        When the file is not such an embedding.
    """
    try:
        stored = read_npz(path)
        triangles = stored["lmk_face_idx"].astype(np.int64)
        barycentric = stored["lmk_b_coords"].astype(np.float64)
        landmarks = stored["landmark_indices"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise HeadModelError(f"{path} is no MediaPipe landmark embedding: {error}") from error
    yaw = None
    if contour is not None:
        rows = [degrees if degrees >= 0 else _CONTOUR_STEPS - degrees for degrees in _FITTED_YAWS]
        yaw = np.append(
            np.full(len(landmarks), np.nan), np.repeat(np.radians(_FITTED_YAWS), len(CONTOUR_LANDMARKS))
        ).astype(np.float32)
        triangles = np.concatenate([triangles, contour.contour_faces[rows].ravel()])
        barycentric = np.concatenate([barycentric, contour.contour_barycentric[rows].reshape(-1, 3)])
        landmarks = np.concatenate([landmarks, np.tile(CONTOUR_LANDMARKS, len(rows))])
    _check(path, triangles, barycentric, faces)
    return LandmarkEmbedding(
        landmarks,
        faces[triangles],
        barycentric.astype(np.float32),
        yaw=yaw,
        iris_vertices=np.array(FLAME_IRISES, np.int64),
    )


def read_contour_embedding(path: Path, faces: IntArray) -> ContourEmbedding:
    """Read DECA's `landmark_embedding.npy`, or VHAP's `landmark_embedding_with_eyes.npy` without its irises.

    The file is a pickle with torch tensors in it, read by `multitalk.ground.untrusted.pickles`.

    Raises
    ------
    HeadModelError
        When the file is not such an embedding, or asks for more than arrays and tensors.
    """
    try:
        stored = load_array_pickle(path)
    except UntrustedFileError as error:
        raise HeadModelError(str(error)) from error
    try:
        embedding = ContourEmbedding(
            static_faces=_ints(stored["static_lmk_faces_idx"]),
            static_barycentric=_floats(stored["static_lmk_bary_coords"]),
            contour_faces=_ints(stored["dynamic_lmk_faces_idx"]),
            contour_barycentric=_floats(stored["dynamic_lmk_bary_coords"]),
            full_faces=_ints(stored["full_lmk_faces_idx"]).ravel(),
            full_barycentric=_floats(stored["full_lmk_bary_coords"]).reshape(-1, 3),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HeadModelError(f"{path} is no landmark embedding: {error}") from error
    contour = embedding.contour_faces.shape
    inner, full = embedding.static_faces.size, embedding.full_faces.size
    if contour != (2 * _CONTOUR_STEPS + 1, 17) or inner < _INNER or full < 17 + _INNER:
        raise HeadModelError(
            f"{path} has contours {contour}, {inner} inner landmarks and {full} in all, wanted (79, 17), 51 and 68: "
            "download it again from its publisher"
        )
    for triangles, barycentric in (
        (embedding.static_faces, embedding.static_barycentric),
        (embedding.contour_faces, embedding.contour_barycentric),
        (embedding.full_faces, embedding.full_barycentric),
    ):
        _check(path, triangles, barycentric, faces)
    return replace(
        embedding,
        static_faces=embedding.static_faces[:_INNER],
        static_barycentric=embedding.static_barycentric[:_INNER],
        full_faces=embedding.full_faces[: 17 + _INNER],
        full_barycentric=embedding.full_barycentric[: 17 + _INNER],
    )


def detected_embedding(embedding: LandmarkEmbedding, detected: Sequence[int]) -> LandmarkEmbedding:
    """Embedding for a detector that gives fewer points than MediaPipe.

    Parameters
    ----------
    embedding
        Of MediaPipe's landmarks.
    detected
        (N,) what the detector gives, in its order, by the landmarks of MediaPipe's that lie there.

    Returns
    -------
    LandmarkEmbedding
        Of those of the N points whose place is known; the irises only if MediaPipe's own layout is asked for.
    """
    if len(detected) == len(embedding.detected):
        return embedding
    ahead = np.arange(len(embedding.landmarks))
    if embedding.yaw is not None:  # the outline where it is in a face that looks ahead
        ahead = np.flatnonzero(np.isnan(embedding.yaw) | (embedding.yaw == 0))
    rows = {int(embedding.landmarks[row]): int(row) for row in ahead}
    known = [index for index, landmark in enumerate(detected) if landmark in rows]
    chosen = [rows[detected[index]] for index in known]
    return LandmarkEmbedding(
        np.array(known, np.int64),
        embedding.vertices[chosen],
        embedding.barycentric[chosen],
        detected=np.array(detected, np.int64),
    )


def ibug_embedding(contour: ContourEmbedding, faces: IntArray, detected: Sequence[int]) -> LandmarkEmbedding:
    """Embedding of iBUG's 68 landmarks on FLAME's surface, the outline where it is in a face that looks ahead.

    Parameters
    ----------
    contour
        The 68 landmarks of FLAME.
    faces
        (F, 3) FLAME's triangles.
    detected
        (68,) the landmarks of MediaPipe's that lie where they do.
    """
    return LandmarkEmbedding(
        np.arange(len(contour.full_faces)),
        faces[contour.full_faces],
        contour.full_barycentric.astype(np.float32),
        detected=np.array(detected, np.int64),
    )


def _ints(value: object) -> IntArray:
    return np.asarray(value).astype(np.int64)


def _floats(value: object) -> FloatArray:
    return np.asarray(value).astype(np.float64)


def _check(path: Path, triangles: IntArray, barycentric: FloatArray, faces: IntArray) -> None:
    fits = barycentric.shape == (*triangles.shape, 3) and np.allclose(barycentric.sum(axis=-1), 1, atol=1e-3)
    if not fits or not triangles.size or triangles.min() < 0 or triangles.max() >= len(faces):
        raise HeadModelError(f"{path}: the embedding does not fit the head model's {len(faces)} triangles")


def contour_row(rotation: FloatArray) -> IntArray:
    """Row of the contour's tables for head rotations.

    Parameters
    ----------
    rotation
        (B, 3, 3) of root and neck together.

    Returns
    -------
    ndarray
        (B,) 0 to 39 for yaw 0 to 39 degrees and beyond, 40 to 78 for -1 to -39 and beyond.
    """
    yaw = np.arctan2(-rotation[:, 2, 0], np.hypot(rotation[:, 0, 0], rotation[:, 1, 0]))
    degrees = np.round(np.degrees(yaw)).astype(np.int64)
    right = np.minimum(degrees, _CONTOUR_STEPS)
    left = np.where(degrees < -_CONTOUR_STEPS, 2 * _CONTOUR_STEPS, _CONTOUR_STEPS - degrees)
    return np.where(degrees < 0, left, right)


def landmarks_68(
    vertices: FloatArray, faces: IntArray, embedding: ContourEmbedding, row: IntArray | None
) -> FloatArray:
    """Place the 68 landmarks on posed vertices.

    Parameters
    ----------
    vertices
        (B, V, 3).
    faces
        (F, 3).
    embedding
        The 68 landmarks.
    row
        (B,) the contour's rows (`contour_row`), or None for the contour that does not move.

    Returns
    -------
    ndarray
        (B, 68, 3) contour, then inner landmarks.
    """
    heads = np.arange(len(vertices))[:, None, None]
    if row is None:
        triangles, weights = embedding.full_faces[None], embedding.full_barycentric[None]
    else:
        inner = np.broadcast_to(embedding.static_faces, (len(row), 51))
        inner_weights = np.broadcast_to(embedding.static_barycentric, (len(row), 51, 3))
        triangles = np.concatenate([embedding.contour_faces[row], inner], axis=1)
        weights = np.concatenate([embedding.contour_barycentric[row], inner_weights], axis=1)
    corners = vertices[heads, faces[triangles]]
    points: FloatArray = (corners * weights[..., None]).sum(axis=2)
    return points
