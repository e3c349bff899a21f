"""Which point of a face is what, for every landmark detector that there is.

All rooms name a point by the landmark of MediaPipe's mesh that lies there; a layout says which row that is.
An array of landmarks carries its layout in its shape: no two layouts have the same number of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class FaceLayout:
    """The points that a landmark detector gives, in its order."""

    name: str
    mediapipe: tuple[int, ...]
    """(N,) the landmark of MediaPipe's mesh that each point is, or lies nearest to."""
    depth: float
    """Factor that makes the detector's depths those of real heads."""
    forehead: float
    """How far the face goes on above the root of the nose, of the way from there to the chin, where no point
    shows it; 0 where points do."""
    _row: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {landmark: row for row, landmark in enumerate(self.mediapipe)})

    def rows(self, landmarks: Iterable[int]) -> list[int]:
        """Rows of these landmarks, in their order; those that the layout lacks are left out."""
        return [self._row[landmark] for landmark in landmarks if landmark in self._row]

    def pairs(self, landmarks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Rows of these pairs, in their order; those of which the layout lacks one are left out."""
        return [(self._row[a], self._row[b]) for a, b in landmarks if a in self._row and b in self._row]


# MediaPipe makes faces flatter than they are. With this the angles of rendered heads of six people, turned up
# to 40 and nodded up to 25 degrees, come out with a root mean square error of 1.5 (yaw), 2.1 (pitch) and
# 1.0 (roll) degrees; without it with 1.9, 2.1 and 1.0.
MEDIAPIPE_478 = FaceLayout("mediapipe-478", tuple(range(478)), depth=1.15, forehead=0.0)
"""MediaPipe's Face Landmarker: mesh and irises."""

# Found by laying MediaPipe's canonical mesh over FLAME's mean face, on which the places of both kinds are known.
_OUTLINE = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 6, 195, 4, 75, 97, 2, 326, 305)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
IBUG_68 = FaceLayout(
    "ibug-68", _OUTLINE + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS, depth=1.0, forehead=0.39
)
"""iBUG's 68 points (C. Sagonas et al., "300 Faces in-the-Wild Challenge", 2013), three-dimensional; no irises."""

_LAYOUTS = {len(layout.mediapipe): layout for layout in (MEDIAPIPE_478, IBUG_68)}
_ROOT_OF_NOSE, _CHIN = 168, 152


def layout_of(points: FloatArray) -> FaceLayout:
    """Tell the layout of landmarks (..., N, 2 or 3) by N.

    Raises
    ------
    ValueError
        No detector gives so many.
    """
    layout = _LAYOUTS.get(points.shape[-2]) if points.ndim > 1 and points.shape[-1] in (2, 3) else None
    if layout is None:
        known = " or ".join(f"{count} ({layout.name})" for count, layout in _LAYOUTS.items())
        raise ValueError(f"landmarks of shape {points.shape} must be (..., N, 3) with N {known}")
    return layout


def face_boxes(points: FloatArray) -> FloatArray:
    """Boxes (..., 4) around faces (..., N, 2 or 3), forehead included: left, top, right, bottom in pixels."""
    layout = layout_of(points)
    flat = points[..., :2]
    if layout.forehead:
        nose, chin = (flat[..., row, :] for row in layout.rows((_ROOT_OF_NOSE, _CHIN)))
        top = nose + np.float32(layout.forehead) * (nose - chin)
        flat = np.concatenate([flat, top[..., None, :]], axis=-2)
    return np.concatenate([flat.min(axis=-2), flat.max(axis=-2)], axis=-1)


def overlap(first: FloatArray, second: FloatArray) -> float:
    """Intersection over union of two boxes (4,) left, top, right, bottom, 0..1."""
    shared = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    intersection = float(np.prod(shared.clip(0)))
    union = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - intersection
    return intersection / union if union > 0 else 0.0


def shared(first: FloatArray, second: FloatArray) -> float:
    """Intersection of two boxes (4,) over the area of the smaller one, 0..1."""
    sides = (np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])).clip(0)
    smaller = min(float(np.prod(box[2:] - box[:2])) for box in (first, second))
    return float(np.prod(sides)) / smaller if smaller > 0 else 0.0


def distance(points: FloatArray, pair: Sequence[int]) -> FloatArray:
    """Distance in the picture, pixels, of two landmarks named by MediaPipe's numbers; of points (..., N, 3)."""
    first, second = layout_of(points).rows(pair)
    return np.asarray(np.linalg.norm(points[..., first, :2] - points[..., second, :2], axis=-1))
