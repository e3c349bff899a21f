"""Each clip's motion, once shape and camera of its person are known: frames alone, then together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.course.buckets import Bucket, Clips, bucket_of, divided, person_scales
from multitalk.fit_flame.course.persons import Person, fit_persons
from multitalk.fit_flame.course.results import Camera, motions, results
from multitalk.fit_flame.heads.expression_rules import ExpressionRules
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.refining.eyeballs import behind_lids
from multitalk.fit_flame.refining.gaze_weights import gaze_weights, with_open_eyes
from multitalk.fit_flame.refining.resting import rested
from multitalk.fit_flame.refining.smoothing import fit_pose_chain, smoothed
from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.bounds import Bounds, fixed, one_of_each, within
from multitalk.fit_flame.solving.contour import at_yaw, narrowed
from multitalk.fit_flame.solving.frames import fit_chain, fit_frames
from multitalk.fit_flame.solving.gaze import gaze
from multitalk.fit_flame.solving.identity import TYPICAL_FOV_DEG, kappa
from multitalk.fit_flame.solving.initial import refined
from multitalk.fit_flame.solving.key_frames import looks, nearest_key
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis, turns_as_jaw
from multitalk.fit_flame.solving.objective import Prior
from multitalk.fit_flame.solving.residuals import ClipState, FrameState
from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.fit_flame.solving.temporal_prior import inside, rest, temporal_prior

JAW_MEAN = (0.05, 0.0, 0.0)
JAW_SIGMA = (0.2, 0.03, 0.03)  # radians: opening, sideways, roll
AS_JAW_SIGMA = 0.01  # radians that an expression moves the face as a turning jaw does
_SETTLING = 2  # further iterations once of two opposed expressions one is shut


@dataclass(slots=True)
class _Fit:
    """A bucket on its way, each clip with its person's shape and camera."""

    numbers: list[int]
    basis: LandmarkBasis
    batch: ClipBatch
    prior: Prior
    clip: ClipState
    frame: FrameState
    blocks: Tensor
    """(C, T, n, n) second derivatives of the frames alone."""
    cameras: list[Camera]


def fit_all(
    clips: Clips,
    basis: LandmarkBasis,
    fitted: HeadModel,
    head_model: HeadModel,
    settings: FitSettings,
    fps: float,
) -> list[FitResult | FitDiverged]:
    """Fit clips that all have usable frames.

    Parameters
    ----------
    clips
        The clips.
    basis
        Landmarks of `fitted`.
    fitted
        The head model with the directions of what is fitted.
    head_model
        The head model that motions are of.
    settings, fps
        As of `multitalk.fit_flame.fit.fit_clip`.

    Returns
    -------
    list
        For every clip its result, or that it diverged.
    """
    together = basis.centre.device.type != "cpu"
    lengths = [len(seen) for seen in clips.usable]
    buckets = [
        bucket_of(numbers, clips, basis, settings, fitted) for numbers in divided(lengths, together=together)
    ]
    prior = prior_of(head_model, basis)
    persons = fit_persons(basis, prior, clips, buckets, settings)
    cameras = _cameras(clips, buckets, persons, fps)
    found: dict[int, FitResult | FitDiverged] = {}

    def measured(fit: _Fit) -> None:
        values = results(fit.basis, fit.batch, fit.clip, fit.frame, head_model, settings, fit.cameras)
        found.update(zip(fit.numbers, values, strict=True))

    if head_model.rules is None:
        for bucket in buckets:
            fit = _alone(basis, prior, bucket, persons, cameras, settings)
            _chained(fit, settings)
            measured(fit)
    else:
        fits = [_alone(basis, prior, bucket, persons, cameras, settings) for bucket in buckets]
        _rest(head_model.rules, fits, clips)
        for fit in fits:
            _settle(head_model, fit, clips, settings)
        _rest(head_model.rules, fits, clips)
        for fit in fits:
            _smooth(fit, settings)
            measured(fit)
    return _with_eyes([found[clip] for clip in range(len(clips.usable))], clips, head_model)


def prior_of(head_model: HeadModel, basis: LandmarkBasis) -> Prior:
    """Say what is known of a frame's expression and jaw before anything is seen."""
    rules, like = head_model.rules, basis.centre
    mean = like.new_tensor(JAW_MEAN if head_model.has_jaw else (0, 0, 0))
    sigma = like.new_tensor(JAW_SIGMA)
    if rules is None:
        jaw = head_model.has_jaw
        as_jaw = turns_as_jaw(basis) / AS_JAW_SIGMA if jaw else None
        return Prior(mean, sigma**-2, as_jaw=as_jaw, opens_only=jaw)
    upper, pull, precision = (
        torch.as_tensor(values).to(like) for values in (rules.upper, rules.pull, rules.precision)
    )
    return Prior(mean, sigma**-2, precision, pull, Bounds(torch.zeros_like(upper), upper))


def _cameras(clips: Clips, buckets: Sequence[Bucket], persons: Sequence[Person], fps: float) -> list[Camera]:
    """Camera of every clip: of one person, one focal length in the camera's pixels, to the last bit."""
    log_focal = torch.stack([person.log_focal for person in persons]).tolist()
    scales = person_scales(clips)
    typical = kappa(TYPICAL_FOV_DEG, clips.image_size)
    return [
        Camera(scale / (typical * math.exp(log)), clips.image_size, fps)
        for log, scale in zip(log_focal, scales, strict=True)
    ]


