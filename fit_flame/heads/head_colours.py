"""Plain colours of a head's parts, so that pictures of it, and detectors that look at them, know lips and eyes.

MakeHuman's masks (CC0) say where the lips and the inside of the mouth are.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_mesh import HeadMesh
from multitalk.fit_flame.heads.makehuman_files import MakeHuman

Array = npt.NDArray[np.float64]

_SKIN, _LIPS, MOUTH = (200.0, 154.0, 130.0), (172.0, 98.0, 94.0), (104.0, 46.0, 44.0)
_WHITE, _IRIS, _PUPIL = (232.0, 228.0, 224.0), (92.0, 62.0, 44.0), (24.0, 18.0, 16.0)
_TEETH, _TONGUE, _BROWS = (226.0, 218.0, 204.0), (176.0, 92.0, 90.0), (66.0, 48.0, 40.0)
_BROW = np.array([[0.010, 0.0430], [0.020, 0.0475], [0.033, 0.0500], [0.045, 0.0465], [0.052, 0.0420]])
_BROW_WIDTH = 0.0035  # metres, standard deviation


def head_colours(body: MakeHuman, mesh: HeadMesh, vertices: Array) -> npt.NDArray[np.uint8]:
    """(V, 3) RGB of a head's vertices (V, 3) in head coordinates, eyes between y 0.02 and 0.04."""
    uv = _uv(body, mesh, len(vertices))
    colours = np.tile(_SKIN, (len(vertices), 1))
    brow = np.exp(-0.5 * (_from_brow(vertices) / _BROW_WIDTH) ** 2) * (vertices[:, 2] > 0.02)
    colours = _mixed(colours, brow, _BROWS)
    for name, colour in (("mpfb_lips.jpg", _LIPS), ("mpfb_inside-mouth.jpg", MOUTH)):
        colours = _mixed(colours, _at(body.masks[name], uv), colour)
    right_eye, left_eye, upper, lower, tongue = (mesh.parts[k] for k in (1, 0, 2, 3, 4))
    colours[np.concatenate([upper, lower])], colours[tongue] = _TEETH, _TONGUE
    for part in (left_eye, right_eye):
        around = vertices[part] - vertices[part].mean(axis=0)
        angle = np.arccos(around[:, 2] / np.linalg.norm(around, axis=1))
        colours[part] = np.where(
            (angle < 0.16)[:, None], _PUPIL, np.where((angle < 0.5)[:, None], _IRIS, _WHITE)
        )
    return colours.round().astype(np.uint8)


def mouth_inside(body: MakeHuman, mesh: HeadMesh, count: int) -> npt.NDArray[np.bool_]:
    """(V,) whether a vertex is part of the mouth's inside."""
    inside: npt.NDArray[np.bool_] = _at(body.masks["mpfb_inside-mouth.jpg"], _uv(body, mesh, count)) > 0.5
    return inside & mesh.skin


def _uv(body: MakeHuman, mesh: HeadMesh, count: int) -> Array:
    """(V, 2) texture coordinates of the vertices."""
    uv = np.zeros((count, 2))
    uv[mesh.faces] = body.uv[mesh.uv_faces]
    return uv


def _mixed(colours: Array, share: Array, colour: tuple[float, float, float]) -> Array:
    mixed: Array = colours + share[:, None] * (np.array(colour) - colours)
    return mixed


def _at(mask: npt.NDArray[np.uint8], uv: Array) -> Array:
    """(V,) values 0..1 of a mask at texture coordinates."""
    height, width = mask.shape
    rows = ((1 - uv[:, 1]) * height).astype(np.int64).clip(0, height - 1)
    columns = (uv[:, 0] * width).astype(np.int64).clip(0, width - 1)
    values: Array = mask[rows, columns] / 255.0
    return values


def _from_brow(vertices: Array) -> Array:
    """(V,) metres from the nearer brow, seen from the front."""
    points = np.column_stack([np.abs(vertices[:, 0]), vertices[:, 1]])
    distance = np.full(len(points), np.inf)
    for start, end in itertools.pairwise(_BROW):
        along = end - start
        share = ((points - start) @ along / (along @ along)).clip(0, 1)
        distance = np.minimum(distance, np.linalg.norm(points - start - share[:, None] * along, axis=1))
    return distance
