"""Shape and camera of each person, once, from key frames of all clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multitalk.fit_flame.course.buckets import Bucket, Clips, person_scales
from multitalk.fit_flame.solving.contour import at_yaw, narrowed
from multitalk.fit_flame.solving.identity import TYPICAL_FOV_DEG, fit_shared, kappa
from multitalk.fit_flame.solving.initial import Start, refined
from multitalk.fit_flame.solving.key_frames import at_frames, candidates, key_frames, looks, states_at
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.objective import Prior
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, Observations
from multitalk.fit_flame.solving.settings import FitSettings

_TOGETHER = 64  # persons that a device fits together
_POOLED = 2  # times the key frames of a clip, for a person with several clips


class Person(NamedTuple):
    """What a clip takes over from its person; tensors of one person, without an axis for persons."""

    shape: Tensor
    """(S,)."""
    log_focal: Tensor
    """() logarithm of the inverse focal length beside the typical one."""
    expression: Tensor
    """(K, E) of the key frames."""
    jaw: Tensor
    """(K, 3, 3) of the key frames."""
    looks: Tensor
    """(K, L * 2) of the key frames."""
    counting: Tensor
    """(K,) key frames that were not dropped."""


class _Pool(NamedTuple):
    """Key frames of every clip: C clips of K frames."""

    kappas: list[float]
    """Of every clip the typical inverse focal length."""

    seen: Observations
    counting: Tensor
    """(C, K) those that are no repetition."""
    guess: FrameState
    start: Start | None


def fit_persons(
    basis: LandmarkBasis,
    prior: Prior,
    clips: Clips,
    buckets: Sequence[Bucket],
    settings: FitSettings,
) -> list[Person]:
    """Fit shape and camera of every person.

    Returns
    -------
    list
        For every clip its person.
    """
    pool = _pool(basis, clips, buckets, settings.key_frames)
    together = 1 if basis.centre.device.type == "cpu" else _TOGETHER
    by_size = sorted(clips.members, key=len)
    found: dict[int, Person] = {}
    for start in range(0, len(by_size), together):
        found |= _fit(basis, prior, clips, pool, by_size[start : start + together], settings)
    return [found[clip] for clip in range(len(clips.usable))]


def _pool(basis: LandmarkBasis, clips: Clips, buckets: Sequence[Bucket], most: int) -> _Pool:
    """Choose key frames of every clip, and put those of all clips together."""
    count = min(most, max(map(len, clips.usable)))
    seen, known, guesses, starts, shapes = [], [], [], [], []
    for bucket in buckets:
        there = bucket.batch.seen
        keys, counting = key_frames(there, candidates(basis, there, bucket.batch.valid), count)
        known.append(counting)
        seen.append(at_frames(there, keys))
        guesses.append(states_at(bucket.guess, keys))
        if bucket.start is not None:
            starts.append(states_at(bucket.start.frame, keys))
            shapes.append(bucket.start.shape)
    order = np.argsort([clip for bucket in buckets for clip in bucket.clips])
    rows = torch.as_tensor(order, device=basis.centre.device)

    def joined(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts))[rows]

    def states(parts: Sequence[FrameState]) -> FrameState:
        return FrameState(*(joined(values) for values in zip(*parts, strict=True)))

    together = seen[0]._replace(
        points=joined([part.points for part in seen]),
        confidence=joined([part.confidence for part in seen]),
        depths=joined([part.depths for part in seen]),
    )
    sizes = {number: size for b in buckets for number, size in zip(b.clips, b.batch.sizes, strict=True)}
    typical = kappa(TYPICAL_FOV_DEG, clips.image_size)
    kappas = [typical * sizes[clip] / scale for clip, scale in enumerate(person_scales(clips))]
    return _Pool(
        kappas,
        together,
        joined(known),
        states(guesses),
        Start(joined(shapes), states(starts)) if starts else None,
    )


def _fit(
    basis: LandmarkBasis,
    prior: Prior,
    clips: Clips,
    pool: _Pool,
    members: Sequence[Sequence[int]],
    settings: FitSettings,
) -> dict[int, Person]:
    """Fit some persons; the person of each of their clips."""
    device = basis.centre.device
    most = max(map(len, members))
    padded = [[*own, *[own[0]] * (most - len(own))] for own in members]
    rows = torch.as_tensor(padded, device=device)
    there = torch.as_tensor([[i < len(own) for i in range(most)] for own in members], device=device)
    typical = torch.as_tensor([[pool.kappas[clip] for clip in own] for own in padded], device=device)

    def of(values: Tensor) -> Tensor:
        """(C, K, ...) -> (P, most * K, ...)."""
        return values[rows].flatten(1, 2)

    def states(frame: FrameState) -> FrameState:
        return FrameState(*map(of, frame))

    seen = pool.seen._replace(
        points=of(pool.seen.points), confidence=of(pool.seen.confidence), depths=of(pool.seen.depths)
    )
    count = seen.points.shape[1] // most
    guesses = [states(pool.guess), *([states(pool.start.frame)] if pool.start else [])]
    counting = there.repeat_interleave(count, 1) & of(pool.counting)
    typical = typical.repeat_interleave(count, 1)
    if most > 1:
        keys, fresh = key_frames(seen, counting, min(most * count, _POOLED * settings.key_frames))
        seen, guesses = at_frames(seen, keys), [states_at(guess, keys) for guess in guesses]
        typical, counting = typical.gather(1, keys), counting.gather(1, keys) & fresh
    placed = looks(seen, guesses[0])
    less, seen = narrowed(basis, seen, guesses[0].rotation, counting)
    seen = at_yaw(less, seen, guesses[0].rotation)
    shape = basis.centre.new_zeros(len(members), basis.rest.shape.shape[-1])
    if pool.start is not None:
        of_clips = pool.start.shape[rows]
        shape = of_clips.mean(1)
    clip = ClipState(shape, typical)
    shared = fit_shared(
        less,
        seen,
        prior,
        clip,
        refined(less, seen, prior, clip, guesses),
        counting,
        field_of_view_deg=settings.field_of_view_deg,
        iterations=settings.identity_iterations,
    )
    return {
        clip: Person(
            shared.shape[p],
            shared.log_focal[p],
            shared.keys.expression[p],
            shared.keys.jaw[p],
            placed[p],
            shared.counting[p],
        )
        for p, own in enumerate(members)
        for clip in own
    }
