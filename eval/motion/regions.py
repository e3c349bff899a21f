"""Vertex regions: which vertices of a mesh are the lips, the upper face, and the two inner-lip centres.

Published figures differ because their masks do, so a region carries its source and a hash of its vertex
ids, and every number in a table names both. FLAME's own masks are under FLAME's licence: they are read from
the user's `FLAME_masks.pkl`. The lip list of MultiTalk's test script and MediaPipe's topology are known
here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.ground import landmark_layout as layout
from multitalk.ground.untrusted.pickles import load_arrays

IntArray = npt.NDArray[np.int64]

FLAME_VERTICES = 5023
MAX_REGIONS_BYTES = 64 * 1024 * 1024


class RegionError(ValueError):
    """A region can not be read, or does not fit the mesh."""


@dataclass(frozen=True, slots=True)
class Region:
    """A named set of vertices, with each vertex once: a duplicate would weigh double in every mean."""

    name: str
    vertices: IntArray
    """(N,) ids, sorted."""
    source: str

    @classmethod
    def of(cls, name: str, ids: Iterable[int], source: str) -> Region:
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
    lips: Region
    inner_lips: tuple[int, int] | None = None
    """Vertex in the middle of the upper and of the lower lip where they touch."""
    upper_face: Region | None = None

    def __post_init__(self) -> None:
        highest = max(int(self.lips.vertices[-1]), *(self.inner_lips or (0, 0)))
        if self.upper_face is not None:
            highest = max(highest, int(self.upper_face.vertices[-1]))
        if highest >= self.vertex_count:
            raise RegionError(
                f"{self.topology}: vertex {highest} of a mesh with {self.vertex_count} vertices"
            )


# The 250 vertices that MultiTalk's test script takes the maximum over, as first and last id of each run.
# The script lists four of them (1590, 1593, 2726, 2729) twice, which changes no maximum.
_MULTITALK_LIPS = (
    "1576-1583 1590-1591 1593 1657-1658 1661-1663 1667-1670 1686-1687 1691 1693-1697 1700 1702-1704 "
    "1709-1723 1728-1738 1740 1743 1748-1751 1758 1763 1765 1770-1771 1773-1782 1787-1789 1791-1796 "
    "1801-1804 1826-1827 1836 1846-1850 1865-1866 2712-2719 2726-2727 2729 2774-2775 2778-2780 "
    "2784-2787 2803-2804 2808 2810-2814 2817 2819-2821 2826-2840 2843-2853 2855 2858 2863-2866 2869 "
    "2871 2873 2878-2892 2894-2899 2904-2907 2928-2929 2934-2939 2948-2949 3503-3504 3506 3509 "
    "3511-3513 3531 3533 3537 3541 3543 3546-3547 3790-3806 3914-3928"
)
# Where the lips of FLAME's mean face touch on the midline: MediaPipe's landmarks 13 and 14 lie on them.
_FLAME_INNER_LIPS = (3531, 3504)

# Between the outline of MediaPipe's face mesh and the brows.
_MEDIAPIPE_FOREHEAD = "8-10 67-69 71 103-104 108-109 151 284 297-299 301 332-333 337-338"


def _expand(runs: str) -> list[int]:
    ids: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        ids.extend(range(int(first), int(last or first) + 1))
    return ids


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
        lips = Region.of("lips", _expand(_MULTITALK_LIPS), "MultiTalk test script")
        return FaceRegions("flame", FLAME_VERTICES, lips, _FLAME_INNER_LIPS)
    try:
        arrays = load_arrays(masks)
        lips = Region.of("lips", arrays["lips"].tolist(), masks.name)
        upper_ids = [*arrays["forehead"].tolist(), *arrays["eye_region"].tolist()]
    except (KeyError, OSError, ValueError) as error:
        raise RegionError(
            f"{masks}: not a readable FLAME_masks.pkl ({error}); fetch it from FLAME's page"
        ) from error
    upper = Region.of("forehead+eye_region", upper_ids, masks.name)
    return FaceRegions("flame", FLAME_VERTICES, lips, _FLAME_INNER_LIPS, upper)


def canonical_regions(vertex_count: int = layout.MESH_COUNT) -> FaceRegions:
    """Regions of a head model whose first 468 vertices are MediaPipe's face mesh."""
    source = "MediaPipe face mesh"
    eyes = layout.LEFT_EYE + layout.RIGHT_EYE
    upper_ids = [*eyes, *layout.LEFT_BROW, *layout.RIGHT_BROW, *_expand(_MEDIAPIPE_FOREHEAD)]
    upper = Region.of("eyes+brows+forehead", upper_ids, source)
    inner = layout.INNER_LIP_PAIRS[0]
    return FaceRegions("canonical", vertex_count, Region.of("lips", layout.LIPS, source), inner, upper)


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
        lips = Region.of("lips", fields["lips"], path.name)
        upper_ids: Sequence[int] | None = fields.get("upper_face")
        upper = Region.of("upper_face", upper_ids, path.name) if upper_ids else None
        inner = fields.get("inner_lips")
        pair = (int(inner[0]), int(inner[1])) if inner else None
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise RegionError(f"{path}: not a JSON file of vertex regions ({error})") from error
    return FaceRegions(path.stem, vertex_count, lips, pair, upper)


def regions_for(vertex_count: int, masks: Path | None = None, regions: Path | None = None) -> FaceRegions:
    """Choose the regions of a mesh by its number of vertices.

    Parameters
    ----------
    vertex_count
        Vertices of the mesh: 5023 is FLAME; 468 and 478 are MediaPipe's mesh.
    masks
        `FLAME_masks.pkl`, used for FLAME.
    regions
        A JSON file as `read_regions` takes it; it goes before everything else.

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
    raise RegionError(
        f"a mesh of {vertex_count} vertices is neither FLAME (5023) nor MediaPipe's (468): "
        "give its vertex regions as a JSON file with lips, upper_face and inner_lips"
    )
