"""Faces of a clip, frame by frame: what a landmark detector offers, and MediaPipe's, the default one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.faces.clip_frames import ClipFrames, Frame
from multitalk.extract.faces.native_stderr import without_lines
from multitalk.ground.face_layout import face_boxes
from multitalk.ground.outcome import OUTCOME, RUNTIME

_FRAME_MS = 40
_SYSTEM_PACKAGES = "libegl1 libgles2 libgl1 libglib2.0-0"
# MediaPipe says this at every start; no environment variable that it or its logger knows turns it off.
MEDIAPIPE_CHATTER = re.compile(
    rb"WARNING: Logging before InitGoogle|[IW]\d{4} \d\d:|INFO: Created TensorFlow Lite"
)


class FaceAlignmentSettings(BaseModel):
    """How the backend `face-alignment` finds faces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Annotated[Literal["sfd", "blazeface"], OUTCOME] = Field(
        default="sfd", description="Network that finds faces: SFD finds more, BlazeFace is far faster"
    )
    min_detection_confidence: Annotated[float, OUTCOME] = Field(
        default=0.5, ge=0, le=1, description="Confidence from which a find is a face"
    )
    device: Annotated[str, RUNTIME] = Field(
        default="cpu", description="Torch device, for instance cpu or cuda"
    )


class LandmarkSettings(BaseModel):
    """How faces are found in a clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Annotated[Literal["mediapipe", "face-alignment"], OUTCOME] = Field(
        default="mediapipe",
        description="Landmark detector: MediaPipe's 478 points, or iBUG's 68 of the extra face-alignment",
    )
    max_faces: Annotated[int, OUTCOME] = Field(
        default=4,
        ge=2,
        le=10,
        description="Faces sought in a frame; with one, MediaPipe smooths the lips' movement away",
    )
    min_detection_confidence: Annotated[float, OUTCOME] = Field(
        default=0.2,
        ge=0,
        le=1,
        description="MediaPipe's confidence from which a face is looked at; at 0.5 faces that the crop halves are "
        "missed",
    )
    min_presence_confidence: Annotated[float, OUTCOME] = Field(
        default=0.5, ge=0, le=1, description="MediaPipe's confidence from which what was looked at is a face"
    )
    face_alignment: FaceAlignmentSettings = Field(
        default_factory=FaceAlignmentSettings, description="What the backend face-alignment goes by"
    )


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face in one frame."""

    points: npt.NDArray[np.float32]
    """(N, 3) landmarks in pixels of the clip: x right, y down, z away from the viewer in the same unit."""

    @property
    def box(self) -> npt.NDArray[np.float32]:
        """(4,) left, top, right, bottom, in pixels."""
        return face_boxes(self.points)


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """A frame and the faces in it."""

    index: int
    frame: Frame
    """(H, W, 3) RGB; valid until the next frame is asked for."""
    faces: tuple[DetectedFace, ...]


class FaceDetector(Protocol):
    """Finds the faces of clips, all with points of one layout (`multitalk.ground.face_layout`)."""

    def faces(self, clip: Path) -> Iterator[FrameFaces]:
        """Yield every frame of a clip with its faces, in order; holds no more than a few frames at a time."""
        ...


class MediaPipeDetector:
    """MediaPipe's FaceLandmarker, on one CPU core.

    It starts anew for every clip (about 30 ms), so that no clip depends on the one before it, and in video
    mode with two faces or more: with a single face it would smooth over time and take a quarter of the lips'
    movement at 4 to 6 Hz. While fewer faces are seen than sought, its points are those of image mode.

    Parameters
    ----------
    model
        `face_landmarker.task`.
    settings
        What is sought.

    Raises
    ------
    FileNotFoundError
        The model is not there.
    """

    def __init__(self, model: Path, settings: LandmarkSettings | None = None) -> None:
        if not model.is_file():
            raise FileNotFoundError(f"no face landmark model at {model}")
        self._model = model
        self._settings = settings or LandmarkSettings()

    def faces(self, clip: Path) -> Iterator[FrameFaces]:
        """Yield every frame of a clip with its faces, in order.

        Raises
        ------
        ClipError
            ``corrupt_media`` if the clip can not be decoded, ``internal`` if a system library is missing.
        """
        with _landmarker(self._model, self._settings) as detect, ClipFrames(clip) as frames:
            for index, frame in enumerate(frames):
                yield FrameFaces(index, frame, detect(frame, index))


@contextmanager
def _landmarker(
    model: Path, settings: LandmarkSettings
) -> Iterator[Callable[[Frame, int], tuple[DetectedFace, ...]]]:
    """Start a landmarker and give the function that finds the faces of the clip's next frame."""
    try:
        with without_lines(MEDIAPIPE_CHATTER):
            landmarker = _start(model, settings)
    except (ImportError, OSError) as error:
        raise ClipError(
            ErrorCode.INTERNAL,
            f"MediaPipe can not be loaded: {error}. Install what it needs: apt-get install {_SYSTEM_PACKAGES}",
            Stage.LANDMARKS,
        ) from error
    from mediapipe import Image, ImageFormat

    def detect(frame: Frame, index: int) -> tuple[DetectedFace, ...]:
        image = Image(image_format=ImageFormat.SRGB, data=frame)
        found = landmarker.detect_for_video(image, index * _FRAME_MS).face_landmarks
        height, width = frame.shape[:2]
        # MediaPipe gives shares of the frame; its depth has the scale of x.
        scale = np.asarray([width, height, width], np.float32)
        return tuple(
            DetectedFace(np.asarray([(p.x, p.y, p.z) for p in face], np.float32) * scale) for face in found
        )

    try:
        yield detect
    finally:
        landmarker.close()  # left to the garbage collector it raises at the interpreter's exit


def _start(model: Path, settings: LandmarkSettings) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=settings.max_faces,
        min_face_detection_confidence=settings.min_detection_confidence,
        min_face_presence_confidence=settings.min_presence_confidence,
        min_tracking_confidence=settings.min_presence_confidence,
    )
    return vision.FaceLandmarker.create_from_options(options)
