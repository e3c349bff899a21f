"""Compare the reference-mode models with what the reference computed: `python -m multitalk.training.parity DIR`.

DIR holds `stage1.pth.tar`, `stage2.pth.tar`, `config.json` (the reference's options), the audio encoder's
`config.json` in a folder called `wav2vec2*`, and `golden.npz` with inputs and outputs.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.ground.untrusted.checkpoint_file import CheckpointError
from multitalk.training.model.checkpoints import load_reference_prior, load_reference_talker
from multitalk.training.model.pretrained import settings_of
from multitalk.training.reference.decoding import ReferenceDecoder
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.settings import ReferencePriorSettings, ReferenceTalkerSettings, Wav2Vec2Settings

TOLERANCE = 1e-4
INPUTS = {"s1_x", "s1_template", "s2_audio", "s2_short_audio", "s2_language_index"}
OUTPUTS = {
    "s1_reconstruction", "s1_quant_loss", "s1_perplexity", "s1_code_indices", "s1_rec_loss", "s1_total_loss",
    "s2_loss_motion", "s2_loss_reg", "s2_loss", "s2_prediction", "s2_prediction_frames_given",
    "s2_prediction_mix", "s2_prediction_short_audio",
}  # fmt: skip
MIX = {1: 0.3, 2: 0.7}
"""Rows of the language table, and their weights, in `s2_prediction_mix`."""

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stored array against ours."""

    name: str
    shape: tuple[int, ...]
    difference: float
    """Largest absolute difference; for codes the number that differ; infinite where shapes differ."""
    agrees: bool


def compare(directory: Path) -> list[Comparison]:
    """Every stored output of a golden directory against what our models make of its inputs.

    Raises
    ------
    CheckpointError
        When a file is missing, unreadable, or a checkpoint does not fit the configuration.
    """
    golden, config, audio = _read(directory)
    try:
        prior = load_reference_prior(directory / "stage1.pth.tar", _prior_settings(config))
        talker = load_reference_talker(directory / "stage2.pth.tar", _talker_settings(config, audio))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{directory / 'config.json'}: not the reference's options ({error!r})"
        ) from error
    try:
        with torch.inference_mode():
            ours = dict(_stage_1(prior, golden)) | dict(_stage_2(prior, talker, golden))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{directory / 'golden.npz'}: its inputs do not fit the models ({reason})"
        ) from error
    return [_compared(name, golden[name], ours.get(name)) for name in golden if name not in INPUTS]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 when everything agrees, 1 when not, 2 when the directory can not be used."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m multitalk.training.parity DIR\n")
        return 2
    try:
        rows = compare(Path(arguments[0]))
    except (CheckpointError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    width = max(len(name) for name in OUTPUTS | {row.name for row in rows})
    sys.stdout.write(f"{'array':<{width}}  {'shape':<14}  {'largest difference':>18}\n")
    for row in rows:
        verdict = "" if row.agrees else "  DIFFERS"
        sys.stdout.write(f"{row.name:<{width}}  {row.shape!s:<14}  {row.difference:>18.3g}{verdict}\n")
    for name in sorted(OUTPUTS - {row.name for row in rows}):
        sys.stdout.write(f"{name:<{width}}  not stored\n")
    wrong = sum(not row.agrees for row in rows)
    sys.stdout.write(f"{len(rows) - wrong} of {len(rows)} agree to {TOLERANCE:g} (codes exactly)\n")
    return 1 if wrong else 0


def _stage_1(prior: ReferencePrior, golden: Arrays) -> Iterator[tuple[str, Tensor]]:
    x, template = _tensor(golden, "s1_x"), _tensor(golden, "s1_template")
    out = prior(x - template)
    reconstruction = out.offsets + template
    error = (reconstruction - x).abs().mean()
    yield "s1_reconstruction", reconstruction
    yield "s1_quant_loss", out.quantised.loss.mean()
    yield "s1_perplexity", out.quantised.perplexity(prior.settings.codebook_size)
    yield "s1_code_indices", out.quantised.codes
    yield "s1_rec_loss", error
    yield "s1_total_loss", error + out.quantised.loss.mean()


def _stage_2(prior: ReferencePrior, talker: ReferenceTalker, golden: Arrays) -> Iterator[tuple[str, Tensor]]:
    x, template = _tensor(golden, "s1_x"), _tensor(golden, "s1_template")
    audio, short = list(_tensor(golden, "s2_audio")), list(_tensor(golden, "s2_short_audio"))
    names = talker.settings.languages
    style = talker.style({names[int(golden["s2_language_index"].item())]: 1.0})[None]
    losses = talker(prior, audio, style, x - template)
    yield "s2_loss_motion", losses.motion.mean()
    yield "s2_loss_reg", losses.latent.mean()
    yield "s2_loss", losses.motion.mean() + losses.latent.mean()
    decoder = ReferenceDecoder(talker, prior)
    frames = [x.shape[1]]
    yield "s2_prediction", decoder.predict(audio, style)[0][None] + template
    yield "s2_prediction_frames_given", decoder.predict(audio, style, frames)[0][None] + template
    if "s2_prediction_mix" in golden:
        mix = talker.style({names[row]: weight for row, weight in MIX.items()})[None]
        yield "s2_prediction_mix", decoder.predict(audio, mix)[0][None] + template
    yield "s2_prediction_short_audio", decoder.predict(short, style, frames)[0][None] + template


def _compared(name: str, stored: npt.NDArray[np.generic], ours: Tensor | None) -> Comparison:
    if ours is None or ours.shape != stored.shape:
        return Comparison(name, stored.shape, float("inf"), False)
    if np.issubdtype(stored.dtype, np.integer):
        unequal = int((ours.numpy() != stored).sum())
        return Comparison(name, stored.shape, unequal, unequal == 0)
    difference = float(np.abs(ours.numpy() - stored).max())
    return Comparison(name, stored.shape, difference, difference <= TOLERANCE)


def _tensor(golden: Arrays, name: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(golden[name]))


def _read(directory: Path) -> tuple[Arrays, dict[str, Any], dict[str, Any]]:
    """Arrays, the reference's options and the audio encoder's."""
    try:
        with np.load(directory / "golden.npz", allow_pickle=False) as file:
            golden = {name: file[name] for name in file.files}
        config = json.loads((directory / "config.json").read_text())
        audio = next(iter(sorted(directory.glob("wav2vec2*/config.json"))), None)
        if absent := INPUTS - golden.keys():
            raise CheckpointError(f"{directory / 'golden.npz'}: misses {', '.join(sorted(absent))}")
        return golden, config, json.loads(audio.read_text()) if audio else {}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{directory}: not a directory of golden results ({error})") from error


def _prior_settings(config: Mapping[str, Any]) -> ReferencePriorSettings:
    return ReferencePriorSettings(
        vertex_values=config["in_dim"],
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"],
        codes_per_frame=config["face_quan_num"],
        codebook_size=config["n_embed"],
        code_dim=config["zquant_dim"],
    )


def _talker_settings(config: Mapping[str, Any], audio: Mapping[str, Any]) -> ReferenceTalkerSettings:
    return ReferenceTalkerSettings(
        vertex_values=config["vertice_dim"],
        latent=config["face_quan_num"] * config["zquant_dim"],
        hidden=config["feature_dim"],
        layers=config["num_layers"],
        heads=config["n_head"],
        period=config["period"],
        languages=tuple(config["train_subjects"].lower().split()),
        audio=settings_of(audio) if audio else Wav2Vec2Settings(),
    )


if __name__ == "__main__":
    sys.exit(main())
