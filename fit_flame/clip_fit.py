"""The course of a fit, for a batch of clips at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

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
from multitalk.fit_flame.refining.eyeballs import behind_lids
from multitalk.fit_flame.refining.gaze_weights import gaze_weights, with_open_eyes
from multitalk.fit_flame.refining.resting import rested
from multitalk.fit_flame.refining.smoothing import fit_pose_chain, smoothed
from multitalk.fit_flame.regressors.interface import Coefficients
from multitalk.fit_flame.regressors.start import require_trained_on, start_from
from multitalk.fit_flame.solving.batch import ClipBatch, prepare, usable_frames
from multitalk.fit_flame.solving.bounds import Bounds, fixed, limited_step, one_of_each, within
from multitalk.fit_flame.solving.contour import at_yaw, narrowed
from multitalk.fit_flame.solving.gaze import gaze
from multitalk.fit_flame.solving.identity import at_frames, choose, fit_shared, key_frames, nearest_key
from multitalk.fit_flame.solving.initial import Start, first_guess, refined
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis, landmark_basis
from multitalk.fit_flame.solving.objective import (
    Prior,
    chain_cost,
    chain_step,
    cost_and_gradient,
    damped,
    factorised_chain,
    frame_hessian,
)
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, Observations, move, place_landmarks
from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.fit_flame.solving.solver import factor
from multitalk.fit_flame.solving.solver import solve as factor_solve
from multitalk.fit_flame.solving.temporal_prior import inside, rest, temporal_prior
from multitalk.ground import landmark_layout as layout

FloatArray = npt.NDArray[np.float32]

JAW_MEAN = (0.05, 0.0, 0.0)
JAW_SIGMA = (0.2, 0.03, 0.03)  # radians: opening, sideways, roll
FOCAL_SIGMA = 0.4  # of its logarithm
_TYPICAL_FOV_DEG = 30.0
_DAMPING = 1e-3
_SETTLING = 2  # further iterations once of two opposed expressions one is shut


def fit_batch(
    landmarks: Sequence[FloatArray],
    valids: Sequence[npt.NDArray[np.bool_]],
    head_model: HeadModel,
    settings: FitSettings,
    *,
    image_size: int = 512,
    fps: float = 25.0,
    confidences: Sequence[FloatArray] | None = None,
    regressed: Sequence[Coefficients] | None = None,
) -> list[FitResult | FitDiverged]:
    """Fit several clips at once, as a GPU likes it; see `multitalk.fit_flame.fit.fit_clip` for the meaning.

    Returns
    -------
    list
        For each clip its result, or the error that `fit_clip` would raise.

    Raises
    ------
    HeadModelError
        When the regressor's coefficients belong to another head model.
    """
    if regressed is not None:
        require_trained_on(head_model)
    fitted = _mixed(head_model if settings.shape else _without_identity(head_model))
    basis = landmark_basis(fitted, torch.device(settings.device))
    trusts = [None] * len(valids) if confidences is None else confidences
    frames = [usable_frames(basis, *clip) for clip in zip(landmarks, valids, trusts, strict=True)]
    results: list[FitResult | FitDiverged] = [
        FitDiverged("no frame of the clip has usable landmarks") for _ in frames
    ]
    usable = [i for i, seen in enumerate(frames) if seen.any()]
    if not usable:
        return results
    batch = prepare(
        basis,
        settings,
        [landmarks[i] for i in usable],
        [frames[i] for i in usable],
        None if confidences is None else [confidences[i] for i in usable],
        image_size,
    )
    basis, batch = narrowed(basis, batch)
    start = None
    if regressed is not None:
        start = start_from([regressed[i] for i in usable], basis, batch, fitted, image_size)
    seen = [landmarks[i] for i in usable]
    clip, frame = solve(basis, batch, settings, image_size, start, head_model, seen)
    found = _results(basis, batch, clip, frame, head_model, settings, image_size, fps)
    for i, result in zip(usable, found, strict=True):
        results[i] = result
        if isinstance(result, FitResult):
            motion = behind_lids(result.motion, head_model)
            eyes = gaze(motion, head_model, landmarks[i])
            results[i] = replace(result, motion=replace(motion, eyes=eyes))
    return results


def _without_identity(head_model: HeadModel) -> HeadModel:
    """Leave the mean face as the only one that the head model has."""
    return replace(head_model, shapedirs=head_model.shapedirs[:, :, :0])


def _mixed(head_model: HeadModel) -> HeadModel:
    """Give a head model with rules the directions of what is fitted in place of its weights'."""
    if head_model.rules is None:
        return head_model
    return replace(head_model, expressiondirs=head_model.expressiondirs @ head_model.rules.mixing)


