"""Datasets and models for speech-driven 3D talking heads in many languages.

What a notebook needs, each imported when it is first used:

==========================  =============================================================================
`open_dataset(root)`        a built dataset: its clips as a table, SQL over it, the motion of a clip as arrays
`build(settings)`           from annotations to a dataset, as ``multitalk build``; takes `BuildSettings`
`discover(settings)`        from raw videos to annotations, as ``multitalk discover``; `DiscoverSettings`
`load_head_model(name)`     a head model: ``anny``, ``canonical``, a FLAME release, or a file
`fit_clip(landmarks, ...)`  a head model fitted to the landmarks of one clip: its motion
`apply_policy(root, name)`  which clips are accepted, written into the manifest in a moment
`create_release(root, ..)`  the accepted clips with their split, frozen and hashed
`train(kind, settings)`     a motion prior or a talker, as ``multitalk train``; takes `TrainSettings`
`talk(audio, ...)`          speech to motion with trained models
`evaluate_motion(...)`      every metric of predicted motion, pooled and tested
==========================  =============================================================================

The rooms behind them are `multitalk.extract`, `multitalk.fit_flame`, `multitalk.filters`, `multitalk.manifests`,
`multitalk.training`, `multitalk.eval` and `multitalk.flows`; all of them may be imported.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime, from 1.32 on, tells Microsoft of each session, under an id that it keeps for the account; its own
# `disable_telemetry_events` comes too late for that. Whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from multitalk.eval.motion.evaluate_motion import evaluate_motion
    from multitalk.fit_flame.fit import fit_clip
    from multitalk.flows.building.build import build
    from multitalk.flows.building.dataset_policy import apply_policy
    from multitalk.flows.building.settings import BuildSettings
    from multitalk.flows.discovering.discover import discover
    from multitalk.flows.discovering.settings import DiscoverSettings
    from multitalk.flows.modelling.head_models import load_head_model
    from multitalk.flows.modelling.settings import TrainSettings
    from multitalk.flows.modelling.trained_models import train
    from multitalk.manifests import open_dataset
    from multitalk.manifests.releases.release import create_release
    from multitalk.training.talk import talk

# Public name -> module and what it is called there.
_PLACES = {
    "BuildSettings": ("multitalk.flows.building.settings", "BuildSettings"),
    "DiscoverSettings": ("multitalk.flows.discovering.settings", "DiscoverSettings"),
    "TrainSettings": ("multitalk.flows.modelling.settings", "TrainSettings"),
    "apply_policy": ("multitalk.flows.building.dataset_policy", "apply_policy"),
    "build": ("multitalk.flows.building.build", "build"),
    "create_release": ("multitalk.manifests.releases.release", "create_release"),
    "discover": ("multitalk.flows.discovering.discover", "discover"),
    "evaluate_motion": ("multitalk.eval.motion.evaluate_motion", "evaluate_motion"),
    "fit_clip": ("multitalk.fit_flame.fit", "fit_clip"),
    "load_head_model": ("multitalk.flows.modelling.head_models", "load_head_model"),
    "open_dataset": ("multitalk.manifests", "open_dataset"),
    "talk": ("multitalk.training.talk", "talk"),
    "train": ("multitalk.flows.modelling.trained_models", "train"),
}

__all__ = [
    "BuildSettings",
    "DiscoverSettings",
    "TrainSettings",
    "apply_policy",
    "build",
    "create_release",
    "discover",
    "evaluate_motion",
    "fit_clip",
    "load_head_model",
    "open_dataset",
    "talk",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _PLACES[name]
    value = getattr(import_module(module), own_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
