"""iBUG's 68 points of every face, by the library face-alignment (A. Bulat and G. Tzimiropoulos, ICCV 2017).

Of its networks the three-dimensional ones are taken. Their outline stays on the skin, so that a fixed point of
a head model answers to it, where that of the two-dimensional ones slides to the visible edge of a turned head;
and they give the depths that the head's pose is measured from.

The library would download its networks and open one of them as an unrestricted pickle. Here they come from
files that the caller has verified, and are opened as tensors only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.faces.clip_frames import ClipFrames, Frame
from multitalk.extract.faces.landmarks import DetectedFace, FrameFaces, LandmarkSettings

LANDMARK_NETWORK, DEPTH_NETWORK = "3DFAN4-7835d9f11d.pth.tar", "depth-2a464da4ea.pth.tar"
"""File names of the two networks (asset `face_alignment`)."""
SFD_NETWORK = "s3fd-619a316812.pth"
"""File name of the detector SFD (asset `sfd`)."""
BLAZEFACE_NETWORK, BLAZEFACE_ANCHORS = "blazefaceback.pth", "anchorsback.npy"
"""File names of the detector BlazeFace (asset `blazeface`)."""

_LEAST_SIDE = 8  # pixels of a box that can be looked at
# The library's depth grows towards the viewer (in its own test picture the nose is at +63 pixels, the ear at -86).
_OUR_AXES = np.array([1, 1, -1], np.float32)

Boxes = npt.NDArray[np.float64]  # of which the library makes Python numbers


class FaceAlignmentDetector:
    """face-alignment's 3D landmarks of the faces that SFD or BlazeFace finds.

    The networks are loaded when first needed, and kept; every frame is looked at alone.

    Parameters
    ----------
    networks
        Folder of `LANDMARK_NETWORK` and `DEPTH_NETWORK`.
    detector
        SFD's file, or the folder of BlazeFace's two, as `settings.face_alignment.detector` says.
    settings
        What is sought.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    """

    def __init__(self, networks: Path, detector: Path, settings: LandmarkSettings | None = None) -> None:
        self._settings = settings or LandmarkSettings(backend="face-alignment")
        self._networks = networks
        self._detector = detector
        for file in (networks / LANDMARK_NETWORK, networks / DEPTH_NETWORK, *self._detector_files):
            if not file.is_file():
                raise FileNotFoundError(f"no network of face-alignment at {file}")

    def faces(self, clip: Path) -> Iterator[FrameFaces]:
        """Yield every frame of a clip with its faces, in order, the surest face first.

        Raises
        ------
        ClipError
            ``corrupt_media`` if the clip can not be decoded, ``internal`` if the library is not installed or a
            file is not one of its networks.
        """
        with ClipFrames(clip) as frames:
            for index, frame in enumerate(frames):
                yield FrameFaces(index, frame, self._find(frame))

    def _find(self, frame: Frame) -> tuple[DetectedFace, ...]:
        boxes = self._boxes(frame)
        if not len(boxes):
            return ()
        found = self._library.get_landmarks_from_image(frame, detected_faces=list(boxes))
        return tuple(DetectedFace(np.asarray(points, np.float32) * _OUR_AXES) for points in found)

    def _boxes(self, frame: Frame) -> Boxes:
        """Boxes (F, 5) of the surest finds: left, top, right, bottom, confidence; inside the frame."""
        found = self._library.face_detector.detect_from_image(frame)
        boxes = np.asarray([box for box in found if len(box)], np.float64).reshape(-1, 5)
        height, width = frame.shape[:2]
        boxes[:, :4] = boxes[:, :4].clip(0, [width, height, width, height])
        seen = (boxes[:, 2:4] - boxes[:, :2]).min(axis=1, initial=np.inf) >= _LEAST_SIDE
        seen &= boxes[:, 4] >= self._settings.face_alignment.min_detection_confidence
        surest: Boxes = boxes[seen][np.argsort(-boxes[seen, 4], kind="stable")[: self._settings.max_faces]]
        return surest

    @property
    def _detector_files(self) -> tuple[Path, ...]:
        if self._settings.face_alignment.detector == "sfd":
            return (self._detector,)
        return (self._detector / BLAZEFACE_NETWORK, self._detector / BLAZEFACE_ANCHORS)

    @cached_property
    def _library(self) -> Any:
        """The library's `FaceAlignment`, its networks loaded from our files."""
        try:
            from face_alignment import FaceAlignment, LandmarksType
        except ImportError as error:
            message = (
                f"the backend face-alignment needs its extra: pip install multitalk[face-alignment] ({error})"
            )
            raise ClipError(ErrorCode.INTERNAL, message, Stage.LANDMARKS) from error
        networks = self._networks

        class FromFiles(FaceAlignment):  # type: ignore[misc]  # without types
            def _load_native(self, _name: str, size: int, device: str, dtype: Any) -> Any:
                return _network("FAN", networks / LANDMARK_NETWORK, size).to(device, dtype)

            def _load_native_depth(self, device: str, dtype: Any) -> Any:
                return _network("ResNetDepth", networks / DEPTH_NETWORK).to(device, dtype)

        ours = self._settings.face_alignment
        threshold: Literal["filter_threshold", "min_score_thresh"]
        if ours.detector == "sfd":
            threshold, files = "filter_threshold", {"path_to_detector": str(self._detector)}
        else:
            network, anchors = self._detector_files
            threshold = "min_score_thresh"
            files = {"path_to_detector": str(network), "path_to_anchor": str(anchors)}
        kwargs: dict[str, Any] = {**files, threshold: ours.min_detection_confidence}
        if ours.detector == "blazeface":
            kwargs["back_model"] = True  # the one of the two that sees small faces
        try:
            return FromFiles(
                LandmarksType.THREE_D,
                device=ours.device,
                face_detector=ours.detector,
                face_detector_kwargs=kwargs,
                flip_input=False,  # the mean with the mirror image's points would cost as much again
                compile=False,  # else it keeps a cache of programs in the user's home
            )
        except (ClipError, MemoryError):
            raise
        except Exception as error:  # whatever the library and torch raise for a file that is another
            raise _unusable(self._detector, error) from error


def _network(kind: Literal["FAN", "ResNetDepth"], file: Path, *size: int) -> Any:
    """One of the library's networks with the tensors of a file, ready for use."""
    from face_alignment import models

    network = getattr(models, kind)(*size)
    try:
        network.load_state_dict(_tensors(file))
    except Exception as error:  # torch raises anything for a file that is no checkpoint, or another's
        raise _unusable(file, error) from error
    return network.eval()


def _tensors(file: Path) -> dict[str, Any]:
    """Tensors of a checkpoint by name; nothing but tensors and plain numbers is ever made."""
    from multitalk.ground.untrusted.checkpoint_file import read_content

    stored = read_content(file)
    tensors = stored.get("state_dict", stored)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _unusable(file: Path, error: Exception) -> ClipError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    message = f"{file} is not the network that face-alignment publishes: {reason[0]}"
    return ClipError(ErrorCode.INTERNAL, message, Stage.LANDMARKS)