def _prior(head_model: HeadModel | None, like: Tensor) -> Prior:
    """Say what is known of a frame's expression and jaw before anything is seen."""
    rules = None if head_model is None else head_model.rules
    moving = head_model is None or head_model.has_jaw
    mean, sigma = like.new_tensor(JAW_MEAN if moving else (0, 0, 0)), like.new_tensor(JAW_SIGMA)
    if rules is None:
        return Prior(mean, sigma**-2)
    upper, pull, precision = (
        torch.as_tensor(values).to(like) for values in (rules.upper, rules.pull, rules.precision)
    )
    return Prior(mean, sigma**-2, precision, pull, Bounds(torch.zeros_like(upper), upper))


def solve(
    basis: LandmarkBasis,
    batch: ClipBatch,
    settings: FitSettings,
    image_size: int,
    start: Start | None = None,
    head_model: HeadModel | None = None,
    landmarks: Sequence[FloatArray] = (),
) -> tuple[ClipState, FrameState]:
    """Run the fit: first guess, shared unknowns on key frames, frames alone, frames together.

    A start is tried beside the first guess; each frame goes on from whichever fits it better. The head model is
    asked for its rules only, the clips' landmarks (T, N, 2 or 3) for their irises, where gaze is among the rules.
    """
    valid, like = batch.valid, basis.rest.template
    seen = at_yaw(basis, batch.seen, None)
    prior = _prior(head_model, like)
    frame = first_guess(basis, seen, valid)
    seen = at_yaw(basis, batch.seen, frame.rotation)

    def kappa(fov_deg: float) -> Tensor:
        """Inverse focal length in inter-ocular distances."""
        return 2 * math.tan(math.radians(fov_deg) / 2) / image_size * batch.interocular_px

    clip = ClipState(like.new_zeros(len(valid), basis.rest.shape.shape[-1]), kappa(_TYPICAL_FOV_DEG))
    keys = key_frames(seen, valid, min(settings.key_frames, max(batch.lengths)))
    rows = torch.arange(len(keys), device=keys.device)[:, None]
    seen_keys = at_frames(seen, keys)
    guesses = [frame] if start is None else [frame, start.frame]
    if start is not None:
        clip = clip._replace(shape=start.shape)
    rules = None if head_model is None else head_model.rules
    at_keys = [FrameState(*(value[rows, keys] for value in guess)) for guess in guesses]
    clip, key_state = fit_shared(
        basis,
        seen_keys,
        prior,
        clip,
        refined(basis, seen_keys, prior, clip, at_keys),
        kappa_bounds=(kappa(settings.field_of_view_deg[0]), kappa(settings.field_of_view_deg[1])),
        log_kappa_mean=kappa(_TYPICAL_FOV_DEG).log(),
        log_kappa_precision=FOCAL_SIGMA**-2,
        iterations=settings.identity_iterations,
    )
    like_key = nearest_key(seen, frame, keys)
    guesses[0] = frame._replace(
        expression=key_state.expression[rows, like_key], jaw=key_state.jaw[rows, like_key]
    )
    frame = refined(basis, seen, prior, clip, guesses)
    seen = at_yaw(basis, batch.seen, frame.rotation)
    frame, blocks = _fit_frames(basis, seen, prior, clip, frame, settings.frame_iterations)
    if rules is not None:
        clip, frame = rested(rules, clip, frame, valid)
        assert head_model is not None and prior.bounds is not None
        if landmarks:
            looks = _looks(basis, batch, clip, frame, head_model, landmarks, image_size)
            bounds, frame = fixed(prior.bounds, frame, rules.gaze, looks)
            prior = prior._replace(bounds=bounds)
        prior = prior._replace(bounds=one_of_each(prior.bounds, frame.expression, rules.opposed))
        frame = within(prior.bounds, frame)
        frame, blocks = _fit_frames(basis, seen, prior, clip, frame, _SETTLING, blocks)
        clip, frame = rested(rules, clip, frame, valid)
    if settings.chain_iterations and valid.shape[1] > 1:
        together = batch._replace(seen=at_yaw(basis, batch.seen, frame.rotation))
        if prior.bounds is None:
            frame = _fit_chain(basis, together, prior, clip, frame, blocks, settings)
        else:
            frame = _smoothed(basis, together, prior, clip, frame, blocks, settings)
    return clip, frame


