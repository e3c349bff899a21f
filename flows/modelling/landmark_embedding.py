"""MediaPipe's landmarks on a FLAME file: made, measured, drawn, and found again."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import cache_directory, find, require
from multitalk.assets.registry import REGISTRY
from multitalk.fit_flame.draw import draw_overlay
from multitalk.fit_flame.heads.canonical_mesh import CanonicalMesh, read_canonical_mesh
from multitalk.fit_flame.heads.flame_file import FlameArrays, read_flame
from multitalk.fit_flame.heads.head_model import LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import read_contour_embedding, read_mediapipe_embedding
from multitalk.fit_flame.landmarks.registration import Registration, register, write_registration
from multitalk.ground.landmark_layout import LIPS

_SIDE = 1200  # pixels of the picture
_ACROSS = 0.2  # metres of the head in it
_AWAY = 100.0  # metres to the camera: no perspective is to be seen


def flame_path(name: str) -> Path:
    """Return a FLAME file given by its name in the asset registry, or by its path."""
    if name in REGISTRY:
        return require(name)
    return Path(name) if Path(name).suffix == ".pkl" or Path(name).exists() else require(name)


def own_embedding_path(flame: Path) -> Path:
    """Return where a FLAME file's own embedding lies: beside it."""
    return flame.with_name(f"{flame.stem}.mediapipe_468.npz")


def embedding_of(path: Path, flame: FlameArrays) -> LandmarkEmbedding:
    """Choose the landmarks that a FLAME file is fitted to.

    Those that ``multitalk head-model embed`` laid beside it; else FLAME's 105, with the 17 of the moving
    contour where FLAME's `landmark_embedding.npy` is here; else 468 of our own, made now and kept in the cache.
    """
    own, published = own_embedding_path(path), find("flame_mediapipe_embedding")
    if own.exists():
        return read_mediapipe_embedding(own, flame.faces)
    if published:
        contour = find("flame_landmark_embedding")
        return read_mediapipe_embedding(
            published, flame.faces, read_contour_embedding(contour, flame.faces) if contour else None
        )
    kept = cache_directory() / "head_models" / f"flame_{flame.sha256}.mediapipe_468.npz"
    if not kept.exists():
        found = register(read_canonical_mesh(require("face_landmarker")), flame.v_template, flame.faces)
        write_registration(found, kept)
    return read_mediapipe_embedding(kept, flame.faces)


def embed(name: str, place: Path | None, picture: Path | None) -> tuple[Path, dict[str, float]]:
    """Make the own embedding of a FLAME file.

    Parameters
    ----------
    name
        A FLAME file, or the name of a release in the asset registry.
    place
        The `.npz` file; beside the FLAME file if None.
    picture
        The `.png` file of a drawing, or None.

    Returns
    -------
    tuple
        Where it was written, and how good it is, in millimetres.
    """
    import cv2

    path = flame_path(name)
    flame = read_flame(path, cache_directory() / "head_models")
    mesh = read_canonical_mesh(require("face_landmarker"))
    found = register(mesh, flame.v_template, flame.faces)
    place = place or own_embedding_path(path)
    write_registration(found, place)
    if picture:
        drawn = draw(found, flame, mesh)
        if not cv2.imwrite(str(picture), drawn[..., ::-1]):
            raise OSError(f"{picture}: cannot be written")
    return place, quality(found, flame)


def quality(found: Registration, flame: FlameArrays) -> dict[str, float]:
    """Measure an embedding: how far the bent mesh stays off the surface, and from FLAME's 105 if they are here."""
    off = 1000 * found.distance
    figures = {
        "bent mesh to the surface, mean, mm": float(off.mean()),
        "bent mesh to the surface, most, mm": float(off.max()),
    }
    published = find("flame_mediapipe_embedding")
    if published:
        theirs = read_mediapipe_embedding(published, flame.faces)
        points = found.points(flame.v_template, flame.faces)[theirs.landmarks]
        corners = flame.v_template[theirs.vertices]
        distance = 1000 * np.linalg.norm(
            points - (corners * theirs.barycentric[..., None]).sum(axis=1), axis=1
        )
        lips = np.isin(theirs.landmarks, LIPS)
        figures |= {
            f"to FLAME's own embedding, {len(distance)} points, mean, mm": float(distance.mean()),
            f"to FLAME's own embedding, {lips.sum()} points of the lips, mean, mm": float(
                distance[lips].mean()
            ),
            "to FLAME's own embedding, most, mm": float(distance.max()),
        }
    return figures


def draw(found: Registration, flame: FlameArrays, mesh: CanonicalMesh) -> npt.NDArray[np.uint8]:
    """Draw the mean head with the canonical mesh laid on it: (1200, 2400, 3) RGB, front and profile."""
    from multitalk.eval.drawing.camera import Camera
    from multitalk.eval.drawing.render import MeshRenderer  # loads numba, which a build has no use for

    points = found.points(flame.v_template, flame.faces).astype(np.float32)
    head = flame.v_template.astype(np.float32)
    middle = points.mean(axis=0)
    views = []
    for turn in (np.eye(3), np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])):
        turned, dots = ((p - middle) @ turn.T for p in (head, points))
        marks = (_SIDE / 2 + _SIDE / _ACROSS * dots[:, :2] * [1, -1]).astype(np.float32)
        camera = Camera(_AWAY * _SIDE / _ACROSS, _SIDE / 2, _SIDE / 2, (0.0, 0.0, -_AWAY))
        renderer = MeshRenderer(flame.faces, len(turned), camera, _SIDE, _SIDE, "white")
        solid = renderer.render(turned)
        views.append(draw_overlay(solid, marks, marks, mesh.faces, opacity=0.8))
    return np.concatenate(views, axis=1)
