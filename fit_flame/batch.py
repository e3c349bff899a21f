"""Clips made ready for the fit: padded to one length, normalised, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fit_flame import landmark_layout as layout
from fit_flame.landmark_basis import LandmarkBasis
from fit_flame.residuals import Observations
from fit_flame.settings import FitSettings

FloatArray = npt.NDArray[np.float32]

_DEPTHS = 120  # landmarks whose depth is used, about: depth is smooth


class Batch(NamedTuple):
    """Clips padded to one length, in inter-ocular distances about the image's centre, y up."""

    seen: Observations
    valid: Tensor
    lengths: list[int]
    interocular_px: Tensor


def prepare(
    basis: LandmarkBasis,
    settings: FitSettings,
    landmarks: Sequence[FloatArray],
    valids: Sequence[npt.NDArray[np.bool_]],
    confidences: Sequence[FloatArray] | None,
    image_size: int,
) -> Batch:
    """Pad, normalise and weigh the clips."""
    ids = basis.landmarks.cpu().numpy()
    right_eye, left_eye = (
        int(np.flatnonzero(basis.detected == corner)[0])
        for corner in (layout.RIGHT_EYE_OUTER, layout.LEFT_EYE_OUTER)
    )
    frames = max(map(len, valids))
    points = np.zeros((len(valids), frames, len(ids), 2), np.float32)
    staying = np.flatnonzero(np.isnan(basis.yaw.cpu().numpy()))
    rows = staying[:: max(1, len(staying) // _DEPTHS)] if landmarks[0].shape[2] == 3 else staying[:0]
    depths = np.zeros((*points.shape[:2], len(rows)), np.float32)
    trust = np.zeros(points.shape[:3], np.float32)
    valid = np.zeros(points.shape[:2], bool)
    scale = np.zeros(len(valids), np.float32)
    for c, (clip, ok) in enumerate(zip(landmarks, valids, strict=True)):
        if clip.shape[:2] != (len(ok), len(basis.detected)):
            raise ValueError(f"landmarks {clip.shape} must be ({len(ok)}, {len(basis.detected)}, 2 or 3)")
        flat = clip[..., :2]
        seen_frames = ok & np.isfinite(clip).all((1, 2))
        corners = flat[seen_frames, right_eye] - flat[seen_frames, left_eye]
        scale[c] = np.median(np.linalg.norm(corners, axis=1)) if seen_frames.any() else 1.0
        centred = (flat[:, ids] - image_size / 2) * np.array([1, -1], np.float32) / max(scale[c], 1e-3)
        points[c, : len(ok)] = np.where(seen_frames[:, None, None], centred, 0)
        if len(rows):
            depth = -clip[:, ids[rows], 2] / max(scale[c], 1e-3)
            depths[c, : len(ok)] = np.where(
                seen_frames[:, None], depth - depth.mean(axis=1, keepdims=True), 0
            )
        given = np.ones((len(ok), len(ids)), np.float32) if confidences is None else confidences[c][:, ids]
        trust[c, : len(ok)] = seen_frames[:, None] * given
        valid[c, : len(ok)] = seen_frames
    like = basis.rest.template

    def tensor(array: npt.ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(array), device=like.device)

    pairs = _pairs(basis.numbers)
    sigma = np.array(
        [settings.sigma.of(str(region)) for region in layout.regions()[basis.numbers]], np.float32
    )
    seen = Observations(
        points=tensor(points),
        confidence=tensor(trust),
        precision=tensor(sigma**-2),
        pairs=tensor(pairs),
        pair_precision=tensor(np.full(len(pairs), settings.sigma.gap**-2, np.float32)),
        outlier=settings.outlier,
        depths=tensor(depths),
        depth_rows=tensor(rows),
        depth_precision=settings.sigma.depth**-2,
    )
    return Batch(seen, tensor(valid), [len(ok) for ok in valids], tensor(scale))


def _pairs(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(Q, 2) rows of the pairs of which the embedding has both landmarks."""
    row = {int(landmark): i for i, landmark in enumerate(numbers)}
    pairs = layout.INNER_LIP_PAIRS + layout.MOUTH_WIDTH_PAIRS + layout.EYELID_PAIRS
    return np.array([(row[a], row[b]) for a, b in pairs if a in row and b in row], np.int64).reshape(-1, 2)
