"""Text over a face or close to it: subtitles, captions, banners that were burnt into the picture.

Text over the mouth hides it, and the landmarks there are guessed. It is found by PP-OCR's detector of text (PP-OCRv6
small, Baidu, Apache-2.0, as the package `rapidocr` carries it), which gives each pixel the probability that it lies
within a line of text, in any script. A few small frames are enough: who puts text there leaves it there to be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from multitalk.ground.face_layout import distance, layout_of

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32, UInt8

SIDE = 256
"""Pixels of the picture that is looked at: letters of a legible line have ten and more of them."""

_LOOKS = (1 / 6, 1 / 2, 5 / 6)  # of the clip's length
_WITHIN_TEXT = 0.3  # probability; PP-OCR's own thresholds
_SURE = 0.6  # mean probability of a line
_TALLEST = 0.15  # of the picture's height; what is taller is a plain wall that the network takes for one
# MediaPipe's numbers, as everywhere (`multitalk.ground.face_layout`).
_EYES, _INNER_LIPS = (33, 263), (13, 14)
# How far text is near the face, in inter-ocular distances from the mouth: aside, above, below.
_ASIDE, _ABOVE, _BELOW = 1.2, 0.6, 1.8


class ScreenText:
    """PP-OCR's detector of text. Deterministic.

    Parameters
    ----------
    model
        The asset `text_detector`.
    """

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def measure(self, video: Path, landmarks: Float32[Array, "frames points 3"]) -> float | None:
        """`text_near_face` of a clip.

        Parameters
        ----------
        video
            The clip.
        landmarks
            (T, N, 3) points of its face in pixels, NaN where it is not seen.

        Returns
        -------
        Share of the picture that is text near the face, the median of three frames; None where it is in none of them.
        """
        looks = [int(share * len(landmarks)) for share in _LOOKS]
        looks = [frame for frame in looks if np.isfinite(landmarks[frame]).all()]
        shares = [
            near_face(self.text(frame), landmarks[number], frame.shape)
            for number, frame in _frames(video, looks)
        ]
        return float(np.median(shares)) if shares else None

    def text(self, frame: UInt8[Array, "height width 3"]) -> npt.NDArray[np.bool_]:
        """Find where lines of text are: (256, 256) over the whole of an RGB picture."""
        import cv2

        small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        centred = small[..., ::-1].astype(np.float32) / np.float32(127.5) - np.float32(
            1
        )  # the network wants BGR
        [[[probability]]] = self._session.run(None, {self._input: centred.transpose(2, 0, 1)[None]})
        lines = np.zeros((SIDE, SIDE), bool)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(
            (probability > _WITHIN_TEXT).astype(np.uint8)
        )
        for label in range(1, count):
            line = labels == label
            if boxes[label, cv2.CC_STAT_HEIGHT] <= _TALLEST * SIDE and probability[line].mean() >= _SURE:
                lines |= line
        return lines


def near_face(
    text: npt.NDArray[np.bool_], points: Float32[Array, "points 3"], shape: tuple[int, ...]
) -> float:
    """Share of a picture that is text around the lower face.

    Parameters
    ----------
    text
        (256, 256) from `ScreenText.text`.
    points
        (N, 3) landmarks in pixels.
    shape
        Height and width of the picture in pixels, and whatever follows.
    """
    rows = layout_of(points).rows(_INNER_LIPS)
    x, y = points[rows, :2].mean(axis=0)
    eyes = float(distance(points[None, :, :2], _EYES)[0])
    height, width = shape[:2]
    across = (np.arange(SIDE) + 0.5) * width / SIDE - x
    down = (np.arange(SIDE) + 0.5) * height / SIDE - y
    near = (np.abs(across)[None] <= _ASIDE * eyes) & ((down >= -_ABOVE * eyes) & (down <= _BELOW * eyes))[
        :, None
    ]
    return float((text & near).mean())


def _frames(video: Path, wanted: list[int]) -> list[tuple[int, npt.NDArray[np.uint8]]]:
    import av

    with av.open(str(video)) as container:
        return [
            (number, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        ]
