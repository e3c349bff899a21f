"""Faces of a clip, frame by frame: MediaPipe's 478 landmarks of every face that is seen."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from extract.errors import ClipError, ErrorCode, Stage
from extract.native_stderr import without_lines

if TYPE_CHECKING:
    from types import TracebackType

LANDMARKS = 478

_FRAME_MS = 40
_AHEAD = 8  # decoded frames in waiting: 6 MB, whatever the length of the clip
_SYSTEM_PACKAGES = "libegl1 libgles2 libgl1 libglib2.0-0"
# MediaPipe says this at every start; no environment variable that it or its logger knows turns it off.
MEDIAPIPE_CHATTER = re.compile(
    rb"WARNING: Logging before InitGoogle|[IW]\d{4} \d\d:|INFO: Created TensorFlow Lite"
)

Frame = npt.NDArray[np.uint8]


class LandmarkSettings(BaseModel):
    """How faces are found in a clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_faces: int = Field(
        default=4,
        ge=2,
        le=10,
        description="Faces sought in a frame; with one, MediaPipe smooths the lips' movement away",
    )
    min_detection_confidence: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Confidence from which a face is looked at; at 0.5 faces that the crop halves are missed",
    )
    min_presence_confidence: float = Field(
        default=0.5, ge=0, le=1, description="Confidence from which what was looked at is a face"
    )


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    points: npt.NDArray[np.float32]
    """(478, 3) landmarks in pixels of the clip: x right, y down, z away from the viewer in the same unit."""

    @property
    def box(self) -> npt.NDArray[np.float32]:
        """(4,) left, top, right, bottom of the points, in pixels."""
        low, high = self.points[:, :2].min(axis=0), self.points[:, :2].max(axis=0)
        return np.concatenate([low, high])


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """A frame and the faces in it."""

    index: int
    frame: Frame
    """(H, W, 3) RGB; valid until the next frame is asked for."""
    faces: tuple[Face, ...]


class FaceDetector(Protocol):
    """Finds the faces of clips; what another landmark network has to offer."""

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
        with _landmarker(self._model, self._settings) as detect, _Decoder(clip) as frames:
            for index, frame in enumerate(frames):
                yield FrameFaces(index, frame, detect(frame, index))


@contextmanager
def _landmarker(
    model: Path, settings: LandmarkSettings
) -> Iterator[Callable[[Frame, int], tuple[Face, ...]]]:
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

    def detect(frame: Frame, index: int) -> tuple[Face, ...]:
        image = Image(image_format=ImageFormat.SRGB, data=frame)
        found = landmarker.detect_for_video(image, index * _FRAME_MS).face_landmarks
        height, width = frame.shape[:2]
        # MediaPipe gives shares of the frame; its depth has the scale of x.
        scale = np.asarray([width, height, width], np.float32)
        return tuple(Face(np.asarray([(p.x, p.y, p.z) for p in face], np.float32) * scale) for face in found)

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


class _Decoder:
    """Iterates over the RGB frames of a clip, decoded by a thread that runs a few frames ahead."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self._queue: queue.Queue[Frame | Exception | None] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)

    def __enter__(self) -> Iterator[Frame]:
        self._thread.start()
        return self._frames()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _frames(self) -> Iterator[Frame]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _decode(self) -> None:
        import av

        last: Exception | None = None
        try:
            with av.open(str(self._clip)) as container:
                for frame in container.decode(video=0):
                    if not self._put(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)):
                        return
        except (av.FFmpegError, IndexError) as error:  # not a video, damaged, or without a picture
            message = f"{self._clip.name} can not be decoded: {error}"
            last = ClipError(ErrorCode.CORRUPT_MEDIA, message, Stage.LANDMARKS)
        except Exception as error:  # whatever it is, the reading thread must not wait for ever
            last = error
        self._put(last)

    def _put(self, item: Frame | Exception | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
