"""Key frames: those that differ most, among those that nothing speaks against.

What differs most is drawn to what is wrong: three frames in which a detector's mesh has slipped off the face would be
three key frames. So frames that jump away from those around them are no candidates.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import FrameState, Observations
from multitalk.ground import landmark_layout as layout

_AROUND = 3  # frames before and after whose median place a landmark is compared with
_JUMP = 0.03  # inter-ocular distances from there, from which a frame may have slipped
_USUAL = 4  # times what is usual in the clip, from which it has
_LANDMARKS = 64  # that are looked at, about


def candidates(basis: LandmarkBasis, seen: Observations, valid: Tensor) -> Tensor:
    """(C, T) valid frames that lie where those around them do; all valid ones of a clip that has no such frame.

    Looks at skin that neither jaw nor lips, lids and brows move. Where a head turns, the median of the frames around
    is the frame's own place.
    """
    rows = torch.as_tensor(_still_rows(basis), device=valid.device)
    points = torch.where(valid[..., None, None], seen.points[:, :, rows], torch.nan)
    padded = torch.nn.functional.pad(points, (0, 0, 0, 0, _AROUND, _AROUND), value=torch.nan)
    around = padded.unfold(1, 2 * _AROUND + 1, 1).nanmedian(-1).values
    apart = (points - around).norm(dim=-1).mean(-1)
    usual = apart.nanmedian(1, keepdim=True).values
    steady = valid & (apart <= (_USUAL * usual).clamp_min(_JUMP))
    return torch.where(steady.any(1, keepdim=True), steady, valid)


def _still_rows(basis: LandmarkBasis) -> list[int]:
    """Rows of landmarks on skin that only the head moves, evenly spread; of all where there are none."""
    skin = layout.regions()[basis.numbers] == "skin"
    skin[: len(basis.jaw.template)] = False
    rows = np.flatnonzero(skin) if skin.any() else np.arange(len(skin))
    chosen: list[int] = rows[:: max(1, len(rows) // _LANDMARKS)].tolist()
    return chosen


def key_frames(seen: Observations, usable: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Frames that differ most, by farthest-point sampling on the landmarks.

    Parameters
    ----------
    seen
        The landmarks.
    usable
        (C, T) frames to choose from, one at least in each row.
    count
        K.

    Returns
    -------
    tuple
        (C, K) frame numbers, and (C, K) which of them count: where fewer are usable, or look different, the others are
        repetitions.
    """
    points = seen.points.flatten(2)
    rows = torch.arange(len(points), device=points.device)
    share = usable / usable.sum(1, keepdim=True)
    middle = (points * share[..., None]).sum(1, keepdim=True)
    away = torch.where(usable, (points - middle).square().sum(-1), torch.inf)
    chosen = [away.argmin(-1)]  # the most usual one
    distance = torch.where(usable, torch.inf, -1.0).to(points.dtype)
    farthest = [torch.ones_like(distance[:, 0])]
    for _ in range(count - 1):
        last = points[rows, chosen[-1]][:, None]
        distance = torch.minimum(distance, (points - last).square().sum(-1))
        most = distance.max(-1)
        chosen.append(most.indices)
        farthest.append(most.values)
    return torch.stack(chosen, 1), torch.stack(farthest, 1) > 0


def at_frames(seen: Observations, frames: Tensor) -> Observations:
    """Observations of the chosen frames (C, K) only."""
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return seen._replace(
        points=seen.points[rows, frames],
        confidence=seen.confidence[rows, frames],
        depths=seen.depths[rows, frames],
    )


def states_at(frame: FrameState, frames: Tensor) -> FrameState:
    """Unknowns of the chosen frames (C, K) only."""
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return FrameState(*(value[rows, frames] for value in frame))


def looks(seen: Observations, frame: FrameState) -> Tensor:
    """(C, T, L * 2) landmarks once position and size are taken out."""
    placed = (seen.points - frame.position[..., None, :]) / frame.log_scale.exp()[..., None, None]
    return placed.flatten(2)


def nearest_key(frames: Tensor, keys: Tensor, counting: Tensor) -> Tensor:
    """(C, T) which of the keys (C, K) that count each frame looks most like, by `looks` of both."""
    apart = torch.cdist(frames, keys)
    return torch.where(counting[:, None], apart, torch.inf).argmin(-1)