def _alone(
    whole: LandmarkBasis,
    prior: Prior,
    bucket: Bucket,
    persons: Sequence[Person],
    cameras: Sequence[Camera],
    settings: FitSettings,
) -> _Fit:
    """Fit every frame of a bucket alone, from the key frame of its person that it looks most like."""
    own = [persons[number] for number in bucket.clips]
    seen, frame = bucket.batch.seen, bucket.guess
    person = Person(*(torch.stack(values) for values in zip(*own, strict=True)))
    like_key = nearest_key(looks(seen, frame), person.looks, person.counting)
    rows = torch.arange(len(own), device=like_key.device)[:, None]
    focal = like_key.new_tensor([cameras[number].focal for number in bucket.clips], dtype=seen.points.dtype)
    inverse = (bucket.batch.interocular_px / focal)[:, None].expand(like_key.shape)
    clip = ClipState(person.shape, inverse)
    guesses = [frame._replace(expression=person.expression[rows, like_key], jaw=person.jaw[rows, like_key])]
    if bucket.start is not None:
        guesses.append(bucket.start.frame)
    basis, seen = narrowed(whole, seen, frame.rotation, bucket.batch.valid)
    frame = refined(basis, at_yaw(basis, seen, frame.rotation), prior, clip, guesses)
    frame, blocks = fit_frames(
        basis, at_yaw(basis, seen, frame.rotation), prior, clip, frame, settings.frame_iterations
    )
    batch = bucket.batch._replace(seen=seen)
    return _Fit(bucket.clips, basis, batch, prior, clip, frame, blocks, [cameras[n] for n in bucket.clips])


def _chained(fit: _Fit, settings: FitSettings) -> None:
    """Fit the frames of free expressions together."""
    if settings.chain_iterations and fit.batch.valid.shape[1] > 1:
        fit.frame = fit_chain(fit.basis, _turned(fit), fit.prior, fit.clip, fit.frame, fit.blocks, settings)


def _turned(fit: _Fit) -> ClipBatch:
    """Trust the contour as the heads are turned now."""
    return fit.batch._replace(seen=at_yaw(fit.basis, fit.batch.seen, fit.frame.rotation))


def _settle(head_model: HeadModel, fit: _Fit, clips: Clips, settings: FitSettings) -> None:
    """Give weights of gaze what the irises say, and shut of two opposed expressions one."""
    rules = head_model.rules
    assert rules is not None and fit.prior.bounds is not None
    bounds, fit.frame = fixed(fit.prior.bounds, fit.frame, rules.gaze, _looks(head_model, fit, clips))
    limits = one_of_each(bounds, fit.frame.expression, rules.opposed)
    fit.prior = fit.prior._replace(bounds=limits)
    frame = within(limits, fit.frame)
    fit.frame, _ = fit_frames(fit.basis, _turned(fit).seen, fit.prior, fit.clip, frame, _SETTLING, fit.blocks)


def _looks(head_model: HeadModel, fit: _Fit, clips: Clips) -> Tensor:
    """(C, T, 8) weights of gaze as the irises stand in the heads fitted so far."""
    assert head_model.rules is not None
    found = np.zeros((*fit.batch.valid.shape, len(head_model.rules.gaze)), np.float32)
    moved = motions(fit.basis, fit.batch, fit.clip, fit.frame, head_model, fit.cameras)
    for row, (number, motion) in enumerate(zip(fit.numbers, moved, strict=True)):
        eyes = gaze(motion, head_model, with_open_eyes(clips.landmarks[number]))
        found[row, : len(eyes)] = gaze_weights(head_model.rules, eyes)
    return torch.as_tensor(found).to(fit.frame.expression)


def _rest(rules: ExpressionRules, fits: Sequence[_Fit], clips: Clips) -> None:
    """Move what each person's face bears at rest, over all its clips, into the person's shape."""
    places = {number: (fit, row) for fit in fits for row, number in enumerate(fit.numbers)}
    for own in clips.members:
        fits_of, rows = zip(*(places[number] for number in own), strict=True)
        shape, expressions = rested(
            rules,
            fits_of[0].clip.shape[rows[0]],
            [fit.frame.expression[row] for fit, row in zip(fits_of, rows, strict=True)],
            [clips.usable[number] for number in own],
        )
        for fit, row, expression in zip(fits_of, rows, expressions, strict=True):
            fit.clip.shape[row] = shape
            fit.frame.expression[row] = expression


def _smooth(fit: _Fit, settings: FitSettings) -> None:
    """Smooth faces whose expression has limits, then refine the pose of all frames together."""
    if not settings.chain_iterations or fit.batch.valid.shape[1] < 2:
        return
    batch = _turned(fit)
    resting = rest(fit.basis, batch, fit.clip, fit.frame, settings.resting) * inside(batch)[:, 1:]
    expression = smoothed(fit.frame.expression, batch.valid, resting, settings.smooth_face, fit.prior.bounds)
    frame = fit.frame._replace(expression=expression)
    temporal = temporal_prior(fit.basis, batch, fit.clip, frame, fit.blocks, settings)
    fit.frame = fit_pose_chain(
        fit.basis, batch.seen, fit.prior, fit.clip, frame, temporal, settings.chain_iterations
    )


def _with_eyes(
    found: Sequence[FitResult | FitDiverged], clips: Clips, head_model: HeadModel
) -> list[FitResult | FitDiverged]:
    """Set each person's eyeballs behind the lids, and turn them to where the irises are."""
    done = list(found)
    for own in clips.members:
        fitted = [(number, result) for number in own if isinstance(result := found[number], FitResult)]
        set_back = behind_lids([result.motion for _, result in fitted], head_model)
        for (number, result), motion in zip(fitted, set_back, strict=True):
            eyes = gaze(motion, head_model, clips.landmarks[number])
            done[number] = replace(result, motion=replace(motion, eyes=eyes))
    return done
