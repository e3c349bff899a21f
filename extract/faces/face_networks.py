"""MediaPipe's two networks for faces, called one by one: where faces are, and the landmarks of one of them.

The networks and every number of their use (anchors, crop, turning, suppression) are MediaPipe's, so that the
landmarks are those of its FaceLandmarker in image mode; what its graph hides is told here: how sure the detector
was, and how sure the landmark network is that a face was there. Nothing is carried from frame to frame.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.extract.faces.clip_frames import Frame
from multitalk.extract.faces.native_stderr import MEDIAPIPE_CHATTER, without_lines

FloatArray = npt.NDArray[np.float32]

_DETECTOR, _LANDMARKS = "face_detector.tflite", "face_landmarks_detector.tflite"
_DETECTOR_SIDE, _LANDMARK_SIDE = 128, 256  # pixels
_GRIDS = ((16, 2), (8, 6))  # anchors: cells along a side, and anchors in each cell
_SAME = 0.3  # overlap from which finds of the detector are one face
_LONGER = 1.5  # side of the crop in sides of the box
_EYES = (33, 263)  # outer corners, which the crop is levelled by


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """The turned square of a frame that the landmark network is shown."""

    centre: tuple[float, float]
    """Pixels."""
    side: float
    """Pixels."""
    angle: float
    """Radians, clockwise in the picture, by which the face is turned."""


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A place that the detector takes for a face."""

    confidence: float
    """0..1."""
    place: FloatArray
    """(8, 2) pixels of the frame: left top and right bottom of its box; both eyes, nose, mouth, both ears."""

    @property
    def crop(self) -> FaceCrop:
        """What the landmark network is shown of it."""
        return _crop(self.place[:2].reshape(4), self.place[2], self.place[3])


class FaceNetworks:
    """The two networks of `face_landmarker.task` on one CPU core.

    Parameters
    ----------
    model
        `face_landmarker.task`.

    Raises
    ------
    FileNotFoundError
        The model is not there.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise FileNotFoundError(f"no face landmark model at {model}")
        with zipfile.ZipFile(model) as files:
            self._detector = _Network(files.read(_DETECTOR))
            self._landmarks = _Network(files.read(_LANDMARKS))
        self._anchors = _anchors()

    def find(
        self, frame: Frame, sure: float, doubtful: float | None = None
    ) -> tuple[list[FoundFace], list[FoundFace]]:
        """Find the faces of a frame (H, W, 3) RGB that fill a sixth of its longer side or more, the surest first.

        Finds that overlap are one face, at their mean by confidence.

        Returns
        -------
        tuple
            Faces of at least the confidence `sure`, and places of at least `doubtful` that none of them touches.
        """
        height, width = frame.shape[:2]
        longer = max(height, width)
        whole = FaceCrop((width / 2, height / 2), longer, 0.0)
        finds, scores = self._detector(_seen(frame, whole, _DETECTOR_SIDE, black=True) * np.float32(2) - 1)
        confidence = 1 / (1 + np.exp(-scores.reshape(-1).astype(np.float64).clip(-100, 100)))
        kept = np.flatnonzero(confidence >= min(sure, sure if doubtful is None else doubtful))
        points = finds.reshape(len(self._anchors), 8, 2)[kept] / np.float32(_DETECTOR_SIDE)
        points[:, [0, *range(2, 8)]] += self._anchors[kept, None]
        half = points[:, 1:2] / 2
        corners = np.concatenate([points[:, :1] - half, points[:, :1] + half, points[:, 2:]], axis=1)
        offset = np.asarray([(width - longer) / 2, (height - longer) / 2], np.float32)
        places, confidence = corners * np.float32(longer) + offset, confidence[kept]
        faces = _merged(places[confidence >= sure], confidence[confidence >= sure])
        others = confidence < sure
        for face in faces:
            others &= _overlaps(face.place, places) <= _SAME
        return faces, _merged(places[others], confidence[others])

    def landmarks(self, frame: Frame, crop: FaceCrop) -> tuple[FloatArray, float]:
        """Find the landmarks of the face in a crop.

        Returns
        -------
        tuple
            (478, 3) pixels of the frame: x right, y down, z away from the viewer in the same unit; and 0..1, how
            sure the network is that a face is there.
        """
        points, presence, _ = self._landmarks(_seen(frame, crop, _LANDMARK_SIDE))
        local = points.reshape(-1, 3) / np.float32(_LANDMARK_SIDE)
        x, y = local[:, 0] - np.float32(0.5), local[:, 1] - np.float32(0.5)
        cos, sin = np.cos(crop.angle), np.sin(crop.angle)
        placed = np.stack([cos * x - sin * y, sin * x + cos * y, local[:, 2]], axis=1) * crop.side
        placed[:, :2] += crop.centre
        return placed.astype(np.float32), float(1 / (1 + np.exp(-float(presence.reshape(-1)[0]))))


def crop_around(points: FloatArray) -> FaceCrop:
    """Return the crop of a face whose landmarks (478, 2 or 3) are known, as MediaPipe follows it to the next frame."""
    flat = points[:, :2]
    return _crop(np.concatenate([flat.min(axis=0), flat.max(axis=0)]), flat[_EYES[0]], flat[_EYES[1]])


class _Network:
    """A network on one core: arrays in, arrays out."""

    def __init__(self, content: bytes) -> None:
        with without_lines(MEDIAPIPE_CHATTER):
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, picture: FloatArray) -> list[FloatArray]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _anchors() -> FloatArray:
    """(896, 2) places, in 0..1 of the picture, that the detector's finds are relative to."""
    found = []
    for cells, count in _GRIDS:
        middles = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) / np.float32(cells)
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        found.append(np.repeat(grid, count, axis=0))
    return np.concatenate(found)


