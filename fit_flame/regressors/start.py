"""From a regressor's coefficients to a head model's, and to where the fit starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.decode import root_joint
from multitalk.fit_flame.parameters.rotation import to_matrix
from multitalk.fit_flame.regressors.interface import EXPRESSIONS, Coefficients
from multitalk.fit_flame.solving.batch import ClipBatch
from multitalk.fit_flame.solving.initial import Start
from multitalk.fit_flame.solving.landmark_basis import LandmarkBasis
from multitalk.fit_flame.solving.residuals import FrameState

FloatArray = npt.NDArray[np.float32]

TRAINED_ON = "flame_2020"
LEAST_SCALE = 1.0
"""Pixels per metre; what a network that sees no face may give would make no sense of size."""


def require_trained_on(model: HeadModel) -> None:
    """Refuse a head model whose coefficients mean something else than the regressors'.

    Raises
    ------
    HeadModelError
        When it is not FLAME 2020's `generic_model.pkl`.
    """
    if model.name != TRAINED_ON:
        raise HeadModelError(
            f"DECA, SMIRK and SPECTRE give coefficients of FLAME 2020 (generic_model.pkl, asset {TRAINED_ON}), "
            f"not of {model.key}: use that head model, or no regressor"
        )


def clip_shape(regressed: Coefficients, model: HeadModel) -> FloatArray:
    """(S,) one identity for the clip: the mean over its valid frames, cut to the model's coefficients."""
    mean = regressed.shape[regressed.valid].mean(axis=0)[: model.shape_size]
    return np.pad(mean, (0, model.shape_size - len(mean))).astype(np.float32)


def expression_of(regressed: Coefficients, model: HeadModel) -> FloatArray:
    """(T, E) expression; eyelids follow where the head model has shapes for them."""
    known = regressed.expression
    if model.expression_size == EXPRESSIONS + 2:
        known = np.concatenate([known, regressed.eyelids], axis=1)
    known = known[:, : model.expression_size]
    return np.pad(known, ((0, 0), (0, model.expression_size - known.shape[1])))


def start_from(
    regressed: Sequence[Coefficients],
    basis: LandmarkBasis,
    batch: ClipBatch,
    model: HeadModel,
    image_size: int,
) -> Start:
    """Express the coefficients of clips in the fit's unknowns.

    Parameters
    ----------
    regressed
        Of each clip of the batch.
    basis, batch, model
        The fit's; the head model is the one that the regressors were trained on (`require_trained_on`).
    image_size
        Side of the image, pixels.

    Raises
    ------
    ValueError
        When a clip has not as many coefficients as landmarks.
    """
    frames = batch.valid.shape[1]
    like = basis.rest.template

    def stacked(arrays: Sequence[npt.NDArray[np.floating]]) -> Tensor:
        padded = [np.pad(a, ((0, frames - len(a)), (0, 0)), mode="edge") for a in arrays]
        return torch.as_tensor(np.stack(padded), dtype=like.dtype, device=like.device)

    for one, length in zip(regressed, batch.lengths, strict=True):
        if len(one.valid) != length:
            raise ValueError(f"coefficients of {len(one.valid)} frames for landmarks of {length}")
    shape = torch.as_tensor(np.stack([clip_shape(one, model) for one in regressed]), device=like.device)
    expression = stacked([expression_of(one, model) for one in regressed])
    rotation = to_matrix(stacked([one.rotation for one in regressed]))
    camera = stacked([one.camera for one in regressed])
    root = torch.stack([root_joint(model, s, e) for s, e in zip(shape, expression, strict=True)]).to(like)
    scale = camera[..., :1].clamp_min(LEAST_SCALE)
    # The regressors turn the head about its root joint, the fit about the middle of the landmarks.
    middle = (rotation @ (basis.centre - root)[..., None])[..., 0] + root
    shift = (camera[..., 1:] - image_size / 2) * camera.new_tensor([1, -1])
    position = (shift + scale * middle[..., :2]) / batch.interocular_px[:, None, None]
    return Start(
        shape,
        FrameState(
            expression=expression,
            jaw=to_matrix(stacked([one.jaw for one in regressed])),
            rotation=rotation,
            position=position,
            log_scale=(scale[..., 0] / batch.interocular_px[:, None]).log(),
        ),
    )