def _looks(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    head_model: HeadModel,
    landmarks: Sequence[FloatArray],
    image_size: int,
) -> Tensor:
    """(C, T, 8) weights of gaze as the irises stand in the heads fitted so far."""
    assert head_model.rules is not None
    looks = frame.expression.new_zeros(*frame.expression.shape[:2], len(head_model.rules.gaze))
    for c, frames in enumerate(batch.lengths):
        nothing = batch.valid.new_zeros(frames, dtype=frame.log_scale.dtype)
        motion = _motion(basis, batch, clip, frame, c, frames, nothing, head_model, image_size, 25.0)
        weights = gaze_weights(head_model.rules, gaze(motion, head_model, with_open_eyes(landmarks[c])))
        looks[c, :frames] = torch.as_tensor(weights).to(looks)
    return looks


def _fit_frames(
    basis: LandmarkBasis,
    seen: Observations,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    iterations: int,
    blocks: Tensor | None = None,
) -> tuple[FrameState, Tensor]:
    """Gauss-Newton on every frame alone; return its second derivatives too, (C, T, n, n), or those that are given.

    They are taken and factorised once, where the frame starts: near enough, since it starts from a key frame
    that looks like it. A step that raises a frame's cost is undone and its next one shortened.
    """
    here = cost_and_gradient(basis, seen, prior, clip, frame)
    if blocks is None:
        blocks = frame_hessian(basis, seen, prior, clip, frame, here)
    bent = damped(blocks, _DAMPING)
    factors = factor(bent) if prior.bounds is None else bent
    gradient, cost, reach = here.gradient, here.frame_cost, torch.ones_like(here.frame_cost)
    for _ in range(iterations):
        if prior.bounds is None:
            step = -factor_solve(factors, gradient)
        else:
            step = limited_step(prior.bounds, frame.expression, gradient, bent)
        new_frame = within(prior.bounds, move(frame, reach[..., None] * step))
        new = cost_and_gradient(basis, seen, prior, clip, new_frame)
        better = new.frame_cost <= cost
        frame = FrameState(*(choose(better, n, o) for n, o in zip(new_frame, frame, strict=True)))
        gradient, cost = choose(better, new.gradient, gradient), torch.minimum(new.frame_cost, cost)
        reach = torch.where(better, (2 * reach).clamp_max(1), reach / 4)
    return frame, blocks


def _fit_chain(
    basis: LandmarkBasis,
    batch: ClipBatch,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    blocks: Tensor,
    settings: FitSettings,
) -> FrameState:
    """Refine all frames together under the temporal prior; of the iterates a clip's best is kept."""
    here = cost_and_gradient(basis, batch.seen, prior, clip, frame)
    temporal = temporal_prior(basis, batch, clip, frame, blocks, settings)
    best, cost = frame, here.cost + chain_cost(frame, temporal)
    chain = factorised_chain(blocks, temporal)
    for _ in range(settings.chain_iterations):
        step, velocity = chain_step(chain, here.gradient, frame, temporal)
        frame, temporal = move(frame, step), temporal._replace(velocity=temporal.velocity + velocity)
        here = cost_and_gradient(basis, batch.seen, prior, clip, frame)
        total = here.cost + chain_cost(frame, temporal)
        best = FrameState(*(choose(total <= cost, new, old) for new, old in zip(frame, best, strict=True)))
        cost = torch.minimum(total, cost)
    return best


def _smoothed(
    basis: LandmarkBasis,
    batch: ClipBatch,
    prior: Prior,
    clip: ClipState,
    frame: FrameState,
    blocks: Tensor,
    settings: FitSettings,
) -> FrameState:
    """Smooth a face whose expression has limits, then refine the pose of all frames together."""
    resting = rest(basis, batch, clip, frame, settings.resting) * inside(batch)[:, 1:]
    expression = smoothed(frame.expression, batch.valid, resting, settings.smooth_face, prior.bounds)
    frame = frame._replace(expression=expression)
    temporal = temporal_prior(basis, batch, clip, frame, blocks, settings)
    return fit_pose_chain(basis, batch.seen, prior, clip, frame, temporal, settings.chain_iterations)


