"""Faces anywhere in a full frame, also small ones: a pyramid of tiles, then landmarks in each face's box.

MediaPipe's detector is made for selfies: a face narrower than about a sixth of the picture is not found. So it
looks at the whole frame and at overlapping square tiles of it, as fine as the smallest face asked for needs.
What it finds becomes a face only if the landmark network, shown the place alone, agrees.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from multitalk.extract.faces.clip_frames import Frame
from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.extract.faces.native_stderr import MEDIAPIPE_CHATTER, without_lines
from multitalk.extract.faces.tracks import Box
from multitalk.ground.face_layout import overlap, shared
from multitalk.ground.untrusted.confinement import without_network

_TILE = 192  # pixels that a tile is shown to the detector with; the network itself takes 128
_FOUND_FROM = 1 / 6  # share of a tile that a face must fill
_LANDMARK_SIDE = 256
_AROUND = 2.0  # times the box's longer side is what the landmark network is shown
_SAME = 0.5  # share of the smaller box that two finds of one face have in common


class FaceFinder:
    """Finds the faces of full frames on one CPU core; a context manager, since it holds native memory.

    Parameters
    ----------
    model
        `face_landmarker.task`.
    min_face_px
        Faces smaller than this need not be found, pixels of the frame.
    min_detection_confidence, min_presence_confidence
        Confidences, 0..1, from which a place is looked at, and from which it is a face. Real faces have 0.88
        and more at the tile that suits their size; folds of clothes and patterns have up to 0.6, and the
        landmark network believes some of them.
    """

    def __init__(
        self,
        model: Path,
        min_face_px: float,
        min_detection_confidence: float = 0.7,
        min_presence_confidence: float = 0.5,
    ) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        with zipfile.ZipFile(model) as files:
            detector = files.read("face_detector.tflite")
        self._min_face_px = min_face_px
        with without_lines(MEDIAPIPE_CHATTER):
            detecting = vision.FaceDetectorOptions(
                base_options=BaseOptions(model_asset_buffer=detector),
                min_detection_confidence=min_detection_confidence,
            )
            marking = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model)),
                min_face_detection_confidence=min_detection_confidence,
                min_face_presence_confidence=min_presence_confidence,
            )
            # Both would call home.
            self._detector: Any = without_network(partial(vision.FaceDetector.create_from_options, detecting))
            self._landmarker: Any = without_network(
                partial(vision.FaceLandmarker.create_from_options, marking)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detector.close()
        self._landmarker.close()

    def find(self, frame: Frame) -> tuple[DetectedFace, ...]:
        """Find all faces of a frame (H, W, 3) RGB, the larger ones first; points in pixels of the frame."""
        return self.find_near(frame, self._detections(frame))

    def find_near(self, frame: Frame, boxes: Sequence[Box]) -> tuple[DetectedFace, ...]:
        """Find the faces that are at, or near, the places where they were seen before; one each."""
        found = [face for box in boxes if (face := self._face_at(frame, box)) is not None]
        found.sort(key=lambda face: float(np.prod(face.box[2:] - face.box[:2])), reverse=True)
        kept: list[DetectedFace] = []
        for face in found:
            if all(shared(face.box, other.box) < _SAME for other in kept):
                kept.append(face)
        return tuple(kept)

    def _detections(self, frame: Frame) -> list[Box]:
        """Boxes of what looks like a face, the surest first, each place once."""
        import cv2

        height, width = frame.shape[:2]
        found: list[tuple[float, Box]] = []
        for side, tiles in _pyramid(width, height, self._min_face_px):
            scale = _TILE / side
            size = (round(width * scale), round(height * scale))
            small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
            for tile in tiles:
                left, top, right, bottom = (round(edge * scale) for edge in tile)
                for score, box in self._detect(small[top:bottom, left:right]):
                    found.append((score, (box + np.asarray([left, top] * 2, np.float32)) / np.float32(scale)))
        boxes: list[Box] = []
        for _, box in sorted(found, key=lambda item: -item[0]):
            if all(overlap(box, other) < 0.3 for other in boxes):
                boxes.append(box)
        return boxes

    def _detect(self, tile: Frame) -> Iterator[tuple[float, Box]]:
        for detection in self._detector.detect(_image(tile)).detections:
            box = detection.bounding_box
            left, top = box.origin_x, box.origin_y
            yield (
                detection.categories[0].score,
                np.asarray([left, top, left + box.width, top + box.height], np.float32),
            )

    def _face_at(self, frame: Frame, box: Box) -> DetectedFace | None:
        import cv2

        centre = (box[:2] + box[2:]) / 2
        side = float((box[2:] - box[:2]).max()) * _AROUND
        scale = _LANDMARK_SIDE / side
        shift = np.asarray(
            [
                [scale, 0, _LANDMARK_SIDE / 2 - scale * centre[0]],
                [0, scale, _LANDMARK_SIDE / 2 - scale * centre[1]],
            ]
        )
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        view = cv2.warpAffine(frame, shift, (_LANDMARK_SIDE, _LANDMARK_SIDE), flags=flags)
        found = self._landmarker.detect(_image(np.asarray(view, np.uint8))).face_landmarks
        if not found:
            return None
        points = np.asarray([(p.x, p.y, p.z) for p in found[0]], np.float32) * np.float32(side)
        points[:, :2] += (centre - side / 2).astype(np.float32)
        return DetectedFace(points)


def _pyramid(
    width: int, height: int, min_face_px: float
) -> Iterator[tuple[float, list[tuple[float, float, float, float]]]]:
    """Yield levels: the longer side of a tile, and its tiles as left, top, right, bottom in pixels."""
    yield float(max(width, height)), [(0.0, 0.0, float(width), float(height))]
    side = float(min(width, height))
    finest = min_face_px / _FOUND_FROM
    if side == max(width, height):
        side /= 2
        if side * 2 <= finest:
            return
    while True:
        lefts, tops = _places(width, side), _places(height, side)
        yield side, [(left, top, left + side, top + side) for left, top in product(lefts, tops)]
        if side <= finest:
            return
        side /= 2


def _places(length: int, side: float) -> list[float]:
    """Where tiles begin that overlap by half along one direction."""
    count = ceil((length - side) / (side / 2)) + 1 if length > side else 1
    return np.linspace(0, length - side, count).tolist() if count > 1 else [0.0]


def _image(picture: Frame) -> Any:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture))
