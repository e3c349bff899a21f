"""From the solver's unknowns to motions, and how well they fit; all clips of a bucket leave the device at once."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.heads.expression_rules import ExpressionRules, applied
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import root_joint
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.fit_flame.parameters.rotation import to_axis_angle
from multitalk.fit_flame.refining.correction import corrections_at, fit_correction
from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.contour import at_yaw
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, place_landmarks
from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.fit_flame.solving.temporal_prior import inside, rest
from multitalk.ground import landmark_layout as layout

FloatArray = npt.NDArray[np.float32]

_FOURTH_DIFFERENCE = 70**0.5  # standard deviation of white noise's, of 1


class Camera(NamedTuple):
    """What a clip's frames were seen by."""

    focal: float
    """Pixels."""
    image_size: int
    """Side of the image, pixels; its middle is the principal point."""
    fps: float


class _OnHost(NamedTuple):
    """A bucket's clips on the host, CPU tensors; C clips of T frames."""

    shape: Tensor
    """(C, S)."""
    kappa: Tensor
    """(C, 1)."""
    expression: Tensor
    """(C, T, E)."""
    jaw: Tensor
    """(C, T, 3, 3)."""
    rotation: Tensor
    """(C, T, 3, 3)."""
    position: Tensor
    """(C, T, 2)."""
    log_scale: Tensor
    """(C, T)."""
    error: Tensor
    """(C, T) mean over the landmarks."""
    lips: Tensor
    """(C, T) mean over the lips'."""
    trembling: Tensor
    """(C, T - 4) fourth difference, root mean square over the landmarks."""
    correction: Tensor
    """(C, T, C')."""
    centre: Tensor
    """(3,)."""


def motions(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    head_model: HeadModel,
    cameras: list[Camera],
) -> list[Motion]:
    """Motions of a bucket's clips as they stand, errors left out."""
    nothing = frame.log_scale.new_zeros(*frame.log_scale.shape)
    host = _on_host(basis, clip, frame, nothing, nothing, nothing[:, :0], nothing[..., None][..., :0])
    return [_motion(host, batch, c, head_model, camera) for c, camera in enumerate(cameras)]


def results(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    head_model: HeadModel,
    settings: FitSettings,
    cameras: list[Camera],
) -> list[FitResult | FitDiverged]:
    """Measure each clip's errors and turn its state into a motion."""
    trusted = at_yaw(basis, batch.seen, frame.rotation)
    image = place_landmarks(basis, clip, frame).image
    correction = frame.expression[..., :0]
    if head_model.correctiondirs is not None:
        apart = settings.smooth_face * rest(basis, batch, clip, frame, settings.resting)
        correction, image = fit_correction(
            basis, corrections_at(head_model, basis), trusted, clip, frame, apart * inside(batch)[:, 1:]
        )
    trust = trusted.confidence
    error = (image - batch.seen.points).norm(dim=-1)
    of_lips = torch.as_tensor(np.flatnonzero(layout.regions()[basis.numbers] == "lips"), device=error.device)
    host = _on_host(
        basis,
        clip,
        frame,
        _weighted(error, trust),
        _weighted(error[..., of_lips], trust[..., of_lips]),
        image.diff(n=4, dim=1).square().sum(-1).mean(-1).sqrt(),
        correction,
    )
    return [_result(host, batch, c, head_model, settings, camera) for c, camera in enumerate(cameras)]


def _weighted(error: Tensor, trust: Tensor) -> Tensor:
    """Mean over the landmarks, each by its confidence."""
    return (error * trust).sum(-1) / trust.sum(-1).clamp_min(1e-6)


def _on_host(
    basis: LandmarkBasis,
    clip: ClipState,
    frame: FrameState,
    error: Tensor,
    lips: Tensor,
    trembling: Tensor,
    correction: Tensor,
) -> _OnHost:
    """Bring what the clips' motions need to the host in one transfer."""
    parts = [clip.shape, clip.kappa[:, :1], *frame, error, lips, trembling, correction, basis.centre]
    flat = torch.cat([part.reshape(-1) for part in parts]).cpu()
    pieces = torch.split(flat, [part.numel() for part in parts])
    return _OnHost(*(piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)))


def _result(
    host: _OnHost, batch: ClipBatch, c: int, head_model: HeadModel, settings: FitSettings, camera: Camera
) -> FitResult | FitDiverged:
    valid = torch.from_numpy(batch.usable[c])
    frames = len(valid)
    total = float(host.error[c, :frames][valid].mean())
    if not total <= settings.max_error:
        return FitDiverged(
            f"mean landmark error {total:.3f} of the inter-ocular distance is above {settings.max_error}"
        )
    whole = valid.unfold(0, 5, 1).all(-1) if frames > 4 else valid[:0]
    trembling = host.trembling[c, : max(0, frames - 4)][whole]
    return FitResult(
        motion=_motion(host, batch, c, head_model, camera),
        landmark_error=total,
        landmark_error_lips=float(host.lips[c, :frames][valid].mean()),
        jitter=float(trembling.median()) / _FOURTH_DIFFERENCE if len(trembling) else 0.0,
        interocular_px=batch.sizes[c],
    )


def _motion(host: _OnHost, batch: ClipBatch, c: int, head_model: HeadModel, camera: Camera) -> Motion:
    """Translate the solver's unknowns into FLAME's: rotation about the root joint, translation in metres."""
    valid = torch.from_numpy(batch.usable[c])
    frames = len(valid)
    rotation = host.rotation[c, :frames].double()
    scale = host.log_scale[c, :frames].double().exp()
    away = (-1 / host.kappa[c].double()).expand(frames, 1)
    middle = torch.cat([host.position[c, :frames].double(), away], -1) / scale[:, None]
    # Where the mean face was kept no coefficient was fitted.
    shape = torch.nn.functional.pad(host.shape[c], (0, head_model.shape_size - host.shape.shape[-1]))
    weights = _weights(head_model.rules, host.expression[c, :frames])
    root = root_joint(head_model, shape, weights)
    translation = middle + (rotation @ (root - host.centre.double())[..., None])[..., 0] - root

    def array(tensor: Tensor) -> FloatArray:
        result: FloatArray = tensor.to(torch.float32).numpy().copy()
        return result

    motion = Motion(
        head_model=head_model.key,
        fps=camera.fps,
        shape=array(shape),
        expression=array(weights),
        jaw=array(to_axis_angle(host.jaw[c, :frames])) * np.float32(head_model.has_jaw),
        eyes=np.zeros((frames, 6), np.float32),
        rotation=array(to_axis_angle(rotation)),
        translation=array(translation),
        camera=np.array([camera.focal, camera.image_size / 2, camera.image_size / 2], np.float32),
        valid=batch.usable[c].copy(),
        residual=array(torch.where(valid, host.error[c, :frames], torch.nan)),
    )
    if not host.correction.shape[-1]:
        return motion
    return replace(motion, correction=array(host.correction[c, :frames]))


def _weights(rules: ExpressionRules | None, fitted: Tensor) -> Tensor:
    """(T, E) a head model's expression by what was fitted."""
    if rules is None:
        return fitted
    return torch.as_tensor(applied(rules.mixing, fitted.numpy())).to(fitted)
