"""What of a face can be seen, frame by frame: mouth and eyes, or what covers them.

Two things tell. What is covered has not the colours of lips, or of eyes, where the landmarks are placed; and the
landmark network guesses it, each time otherwise when it is shown the face in another crop. On 168 frames of 12 videos
and as many with a hand, a black disc or dark glasses drawn over them, with the video of a frame left out: 98% of the
hands, every disc and 96% of the glasses are seen, and 2% (mouth) and 4% (eyes) of the frames in full view doubted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.filters.appearance import FaceAppearance
from multitalk.ground.face_layout import distance, layout_of
from multitalk.ground.landmark_layout import LEFT_EYE, LEFT_IRIS, LIPS, RIGHT_EYE, RIGHT_IRIS

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32

REGIONS = ("mouth", "eyes")
"""What the columns of a confidence (T, 2) speak of."""
SEEN = 0.5
"""Confidence from which a region is seen."""

# Logits of being covered: weight of the logarithm of the spread, of the look, and a constant.
_MOUTH = (4.41, -17.69, 31.15)
# Where no spread was measured, 65% of the contour must show: with a hand, a cup or a microphone drawn over 12 faces
# less does in 98% of the frames; without, more of it in 99%.
_MOUTH_BY_LOOK = (-23.0, 14.95)
_EYES = (5.16, -0.43, 2.26)
_LEAST_SPREAD = 1e-4
_MOUTH_POINTS = (13, 14, 61, 291)
_EYE_CORNERS = (33, 263)
_AROUND_MOUTH = 0.5  # inter-ocular distances


def confidence(
    faces: Sequence[DetectedFace | None], appearance: Sequence[FaceAppearance | None]
) -> Float32[Array, "frames 2"]:
    """Confidence (T, 2), 0..1, that mouth and eyes are seen; 0 in frames without the face.

    Parameters
    ----------
    faces, appearance
        The face in each of T frames and what it looks like, None where it was not seen. Between frames whose spread
        was measured it is interpolated.
    """
    seen = np.asarray([face is not None for face in faces], bool)
    outline = np.asarray([look.mouth_outline if look else np.nan for look in appearance])
    dark = np.asarray([look.eye_lightness if look else np.nan for look in appearance])
    spread = _between([face.spread if face else None for face in faces])
    if spread is None:
        mouth = _MOUTH_BY_LOOK[0] * outline + _MOUTH_BY_LOOK[1]
        eyes = np.full(len(faces), -np.inf)
    else:
        log = np.log(spread + _LEAST_SPREAD)
        mouth = _MOUTH[0] * log[:, 0] + _MOUTH[1] * outline + _MOUTH[2]
        eyes = _EYES[0] * log[:, 1] + _EYES[1] * np.nan_to_num(dark, nan=-20.0) + _EYES[2]
    covered = np.stack([mouth, eyes], axis=1).clip(-30, 30)
    return np.where(seen[:, None], 1 / (1 + np.exp(np.nan_to_num(covered))), 0).astype(np.float32)


def landmark_trust(
    points: Float32[Array, "frames points 3"], seen: Float32[Array, "frames 2"]
) -> Float32[Array, "frames points"]:
    """Trust (T, N), 0..1, in each landmark, by the confidence (T, 2) in its region: whole from 0.5 on.

    What covers the mouth covers what lies around it, and is guessed with it.
    """
    layout = layout_of(points)
    of_mouth, of_eyes = (seen / np.float32(SEEN)).clip(0, 1).T[..., None]
    flat = points[..., :2]
    middle = flat[:, layout.rows(_MOUTH_POINTS)].mean(axis=1, keepdims=True)
    reach = np.float32(_AROUND_MOUTH) * distance(points, _EYE_CORNERS)[:, None]
    near = np.linalg.norm(flat - middle, axis=2) < reach
    trust = np.where(near, of_mouth, np.float32(1)).astype(np.float32)
    lips, eyes = layout.rows(LIPS), layout.rows((*RIGHT_EYE, *LEFT_EYE, *RIGHT_IRIS, *LEFT_IRIS))
    trust[:, lips] = of_mouth
    trust[:, eyes] = of_eyes
    return trust


def _between(spreads: Sequence[tuple[float, float] | None]) -> npt.NDArray[np.float64] | None:
    """(T, 2) spreads, interpolated where they were not measured; None where they never were."""
    frames = [frame for frame, spread in enumerate(spreads) if spread is not None]
    if not frames:
        return None
    known = np.asarray([spreads[frame] for frame in frames])
    every = np.arange(len(spreads))
    return np.stack([np.interp(every, frames, values) for values in known.T], axis=1)
