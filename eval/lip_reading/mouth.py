"""Mouth pictures for AV-HuBERT: each frame is aligned to a mean face by five points, and the mouth cut out.

As MuAViC and MultiTalk prepare their videos, with the landmarks from elsewhere: those of a mesh are
projected exactly, those of a real video come from MediaPipe. (The reference detects 68 points with dlib, on
renders that it squeezes from 800 x 800 to 640 x 480 first; neither is needed here.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32, Float64

Picture = npt.NDArray[np.uint8]

CROP, INPUT = 96, 88
WINDOW = 12
"""Frames over which the alignment is smoothed."""
MOST_MISSING = 0.75
"""Share of frames without landmarks above which the whole picture is used."""
MEAN, STD = 0.421, 0.165
"""Of the grey values that AV-HuBERT was trained on."""

# Base of the nose, then the corners of the eyes from the picture's left: iBUG 33, 36, 39, 42, 45, and where
# they lie in the mean face of 256 x 256 that these models are trained with (LRW, as Auto-AVSR distributes
# it).
_TARGETS = np.array([[128.87, 137.30], [92.52, 94.37], [112.77, 94.94], [145.53, 94.53], [166.68, 93.57]])
_ALIGNED = 256

Topology = Literal["ibug68", "mediapipe", "flame"]
_STABLE: dict[Topology, tuple[int, ...]] = {
    "ibug68": (33, 36, 39, 42, 45),
    "mediapipe": (2, 33, 133, 362, 263),
    "flame": (3556, 2437, 3632, 3833, 1175),
}
# iBUG 48 to 67, whose mean is the middle of the mouth; for FLAME the vertices nearest to them.
_MOUTH: dict[Topology, tuple[int, ...]] = {
    "ibug68": tuple(range(48, 68)),
    "mediapipe": (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
    "flame": (
        *(2715, 2813, 2774, 3543, 1657, 1696, 1579, 1795, 1865, 3503),
        *(2948, 2898, 2845, 2785, 3533, 1668, 1730, 1848, 3509, 2937),
    ),
}


@dataclass(frozen=True, slots=True)
class MouthLandmarks:
    """What is needed of a face's landmarks, in pixels; NaN in frames without a face."""

    stable: Float64[Array, "frames 5 2"]
    """(T, 5, 2) base of the nose and corners of the eyes."""
    centre: Float64[Array, "frames 2"]
    """(T, 2) middle of the mouth."""

    @classmethod
    def of(cls, points: Float[Array, "frames points axes"], topology: Topology) -> MouthLandmarks:
        """Take them from detected points.

        Parameters
        ----------
        points
            (T, N, 2 or more) pixels; NaN where there is no face.
        topology
            `mediapipe` (468 or 478 points) or `ibug68`.
        """
        pixels = np.asarray(points[..., :2], dtype=np.float64)
        return cls(
            pixels[:, list(_STABLE[topology])], np.asarray(pixels[:, list(_MOUTH[topology])].mean(axis=1))
        )

    @classmethod
    def of_mesh(cls, vertices: Float[Array, "frames vertices 3"], camera: Camera) -> MouthLandmarks:
        """Project them from vertices (T, V, 3) metres, of FLAME (V = 5023) or with MediaPipe's 468 first."""
        topology: Topology = "flame" if vertices.shape[1] == 5023 else "mediapipe"
        chosen = [*_STABLE[topology], *_MOUTH[topology]]
        pixels = np.asarray(camera.project(vertices[:, chosen].astype(np.float64)), dtype=np.float64)
        return cls(pixels[:, :5], np.asarray(pixels[:, 5:].mean(axis=1)))


