"""Square face images for regressors, cut as their authors cut them.

A window is (left, top, side) in pixels of the frame. Pixel i of the 224 lies at left + i side / 223: the
similarity that takes the window's corners to 0 and 223. Landmarks go through the same similarity when such
networks are trained, so their cameras come back through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.landmarks.embedding import CONTOUR_LANDMARKS
from multitalk.ground import landmark_layout as layout

FloatArray = npt.NDArray[np.float64]

IMAGE_SIZE = 224

LIKE_THE_68 = CONTOUR_LANDMARKS + layout.RIGHT_BROW + layout.LEFT_BROW + (1, *layout.LIPS)
"""MediaPipe's landmarks whose box is that of the usual 68: outline, brows, tip of the nose, lips."""


@dataclass(frozen=True, slots=True)
class CropRule:
    """How a network's images are cut out of a frame."""

    landmarks: tuple[int, ...]
    """Of MediaPipe's 478, those whose box counts."""
    scale: float
    """Side of the window over the mean of the box's width and height."""
    whole_levels: bool = False
    """Whether interpolated colours are cut to whole levels of 255."""


def windows(landmarks: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_], rule: CropRule) -> FloatArray:
    """Place a network's windows.

    Parameters
    ----------
    landmarks
        (T, 478, 2 or 3) pixels.
    valid
        (T,) frames with landmarks. Windows of others lie between their neighbours'.
    rule
        The network's.

    Returns
    -------
    ndarray
        (T, 3) left, top, side; sides are whole pixels.

    Raises
    ------
    ValueError
        When no frame is valid.
    """
    seen = np.flatnonzero(valid)
    if not len(seen):
        raise ValueError("no frame has landmarks")
    points = landmarks[seen][:, list(rule.landmarks), :2].astype(np.float64)
    low, high = points.min(axis=1), points.max(axis=1)
    middle, size = (low + high) / 2, (high - low).mean(axis=1) * rule.scale
    known = np.column_stack([middle, size])
    every = np.arange(len(valid))
    x, y, size = (np.interp(every, seen, column) for column in known.T)
    side = np.maximum(np.floor(size), 1)
    return np.column_stack([x - side / 2, y - side / 2, side])


def cut(frames: Tensor, places: Tensor, rule: CropRule) -> Tensor:
    """Cut the windows out, bilinearly; outside the frame all is black.

    Parameters
    ----------
    frames
        (B, 3, H, W) uint8 RGB.
    places
        (B, 3) windows, float32, on the frames' device.
    rule
        The network's.

    Returns
    -------
    Tensor
        (B, 3, 224, 224) float32 in 0..1.
    """
    height, width = frames.shape[2:]
    steps = torch.arange(IMAGE_SIZE, device=places.device) / (IMAGE_SIZE - 1)
    x = places[:, 0, None] + places[:, 2, None] * steps
    y = places[:, 1, None] + places[:, 2, None] * steps
    across, down = (2 * p / (n - 1) - 1 for p, n in ((x, width), (y, height)))
    grid = torch.stack(
        [across[:, None].expand(-1, IMAGE_SIZE, -1), down[:, :, None].expand(-1, -1, IMAGE_SIZE)], -1
    )
    images = torch.nn.functional.grid_sample(frames.float(), grid, padding_mode="zeros", align_corners=True)
    # The smallest fraction keeps a level that rounding put just below its whole number.
    return (images + 1e-3).floor() / 255 if rule.whole_levels else images / 255


def to_frame(camera: FloatArray, places: FloatArray) -> FloatArray:
    """Express cameras (T, 3), s, tx, ty on the cut images, in their frames.

    Returns
    -------
    ndarray
        (T, 3) pixels per metre, and the pixel (x, y, y down) of the origin of FLAME's coordinates.
    """
    half = IMAGE_SIZE / 2
    scale, tx, ty = camera.T
    enlarged = places[:, 2] / (IMAGE_SIZE - 1)
    return np.column_stack(
        [
            half * scale * enlarged,
            places[:, 0] + half * (1 + scale * tx) * enlarged,
            places[:, 1] + half * (1 - scale * ty) * enlarged,
        ]
    )
