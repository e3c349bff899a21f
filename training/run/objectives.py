"""What is minimised: losses of each clip of a batch, for both architectures of both models.

Shapes: B clips, T frames, F motion values, N vertex values. Losses are (B,), so that a clip can be
weighted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.training.layers.quantiser import Quantised
from multitalk.training.layers.wav2vec2 import normalise_sound
from multitalk.training.model.face_decoder import FaceDecoder
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker, mean_latents
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker

Prior = ReferencePrior | MotionPrior
MILLIMETRES = 1000.0
"""Vertices are in metres; in millimetres their losses are about one."""
LIP_WEIGHT, VELOCITY_WEIGHT, MOTION_WEIGHT, CODE_WEIGHT = 1.0, 1.0, 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch."""

    total: Tensor
    """(B,) what is minimised."""
    parts: dict[str, Tensor]
    """(B,) its parts by name, for the curves."""
    quantised: Quantised | None = None
    """The prior's codes, for the codebook's health."""


def prior_losses(prior: Prior, face: FaceDecoder, motion: Tensor) -> Losses:
    """Reconstruction and quantiser losses of motion (B, T, F)."""
    if isinstance(prior, ReferencePrior):
        offsets = face(motion)
        out = prior(offsets)
        error = (out.offsets.float() - offsets).abs().flatten(1).mean(1)
        parts = {"reconstruction": error, "quantiser": out.quantised.loss}
        return Losses(error + out.quantised.loss, parts, out.quantised)
    reconstruction = prior(motion)
    parts = _motion_losses(prior, face, reconstruction.motion, motion)
    parts["quantiser"] = reconstruction.quantised.loss
    return Losses(_sum(parts), parts, reconstruction.quantised)


def talker_losses(
    talker: nn.Module, prior: Prior, face: FaceDecoder, motion: Tensor, language: Tensor, sound: Tensor
) -> Losses:
    """Losses of a talker on motion (B, T, F), languages (B,) and sound as `motion_data.MotionBatch` has it."""
    if isinstance(talker, ReferenceTalker) and isinstance(prior, ReferencePrior):
        audio = [normalise_sound(clip) for clip in sound]
        styles = talker.learnable_style_emb(language)
        out = talker(prior, audio, styles, face(motion))
        return Losses(out.motion + out.latent, {"motion": out.motion, "latent": out.latent})
    assert isinstance(talker, Talker) and isinstance(prior, MotionPrior)
    with torch.no_grad():
        truth = prior.quantise(motion)
    logits = talker(prior, talker.encode_audio(sound), talker.languages(language), truth.latents)
    decoded = prior.decode(mean_latents(logits, prior))
    parts = _motion_losses(prior, face, decoded, motion)
    surprise = functional.cross_entropy(logits.float().flatten(0, 2), truth.codes.flatten(), reduction="none")
    parts["codes"] = CODE_WEIGHT * surprise.view(len(motion), -1).mean(1)
    return Losses(_sum(parts), parts)


def _motion_losses(prior: MotionPrior, face: FaceDecoder, motion: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Errors of the vertices (mm^2), of the lips', of their velocity, and of the standardised motion values."""
    offsets, wanted = face(motion) * MILLIMETRES, face(truth) * MILLIMETRES
    error = (offsets - wanted).view(*offsets.shape[:2], -1, 3)
    velocity = error[:, 1:] - error[:, :-1]
    standardised = (motion - truth) / prior.deviation
    return {
        "vertices": error.square().flatten(1).mean(1),
        "lips": LIP_WEIGHT * error[:, :, face.lips].square().flatten(1).mean(1),
        "velocity": VELOCITY_WEIGHT * velocity.square().flatten(1).mean(1),
        "motion": MOTION_WEIGHT * standardised.abs().flatten(1).mean(1),
    }


def _sum(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum(0)
