"""Draw landmarks and a mesh's wireframe on frames, for contact sheets and previews."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float32, Int64

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]

MESH_COLOUR = (70, 200, 255)
LANDMARK_COLOUR = (255, 180, 40)
_SUBPIXEL_BITS = 3  # OpenCV draws at eighths of a pixel


def draw_overlay(
    frame: Image,
    landmarks: FloatArray | None,
    mesh: FloatArray | None,
    faces: IntArray,
    *,
    opacity: float = 0.55,
) -> Image:
    """Draw the mesh's wireframe over a frame, hidden triangles left out, and the landmarks as dots.

    Parameters
    ----------
    frame
        (H, W, 3) RGB, not changed.
    landmarks
        (L, 2 or 3) pixels, NaN where there are none; or None.
    mesh
        (V, 2) pixels, as `multitalk.fit_flame.parameters.decode.project_vertices` gives; or None.
    faces
        (F, 3) triangles, counter-clockwise from outside.
    opacity
        Of the wireframe.

    Returns
    -------
    ndarray
        (H, W, 3) RGB.
    """
    import cv2

    canvas = frame.copy()
    if mesh is not None and np.isfinite(mesh).all():
        lines = frame.copy()
        seen = _fixed_point(mesh[faces[facing(mesh, faces)]])
        cv2.polylines(lines, list(seen), True, MESH_COLOUR, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
        canvas = np.asarray(cv2.addWeighted(lines, opacity, canvas, 1 - opacity, 0), np.uint8)
    if landmarks is not None:
        radius = round(1.1 * max(1.0, frame.shape[0] / 512) * 2**_SUBPIXEL_BITS)
        for x, y in _fixed_point(landmarks[np.isfinite(landmarks[:, 0]), :2]).tolist():
            cv2.circle(canvas, (x, y), radius, LANDMARK_COLOUR, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def facing(pixels: Float32[Array, "vertices xy"], faces: Int64[Array, "faces 3"]) -> Bool[Array, " faces"]:
    """Tell which triangles (F,) show their front: counter-clockwise with y up, so clockwise in pixels."""
    a, b, c = pixels[faces[:, 0]], pixels[faces[:, 1]], pixels[faces[:, 2]]
    first, second = b - a, c - a
    front: npt.NDArray[np.bool_] = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    return front


def _fixed_point(points: FloatArray) -> npt.NDArray[np.int32]:
    fixed: npt.NDArray[np.int32] = np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
    return fixed
