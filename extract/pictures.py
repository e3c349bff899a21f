"""Faces in single pictures: landmarks, and what MediaPipe's blendshape network says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.extract.faces.native_stderr import MEDIAPIPE_CHATTER, without_lines
from multitalk.ground.untrusted.confinement import without_network

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PictureFace:
    """The face of a picture."""

    points: npt.NDArray[np.float32]
    """(478, 3) landmarks, pixels: x right, y down, z away from the viewer in the same unit."""
    scores: dict[str, float]
    """0 to 1 by ARKit's names, as far as the network knows them; empty unless asked for."""


@contextmanager
def picture_landmarker(
    model: Path, *, scores: bool = False
) -> Iterator[Callable[[Picture], PictureFace | None]]:
    """Start MediaPipe's landmarker in image mode and give the function that looks at one picture.

    Parameters
    ----------
    model
        `face_landmarker.task`.
    scores
        Whether the blendshape network is asked as well.
    """
    with without_lines(MEDIAPIPE_CHATTER):
        from mediapipe import Image, ImageFormat
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=1,
            min_face_detection_confidence=0.2,
            output_face_blendshapes=scores,
        )
        # It would call home.
        landmarker = without_network(partial(vision.FaceLandmarker.create_from_options, options))

    def look(picture: Picture) -> PictureFace | None:
        found = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture)))
        if not found.face_landmarks:
            return None
        height, width = picture.shape[:2]
        points = np.asarray([(p.x, p.y, p.z) for p in found.face_landmarks[0]], np.float32)
        named = {c.category_name: float(c.score) for c in found.face_blendshapes[0]} if scores else {}
        return PictureFace(points * np.asarray([width, height, width], np.float32), named)

    try:
        yield look
    finally:
        landmarker.close()  # left to the garbage collector it raises at the interpreter's exit
