"""Faces of a clip, frame by frame: what a landmark detector offers, and MediaPipe's, the default one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.faces.clip_frames import ClipFrames, Frame
from multitalk.extract.faces.face_networks import FaceCrop, FaceNetworks, crop_around
from multitalk.extract.faces.steadiness import spread
from multitalk.ground.face_layout import face_boxes, shared
from multitalk.ground.outcome import OUTCOME, RUNTIME

_EYES = (33, 263)  # outer corners
_MEASURED = 6  # of so many frames in one, faces are looked at in other crops
_SAME_FACE = 0.5  # share of the smaller box that two finds of one face have in common
_SAME_LANDMARKS = (
    0.03  # of the inter-ocular distance; what two crops of a face in full view differ by is 0.01
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
        ge=1,
        le=10,
        description="Most faces looked at in a frame",
    )
    min_detection_confidence: Annotated[float, OUTCOME] = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Detector's confidence from which a place is a face",
    )
    min_doubtful_confidence: Annotated[float, OUTCOME] = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Detector's confidence from which a place that touches no surer one is looked at, twice, since "
        "landmarks fall onto nose and cheeks there: faces that the crop halves have no more",
    )
    min_presence_confidence: Annotated[float, OUTCOME] = Field(
        default=0.5, ge=0, le=1, description="Landmark network's confidence from which it sees a face"
    )
    face_alignment: FaceAlignmentSettings = Field(
        default_factory=FaceAlignmentSettings, description="What the backend face-alignment goes by"
    )


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face in one frame."""

    points: npt.NDArray[np.float32]
    """(N, 3) landmarks in pixels of the clip: x right, y down, z away from the viewer in the same unit."""
    presence: float = 1.0
    """0..1, how sure the network is that it sees a face; 1 of a detector that does not tell."""
    certain: bool = True
    """Whether its points can be relied on; what is not is a face that counts, but no landmarks of one."""
    crop: FaceCrop | None = None
    """What the network was shown of it, of a detector that tells."""
    spread: tuple[float, float] | None = None
    """How far mouth and eyes depend on the crop (`multitalk.extract.faces.steadiness`); None where not measured."""

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
    """MediaPipe's networks on one CPU core: each frame on its own, as its FaceLandmarker does in image mode.

    A face that the detector is not sure of is looked for where it was in the frame before, and then in places
    that only might be one. Such landmarks are certain where a second look, at a crop around them, says the same.

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
        """Yield every frame of a clip with its faces, in order, the surest first.

        Raises
        ------
        ClipError
            ``corrupt_media`` if the clip can not be decoded, ``internal`` if the networks can not be run.
        """
        faces: tuple[DetectedFace, ...] = ()
        with ClipFrames(clip) as frames:
            for index, frame in enumerate(frames):
                faces = self.find(frame, faces, measured=index % _MEASURED == 0)
                yield FrameFaces(index, frame, faces)

    def find(
        self, frame: Frame, before: Sequence[DetectedFace] = (), *, measured: bool = True
    ) -> tuple[DetectedFace, ...]:
        """Find the faces of a frame (H, W, 3) RGB, the surest first.

        Parameters
        ----------
        before
            Those of the frame before.
        measured
            Whether to measure how steady their landmarks are, which takes twice as long again.
        """
        settings, kept = self._settings, list[DetectedFace]()
        sure, doubtful = self._networks.find(
            frame, settings.min_detection_confidence, settings.min_doubtful_confidence
        )
        for found in sure:
            self._keep(self._look(frame, found.crop), kept)
        for face in before:
            if _apart(face.box, kept):
                self._keep(self._look_twice(frame, crop_around(face.points)), kept)
        for found in doubtful:
            self._keep(self._look_twice(frame, found.crop), kept)
        if measured:
            kept = [
                replace(face, spread=spread(self._networks, frame, face.crop, face.points))
                if face.crop
                else face
                for face in kept
            ]
        return tuple(kept)

    def _look(self, frame: Frame, crop: FaceCrop) -> DetectedFace | None:
        """Return the face of a crop, if it is one."""
        points, presence = self._networks.landmarks(frame, crop)
        return (
            DetectedFace(points, presence, crop=crop)
            if presence >= self._settings.min_presence_confidence
            else None
        )

    def _look_twice(self, frame: Frame, crop: FaceCrop) -> DetectedFace | None:
        """Return the face of a crop, of which it is not known to be one: certain where a second crop shows the same."""
        first = self._look(frame, crop)
        second = first and self._look(frame, crop_around(first.points))
        if first is None or second is None:
            return None
        return replace(second, certain=_difference(first.points, second.points) <= _SAME_LANDMARKS)

    def _keep(self, face: DetectedFace | None, kept: list[DetectedFace]) -> None:
        """Add a face to those of the frame, if it is not among them."""
        if face is not None and len(kept) < self._settings.max_faces and _apart(face.box, kept):
            kept.append(face)

    @cached_property
    def _networks(self) -> FaceNetworks:
        try:
            return FaceNetworks(self._model)
        except (ImportError, OSError) as error:
            raise ClipError(
                ErrorCode.INTERNAL,
                f"LiteRT can not be loaded: {error}. Install it anew: pip install --force-reinstall ai-edge-litert",
                Stage.LANDMARKS,
            ) from error


def _apart(box: npt.NDArray[np.float32], faces: Sequence[DetectedFace]) -> bool:
    """Whether a box (4,) is of none of the faces."""
    return all(shared(box, face.box) < _SAME_FACE for face in faces)


def _difference(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Mean distance of two sets of landmarks (N, 3) in the picture, in inter-ocular distances."""
    apart = np.linalg.norm(first[:, :2] - second[:, :2], axis=1).mean()
    return float(apart / max(float(np.linalg.norm(second[_EYES[0], :2] - second[_EYES[1], :2])), 1.0))
