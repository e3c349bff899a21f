"""Meshes to pictures without a screen: VTK through EGL, on a GPU where there is one, else by Mesa on the CPU."""

from __future__ import annotations

import ctypes.util
import os
import sys
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera

if TYPE_CHECKING:
    from types import TracebackType

    from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]
Picture = npt.NDArray[np.uint8]
Ground = Literal["dark", "black", "white"]

SKIN = (0.78, 0.63, 0.54)
"""Of heads whose colours are not known."""
GROUNDS: dict[Ground, tuple[float, float, float]] = {
    "dark": (0.14, 0.15, 0.17),
    "black": (0, 0, 0),
    "white": (1, 1, 1),
}


class RenderError(RuntimeError):
    """There is no way to draw on this machine; the message says what to install."""


class MeshRenderer:
    """Draws one mesh after the other with the same triangles; use it in a `with` block.

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
        Smooth outlines in a pass over the picture; on a CPU it costs as much again as the drawing.
    colours
        (V, 3) RGB of the vertices, uint8; `SKIN` for all if None.

    Raises
    ------
    RenderError
        VTK or the EGL library is not installed.
    ValueError
        A triangle names a vertex that is not there.
    """

    def __init__(
        self,
        faces: IntArray,
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
        self.camera = camera
        self.width, self.height = width, height
        if colours is not None and colours.shape != (vertex_count, 3):
            raise ValueError(f"colours {colours.shape} must be {(vertex_count, 3)}")
        self._faces = faces.astype(np.int64)
        self._colours = colours
        self._points = np.zeros((vertex_count, 3), np.float32)
        self._normals = np.zeros((vertex_count, 3), np.float32)
        self._incidence = _incidence(self._faces, vertex_count)
        self._window, self._renderer = self._stage(GROUNDS[ground], smooth_edges)

    def __enter__(self) -> MeshRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the drawing memory back."""
        self._window.Finalize()

    def render(self, vertices: FloatArray) -> Picture:
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
        self._update(vertices)
        self._window.Render()
        return self._pixels()

    def render_over(self, vertices: FloatArray, picture: Picture, opacity: float = 0.8) -> Picture:
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
        drawn = self.render(vertices)
        covered = self._covered()[..., None]
        mixed = opacity * drawn + (1 - opacity) * picture
        return np.where(covered, mixed, picture).astype(np.uint8)

    def _update(self, vertices: FloatArray) -> None:
        if vertices.shape != self._points.shape or not np.isfinite(vertices).all():
            raise ValueError(f"vertices {vertices.shape} must be finite numbers {self._points.shape}")
        self._points[:] = self.camera.place(vertices)
        corners = self._points[self._faces]
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = self._incidence @ areas
        self._normals[:] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        for changed in self._changing:
            changed.Modified()
        self._renderer.ResetCameraClippingRange()

    def _pixels(self) -> Picture:
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        buffer = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, self.width - 1, self.height - 1, 1, buffer, 0)
        pixels = vtk_to_numpy(buffer).reshape(self.height, self.width, 3)  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(pixels[::-1])  # OpenGL counts rows from below

    def _covered(self) -> npt.NDArray[np.bool_]:
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkFloatArray

        buffer = vtkFloatArray()
        self._window.GetZbufferData(0, 0, self.width - 1, self.height - 1, buffer)
        depth = vtk_to_numpy(buffer).reshape(self.height, self.width)[::-1]  # type: ignore[no-untyped-call]
        return np.asarray(depth < 1.0)

    def _stage(
        self, ground: tuple[float, float, float], smooth_edges: bool
    ) -> tuple[vtkRenderWindow, vtkRenderer]:
        window = _window()
        from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer

        window.SetOffScreenRendering(1)
        window.SetSize(self.width, self.height)
        window.SetMultiSamples(0)  # costs Mesa more than the pass over the picture, FXAA
        renderer = vtkRenderer()
        renderer.SetUseFXAA(smooth_edges)
        renderer.SetBackground(*ground)
        window.AddRenderer(renderer)

        mapper = vtkPolyDataMapper()
        mapper.SetInputData(self._poly_data())
        actor = vtkActor()
        actor.SetMapper(mapper)
        surface = actor.GetProperty()
        surface.SetInterpolationToPhong()
        surface.SetColor(*SKIN)
        surface.SetAmbient(0.15)
        surface.SetDiffuse(0.85)
        surface.SetSpecular(0.12)
        surface.SetSpecularPower(12)
        renderer.AddActor(actor)
        self._aim(renderer)
        return window, renderer

    def _poly_data(self) -> object:
        from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

        points, triangles, data = vtkPoints(), vtkCellArray(), vtkPolyData()
        points.SetData(numpy_to_vtk(self._points))  # type: ignore[no-untyped-call]
        ids = numpy_to_vtkIdTypeArray(self._faces.ravel(), deep=1)  # type: ignore[no-untyped-call]
        triangles.SetData(3, ids)
        normals = numpy_to_vtk(self._normals)  # type: ignore[no-untyped-call]
        data.SetPoints(points)
        data.SetPolys(triangles)
        data.GetPointData().SetNormals(normals)
        if self._colours is not None:
            data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(self._colours), deep=1))  # type: ignore[no-untyped-call]
        self._changing = (points, normals, data)
        return data

    def _aim(self, renderer: vtkRenderer) -> None:
        camera = renderer.GetActiveCamera()
        camera.SetPosition(0, 0, 0)
        camera.SetFocalPoint(0, 0, -1)
        camera.SetViewUp(0, 1, 0)
        camera.SetViewAngle(float(np.degrees(2 * np.arctan(self.height / 2 / self.camera.focal))))
        # VTK shifts the window, in units of half its size, and the picture goes the other way.
        camera.SetWindowCenter(
            1 - 2 * self.camera.center_x / self.width, 2 * self.camera.center_y / self.height - 1
        )


def _incidence(faces: npt.NDArray[np.int64], vertex_count: int) -> object:
    """(V, F) sparse: which triangles meet in a vertex, so that its normal is their area-weighted mean."""
    from scipy.sparse import csr_matrix

    triangles = np.repeat(np.arange(len(faces)), 3)
    ones = np.ones(faces.size, np.float32)
    return csr_matrix((ones, (faces.ravel(), triangles)), shape=(vertex_count, len(faces)))


def _window() -> vtkRenderWindow:
    try:
        import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - registers the drawing classes
        from vtkmodules.vtkRenderingCore import vtkRenderWindow
    except ModuleNotFoundError as error:
        raise RenderError("drawing needs VTK: pip install 'multitalk[eval]'") from error

    if sys.platform != "linux":
        return vtkRenderWindow()
    if ctypes.util.find_library("EGL") is None:
        raise RenderError("drawing needs the EGL library: install libegl1 and libegl-mesa0 (Debian, Ubuntu)")
    # Without this VTK first looks for an X server and complains that there is none.
    name, before = "VTK_DEFAULT_OPENGL_WINDOW", os.environ.get("VTK_DEFAULT_OPENGL_WINDOW")
    os.environ[name] = before or "vtkEGLRenderWindow"
    try:
        return vtkRenderWindow()
    finally:
        if before is None:
            del os.environ[name]
