"""The temporal prior's weights: how quiet a clip's head and face are, frame by frame.

The prior is as strong as the landmarks' own information times a setting, and lets go where the first,
frame-by-frame fit shows true motion: jitter is small and everywhere, motion is large.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import Temporal, innovation
from multitalk.fit_flame.solving.residuals import POSE_SIZE, ClipState, FrameState, place_landmarks
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.ground import landmark_layout as layout

_FEATURES = ("lips", "eyes", "brows")


def temporal_prior(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    blocks: Tensor,
    settings: FitSettings,
) -> Temporal:
    """Scale the temporal prior by the landmarks' information, and let go where the face moves."""
    valid = batch.valid
    share = (valid / valid.sum(1, keepdim=True))[..., None]
    information = (blocks.diagonal(dim1=-2, dim2=-1) * share).sum(1)
    n = information.shape[1]
    face, head = information[:, : n - POSE_SIZE], information[:, n - POSE_SIZE :]
    resting = rest(basis, batch, clip, frame, settings.resting)
    velocity = frame.log_scale.new_zeros(*valid.shape, POSE_SIZE)
    rest_weight = settings.smooth_face * resting[..., None] * face[:, None]
    steady = _steady(batch, frame, head, settings.steady)
    head_weight = settings.smooth_head * steady[..., None] * head[:, None]
    precision = torch.cat([rest_weight, 30 * head_weight, head_weight], -1)
    return Temporal(precision * inside(batch)[:, 1:, None], velocity)


def inside(batch: ClipBatch) -> Tensor:
    """(C, T) frames that a clip has, not those that pad it."""
    frames = torch.arange(batch.valid.shape[1], device=batch.valid.device)
    return frames < torch.as_tensor(batch.lengths, device=batch.valid.device)[:, None]


def _steady(batch: ClipBatch, frame: FrameState, information: Tensor, threshold: float) -> Tensor:
    """(C, T-1) 1 while the head keeps its velocity, towards 0 where it is jerked or the film is cut.

    A change of pose counts by how far it moves the landmarks, for which the information (C, 6) is the measure.
    """
    pose = innovation(frame, frame.log_scale.new_zeros(*frame.log_scale.shape, POSE_SIZE))
    change = pose[..., -2 * POSE_SIZE : -POSE_SIZE].diff(dim=1)
    moved = (information[:, None] * change.square()).sum(-1) / batch.seen.precision.sum()
    spread = torch.nn.functional.max_pool1d(torch.nn.functional.pad(moved, (1, 1)), 2, stride=1)
    return (1 + spread / threshold**2) ** -2


def rest(
    basis: LandmarkBasis, batch: ClipBatch, clip: ClipState, frame: FrameState, threshold: float
) -> Tensor:
    """(C, T-1) 1 while lips, lids and brows rest, towards 0 while they move."""
    scale = torch.where(inside(batch), frame.log_scale.exp(), torch.nan).nanmedian(dim=1).values
    head = place_landmarks(basis, clip, frame).head * scale[:, None, None, None]
    moved = head.diff(dim=1).square().sum(-1)
    names = layout.regions()[basis.numbers]
    shares = np.stack([(names == region) / max(1, (names == region).sum()) for region in _FEATURES], axis=1)
    motion = (moved @ torch.as_tensor(shares, dtype=moved.dtype, device=moved.device)).amax(-1)
    spread = torch.nn.functional.max_pool1d(motion[:, None], 5, stride=1, padding=2)[:, 0]
    return (1 + spread / threshold**2) ** -2
