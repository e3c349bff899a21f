"""Our models' files: weights with all that is needed to use them, and the reference's through the same door.

A talker is no use without the prior whose codes it speaks, nor either without the head model whose motion
they mean; so a file names them, and they are compared when it is opened.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from torch import Tensor

from multitalk.ground.untrusted.checkpoint_file import CheckpointError
from multitalk.training.model.audio_encoder import AudioEncoder, Wav2Vec2Encoder
from multitalk.training.model.checkpoints import (
    load_reference_prior,
    load_reference_talker,
    load_strictly,
    read_checkpoint,
    save,
)
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.model.tuning import TunedEncoder
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.settings import (
    MotionPriorSettings,
    ReferencePriorSettings,
    ReferenceTalkerSettings,
    TalkerSettings,
    TuningSettings,
)

_VERSION = 1
_MODEL: dict[str, type | UnionType] = {"settings": dict, "state_dict": dict}
_PARTS: dict[str, dict[str, type | UnionType]] = {
    "prior": _MODEL | {"head_model": str | None},
    "talker": _MODEL | {"prior": str, "audio_encoder": str | None},
}
"""What a file of each kind holds."""


@dataclass(frozen=True, slots=True)
class PriorFile:
    """A motion prior and what it belongs to."""

    prior: MotionPrior | ReferencePrior
    head_model: str | None
    """Name and hash of the head model; None in the reference's files, which do not tell."""


@dataclass(frozen=True, slots=True)
class TalkerFile:
    """A talker and what it belongs to."""

    talker: Talker | ReferenceTalker
    prior: str | None
    """Digest of its prior; None in the reference's files."""
    audio_encoder: str | None
    """Fingerprint of its audio encoder, as it was before any tuning; None when the talker holds its own."""


def save_prior(file: PriorFile, path: Path) -> None:
    """Write a prior's file."""
    save(_content("prior", file.prior, {"head_model": file.head_model}), path)


def save_talker(file: TalkerFile, path: Path) -> None:
    """Write a talker's file."""
    tuned_encoder = file.talker.tuned_encoder if isinstance(file.talker, Talker) else None
    tuning = tuned_encoder.tuning.model_dump(mode="json") if tuned_encoder else None
    belongs = {"prior": file.prior, "audio_encoder": file.audio_encoder, "tuning": tuning}
    save(_content("talker", file.talker, belongs), path)


def load_prior(path: Path) -> PriorFile:
    """Open a prior's file, ours or the reference's `stage1.pth.tar`, in evaluation mode.

    Raises
    ------
    CheckpointError
        When it is missing, unreadable or something else.
    """
    content = _read(path, "prior")
    if content is None:
        return PriorFile(load_reference_prior(path), None)
    state, settings = content["state_dict"], content["settings"]
    prior: MotionPrior | ReferencePrior
    try:
        if settings["architecture"] == "reference":
            prior = ReferencePrior(ReferencePriorSettings.model_validate(settings))
        else:
            sizes = MotionPriorSettings.model_validate(settings)
            prior = MotionPrior(sizes, state["mean"].float(), state["deviation"].float())
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its settings do not describe a motion prior ({error})") from error
    load_strictly(prior, state, path)
    return PriorFile(prior.eval(), content["head_model"])


def load_talker(
    path: Path, prior: MotionPrior | ReferencePrior, audio_encoder: AudioEncoder | None = None
) -> TalkerFile:
    """Open a talker's file, ours or the reference's `stage2.pth.tar`, in evaluation mode.

    Parameters
    ----------
    path : Path
        The file.
    prior : MotionPrior or ReferencePrior
        The prior that the talker speaks the codes of.
    audio_encoder : AudioEncoder, optional
        The one that the talker was trained with; needed when it was tuned, as the file holds the trained part.

    Raises
    ------
    CheckpointError
        When it is missing, unreadable, something else, or was trained with another prior or audio encoder.
    """
    content = _read(path, "talker")
    architecture = content["settings"].get("architecture") if content else "reference"
    if architecture != prior.settings.architecture:
        raise CheckpointError(f"{path}: a talker of architecture {architecture} for another kind of prior")
    if content is None:
        return TalkerFile(load_reference_talker(path), None, None)
    if content["prior"] != weights_digest(prior):
        raise CheckpointError(
            f"{path}: was trained with prior {content['prior']}, this is {weights_digest(prior)}; "
            "give the one of its run"
        )
    tuned_encoder = _tuned_encoder(content, path, audio_encoder) if content.get("tuning") else None
    talker = _talker(content, path, prior.settings, tuned_encoder)
    return TalkerFile(talker, content["prior"], content["audio_encoder"])


