"""Fit a head model to many clips at once, as a GPU likes it and as a video's clips ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from multitalk.fit_flame.course.buckets import Clips
from multitalk.fit_flame.course.motion import fit_all
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.regressors.interface import Coefficients
from multitalk.fit_flame.regressors.start import require_trained_on
from multitalk.fit_flame.solving.batch import usable_frames
from multitalk.fit_flame.solving.landmark_basis import landmark_basis
from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.fit_flame.solving.settings import FitSettings
from multitalk.ground.devices import chosen_device

FloatArray = npt.NDArray[np.float32]


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
    persons: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
) -> list[FitResult | FitDiverged]:
    """Fit several clips at once; see `multitalk.fit_flame.fit.fit_clip` for the meaning.

    Parameters
    ----------
    landmarks, valids, head_model, settings, image_size, fps, confidences, regressed
        As of `fit_clip`, of every clip.
    persons
        Of every clip a number, the same for clips that show one person before one camera: these get one shape and
        one focal length. None: each clip its own.
    scales
        Of every clip how many of its pixels one of the camera's picture is wide; focal length is shared in the
        camera's pixels. None: all alike.

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
    basis = landmark_basis(fitted, torch.device(chosen_device(settings.device)))
    trusts = [None] * len(valids) if confidences is None else confidences
    frames = [usable_frames(basis, *clip) for clip in zip(landmarks, valids, trusts, strict=True)]
    found: list[FitResult | FitDiverged] = [
        FitDiverged("no frame of the clip has usable landmarks") for _ in frames
    ]
    usable = [i for i, seen in enumerate(frames) if seen.any()]
    if not usable:
        return found
    own = range(len(valids)) if persons is None else persons
    clips = Clips(
        landmarks=[landmarks[i] for i in usable],
        usable=[frames[i] for i in usable],
        confidences=None if confidences is None else [confidences[i] for i in usable],
        regressed=None if regressed is None else [regressed[i] for i in usable],
        scales=[1.0 if scales is None else float(scales[i]) for i in usable],
        members=_members([own[i] for i in usable]),
        image_size=image_size,
    )
    results = fit_all(clips, basis, fitted, head_model, settings, fps)
    for i, result in zip(usable, results, strict=True):
        found[i] = result
    return found


def _without_identity(head_model: HeadModel) -> HeadModel:
    """Leave the mean face as the only one that the head model has."""
    return replace(head_model, shapedirs=head_model.shapedirs[:, :, :0])


def _mixed(head_model: HeadModel) -> HeadModel:
    """Give a head model with rules the directions of what is fitted in place of its weights'."""
    if head_model.rules is None:
        return head_model
    return replace(head_model, expressiondirs=head_model.expressiondirs @ head_model.rules.mixing)


def _members(persons: Sequence[int]) -> list[list[int]]:
    """Clips of each person, in order."""
    found: dict[int, list[int]] = {}
    for clip, person in enumerate(persons):
        found.setdefault(person, []).append(clip)
    return list(found.values())