def _results(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    head_model: HeadModel,
    settings: FitSettings,
    image_size: int,
    fps: float,
) -> list[FitResult | FitDiverged]:
    """Measure each clip's errors and turn its state into a motion."""
    trusted = at_yaw(basis, batch.seen, frame.rotation)
    image, correction = place_landmarks(basis, clip, frame).image, None
    if head_model.correctiondirs is not None:
        smoothness = settings.smooth_face * rest(basis, batch, clip, frame, settings.resting)
        correction, image = fit_correction(
            basis, corrections_at(head_model, basis), trusted, clip, frame, smoothness * inside(batch)[:, 1:]
        )
    trust = trusted.confidence
    error = (image - batch.seen.points).norm(dim=-1)
    names = layout.regions()[basis.numbers]
    of_lips = torch.as_tensor(np.flatnonzero(names == "lips"), device=error.device)
    everywhere = _weighted(error, trust)
    lips = _weighted(error[..., of_lips], trust[..., of_lips])
    jitter = image.diff(n=2, dim=1).square().sum(-1).mean(-1)
    results: list[FitResult | FitDiverged] = []
    for c, frames in enumerate(batch.lengths):
        valid = batch.valid[c, :frames]
        mean = everywhere[c, :frames]
        motion = _motion(basis, batch, clip, frame, c, frames, mean, head_model, image_size, fps)
        if correction is not None:
            motion = replace(motion, correction=correction[c, :frames].float().cpu().numpy().copy())
        total = float(mean[valid].mean())
        if not total <= settings.max_error:
            results.append(
                FitDiverged(
                    f"mean landmark error {total:.3f} of the inter-ocular distance is above {settings.max_error}"
                )
            )
            continue
        smooth = jitter[c, : max(0, frames - 2)][valid[2:] & valid[1:-1] & valid[:-2]]
        results.append(
            FitResult(
                motion=motion,
                landmark_error=total,
                landmark_error_lips=float(lips[c, :frames][valid].mean()),
                jitter=float(smooth.mean().sqrt()) if len(smooth) else 0.0,
                interocular_px=float(batch.interocular_px[c]),
            )
        )
    return results


def _weighted(error: Tensor, trust: Tensor) -> Tensor:
    """Mean over the landmarks, each by its confidence."""
    return (error * trust).sum(-1) / trust.sum(-1).clamp_min(1e-6)


def _motion(
    basis: LandmarkBasis,
    batch: ClipBatch,
    clip: ClipState,
    frame: FrameState,
    c: int,
    frames: int,
    error: Tensor,
    head_model: HeadModel,
    image_size: int,
    fps: float,
) -> Motion:
    """Translate the solver's unknowns into FLAME's: rotation about the root joint, translation in metres."""
    rotation = frame.rotation[c, :frames].double()
    scale = frame.log_scale[c, :frames].double().exp()
    kappa = clip.kappa[c].double()
    middle = (
        torch.cat([frame.position[c, :frames].double(), (-1 / kappa).expand(frames, 1)], -1) / scale[:, None]
    )
    # Where the mean face was kept no coefficient was fitted.
    shape = torch.nn.functional.pad(clip.shape[c], (0, head_model.shape_size - clip.shape.shape[-1]))
    expression = frame.expression[c, :frames]
    weights = _weights(head_model.rules, expression)
    root = root_joint(head_model, shape, weights)
    translation = middle + (rotation @ (root - basis.centre.double())[..., None])[..., 0] - root
    valid = batch.valid[c, :frames]

    def array(tensor: Tensor) -> FloatArray:
        result: FloatArray = tensor.to(torch.float32).cpu().numpy().copy()
        return result

    focal = float(batch.interocular_px[c]) / float(kappa)
    return Motion(
        head_model=head_model.key,
        fps=fps,
        shape=array(shape),
        expression=array(weights),
        jaw=array(to_axis_angle(frame.jaw[c, :frames])) * np.float32(head_model.has_jaw),
        eyes=np.zeros((frames, 6), np.float32),
        rotation=array(to_axis_angle(rotation)),
        translation=array(translation),
        camera=np.array([focal, image_size / 2, image_size / 2], np.float32),
        valid=valid.cpu().numpy().copy(),
        residual=array(torch.where(valid, error, torch.nan)),
    )


def _weights(rules: ExpressionRules | None, fitted: Tensor) -> Tensor:
    """(T, E) a head model's expression by what was fitted."""
    if rules is None:
        return fitted
    return torch.as_tensor(applied(rules.mixing, fitted.cpu().numpy())).to(fitted)
