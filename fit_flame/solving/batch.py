"""Clips made ready for the fit: padded to one length, normalised, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import Observations
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.ground import landmark_layout as layout

FloatArray = npt.NDArray[np.float32]

_DEPTHS = 120  # landmarks whose depth is used, about: depth is smooth
_LEAST_INTEROCULAR = 1e-3  # pixels; landmarks that lie nearer are no face


class ClipBatch(NamedTuple):
    """Clips padded to one length, in inter-ocular distances about the image's centre, y up."""

    seen: Observations
    valid: Tensor
    lengths: list[int]
    interocular_px: Tensor
    usable: list[npt.NDArray[np.bool_]]
    """Of each clip (T,) `valid`, on the host."""
    sizes: list[float]
    """`interocular_px`, on the host."""


def usable_frames(
    basis: LandmarkBasis,
    landmarks: FloatArray,
    valid: npt.NDArray[np.bool_],
    confidence: FloatArray | None,
) -> npt.NDArray[np.bool_]:
    """Find the frames of a clip that can be fitted.

    Parameters
    ----------
    basis
        Landmarks of the head model.
    landmarks
        (T, N, 2 or 3) pixels, N the detector's landmarks.
    valid
        (T,) frames with landmarks.
    confidence
        (T, N), 0..1; None: all 1.

    Returns
    -------
    ndarray
        (T,) valid frames that show every landmark that the fit looks at, and trust one of them at least; none
        where the eyes lie in one point, or too far apart for a number.

    Raises
    ------
    ValueError
        When the landmarks are not as many as the frames or the detector's.
    """
    if landmarks.shape[:2] != (len(valid), len(basis.detected)):
        raise ValueError(f"landmarks {landmarks.shape} must be ({len(valid)}, {len(basis.detected)}, 2 or 3)")
    ids = basis.landmarks
    needed = np.union1d(
        ids, _eye_corners(basis)
    )  # irises are not: `multitalk.fit_flame.solving.gaze` can do without
    usable: npt.NDArray[np.bool_] = valid & np.isfinite(landmarks[:, needed]).all((1, 2))
    if confidence is not None:
        usable &= (confidence[:, ids] > 0).any(axis=1)
    has_scale = usable.any() and _LEAST_INTEROCULAR <= _interocular(basis, landmarks[usable]) < np.inf
    return usable if has_scale else np.zeros_like(usable)


def prepare(
    basis: LandmarkBasis,
    settings: FitSettings,
    landmarks: Sequence[FloatArray],
    valids: Sequence[npt.NDArray[np.bool_]],
    confidences: Sequence[FloatArray] | None,
    image_size: int,
) -> ClipBatch:
    """Pad, normalise and weigh the clips.

    Parameters
    ----------
    basis
        Landmarks of the head model.
    settings
        How far each of them is trusted.
    landmarks
        Of each clip (T, N, 2 or 3) pixels, N the detector's landmarks.
    valids
        Of each clip (T,) frames that can be fitted, one at least (`usable_frames`).
    confidences
        Of each clip (T, N), 0..1, where NaN counts as 0; None: all 1.
    image_size
        Side of the image, pixels.
    """
    ids = basis.landmarks
    rows = _depth_rows(basis, landmarks[0].shape[2])
    frames = max(map(len, valids))
    points = np.zeros((len(valids), frames, len(ids), 2), np.float32)
    depths = np.zeros((*points.shape[:2], len(rows)), np.float32)
    trust = np.zeros(points.shape[:3], np.float32)
    valid = np.zeros(points.shape[:2], bool)
    scale = np.zeros(len(valids), np.float32)
    for c, (clip, seen) in enumerate(zip(landmarks, valids, strict=True)):
        scale[c] = _interocular(basis, clip[seen])
        here = c, slice(len(seen))
        points[here], depths[here] = _normalised(clip, seen, ids, rows, float(scale[c]), image_size)
        trust[here] = seen[:, None] * (1 if confidences is None else np.nan_to_num(confidences[c][:, ids]))
        valid[here] = seen

    def tensor(array: npt.ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(array), device=basis.centre.device)

    pairs = _pairs(basis.numbers)
    regions = layout.regions()[basis.numbers]
    sigma = np.array([settings.sigma.of(str(region)) for region in regions], np.float32)
    observed = Observations(
        points=tensor(points),
        confidence=tensor(trust),
        precision=tensor(sigma**-2),
        pairs=tensor(pairs),
        pair_precision=tensor(np.full(len(pairs), settings.sigma.gap**-2, np.float32)),
        outlier=settings.outlier,
        depths=tensor(depths),
        depth_rows=tensor(rows),
        depth_moving=int((rows < len(basis.jaw.template)).sum()),
        depth_precision=settings.sigma.depth**-2,
    )
    lengths = [len(seen) for seen in valids]
    return ClipBatch(observed, tensor(valid), lengths, tensor(scale), list(valids), scale.tolist())


def _depth_rows(basis: LandmarkBasis, dimensions: int) -> npt.NDArray[np.int64]:
    """Rows of the landmarks whose depth is used: spread over those that stay where they are on the face."""
    staying = np.flatnonzero(np.isnan(basis.yaw))
    return staying[:: max(1, len(staying) // _DEPTHS)] if dimensions == 3 else staying[:0]


def _interocular(basis: LandmarkBasis, seen: FloatArray) -> float:
    """Median distance of the outer eye corners over frames (T, N, 2 or 3), pixels."""
    right_eye, left_eye = _eye_corners(basis)
    return float(np.median(np.linalg.norm(seen[:, right_eye, :2] - seen[:, left_eye, :2], axis=1)))


def _eye_corners(basis: LandmarkBasis) -> tuple[int, int]:
    """Which of the detected landmarks are the outer eye corners, right and left."""
    right_eye, left_eye = (
        int(np.flatnonzero(basis.detected == corner)[0])
        for corner in (layout.RIGHT_EYE_OUTER, layout.LEFT_EYE_OUTER)
    )
    return right_eye, left_eye


def _normalised(
    clip: FloatArray,
    seen: npt.NDArray[np.bool_],
    ids: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    scale: float,
    image_size: int,
) -> tuple[FloatArray, FloatArray]:
    """Points (T, L, 2) and depths (T, D) of a clip in inter-ocular distances; zero where it was not seen."""
    centred = (clip[:, ids, :2] - image_size / 2) * np.array([1, -1], np.float32) / scale
    points = np.where(seen[:, None, None], centred, 0)
    if not len(rows):
        return points, np.zeros((len(clip), 0), np.float32)
    depth = -clip[:, ids[rows], 2] / scale
    return points, np.where(seen[:, None], depth - depth.mean(axis=1, keepdims=True), 0)


def _pairs(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(Q, 2) rows of the pairs of which the embedding has both landmarks."""
    row = {int(landmark): i for i, landmark in enumerate(numbers)}
    pairs = layout.INNER_LIP_PAIRS + layout.MOUTH_WIDTH_PAIRS + layout.EYELID_PAIRS
    return np.array([(row[a], row[b]) for a, b in pairs if a in row and b in row], np.int64).reshape(-1, 2)
