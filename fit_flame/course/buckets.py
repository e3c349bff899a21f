"""Clips that are fitted together.

On a CPU that is one at a time, which costs nothing and lets no clip's numbers depend on which others came with it; on a
device as many of like length as its memory is meant to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.solving.batch import ClipBatch, prepare
from multitalk.fit_flame.solving.contour import at_yaw
from multitalk.fit_flame.solving.initial import Start, first_guess
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import FrameState
from multitalk.fit_flame.solving.settings import FitSettings

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.fit_flame.regressors.interface import Coefficients

FloatArray = npt.NDArray[np.float32]

_FRAMES = 16384  # padding included, that a device fits together
_LIKE_LENGTH = 0.75  # of a bucket's longest clip, that its shortest has at least


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips with frames that can be fitted, and what is known of them."""

    landmarks: Sequence[FloatArray]
    """Of each clip (T, N, 2 or 3) pixels."""
    usable: Sequence[npt.NDArray[np.bool_]]
    """Of each clip (T,) frames to be fitted, one at least."""
    confidences: Sequence[FloatArray] | None
    """Of each clip (T, N), 0..1."""
    regressed: Sequence[Coefficients] | None
    """Where each clip's fit starts."""
    scales: Sequence[float]
    """Of each clip, its pixels a pixel of the camera's picture."""
    members: Sequence[Sequence[int]]
    """The clips of each person."""
    image_size: int
    """Side of the image, pixels."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Clips that are fitted together, padded to one length."""

    clips: list[int]
    """Their numbers."""
    batch: ClipBatch
    guess: FrameState
    """Pose of the mean face."""
    start: Start | None
    """What a regressor found."""


def divided(lengths: Sequence[int], *, together: bool) -> list[list[int]]:
    """Divide clips by their lengths into buckets, longest first; each its own unless `together`."""
    if not together:
        return [[clip] for clip in range(len(lengths))]
    buckets: list[list[int]] = []
    for clip in sorted(range(len(lengths)), key=lambda clip: -lengths[clip]):
        longest = lengths[buckets[-1][0]] if buckets else 0
        room = buckets and (len(buckets[-1]) + 1) * longest <= _FRAMES
        if not room or lengths[clip] < _LIKE_LENGTH * longest:
            buckets.append([])
        buckets[-1].append(clip)
    return buckets


def person_scales(clips: Clips) -> list[float]:
    """Of every clip its scale beside that of its person's median clip."""
    found = [1.0] * len(clips.scales)
    for own in clips.members:
        middle = median(clips.scales[clip] for clip in own)
        for clip in own:
            found[clip] = clips.scales[clip] / middle
    return found


def bucket_of(
    numbers: list[int], clips: Clips, basis: LandmarkBasis, settings: FitSettings, head_model: HeadModel
) -> Bucket:
    """Make some of the clips ready: padded, normalised, weighed, and roughly posed."""

    def of(values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in numbers]

    confidences = None if clips.confidences is None else of(clips.confidences)
    batch = prepare(basis, settings, of(clips.landmarks), of(clips.usable), confidences, clips.image_size)
    guess = first_guess(basis, at_yaw(basis, batch.seen, None), batch.valid)
    start = None
    if clips.regressed is not None:
        from multitalk.fit_flame.regressors.start import start_from

        start = start_from(of(clips.regressed), basis, batch, head_model, clips.image_size)
    return Bucket(numbers, batch, guess, start)
