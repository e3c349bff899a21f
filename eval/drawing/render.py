"""Meshes to pictures without a screen, and without anything but loops that are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.motion.loops.compiled import has_numba

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Integer

Picture = npt.NDArray[np.uint8]
Ground = Literal["dark", "black", "white"]

SKIN = (0.78, 0.63, 0.54)
"""Of heads whose colours are not known."""
GROUNDS: dict[Ground, tuple[float, float, float]] = {
    "dark": (0.14, 0.15, 0.17),
    "black": (0, 0, 0),
    "white": (1, 1, 1),
}

_NEAREST = 1e-3  # metres; what is not farther before the camera is not drawn


class RenderError(RuntimeError):
    """There is no way to draw on this machine; the message says what to install."""


class MeshRenderer:
    """Draws one mesh after the other with the same triangles.

    Parameters
    ----------
    faces
        (F, 3) triangles, counter-clockwise from outside.
    vertex_count
        V.
    camera
        Where vertices land.
    width, height
        Of the picture, pixels.
    ground
        Colour behind the head.
    smooth_edges
        Look at two points of each pixel, so that outlines are smooth.
    colours
        (V, 3) RGB of the vertices, uint8; `SKIN` for all if None.

    Raises
    ------
    RenderError
        numba is not installed.
    ValueError
        A triangle names a vertex that is not there.
    """

    def __init__(
        self,
        faces: Integer[Array, "faces 3"],
        vertex_count: int,
        camera: Camera,
        width: int = 512,
        height: int = 512,
        ground: Ground = "black",
        *,
        smooth_edges: bool = True,
        colours: Picture | None = None,
    ) -> None:
        if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= vertex_count:
            raise ValueError(f"faces {faces.shape} must be (F, 3) ids of {vertex_count} vertices")
        if not has_numba():
            raise RenderError("drawing needs numba: pip install 'multitalk[eval]'")
        from multitalk.eval.drawing import rasteriser  # loads numba

        self.camera = camera
        self.width, self.height = width, height
        if colours is not None and colours.shape != (vertex_count, 3):
            raise ValueError(f"colours {colours.shape} must be {(vertex_count, 3)}")
        plain = np.tile(255 * np.array(SKIN, np.float32), (vertex_count, 1))
        self._colours = plain if colours is None else colours.astype(np.float32)
        self._ground = np.empty((height, width, 3), np.uint8)
        self._ground[:] = np.round(255 * np.array(GROUNDS[ground]))
        self._faces = np.ascontiguousarray(faces, np.int32)
        self._loops = rasteriser
        self._rows = rasteriser.ROWS_SMOOTH if smooth_edges else rasteriser.ROWS
        self._normals = np.zeros((vertex_count, 3), np.float32)
        self._depth = np.zeros((height * len(self._rows), width), np.float32)
        self._owner = np.zeros(self._depth.shape, np.int32)

    def render(self, vertices: Float[Array, " ..."]) -> Picture:
        """Draw one mesh.

        Parameters
        ----------
        vertices
            (V, 3) metres, before `camera.position` is added.

        Returns
        -------
        array
            (height, width, 3) RGB.

        Raises
        ------
        ValueError
            The shape is wrong or a coordinate is not finite.
        """
        return self._draw(vertices, self._ground.copy(), 1.0)

    def render_over(self, vertices: Float[Array, " ..."], picture: Picture, opacity: float = 0.8) -> Picture:
        """Draw one mesh over a picture of the same size.

        Parameters
        ----------
        vertices
            (V, 3) metres.
        picture
            (height, width, 3) RGB.
        opacity
            Of the mesh, 0..1.

        Returns
        -------
        array
            (height, width, 3) RGB.
        """
        if picture.shape != (self.height, self.width, 3):
            raise ValueError(f"picture {picture.shape} must be {(self.height, self.width, 3)}")
        return self._draw(vertices, np.array(picture, np.uint8), opacity)

    def _draw(self, vertices: Float[Array, " ..."], picture: Picture, opacity: float) -> Picture:
        if vertices.shape != self._normals.shape or not np.isfinite(vertices).all():
            raise ValueError(f"vertices {vertices.shape} must be finite numbers {self._normals.shape}")
        loops, camera = self._loops, self.camera
        points = np.ascontiguousarray(camera.place(vertices), np.float32)
        nearness = -1 / np.where(points[:, 2] < -_NEAREST, points[:, 2], np.float32(np.inf))
        pixels = np.empty((len(points), 2), np.float32)
        pixels[:, 0] = camera.center_x + camera.focal * points[:, 0] * nearness
        pixels[:, 1] = (camera.center_y - camera.focal * points[:, 1] * nearness) * len(self._rows)
        loops.vertex_normals(points, self._faces, self._normals)
        loops.nearest_triangles(pixels, nearness, self._faces, self._rows, self._depth, self._owner)
        loops.light(
            *(pixels, self._normals, self._colours, self._faces),
            *(self._rows, self._depth, self._owner, np.float32(opacity), picture),
        )
        return picture
