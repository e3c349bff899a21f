"""Whether a clip's picture goes on as a filmed one does: jump cuts of the same person, pictures that stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.filters.worst_frames import run_lengths
from multitalk.ground.face_layout import distance

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32

_EYES = (33, 263)  # outer corners, MediaPipe's numbers
# Of 2,513 frames of 24 clips without a cut none is taken for one; of 432 in which half a second to one and a half
# was left out, 58% are found (93% of those in which the face moves by more than 0.12). The rest leave no trace.
_MOVES = 0.05  # of the inter-ocular distance, mean over the landmarks
_STANDS_OUT = 4.5  # times the picture's usual change
_BESIDE = 1.5  # times what face and picture move in the two frames before and after
_AROUND = 6  # frames on each side
_PICTURE_NOISE = 1e-4  # of full scale
# Landmarks of a frozen picture move by 0.0005 at most, with sensor noise frozen in or added before encoding 0.001;
# those of the stillest living face by 0.001 to 0.002 now and then, for three frames on end.
_STILL = 0.001
_STILL_FRAMES = 5  # a lower frame rate shows each picture twice or three times


def movement(landmarks: Float32[Array, "frames points 3"]) -> Float[Array, " frames"]:
    """Mean distance (T,) that the landmarks move from the frame before, in inter-ocular distances; NaN where unknown.

    Parameters
    ----------
    landmarks
        (T, N, 3) pixels, not rounded; NaN where the face was not seen.
    """
    size = np.nanmedian(distance(landmarks, _EYES)) if np.isfinite(landmarks).any() else np.nan
    moved = np.full(len(landmarks), np.nan)
    moved[1:] = np.linalg.norm(np.diff(landmarks[..., :2], axis=0), axis=-1).mean(axis=-1) / size
    return moved


def jump_cuts(moved: Float[Array, " frames"], changes: Float[Array, " frames"]) -> list[int]:
    """Frames at which face and picture are elsewhere at once, and were not on the way.

    A fast turn moves the face for several frames and the picture as much before and after.

    Parameters
    ----------
    moved
        (T,) from `movement`.
    changes
        (T,) mean change of the picture from the frame before, 0..1 of full scale; the first is not looked at.
    """
    cuts = []
    for frame in np.flatnonzero(np.nan_to_num(moved) > _MOVES).tolist():
        around = np.arange(max(1, frame - _AROUND), min(len(moved), frame + _AROUND + 1))
        around = around[around != frame]
        beside = around[np.abs(around - frame) <= 2]
        usual = np.median(changes[around]) + _PICTURE_NOISE if len(around) else np.inf
        alone = changes[frame] > _BESIDE * changes[beside].max(initial=0.0)
        alone &= moved[frame] > _BESIDE * np.nan_to_num(moved[beside]).max(initial=0.0)
        if alone and changes[frame] > _STANDS_OUT * usual:
            cuts.append(frame)
    return cuts


def frozen_ratio(moved: Float[Array, " frames"]) -> float:
    """Share of the frames, 0..1, in stretches of a fifth of a second or more through which the face does not move.

    Parameters
    ----------
    moved
        (T,) from `movement`.
    """
    lengths = run_lengths(np.nan_to_num(moved, nan=np.inf) < _STILL)
    return float(lengths[lengths >= _STILL_FRAMES].sum()) / max(len(moved) - 1, 1)
