"""Vertex regions: which vertices of a mesh are the lips, the upper face, and the two inner-lip centres.

Published figures differ because their masks do, so a region carries its source and a hash of its vertex
ids, and every number in a table names both. FLAME's own masks are under FLAME's licence: they are read from
the user's `FLAME_masks.pkl`. Lips are those that training measures (`multitalk.fit_flame.landmarks.lips`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multitalk.fit_flame.landmarks.lips import (
    FLAME_VERTICES,
    expand,
    flame_lips,
    lip_vertices,
    vertices_under,
)
from multitalk.ground import landmark_layout as layout
from multitalk.ground.untrusted.pickles import load_arrays

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.ground.arrays import Array, Int64


MAX_REGIONS_BYTES = 64 * 1024 * 1024


class RegionError(ValueError):
    """A region can not be read, or does not fit the mesh."""


@dataclass(frozen=True, slots=True)
class VertexRegion:
    """A named set of vertices, with each vertex once: a duplicate would weigh double in every mean."""

    name: str
    vertices: Int64[Array, " ids"]
    """(N,) ids, sorted."""
    source: str

    @classmethod
    def of(cls, name: str, ids: Iterable[int], source: str) -> VertexRegion:
        """Make a region from ids in any order, duplicates dropped.

        Raises
        ------
        RegionError
            No ids, or a negative one.
        """
        vertices = np.unique(np.fromiter(ids, dtype=np.int64))
        if len(vertices) == 0 or vertices[0] < 0:
            raise RegionError(f"region {name!r} of {source} has no vertices, or a negative id")
        return cls(name, vertices, source)

    @property
    def hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the ids as little-endian int32."""
        return hashlib.sha256(self.vertices.astype("<i4").tobytes()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Name, size and hash, as tables print it: `lips(250)#1f0c...`."""
        return f"{self.name}({len(self.vertices)})#{self.hash}"


@dataclass(frozen=True, slots=True)
class FaceRegions:
    """The regions of one mesh topology that metrics ask for."""

    topology: str
    vertex_count: int
    lips: VertexRegion
    inner_lips: tuple[int, int] | None = None
    """Vertex in the middle of the upper and of the lower lip where they touch."""
    upper_face: VertexRegion | None = None

    def __post_init__(self) -> None:
        highest = max(int(self.lips.vertices[-1]), *(self.inner_lips or (0, 0)))
        if self.upper_face is not None:
            highest = max(highest, int(self.upper_face.vertices[-1]))
        if highest >= self.vertex_count:
            raise RegionError(
                f"{self.topology}: vertex {highest} of a mesh with {self.vertex_count} vertices"
            )


# Where the lips of FLAME's mean face touch on the midline: MediaPipe's landmarks 13 and 14 lie on them.
_FLAME_INNER_LIPS = (3531, 3504)

# Between the outline of MediaPipe's face mesh and the brows.
_MEDIAPIPE_FOREHEAD = "8-10 67-69 71 103-104 108-109 151 284 297-299 301 332-333 337-338"
_UPPER_FACE = (
    *(*layout.LEFT_EYE, *layout.RIGHT_EYE, *layout.LEFT_BROW, *layout.RIGHT_BROW),
    *expand(_MEDIAPIPE_FOREHEAD),
)


def flame_regions(masks: Path | None = None) -> FaceRegions:
    """Regions of FLAME's 5023 vertices.

    Parameters
    ----------
    masks
        The user's `FLAME_masks.pkl`; without it there is no upper face, and the lips are the 250 vertices
        that MultiTalk's test script lists.

    Raises
    ------
    RegionError
        The file is not FLAME's masks.
    """
    if masks is None:
        lips = VertexRegion.of("lips", flame_lips().tolist(), "MultiTalk test script")
        return FaceRegions("flame", FLAME_VERTICES, lips, _FLAME_INNER_LIPS)
    try:
        arrays = load_arrays(masks)
        lips = VertexRegion.of("lips", arrays["lips"].tolist(), masks.name)
        upper_ids = [*arrays["forehead"].tolist(), *arrays["eye_region"].tolist()]
    except (KeyError, OSError, ValueError) as error:
        raise RegionError(
            f"{masks}: not a readable FLAME_masks.pkl ({error}); fetch it from FLAME's page"
        ) from error
    upper = VertexRegion.of("forehead+eye_region", upper_ids, masks.name)
    return FaceRegions("flame", FLAME_VERTICES, lips, _FLAME_INNER_LIPS, upper)


def canonical_regions(vertex_count: int = layout.MESH_COUNT) -> FaceRegions:
    """Regions of a head model whose first 468 vertices are MediaPipe's face mesh."""
    source = "MediaPipe face mesh"
    upper = VertexRegion.of("eyes+brows+forehead", _UPPER_FACE, source)
    inner = layout.INNER_LIP_PAIRS[0]
    return FaceRegions("canonical", vertex_count, VertexRegion.of("lips", layout.LIPS, source), inner, upper)


def regions_of_head(head_model: HeadModel) -> FaceRegions:
    """Regions of any other head model: the vertices under MediaPipe's landmarks of lips and upper face.

    Raises
    ------
    RegionError
        No landmark of the lips lies on the model.
    """
    source = f"landmarks on {head_model.name}"
    upper = vertices_under(head_model, _UPPER_FACE).tolist()
    inner = [vertices_under(head_model, [landmark]).tolist() for landmark in layout.INNER_LIP_PAIRS[0]]
    return FaceRegions(
        head_model.name,
        len(head_model.v_template),
        VertexRegion.of("lips", lip_vertices(head_model).tolist(), source),
        (inner[0][0], inner[1][0]) if all(inner) else None,
        VertexRegion.of("eyes+brows+forehead", upper, source) if upper else None,
    )


def read_regions(path: Path, vertex_count: int) -> FaceRegions:
    """Read regions of any other mesh from JSON.

    Parameters
    ----------
    path
        Either a list of lip vertices, as the peers publish it, or an object with `lips` and optionally
        `upper_face` (lists of ids) and `inner_lips` (upper, lower).
    vertex_count
        Vertices of the mesh.

    Raises
    ------
    RegionError
        The file can not be read, or an id is not a vertex of the mesh.
    """
    try:
        if path.stat().st_size > MAX_REGIONS_BYTES:
            raise RegionError(f"{path}: too large for a list of vertices")
        content = json.loads(path.read_text(encoding="utf-8"))
        fields = {"lips": content} if isinstance(content, list) else dict(content)
        lips = VertexRegion.of("lips", fields["lips"], path.name)
        upper_ids: Sequence[int] | None = fields.get("upper_face")
        upper = VertexRegion.of("upper_face", upper_ids, path.name) if upper_ids else None
        inner = fields.get("inner_lips")
        pair = (int(inner[0]), int(inner[1])) if inner else None
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise RegionError(f"{path}: not a JSON file of vertex regions ({error})") from error
    return FaceRegions(path.stem, vertex_count, lips, pair, upper)


def regions_for(
    vertex_count: int,
    masks: Path | None = None,
    regions: Path | None = None,
    head_model: HeadModel | None = None,
) -> FaceRegions:
    """Choose the regions of a mesh by its number of vertices, or by the head model that it is of.

    Parameters
    ----------
    vertex_count
        Vertices of the mesh: 5023 is FLAME; 468 and 478 are MediaPipe's mesh.
    masks
        `FLAME_masks.pkl`, used for FLAME.
    regions
        A JSON file as `read_regions` takes it; it goes before everything else.
    head_model
        The mesh's, where it is known; only asked when the number of vertices does not tell.

    Raises
    ------
    RegionError
        The topology is not known and no file was given, or a file can not be used.
    """
    if regions is not None:
        return read_regions(regions, vertex_count)
    if vertex_count == FLAME_VERTICES:
        return flame_regions(masks)
    if vertex_count in (layout.MESH_COUNT, layout.LANDMARK_COUNT):
        return canonical_regions(vertex_count)
    if head_model is not None and len(head_model.v_template) == vertex_count:
        return regions_of_head(head_model)
    raise RegionError(
        f"a mesh of {vertex_count} vertices is neither FLAME (5023) nor MediaPipe's (468): "
        "give its vertex regions as a JSON file with lips, upper_face and inner_lips"
    )