def _crop(box: FloatArray, first_eye: FloatArray, second_eye: FloatArray) -> FaceCrop:
    """Turn and enlarge a box (4,) so that the eyes are level."""
    across, down = (float(value) for value in second_eye - first_eye)
    sides = box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2
    return FaceCrop(
        (float(centre[0]), float(centre[1])), _LONGER * float(sides.max()), float(np.arctan2(down, across))
    )


def _merged(finds: FloatArray, confidence: npt.NDArray[np.float64]) -> list[FoundFace]:
    """Take finds (N, 8, 2), box first, that overlap the surest one as one, and so on with the rest."""
    merged = []
    left = np.argsort(-confidence, kind="stable")
    while len(left):
        same = _overlaps(finds[left[0]], finds[left]) > _SAME
        same[0] = True
        group = left[same]
        weights = (confidence[group] / confidence[group].sum()).astype(np.float32)
        merged.append(FoundFace(float(confidence[left[0]]), np.einsum("n,nij->ij", weights, finds[group])))
        left = left[~same]
    return merged


def _overlaps(one: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union (N,) of the boxes of finds."""
    low, high = np.maximum(one[0], others[:, 0]), np.minimum(one[1], others[:, 1])
    both = np.prod((high - low).clip(0), axis=-1)
    areas = np.prod(others[:, 1] - others[:, 0], axis=-1)
    union = np.prod(one[1] - one[0]) + areas - both
    result: FloatArray = both / np.maximum(union, np.float32(1e-6))
    return result


def _seen(frame: Frame, crop: FaceCrop, side: int, *, black: bool = False) -> FloatArray:
    """(side, side, 3) of a frame, 0..1; beyond its edge black, or what lies on the edge.

    Between pixels it is sampled in steps of 1/32, as OpenCV did up to version 4 and MediaPipe still does.
    """
    import cv2

    scale = crop.side / side
    cos, sin = scale * np.cos(crop.angle), scale * np.sin(crop.angle)
    steps = np.arange(side, dtype=np.float64)
    left = crop.centre[0] - (cos - sin) * side / 2
    top = crop.centre[1] - (sin + cos) * side / 2
    x = np.add.outer(left - sin * steps, cos * steps).astype(np.float32)
    y = np.add.outer(top + cos * steps, sin * steps).astype(np.float32)
    border = cv2.BORDER_CONSTANT if black else cv2.BORDER_REPLICATE
    whole, between = cv2.convertMaps(x, y, cv2.CV_16SC2)
    picture: Any = cv2.remap(
        frame, np.asarray(whole), np.asarray(between), cv2.INTER_LINEAR, borderMode=border
    )
    return np.asarray(picture, np.float32) * np.float32(1 / 255)
