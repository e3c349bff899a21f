"""The head out of MakeHuman's body: which vertices and triangles, which joints, which weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.makehuman_files import MakeHuman

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PARTS = (
    *("body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue"),
)
"""Groups that make a head; of the body only what hangs on head and neck."""

_NECK_SHARE = {"neck01": 0.0, "neck02": 1 / 3, "neck03": 2 / 3}
"""How much of the turn of a head each bone of the neck takes; all others above them take it whole."""
_JOINTS = ("joint-neck", "joint-head", "joint-mouth", "joint-l-eye", "joint-r-eye")
"""Cubes in whose middle the root, neck, jaw and eye joints lie."""


@dataclass(frozen=True, slots=True)
class HeadMesh:
    """Part of the base mesh."""

    ids: IntArray
    """(V,) the base mesh's vertices that belong to the head."""
    faces: IntArray
    """(F, 3) triangles of the head's own vertices, counter-clockwise from outside."""
    uv_faces: IntArray
    """(F, 3) rows of `MakeHuman.uv` at the triangles' corners."""
    skin: npt.NDArray[np.bool_]
    """(V,) True on the skin, with the cavities of mouth and eyes; False on eyeballs, teeth and tongue."""
    parts: tuple[IntArray, ...]
    """Vertices of each part that is no skin."""
    weights: Array
    """(V, 5) skinning of root, neck, jaw (none: it is within the shapes) and eyes."""


def head_mesh(body: MakeHuman) -> HeadMesh:
    """Cut the head off the body.

    Parameters
    ----------
    body
        MakeHuman's files.
    """
    count = len(body.vertices)
    above = _subtree(body, "neck01")
    share = np.zeros(count)
    neck = np.zeros(count)
    total = np.zeros(count)
    for bone, (ids, weights) in body.weights.items():
        total[ids] += weights
        if bone in above:
            share[ids] += weights
            neck[ids] += weights * _NECK_SHARE.get(bone, 1.0)
    share, neck = share / total.clip(1e-9), neck / total.clip(1e-9)
    quads, corners = [], []
    for part in PARTS:
        rows = body.groups[part]
        kept = (share[rows] > 0.5).all(axis=1) if part == "body" else np.ones(len(rows), bool)
        quads.append(rows[kept])
        corners.append(body.corners[part][kept])
    all_quads = np.concatenate(quads)
    ids = np.unique(all_quads)
    number = np.full(count, -1)
    number[ids] = np.arange(len(ids))
    split = _shorter_diagonal(body.vertices, all_quads)
    faces = number[_triangles(all_quads, split)]
    parts = tuple(number[np.unique(body.groups[part])] for part in PARTS[1:])
    on_skin = np.ones(len(ids), bool)
    on_skin[np.concatenate(parts)] = False
    weights = np.zeros((len(ids), 5))
    weights[:, 1] = neck[ids]
    for joint, eye in ((3, parts[0]), (4, parts[1])):
        weights[eye] = 0
        weights[eye, joint] = 1
    for hung in parts[2:]:
        weights[hung] = (0, 1, 0, 0, 0)
    weights[:, 0] = 1 - weights[:, 1:].sum(axis=1)
    return HeadMesh(ids, faces, _triangles(np.concatenate(corners), split), on_skin, parts, weights)


def joints(body: MakeHuman, offsets: Array) -> Array:
    """Places of the five joints, or their moves.

    Parameters
    ----------
    body
        MakeHuman's files.
    offsets
        (..., B, 3) the base mesh's vertices, or by how much they move.

    Returns
    -------
    ndarray
        (..., 5, 3).
    """
    places: Array = np.stack(
        [offsets[..., np.unique(body.groups[cube]), :].mean(axis=-2) for cube in _JOINTS], axis=-2
    )
    return places


def _subtree(body: MakeHuman, root: str) -> set[str]:
    found = {root}
    while True:
        more = {bone for bone, entry in body.bones.items() if entry.get("parent") in found} | found
        if more == found:
            return found
        found = more


def _shorter_diagonal(vertices: Array, quads: IntArray) -> npt.NDArray[np.bool_]:
    """(Q,) whether a quadrangle is better cut from its second to its fourth corner."""
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    shorter: npt.NDArray[np.bool_] = (
        np.linalg.norm(b - d, axis=1) < np.linalg.norm(a - c, axis=1) - 1e-6  # mirrored ones are cut alike
    )
    return shorter


def _triangles(quads: IntArray, split: npt.NDArray[np.bool_]) -> IntArray:
    """(2Q, 3)."""
    first = np.where(split[:, None], quads[:, [0, 1, 3]], quads[:, [0, 1, 2]])
    second = np.where(split[:, None], quads[:, [1, 2, 3]], quads[:, [0, 2, 3]])
    return np.concatenate([first, second])