def weights_digest(prior: MotionPrior | ReferencePrior) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a prior's weights."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(prior.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def _tuned_encoder(content: dict[str, Any], path: Path, encoder: AudioEncoder | None) -> TunedEncoder:
    """Make the tuned part of the audio encoder, as it was before; its weights are in the talker's."""
    if not isinstance(encoder, Wav2Vec2Encoder) or encoder.fingerprint != content["audio_encoder"]:
        raise CheckpointError(
            f"{path}: was trained together with audio encoder {content['audio_encoder']}: give its folder; "
            f"given: {encoder.fingerprint if encoder else 'none'}"
        )
    try:
        return TunedEncoder(encoder.model, TuningSettings.model_validate(content["tuning"]))
    except ValueError as error:
        raise CheckpointError(f"{path}: its tuning does not fit the audio encoder ({error})") from error


def _talker(
    content: dict[str, Any],
    path: Path,
    prior: MotionPriorSettings | ReferencePriorSettings,
    tuned_encoder: TunedEncoder | None,
) -> Talker | ReferenceTalker:
    # Files of 0.1 called the tuned part `tuned_encoder`.
    state: dict[str, Tensor] = {
        re.sub(r"^tuned_encoder\.", "tuned_encoder.", name): tensor
        for name, tensor in content["state_dict"].items()
    }
    settings = content["settings"]
    talker: Talker | ReferenceTalker
    try:
        if settings["architecture"] == "reference" or not isinstance(prior, MotionPriorSettings):
            talker = ReferenceTalker(ReferenceTalkerSettings.model_validate(settings))
        else:
            sizes = TalkerSettings.model_validate(settings)
            talker = Talker(sizes, len(state["audio_norm.weight"]), prior, tuned_encoder)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its settings do not describe a talker ({error})") from error
    load_strictly(talker, state, path)
    return talker.eval()


def _content(
    kind: str, model: MotionPrior | ReferencePrior | Talker | ReferenceTalker, belongs: dict[str, Any]
) -> dict[str, Any]:
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    settings = model.settings.model_dump(mode="json")
    return {"multitalk": kind, "version": _VERSION, "settings": settings, "state_dict": weights, **belongs}


def _read(path: Path, kind: str) -> dict[str, Any] | None:
    """Content of one of our files; None for what may be the reference's."""
    content = read_checkpoint(path)
    if "multitalk" not in content:
        return None
    if content["multitalk"] != kind:
        raise CheckpointError(f"{path}: holds a {content['multitalk']}, not a {kind}")
    if content.get("version") != _VERSION:
        raise CheckpointError(
            f"{path}: version {content.get('version')}, this program reads {_VERSION}: update it"
        )
    _check_parts(content, path, kind)
    return content


def _check_parts(content: dict[str, Any], path: Path, kind: str) -> None:
    missing = [name for name in _PARTS[kind] if name not in content]
    wrong = [n for n, kinds in _PARTS[kind].items() if n not in missing and not isinstance(content[n], kinds)]
    if missing or wrong:
        raise CheckpointError(f"{path}: {', '.join(missing + wrong)} missing or damaged; copy it again")
    if not all(isinstance(tensor, Tensor) for tensor in content["state_dict"].values()):
        raise CheckpointError(f"{path}: holds weights that are no tensors; copy it again")