def mouth_crops(frames: Iterable[Picture], landmarks: MouthLandmarks) -> Picture:
    """Cut the aligned mouth out of every frame.

    Parameters
    ----------
    frames
        (H, W, 3) RGB pictures at 25 a second; those beyond the landmarks are left out.
    landmarks
        Gaps are interpolated; with more than 75% of the frames missing the whole pictures are scaled
        instead.

    Returns
    -------
    array
        (T, 96, 96) grey.

    Raises
    ------
    ValueError
        There is no frame.
    """
    faces = np.isfinite(landmarks.centre).all(axis=1)
    if faces.sum() < (1 - MOST_MISSING) * len(landmarks.centre) or not faces.any():
        crops = [_scaled(_grey(frame)) for frame in frames]
    else:
        stable, centre = _filled(landmarks.stable), _filled(landmarks.centre)
        transforms = [_similarity(points, _TARGETS) for points in _smoothed(stable)]
        crops = [_crop(_grey(f), t, c) for f, t, c in zip(frames, transforms, centre, strict=False)]
    if not crops:
        raise ValueError("a video without frames has no mouth")
    return np.stack(crops)


def model_input(crops: Picture) -> Float32[Array, "frames 88 88"]:
    """Turn mouth pictures (T, 96, 96) into AV-HuBERT's video input: the middle (T, 88, 88), normalised."""
    margin = (CROP - INPUT) // 2
    middle = crops[:, margin : margin + INPUT, margin : margin + INPUT].astype(np.float32)
    return np.asarray((middle / 255 - MEAN) / STD, dtype=np.float32)


def _grey(frame: Picture) -> Float64[Array, "height width"]:
    return np.asarray(frame @ np.array([0.299, 0.587, 0.114]))


def _filled(points: Float64[Array, "frames ..."]) -> Float64[Array, "frames ..."]:
    """Interpolate frames without a face linearly; before the first and after the last, repeat."""
    flat = points.reshape(len(points), -1)
    known = np.flatnonzero(np.isfinite(flat).all(axis=1))
    columns = [np.interp(np.arange(len(flat)), known, flat[known, k]) for k in range(flat.shape[1])]
    return np.stack(columns, axis=1).reshape(points.shape)


def _smoothed(points: Float64[Array, "frames ..."]) -> Float64[Array, "frames ..."]:
    """Mean of each frame and the eleven after it; the last eleven frames share the last full window."""
    window = min(WINDOW, len(points))
    means = np.lib.stride_tricks.sliding_window_view(points, window, axis=0).mean(axis=-1)
    return np.concatenate([means, np.repeat(means[-1:], window - 1, axis=0)])


def _similarity(
    points: Float64[Array, "points 2"], targets: Float64[Array, "points 2"]
) -> tuple[complex, complex]:
    """Least-squares similarity as w = a z + b over complex numbers x + i y."""
    z, w = points @ (1, 1j), targets @ (1, 1j)
    z_mean, w_mean = z.mean(), w.mean()
    a = np.vdot(z - z_mean, w - w_mean) / np.vdot(z - z_mean, z - z_mean)
    return complex(a), complex(w_mean - a * z_mean)


def _crop(
    grey: Float64[Array, "height width"], transform: tuple[complex, complex], centre: Float64[Array, " 2"]
) -> Picture:
    """Sample the crop straight from the frame, bilinearly; outside the frame it is black."""
    a, b = transform
    middle = a * complex(*centre) + b
    half = CROP // 2
    left, top = (round(min(max(value, half), _ALIGNED - half)) - half for value in (middle.real, middle.imag))
    x, y = np.meshgrid(left + np.arange(CROP), top + np.arange(CROP))
    source = (x + 1j * y - b) / a
    return _bilinear(grey, source.real, source.imag)


def _bilinear(
    grey: Float64[Array, "height width"], x: Float64[Array, "rows columns"], y: Float64[Array, "rows columns"]
) -> Picture:
    height, width = grey.shape
    padded = np.pad(grey, 1)
    # one pixel of black around; further out everything is that black
    x, y = np.clip(x + 1, 0, width + 1 - 1e-9), np.clip(y + 1, 0, height + 1 - 1e-9)
    column, row = x.astype(np.int64), y.astype(np.int64)
    u, v = x - column, y - row
    upper = (1 - u) * padded[row, column] + u * padded[row, column + 1]
    lower = (1 - u) * padded[row + 1, column] + u * padded[row + 1, column + 1]
    return np.asarray((1 - v) * upper + v * lower, dtype=np.uint8)


def _scaled(grey: Float64[Array, "height width"]) -> Picture:
    import cv2

    return np.asarray(cv2.resize(grey, (CROP, CROP), interpolation=cv2.INTER_AREA), dtype=np.uint8)
