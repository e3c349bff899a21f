"""What a face looks like in one frame, measured while the frames pass by: sharp, bright, mouth in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.ground.face_layout import layout_of
from multitalk.ground.landmark_layout import LEFT_EYE, RIGHT_EYE

FloatArray = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

# The face is measured upright at one scale, so that its size in the clip does not count.
_EYE_DISTANCE = 96  # pixels
_WIDTH, _HEIGHT = 160, 176
_MIDDLE = (80.0, 92.0)  # where the middle of eyes and mouth corners comes to lie

# MediaPipe's numbers, as everywhere (`multitalk.ground.face_layout`).
_OUTER_EYES = (33, 263)
_MIDDLE_POINTS = (33, 263, 61, 291)
# Around the lips, from the right corner over the upper lip, and the point of the inner lip beside each.
_OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_CORNERS = (61, 291)
_CHEEKS = (50, 280, 205, 425, 101, 330, 36, 266)
_BESIDE = 0.09 * _EYE_DISTANCE  # how far outside the lips the skin is looked at
_REDDER, _DARKER = 2.0, 4.0  # by so much, in CIELAB, lips stand out from the skin
_BLUR_WINDOW = 9


@dataclass(frozen=True, slots=True)
class FaceAppearance:
    """What one face looks like in one frame."""

    sharpness: float
    """0..1, 1 less the blur of Crete et al. 2007, at 96 pixels between the eyes."""
    brightness: float
    """Mean luma, 0..1."""
    mouth_outline: float
    """Share of the lips' contour, 0..1, along which lips stand out from the skin beside them."""
    eye_lightness: float = float("nan")
    """CIELAB lightness of the eyes less that of the cheeks, medians; below -45 few eyes are, and dark glasses."""


def face_appearance(frame: Picture, face: DetectedFace) -> FaceAppearance:
    """Measure one face in one frame.

    Parameters
    ----------
    frame
        (H, W, 3) RGB.
    face
        Its landmarks lie in pixels of the frame.
    """
    import cv2

    upright, points = _upright(frame, face.points)
    luma: Picture = np.asarray(cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY), np.uint8)
    return FaceAppearance(
        sharpness(luma),
        float(luma.mean()) / 255,
        _mouth_outline(upright, points),
        _eye_lightness(upright, points),
    )


def sharpness(luma: Picture) -> float:
    """Sharpness of a grey picture (H, W), 0..1; 0 for one without any detail.

    How much of the differences between neighbouring pixels another blur takes away: all of it in a sharp
    picture, little in one that is blurred already (F. Crete et al., "The blur effect: perception and estimation
    with a new no-reference perceptual blur metric", 2007). The lower of both axes counts.
    """
    import cv2

    picture = luma.astype(np.float32)
    lost = []
    for axis, window in ((0, (1, _BLUR_WINDOW)), (1, (_BLUR_WINDOW, 1))):
        before = np.abs(np.diff(picture, axis=axis))
        after = np.abs(np.diff(cv2.blur(picture, window), axis=axis))
        total = float(before.sum())
        lost.append(float(np.maximum(before - after, 0).sum()) / total if total > 0 else 0.0)
    return min(lost)


def _upright(frame: Picture, points: FloatArray) -> tuple[Picture, FloatArray]:
    """Turn and scale a face into a picture of its own; returns it and the points (N, 2) in it."""
    import cv2

    layout = layout_of(points)
    first, second = points[layout.rows(_OUTER_EYES), :2]
    across = second - first
    # Multiplication by conj(across) / |across|^2, as complex numbers, makes the eyes level and one apart.
    c, s = across * (_EYE_DISTANCE / max(float(across @ across), 1.0))
    turn = np.array([[c, s], [-s, c]], np.float32)
    offset = np.asarray(_MIDDLE, np.float32) - turn @ points[layout.rows(_MIDDLE_POINTS), :2].mean(axis=0)
    picture: Any = cv2.warpAffine(
        frame, np.column_stack([turn, offset]), (_WIDTH, _HEIGHT), borderMode=cv2.BORDER_REPLICATE
    )
    return picture, (points[:, :2] @ turn.T + offset).astype(np.float32)


def _eye_lightness(upright: Picture, points: FloatArray) -> float:
    """Lightness of the eyes less that of the cheeks; NaN in a layout without points on the cheeks."""
    import cv2

    layout = layout_of(points)
    cheeks, eyes = layout.rows(_CHEEKS), layout.rows(RIGHT_EYE + LEFT_EYE)
    if not cheeks:
        return float("nan")
    x, y = np.round(points[cheeks + eyes]).astype(int).T
    soft: Any = cv2.GaussianBlur(upright, (0, 0), 0.016 * _EYE_DISTANCE)
    colours = soft[y.clip(0, _HEIGHT - 1), x.clip(0, _WIDTH - 1)].astype(np.float32) / np.float32(255)
    lightness = cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)[0, :, 0]
    return float(np.median(lightness[len(cheeks) :]) - np.median(lightness[: len(cheeks)]))


def _mouth_outline(upright: Picture, points: FloatArray) -> float:
    """Share of the lips' contour along which the inside is redder or darker than the outside.

    Whatever covers the mouth (hand, microphone, cup) has no such contour where the landmarks, which are
    guessed then, place it. Beards have one.
    """
    import cv2

    layout = layout_of(points)
    contour, beside = map(list, zip(*layout.pairs(zip(_OUTER_LIPS, _INNER_LIPS, strict=True)), strict=True))
    outer, inner = points[contour], points[beside]
    middle = outer.mean(axis=0)
    outward = outer - middle
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1.0)
    inside = (outer + inner) * np.float32(0.5)
    corners = [contour.index(row) for row in layout.rows(_CORNERS)]
    inside[corners] = 0.85 * outer[corners] + 0.15 * middle  # where both lips meet

    low = np.clip(np.floor(outer.min(axis=0) - 2 * _BESIDE), 0, (_WIDTH - 1, _HEIGHT - 1)).astype(int)
    high = np.ceil(outer.max(axis=0) + 2 * _BESIDE).astype(int)
    mouth = upright[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    lab = cv2.cvtColor(mouth.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), 0.016 * _EYE_DISTANCE)

    def colours(at: FloatArray) -> FloatArray:
        x, y = np.round(at - low).astype(int).T
        found: FloatArray = lab[np.clip(y, 0, lab.shape[0] - 1), np.clip(x, 0, lab.shape[1] - 1)]
        return found

    difference = colours(inside) - colours(outer + np.float32(_BESIDE) * outward)
    return float(np.mean((difference[:, 1] > _REDDER) | (difference[:, 0] < -_DARKER)))
