"""The worst of a clip: what a mean or a median hides, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.ground.face_layout import distance

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float, Float32

_EYES = (33, 263)  # outer corners, MediaPipe's numbers
# The face of a video of 224 pixels, enlarged, has 0.37 to 0.40; one blurred over a tenth of the face less than 0.35.
_BLURRED = 0.35
_TURNED_ASIDE, _TURNED_UP = 45.0, 35.0  # degrees, the default policy's limits of the median
_MISFIT = 0.03  # of the inter-ocular distance, the default policy's limit of the mean
_LOW, _HIGH = 10, 90  # percentiles


@dataclass(frozen=True, slots=True)
class WorstFrames:
    """Percentiles near the worst, and longest stretches of bad frames; field names are column names."""

    sharpness_p10: float
    """0..1."""
    face_size_px_p10: float
    """Pixels between the outer eye corners."""
    unseen_run: int
    """Frames without the face on end."""
    blurred_run: int
    """Frames on end of a sharpness below 0.35."""
    turned_run: int
    """Frames on end of a head turned further than 45 degrees aside, or 35 up or down."""
    covered_run: int
    """Frames on end in which something covers the mouth."""


def worst_frames(
    landmarks: Float32[Array, "frames points 3"],
    angles: Float32[Array, "frames 3"],
    sharpness: Float[Array, " frames"],
    covered: Bool[Array, " frames"],
) -> WorstFrames:
    """Measure the worst frames of a face; a frame without it is neither bad nor good, and parts no stretch.

    Parameters
    ----------
    landmarks
        (T, N, 3) pixels; NaN where the face was not seen.
    angles
        (T, 3) yaw, pitch and roll, degrees; NaN likewise.
    sharpness
        (T,) 0..1; NaN likewise.
    covered
        (T,) whether something covers the mouth.
    """
    seen = np.isfinite(sharpness)
    size = distance(landmarks[seen], _EYES)
    turned = (np.abs(angles[:, 0]) > _TURNED_ASIDE) | (np.abs(angles[:, 1]) > _TURNED_UP)
    return WorstFrames(
        sharpness_p10=float(np.nanpercentile(sharpness, _LOW)),
        face_size_px_p10=float(np.nanpercentile(size, _LOW)),
        unseen_run=longest_run(~seen),
        blurred_run=longest_run(sharpness[seen] < _BLURRED),
        turned_run=longest_run(turned[seen]),
        covered_run=longest_run(covered[seen]),
    )


@dataclass(frozen=True, slots=True)
class WorstFit:
    """The worst frames of a fit; field names are column names."""

    fit_landmark_error_p90: float | None
    """Of the inter-ocular distance."""
    misfit_run: int
    """Frames on end whose error is above 0.03."""


def worst_fit(residual: Float[Array, " frames"]) -> WorstFit:
    """Measure the worst frames of a fit by its error (T,) in inter-ocular distances, NaN where nothing was fitted."""
    fitted = residual[np.isfinite(residual)]
    worst = float(np.percentile(fitted, _HIGH)) if len(fitted) else None
    return WorstFit(worst, longest_run(fitted > _MISFIT))


def run_lengths(bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Lengths of the stretches of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    return np.asarray(edges[1::2] - edges[::2], np.int64)


def longest_run(bad: npt.NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True in (T,)."""
    return int(run_lengths(bad).max(initial=0))
