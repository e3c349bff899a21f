"""What lip reading looks at: mouths in rendered vertices and in real videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer
from multitalk.eval.ground_truth import GroundTruth
from multitalk.eval.lip_reading.lip_reading import MouthCrops, Version, file_version
from multitalk.eval.lip_reading.mouth import MouthLandmarks, Topology, model_input, mouth_crops
from multitalk.eval.vertex_files import VertexFileError, find_vertex_files, read_vertices
from multitalk.ground.units import FPS
from multitalk.manifests.media import MediaError, frame_rate, read_frames

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32, Integer

RENDER_SIZE = 512


def rendered_mouths(
    vertices: Float32[Array, "frames vertices 3"],
    faces: Integer[Array, "faces 3"],
    template: Float32[Array, "vertices 3"],
) -> Float32[Array, "frames 88 88"]:
    """Render a head without pose and cut out its mouth; the landmarks are projected, not detected.

    Parameters
    ----------
    vertices
        (T, V, 3) metres at 25 frames a second.
    faces
        (F, 3) triangles.
    template
        (V, 3) neutral face, which the camera is set up by.

    Returns
    -------
    array
        (T, 88, 88) normalised grey.

    Raises
    ------
    VertexFileError
        The vertices are those of another mesh.
    """
    if vertices.shape[1:] != template.shape:
        raise VertexFileError(
            f"{vertices.shape[1]} vertices are not a mesh of {len(template)}: name the head model they belong to"
        )
    camera = Camera.portrait(template, RENDER_SIZE)
    # The outline of the head is not in the picture of its mouth.
    renderer = MeshRenderer(faces, len(template), camera, RENDER_SIZE, RENDER_SIZE, smooth_edges=False)
    return model_input(mouth_crops(map(renderer.render, vertices), MouthLandmarks.of_mesh(vertices, camera)))


def vertex_mouth_crops(
    folder: Path,
    faces: Integer[Array, "faces 3"],
    template: Float32[Array, "vertices 3"],
    metres_per_unit: float = 1.0,
) -> MouthCrops:
    """Mouth pictures of a model's folder of vertex files.

    Raises
    ------
    VertexFileError
        The folder can not be used.
    """
    files = find_vertex_files(folder)

    def crops(clip_id: str) -> Float32[Array, "frames 88 88"]:
        if clip_id not in files:
            raise LookupError(f"no prediction in {folder}")
        return rendered_mouths(read_vertices(files[clip_id].paths[0], metres_per_unit), faces, template)

    return crops


def true_mouth_crops(truth: GroundTruth, faces: Integer[Array, "faces 3"]) -> MouthCrops:
    """Mouth pictures of the true motion, rendered: the ceiling of what any model could reach."""

    def crops(clip_id: str) -> Float32[Array, "frames 88 88"]:
        clip = truth.load(clip_id)
        if clip.template is None:
            raise LookupError(f"{clip_id}: rendering needs a template")
        return rendered_mouths(clip.vertices, faces, clip.template)

    return crops


def video_mouth_crops(
    video: Callable[[str], Path],
    landmarks: Callable[[str], npt.NDArray[np.floating]],
) -> MouthCrops:
    """Mouth pictures of real or rendered videos at 25 frames a second.

    Parameters
    ----------
    video
        Gives a clip's video by clip id.
    landmarks
        Gives its landmarks (T, N, 2 or more) in pixels of that video, NaN without a face; for instance
        `multitalk.open_dataset(root).landmarks`, or a detector. N tells whose they are: 68 are iBUG's, more are
        MediaPipe's.
    """

    def crops(clip_id: str) -> Float32[Array, "frames 88 88"]:
        path = video(clip_id)
        if abs(frame_rate(path) - FPS) > 0.01:
            raise MediaError(f"{path}: {frame_rate(path):.4g} frames a second; lips are read at {FPS:.0f}")
        points = landmarks(clip_id)
        topology: Topology = "ibug68" if points.shape[1] == 68 else "mediapipe"
        return model_input(mouth_crops(read_frames(path), MouthLandmarks.of(points, topology)))

    return crops


def model_version(folder: Path) -> Version:
    """Tell the state of a model's file of a clip: of `<clip>.mp4` where there are videos, or of vertices.

    Raises
    ------
    VertexFileError
        The folder can not be used.
    """
    if any(folder.glob("*.mp4")):
        return lambda clip_id: file_version(folder / f"{clip_id}.mp4")
    files = find_vertex_files(folder)

    def version(clip_id: str) -> str:
        if clip_id not in files:
            raise LookupError(f"no prediction in {folder}")
        return file_version(files[clip_id].paths[0])

    return version
