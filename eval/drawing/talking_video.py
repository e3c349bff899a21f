"""Videos of moving meshes: one head with its sound, or several models and the real video side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import GROUNDS, Ground, MeshRenderer
from multitalk.eval.drawing.video import write_video
from multitalk.manifests.media import Picture, Samples, read_frames

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Integer

LABEL_HEIGHT = 40


def head_frames(
    vertices: Float[Array, "frames vertices 3"],
    faces: Integer[Array, "faces 3"],
    template: Float[Array, "vertices 3"],
    size: int = 512,
    ground: Ground = "dark",
    colours: Picture | None = None,
) -> Iterator[Picture]:
    """Draw a head without pose from the front, frame by frame.

    Parameters
    ----------
    vertices
        (T, V, 3) metres.
    faces
        (F, 3) triangles.
    template
        (V, 3) neutral face, which the camera is set up by.
    size
        Side of the pictures, pixels.
    ground
        Colour behind the head.
    colours
        (V, 3) RGB of the vertices, where they are known.

    Yields
    ------
    array
        (size, size, 3) RGB.
    """
    camera = Camera.portrait(template, size)
    renderer = MeshRenderer(faces, len(template), camera, size, size, ground, colours=colours)
    yield from map(renderer.render, vertices)


def write_head_video(
    path: Path,
    vertices: Float[Array, "frames vertices 3"],
    faces: Integer[Array, "faces 3"],
    template: Float[Array, "vertices 3"],
    *,
    fps: float = 25.0,
    sound: Samples | None = None,
    size: int = 512,
    ground: Ground = "dark",
    colours: Picture | None = None,
) -> int:
    """Write the video of one talking head; parameters as `head_frames` and `write_video`."""
    return write_video(path, head_frames(vertices, faces, template, size, ground, colours), fps, sound)


def write_side_by_side(
    path: Path,
    models: Mapping[str, Float[Array, "_ vertices 3"]],
    faces: Integer[Array, "faces 3"],
    template: Float[Array, "vertices 3"],
    *,
    real: Path | None = None,
    fps: float = 25.0,
    sound: Samples | None = None,
    size: int = 512,
    ground: Ground = "dark",
    colours: Picture | None = None,
) -> int:
    """Write a video of several models beside each other, each under its name, with the real video at the left.

    Parameters
    ----------
    path
        `.mp4` file to write.
    models
        (T, V, 3) vertices by name; the video is as long as the shortest.
    real
        The clip's own video at the same frame rate.

    Other parameters as `head_frames`.

    Returns
    -------
    int
        Frames written.
    """
    columns: dict[str, Iterable[Picture]] = {}
    if real is not None:
        columns["video"] = read_frames(real, (size, size))
    camera = Camera.portrait(template, size)
    for name, vertices in models.items():
        renderer = MeshRenderer(faces, len(template), camera, size, size, ground, colours=colours)
        columns[name] = map(renderer.render, vertices)
    return write_video(path, beside(columns, ground), fps, sound)


def beside(columns: Mapping[str, Iterable[Picture]], ground: Ground = "dark") -> Iterator[Picture]:
    """Join pictures of one size from left to right, each above its name, until the first column ends."""
    labels: Picture | None = None
    for pictures in zip(*columns.values(), strict=False):
        if labels is None:
            widths = [picture.shape[1] for picture in pictures]
            labels = np.hstack([_label(n, w, ground) for n, w in zip(columns, widths, strict=True)])
        yield np.vstack([np.hstack(pictures), labels])


def _label(text: str, width: int, ground: Ground) -> Picture:
    import cv2

    white = ground == "white"
    strip = np.full((LABEL_HEIGHT, width, 3), np.round(255 * np.array(GROUNDS[ground])), np.uint8)
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1)
    place = (max(0, (width - text_width) // 2), (LABEL_HEIGHT + text_height) // 2)
    colour = (40, 40, 40) if white else (220, 220, 220)
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 1, cv2.LINE_AA)
    return strip
