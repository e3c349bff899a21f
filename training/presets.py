"""Presets of training runs: the reference's recipe, ours, and one for a CPU and a few minutes."""

from __future__ import annotations

from multitalk.ground.nearest import did_you_mean
from multitalk.training.run_settings import (
    DataSettings,
    OptimiserSettings,
    PriorRun,
    TalkerRun,
    TrainingSettings,
)
from multitalk.training.settings import (
    MotionPriorSettings,
    ReferencePriorSettings,
    ReferenceTalkerSettings,
    TalkerSettings,
)


class UnknownPresetError(ValueError):
    """There is no preset of that name."""


_ONE_CLIP = DataSettings(batch_size=1, max_frames=100_000, cut_leftovers=False, language_balance=0)
_TINY_DATA = DataSettings(batch_size=8, max_frames=100, language_balance=0.5)

_REFERENCE_PRIOR = PriorRun(
    model=ReferencePriorSettings(),
    training=TrainingSettings(
        data=_ONE_CLIP,
        optimiser=OptimiserSettings(
            kind="adamw",
            learning_rate=1e-4,
            warmup_steps=0,
            schedule="halving",
            halving_epochs=20,
            clip_norm=0,
            ema_decay=0,
        ),
        epochs=200,
        revive_steps=0,
    ),
)
_REFERENCE_TALKER = TalkerRun(
    model=ReferenceTalkerSettings(),
    training=TrainingSettings(
        data=_ONE_CLIP,
        optimiser=OptimiserSettings(
            kind="adam", learning_rate=1e-4, warmup_steps=0, schedule="constant", clip_norm=0, ema_decay=0
        ),
        epochs=100,
        revive_steps=0,
    ),
)
_PRIOR = PriorRun(
    model=MotionPriorSettings(),
    training=TrainingSettings(precision="bf16-mixed", epochs=40, round_steps=2000),
)
_TALKER = TalkerRun(
    model=TalkerSettings(), training=TrainingSettings(precision="bf16-mixed", epochs=60, round_steps=2000)
)
_TINY_PRIOR = PriorRun(
    model=MotionPriorSettings(hidden=128, blocks=3, codes_per_frame=4, codebook_size=64, code_dim=16),
    training=TrainingSettings(
        data=_TINY_DATA,
        optimiser=OptimiserSettings(learning_rate=1e-3, warmup_steps=20, ema_decay=0.98),
        steps=600,
        round_steps=150,
        revive_steps=25,
    ),
)
_TINY_TALKER = TalkerRun(
    model=TalkerSettings(hidden=128, layers=2, heads=4, feed_forward=256, window=50, own_feedback=0.8),
    training=TrainingSettings(
        data=_TINY_DATA,
        optimiser=OptimiserSettings(learning_rate=1e-3, warmup_steps=20, ema_decay=0.98),
        steps=600,
        round_steps=100,
        revive_steps=0,
    ),
)

PRIORS = {"multitalk-reference": _REFERENCE_PRIOR, "multitalk": _PRIOR, "tiny": _TINY_PRIOR}
TALKERS = {"multitalk-reference": _REFERENCE_TALKER, "multitalk": _TALKER, "tiny": _TINY_TALKER}


def prior_preset(name: str) -> PriorRun:
    """Run of a motion prior by its preset's name.

    Raises
    ------
    UnknownPresetError
        When there is none; the message lists those there are.
    """
    _check(name)
    return PRIORS[name]


def talker_preset(name: str) -> TalkerRun:
    """Run of a talker by its preset's name.

    Raises
    ------
    UnknownPresetError
        When there is none; the message lists those there are.
    """
    _check(name)
    return TALKERS[name]


def _check(name: str) -> None:
    if name not in PRIORS:
        raise UnknownPresetError(
            f"no preset {name!r}; there are {', '.join(PRIORS)}{did_you_mean(name, PRIORS)}"
        )
